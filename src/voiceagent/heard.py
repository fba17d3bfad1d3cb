"""Samples to words: how much of a reply's text somebody has heard who has heard so many of its samples.

Where a synthesiser tells the moments of its words, they decide. Between two known moments, which without such marks are
the two ends of a phrase, the time is shared out by how long each word takes to say: so much for a letter, more for a
syllable of a number, and a pause after a comma or a full stop.
"""

import re
from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

RATE_HZ = 24_000
# Fitted by least squares on the durations that espeak-ng tells of 9,500 words in 600 phrases (six English voices, four
# speeds, with and without numbers); pauses are medians. A voice's pace falls out: only proportions count. On 965 other
# phrases, cut every 50 ms, the error was 0, 1 and 2 words at p50, p95 and p99. Syllables of plain words added nothing.
LETTER_MS = 67.0
NUMBER_SYLLABLE_MS = 228.0
"""A syllable of a number, a letter of an acronym: they are spoken out."""
PAUSE_MS = dict.fromkeys(",、，", 132.0) | dict.fromkeys(";:；：–—", 165.0) | dict.fromkeys(".!?…。！？", 265.0)
KANA_MS = 130.0
LEAST_MS = 60.0

# Without Hangul, which has spaces, and without the voicing marks, which belong to the character before them.
_CJK_CHARS = (
    r"\u3005-\u3007\u3041-\u3096\u309d-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
)
_CJK = re.compile(f"[{_CJK_CHARS}]")
_KANA = re.compile(r"[\u3041-\u3096\u309d-\u30ff\uff66-\uff9d]")
# A character of a script without spaces, with its marks and closing punctuation; or what stands between two spaces.
_UNIT = re.compile(rf"[「『（《〈【〔]*[{_CJK_CHARS}][^\w\s「『（《〈【〔]*|[^\s{_CJK_CHARS}]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?")
_ORDINAL = frozenset(["st", "nd", "rd", "th"])
_SPOKEN_SIGNS = dict.fromkeys("$€£¥%=°", 2) | dict.fromkeys("&+@#", 1)  # in syllables
_ONES = (2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 3, 1, 2, 2, 2, 2, 3, 2, 2)  # syllables of zero to nineteen
_TENS = (0, 1, 2, 2, 2, 2, 2, 3, 2, 2)
_SIZES = (10**9, 10**6, 1000, 100)  # of two syllables each
_MOST_DIGITS = 12
_LONGEST_ACRONYM = 5


@dataclass(frozen=True, slots=True)
class WordMark:
    """So many characters of a phrase are said when so many of its samples are over.

    No character at all is silence before the first word; the same character again is a pause after it.
    """

    end_char: int
    end_sample: int


def word_ms(word: str) -> float:
    """Return how long a word takes to say, without a pause after it; only the proportions count."""
    syllables = sum(_SPOKEN_SIGNS.get(character, 0) for character in word)
    syllables += sum(_number_syllables(*match.groups()) for match in _NUMBER.finditer(word))
    letters = 0
    for run in _LETTERS.findall(_CJK.sub(" ", word)):
        if syllables and run in _ORDINAL:
            continue
        if run.isupper() and 1 < len(run) <= _LONGEST_ACRONYM:
            syllables += len(run)
        else:
            letters += len(run)
    kana = len(_KANA.findall(word))
    syllables += len(_CJK.findall(word)) - kana
    return max(LEAST_MS, syllables * NUMBER_SYLLABLE_MS + letters * LETTER_MS + kana * KANA_MS)


def pause_ms(word: str) -> float:
    """Return how long one pauses after a word, by its last sign."""
    for character in reversed(word):
        if character.isalnum():
            break
        if character in PAUSE_MS:
            return PAUSE_MS[character]
    return 0.0


def _number_syllables(whole: str, fraction: str | None) -> int:
    digits = whole.replace(",", "")
    spelt = len(digits) > _MOST_DIGITS or (digits[0] == "0" and len(digits) > 1)
    syllables = _spelt_syllables(digits) if spelt else _cardinal_syllables(int(digits))
    return syllables + (1 + _spelt_syllables(fraction) if fraction else 0)  # "point"


def _spelt_syllables(digits: str) -> int:
    return sum(_ONES[int(digit)] for digit in digits)


def _cardinal_syllables(number: int) -> int:
    if number < len(_ONES):
        return _ONES[number]
    for size in _SIZES:
        if number >= size:
            rest = number % size
            return _cardinal_syllables(number // size) + 2 + (_cardinal_syllables(rest) if rest else 0)
    return _TENS[number // 10] + (_ONES[number % 10] if number % 10 else 0)


@dataclass(slots=True)
class _Phrase:
    """One phrase: where its text begins in the reply's, where its audio begins, and what is known of its words."""

    text: str
    first_char: int
    first_sample: int
    samples: int | None = None  # None while it grows
    broken: bool = False  # its audio ends somewhere in it
    marks: list[WordMark] = field(default_factory=list)  # in the order of their samples
    ends: list[int] = field(default_factory=list)  # of its words, in characters
    speaks_ms: list[float] = field(default_factory=list)  # each word
    begins_ms: list[float] = field(default_factory=list)  # each word, by the weights alone

    def __post_init__(self) -> None:
        at_ms = 0.0
        for match in _UNIT.finditer(self.text):
            self.ends.append(match.end())
            self.speaks_ms.append(word_ms(match.group()))
            self.begins_ms.append(at_ms)
            at_ms += self.speaks_ms[-1] + pause_ms(match.group())

    def mark(self, marks: Iterable[WordMark]) -> None:
        """Take in what the synthesiser tells; a mark inside a word tells nothing of whole ones."""
        for mark in marks:
            if mark.end_char == 0 or mark.end_char in self.ends:
                insort(self.marks, mark, key=attrgetter("end_sample"))

    def complete(self, end_sample: int) -> None:
        """Its audio ends here."""
        if not self.broken:
            self.samples = max(0, end_sample - self.first_sample)

    def heard_chars(self, played: int, pace: float) -> int:
        """How many characters are heard after so many samples, at `pace` samples a millisecond of the weights."""
        index = bisect_right(self.marks, played, key=attrgetter("end_sample"))
        past = self.marks[index - 1] if index else WordMark(0, 0)
        ahead = self.marks[index] if index < len(self.marks) else None
        first = bisect_right(self.ends, past.end_char)  # of the words that are under way
        stop = bisect_right(self.ends, ahead.end_char) if ahead is not None else len(self.ends)
        if first >= stop:
            return past.end_char
        begin_ms, end_ms = self.begins_ms[first], self.begins_ms[stop - 1] + self.speaks_ms[stop - 1]
        end_sample = ahead.end_sample if ahead is not None else self.samples
        if end_sample is not None:
            share = (played - past.end_sample) / max(1, end_sample - past.end_sample)
            at_ms = begin_ms + share * (end_ms - begin_ms)
        else:
            at_ms = begin_ms + (played - past.end_sample) / pace
        heard = past.end_char
        for word in range(first, stop):
            if self.begins_ms[word] + self.speaks_ms[word] / 2 > at_ms:
                break
            heard = self.ends[word]
        return heard

    @property
    def total_ms(self) -> float:
        """How long all of it takes to say, by the weights."""
        return self.begins_ms[-1] + self.speaks_ms[-1] if self.ends else 0.0


def count_words(text: str) -> int:
    """Return how many words a text has; in a script without spaces each character is one."""
    return sum(1 for _ in _UNIT.finditer(text))


class ReplyLedger:
    """The text of one reply, laid over its samples."""

    def __init__(self) -> None:
        self._phrases: list[_Phrase] = []
        self._chars = 0
        self._total: int | None = None

    def add(self, text: str, first_sample: int) -> None:
        """Note a phrase whose audio begins at `first_sample`; the one before it ends there."""
        if self._phrases:
            self._phrases[-1].complete(first_sample)
            self._chars += 1  # the space between two phrases
        self._phrases.append(_Phrase(text, self._chars, first_sample))
        self._chars += len(text)

    def mark(self, first_sample: int, marks: Iterable[WordMark], *, broken: bool = False) -> None:
        """Note what is known of the words of the phrase that begins at `first_sample`; more may follow as it grows.

        A `broken` one has no more audio, though its text is not said to the end.
        """
        for phrase in reversed(self._phrases):
            if phrase.first_sample == first_sample:
                phrase.mark(marks)
                phrase.broken = broken
                return

    def close(self, total_samples: int) -> None:
        """Note that the reply has so many samples in all."""
        self._total = total_samples
        if self._phrases:
            self._phrases[-1].complete(total_samples)

    def spread(self, total_samples: int) -> None:
        """Lay the phrases over so many samples by how long each takes to say, where nothing tells when they begin."""
        if any(phrase.marks for phrase in self._phrases):
            return
        weights = [phrase.total_ms + pause_ms(phrase.text) for phrase in self._phrases]
        at_ms, total_ms = 0.0, sum(weights)
        for phrase, weight in zip(self._phrases, weights, strict=True):
            phrase.first_sample = round(total_samples * at_ms / total_ms)
            phrase.samples = round(total_samples * (at_ms + weight) / total_ms) - phrase.first_sample
            at_ms += weight

    @property
    def text(self) -> str:
        """All of it, heard or not."""
        return " ".join(phrase.text for phrase in self._phrases)

    def heard(self, samples: int) -> str:
        """Return the text up to the last word of which at least half was played."""
        whole = not any(phrase.broken for phrase in self._phrases)
        if whole and self._total is not None and samples >= self._total > 0:
            return self.text
        end = 0
        for phrase in self._phrases:
            played = samples - phrase.first_sample
            if played <= 0:
                break
            if phrase.samples is not None and played >= phrase.samples:
                end = phrase.first_char + len(phrase.text)
                continue
            if chars := phrase.heard_chars(played, self._pace(phrase, played)):
                end = phrase.first_char + chars
            break
        return self.text[:end].rstrip()

    def _pace(self, growing: _Phrase, played: int) -> float:
        """Samples a millisecond of the weights: as this phrase's words and the phrases before it have shown."""
        done = [(phrase.samples, phrase.total_ms) for phrase in self._phrases if phrase.samples]
        for mark in reversed(growing.marks):
            if 0 < mark.end_sample <= played and mark.end_char:
                word = bisect_right(growing.ends, mark.end_char) - 1
                done.append((mark.end_sample, growing.begins_ms[word] + growing.speaks_ms[word]))
                break
        total_ms = sum(its for _, its in done)
        return sum(samples for samples, _ in done) / total_ms if total_ms else RATE_HZ / 1000
