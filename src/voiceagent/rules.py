"""The conversation's own settings, with every time in microseconds: what the pure core needs of `Settings`."""

from dataclasses import dataclass
from typing import Self

from voiceagent.settings import Settings


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient a conversation is, and how much it remembers."""

    instructions: str = ""
    speech_to_speech: bool = (
        False  # one voice model hears the user itself: words are for the record, they decide nothing
    )
    language: str | None = None
    patience: float = 0.5  # 0 is fast, 1 is patient
    endpoint_us: int = 650_000
    endpoint_adapts: bool = True
    pause_us: int = 100_000
    speculate: bool = True
    speculations_per_turn: int = 8
    speculations_per_min: int = 45
    barge_in: bool = True
    barge_in_us: int = 900_000  # voice over a reply that interrupts it without a word
    barge_in_thinking_us: int = 500_000  # the same before the reply is heard
    unconfirmed_us: int = 300_000  # longest hold by a sound that is not speech
    verdict_us: int = 1_500_000  # longest hold
    resume_after_us: int = 300_000  # silence after speech over a reply that lets it go on
    side_speech_db: float = 7.5  # so much quieter than the caller is somebody else; 0: nobody is
    flush_ack_us: int = 250_000
    max_turn_us: int = 60_000_000
    stt_timeout_us: int = 8_000_000
    reply_timeout_us: int = 10_000_000
    stall_timeout_us: int = 8_000_000
    filler: str = ""
    filler_after_us: int = 1_200_000
    ask_after_us: int = 0
    ask: str = ""
    farewell: str = ""
    idle_us: int = 600_000_000
    unclear_us: int = 1_200_000  # a turn with so much voice and no word deserves "please repeat"
    max_history_turns: int = 40
    max_session_tokens: int = 200_000
    content: bool = False  # whether records carry texts

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the rules that a server's settings ask for."""
        return cls(
            instructions=settings.prompt,
            speech_to_speech=settings.mode == "realtime",
            language=settings.stt_language,
            patience=settings.patience,
            endpoint_us=settings.endpoint_ms * 1000,
            endpoint_adapts=settings.endpoint_adapts,
            pause_us=settings.pause_ms * 1000,
            speculate=settings.speculate and settings.mode == "cascade",
            speculations_per_turn=settings.speculations_per_turn,
            speculations_per_min=settings.speculations_per_min,
            barge_in=settings.barge_in,
            barge_in_thinking_us=settings.barge_in_thinking_ms * 1000,
            unconfirmed_us=settings.unconfirmed_ms * 1000,
            side_speech_db=settings.side_speech_db,
            filler=_filler(settings),
            filler_after_us=settings.filler_after_ms * 1000,
            ask_after_us=round(settings.ask_after_s * 1e6),
            ask=settings.ask,
            farewell=_unless_none(settings.farewell),
            barge_in_us=settings.barge_in_ms * 1000,
            verdict_us=settings.verdict_ms * 1000,
            resume_after_us=settings.resume_after_ms * 1000,
            flush_ack_us=settings.flush_ack_ms * 1000,
            max_turn_us=round(settings.max_turn_s * 1e6),
            stt_timeout_us=round(settings.stt_timeout_s * 1e6),
            reply_timeout_us=round(settings.reply_timeout_s * 1e6),
            stall_timeout_us=round(settings.stall_timeout_s * 1e6),
            idle_us=round(settings.idle_s * 1e6),
            max_history_turns=settings.max_history_turns,
            max_session_tokens=settings.max_session_tokens,
            content=settings.log_content,
        )


def _filler(settings: Settings) -> str:
    """What bridges a late reply; a voice model has no second mouth for words, so there it is the tone."""
    words = _unless_none(settings.filler)
    return "tone" if words and settings.mode == "realtime" else words


def _unless_none(words: str) -> str:
    """An empty variable of the environment is an unset one; so nothing has a word of its own."""
    return "" if words == "none" else words
