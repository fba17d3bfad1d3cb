"""The caller of one dialog: takes the turns of the script, makes sounds over the replies, and keeps the truth about both."""

import random
from dataclasses import dataclass
from typing import Any

from voiceagent.dialogs import material
from voiceagent.dialogs.material import Murmur, Noise, Utterance
from voiceagent.dialogs.room import Around, Page, ScriptedAnswers
from voiceagent.dialogs.scripts import Aside, Exchange, Over, Script
from voiceagent.dialogs.sounds import RAISED_DB, Mouth, Sound
from voiceagent.simulation.callers import Caller
from voiceagent.simulation.script import STEP_MS

ANSWER_MS = 4_500  # so long the caller waits for an answer
AFTER_REPLY_MS = (300, 1_300)
INTO_REPLY_MS = (700, 2_800)  # from the reply's beginning, or the last sound, to a sound over it
ECHOES_PER_MIN = 0.5
"""The gate let none pass in 6 minutes of `bench.ears`; with so many a minute that would have been luck (p = 0.05)."""
ECHO_EVERY_MS = 200
LEFT_MS = 2_500  # so much of the reply must be left then


@dataclass(slots=True)
class Said:
    """What the caller, or somebody else, did: its true times in microseconds, and the epoch that was heard under it."""

    label: str  # turn, backchannel, tic, side speech, barge-in
    text: str
    start_us: int
    end_us: int
    level_db: float = 0.0
    over: int = 0
    answered: bool = True  # an answer is expected
    pauses: tuple[tuple[int, int, str, str], ...] = ()  # from, to, kind, the words before


class Person(Caller):
    """Who plays one script in a room."""

    def __init__(
        self, script: Script, page: Page, room: Around, answers: ScriptedAnswers, draw: random.Random
    ) -> None:  # fmt: skip
        super().__init__(page, room.timeline, draw, lambda _: None)
        self.said: list[Said] = []
        self._script, self._page, self._answers, self._put = script, page, answers, room.put
        self._mouth = Mouth(draw, snr_db=script.snr_db, punctuated=script.punctuated, dips=room.dips)
        self._long = [each.text for each in material.utterances("replies")]
        self._short = [each.text for each in material.utterances("answers")]
        draw.shuffle(self._long)
        draw.shuffle(self._short)

    async def live(self) -> None:
        """Play the script from its first turn to the end of the last reply."""
        await self.rest(600, 1_000)
        for exchange in self._script.exchanges:
            await self._exchange(exchange)
            await self.until_quiet(60_000)
            await self.rest(*AFTER_REPLY_MS)

    async def echoes(self) -> None:
        """Let pieces of the agent's voice pass the echo gate, as rarely as they do."""
        while True:
            await self.rest(ECHO_EVERY_MS)
            track = self._page.replying
            if track is None or track.held or self.draw.random() > ECHOES_PER_MIN * ECHO_EVERY_MS / 60_000:
                continue
            self._put([self._mouth.echo(self._answers.next, self._page.step + 1)])

    async def _exchange(self, exchange: Exchange) -> None:
        self._expect(long=exchange.long)
        turn = await self._speak(exchange.turn, "turn", 0)
        if not await self._answer(turn.start_us):
            return
        for over in exchange.overs:
            await self.rest(*INTO_REPLY_MS)
            track = self._page.replying
            if track is None or track.held or not self._left(track):
                return
            await self._make(over, track.epoch)

    async def _make(self, over: Over, epoch: int) -> None:
        if isinstance(over, Utterance):
            self._expect(long=False)
            said = await self._speak(over, "barge-in", epoch)
            await self._answer(said.start_us, over=epoch)
            return
        start = self._page.step + 1
        match over:
            case Murmur():
                sounds, label, text = [self._mouth.murmur(over, start)], "backchannel", over.text
            case Noise():
                sounds, label, text = [self._mouth.noise(over, start)], "tic", over.name
            case Aside(said=aside, level_db=level_db):
                sounds, text = self._mouth.say(aside, start, "side", level_db=level_db), aside.text
                label = "side speech"
        await self._sound(sounds, Said(label, text, 0, 0, over=epoch, answered=False))

    async def _speak(self, utterance: Utterance, label: str, over: int) -> Said:
        echo_db = self._script.echo_db if over else None
        level_db = RAISED_DB if over else 0.0
        sounds = self._mouth.say(utterance, self._page.step + 1, level_db=level_db, echo_db=echo_db)
        said = Said(label, utterance.text, 0, 0, over=over, answered=not utterance.bare)
        return await self._sound(sounds, said, utterance)

    async def _sound(self, sounds: list[Sound], said: Said, utterance: Utterance | None = None) -> Said:
        sounds = self._put(sounds)
        said.start_us, said.end_us = self._us(sounds[0].start), self._us(sounds[-1].end)
        said.level_db = round(sounds[0].level_db, 1)
        if utterance is not None:
            said.pauses = self._pauses(sounds, utterance)
        self.said.append(said)
        await self.rest(max(0, (sounds[-1].end - self._page.step) * STEP_MS))
        return said

    def _pauses(self, sounds: list[Sound], utterance: Utterance) -> tuple[tuple[int, int, str, str], ...]:
        """The pauses between the pieces; a piece may be of several sounds."""
        found, at = [], 0
        words = [(word, sound) for sound in sounds for word in sound.words]
        for piece in utterance.pieces[:-1]:
            at += len(piece.words)
            if at < len(words):
                before, after = words[at - 1][0], words[at][0]
                found.append((self._us(before.end), self._us(after.start), piece.pause, " ".join(piece.words)))
        return tuple(found)

    # ------------------------------------------------------------------------------ waiting
    def _us(self, step: int) -> int:
        return self._page.start_us + step * STEP_MS * 1000

    def _expect(self, *, long: bool) -> None:
        pile = self._long if long else self._short
        pile.append(pile.pop(0))
        self._answers.next = pile[-1]

    def _left(self, track: Any) -> bool:
        """Whether enough of the reply is still to come, as far as the page knows."""
        return track.total is None or (track.total - track.position) / 24 >= LEFT_MS

    async def _answer(self, since_us: int, *, over: int = 0) -> bool:
        """Wait until another reply than the one spoken over is heard."""

        def answered() -> bool:
            track = self._page.replying
            return track is not None and track.epoch > over and (track.base_us or 0) > since_us

        return await self.until(answered, ANSWER_MS)
