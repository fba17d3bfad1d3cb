"""Short phrases that are said again and again: their audio is kept, so that it is there at once and costs nothing.

Only what the synthesiser has told to its end is kept, and only on the second request for the same phrase, unless it is one
of the agent's own. Nobody waits for anybody: two sessions that ask for the same new phrase both ask the service.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Hashable, Iterable
from contextlib import aclosing, asynccontextmanager

from voiceagent.heard import WordMark
from voiceagent.phrases import PhraseCutter
from voiceagent.stages.ports import SpeechPart, TextToSpeech

MAX_CHARS = 120
MAX_SEEN = 1_000
"""Phrases of which it is known that they were asked for once."""
CHUNK_BYTES = 9_600
"""200 ms: what a hit gives at a time."""
ENTRY_BYTES = 600
MARK_BYTES = 120
"""What an entry and a mark take beside the audio, generously."""

Key = tuple[Hashable, str]
Parts = tuple[bytes | WordMark, ...]


class PhraseCache:
    """Audio by voice and text; the longest unused goes first when there is more than `max_bytes` of it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.largest_bytes = max_bytes // 2
        """A phrase that is more is not worth what it drives out."""
        self._entries: OrderedDict[Key, Parts] = OrderedDict()
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        """How many phrases it holds."""
        return len(self._entries)

    def find(self, key: Key) -> Parts | None:
        """Return the phrase's audio and marks, if it is there."""
        parts = self._entries.get(key)
        if parts is not None:
            self._entries.move_to_end(key)
        return parts

    def seen(self, key: Key) -> bool:
        """Whether the phrase was asked for before, of late; from now on it was."""
        known = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return known

    def keep(self, key: Key, parts: Parts) -> None:
        """Keep a phrase, if it is not too large."""
        size_bytes = _size_bytes(key, parts)
        if size_bytes > self.largest_bytes:
            return
        if (former := self._entries.pop(key, None)) is not None:
            self.size_bytes -= _size_bytes(key, former)
        self._entries[key] = parts
        self.size_bytes += size_bytes
        while self.size_bytes > self._max_bytes:
            oldest, gone = self._entries.popitem(last=False)
            self.size_bytes -= _size_bytes(oldest, gone)


def _size_bytes(key: Key, parts: Parts) -> int:
    audio = sum(MARK_BYTES + (len(part) if isinstance(part, bytes) else 0) for part in parts)
    return audio + ENTRY_BYTES + 4 * len(key[1])


class CachedSpeech:
    """`TextToSpeech` that asks `speech` only for what it does not know. `voice` is all that decides how a text sounds."""

    def __init__(
        self, speech: TextToSpeech, cache: PhraseCache, *, voice: Hashable, own_words: Iterable[str] = ()
    ) -> None:
        self._speech = speech
        self._cache = cache
        self._voice = voice
        self._own = _phrases(own_words)
        self.hits = 0
        self.misses = 0

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[SpeechPart]]:
        """Give the audio of one phrase, at once if it is known; else as the synthesiser gives it. Raises `StageError`."""
        key = (self._voice, text)
        parts = self._cache.find(key)
        if parts is not None:
            self.hits += 1
            yield _again(parts)
            return
        self.misses += 1
        worth = len(text) <= MAX_CHARS and (text in self._own or self._cache.seen(key))
        async with self._speech.speak(text) as stream:
            yield self._kept(key, stream) if worth else stream

    async def _kept(self, key: Key, stream: AsyncIterator[SpeechPart]) -> AsyncIterator[SpeechPart]:
        """The stream as it comes; kept only if it comes to its end."""
        parts: list[bytes | WordMark] = []
        room_bytes = self._cache.largest_bytes
        async with aclosing(stream):  # type: ignore[type-var]
            async for part in stream:
                if isinstance(part, bytes | WordMark):  # what the request itself was like is no part of the phrase
                    room_bytes -= len(part) if isinstance(part, bytes) else MARK_BYTES
                    if room_bytes >= 0:
                        parts.append(part)
                yield part
        if room_bytes < 0:
            return
        whole = _joined(parts)
        audio_bytes = sum(len(part) for part in whole if isinstance(part, bytes))
        if audio_bytes and audio_bytes % 2 == 0:  # silence for ever, or half a sample, would be no phrase
            self._cache.keep(key, whole)


async def _again(parts: Parts) -> AsyncIterator[bytes | WordMark]:
    """Give what was kept, without waiting; in between it is everybody else's turn."""
    for part in parts:
        if isinstance(part, WordMark):
            yield part
            continue
        for at in range(0, len(part), CHUNK_BYTES):
            yield part[at : at + CHUNK_BYTES]
            await asyncio.sleep(0)


def _joined(parts: Iterable[bytes | WordMark]) -> Parts:
    """The same with the audio between two marks in one piece."""
    whole: list[bytes | WordMark] = []
    run: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            run.append(part)
            continue
        if run:
            whole.append(b"".join(run))
            run = []
        whole.append(part)
    return tuple(whole + ([b"".join(run)] if run else []))


def _phrases(texts: Iterable[str]) -> Collection[str]:
    """The pieces in which these texts are spoken."""
    found: set[str] = set()
    for text in texts:
        cutter = PhraseCutter()
        found.update(cutter.feed(text))
        found.update(cutter.flush())
    return found
