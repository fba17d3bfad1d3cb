"""Numbers and letters that are being dictated: whether more of them are to come."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from voiceagent.wordlists import Words

CUE_REACH = 8
"""So many words before a number may announce it: "my number at work is"."""
SPELLING_REACH = 5
"""So many words before a single letter may say that it is one: "that's spelled with a k"."""
SHORTEST_GROUP = 3
"""Digits of the first group of a number that is given in groups: "555 12", but not "10 30"."""
YEAR_DIGITS = 4

_DIGITS = re.compile(r"\d")
_BY_FOUR = re.compile(r"\d{4}$")


@dataclass(frozen=True, slots=True)
class _Run:
    """The numbers that a text ends with."""

    words: tuple[str, ...]
    start: int  # of its first word in the text
    digits: int
    dictated: bool  # digit by digit or in groups, not as a quantity


def _digits(lists: Words, word: str) -> int:
    """Return how many digits a word stands for, 0 if it is no number."""
    if word[0].isdigit():
        return len(_DIGITS.findall(word)) if word[-1].isdigit() else 0
    known = len(lists.numbers.get(word, ""))
    if known or not lists.number_parts:
        return known
    return 2 if re.fullmatch(f"(?:{lists.number_parts})+", word) else 0


def _run(lists: Words, words: Sequence[str]) -> _Run | None:
    """Return the numbers at the end of the words, if there are any."""
    start = len(words)
    while start and (_digits(lists, words[start - 1]) or words[start - 1] in lists.repeats | lists.points):
        start -= 1
    run = tuple(words[start:])
    counts = [_digits(lists, word) for word in run]
    if not any(counts):
        return None
    quantity = bool(lists.points & set(run)) or any(
        count and word not in lists.numbers and not word[0].isdigit() for word, count in zip(run, counts, strict=True)
    )
    repeats = sum(word in lists.repeats for word in run)
    by_digit = len(run) >= SHORTEST_GROUP and all(count == 1 for count in counts)
    grouped = len(run) > 1 and run[0].isdigit() and (len(run[0]) >= SHORTEST_GROUP or run[0][0] == "0")
    by_digit = by_digit or (len(run) > 2 and run[0] in lists.zeros)
    thousands = (
        lists.spaced_thousands
        and len(run) > 1
        and run[0][0] != "0"
        and all(word.isdigit() and len(word) == 3 for word in run[1:])
    )
    return _Run(
        run, start, sum(counts) + repeats, not quantity and not thousands and (by_digit or grouped or repeats > 0)
    )


def half_a_number(lists: Words, words: Sequence[str]) -> bool:
    """Whether the words end within a number: of a telephone, of a card, of a date."""
    run = _run(lists, words)
    if _half_a_date(lists, words, run):
        return True
    if run is None:
        return False
    if run.words[-1] in lists.repeats | lists.points:
        return True
    needed = _announced(lists, words[max(0, run.start - CUE_REACH) : run.start], run)
    if needed is not None:
        return run.digits < needed
    return run.dictated and run.digits < lists.phone_digits


def _announced(lists: Words, before: Sequence[str], run: _Run) -> int | None:
    """Return how many digits the number has that was announced, None if none was."""
    if lists.plain_numbers & set(before[-3:]):
        return None
    cues = [word for word in before if word in lists.number_cues]
    if not cues:
        return None
    if before[-1] in lists.number_cues and not run.dictated and run.digits < SHORTEST_GROUP:
        return None  # "number one", "code 7"
    # "My card number is": the more special word says what it is.
    return max((lists.number_cues[cue] for cue in cues), key=lambda needed: (needed != lists.phone_digits, needed))


def _half_a_date(lists: Words, words: Sequence[str], run: _Run | None) -> bool:
    """Whether the words end within a date: "March fifth nineteen", "I was born on March fifth"."""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in lists.half_years:
        return before in lists.date_words or (before != "" and before in lists.articles)
    if not lists.birth & set(words[:-1]):
        return False
    has_year = any(_BY_FOUR.search(word) for word in words) or (run is not None and run.digits >= YEAR_DIGITS)
    return not has_year and (last in lists.date_words or (run is not None and run.digits <= 2))


def spells(lists: Words, words: Sequence[str]) -> bool:
    """Whether the words end with letters being spelt."""
    last = words[-1]
    if (
        last in lists.spelling_words
        and len(words) > 1
        and (words[-2] in lists.spelling_words or last in lists.address_words)
    ):
        return True
    for join in lists.spelling_joins:
        parts = join.split()
        at = len(words) - 1 - len(parts)
        if (
            at > 0
            and list(words[at:-1]) == parts
            and _is_letter(words[at - 1])
            and words[at - 1] not in lists.short_words
        ):
            return True  # "B as in Bravo"
    if not _is_letter(last):
        return False
    start = len(words)
    while start and (_is_letter(words[start - 1]) or words[start - 1].isdigit()):
        start -= 1
    run = words[start:]
    letters = [word for word in run if _is_letter(word)]
    if len(letters) > 1:
        return not set(letters) <= lists.short_words and " ".join(letters) not in lists.initials
    near = words[max(0, start - SPELLING_REACH) : start]
    return bool(lists.spelling_cues & set(near)) or bool(near and near[-1] in lists.repeats)


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isalpha()
