"""What a response says, part by part: words as a model finds them, and each sentence's audio behind its words."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, cast

from voiceagent.twin.asking import Asked
from voiceagent.twin.configs import RATE_HZ
from voiceagent.twin.ports import Engines, FunctionCall, WordEnd

SENTENCE_ENDS = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+|\n+")
LEAST_CHARS = 12  # "Mr." and "1." are no sentences
MOST_CHARS = 240


@dataclass(frozen=True, slots=True)
class Words:
    """The next piece of what is written or said."""

    text: str


@dataclass(frozen=True, slots=True)
class Ends:
    """Where words end, in the whole text and in all its audio; told before the audio."""

    words: tuple[WordEnd, ...]


@dataclass(frozen=True, slots=True)
class OutOfTokens:
    """The limit is reached; nothing follows."""


Part = Words | Ends | bytes | FunctionCall | OutOfTokens


async def parts(engines: Engines, asked: Asked, messages: Sequence[Mapping[str, Any]]) -> AsyncIterator[Part]:
    """Yield a response's parts. Raises `EngineError`; closed early, it closes what the engines stream.

    A sentence is spoken when all its words are there; the model is asked for more when its audio has come. Audio comes
    faster than it is played, so nobody waits for that.
    """
    cutter, voice, count = _Cutter(), _Voice(engines, asked), 0
    async with _closing(_tokens(engines, asked, messages)) as tokens:
        async for token in tokens:
            if isinstance(token, FunctionCall):
                async with _closing(voice.speak(cutter.rest())) as audio:
                    async for part in audio:
                        yield part
                yield token
                continue
            count += 1
            if asked.limit is not None and count > asked.limit:
                break
            yield Words(token)
            for sentence in cutter.feed(token) if asked.verbatim is None else ():
                async with _closing(voice.speak(sentence)) as audio:
                    async for part in audio:
                        yield part
            if asked.verbatim is not None:
                cutter.keep(token)
    async with _closing(voice.speak(cutter.rest())) as audio:
        async for part in audio:
            yield part
    if asked.limit is not None and count > asked.limit:
        yield OutOfTokens()


def _closing(stream: AsyncIterator[Any]) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """Close a stream of an engine, which is a generator by any other name."""
    return aclosing(cast("Any", stream))


async def _tokens(
    engines: Engines, asked: Asked, messages: Sequence[Mapping[str, Any]]
) -> AsyncIterator[str | FunctionCall]:
    if asked.verbatim is None:
        async with _closing(engines.reply(messages, asked.tools)) as tokens:
            async for token in tokens:
                if token:
                    yield token
    elif asked.limit is None:
        if asked.verbatim:
            yield asked.verbatim
    else:
        for word in re.findall(r"\s*\S+", asked.verbatim):
            yield word


class _Cutter:
    """Cuts a stream of tokens where sentences end."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, token: str) -> Iterator[str]:
        """Add a token; yield the sentences that are whole."""
        self._text += token
        while (end := self._end()) is not None:
            sentence, self._text = self._text[:end], self._text[end:]
            yield sentence

    def keep(self, token: str) -> None:
        """Add a token of a text that is spoken as one."""
        self._text += token

    def rest(self) -> str:
        """Return what is left."""
        rest, self._text = self._text, ""
        return rest

    def _end(self) -> int | None:
        for match in SENTENCE_ENDS.finditer(self._text):
            if len(self._text[: match.end()].strip()) >= LEAST_CHARS:
                return match.end()
        if len(self._text) > MOST_CHARS:
            return max(self._text.rfind(", ", 0, MOST_CHARS), self._text.rfind(" ", 0, MOST_CHARS // 2), 0) + 1
        return None


class _Voice:
    """Speaks one piece of text after the other, and knows how much was spoken before."""

    def __init__(self, engines: Engines, asked: Asked) -> None:
        self._engines = engines
        self._asked = asked
        self._chars = 0
        self._bytes = 0

    async def speak(self, text: str) -> AsyncIterator[Ends | bytes]:
        """Yield a piece's audio, and before it where the words end in it."""
        indent = len(text) - len(text.lstrip())
        chars, start_ms = self._chars + indent, self._bytes * 1000 // (RATE_HZ * 2)
        self._chars += len(text)
        words = text if self._asked.verbatim is not None else text.strip()
        chars -= indent if self._asked.verbatim is not None else 0
        if not text.strip() or not self._asked.audio:
            return
        ends = list[WordEnd]()

        def told(found: Sequence[WordEnd]) -> None:
            ends.extend(WordEnd(chars + end.end_char, start_ms + end.end_ms) for end in found)

        async with _closing(self._engines.speak(words, self._asked.voice, self._asked.speed, told)) as audio:
            async for pcm in audio:
                if ends:
                    yield Ends(tuple(ends))
                    ends.clear()
                self._bytes += len(pcm)
                yield pcm
        if ends:
            yield Ends(tuple(ends))
