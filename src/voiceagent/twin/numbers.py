"""Numbers as they are spoken: words to integers and back."""

import re

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {w: 20 + 10 * i for i, w in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 1_000}
WORDS = (*_SMALL, *_TENS, *_SCALES)


def spoken(value: int) -> str:
    """Return an integer from 0 to 999,999 in words."""
    if value < 20:
        return _SMALL[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens - 2] + (f" {_SMALL[ones]}" if ones else "")
    for name, size in (("thousand", 1_000), ("hundred", 100)):
        if value >= size:
            many, rest = divmod(value, size)
            return f"{spoken(many)} {name}" + (f" {spoken(rest)}" if rest else "")
    raise AssertionError(value)


def numbers_in(text: str) -> list[float]:
    """Return the numbers of a text in order, from digits and from words: "seventeen plus 2.5" gives 17 and 2.5."""
    found: list[float] = []
    run: list[str] = []
    for word in [*re.findall(r"\d+(?:\.\d+)?|[a-z]+", text.lower()), ""]:
        if word in _VALUES or (run and word in _SCALES) or (run and word == "and" and run[-1] in _SCALES):
            if run and word in _VALUES and not _continues(run[-1], word):
                found.append(_value(run))
                run = []
            run.append(word)
            continue
        if run:
            found.append(_value(run))
            run = []
        if word[:1].isdigit():
            found.append(float(word))
    return found


def _continues(last: str, word: str) -> bool:
    """Whether a number word belongs to the same number as the one before it."""
    return last in _SCALES or last == "and" or (last in _TENS and 0 < _VALUES[word] < 10)


def _value(run: list[str]) -> float:
    total, part = 0, 0
    for word in run:
        if word == "hundred":
            part = max(1, part) * 100
        elif word == "thousand":
            total, part = total + max(1, part) * 1_000, 0
        elif word != "and":
            part += _VALUES[word]
    return float(total + part)


def plain(value: float) -> str:
    """Return a number as short as it is exact enough to say."""
    rounded = round(value, 2)
    return str(int(rounded)) if rounded == int(rounded) else f"{rounded:g}"
