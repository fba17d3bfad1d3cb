"""Samples to words: what was heard of a reply."""

import random
from bisect import bisect_right
from itertools import pairwise

import numpy as np
import pytest

from voiceagent.heard import RATE_HZ, ReplyLedger, WordMark, pause_ms, word_ms
from voiceagent.phrases import PhraseCutter
from voiceagent.twin import LocalEngines

SECOND = RATE_HZ


def ledger():
    """Two phrases of a second and a half each."""
    made = ReplyLedger()
    made.add("It is nine in", 0)
    made.add("the morning, my friend.", SECOND * 3 // 2)
    made.close(SECOND * 3)
    return made


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (0, ""),
        (1, ""),
        (SECOND // 4, "It"),
        (SECOND * 3 // 2, "It is nine in"),
        (SECOND * 3 // 2 + 1, "It is nine in"),
        (SECOND * 9 // 4, "It is nine in the morning,"),
        (SECOND * 3, "It is nine in the morning, my friend."),
        (SECOND * 30, "It is nine in the morning, my friend."),
    ],
)
def test_heard(samples, heard):
    """A word counts once half of it was played; phrases before it count whole."""
    assert ledger().heard(samples) == heard


def test_it_only_grows():
    """More samples never mean fewer words."""
    made = ledger()
    lengths = [len(made.heard(samples)) for samples in range(0, SECOND * 3 + 1, 240)]
    assert lengths == sorted(lengths)


def test_a_phrase_that_is_not_complete():
    """While a phrase's audio still comes, its length is guessed by the pace of those before it."""
    made = ReplyLedger()
    made.add("one two three four", 0)
    made.add("five six seven eight", SECOND * 2)
    assert made.heard(SECOND * 2) == "one two three four"
    assert made.heard(SECOND * 3) == "one two three four five six"
    assert made.heard(SECOND * 20) == "one two three four five six seven eight"


def marked(text, *marks, samples=None):
    """A ledger of one phrase with marks, complete where its samples are given."""
    made = ReplyLedger()
    made.add(text, 0)
    made.mark(0, [WordMark(*mark) for mark in marks])
    if samples is not None:
        made.close(samples)
    return made


def test_word_marks_are_exact():
    """Where the synthesiser tells its words' ends, they decide: a word is heard once half of it was played."""
    made = marked("one two three", (3, 1000), (7, 5000), (13, 6000), samples=6000)
    assert [made.heard(samples) for samples in (499, 500, 2999, 3000, 5499, 5500, 6000)] == [
        "", "one", "one", "one two", "one two", "one two three", "one two three",
    ]  # fmt: skip


def test_marks_may_come_while_the_phrase_grows():
    """What the marks known so far do not reach is shared out, at the pace that they show."""
    made = marked("aaa bbb ccc ddd", (3, 12_000))
    assert [made.heard(samples) for samples in (6_000, 12_000, 18_000, 30_000)] == [
        "aaa", "aaa", "aaa bbb", "aaa bbb ccc",
    ]  # fmt: skip
    made.mark(0, [WordMark(7, 40_000)])
    assert [made.heard(samples) for samples in (18_000, 25_999, 26_000, 40_000)] == ["aaa", "aaa", "aaa bbb", "aaa bbb"]


def test_a_mark_may_end_several_words():
    """Words that the synthesiser speaks as one share its time."""
    made = marked("aa in the bb", (2, 1000), (9, 3000), (12, 4000), samples=4000)
    assert [made.heard(samples) for samples in (1300, 1500, 2500)] == ["aa", "aa in", "aa in the"]


def test_silence_and_pauses():
    """Silence before the first word, between two and after the last one is no word's time."""
    made = marked("one, two", (0, 4000), (4, 5000), (4, 9000), (8, 10_000), samples=30_000)
    assert [made.heard(samples) for samples in (4499, 4500, 9499, 9500)] == ["", "one,", "one,", "one, two"]


def test_a_mark_inside_a_word_tells_nothing():
    """The synthesiser's words may be less than ours; of another phrase nothing is taken."""
    made = marked("10:30 sharp", (3, 100), (5, 8000), (11, 10_000), samples=10_000)
    made.mark(7, [WordMark(11, 1)])
    assert [made.heard(samples) for samples in (3999, 4000)] == ["", "10:30"]


def test_a_phrase_that_broke_off():
    """Where the audio ends in the middle of a phrase, its text was not heard to the end, however long one listens."""
    made = ReplyLedger()
    made.add("one two", 0)
    made.add("aaa bbb ccc ddd eee fff", SECOND)
    made.mark(SECOND, [WordMark(3, 4_000), WordMark(7, 8_000)], broken=True)
    made.close(SECOND + 8_000)
    assert made.heard(SECOND + 8_000) == made.heard(SECOND + 7_000) == "one two aaa bbb"
    assert made.text.endswith("fff")


def test_an_empty_phrase_of_marks():
    """A phrase without a word is heard with its last sample."""
    made = marked("", (0, 100), samples=1000)
    made = marked("—", samples=1000)
    assert (made.heard(499), made.heard(500)) == ("", "—")


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("今日は、いい。", ["今", "日", "は、", "い", "い。"]),
        ("か\u3099く", ["か\u3099", "く"]),  # a combining voicing mark
        ("葛\U000e0100城", ["葛\U000e0100", "城"]),  # a variation selector
        ("日👨‍👩‍👧本", ["日👨‍👩‍👧", "本"]),
        ("👍🏽👍🏽 ok", ["👍🏽👍🏽", " ok"]),
        ("cafe\u0301 ok", ["cafe\u0301", " ok"]),
        ("「はい」と言う", ["「は", "い」", "と", "言", "う"]),
        ("안녕 하세요", ["안녕", " 하세요"]),
        ("2026年", ["2026", "年"]),
    ],
)
def test_nothing_is_cut_in_two(text, units):
    """The cut lies between words, in Chinese and Japanese between characters with all that belongs to them."""
    made = marked(text, samples=100_000)
    cuts = list(dict.fromkeys(made.heard(samples) for samples in range(0, 100_001, 50)))
    sums = ["".join(units[:count]) for count in range(len(units) + 1)]
    assert cuts == sums


def test_an_empty_ledger():
    """Nothing said is nothing heard."""
    made = ReplyLedger()
    made.close(0)
    assert (made.text, made.heard(0), made.heard(100)) == ("", "", "")


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("6", 1), ("7", 2), ("0", 2), ("13", 2), ("21", 3), ("21st", 3), ("3.5", 3), ("0.05", 2 + 1 + 2 + 1), ("2026", 1 + 2 + 3),
        ("1,000", 3), ("1,000,000", 3), ("$40", 4), ("50%", 4), ("10:30", 3), ("10:05", 4), ("007", 6), ("USA", 3),
        ("1234567890123", 15),
    ],
)  # fmt: skip
def test_numbers_are_spoken_out(word, syllables):
    """A number takes as long as the words it is spoken as, with its signs; an acronym as its letters."""
    assert word_ms(word) == syllables * 228


def test_weights():
    """A longer word takes longer, a comma a little and a full stop more, wherever the quotation marks are."""
    assert word_ms("year") > word_ms("yes") > word_ms("a") > 0
    assert word_ms("...") > 0
    assert pause_ms('stop."') == pause_ms("stop.") > pause_ms("stop,") > pause_ms("stop") == pause_ms("3.5") == 0


@pytest.mark.parametrize("seed", range(10))
def test_the_whole_is_the_text(seed):
    """Everything played is everything said, whatever the phrases."""
    rng, made, at, phrases = random.Random(seed), ReplyLedger(), 0, []
    for _ in range(rng.randint(1, 6)):
        phrases.append(" ".join(rng.choices(["a", "word", "4711", "really,", "日本語", "end."], k=rng.randint(1, 9))))
        made.add(phrases[-1], at)
        at += rng.randint(1, 50_000)
    made.close(at)
    assert made.heard(at) == " ".join(phrases)


# ------------------------------------------------------------------------------ against a real synthesiser
PLAIN = """I would take an umbrella, because it is going to rain this afternoon.
Once upon a time there was a little lighthouse at the edge of a grey and stormy sea.
Photosynthesis is the process by which plants turn light into chemical energy.
Go left, then right, then straight on until you see the church.
Unfortunately the flight has been cancelled because of the weather; shall I look for another one?
It was dark. It was cold. Nobody came.
Yes, there is a pharmacy around the corner, right beside the bakery.
The recipe calls for flour, sugar, butter, eggs, vanilla, and a little patience.
There are several restaurants near the station, and most of them are open until late.
You could try turning it off and on again; that often helps.
Honestly, I don't know, but I can find out for you.
Your appointment with the dentist has been moved to Thursday afternoon.
The museum is closed today, but the gallery next door is open.
Elephants are the largest land animals, and they have an extraordinary memory.
If you leave now, you will arrive just before the concert starts.
Please hold the line while I check the availability.
Learning an instrument takes discipline, curiosity, and a patient neighbour.
We met at university, lost touch, and found each other again years later.
I can set a timer, tell you a joke, or read you a story.
Great question. The short answer is that it depends on temperature and pressure.""".splitlines()
NUMBERS = """In 2026 the ticket costs $40, and from 2031 on $52.50.
We meet at 10:30 on the 21st, in room 214 of building 7.
About 3.5 million people, or 12% of them, came in 1998.
That makes 1,250 in total, and 0.75 for each of the 3 of you.
He was born in 1984, won 2 medals before he was 19, and retired at 33.
The 2nd bus leaves at 8:05 and the 3rd one at 8:45 in the evening.
Pay €300 now or 4 times $90.
Our API answers 99.9% of 600 calls within 250 milliseconds.""".splitlines()


def true_moments(text, ends, samples):
    """When half of each word was played, in samples; words that are spoken as one share their time."""
    moments = {0: (0, 0)}  # a character: the first and the last sample at which it is the last one said
    for end in ends:
        if end.end_char == len(text) or text[end.end_char].isspace():
            first, _ = moments.get(end.end_char, (end.end_ms * 24, 0))
            moments[end.end_char] = (first, end.end_ms * 24)
    middles = []
    for before, char in pairwise(moments):
        begin, end, words = moments[before][1], moments[char][0], text[before:char].split()
        middles += [begin + (end - begin) * (index + 0.5) / len(words) for index in range(len(words))]
    assert len(middles) == len(text.split())
    assert middles == sorted(middles)
    assert middles[-1] <= samples
    return middles


async def spoken(sentences, seed):
    """Phrases of random replies as the synthesiser speaks them: text, word ends, samples."""
    rng, engines = random.Random(seed), LocalEngines()
    await engines.start()
    made = []
    try:
        for _ in range(24):
            cutter, voice, speed = PhraseCutter(), rng.choice(["alloy", "echo", "nova"]), rng.choice([0.8, 1.0, 1.4])
            reply = " ".join(rng.sample(sentences, rng.randint(1, 4)))
            for text in cutter.feed(reply) + cutter.flush():
                ends, samples = [], 0
                async for pcm in engines.speak(text, voice, speed, ends.extend):
                    samples += len(pcm) // 2
                made.append((text, ends, samples))
    finally:
        await engines.aclose()
    return made


@pytest.mark.local
@pytest.mark.skipif(bool(LocalEngines.missing()), reason="the extra 'local' is not installed")
@pytest.mark.parametrize("sentences", [PLAIN, NUMBERS], ids=["plain", "numbers"])
async def test_the_error_in_words(sentences):
    """By its marks the ledger is never wrong by more than a word, without them by two at the 99th percentile."""
    marked_errors, errors = [], []
    for text, ends, samples in await spoken(sentences, 1):
        middles = true_moments(text, ends, samples)
        exact = marked(text, *[(end.end_char, end.end_ms * 24) for end in ends], samples=samples)
        shared = marked(text, samples=samples)
        for played in range(600, samples, 1200):
            true = bisect_right(middles, played)
            marked_errors.append(abs(len(exact.heard(played).split()) - true))
            errors.append(abs(len(shared.heard(played).split()) - true))
    assert len(errors) > 1000
    assert max(marked_errors) <= 1
    assert np.percentile(errors, 99) <= 2
    assert np.percentile(errors, 95) <= 1
    assert np.mean(errors) < 0.4
