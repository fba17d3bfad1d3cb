"""What the work on each turn has come to: requests, tokens, audio, and what that may cost; put on the turn's record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2s

from voiceagent import __version__
from voiceagent.audio import samples_to_us
from voiceagent.clockmap import ClockMap
from voiceagent.events import Stage
from voiceagent.pricing import Price, together
from voiceagent.settings import Settings
from voiceagent.timeline import LlmWork, SttWork, TtsWork, TurnRecord

KEPT_TURNS = 64
"""A turn without a record by then has none to come: its session would be long over."""


@dataclass(slots=True)
class Work:
    """The making of one reply, as far as it has come."""

    epoch: int
    requests: int = 0  # of the model
    finish: str = ""  # of its last answer
    usage: dict[str, int] = field(default_factory=dict)
    tokens: int = 0  # that the model wrote, counted here
    characters: int = 0  # that speech was asked for
    speech_us: int = 0  # that its audio was waited for
    samples: int = 0
    underruns: int = 0
    dropped: bool = False  # before its turn had ended

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the usage."""
        for name, count in counts.items():
            self.usage[name] = self.usage.get(name, 0) + count


def trace_id(session: str, turn: int) -> str:
    """Return the 32 hexadecimal digits of a turn's trace; the same ones each time that they are asked for."""
    return blake2s(f"{session}/{turn}".encode(), digest_size=16).hexdigest()


class Accounts:
    """Those of one session. `audio` returns how many samples of a piece were sent to be transcribed."""

    def __init__(
        self, session: str, settings: Settings, hosts: Mapping[Stage, str],
        *, clock: ClockMap, audio: Callable[[int], int], lag_us: Callable[[int], int],
    ) -> None:  # fmt: skip
        self._session = session
        self._settings = settings
        self._hosts = hosts
        self._clock = clock
        self._audio = audio
        self._lag_us = lag_us
        self._works: dict[int, list[Work]] = {}  # by turn

    def begin(self, turn: int, epoch: int) -> Work:
        """Return a new sheet for a reply to this turn, or for what bridges the wait for it."""
        work = Work(epoch)
        self._works.setdefault(turn, []).append(work)
        if len(self._works) > KEPT_TURNS:
            del self._works[next(iter(self._works))]
        return work

    def underrun(self, turn: int, epoch: int) -> None:
        """Note that the speaker had played all there was of a reply, and more was to come."""
        for work in self._works.get(turn, ()):
            work.underruns += work.epoch == epoch

    def completed(self, record: TurnRecord) -> TurnRecord:
        """Return the record with all that the conversation does not know."""
        works = self._works.pop(record.turn, [])
        stt, llm, tts = self._stt(record), self._llm(works), self._tts(works, record.epoch)
        dropped = [work for work in works if work.dropped]
        return replace(
            record, version=__version__, trace=trace_id(self._session, record.turn), mode=self._settings.mode,
            stt=stt, llm=llm, tts=tts, network=self._clock.network,
            loop_lag_us=self._lag_us(record.started_us), cost_usd=self._cost_usd(works, stt),
            # The conversation hears of these too, but perhaps only after the turn is over.
            speculation=replace(
                record.speculation, wasted_tokens=sum(work.tokens for work in dropped),
                wasted_characters=sum(work.characters for work in dropped),
            ),
        )  # fmt: skip

    # ------------------------------------------------------------------------------ one part each
    def _of(self, stage: Stage) -> tuple[str, str]:
        """The host and the model that do a stage's work: one does all of it in realtime mode."""
        if self._settings.mode == "realtime":
            return self._hosts.get("realtime", ""), self._settings.realtime_model
        model: str = getattr(self._settings, f"{stage}_model")
        return self._hosts.get(stage, ""), model

    def _stt(self, record: TurnRecord) -> SttWork | None:
        if record.origin != "user" and not record.items:
            return None
        audio_us = samples_to_us(sum(map(self._audio, record.items)))
        return SttWork(*self._of("stt"), audio_us, len(record.items), record.stt_retries)

    def _llm(self, works: list[Work]) -> LlmWork | None:
        asked = [work for work in works if work.requests]
        if not asked:
            return None
        tokens_in, tokens_out, tokens_cached = (
            sum(work.usage.get(f"{kind}_tokens", 0) for work in asked) for kind in ("prompt", "completion", "cached")
        )
        attempts = sum(work.requests + work.usage.get("hedged_llm", 0) for work in asked)
        host, model = self._of("llm")
        return LlmWork(host, model, tokens_in, tokens_out, tokens_cached, asked[-1].finish, attempts)

    def _tts(self, works: list[Work], epoch: int) -> TtsWork | None:
        spoken = next((work for work in works if work.epoch == epoch and (work.characters or work.samples)), None)
        if spoken is None:
            return None
        audio_us = samples_to_us(spoken.samples)
        factor = round(spoken.speech_us / audio_us, 4) if audio_us else None
        return TtsWork(*self._of("tts"), spoken.characters, audio_us, factor, spoken.underruns)

    def _cost_usd(self, works: list[Work], stt: SttWork | None) -> float | None:
        """All that was asked for in the turn; an answer that was dropped counts by the words that came of it."""
        bills: list[float | None] = []
        apart = self._settings.mode == "cascade"  # else the model's tokens are all of it
        if apart and stt is not None and stt.audio_us:
            price = self._price("stt")
            bills.append(None if price is None else price.of_speech(0, stt.audio_us))
        for work in works:
            told = work.usage.get
            if work.requests:
                price, written = self._price("llm"), max(told("completion_tokens", 0), work.tokens)
                tokens = told("prompt_tokens", 0), written, told("cached_tokens", 0)
                bills.append(None if price is None else price.of_tokens(*tokens))
            if apart and work.characters:
                price = self._price("tts")
                tokens = told("tts_input_tokens", 0), told("tts_output_tokens", 0), 0
                speech = work.characters, samples_to_us(work.samples)
                bills.append(None if price is None else price.of_speech(*speech) + price.of_tokens(*tokens))
        return together(self._settings.prices, bills)

    def _price(self, stage: Stage) -> Price | None:
        return self._settings.prices.get(self._of(stage)[1])
