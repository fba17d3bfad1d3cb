"""Tokens to speakable phrases: the first one cut as early as it can be spoken, the later ones whole, and no markup in any."""

import html
import re
import unicodedata

FIRST_WORDS = 4
"""At so many words, and the beginning of one more, the first phrase is cut even without a comma."""
GROWN_CHARS = 120
"""A later phrase ends with the first sentence that brings it to so many characters."""
MAX_CHARS = 400
CJK_CHARS = 40

_ABBREVIATIONS = frozenset(
    ["dr", "mr", "mrs", "ms", "prof", "st", "vs", "no", "e.g", "i.e", "etc", "approx", "jr", "sr", "a.m", "p.m", "u.s"]
)
_CLAUSE = re.compile(r"[,;:.!?…]+[\"'”’)\]*_]*(?=\s)|\n+|[，、。；：！？]+[」』）】”’]*(?=[^，、。；：！？」』）】”’])")
_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s)|\n+|[。！？]+[」』）】”’]*(?=[^。！？」』）】”’])")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_FENCE = "```"
_STEP = re.compile(r"[A-Za-z0-9]+|.", re.DOTALL)
# What must not be cut: each runs to its end, or, while that may still come, to the end of the text.
_WHOLE_PATTERN = r"""
      !?\[[^\[\]\n]{0,200} (?: \] (?: \([^()\n]{0,400}(?:\)|\Z) | \[[^\[\]\n]{0,80}(?:\]|\Z) )? | \Z )
    | `[^`\n]{0,200} (?:`|\Z)
    | <[A-Za-z/!][^<>\n]{0,200} (?:>|\Z)
    | \$\$[^$]{0,300} (?:\$\$|\$?\Z)
    | \$(?![\s$])(?!\d[\d.,]*(?:[kKmMbB]n?|tn)?(?:[^\w^\\{]|\Z))[^$\n]{0,200} (?:\$|\Z)
    | \\\([^\n]{0,200}? (?:\\\)|\Z)
    | \\\[.{0,300}? (?:\\\]|\Z)
    | ^[ \t]*\|[^\n]{0,300} (?:\n|\Z)
    """
_FLAGS = re.VERBOSE | re.MULTILINE | re.DOTALL
_WHOLE = re.compile(_WHOLE_PATTERN, _FLAGS)
_CLOSED_WHOLE = re.compile(_WHOLE_PATTERN.replace(r"\Z", "(?!)"), _FLAGS)


_PICTURE = "\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff"
_EMOJI = re.compile(f"[{_PICTURE}][{_PICTURE}\ufe0f\u200d\u20e3\U000e0020-\U000e007f]*|[\ufe0f\u20e3]|[™®©]")
_SMILEY = re.compile(r"(?<!\S)(?:[:;]-?[()DPp]|<3)(?=\s|[.,!?]|$)")
_UNSPOKEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});")
_ENDED = r"[.!?…:;,]"

_LINKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"```[^\n`]*\n?.*?(?:```|\Z)", re.DOTALL), " (code) "),
    (re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL), " "),
    (re.compile(r"<(?:mailto:)?((?:https?://|[^\s<>@]+@)[^\s<>]+)>"), r"\1"),
    (re.compile(r"!?\[([^\[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)"), r"\1"),
    (
        re.compile(r"(?m)^\s*\[\^?[^\[\]]+\]:[ \t]+(?:<?https?://\S+.*$)?"),
        "",
    ),  # where a reference leads; a footnote's text stays
    (re.compile(r"!?\[(?![\^\d])([^\[\]]+)\]\[[^\[\]]*\]"), r"\1"),
    (re.compile(r"(?<=\S)\s?\[\^[^\[\]\s]+\]|\[\^[^\[\]\s]+\]"), ""),
    (re.compile(r"[ \t]?\[\d{1,3}(?:[,–-][ ]?\d{1,3})*\](?!\()"), ""),
    (re.compile(r"[ \t]?【[^【】]*】"), ""),
    (
        re.compile(
            r"(?:https?://(?:www\.)?|(?<![\w@.])www\.)([^\s/?#)>\]]*[^\s/?#)>\].,;:!'\"])(?:[/?#][^\s)>\]]*[^\s)>\].,;:!?'\"]|/)?"
        ),
        r"\1 link",
    ),
    (re.compile(r"(?:mailto:)?([\w.+-]+)@((?:[\w-]+\.)+[A-Za-z]{2,})"), r"\1 at \2"),
    (re.compile(r"(?<=[^\W\d_]{4})[¹²³⁴-⁹]+|(?<=[.,!?;:])[¹²³⁴-⁹]+|[†‡]"), ""),
)
_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$(?=\S)([^$\n]*?[\\^_=+{}][^$\n]*?)(?<=\S)\$(?!\d)|\$([A-Za-z])\$",
    re.DOTALL,
)
_FORMULA_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r" \1 over \2 "),
    (re.compile(r"\\sqrt\s*\{([^{}]*)\}"), r" the square root of \1 "),
    (re.compile(r"\\(?:text|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\^\s*(?:\{2\}|2(?!\d))"), " squared "),
    (re.compile(r"\^\s*(?:\{3\}|3(?!\d))"), " cubed "),
    (re.compile(r"\^\s*(?:\{([^{}]*)\}|(\w))"), r" to the \1\2 "),
    (re.compile(r"_\s*(?:\{([^{}]*)\}|(\w))"), r" \1\2 "),
    (re.compile(r"\\(?:times|cdot)\b"), " times "),
    (re.compile(r"\\pm\b"), " plus or minus "),
    (re.compile(r"\\(?:leq?)\b"), " is at most "),
    (re.compile(r"\\(?:geq?)\b"), " is at least "),
    (re.compile(r"\\(?:neq?)\b"), " is not "),
    (re.compile(r"\\approx\b"), " is about "),
    (re.compile(r"\\(?:to|rightarrow)\b"), " to "),
    (re.compile(r"\\infty\b"), " infinity "),
    (re.compile(r"\\(?:left|right|quad|qquad|displaystyle)\b|\\[,;!: ]|\\\\"), " "),
    (re.compile(r"\\([A-Za-z]+)"), r" \1 "),
    (re.compile(r"(?<=[\w)}])\s*=\s*"), " equals "),
    (re.compile(r"[{}&]"), " "),
)
_MARKUP: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<br\s*/?>|</(?:p|li|h[1-6]|tr|div)>"), "\n"),
    (re.compile(r"</?[A-Za-z][^<>]{0,200}>"), " "),
    (re.compile(r"(?m)^\s*\|?(?:\s*:?-{3,}:?\s*\|)+\s*:?-*:?[ \t]*(?:\n|$)"), ""),  # the line under a table's head
    (re.compile(r"(?m)^[ \t]*>[ \t>]*"), ""),
    (re.compile(r"(?m)^\s*(?:(?:[-*_]\s*){3,}|=+\s*)$"), ""),
    (re.compile(r"(?m)^[ \t]*\|[ \t]*(.*?)[ \t]*\|[ \t]*(?=\n)"), r"\1."),
    (re.compile(r"(?m)^[ \t]*\|[ \t]*|[ \t]*\|[ \t]*$"), ""),
    (re.compile(r"[ \t]*\|[ \t]*"), ", "),
    # A heading or an item of a list is a sentence of its own, if its line is whole.
    (re.compile(rf"(?m)^\s{{0,3}}#{{1,6}}[ \t]+(.*?)[ \t]*#*[ \t]*(?<!{_ENDED})(?=\n)"), r"\1."),
    (re.compile(r"(?m)^\s{0,3}#{1,6}[ \t]+"), ""),
    (
        re.compile(rf"(?m)^\s*(?:[-*+•◦▪–]|\d{{1,3}}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(\S.*?)[ \t]*(?<!{_ENDED})(?=\n)"),
        r"\1.",
    ),
    (re.compile(r"(?m)^\s*(?:[-*+•◦▪–]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(?=\S)"), ""),
    (re.compile(r"(?<!\\)(?:\*\*|__|~~|`|==(?=\S)|(?<=\S)==(?!=))"), ""),
    (re.compile(r"(?<![\w\\])[*_](?=\S)|(?<=[^\s\\])[*_](?!\w)"), ""),
    (re.compile(r"\\([\\`*_{}\[\]()#+\-.!|~>$])"), r"\1"),
)


def speakable(text: str, *, mid_line: bool = False) -> str:
    """Return the text as one says it: without markdown, tags and emoji, and with a link's host in place of the link.

    `mid_line`: it begins in the middle of a line, where a dash is no bullet.
    """
    text = f"\0{text}" if mid_line else text
    for pattern, replacement in _LINKS:
        text = pattern.sub(replacement, text)
    text = _FORMULA.sub(_formula, text)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    text = _SMILEY.sub(" ", _EMOJI.sub(" ", _UNSPOKEN.sub("", text)))
    text = re.sub(r"\s+", " ", text).strip().lstrip(",")
    return re.sub(r"\s+([,.;:!?…](?!\d))", r"\1", text)


def _formula(match: re.Match[str]) -> str:
    """Return a formula in words, as far as the commonest signs go."""
    text = next(filter(None, match.groups()))
    for pattern, replacement in _FORMULA_REWRITES:
        text = pattern.sub(replacement, text)
    return re.sub(r"\s+", " ", text).strip()


class PhraseCutter:
    """Takes a reply's text as it streams in and gives it back in phrases that can be spoken.

    Where it cuts depends on the text alone, not on the pieces in which it came: it is looked at in the same small steps.
    """

    def __init__(self) -> None:
        self._text = ""
        self._first = True
        self._mid_line = False

    def feed(self, delta: str) -> list[str]:
        """Add text and return the phrases that are complete."""
        phrases: list[str] = []
        for step in _STEP.findall(delta):
            self._text += step
            self._cut(phrases)
        return phrases

    def flush(self) -> list[str]:
        """Return what is left: the text is complete."""
        phrases: list[str] = []
        self._cut(phrases, complete=True)
        self._take(len(self._text), phrases)
        return phrases

    def _cut(self, phrases: list[str], *, complete: bool = False) -> None:
        while (end := self._end(complete=complete)) is not None:
            self._take(end, phrases)

    def _take(self, end: int, phrases: list[str]) -> None:
        taken, self._text = self._text[:end], self._text[end:]
        phrase = speakable(taken, mid_line=self._mid_line)
        if any(character.isalnum() for character in phrase):
            phrases.append(phrase)
            self._first = False
        self._mid_line = bool(taken.rstrip(" \t")) and not taken.rstrip(" \t").endswith("\n")

    def _end(self, *, complete: bool) -> int | None:
        """Where the next phrase ends; None if more text must come first."""
        fence = self._text.find(_FENCE)
        if fence >= 0:
            closed = self._text.find(_FENCE, fence + len(_FENCE))
            if fence == 0 or not self._text[:fence].strip():
                return closed + len(_FENCE) if closed >= 0 else None
            return fence
        # When the text is complete, what is open is not going to be closed.
        pattern = _CLOSED_WHOLE if complete else _WHOLE
        wholes = [match.span() for match in pattern.finditer(self._text)]
        return self._end_of_first(wholes) if self._first else self._end_of_later(wholes)

    def _end_of_first(self, wholes: list[tuple[int, int]]) -> int | None:
        for end in self._breaks(_CLAUSE, wholes):
            if len(self._text[:end].split()) >= 2 or _CJK.search(self._text[:end]):
                return end
        tags = [span for span in wholes if self._text[span[0]] == "<"]  # nobody hears them
        words = [
            word
            for word in re.finditer(r"\S+", self._text)
            if not any(begin <= word.start() < stop for begin, stop in tags)
        ]
        if len(words) > FIRST_WORDS:
            return self._after(words[FIRST_WORDS - 1].end(), wholes)
        return self._too_long(wholes)

    def _after(self, end: int, wholes: list[tuple[int, int]]) -> int | None:
        """The end itself, or, if it lies inside something whole, the next one after that; None while that is open."""
        for begin, stop in wholes:
            if begin < end < stop:
                if self._text[stop - 1] == "\n":
                    return stop
                rest = re.compile(r"\S*").match(self._text, stop)  # a full stop, say
                end = rest.end() if rest is not None else stop
                if end == len(self._text):
                    return self._too_long(wholes)
        return end

    def _end_of_later(self, wholes: list[tuple[int, int]]) -> int | None:
        for end in self._breaks(_SENTENCE, wholes):
            if len(self._text[:end].strip()) >= GROWN_CHARS or end >= MAX_CHARS:
                return end
        return self._too_long(wholes)

    def _too_long(self, wholes: list[tuple[int, int]]) -> int | None:
        if _CJK.search(self._text) and " " not in self._text.strip() and len(self._text) > CJK_CHARS:
            return self._last_break(CJK_CHARS, wholes) or self._between_characters(CJK_CHARS)
        return self._forced(wholes) if len(self._text) > MAX_CHARS else None

    def _forced(self, wholes: list[tuple[int, int]]) -> int:
        """Where to cut a text that is too long: at the last break, else at the last space, else where it must be."""
        end = self._last_break(MAX_CHARS, wholes) or (self._text.rfind(" ", 1, MAX_CHARS) + 1)
        end = end or self._between_characters(MAX_CHARS)
        return next((begin for begin, stop in wholes if 0 < begin < end < stop), end)

    def _between_characters(self, at: int) -> int:
        """The place, or the nearest one before it that does not part a character from its marks."""
        end = at
        while end > 1 and (_joins(self._text[end]) or self._text[end - 1] == "\u200d"):
            end -= 1
        return end if end > 1 else at

    def _last_break(self, limit: int, wholes: list[tuple[int, int]]) -> int:
        return max((end for end in self._breaks(_CLAUSE, wholes) if end <= limit), default=0)

    def _breaks(self, pattern: re.Pattern[str], wholes: list[tuple[int, int]]) -> list[int]:
        """The ends of clauses or sentences, without the dots of numbers, abbreviations and lists."""
        ends = []
        for match in pattern.finditer(self._text):
            before = self._text[: match.start()].split()
            last = before[-1].lower().lstrip("(\"'“*_") if before else ""
            if match.group().startswith(".") and (last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())):
                continue
            line = self._text[self._text.rfind("\n", 0, match.start()) + 1 : match.start()]
            if match.group().startswith(".") and line.strip().isdigit():  # "1. First": a list's number
                continue
            if not any(begin < match.end() < stop for begin, stop in wholes):
                ends.append(match.end())
        return ends


def _joins(character: str) -> bool:
    """Whether a character belongs to the one before it: a mark, a joiner, a shade of skin."""
    return (
        unicodedata.category(character)[0] == "M" or character == "\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff"
    )
