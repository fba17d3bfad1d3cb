"""What a seed draws before a session begins: settings, back-ends, voice and network, good days and bad ones."""

import random
from collections.abc import Mapping
from functools import cache
from typing import Any

from voiceagent.settings import Settings
from voiceagent.simulation.browser import Network
from voiceagent.simulation.speech import Voice
from voiceagent.simulation.stages import Backends


@cache
def _plain() -> Settings:
    return Settings(_env_file=None, backend="local", log_content=True)


def settings(draw: random.Random, given: Mapping[str, Any]) -> Settings:
    """Settings of one session: mostly as shipped, with short deadlines, so that they come within it."""
    pick = draw.choice
    changes: dict[str, Any] = {
        "endpoint_ms": pick((200, 300, 500, 500, 900)),
        "pause_ms": pick((60, 100, 100, 200)),
        "pre_roll_ms": pick((300, 400)),
        "barge_in": draw.random() > 0.07,
        "max_turn_s": pick((4.0, 20.0)),
        "mic_timeout_s": pick((2.0, 4.0)),
        "stt_timeout_s": pick((2.0, 4.0)),
        "reply_timeout_s": pick((3.0, 6.0)),
        "stall_timeout_s": pick((2.0, 4.0)),
        "pong_timeout_s": 6.0,
        "send_timeout_s": 2.0,
        "ask_after_s": pick((0.0, 4.0, 8.0)),
        "idle_s": pick((5.0, 10.0)),
        "filler": pick(("tone", "", "one moment please")),
        "filler_after_ms": pick((400, 1_200)),
        "speculate": draw.random() > 0.15,
        "echo_gate": draw.random() < 0.05,
        "lead_ms": pick((200, 300, 400)),
        "greeting": pick(("", "", "", "Hello, how can I help you?")),
        "max_history_turns": pick((2, 40)),
    }
    return _plain().model_copy(update={**changes, **given})


def backends(draw: random.Random) -> Backends:
    """Back-ends of one session: three in four are well."""
    pick, bad = draw.choice, draw.random() < 0.25
    return Backends(
        stt_ms=pick(((0,), (50,), (50, 60, 150), (300, 600), (50, 50, 1_500))),
        partial_every_ms=pick((0, 200, 400)),
        stt_fail=pick((0.1, 0.5)) if bad else 0.0,
        llm_first_ms=pick(((0,), (100,), (100, 150, 400), (700, 2_800))),
        llm_token_ms=pick(((0,), (10,), (10, 10, 300))),
        words_per_token=pick((3, 5)),
        llm_fail=pick((0.1, 0.5)) if bad else 0.0,
        tools=pick((0.0, 0.0, 0.4)),
        tts_first_ms=pick(((0,), (80,), (80, 80, 1_200))),
        tts_speed=pick((1.0, 2.0, 10.0, 10.0)),
        tts_chunk_ms=pick((100, 500, 500, 800)),
        odd_chunks=draw.random() < 0.3,
        tts_fail=pick((0.1, 0.4)) if bad else 0.0,
        sentences=pick(((1, 1), (1, 3), (1, 4))),
    )


def network(draw: random.Random, seconds: float) -> Network:
    """A network of one session: one in four stands still now and then."""
    pick = draw.choice
    stalls: list[tuple[int, int]] = []
    if draw.random() < 0.25:
        for _ in range(draw.randint(1, 3)):
            begin = draw.randrange(0, max(1, round(seconds * 1000)), 10)
            stalls.append((begin, begin + pick((200, 600, 2_000, 4_000))))
    return Network(
        up_ms=pick((0, 10, 30, 80)), down_ms=pick((0, 10, 30, 80)),
        jitter_ms=pick(((0,), (0, 0, 10), (0, 10, 20, 90))), stalls=tuple(stalls), block_steps=pick((10, 10, 20)),
    )  # fmt: skip


def voice(draw: random.Random) -> Voice:
    """A synthesiser's voice."""
    return Voice(draw.randrange(1 << 30), pace=draw.choice((0.9, 1.0, 1.1)), tells_words=draw.random() < 0.5)
