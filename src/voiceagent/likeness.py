"""Whether two texts are the same words, and whether a transcript only repeats what the agent has just said."""

import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache, lru_cache

from voiceagent.wordlists import BY_LANGUAGE, NOISES, STOPS, Phrases

HEARD_WORDS, SPOKEN_WORDS = 40, 60
"""What is compared at most; twelve seconds of speech are some forty words."""
HEARD_CHARS, SPOKEN_CHARS = 480, 900
WRONG_SHARE = 5
"""One word in so many may be wrong in an echo: what a recogniser makes of a room."""
LONE_LETTERS = 5
"""A single word shorter than this is no evidence of an echo."""
LONE_REACH = 10
"""A single word must be among so many last spoken ones: some three seconds."""
ALIKE = 0.8
"""Words are alike above this share of common letters: "tuesday" and "thursday" are not."""
MERGED = 3
"""So many words may be written as one by a recogniser, or one as so many."""
CUT_LETTERS = 3
"""So much of a word must be there where the transcript begins or ends within one."""
LOST_SMALL = 0.5
"""The cost of an article or preposition that came back as another or not at all; another word's is 1."""

_ROUND = tuple(f"{tens}0" for tens in range(2, 10))  # "forty five" is 45
_UNITS = "$€£¥%+"
_KEPT = ("L", "N", "M", "Sc", "Sm")


def _words(text: str) -> list[str]:
    """Return the bare words of a text in any script; a Chinese or Japanese character is a word."""
    found: list[str] = []
    for char in unicodedata.normalize("NFKC", text).casefold():
        if unicodedata.category(char).startswith(_KEPT) or char == "%":
            wide = "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff"
            found.append(f" {char} " if wide else char)
        elif char not in "'’‘.":  # "don't", "o.k.", "3.5" are one word
            found.append(" ")
    return ["okay" if word == "ok" else word for word in "".join(found).split()]


def same_words(a: str, b: str) -> bool:
    """Whether two texts differ in no more than case, punctuation, spacing, hyphens and the spelling of "okay"."""
    return "".join(_words(a)) == "".join(_words(b))


@cache
def _known() -> tuple[Phrases, Phrases, dict[str, str]]:
    """Return the words that are a whole turn, the small ones, and the number words, of all languages together."""
    every = BY_LANGUAGE.values()
    own = (STOPS | NOISES).union(*(lists.stops | lists.answers | lists.backchannels for lists in every))
    small = frozenset[str]().union(*(lists.articles | lists.prepositions | lists.auxiliaries for lists in every))
    bare = frozenset(" ".join(_words(entry)) for entry in own)
    return bare, small - bare, {word: digits for lists in every for word, digits in lists.numbers.items()}


@lru_cache(maxsize=4096)
def _alike(heard: str, said: str) -> bool:
    """Whether a recogniser may have heard the one for the other."""
    if heard == said:
        return True
    longer = max(len(heard), len(said))
    if (
        longer < LONE_LETTERS
        or abs(len(heard) - len(said)) * WRONG_SHARE > longer
        or any(map(str.isdigit, heard + said))
    ):
        return False
    return SequenceMatcher(None, heard, said, autojunk=False).ratio() > ALIKE


def _same_number(one: str, other: Sequence[str]) -> bool:
    """Whether digits on one side are the number words on the other: "9:30" is spoken "nine thirty"."""
    numbers, spoken = _known()[2], ""
    for word in other:
        if word not in numbers:
            return False
        digits = numbers[word]
        spoken = spoken[:-1] + digits if len(digits) == 1 and spoken.endswith(_ROUND) else spoken + digits
    return spoken == "".join(filter(str.isdigit, one))


def _spans(heard: Sequence[str], said: Sequence[str], i: int, j: int) -> list[tuple[int, int]]:
    """Return how many words that end at `i` and `j` are the same, be they merged, split or cut."""
    last_heard, last_said = heard[i - 1], said[j - 1]
    if last_heard == last_said:
        return [(1, 1)]
    digits = last_heard[0].isdigit() != last_said[0].isdigit()
    if not digits and last_heard[0] != last_said[0] and last_heard[-1] != last_said[-1]:
        return []  # nothing that could be the same ends here: most pairs
    spans = [(1, 1)] if _alike(last_heard, last_said) else []
    for count in range(1, MERGED + 1):
        many_heard, many_said = heard[max(0, i - count) : i], said[max(0, j - count) : j]
        if (count > 1 and _alike("".join(many_heard), last_said)) or (digits and _same_number(last_said, many_heard)):
            spans.append((len(many_heard), 1))
        if (count > 1 and _alike(last_heard, "".join(many_said))) or (digits and _same_number(last_heard, many_said)):
            spans.append((1, len(many_said)))
    cut_end = i == len(heard) and last_said.startswith(last_heard)
    if len(last_heard) >= CUT_LETTERS and (cut_end or (i == 1 and last_said.endswith(last_heard))):
        spans.append((1, 1))
    return spans


def _align(heard: Sequence[str], said: Sequence[str]) -> tuple[float, int]:
    """Return the cost of the heard words against the likest stretch of the said ones, and how many are matched.

    A word of the user's own that was not said costs so much that no stretch is like it.
    """
    own, small, _ = _known()
    rows: list[list[tuple[float, int]]] = [[(0.0, 0)] * (len(said) + 1)]  # cost, and matched words as a negative number
    for i, word in enumerate(heard, 1):
        lost = float(len(heard)) if word in own else 1.0
        row = [(rows[-1][0][0] + lost, 0)]
        for j, other in enumerate(said, 1):
            above, beside, across = rows[i - 1][j], row[j - 1], rows[i - 1][j - 1]
            best = min(
                (above[0] + lost, above[1]),
                (beside[0] + (LOST_SMALL if other in small else 1.0), beside[1]),
                (across[0] + (LOST_SMALL if word in small and other in small else lost), across[1]),
            )
            for heard_count, said_count in _spans(heard, said, i, j):
                cost, matched = rows[i - heard_count][j - said_count]
                best = min(best, (cost, matched - max(heard_count, said_count)))
            row.append(best)
        rows.append(row)
    cost, matched = min(rows[-1])
    return cost, -matched


def echoes(text: str, spoken: str) -> bool:
    """Whether a transcript only repeats a stretch of what the agent said last, as a recogniser may have garbled it.

    It goes by the words alone, so a caller who repeats the agent's words at once looks the same: ask it only while the
    agent's voice may still be in the room.
    """
    heard = [word.strip(_UNITS) or word for word in _words(text[:HEARD_CHARS])[:HEARD_WORDS]]
    said = [word.strip(_UNITS) or word for word in _words(spoken[-SPOKEN_CHARS:])[-SPOKEN_WORDS:]]
    own, small, _ = _known()
    if not heard or not said or " ".join(heard) in own or own.issuperset(heard):
        return False
    if len(heard) == 1:
        return len(heard[0]) >= LONE_LETTERS and heard[0] not in small and _align(heard, said[-LONE_REACH:])[0] == 0
    cost, matched = _align(heard, said)
    return matched > 1 and cost * WRONG_SHARE <= len(heard)
