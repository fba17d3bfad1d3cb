"""Words for turn-taking: whether a speaker is done with what was said, only listens, or wants the other to stop.

The rules are here, the words in ``wordlists``. Whatever is said, only its last words are looked at, so the cost is bounded.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from functools import cache
from typing import Self

from voiceagent import dictation
from voiceagent.likeness import echoes, same_words
from voiceagent.wordlists import BY_LANGUAGE, NOISES, STOPS, Phrases, Words, phrases

__all__ = ["Ending", "Lexicon", "echoes", "same_words"]

TAIL_CHARS, TAIL_WORDS = 480, 40
"""What is looked at of a long text: its end decides."""
MAX_SIGNAL_CHARS, MAX_SIGNAL_WORDS = 160, 12
"""A longer text is neither listening noises nor a call to stop."""
REQUEST_WORDS = 3
"""A verb and what it wants."""
LONGEST_PHRASE = 6
"""Words of the longest entry of a list."""
PARTICLE_REACH = 8
"""So many words back is the verb of a particle: "turn the light in the kitchen on"."""

_TAG = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>|\*[^*]*\*|[♪♫]+")
_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*(?:(?:st|nd|rd|th|am|pm)\b)?|[^\W\d_]+(?:'[^\W\d_]+)*'?")
_DRAWN = re.compile(r"([^\W\d_])\1+")
_SENTENCE = re.compile(r"[.?!…¿¡]+\s+")
_APOSTROPHES = str.maketrans("’‘ʼ´`", "'''''")
_GOES_ON = ("...", "…", ",", ";", ":", "-", "–", "—", "、", "،")
_CLOSING = " \t\r\n\"'”’»)]}*"


class Ending(StrEnum):
    """How the words said so far end."""

    EMPTY = auto()
    NEUTRAL = auto()
    COMPLETE = auto()
    QUESTION = auto()
    UNFINISHED = auto()
    HESITATION = auto()
    NUMBER = auto()
    SPELLING = auto()


def _squeeze(word: str) -> str:
    """Return a word without its drawn-out letters: "ummm" is "um", and "mmmm" is "mm", since "m" is a letter."""
    once = _DRAWN.sub(r"\1", word)
    return once if len(once) > 1 or once == word else once * 2


def _squeezed(entries: Iterable[str]) -> Phrases:
    return frozenset(" ".join(map(_squeeze, entry.split())) for entry in entries)


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _plain(text: str) -> str:
    """Return a text in one form: compatible, small, with plain apostrophes, without tags such as "[laughter]"."""
    return _TAG.sub(" ", unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES))


def _tail(text: str) -> str:
    """Return the end of a long text, from the beginning of a word."""
    if len(text) <= TAIL_CHARS:
        return text
    _, _, rest = text[-TAIL_CHARS:].partition(" ")
    return rest or text[-TAIL_CHARS:]


def _ends(words: Sequence[str], entries: Phrases) -> str:
    """Return the longest phrase of these that the words end with, if any."""
    for count in range(min(LONGEST_PHRASE, len(words)), 0, -1):
        end = " ".join(words[-count:])
        if end in entries:
            return end
    return ""


def _consists_of(words: Sequence[str], entries: Phrases) -> bool:
    """Whether the words are nothing but phrases of these."""
    reached = [True] + [False] * len(words)
    for end in range(1, len(words) + 1):
        starts = range(max(0, end - LONGEST_PHRASE), end)
        reached[end] = any(reached[start] and " ".join(words[start:end]) in entries for start in starts)
    return bool(words) and reached[-1]


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """What the words of one language say about turns; one per language, shared by all sessions."""

    language: str
    _words: Words
    _noises: Phrases
    _noise_starts: Phrases
    _stops: Phrases
    _around_stops: Phrases
    _hesitations: Phrases

    @classmethod
    def of(cls, language: str | None) -> Self:
        """Return the lexicon of a language (ISO 639-1, a region is ignored); None is English."""
        return cls._of(re.split(r"[-_]", language or "en")[0].lower())

    @classmethod
    @cache
    def _of(cls, code: str) -> Self:
        words = BY_LANGUAGE.get(code, Words())
        noises = _squeezed(NOISES | words.backchannels)
        stops = _squeezed(STOPS | words.stops)
        starts = {noise[:end] for noise in noises for end in range(1, len(noise) + 1)}
        around = stops | _squeezed(phrases("okay, ok, oh") | words.polite)
        return cls(code, words, noises, frozenset(starts), stops, around, _squeezed(words.hesitations))

    # ------------------------------------------------------------------------------------ signals
    def is_backchannel(self, text: str) -> bool:
        """Whether all of it is listening noises: words such as "yeah", laughter, tags such as "[cough]"."""
        words = self._signal(text)
        if words is None or (text.rstrip().endswith("?") and words == ["huh"]):
            return False
        if not words:
            return _TAG.search(text) is not None
        return _consists_of(words, self._noises)

    def may_become_backchannel(self, text: str) -> bool:
        """Whether a partial transcript is, or may yet be, listening noises; one without words may."""
        words = self._signal(text)
        if words is None:
            return False
        for start in range(max(0, len(words) - LONGEST_PHRASE), len(words) + 1):
            before, rest = words[:start], " ".join(words[start:])
            if (not rest or rest in self._noise_starts) and (not before or _consists_of(before, self._noises)):
                return True
        return False

    def is_stop(self, text: str) -> bool:
        """Whether all of it asks the other to stop, politely or not: "okay stop", but not "okay stop by the store"."""
        words = self._signal(text)
        if not words or not _consists_of(words, self._around_stops):
            return False
        ends = range(1, len(words) + 1)
        return any(
            " ".join(words[start:end]) in self._stops
            for end in ends
            for start in range(max(0, end - LONGEST_PHRASE), end)
        )

    def _signal(self, text: str) -> list[str] | None:
        """Return the squeezed words of a short text; None for a text too long to be a signal."""
        if len(text) > MAX_SIGNAL_CHARS:
            return None
        words = [_squeeze(word) for word in _tokens(_plain(text))]
        return words if len(words) <= MAX_SIGNAL_WORDS else None

    @property
    def has_words(self) -> bool:
        """Whether there are lists for this language; without them every ending is neutral."""
        return bool(self._words.fillers)

    def requests(self, text: str) -> bool:
        """Whether the last sentence asks for something: "tell me a joke", with its object."""
        words = [word for word in _tokens(_SENTENCE.split(_plain(text).rstrip())[-1]) if word not in self._words.polite]
        return len(words) >= REQUEST_WORDS and words[0] in self._words.requests

    # ------------------------------------------------------------------------------------- endings
    def speculable(self, text: str) -> bool:
        """Whether a guess at the reply is worth its cost after these words."""
        return self.ending(text) in (Ending.NEUTRAL, Ending.COMPLETE, Ending.QUESTION)

    def ending(self, text: str) -> Ending:  # noqa: PLR0911 - one return for each ending
        """Return how the words said so far end, with or without punctuation and capitals."""
        plain = _plain(_tail(text)).rstrip()
        said = plain.rstrip(_CLOSING)
        words = _tokens(plain)[-TAIL_WORDS:]
        if not words:
            return Ending.EMPTY
        if not self.has_words:
            return Ending.NEUTRAL
        sentence = _tokens(_SENTENCE.split(plain)[-1])[-TAIL_WORDS:] or words
        whole = " ".join(sentence)
        goes_on = said.endswith(_GOES_ON)
        if whole in self._words.answers and not goes_on:
            return Ending.QUESTION if said.endswith("?") else Ending.COMPLETE
        if self._hesitates(sentence):
            return Ending.HESITATION
        if goes_on:
            return Ending.UNFINISHED
        if dictation.spells(self._words, words):
            return Ending.SPELLING
        if dictation.half_a_number(self._words, words):
            return Ending.NUMBER
        return self._by_sentence(sentence, said[-1])

    def _by_sentence(self, sentence: list[str], mark: str) -> Ending:
        begin = next((at for at, word in enumerate(sentence) if word not in self._words.fillers), len(sentence) - 1)
        proper = sentence[begin:]
        if len(proper) == 1 and proper[0] in self._words.questions:
            return Ending.QUESTION
        if self._unfinished(sentence, proper):
            return Ending.UNFINISHED
        if mark in "?？":
            return Ending.QUESTION
        if mark in ".!。！":
            return Ending.COMPLETE
        if self._asks(proper):
            return Ending.QUESTION
        return Ending.COMPLETE if _ends(sentence, self._words.closers) else Ending.NEUTRAL

    def _hesitates(self, words: list[str]) -> bool:
        """Whether the last words are those of somebody who searches for the next."""
        end = _ends(words, self._words.hesitations) or _ends([*words[:-1], _squeeze(words[-1])], self._hesitations)
        if not end:
            return False
        before = words[: -len(end.split())]
        return not before or before[-1] not in self._words.hesitation_not_after.get(end, ())

    def _unfinished(self, sentence: list[str], proper: list[str]) -> bool:  # noqa: PLR0911 - one return for each rule
        """Whether the last word wants another; `proper` is the sentence without what fills its beginning."""
        lists, last = self._words, sentence[-1]
        before = proper[-2] if len(proper) > 1 else ""
        if len(proper) == 2 and before in lists.auxiliaries and last in lists.subjects and len(sentence) < 4:
            return True  # "can you"
        if _ends(sentence, lists.complete_ends):
            return False
        end = _ends(sentence, lists.unfinished_ends)
        if end:  # "I want", but not "the one I want"
            return end.split()[0] not in lists.only_subjects or not lists.openers & set(sentence[: -len(end.split())])
        if last in lists.particles and lists.particles[last] & set(sentence[-PARTICLE_REACH:-1]):
            return False
        if last in lists.prepositions:
            return not self._stranded(sentence)
        if last in lists.auxiliaries:
            return not self._ends_with_its_verb(sentence)
        if last in lists.only_subjects:  # "and they", but not "where are they"
            return before not in lists.auxiliaries or (proper[0] in lists.questions and before in lists.asking_on)
        return last in lists.articles or last in lists.joining

    def _stranded(self, words: list[str]) -> bool:
        """Whether a preposition is the end of its clause: "what are you waiting for", "I don't want to"."""
        lists, last = self._words, words[-1]
        if last == "to" and len(words) > 2 and words[-2] in lists.wants:
            return bool(lists.denials & set(words[:-2]))
        openings = [at for at, word in enumerate(words[:-1]) if word in lists.openers]
        end = _ends(words, lists.stranded)
        at = len(words) - len(end.split())
        subject = at - 2 if at > 1 and words[at - 1] in lists.asking else at - 1
        if end:
            if subject > 0 and words[subject] in lists.only_subjects | lists.objects:  # "the house they live in"
                openings += [subject] if lists.articles & set(words[max(0, subject - 2) : subject]) else []
            return bool(openings) and openings[0] < at
        if not openings:
            return False
        around = words[-3] if len(words) > 2 else ""
        copula = around in lists.copulas or (around in lists.openers and around.endswith("'s"))
        return copula and words[-2] in lists.subjects | lists.objects

    def _ends_with_its_verb(self, sentence: list[str]) -> bool:
        """Whether an auxiliary is the end of its clause: "yes I am", "I know who you are"."""
        lists = self._words
        before = sentence[:-1]
        openings = [at for at, word in enumerate(before) if word in lists.openers]
        if openings and lists.verb_last:
            return len(before) > 1
        has_subject = bool(before) and before[-1] in lists.subjects
        if openings and openings[0] < len(before) - 1:
            follows = before[openings[0] + 1]
            return has_subject or follows in lists.articles or follows in lists.only_subjects
        if not has_subject or before[-1] in lists.pointers:
            return False
        if lists.agreeing & set(before[:-1]):
            return not (lists.joining - lists.agreeing) & set(before[:1])
        return " ".join(sentence) in lists.replies

    def _asks(self, proper: list[str]) -> bool:
        """Whether a sentence without its question mark has the shape of a question."""
        lists = self._words
        if proper[0] in lists.questions:
            follows = proper[1] if len(proper) > 1 else ""
            return lists.verb_last or follows not in lists.only_subjects | {"a", "an"}  # "what I want", "what a day"
        if len(proper) < 3 or proper[0] not in lists.asking or " ".join(proper[:2]) in lists.orders:
            return False
        return proper[1] in lists.subjects or proper[1] in lists.articles
