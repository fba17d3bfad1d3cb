"""What a second request and the phrase cache gain: drawn turns on virtual time, with the same draws for every setting.

The reply is made by the real attempt behind the real wrappers; back-ends are waits, drawn as the profile says. A turn's
second request has a draw of its own: where a whole service is slow, and not one request, hedging gains less.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, cast

from voiceagent.accounts import Work
from voiceagent.bench.profiles import PAUSE_MS, PROFILES, reply
from voiceagent.bench.reckoning import spread
from voiceagent.events import Fact, ReplyReady
from voiceagent.heard import WordMark
from voiceagent.making import Timeouts
from voiceagent.outbox import Outbox
from voiceagent.reply import ReplyAttempt
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.stages.hedging import Hedge, HedgeBudget, HedgedModel, HedgedSpeech
from voiceagent.stages.phrasecache import CachedSpeech, PhraseCache
from voiceagent.stages.ports import Delta, LanguageModel, Stages, TextToSpeech
from voiceagent.twin import Script

PROFILE = "openai26"
TURNS = 2_000
REST_S = 5.0  # between two turns
OPENING = "Let me see, "
"""The first phrase of every reply."""
PCM = bytes(4_800)
PER_MIN = 30
CACHE_BYTES = 8_000_000
FIRST_S, NEXT_S = 5.0, 8.0
"""The deadlines of a request as they are by default."""
TRIES, PHRASES = 10, 10
"""More than a turn has: the draws of the next one are numbered on from there."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The settings of one run, under their names in `voiceagent.settings`; the cache on or off."""

    hedge_llm_ms: int = 0
    hedge_tts_ms: int = 0
    phrase_cache: bool = False


CHOICES = (
    Choice(), Choice(1_500, 1_300), Choice(1_100, 950), Choice(900, 750),
    Choice(phrase_cache=True), Choice(1_100, 950, phrase_cache=True),
)  # fmt: skip
"""Waits at about the 98th, 90th and 75th percentile of the stages, and what is in the cache."""


class _Backends:
    """Both back-ends of one turn after the other: a language model and a synthesiser that only wait."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._turn = 0
        self._answers = 0  # that were asked for in this turn
        self._phrases: dict[str, int] = {}  # how often which one of it was asked for
        self.llm_calls = 0
        self.tts_calls = 0

    def next_turn(self, number: int) -> None:
        """From now on the draws are those of this turn."""
        self._turn, self._answers, self._phrases = number, 0, {}

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """`LanguageModel`."""
        del messages, tools
        self.llm_calls += 1
        self._answers += 1
        number = self._turn * TRIES + self._answers
        yield self._words(self._script.drawn_ms("llm", number, self._script.llm_first_token_ms))

    async def _words(self, delay_ms: float) -> AsyncIterator[Delta]:
        await asyncio.sleep(delay_ms / 1000)
        for word in (OPENING + reply(self._turn)).split():
            yield Delta(f"{word} ")
            await asyncio.sleep(self._script.llm_token_ms / 1000)

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes | WordMark]]:
        """`TextToSpeech`."""
        self.tts_calls += 1
        self._phrases[text] = self._phrases.get(text, 0) + 1
        number = (self._turn * PHRASES + list(self._phrases).index(text)) * TRIES + self._phrases[text]
        yield self._audio(self._script.drawn_ms("tts", number, self._script.tts_first_byte_ms))

    async def _audio(self, delay_ms: float) -> AsyncIterator[bytes | WordMark]:
        await asyncio.sleep(delay_ms / 1000)
        yield PCM


class _Nowhere:
    """In the outbox's place: it takes everything at once."""

    async def audio(self, epoch: int, pcm: bytes) -> None:
        """Take audio."""

    def complete(self, epoch: int, samples: int) -> None:
        """Take note that it was all."""


async def _play(choice: Choice, turns: int) -> dict[str, Any]:
    """Play so many turns, one after the other, and return what their callers waited."""
    profile = PROFILES[PROFILE]
    script = Script(**profile.delays)
    backends, budget = _Backends(script), HedgeBudget(PER_MIN)
    llm: LanguageModel = backends
    tts: TextToSpeech = backends
    if choice.hedge_llm_ms:
        llm = HedgedModel(llm, Hedge("llm", choice.hedge_llm_ms, budget))
    if choice.hedge_tts_ms:
        tts = HedgedSpeech(tts, Hedge("tts", choice.hedge_tts_ms, budget))
    if choice.phrase_cache:
        tts = CachedSpeech(tts, PhraseCache(CACHE_BYTES), voice="")
    stages = Stages(stt=lambda _: _unused(), llm=llm, tts=tts, warm=_unused)
    gaps_ms = []
    for turn in range(turns):
        backends.next_turn(turn)
        making_ms = await _make(stages, turn)
        stt_ms = script.drawn_ms("stt", turn, script.stt_delay_ms)
        gaps_ms.append(max(profile.endpoint_ms, PAUSE_MS + stt_ms + making_ms))
        await asyncio.sleep(REST_S)
    return {
        **asdict(choice), **spread("gap", gaps_ms),
        "llm_calls_per_turn": round(backends.llm_calls / turns, 3),
        "tts_calls_per_turn": round(backends.tts_calls / turns, 3),
    }  # fmt: skip


async def _make(stages: Stages, epoch: int) -> float:
    """Make one reply and return after how many milliseconds its first audio was there."""
    loop = asyncio.get_running_loop()
    began_s, ready_s = loop.time(), float("inf")

    def post(fact: Fact) -> None:
        nonlocal ready_s
        if isinstance(fact, ReplyReady):
            ready_s = loop.time()

    attempt = ReplyAttempt(
        Work(epoch), stages, cast("Outbox", _Nowhere()), post=post, now_us=lambda: 0, timeouts=Timeouts(FIRST_S, NEXT_S)
    )
    attempt.promote()
    await attempt.run([], "")
    return (ready_s - began_s) * 1000


def _unused() -> Any:
    raise AssertionError("this stage has no part in it")


def stragglers(turns: int = TURNS, choices: Sequence[Choice] = CHOICES) -> dict[str, Any]:
    """Return what the callers of each setting waited, and how many calls a turn took; the same each time."""
    runs = [VirtualLoop(seed=1).run(_play(choice, turns)) for choice in choices]
    return {"profile": PROFILE, "endpoint_ms": PROFILES[PROFILE].endpoint_ms, "turns": turns, "runs": runs}
