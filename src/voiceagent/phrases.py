"""Tokens to speakable phrases: the first one cut as early as it can be spoken, the later ones whole, and no markup in any."""

import re

FIRST_WORDS = 4
"""At so many words, and the beginning of one more, the first phrase is cut even without a comma."""
GROWN_CHARS = 120
"""A later phrase ends with the first sentence that brings it to so many characters."""
MAX_CHARS = 400
CJK_CHARS = 40

_ABBREVIATIONS = frozenset(
    ["dr", "mr", "mrs", "ms", "prof", "st", "vs", "no", "e.g", "i.e", "etc", "approx", "jr", "sr", "a.m", "p.m", "u.s"]
)
_CLAUSE = re.compile(r"[,;:.!?…]+[\"'”’)\]]*(?=\s)|\n+|[，、。；：！？]")
_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|\n+|[。！？]")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_FENCE = "```"

_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\U00002190-\U000021ff\U00002300-\U000023ff\U00002600-\U000027bf"
    "\U00002b00-\U00002bff\U0000fe0f\U0000200d\U000020e3]+"
)
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"```[^\n`]*\n?.*?(?:```|\Z)", re.DOTALL), " (code) "),
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"https?://(?:www\.)?([^\s/)>\]]+)[^\s)>\]]*"), r"\1 link"),
    (re.compile(r"</?[A-Za-z][^<>]{0,200}>"), " "),
    (re.compile(r"(?m)^\s*\|?(?:\s*:?-{3,}:?\s*\|)+\s*:?-*:?\s*$"), ""),  # the line under a table's head
    (re.compile(r"(?m)^\s{0,3}#{1,6}\s+"), ""),
    (re.compile(r"(?m)^\s*(?:[-*+•]|\d{1,3}[.)])\s+(?=\S)"), ""),
    (re.compile(r"(?m)^\s*>\s?"), ""),
    (re.compile(r"(?m)^\s*(?:[-*_]\s*){3,}$"), ""),
    (re.compile(r"(?m)^[ \t]*\|[ \t]*|[ \t]*\|[ \t]*$"), ""),
    (re.compile(r"[ \t]*\|[ \t]*"), ", "),
    (re.compile(r"\*\*|__|~~|`"), ""),
    (re.compile(r"(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)"), ""),
)


def speakable(text: str) -> str:
    """Return the text as one says it: without markdown, tags and emoji, and with a link's host in place of the link."""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _EMOJI.sub(" ", text)
    text = re.sub(r"\s+", " ", text).strip().lstrip(",")
    return re.sub(r"\s+([,.;:!?])", r"\1", text)


class PhraseCutter:
    """Takes a reply's text as it streams in and gives it back in phrases that can be spoken."""

    def __init__(self) -> None:
        self._text = ""
        self._first = True

    def feed(self, delta: str) -> list[str]:
        """Add text and return the phrases that are complete."""
        self._text += delta
        phrases: list[str] = []
        while (end := self._end()) is not None:
            self._take(end, phrases)
        return phrases

    def flush(self) -> list[str]:
        """Return what is left: the text is complete."""
        phrases: list[str] = []
        while len(self._text) > MAX_CHARS:
            self._take(self._forced(), phrases)
        self._take(len(self._text), phrases)
        return phrases

    def _take(self, end: int, phrases: list[str]) -> None:
        phrase, self._text = speakable(self._text[:end]), self._text[end:]
        if any(character.isalnum() for character in phrase):
            phrases.append(phrase)
            self._first = False

    def _end(self) -> int | None:
        """Where the next phrase ends; None if more text must come first."""
        fence = self._text.find(_FENCE)
        if fence >= 0:
            closed = self._text.find(_FENCE, fence + len(_FENCE))
            if fence == 0 or not self._text[:fence].strip():
                return closed + len(_FENCE) if closed >= 0 else None
            return fence
        return self._end_of_first() if self._first else self._end_of_later()

    def _end_of_first(self) -> int | None:
        for end in self._breaks(_CLAUSE):
            if len(self._text[:end].split()) >= 2 or _CJK.search(self._text[:end]):
                return end
        words = list(re.finditer(r"\S+", self._text))
        if len(words) > FIRST_WORDS and not self._text[words[0].start() :].startswith(("http", "<", "[")):
            return words[FIRST_WORDS - 1].end()
        return self._too_long()

    def _end_of_later(self) -> int | None:
        for end in self._breaks(_SENTENCE):
            if len(self._text[:end].strip()) >= GROWN_CHARS or end >= MAX_CHARS:
                return end
        return self._too_long()

    def _too_long(self) -> int | None:
        if _CJK.search(self._text) and " " not in self._text.strip() and len(self._text) > CJK_CHARS:
            return self._last_break(CJK_CHARS) or CJK_CHARS
        return self._forced() if len(self._text) > MAX_CHARS else None

    def _forced(self) -> int:
        """Where to cut a text that is too long: at the last break, else at the last space, else where it must be."""
        return self._last_break(MAX_CHARS) or (self._text.rfind(" ", 1, MAX_CHARS) + 1) or MAX_CHARS

    def _last_break(self, limit: int) -> int:
        return max((end for end in self._breaks(_CLAUSE) if end <= limit), default=0)

    def _breaks(self, pattern: re.Pattern[str]) -> list[int]:
        """The ends of clauses or sentences, without the dots of numbers, abbreviations and lists."""
        ends = []
        for match in pattern.finditer(self._text):
            before = self._text[: match.start()].split()
            last = before[-1].lower().lstrip("(\"'“") if before else ""
            if match.group().startswith(".") and (last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())):
                continue
            if match.group().startswith(".") and last.isdigit() and len(before) == 1:  # "1. First": a list's number
                continue
            ends.append(match.end())
        return ends
