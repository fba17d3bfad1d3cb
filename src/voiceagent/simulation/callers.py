"""The caller: labelled behaviours, drawn one after the other, each reacting to what the page shows and plays."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from voiceagent import protocol
from voiceagent.simulation.browser import Browser
from voiceagent.simulation.script import STEP_MS, Label, Segment, Timeline, utter

QUESTIONS = (
    "what time is it", "tell me a joke", "tell me a long story about the sea", "how far is the moon", "is it raining in paris",
    "can you help me with my order please", "yes", "no", "tuesday", "why", "play it again", "I would like to book a table",
)  # fmt: skip
UNFINISHED = ("I want to go to the", "my number is four five", "well um", "can you tell me and", "it was on the")
RESTS = ("station", "six seven eight", "I do not know", "also the time", "third of may")
BACKCHANNELS = ("yeah", "right", "okay", "mm-hm", "uh-huh")
STOPS = ("stop", "wait", "no stop")
ASIDES = ("did you lock the door", "yes mum in a minute", "where is the remote")


class Caller:
    """One person with a page. `note` takes what is done, for the transcript."""

    def __init__(self, browser: Browser, timeline: Timeline, draw: random.Random, note: Callable[[str], None]) -> None:
        self.browser, self.timeline, self.draw = browser, timeline, draw
        self._note = note
        self._changed: asyncio.Future[None] | None = None
        self.key_down = False
        browser.on_change = self._wake

    # ------------------------------------------------------------------------------ waiting
    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def rest(self, low_ms: int, high_ms: int | None = None) -> None:
        """Do nothing for so long, on the grid."""
        ms = low_ms if high_ms is None else self.draw.randrange(low_ms, high_ms + 1, STEP_MS)
        await asyncio.sleep(ms / 1000)

    async def until(self, condition: Callable[[], bool], limit_ms: int) -> bool:
        """Wait until the page shows something, at most so long."""
        loop = self.browser.loop
        end_us = loop.now_us + limit_ms * 1000
        while not condition():
            if loop.now_us >= end_us or self.browser.gone:
                return False
            self._changed = loop.create_future()
            timer = loop.after_us(end_us - loop.now_us, self._wake)
            try:
                await self._changed
            finally:
                timer.cancel()
        return True

    async def until_answered(self, limit_ms: int = 9_000) -> bool:
        """Wait until the agent speaks."""
        return await self.until(lambda: self.browser.playback.sounding is not None, limit_ms)

    async def until_quiet(self, limit_ms: int = 12_000) -> bool:
        """Wait until the agent has finished."""
        browser = self.browser
        return await self.until(lambda: browser.leaf == "listening" and browser.playback.sounding is None, limit_ms)

    # ------------------------------------------------------------------------------ making sounds
    @property
    def _now(self) -> int:
        return self.browser.step + 1

    def say(self, text: str, label: Label = "speech", **more: Any) -> Segment:
        """Begin to say something now."""
        segment = utter(
            label,
            text,
            self._now,
            self.draw,
            **{"notice": self.draw.randrange(6, 20), "late": self.draw.randrange(11), **more},
        )
        self._note(f"{label}: {text!r} until {segment.end * STEP_MS}")
        return self.timeline.add(segment)

    def sound(self, label: Label, steps: int, notice: int | None = None) -> Segment:
        """Begin a sound without words."""
        self._note(f"{label} of {steps * STEP_MS} ms")
        return self.timeline.add(Segment(label, self._now, self._now + steps, notice=notice))

    async def out(self, segment: Segment) -> None:
        """Wait until a sound is over."""
        await self.rest(max(0, (segment.end - self.browser.step) * STEP_MS))

    # ------------------------------------------------------------------------------ behaviours
    async def plain(self) -> None:
        """Ask something and hear the answer to its end."""
        await self.out(self.say(self.draw.choice(QUESTIONS)))
        await self.until_quiet()

    async def pausing(self) -> None:
        """Stop in the middle of a sentence, and go on."""
        await self.out(self.say(self.draw.choice(UNFINISHED)))
        await self.rest(80, 1_200)
        await self.out(self.say(self.draw.choice(RESTS)))
        await self.until_quiet()

    async def dictation(self) -> None:
        """Speak for long, with pauses of all lengths."""
        for _ in range(self.draw.randint(3, 7)):
            await self.out(self.say(f"{self.draw.choice(UNFINISHED)} {self.draw.choice(RESTS)}"))
            await self.rest(60, 600)
        await self.until_quiet()

    async def over_the_answer(self, make: Callable[[], Segment]) -> None:
        """Ask, and at some moment of the answer make a sound."""
        await self.out(self.say(self.draw.choice(QUESTIONS)))
        if await self.until_answered():
            await self.rest(0, 2_500)
        await self.out(make())
        await self.until_quiet()

    async def backchannel(self) -> None:
        """Say that one listens."""
        await self.over_the_answer(lambda: self.say(self.draw.choice(BACKCHANNELS), "backchannel"))

    async def cough(self) -> None:
        """Cough, once taken for speech and once not."""
        notice = self.draw.choice((None, None, 8))
        await self.over_the_answer(lambda: self.sound("cough", self.draw.randint(8, 40), notice))

    async def side_speech(self) -> None:
        """Speak to somebody else in the room, or somebody else speaks."""
        level = -float(self.draw.randint(8, 20))
        await self.over_the_answer(lambda: self.say(self.draw.choice(ASIDES), "side", level_db=level))

    async def echo(self) -> None:
        """Have the agent's own voice come back."""
        await self.out(self.say(self.draw.choice(QUESTIONS)))
        if await self.until_answered():
            await self.rest(20, 200)
            self.sound("echo", self.draw.randint(20, 150), self.draw.choice((None, 10)))
        await self.until_quiet()

    async def stop_word(self) -> None:
        """Have enough."""
        await self.over_the_answer(lambda: self.say(self.draw.choice(STOPS), "stop"))

    async def barge_in(self) -> None:
        """Speak over the answer: while it is thought of, in its first moment, in its middle, in its last."""
        await self.out(self.say(self.draw.choice(QUESTIONS)))
        browser = self.browser
        match self.draw.randrange(4):
            case 0:
                await self.until(lambda: browser.leaf == "thinking", 4_000)
                await self.rest(0, 400)
            case 1:
                await self.until(lambda: browser.leaf == "speaking", 6_000)
                await self.rest(0, 100)
            case 2:
                await self.until_answered()
                await self.rest(100, 2_000)
            case _:
                await self.until_answered()
                await self.until(lambda: browser.playback.now is None or browser.playback.now.total is not None, 12_000)
                await self.rest(0, 300)
        for _ in range(self.draw.choice((1, 1, 2))):
            await self.out(self.say(self.draw.choice(QUESTIONS)))
            await self.rest(0, 200)  # twice within 200 ms, perhaps
        await self.until_quiet()

    async def talk_key(self) -> None:
        """Hold the talk key, in whatever state that comes."""
        await self.rest(0, 800)
        self._press(down=True)
        await self.rest(0, 200)
        await self.out(self.say(self.draw.choice(QUESTIONS)))
        if self.draw.random() < 0.2:
            await self.out(self.sound("noise", 30, 5))
        await self.rest(0, 300)
        self._press(down=False)
        if self.draw.random() < 0.7:
            await self.until_quiet()

    def hang_up(self) -> None:
        """End the conversation."""
        self.browser.send_up(protocol.HangUp())

    def _press(self, *, down: bool) -> None:
        self.key_down = down
        self._note(f"talk key {'down' if down else 'up'}")
        self.browser.send_up(protocol.PushToTalk(down=down))

    async def typing(self) -> None:
        """Type, in whatever state that comes; perhaps while speaking."""
        await self.rest(0, 2_000)
        if self.draw.random() < 0.3:
            self.say(self.draw.choice(QUESTIONS))
            await self.rest(0, 900)
        for _ in range(self.draw.choice((1, 1, 1, 2))):
            text = self.draw.choice(QUESTIONS)
            self._note(f"types {text!r}")
            self.browser.send_up(protocol.Text(text=text))
            await self.rest(0, 300)
        await self.until_quiet()

    async def dial(self) -> None:
        """Turn the dial."""
        self.browser.send_up(protocol.Tune(patience=self.draw.choice((0.0, 0.3, 1.0))))
        await self.rest(0, 500)

    async def muting(self) -> None:
        """Mute in the middle of a word, and come back."""
        segment = self.say(self.draw.choice(QUESTIONS))
        await self.rest(100, 900)
        self._note("mutes")
        self.browser.muted = True
        self.browser.send_up(protocol.Mute(muted=True))
        await self.rest(100, 2_000)
        self.browser.muted = False
        self.browser.send_up(protocol.Mute(muted=False))
        await self.out(segment)
        await self.until_quiet()

    async def hanging_microphone(self) -> None:
        """Have a microphone that hangs, and does not say so."""
        self.say(self.draw.choice(QUESTIONS))
        await self.rest(100, 900)
        self._note("the microphone hangs")
        self.browser.mic_hangs = True
        await self.rest(500, 4_000)
        self.browser.mic_hangs = False
        await self.until_quiet()

    async def endless(self) -> None:
        """Have music on: voice without a pause."""
        await self.out(self.sound("noise", self.draw.randint(300, 900), 12))
        await self.until_quiet()

    async def machine_gun(self) -> None:
        """Make ten sounds a second."""
        if self.draw.random() < 0.5:
            self.say(self.draw.choice(QUESTIONS))
            await self.until_answered()
        for _ in range(self.draw.randint(10, 25)):
            self.sound("tic", 5, self.draw.choice((None, 3)))
            await self.rest(100)
        await self.until_quiet()

    async def breathing(self) -> None:
        """Breathe into the microphone: sounds of a second, as regular as they are no speech."""
        for _ in range(self.draw.randint(4, 10)):
            await self.out(self.sound("noise", self.draw.randint(60, 140), self.draw.choice((None, None, None, 50))))
            await self.rest(600, 1_500)

    async def asleep(self) -> None:
        """Say nothing for an hour, the microphone muted."""
        self.browser.muted = True
        self.browser.send_up(protocol.Mute(muted=True))
        await self.rest(3_600_000)

    async def silence(self) -> None:
        """Say nothing for long."""
        await self.rest(2_000, 9_000)

    async def clock_jumps(self) -> None:
        """Have a clock that is set anew."""
        self._note("the browser's clock jumps")
        self.browser.on_clock()
        self.browser.clock_jump_ms += self.draw.choice((-3_600_000, -500, 500, 3_600_000))
        await self.plain()


Act = Callable[[Caller], Awaitable[None]]
BEHAVIOURS: tuple[tuple[Act, int], ...] = (
    (Caller.plain, 20), (Caller.pausing, 14), (Caller.dictation, 4), (Caller.backchannel, 10), (Caller.cough, 8),
    (Caller.side_speech, 5), (Caller.echo, 5), (Caller.stop_word, 6), (Caller.barge_in, 20), (Caller.talk_key, 8),
    (Caller.typing, 8), (Caller.dial, 2), (Caller.muting, 3), (Caller.hanging_microphone, 3), (Caller.endless, 1),
    (Caller.machine_gun, 2), (Caller.breathing, 1), (Caller.silence, 4), (Caller.clock_jumps, 1),
)  # fmt: skip
_ALL, _WEIGHTS = [act for act, _ in BEHAVIOURS], [weight for _, weight in BEHAVIOURS]


async def live(caller: Caller, acts: Sequence[Act] = ()) -> None:
    """Behave, one way after the other, until cancelled."""
    await caller.rest(0, 800)
    while True:
        act = caller.draw.choice(acts) if acts else caller.draw.choices(_ALL, _WEIGHTS)[0]
        await act(caller)
        await caller.rest(0, 1_500)


def hush(caller: Caller) -> None:
    """From here on the caller is quiet: the key is up, and nothing is said any more."""
    browser = caller.browser
    caller._note("the caller is quiet from here on")
    browser.muted = browser.mic_hangs = False
    if caller.key_down:
        caller._press(down=False)
    caller.timeline.cut(browser.step + 1)
