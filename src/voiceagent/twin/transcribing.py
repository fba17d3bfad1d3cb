"""What a Realtime session hears: the input buffer, its commits by the client or by turn detection, and transcripts."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from voiceagent.audio import OddBytes
from voiceagent.twin import detection
from voiceagent.twin.configs import RATE_HZ, STREAMING, Rejected, SessionConfig
from voiceagent.twin.errors import identifier
from voiceagent.twin.items import Conversation, Item, audio_tokens, decoded, heard
from voiceagent.twin.ports import ConnectionDropped, EngineError, Engines, Transcription
from voiceagent.twin.telephony import FromTelephone
from voiceagent.twin.wire import Wire

MIN_COMMIT_BYTES = RATE_HZ * 2 // 10
MAX_BUFFER_BYTES = RATE_HZ * 2 * 600
MAX_PENDING = 64  # transcripts that are still to come
GOES_ON_S = 2.5  # what is said so soon after a commit may be the rest of the sentence
FINAL_TIMEOUT_S = 60.0
QUIET_BYTES = RATE_HZ * 2 * 30  # of what came before speech, for a client that commits by itself
BY_DURATION = (*STREAMING, "whisper-1")
WINDOW_BYTES = detection.WINDOW * 2
WINDOWS_AT_ONCE = 2


@dataclass(slots=True, eq=False)
class _Utterance:
    """What is being said: an item to be, and its transcription, which holds all the audio."""

    item: Item
    transcription: Transcription
    bytes: int = 0
    words: str = ""  # told so far
    over: bool = False


class Hearing:
    """The input side of one session.

    `on_speech`: somebody began to speak. `on_turn`: turn detection has committed an item.
    """

    def __init__(
        self, wire: Wire, conversation: Conversation, engines: Engines, config: SessionConfig, *,
        connection: str, on_speech: Callable[[], None], on_turn: Callable[[], None],
    ) -> None:  # fmt: skip
        self._wire = wire
        self._conversation = conversation
        self._engines = engines
        self._config = config
        self._connection = connection
        self._on_speech = on_speech
        self._on_turn = on_turn
        self._whole: OddBytes | FromTelephone = OddBytes()
        self._form = ""  # of the telephone
        self._utterance: _Utterance | None = None
        self._before: tuple[float, Transcription] | None = None  # the last commit: when, and of what
        self._detector: detection.TurnDetector | None = None
        self._window = bytearray()  # not judged yet
        self._quiet = bytearray()  # judged, and nobody spoke
        self._bytes = 0  # in all
        self._idle_from: int | None = None  # samples
        self._finals: set[asyncio.Task[None]] = set()
        self.configure()

    def configure(self) -> None:
        """Go on by the session's settings, which have changed."""
        settings = self._config.turn_detection
        if settings is None:
            if self._detector is not None:
                self._detector = None
                self._keep(bytes(self._quiet + self._window))
                self._quiet.clear()
                self._window.clear()
        elif self._detector is None:
            self._detector = detection.TurnDetector(settings)
        else:
            self._detector.settle(settings)

    async def aclose(self) -> None:
        """End what is being transcribed."""
        for task in self._finals:
            task.cancel()
        await asyncio.gather(*self._finals, return_exceptions=True)
        self._drop()

    # ------------------------------------------------------------------------------ audio
    async def append(self, event: Mapping[str, Any]) -> None:
        """Take in ``input_audio_buffer.append``."""
        pcm = self._decode(decoded(event.get("audio")))
        has = len(self._window) + len(self._quiet) + (self._utterance.bytes if self._utterance else 0)
        if has + len(pcm) > MAX_BUFFER_BYTES:
            raise Rejected("The input audio buffer is full.", code="input_audio_buffer_full", param="audio")
        if self._detector is None:
            self._bytes += len(pcm)
            self._keep(pcm)
            return
        self._window += pcm
        judged = 0
        while len(self._window) >= WINDOW_BYTES and self._detector is not None:
            window = bytes(self._window[:WINDOW_BYTES])
            del self._window[:WINDOW_BYTES]
            self._bytes += len(window)
            self._judge(self._detector, window)
            judged += 1
            if judged % WINDOWS_AT_ONCE == 0:  # the judge takes a millisecond each, and others wait
                await asyncio.sleep(0)

    def _decode(self, data: bytes) -> bytes:
        if self._form != self._config.telephone:
            self._form = self._config.telephone
            self._whole = FromTelephone(self._form) if self._form else OddBytes()
        return self._whole.feed(data) if isinstance(self._whole, FromTelephone) else self._whole.align(data)

    def _keep(self, pcm: bytes) -> None:
        """Add to the utterance, which begins if none has."""
        if not pcm:
            return
        utterance = self._open()
        utterance.bytes += len(pcm)
        if self._wanted:
            utterance.transcription.append(pcm)

    def _open(self) -> _Utterance:
        if self._utterance is None:
            after = None
            if self._before is not None and asyncio.get_running_loop().time() - self._before[0] < GOES_ON_S:
                after = self._before[1]
            self._before = None

            def told(words: str) -> None:
                self._partial(utterance, words)

            transcription = self._engines.transcribe(told, self._connection, after)
            utterance = self._utterance = _Utterance(heard(identifier("item")), transcription)
        return self._utterance

    def _drop(self) -> None:
        if self._utterance is not None:
            self._utterance.transcription.cancel()
        self._utterance = None

    # ------------------------------------------------------------------------------ turn detection
    @property
    def _now_ms(self) -> int:
        return self._bytes * 1000 // (RATE_HZ * 2)

    def _judge(self, detector: detection.TurnDetector, window: bytes) -> None:
        fact = detector.window(np.frombuffer(window, dtype="<i2"))
        if self._utterance is not None:
            self._keep(window)
        else:
            self._quiet += window
        if fact == "started":
            self._started()
        elif fact == "stopped":
            said = {"audio_end_ms": self._now_ms, "item_id": self._open().item.item_id}
            self._wire.send({"type": "input_audio_buffer.speech_stopped", **said})
            self._idle_from = None
            self._commit_utterance()
            self._on_turn()
        elif not detector.speaking:
            del self._quiet[: max(0, len(self._quiet) - QUIET_BYTES)]
            self._time_out()

    def _started(self) -> None:
        settings = self._config.turn_detection or {}
        padding_ms = int(settings.get("prefix_padding_ms", 300)) + detection.ONSET_WINDOWS * detection.WINDOW_MS
        past = bytes(self._quiet[max(0, len(self._quiet) - padding_ms * RATE_HZ * 2 // 1000) :])
        self._quiet.clear()
        self._idle_from = None
        self._keep(past)
        utterance = self._open()
        start_ms = (self._bytes - utterance.bytes) * 1000 // (RATE_HZ * 2)
        said = {"audio_start_ms": start_ms, "item_id": utterance.item.item_id}
        self._wire.send({"type": "input_audio_buffer.speech_started", **said})
        self._on_speech()

    def wait_for_speech_after(self, after_samples: int | None) -> None:
        """Count the time in which nobody speaks from so many samples on from now; None: do not count it."""
        self._idle_from = None if after_samples is None else self._bytes // 2 + after_samples

    def _time_out(self) -> None:
        timeout_ms = (self._config.turn_detection or {}).get("idle_timeout_ms")
        if timeout_ms is None or self._idle_from is None:
            return
        idle = self._bytes // 2 - self._idle_from
        if idle * 1000 < timeout_ms * RATE_HZ:
            return
        start_ms, self._idle_from = self._idle_from * 1000 // RATE_HZ, None
        past = bytes(self._quiet[max(0, len(self._quiet) - idle * 2) :])
        self._quiet.clear()
        self._keep(past)
        span = {"audio_start_ms": start_ms, "audio_end_ms": self._now_ms, "item_id": self._open().item.item_id}
        self._wire.send({"type": "input_audio_buffer.timeout_triggered", **span})
        self._commit_utterance()
        self._on_turn()

    # ------------------------------------------------------------------------------ commits
    def clear(self, event: Mapping[str, Any]) -> None:
        """Take in ``input_audio_buffer.clear``."""
        del event
        self._forget_turn()
        self._drop()
        self._wire.send({"type": "input_audio_buffer.cleared"})

    def commit(self, event: Mapping[str, Any]) -> None:
        """Take in ``input_audio_buffer.commit``."""
        del event
        waiting = bytes(self._quiet + self._window)
        has = len(waiting) + (self._utterance.bytes if self._utterance else 0)
        if has < MIN_COMMIT_BYTES:
            text = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {has / RATE_HZ / 2 * 1000:.2f}ms of audio."
            )
            raise Rejected(text, code="input_audio_buffer_commit_empty")
        self._bytes += len(self._window)
        self._forget_turn()
        self._keep(waiting)
        self._commit_utterance()

    def _forget_turn(self) -> None:
        self._quiet.clear()
        self._window.clear()
        if self._detector is not None:
            self._detector.reset()

    def _commit_utterance(self) -> None:
        if len(self._finals) >= MAX_PENDING:
            raise Rejected("Too many transcripts are still to come.", code="rate_limit_exceeded")
        utterance, self._utterance = self._open(), None
        item, transcription = utterance.item, utterance.transcription
        item.samples = utterance.bytes // 2
        chain = {"item_id": item.item_id, "previous_item_id": self._conversation.last}
        self._wire.send({"type": "input_audio_buffer.committed", **chain})
        self._conversation.append(item)
        if self._wanted:
            self._before = (asyncio.get_running_loop().time(), transcription)
            self._finish_soon(utterance, self._config.transcriber)
        else:
            transcription.cancel()
            item.ready.set()

    # ------------------------------------------------------------------------------ words
    @property
    def _wanted(self) -> bool:
        """A conversation needs words to answer; in a transcription session nobody asked for them without a model."""
        return self._config.kind == "realtime" or bool(self._config.transcriber)

    def transcribe(self, item: Item, pcm: bytes) -> None:
        """Find the words of an item that came with its audio; nothing is told of them. Raises `Rejected`."""
        if len(self._finals) >= MAX_PENDING:
            raise Rejected("Too many transcripts are still to come.", code="rate_limit_exceeded")
        transcription = self._engines.transcribe(lambda _: None, self._connection, None)
        if self._config.telephone:
            pcm = FromTelephone(self._config.telephone).feed(pcm)
        transcription.append(pcm[: len(pcm) // 2 * 2])
        item.samples = len(pcm) // 2
        self._finish_soon(_Utterance(item, transcription, len(pcm)), "")

    def _partial(self, utterance: _Utterance, words: str) -> None:
        """Send what is new of an utterance's words; a word once sent is never taken back."""
        if not utterance.over and self._config.transcriber in STREAMING:
            self._delta(utterance, words)

    def _delta(self, utterance: _Utterance, words: str) -> None:
        if words.startswith(utterance.words) and len(words) > len(utterance.words):
            delta, utterance.words = words[len(utterance.words) :], words
            self._tell("delta", utterance.item, {"delta": delta})

    def _tell(self, kind: str, item: Item, fields: dict[str, Any]) -> None:
        kind = f"conversation.item.input_audio_transcription.{kind}"
        self._wire.send({"type": kind, "item_id": item.item_id, "content_index": 0, **fields})

    def _finish_soon(self, utterance: _Utterance, model: str) -> None:
        task = asyncio.create_task(self._finish(utterance, model), name="transcript")
        self._finals.add(task)
        task.add_done_callback(self._finals.discard)

    async def _finish(self, utterance: _Utterance, model: str) -> None:
        item, words = utterance.item, ""
        try:
            async with asyncio.timeout(FINAL_TIMEOUT_S):
                words = await utterance.transcription.final()
        except (EngineError, TimeoutError) as error:
            code = error.code if isinstance(error, EngineError) else "engine_failed"
            message = str(error) or "The transcription does not come."
            failure = {"type": "server_error", "code": code, "message": message}  # clients take no null here
            if model:
                self._tell("failed", item, {"error": failure})
        except ConnectionDropped:
            self._wire.close(1011)
            return
        else:
            if model:
                self._delta(utterance, words)
                self._tell("completed", item, {"transcript": words, "usage": _usage(item, words, model)})
        finally:
            utterance.over = True
            for part in item.content:
                if part["type"] == "input_audio" and part.get("transcript") is None:
                    part["transcript"] = words
            item.ready.set()


def _usage(item: Item, words: str, model: str) -> dict[str, Any]:
    if model in BY_DURATION:
        return {"type": "duration", "seconds": round(item.samples / RATE_HZ, 3)}
    tokens, output = max(1, audio_tokens(item.samples)), len(words.split())
    return {
        "type": "tokens", "input_tokens": tokens, "output_tokens": output, "total_tokens": tokens + output,
        "input_token_details": {"audio_tokens": tokens, "text_tokens": 0},
    }  # fmt: skip
