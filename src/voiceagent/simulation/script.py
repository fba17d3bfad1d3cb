"""What reaches the microphone: labelled segments with their words, on a grid of 10 ms, and audio that says where it is from.

A step is 10 ms of the session's time. Each sample of the simulated microphone carries its step's number (16 bits), so that
whoever receives audio knows which part of the script it is, whatever was cut, kept or repeated in between.
"""

import random
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

STEP_MS = 10
STEP_SAMPLES = 240
_WRAP = 1 << 16
_TABLE_STEPS = 16_384

Label = Literal["speech", "backchannel", "stop", "cough", "tic", "side", "echo", "noise"]


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a segment, from `start` to before `end` in steps."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One sound. `notice` is after how many steps the detector hears it as speech; None: never.

    It takes the onset for so much later than it was (`late`, in steps).
    """

    label: Label
    start: int
    end: int
    words: tuple[Word, ...] = ()
    level_db: float = 0.0
    notice: int | None = 9
    late: int = 0


class Timeline:
    """The sounds of one session. They may overlap; a new one begins now or later."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []  # by their start
        self._starts: list[int] = []
        self._longest = 0

    def add(self, segment: Segment) -> Segment:
        """Put in a sound."""
        at = bisect_left(self._starts, segment.start)
        self.segments.insert(at, segment)
        self._starts.insert(at, segment.start)
        self._longest = max(self._longest, segment.end - segment.start)
        return segment

    def cut(self, step: int) -> None:
        """Nothing is to be heard from this step on."""
        kept = [replace(sound, end=min(sound.end, step)) for sound in self.segments if sound.start < step]
        self.segments, self._starts = kept, [sound.start for sound in kept]

    def within(self, first: int, last: int) -> list[Segment]:
        """The sounds that have a part in the steps from `first` to before `last`."""
        segments = self.segments
        if not segments:
            return []
        at, found = bisect_left(self._starts, first - self._longest), []
        while at < len(segments) and segments[at].start < last:
            if segments[at].end > first:
                found.append(segments[at])
            at += 1
        return found

    def words(self, ranges: list[tuple[int, int]]) -> list[Word]:
        """The words whose middle lies in one of the ranges of steps, in their order; a word heard twice comes twice."""
        found: list[Word] = []
        for first, last in ranges:
            for segment in self.within(first, last):
                found += [word for word in segment.words if first <= (word.start + word.end) // 2 < last]
        return found


# ------------------------------------------------------------------------------------------ speaking
def word_steps(word: str, draw: random.Random) -> int:
    """How long a word is spoken: by its vowels and letters, with a person's variation; "yeah" and "stop" last equally long."""
    vowels = sum(letter in "aeiouy" for letter in word)
    return max(12, round((10 + 9 * max(1, vowels) + len(word)) * draw.uniform(0.85, 1.3)))


def utter(label: Label, text: str, start: int, draw: random.Random, **more: object) -> Segment:
    """A segment that says `text` from `start` on."""
    at, words = start, []
    for word in text.split():
        end = at + word_steps(word, draw)
        words.append(Word(word, at, end))
        at = end
    return Segment(label, start, at, tuple(words), **more)  # type: ignore[arg-type]  # the fields left


# ------------------------------------------------------------------------------------------ audio that says where it is from
@cache
def _table(block: int) -> bytes:
    return b"".join(((block + step) % _WRAP).to_bytes(2, "little") * STEP_SAMPLES for step in range(_TABLE_STEPS))


def audio(first: int, steps: int) -> bytes:
    """The microphone's samples of these steps."""
    block = first % _WRAP // _TABLE_STEPS * _TABLE_STEPS
    at = (first % _WRAP - block) * STEP_SAMPLES * 2
    pcm = _table(block)[at : at + steps * STEP_SAMPLES * 2]
    if len(pcm) < steps * STEP_SAMPLES * 2:
        return pcm + audio(first + len(pcm) // (STEP_SAMPLES * 2), steps - len(pcm) // (STEP_SAMPLES * 2))
    return pcm


def step_of(pcm: bytes, at: int, near: int) -> int:
    """The step that the sample at byte `at` is from; `near` is one not too far from it."""
    number = pcm[at] | pcm[at + 1] << 8
    return near + (number - near + _WRAP // 2) % _WRAP - _WRAP // 2


def steps_in(pcm: bytes, near: int) -> list[tuple[int, int]]:
    """The ranges of steps that a piece of audio is from; one that is cut at either end counts as there."""
    first, last = step_of(pcm, 0, near), step_of(pcm, len(pcm) - 2, near)
    samples = len(pcm) // 2
    if (last - first) * STEP_SAMPLES < samples <= (last - first + 1) * STEP_SAMPLES or samples <= STEP_SAMPLES:
        whole = (last - first + 1) * STEP_SAMPLES - samples < 2 * STEP_SAMPLES
        if whole:
            return [(first, last + 1)]
    ranges: list[tuple[int, int]] = []
    begin = at = first
    for byte in range(2, len(pcm), 2):
        step = step_of(pcm, byte, near)
        if step not in {at, at + 1}:
            ranges.append((begin, at + 1))
            begin = step
        at = step
    return [*ranges, (begin, at + 1)]
