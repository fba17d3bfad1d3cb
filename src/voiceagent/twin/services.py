"""Which services a twin offers: all of a voice agent's models, or some of them as a process of their own."""

from collections.abc import Collection

SERVICES = ("stt", "llm", "tts")
"""Speech to text, the language model, text to speech; Realtime conversations take all three."""


def chosen_services(only: Collection[str] | None) -> frozenset[str]:
    """Return the services of a choice; none given: all. Raises `ValueError` for a name that is none."""
    if not only:
        return frozenset(SERVICES)
    if unknown := sorted(set(only) - set(SERVICES)):
        raise ValueError(f"no such service: {', '.join(unknown)}; there are {', '.join(SERVICES)}")
    return frozenset(only)
