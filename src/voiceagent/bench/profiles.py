"""The scripted back-ends of the response gap's benchmark: what each profile's stages take, and how its sessions speak."""

from dataclasses import dataclass
from typing import Any

PAUSE_MS = 100
"""Silence after which the server under test commits what was said and may begin a reply."""
PATIENT_MS = 500
"""From this endpoint wait on a caller can pause in mid-turn without losing the floor."""
CLAUSE_TOKENS = 4
"""Tokens of the first phrase after its first one: four words, and the beginning of a fifth."""
REPLIES = 4_000
BURSTS = 110
"""More than any session says; the bursts of the next session are numbered on from there."""
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aeiou"


@dataclass(frozen=True, slots=True)
class Profile:
    """The fields of the twin's `Script` that make it, its own endpoint wait, and how many sessions speak at once."""

    delays: dict[str, Any]
    endpoint_ms: int = PATIENT_MS
    sessions: int = 10
    turns: int = 21  # of each session; the first one opens connections and is not counted
    dictations: int = 0  # further sessions, each with one turn of 40 s

    def script(self, heard: list[list[str]]) -> dict[str, Any]:
        """Return the script file's fields for sessions that say these texts, burst after burst."""
        replies = [reply(number) for number in range(REPLIES)]
        spoken = {"partials": False, "tts_ms_per_char": 1}
        return {"transcripts_by_burst": heard, "replies": replies, **spoken, **self.delays}


def _delays(stt_ms: float, llm_ms: float, tts_ms: float, token_ms: float = 10, **more: Any) -> dict[str, Any]:
    return {
        "stt_delay_ms": stt_ms, "llm_first_token_ms": llm_ms, "llm_token_ms": token_ms, "tts_first_byte_ms": tts_ms,
        **more,
    }  # fmt: skip


# The second of audio that a short turn has (pre-roll and pause included) brings the transcript to 300 ms.
_SEED = _delays(270, 500, 600, stt_ms_per_tail_s=30)

PROFILES: dict[str, Profile] = {
    "peers": Profile(_delays(50, 100, 80), endpoint_ms=200, sessions=4, turns=51),
    "mid": Profile(_delays(150, 400, 300), sessions=5, turns=41),
    "seed": Profile(_SEED, dictations=4),
    "seed-streaming": Profile({**_SEED, "partials": True, "partial_every_ms": 100, "partial_lag_ms": 50}),
    "openai26": Profile(_delays(140, 700, 600, sigma=0.35, straggler_share=0.015, straggler_factor=4, seed=26)),
    "zero": Profile(_delays(0, 0, 0, token_ms=0), endpoint_ms=200, sessions=4, turns=51),
}
"""`peers` is what the peers were measured by; the delays of `openai26` are medians."""


def code(number: int) -> str:
    """Return a word that nobody says, a different one for each number below 6,400."""
    syllables = []
    for _ in range(2):
        number, index = divmod(number, len(_CONSONANTS) * len(_VOWELS))
        consonant, vowel = divmod(index, len(_VOWELS))
        syllables.append(_CONSONANTS[consonant] + _VOWELS[vowel])
    return "zo" + "".join(reversed(syllables))


def reply(number: int) -> str:
    """Return the reply to the request of this number, from 0: two sentences of twelve words without a comma."""
    sentence = f"this is sentence {code(number)} with twelve words that has no comma inside."
    return f"{sentence} {sentence}"


def said(sessions: int) -> list[list[str]]:
    """Return what each session says, burst after burst."""
    return [[f"tell me about {code(each * BURSTS + burst)}" for burst in range(BURSTS)] for each in range(sessions)]
