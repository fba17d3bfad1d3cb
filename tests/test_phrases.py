"""Tokens to phrases that can be spoken."""

import random
import unicodedata

import pytest

from voiceagent.phrases import MAX_CHARS, PhraseCutter, speakable


def cut(text, seed=None):
    """The phrases of a text that streams in, in random pieces."""
    rng, cutter, phrases, at = random.Random(seed), PhraseCutter(), [], 0
    while at < len(text):
        size = rng.randint(1, 9)
        phrases += cutter.feed(text[at : at + size])
        at += size
    return phrases + cutter.flush()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # marks of emphasis
        ("**Very** _important_ `code`.", "Very important code."),
        ("***All*** of ~~it~~ ==this== __too__", "All of it this too"),
        ("2 * 3 = 6, and 3.5 < 4", "2 * 3 = 6, and 3.5 < 4"),
        ("snake_case_name stays", "snake_case_name stays"),
        (r"A \*star\* and \_line\_", "A *star* and _line_"),
        # headings, lists, quotations, rules
        ("# Title\n\n- one\n- two", "Title. one. two"),
        ("Title\n=====\nText", "Title Text"),
        ("1. First\n2. Second!\n3) Third\n", "First. Second! Third."),
        ("- [x] done\n- [ ] to do", "done. to do"),
        ("• one\n  * two\n    + three\n", "one. two. three."),
        ("> quoted\n>> twice", "quoted twice"),
        ("one\n\n---\n\ntwo", "one two"),
        # links and addresses
        ("See [the page](https://example.com/x).", "See the page."),
        ("See [it](https://en.wikipedia.org/wiki/It_(novel)) now", "See it now"),
        ("See [the page][1] or [here][].\n\n[1]: https://example.com/x", "See the page or here."),
        ("A ![picture of a cat](cat.png)!", "A picture of a cat!"),
        ("Go to https://www.example.com/a/b?c=d now", "Go to example.com link now"),
        ("Go to https://example.com.", "Go to example.com link."),
        ("Go to www.example.com/x, or <https://example.org/y>!", "Go to example.com link, or example.org link!"),
        ("Write to jane.doe+x@mail.example.com.", "Write to jane.doe+x at mail.example.com."),
        ("<mailto:me@example.com> or [me](mailto:me@example.com)", "me at example.com or me"),
        # notes
        ("It is so.[^1] Really[^note].", "It is so. Really."),
        ("[^1]: A note.", "A note."),
        ("It is so [1], or so [2, 3][4–6].", "It is so, or so."),
        ("It is so【4†source】.", "It is so."),
        ("It is known¹ and so on.² It has 20 m² and x³.", "It is known and so on. It has 20 m² and x³."),
        # pictures
        ("Hi 😀 there 🎉!", "Hi there!"),
        ("Fine 👍🏽, family 👨‍👩‍👧 and flag 🇩🇪.", "Fine, family and flag."),
        ("Hi :-) and <3 you ;)", "Hi and you"),
        ("Step 1️⃣ is here™", "Step 1 is here"),
        # tags, entities, signs that nobody sees
        ("<speak>Hello <break time='1s'/> you</speak>", "Hello you"),
        ("one<br>two <!-- a note --> three", "one two three"),
        ("Tom &amp; Jerry&nbsp;&#39;s &lt;5 &hellip; AT&T;", "Tom & Jerry 's <5… AT&T;"),
        ("so\u00adft zero\u200bwidth\ufeff", "soft zerowidth"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        # tables, code, formulas
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b. 1, 2"),
        ("a | b\n--- | ---\n1 | 2\n", "a, b 1, 2"),
        ("```python\nprint(1)\n```", "(code)"),
        ("So:\n```\nx = [1](2)\n", "So: (code)"),
        (r"So $x^2 + y^{3} = \frac{a}{b}$.", "So x squared + y cubed equals a over b."),
        (
            r"\(\sqrt{2} \approx 1.41\) and \[ a_1 \leq \pi \times n^k \]",
            "the square root of 2 is about 1.41 and a 1 is at most pi times n to the k",
        ),
        ("It costs $40, not $50 = too much.", "It costs $40, not $50 = too much."),
        ("The variable $x$ and $$y$$", "The variable x and y"),
        ("It is B, A, N.", "It is B, A, N."),
        ("", ""),
    ],
)
def test_speakable(text, said):
    """Markup is not read aloud; words, numbers and punctuation are."""
    assert speakable(text) == said


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("It is nine in the morning.", ["It is nine in", "the morning."]),
        ("Of course, I can tell you that.", ["Of course,", "I can tell you that."]),
        ("Well, hello there.", ["Well, hello there."]),
        ("Dr. Smith paid 1,000.50 dollars today.", ["Dr. Smith paid 1,000.50", "dollars today."]),
        ("Yes.", ["Yes."]),
        ("😀", []),
        ("", []),
        ("今日はいい天気です。散歩しましょう。", ["今日はいい天気です。", "散歩しましょう。"]),
    ],
)
def test_phrases(text, phrases):
    """The first phrase is cut early, and never inside a number, an abbreviation or a single word."""
    assert cut(text, 1) == phrases


def test_later_phrases_grow():
    """After the first phrase whole sentences are gathered until they are worth a request."""
    sentence = "This is a sentence of some length that somebody may say. "
    phrases = cut("Of course, " + sentence * 6, 1)
    assert phrases[0] == "Of course,"
    assert phrases[1:] == [(sentence * 3).strip()] * 2


def test_a_dash_in_the_middle_of_a_line():
    """What begins a phrase is a bullet or a number of a list only where a line begins."""
    assert speakable(" - 3 is two", mid_line=True) == "- 3 is two"
    assert cut("What you get from 5\n- one\n- two", 1) == ["What you get from", "5 one. two"]
    assert cut("One two three four - five", 1) == ["One two three four", "- five"]


FRAGMENTS = (
    "See [the long page title](https://example.com/a_b?c=d) now.",
    "`a code of five words here` and",
    "**Bold words, many of them** go on.",
    "<b>tag</b>",
    "<break time='1s' strength='x'/>",
    "$x^2 + y = \\frac{a b}{c}$ holds.",
    "\\(a + b + c + d\\)",
    "\\[ x = 1,\n y = 2 \\]",
    "$40 and $5k,",
    "$5",
    "```python\nprint(1, 2, 3, 4)\n```",
    "\n\n",
    "\n- item one\n- item two, long\n",
    "\n1. First\n2. Second\n",
    "| Name | Age |\n|---|---|\n| Bob | 3 |\n",
    "Dr. Smith paid 1,000.50 dollars.",
    "e.g. this",
    "https://example.com/a,b.c",
    "me@example.com,",
    "今日は、いい天気です。",
    "「はい。」と言う！",
    "😀👨‍👩‍👧",
    "It is so.[1][2]",
    "note[^1]",
    "&amp;",
    "Well...",
    "really?!",
    '"Yes," he said.',
    "a [bracket that is never closed",
    "a `tick",
    "a < b",
    "<never closed",
    "word",
    "one two three",
    "# Title of it\n",
    "x" * 60,
)


@pytest.mark.parametrize("seed", range(60))
def test_the_pieces_do_not_matter(seed):
    """The same text gives the same phrases, in whatever pieces it streams in, and nothing whole is cut in two."""
    rng = random.Random(seed)
    text = " ".join(rng.choices(FRAGMENTS, k=rng.randint(1, 14)))
    whole = PhraseCutter()
    phrases = whole.feed(text) + whole.flush()
    assert all(cut(text, f"{seed} {other}") == phrases for other in range(8))
    single = PhraseCutter()
    assert [phrase for character in text for phrase in single.feed(character)] + single.flush() == phrases
    for phrase in phrases:
        assert "](" not in phrase
        assert "```" not in phrase
        assert "break time" not in phrase
        assert len(phrase) <= MAX_CHARS + 20  # a formula grows a little as it is put into words


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("See [the long page title here](https://example.com) now.", ["See the long page title here", "now."]),
        ("See [the long page title here](https://example.com).", ["See the long page title here."]),
        ("Use `a b c d e`, then go on.", ["Use a b c d e,", "then go on."]),
        ("Here <break time='1s' strength='x' other='y'/> we go on then.", ["Here we go on", "then."]),
        ("| Name | Age | Town |\n|---|---|---|\n| Bob | 3 | Rome |", ["Name, Age, Town.", "Bob, 3, Rome"]),
        ("It costs $40 per month.", ["It costs $40 per", "month."]),
        ("So $a + b + c = d$ holds.", ["So a + b + c equals d", "holds."]),
        ("I am [not closed, but go on.", ["I am [not closed,", "but go on."]),
        ("Of course, here you are:\n1. First\n2. Second", ["Of course,", "here you are: First. Second"]),
    ],
)
def test_what_is_whole_stays_whole(text, phrases):
    """A link, code, a tag, a formula or a table's row is not cut in two."""
    assert cut(text, 1) == phrases


@pytest.mark.parametrize("unit", ["e\u0301", "\u0915\u093f", "か\u3099", "xyz\u0301\u0302"])
def test_a_character_keeps_its_marks(unit):
    """Where a text without spaces must be cut, it is not between a character and what belongs to it."""
    phrases = cut("a" + unit * 500, 1)
    assert "".join(phrases) == "a" + unit * 500
    assert len(phrases) > 1
    assert not any(unicodedata.category(phrase[0]).startswith("M") for phrase in phrases)


@pytest.mark.parametrize("seed", range(20))
def test_no_word_is_lost(seed):
    """The phrases of any plain text join to it, however it streams in, and none is too long."""
    rng = random.Random(seed)
    words = rng.choices(
        ["a", "the", "word", "number", "3.5", "1,000", "Dr.", "then,", "stop.", "really?", "so:"], k=200
    )
    phrases = cut(" ".join(words), seed)
    assert " ".join(phrases) == " ".join(words)
    assert max(map(len, phrases)) <= MAX_CHARS


def test_a_text_without_an_end():
    """A flood without punctuation or spaces is cut all the same."""
    phrases = cut("x" * 2000, 1)
    assert "".join(phrases) == "x" * 2000
    assert max(map(len, phrases)) <= MAX_CHARS
