"""Samples to words: how much of a reply's text somebody has heard who has heard so many of its samples.

A phrase's audio is shared out among its words by weights: syllables, roughly, and digits count as the words they are
spoken as. Where a synthesiser tells the moments of its words, those are taken instead.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

SAMPLES_PER_CHAR = 24_000 // 15
"""The pace of speech until a phrase of this reply has shown its own."""

_WORD = re.compile(r"\S+")
_VOWELS = re.compile(r"[aeiouyàáâäæèéêëìíîïòóôöøùúûüœ]+", re.IGNORECASE)
_DIGITS = re.compile(r"\d")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class WordMark:
    """A word of a phrase and the sample of the phrase at which it ends, as a synthesiser tells it."""

    end_char: int
    end_sample: int


def weight(word: str) -> float:
    """Return how long a word takes to say, in syllables; a comma or a full stop takes time as well."""
    syllables = len(_VOWELS.findall(word)) + 2 * len(_DIGITS.findall(word)) + len(_CJK.findall(word))
    pause = 1.0 if word[-1] in ".!?…:;" else 0.5 if word[-1] == "," else 0.0
    return max(1, syllables) + 0.12 * len(word) + pause


@dataclass(slots=True)
class _Phrase:
    """One phrase: where its text ends in the reply's, where its audio begins, and how it is shared out."""

    text: str
    first_char: int
    first_sample: int
    samples: int | None = None  # None while it grows
    marks: tuple[WordMark, ...] = ()
    ends: list[int] = field(default_factory=list)  # of its words, in characters
    shares: list[float] = field(default_factory=list)  # of its weight, up to each word's middle

    def __post_init__(self) -> None:
        words = list(_WORD.finditer(self.text))
        weights = [weight(word.group()) for word in words]
        total, before = sum(weights), 0.0
        for word, its in zip(words, weights, strict=True):
            self.ends.append(word.end())
            self.shares.append((before + its / 2) / total)
            before += its

    def heard_chars(self, samples: int, length: int) -> int:
        """How many characters are heard after so many samples of this phrase, which lasts `length` samples."""
        if self.marks:
            count = bisect_right([mark.end_sample for mark in self.marks], samples)
            return self.marks[count - 1].end_char if count else 0
        share = samples / length if length else 1.0
        count = bisect_right(self.shares, share) if samples else 0  # a word is heard once half of it was played
        return self.ends[count - 1] if count else 0


class ReplyLedger:
    """The text of one reply, laid over its samples."""

    def __init__(self) -> None:
        self._phrases: list[_Phrase] = []
        self._chars = 0
        self._total: int | None = None

    def add(self, text: str, first_sample: int, words: Sequence[WordMark] | None = None) -> None:
        """Note a phrase whose audio begins at `first_sample`; the one before it ends there."""
        if self._phrases:
            last = self._phrases[-1]
            last.samples = max(0, first_sample - last.first_sample)
            self._chars += 1  # the space between two phrases
        self._phrases.append(_Phrase(text, self._chars, first_sample, marks=tuple(words or ())))
        self._chars += len(text)

    def close(self, total_samples: int) -> None:
        """Note that the reply has so many samples in all."""
        self._total = total_samples
        if self._phrases:
            last = self._phrases[-1]
            last.samples = max(0, total_samples - last.first_sample)

    @property
    def text(self) -> str:
        """All of it, heard or not."""
        return " ".join(phrase.text for phrase in self._phrases)

    def heard(self, samples: int) -> str:
        """Return the text up to the last word of which at least half was played."""
        if self._total is not None and samples >= self._total > 0:
            return self.text
        end = 0
        for phrase in self._phrases:
            if samples <= phrase.first_sample:
                break
            played = samples - phrase.first_sample
            if phrase.samples is not None and played >= phrase.samples:
                end = phrase.first_char + len(phrase.text)
                continue
            end = phrase.first_char + phrase.heard_chars(played, self._length(phrase, played)) or end
            break
        return self.text[:end].rstrip()

    def _length(self, phrase: _Phrase, played: int) -> int:
        """How long the phrase is, or is likely to be, by the pace of those before it."""
        if phrase.samples is not None:
            return phrase.samples
        done = [known for known in self._phrases if known.samples]
        chars = sum(len(known.text) for known in done)
        pace = sum(known.samples or 0 for known in done) / chars if chars else SAMPLES_PER_CHAR
        return max(played, round(pace * len(phrase.text)))
