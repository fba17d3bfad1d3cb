"""The conversation's own settings, with every time in microseconds: what the pure core needs of `Settings`."""

from dataclasses import dataclass
from typing import Self

from voiceagent.settings import Settings


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient a conversation is, and how much it remembers."""

    instructions: str = ""
    barge_in: bool = True
    barge_in_us: int = 600_000  # voice over a reply that interrupts it without a word
    verdict_us: int = 1_500_000  # longest hold
    resume_after_us: int = 300_000  # silence after a sound over a reply that lets it go on
    flush_ack_us: int = 250_000
    max_turn_us: int = 60_000_000
    stt_timeout_us: int = 8_000_000
    reply_timeout_us: int = 10_000_000
    stall_timeout_us: int = 8_000_000
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
            barge_in=settings.barge_in,
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
