"""The replies of one session that are being made: started, promoted, cancelled, and what a dropped one has cost."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from voiceagent.accounts import Accounts, Work
from voiceagent.audio import RATE_HZ
from voiceagent.effects import StartFiller, StartReply
from voiceagent.events import Fact, ReplyDropped
from voiceagent.outbox import Outbox
from voiceagent.reply import ReplyAttempt
from voiceagent.spoken import SpokenAttempt
from voiceagent.steps import Steps

Attempt = ReplyAttempt | SpokenAttempt


def filler_tone() -> bytes:
    """Return the sound that says "one moment": two soft tones, a second in all, PCM16 mono at 24 kHz."""
    seconds = np.arange(RATE_HZ) / RATE_HZ
    first = np.clip(1 - np.abs(seconds - 0.15) / 0.15, 0, 1) * np.sin(2 * np.pi * 440 * seconds)
    second = np.clip(1 - np.abs(seconds - 0.45) / 0.15, 0, 1) * np.sin(2 * np.pi * 554 * seconds)
    pcm: bytes = (1_800 * (first + second)).astype("<i2").tobytes()
    return pcm


class Attempts:
    """`make` builds an attempt, `spawn` runs it in the session's scope, `post` takes facts.

    `steps` hears which tasks begin and end, `accounts` has a sheet for what each costs.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        make: Callable[[Work, Callable[[Fact], None]], Attempt],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        post: Callable[[Fact], None],
        now_us: Callable[[], int],
        steps: Steps,
        accounts: Accounts,
    ) -> None:
        self._outbox = outbox
        self._make = make
        self._spawn = spawn
        self._post = post
        self._now_us = now_us
        self._steps = steps
        self._accounts = accounts
        self._running: dict[int, tuple[Attempt, asyncio.Task[None], str]] = {}  # with the task's name

    def start(self, effect: StartReply) -> None:
        """Begin to make a reply, behind the gate."""
        self._outbox.begin(effect.turn, effect.epoch)
        attempt = self._make(self._accounts.begin(effect.turn, effect.epoch), self._post)
        if not effect.speculative:
            attempt.promote()
        self._run(attempt, effect.messages, effect.canned, f"reply {effect.epoch}")

    def fill(self, effect: StartFiller) -> None:
        """Play what bridges a wait as soon as it is there; what its making tells is nobody's business."""
        self._outbox.begin(effect.turn, effect.epoch, filler=True)
        self._outbox.open(effect.epoch)
        if effect.sound == "tone":
            pcm = filler_tone()
            self._outbox.put_audio(effect.epoch, pcm)
            self._outbox.complete(effect.epoch, len(pcm) // 2)
            return
        attempt = self._make(self._accounts.begin(effect.turn, effect.epoch), lambda _: None)
        attempt.promote()
        self._run(attempt, (), effect.sound, f"filler {effect.epoch}")

    def promote(self, epoch: int) -> None:
        """The turn has ended as this attempt took it to end."""
        if (running := self._running.get(epoch)) is not None:
            running[0].promote()

    def cancel(self, turn: int, epoch: int) -> None:
        """Stop making it and close its requests; say what it has cost if it was made too early."""
        self._outbox.drop(epoch)
        if (running := self._running.pop(epoch, None)) is not None:
            attempt, task, name = running
            if not attempt.promoted:
                attempt.work.dropped = True
                self._post(ReplyDropped(turn, epoch, attempt.work.tokens, attempt.work.characters))
            if task.done():
                return
            at_us = self._now_us()
            task.cancel()
            self._steps.cancelled(name)
            task.add_done_callback(lambda _: self._steps.ended(name, self._now_us() - at_us))

    def cancel_all(self) -> None:
        """The session is over."""
        for _, task, _ in self._running.values():
            task.cancel()

    def _run(self, attempt: Attempt, messages: tuple[dict[str, str], ...], canned: str, name: str) -> None:
        task = self._spawn(attempt.run(messages, canned))
        self._steps.started(name)
        self._running[attempt.epoch] = (attempt, task, name)
        task.add_done_callback(lambda _: self._running.pop(attempt.epoch, None))
