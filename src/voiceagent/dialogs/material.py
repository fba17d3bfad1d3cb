"""The hand-written material of the dialogs: what callers say and where they pause, what disturbs, what the agent answers."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Break = Literal["unfinished", "finished", ""]


@dataclass(frozen=True, slots=True)
class Piece:
    """Words said in one go, and what kind of pause follows; none after the last."""

    words: tuple[str, ...]
    pause: Break = ""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What somebody says in one turn. `bare`: a stop word to which no answer is expected."""

    text: str
    pieces: tuple[Piece, ...]
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Noise:
    """A sound of a body or a room: its range of lengths, how often it is taken for speech, what the STT makes of it."""

    name: str
    least_ms: int
    most_ms: int
    as_speech: float
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Murmur:
    """What a listener says to show that they listen, and its range of lengths."""

    text: str
    least_ms: int
    most_ms: int


def lines(name: str) -> list[str]:
    """The lines of a file of material, without its comments."""
    text = files("voiceagent.dialogs").joinpath("material", f"{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def parse(line: str) -> Utterance:
    """Read one utterance with its pauses."""
    bare, line = line.startswith("!"), line.removeprefix("!")
    parts = re.split(r"\s*(//|\|)\s*", line)
    marks = [*parts[1::2], ""]
    kinds: dict[str, Break] = {"//": "finished", "|": "unfinished", "": ""}
    pieces = tuple(Piece(tuple(said.split()), kinds[mark]) for said, mark in zip(parts[::2], marks, strict=True))
    return Utterance(" ".join(" ".join(piece.words) for piece in pieces), pieces, bare)


@cache
def utterances(name: str) -> tuple[Utterance, ...]:
    """All utterances of a file."""
    return tuple(parse(line) for line in lines(name))


@cache
def murmurs() -> tuple[Murmur, ...]:
    """All backchannels."""
    found = (re.fullmatch(r"(.+): (\d+)-(\d+)", line) for line in lines("backchannels"))
    return tuple(Murmur(match[1], int(match[2]), int(match[3])) for match in found if match)


@cache
def noises() -> tuple[Noise, ...]:
    """All coughs, tics and sounds of a room."""
    found = (re.fullmatch(r"(.+): (\d+)-(\d+) ([\d.]+) (.*)", line) for line in lines("tics"))
    return tuple(
        Noise(match[1], int(match[2]), int(match[3]), float(match[4]), tuple(re.findall(r'"(.*?)"', match[5])))
        for match in found
        if match
    )
