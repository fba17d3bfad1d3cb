"""The real engines: pocketsphinx and espeak-ng in their own processes, and the responder between them."""

import asyncio
import datetime as dt
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any

from voiceagent.twin.joining import Piece, carried_on, latest
from voiceagent.twin.ports import EngineError, FunctionCall, OnWords, Transcription, WordEnd
from voiceagent.twin.responder import respond, say_clock, wants_clock
from voiceagent.twin.services import chosen_services
from voiceagent.twin.worker import Worker

RATE_HZ = 24_000
PARTIAL_EVERY_BYTES = RATE_HZ * 2 * 300 // 1000
LONGEST_PARTIAL_BYTES = RATE_HZ * 2 * 10
LONGEST_BYTES = RATE_HZ * 2 * 60
NEEDED = {
    "stt": {"pocketsphinx": "pocketsphinx", "soxr": "soxr"},
    "tts": {"espeakng_loader": "espeakng-loader", "soxr": "soxr"},
}
LEAST_CHUNK_BYTES = RATE_HZ * 2 * 40 // 1000


class LocalEngines:
    """`Engines` without a network. They take the extra ``voiceagent[local]``, the language model alone does not.

    `only`: some of ``stt``, ``llm`` and ``tts``; nothing is started for the others.
    """

    def __init__(
        self, now: Callable[[], dt.datetime] = lambda: dt.datetime.now().astimezone(),
        *, only: Collection[str] | None = None,
    ) -> None:  # fmt: skip
        self._now = now
        self._services = chosen_services(only)
        self._stt = Worker("voiceagent.twin.stt_worker")
        self._tts = Worker("voiceagent.twin.tts_worker")
        self._warm: asyncio.Task[Any] | None = None

    @staticmethod
    def missing(only: Collection[str] | None = None) -> list[str]:
        """Return the packages that are not installed; of `only` some services, if given."""
        needed = {
            module: package
            for name in sorted(chosen_services(only))
            for module, package in NEEDED.get(name, {}).items()
        }
        return [package for module, package in needed.items() if find_spec(module) is None]

    async def start(self) -> None:
        """Start the workers in the background. Raises `EngineError` if they are not installed."""
        if missing := self.missing(self._services):
            text = f"The local engines are missing ({', '.join(missing)}): pip install 'voiceagent[local]'."
            raise EngineError(500, "engines_missing", text)
        self._warm = asyncio.create_task(self._start_workers(), name="local engines")

    async def _start_workers(self) -> None:
        workers = {"stt": self._stt, "tts": self._tts}
        starting = [worker.start() for name, worker in workers.items() if name in self._services]
        await asyncio.gather(*starting, return_exceptions=True)

    async def aclose(self) -> None:
        """End the workers."""
        if self._warm is not None:
            self._warm.cancel()
            await asyncio.gather(self._warm, return_exceptions=True)
        await asyncio.gather(self._stt.aclose(), self._tts.aclose())

    def transcribe(
        self, on_partial: Callable[[str], None], connection: str = "", after: Transcription | None = None
    ) -> "LocalTranscription":
        """Begin an utterance."""
        del connection
        return LocalTranscription(self._stt, on_partial, after if isinstance(after, LocalTranscription) else None)

    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[str | FunctionCall]:
        """Stream the responder's answer, a word a token."""
        last = messages[-1] if messages else {}
        if last.get("role") == "tool":
            answer = say_clock(_last_user(messages), str(last.get("content", "")))
        else:
            clock = _clock_tool(tools)
            if clock and last.get("role") == "user" and wants_clock(str(last.get("content", "")).lower()):
                yield FunctionCall(clock, "{}")
                return
            answer = respond(messages, self._now())
        for token in re.findall(r"\S+\s*", answer):
            yield token

    async def speak(self, text: str, voice: str, speed: float, on_words: OnWords | None = None) -> AsyncIterator[bytes]:
        """Stream the synthesiser's audio, in chunks of 40 ms or more."""
        waiting = b""
        async with aclosing(self._tts.request({"text": text, "voice": voice, "speed": speed})) as answers:
            async for head, pcm in answers:
                if on_words is not None and (words := head.get("words")):
                    on_words([WordEnd(*word) for word in words])
                waiting += pcm
                if len(waiting) >= LEAST_CHUNK_BYTES:
                    yield waiting
                    waiting = b""
        if waiting:
            yield waiting


class LocalTranscription:
    """One utterance. Its partial words come from decoding it anew every 300 ms; what two tries agree on is told.

    Where it goes on `after` another one, all their audio is decoded as one: half a phrase is none.
    """

    def __init__(
        self, worker: Worker, on_partial: Callable[[str], None], after: "LocalTranscription | None" = None
    ) -> None:
        self._worker = worker
        self._on_partial = on_partial
        self._after = after
        self._audio = bytearray()
        self._decoded = 0
        self._before: list[str] = []
        self._told: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self.done = asyncio.Event()
        self.said: list[Piece] = []  # up to this one and with it, once it is done

    def append(self, pcm: bytes) -> None:
        """Add audio."""
        self._audio += pcm[: max(0, LONGEST_BYTES - len(self._audio))]
        due = len(self._audio) - self._decoded >= PARTIAL_EVERY_BYTES
        due = due and (self._after is None or self._after.done.is_set())
        if due and self._task is None and self._worker.waiting < 2 and len(self._audio) <= LONGEST_PARTIAL_BYTES:
            self._decoded = len(self._audio)
            self._task = asyncio.create_task(self._partial(bytes(self._audio)), name="partial transcript")

    async def _partial(self, audio: bytes) -> None:
        try:
            words = (await _decode(self._worker, self._past(audio), audio, final=False))[0].split()
        except EngineError:
            return  # the final will say so
        finally:
            self._task = None
        stable = 0
        while stable < min(len(words), len(self._before)) and words[stable] == self._before[stable]:
            stable += 1
        self._before = words
        settled = words[: min(stable, len(words) - 1)]  # the last word may still become another
        if len(settled) > len(self._told) and settled[: len(self._told)] == self._told:
            self._told = settled
            self._on_partial(" ".join(settled))

    async def final(self) -> str:
        """Return the words of all of it."""
        self.cancel()
        audio, past, words = bytes(self._audio), list[Piece](), ""
        try:
            if self._after is not None:
                await self._after.done.wait()
                past = self._past(audio)
            words, goes_on = await _decode(self._worker, past, audio, final=True)
            if words and not goes_on:
                past = []  # it is a sentence of its own
        finally:
            self.said = [*past, Piece(audio, words)]
            self._after = None
            self._audio.clear()
            self.done.set()
        return words

    def _past(self, audio: bytes) -> list[Piece]:
        """What was said before, as far as it is to be decoded again."""
        return latest(carried_on(self._after.said, audio), audio) if self._after is not None else []

    def cancel(self) -> None:
        """Nobody wants it any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None


async def _decode(worker: Worker, past: Sequence[Piece], audio: bytes, *, final: bool) -> tuple[str, bool]:
    before = b"".join(piece.audio for piece in past)
    given = " ".join(piece.words for piece in past if piece.words)
    asked = worker.request({"final": final, "seam": len(before), "given": given}, before + audio)
    async with aclosing(asked) as answers:
        async for answer, _ in answers:
            return str(answer["words"]), bool(answer["goes_on"])
    return "", False


def _last_user(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the user said last, before the functions were called."""
    return next((str(m.get("content", "")) for m in reversed(messages) if m.get("role") == "user"), "")


def _clock_tool(tools: Sequence[Mapping[str, Any]]) -> str:
    """The name of a function that tells the time, if one is offered."""
    for tool in tools:
        name = str((tool.get("function") or {}).get("name", ""))
        if re.search(r"time|date|clock", name):
            return name
    return ""
