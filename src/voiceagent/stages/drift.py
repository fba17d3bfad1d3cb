"""How far what a voice model said is from what it was to read aloud, in words.

Compared are words, without case, punctuation, accents written in two ways, and contractions ("I'm" is "I am"). Numbers are
said in words, so a passage where either side has nothing but figures is no difference, as long as it is no longer than
figures are when they are said; nor is one that differs in its spaces alone ("every day", "everyday").
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

SPOKEN_WORDS = 6
"""The most words that a figure may become: "1,984" is five."""
_WORD = re.compile(r"\d(?:[\w.,:]*\w)?|[^\W\d_]+(?:'[^\W\d_]+)*")
_WHOLE = {"can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not", "let's": "let us"}
_ENDINGS = {"n't": "not", "'re": "are", "'m": "am", "'ll": "will", "'ve": "have", "'s": "is", "'d": "would"}


def words(text: str) -> list[str]:
    """Return the words of a text as they are compared; a possessive is taken for "is", the same on both sides."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    found: list[str] = []
    for word in _WORD.findall(text):
        if word in _WHOLE:
            found += _WHOLE[word].split()
            continue
        ending = next((ending for ending in _ENDINGS if word.endswith(ending)), "")
        found += [word[: -len(ending)], _ENDINGS[ending]] if ending else [word]
    return found


def drift(asked: str, said: str) -> int:
    """Return how many words were said in place of others, added, or left out; 0: it was read as it stands."""
    left, right = words(asked), words(said)
    if left == right:
        return 0
    count = 0
    for kind, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind != "equal" and not _said_alike(left[a:b], right[c:d]):
            count += max(b - a, d - c)
    return count


def _said_alike(asked: Sequence[str], said: Sequence[str]) -> bool:
    if "".join(asked) == "".join(said):
        return True
    for figures, spoken in ((asked, said), (said, asked)):
        if figures and all(word[0].isdigit() for word in figures):
            return 0 < len(spoken) <= SPOKEN_WORDS * len(figures)
    return False
