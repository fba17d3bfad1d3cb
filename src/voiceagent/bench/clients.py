"""What the stages' clients cost and how fast they are, without a server around them; the peer is another process."""

from typing import Any

from voiceagent.bench.client_costs import costs
from voiceagent.bench.client_waits import first_audio, leaving
from voiceagent.bench.reconnects import reconnects

Row = tuple[str, str, str]
WAYS = {"speech": "`audio/speech`", "realtime": "Realtime", "voice": "voice model"}
EARS = {"realtime": "STT over Realtime", "file": "STT by files", "voice": "voice model"}
LEFT = {"llm": "chat completions", **WAYS}


def clients() -> dict[str, Any]:
    """Measure all of it."""
    return {**costs(), "first_audio": first_audio(), "leaving": leaving(), "reconnect": reconnects()}


def client_rows(v: dict[str, Any]) -> list[Row]:
    """Return the table's rows: what, the figure, the command's name."""
    again = v["reconnect"]
    extra = f", {again['extra_samples']} too many" * bool(again["extra_samples"])
    return [
        _row("a client's CPU for 1 s of microphone audio", EARS, v["cpu_ms_per_s_heard"], _cpu),
        _row("a client's CPU for 1 s of received speech", WAYS, v["cpu_ms_per_s_spoken"], _cpu),
        ("a client's CPU for 1000 streamed tokens", f"{v['cpu_ms_per_1000_tokens']:.0f} ms", "clients"),
        _row("request to first audio of a TTS or voice client on loopback, p50 cold / warm", WAYS, v["first_audio"], _cold),
        _row("a stream is left to its peer has seen that, p50 / p95", LEFT, v["leaving"], _spread),
        (
            "transcription's socket lost in mid-utterance to the next session, p50 / p95 (100 ms are the wait before the try)",
            f"{_spread(again)} ms; {again['lost_samples']} of {again['samples']} samples lost{extra}",
            "clients",
        ),
    ]  # fmt: skip


def _row(what: str, names: dict[str, str], values: dict[str, Any], told: Any) -> Row:
    figures = [f"{name} {told(values[key])}" for key, name in names.items()]
    return what, f"{', '.join(figures)} ms", "clients"


def _cpu(ms: float) -> str:
    """What feeding frames to nobody costs is deducted; what is left of little is its noise."""
    return f"{ms:.1f}" if ms >= 1 else "under 1"


def _cold(each: dict[str, dict[str, float]]) -> str:
    return f"{each['cold']['p50_ms']:.0f} / {each['warm']['p50_ms']:.1f}"


def _spread(each: dict[str, float]) -> str:
    return f"{each['p50_ms']:.1f} / {each['p95_ms']:.1f}"
