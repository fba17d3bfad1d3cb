"""Scenes of docs/tuning.md: a caller, scripted back-ends, and what one setting changes in the record, to the millisecond."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.virtual import run_virtual
from tests.world import World, world
from voiceagent.recordlines import turn_fields
from voiceagent.twin import Script

STORY = "Once upon a time there was a house on a hill, and in it lived a fox. " * 3


@dataclass(frozen=True)
class Scene:
    """What happens, and the settings of before and after; `fields` of the record are shown, of the turns in `turns`."""

    play: Callable[[World], Awaitable[None]]
    script: Callable[[], Script]
    fields: tuple[str, ...]
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    turns: tuple[int, ...] = (1,)
    why: str = ""
    """What leads over to the second excerpt."""


async def _ask(w: World, ms: int = 1000) -> None:
    w.browser.speak(ms)
    await w.browser.until_turns(len(w.turns) + 1)


async def _ask_with_pause(w: World) -> None:
    w.browser.speak(1200)
    await asyncio.sleep(1.9)
    w.browser.speak(1000)
    await asyncio.sleep(8)


async def _ask_in_pieces(w: World) -> None:
    for _ in range(3):
        w.browser.speak(600)
        await asyncio.sleep(0.8)
    await w.browser.until_turns(1)


async def _ask_twice(w: World) -> None:
    await _ask(w)
    await _ask(w)


def _over_the_reply(ms: int) -> Callable[[World], Awaitable[None]]:
    async def play(w: World) -> None:
        w.browser.speak(1000)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(3)
        w.browser.speak(ms)
        await w.browser.until(lambda: any(turn.turn == 1 for turn in w.turns))

    return play


_QUESTION = ["what time is it"]
_GAP = ("gap_ms", "segments_ms")
SCENES = {
    "cut_off": Scene(
        _ask_with_pause, lambda: Script(transcripts=["i would like to book", "a table for two"], replies=["For which day?"]),
        ("turn", "outcome", "wait_ms", "pauses_ms", "pause_waits_ms", *_GAP), {"endpoint_ms": 300}, {"endpoint_ms": 800}, (1, 2),
        why="Move the page's dial towards *patient*, or set a larger wait:",
    ),
    "waits": Scene(
        _ask, lambda: Script(transcripts=["tell me about your prices"]),
        ("wait_ms", "wait_reason", *_GAP), {"endpoint_ms": 1100}, {"endpoint_ms": 500},
        why="Move the dial towards *fast*, or set a smaller wait; `voiceagent latency --what-if endpoint=…` tells from your own "
        "log how many turns that would have cut off:",
    ),
    "late": Scene(
        _ask, lambda: Script(transcripts=_QUESTION, llm_first_token_ms=900), (*_GAP, "hidden_ms"),
        {}, {"speculate": False},
        why="What early replies are worth shows without them:",
    ),
    "voice_model": Scene(
        _ask, lambda: Script(transcripts=_QUESTION, llm_first_token_ms=300), (*_GAP, "connections"), {"mode": "realtime"},
    ),
    "first_turn": Scene(
        _ask_twice, lambda: Script(transcripts=_QUESTION, straggler_share=0.3, straggler_factor=12, seed=34),
        ("turn", *_GAP, "llm"), {}, {"hedge_llm_ms": 400}, (1, 2),
        why="Where it happens now and then, a second request helps ([stragglers](#stragglers)); `attempts` counts it:",
    ),
    "cost": Scene(
        _ask_in_pieces, lambda: Script(transcripts=["what time is it", "in paris", "today"], partials=False),
        ("pauses_ms", "speculation", *_GAP), {}, {"pause_ms": 250},
        why="A longer pause before that, or `VOICEAGENT_SPECULATIONS_PER_MIN`, or `VOICEAGENT_SPECULATE=false`:",
    ),
    "cough_stops": Scene(
        _over_the_reply(950), lambda: Script(transcripts=["a story", ""], replies=[STORY]),
        ("outcome", "barge_ins", "heard_ms", "reply_ms"), {}, {"barge_in_ms": 1500},
        why="A larger one lets it go on:",
    ),
    "cough_stutters": Scene(
        _over_the_reply(100), lambda: Script(transcripts=["a story", ""], replies=[STORY]),
        ("outcome", "barge_ins"),
    ),
    "listener": Scene(
        _over_the_reply(400), lambda: Script(transcripts=["a story", "yeah"], replies=[STORY]), ("outcome", "barge_ins"),
    ),
    "tone": Scene(
        _ask, lambda: Script(transcripts=_QUESTION, llm_first_token_ms=2500), ("fillers", *_GAP), {}, {"filler": "none"},
        why="Without the tone there is silence:",
    ),
    "fault": Scene(
        _ask, lambda: Script(transcripts=_QUESTION, llm_error={1: 503, 2: 503}), ("outcome", "faults", "llm", *_GAP),
    ),
}  # fmt: skip


def excerpt(scene: Scene, settings: Mapping[str, Any]) -> str:
    """Play a scene and return the lines of its turns, the fields that are shown, without segments of no length."""

    async def run() -> list[dict[str, Any]]:
        async with world(scene.script(), **{"endpoint_adapts": False, **settings}) as w:
            await scene.play(w)
            return [turn_fields(turn) for turn in w.turns]

    lines = []
    for turn in run_virtual(run()):
        if turn["turn"] in scene.turns:
            turn["segments_ms"] = {name: ms for name, ms in turn["segments_ms"].items() if ms}
            for part in ("stt", "llm", "tts"):  # twins of tests listen at another port each time
                (turn[part] or {}).pop("host", None)
            lines.append(json.dumps({name: turn[name] for name in scene.fields}))
    return "\n".join(lines)


def block(name: str) -> str:
    """Return the part of the guide that a scene makes: the record as it was, and as it is with the setting."""
    scene = SCENES[name]
    parts = [_shown(scene.before), f"```json\n{excerpt(scene, scene.before)}\n```"]
    if scene.after:
        parts += [
            f"{scene.why} {_shown(scene.after)}",
            f"```json\n{excerpt(scene, {**scene.before, **scene.after})}\n```",
        ]
    return "\n\n".join(part for part in parts if part)


def _shown(settings: Mapping[str, Any]) -> str:
    named = (f"`VOICEAGENT_{name.upper()}={str(value).lower()}`" for name, value in settings.items())
    return " and ".join(named) + ":" if settings else ""
