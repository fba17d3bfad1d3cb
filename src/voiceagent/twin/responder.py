"""A small honest responder: the messages of a conversation in, what to say out. It does not pretend to understand."""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voiceagent.twin.numbers import numbers_in, plain

JOKES = (
    "Why did the function break up with the loop? It kept going in circles.",
    "I told my computer I needed a break. It said: no problem, I will go to sleep.",
    "There are ten kinds of people: those who understand binary, and those who do not.",
    "Why do programmers like the dark? Because light attracts bugs.",
)
STORY = (
    "Once upon a time there was a lighthouse keeper who had never seen the sea. "
    "Every evening she climbed the two hundred steps, lit the lamp, and went to sleep before the ships came. "
    "One night the lamp would not burn, and for the first time she stayed awake. "
    "She sat at the window and listened to the waves, one after another, like somebody breathing. "
    "Toward morning a small boat came out of the fog, and in it sat an old man with a lantern. "
    "He called up to her that he had followed her light for forty years, and that tonight he had come to bring one back. "
    "She went down the two hundred steps, took the lantern from his hand, and saw behind him, wide and grey, the sea. "
    "From that day on she lit the lamp a little later, and went to sleep a little after the ships. "
    "And the old man stayed for breakfast, and then for lunch, and in the end for many years."
)
ABILITIES = (
    "I am the local voice. I know the time and the date, sums, units, how to spell a word, how to count, "
    "a joke and a long story. You can interrupt me at any time."
)
NOT_UNDERSTOOD = "Sorry, I did not understand that. Ask me for the time, a sum, or a joke, or say: what can you do?"
MARK = re.compile(r"\s*\[[^\]]*\]\s*$")
"""What the agent puts after a reply that was cut off."""

_UNITS: dict[tuple[str, str], tuple[float, float]] = {
    ("mile", "kilometer"): (1.609344, 0), ("kilometer", "mile"): (0.621371, 0),
    ("pound", "kilogram"): (0.453592, 0), ("kilogram", "pound"): (2.204623, 0),
    ("inch", "centimeter"): (2.54, 0), ("centimeter", "inch"): (0.393701, 0),
    ("foot", "meter"): (0.3048, 0), ("meter", "foot"): (3.28084, 0),
    ("fahrenheit", "celsius"): (5 / 9, -160 / 9), ("celsius", "fahrenheit"): (1.8, 32),
    ("hour", "minute"): (60, 0), ("minute", "second"): (60, 0), ("day", "hour"): (24, 0),
    ("week", "day"): (7, 0), ("gallon", "liter"): (3.785412, 0), ("liter", "gallon"): (0.264172, 0),
}  # fmt: skip
_PLURALS = {
    "inches": "inch",
    "feet": "foot",
    "kilos": "kilogram",
    "kilo": "kilogram",
    "centigrade": "celsius",
    "celsius": "celsius",
}
_OPERATIONS: tuple[tuple[str, str, Callable[[float, float], float]], ...] = (
    (r"\bplus\b|\band\b|\+|\badd\b", "plus", lambda a, b: a + b),
    (r"\bminus\b|\bsubtract\b| - ", "minus", lambda a, b: a - b),
    (r"\btimes\b|\bmultiplied by\b|\*", "times", lambda a, b: a * b),
    (r"\bdivided by\b|\bover\b|/", "divided by", lambda a, b: a / b),
)


def wants_clock(text: str) -> bool:
    """Whether somebody asks for the time or the date."""
    return bool(re.search(r"\btime\b|\bdate\b|\bday is\b|\btoday\b|\bo'?clock\b|\bwhat year\b|\bwhat month\b", text))


def respond(messages: Sequence[Mapping[str, Any]], now: dt.datetime) -> str:
    """Return the answer to the last user message; `now` is the local time."""
    users = [_text(message) for message in messages if message.get("role") == "user"]
    replies = [MARK.sub("", _text(message)) for message in messages if message.get("role") == "assistant"]
    replies = [reply for reply in replies if reply]
    if not users:
        return "Hello. What can I do for you?"
    text = re.sub(r"[^\w\s'+*/.-]", " ", users[-1].lower()).strip()
    for known in (_about_history, _stop):
        answer = known(text, users, replies)
        if answer:
            return answer
    if re.fullmatch(
        r"((can|could) you )?(say that |say it )?(again|repeat)( that| it)?( please)?|pardon|one more time|what|sorry",
        text,
    ):
        return replies[-1] if replies else "I have not said anything yet."
    return _answer(text, now, len(replies))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _about_history(text: str, users: Sequence[str], replies: Sequence[str]) -> str:
    if re.search(r"what did i (just )?(ask|say)|what was my (last )?question", text):
        return f"You said: {users[-2]}" if len(users) > 1 else "You have not said anything before that."
    if re.search(r"what did you (just )?(say|tell)|what was your (last )?answer", text):
        return f"I said: {replies[-1]}" if replies else "I have not said anything yet."
    if re.search(r"where were we|where did (you|we|i) (stop|leave|interrupt)|go on|continue|carry on", text):
        return _rest_of_story(replies)
    return ""


def _rest_of_story(replies: Sequence[str]) -> str:
    """What comes after the words of the story that were heard."""
    for reply in reversed(replies):
        at = STORY.find(reply[-30:]) if reply else -1
        if at >= 0:
            rest = STORY[at + len(reply[-30:]) :].strip()
            return rest or "That was the whole story."
    return "There is nothing to go on with. Shall I tell you a story?"


def _stop(text: str, users: Sequence[str], replies: Sequence[str]) -> str:
    del users, replies
    if re.fullmatch(
        r"(please )?(i said )?(no |that is )?"
        r"(stop|wait|no|cancel|enough|quiet|be quiet|shut up|hold on|never mind)"
        r"( it| talking| stop| please| wait| a minute| thanks)*",
        text,
    ):
        return "All right."
    if re.fullmatch(
        r"(yes|yeah|okay|ok|right|very good|good|great|mm hm|uh huh|sure|i am (fine|well))( thanks| thank you| please)?",
        text,
    ):
        return "Good. What else?"
    return ""


def _answer(text: str, now: dt.datetime, nth: int) -> str:
    """Find the answer by keywords and slots: what the recogniser hears is seldom a whole phrase of ours."""
    numbers = numbers_in(text)
    for candidate in (_units(text, numbers), _sum(text, numbers), _spell(text), _count(text, numbers)):
        if candidate:
            return candidate
    if wants_clock(text):
        return _clock(text, now)
    for pattern, answer in (
        (r"\bjoke|funny|laugh", JOKES[nth % len(JOKES)]),
        (r"\bstory|tale\b", STORY),
        (r"what can (you|i)|help|who are you|what are you|your name|how do you work|what do you (do|know)", ABILITIES),
        (r"how are you|how do you do", "I am well, thank you. And you?"),
        (r"\b(thanks|thank you)\b", "You are welcome."),
        (r"\b(goodbye|good bye|bye|good night|see you)\b", "Goodbye. It was nice to talk with you."),
        (r"\b(hello|hi|hey|good morning|good evening|good afternoon)\b", "Hello. What can I do for you?"),
        (r"can you hear me|are you there|testing|excuse me|question", "Yes, I hear you. Go ahead."),
        (r"did not understand", ABILITIES),
        (r"\bweather\b", "I have no window and no network, so I do not know the weather."),
    ):
        if re.search(pattern, text):
            return answer
    return NOT_UNDERSTOOD


def _clock(text: str, now: dt.datetime) -> str:
    if re.search(r"\bdate\b|\bday\b|\btoday\b|\byear\b|\bmonth\b", text) and not re.search(
        r"time of day|\btime\b", text
    ):
        return f"Today is {now:%A}, {now:%B} {now.day}, {now.year}."
    return _time_of_day(now.hour, now.minute)


def _time_of_day(hour: int, minute: int) -> str:
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    return f"It is {hour % 12 or 12}:{minute:02d} {part}."


def say_clock(asked: str, told: str) -> str:
    """Answer a question for the time or the date from what a function told, such as "Tuesday, 3 May 2026, 14:05"."""
    clock = re.search(r"\b([01]?\d|2[0-3]):([0-5]\d)\b", told)
    if clock is not None and re.search(r"\btime\b|o'?clock", asked.lower()):
        return _time_of_day(int(clock[1]), int(clock[2]))
    return f"It is {re.sub(r',? ?[0-9]{1,2}:[0-9]{2}.*', '', told) or told}."


def _unit(word: str) -> str:
    return _PLURALS.get(word, word.removesuffix("s"))


def _units(text: str, numbers: Sequence[float]) -> str:
    known = {unit for pair in _UNITS for unit in pair}
    named = [_unit(word) for word in re.findall(r"[a-z]+", text) if _unit(word) in known]
    if len(named) < 2:
        return ""
    value = numbers[0] if numbers else 1.0
    # "how many kilometers are ten miles" names the target first, "convert ten miles to kilometers" last.
    source, target = (named[1], named[0]) if re.search(r"how (many|much)", text) else (named[0], named[1])
    factor = _UNITS.get((source, target))
    if factor is None:
        return ""
    return f"{plain(value)} {_named(source, value)} are {plain(value * factor[0] + factor[1])} {_named(target, 2)}."


def _named(unit: str, value: float) -> str:
    if unit in {"celsius", "fahrenheit"}:
        return f"degrees {unit.capitalize()}"
    plurals = {"foot": "feet", "inch": "inches"}
    return unit if value == 1 else plurals.get(unit, unit + "s")


def _sum(text: str, numbers: Sequence[float]) -> str:
    if len(numbers) != 2:
        return ""
    a, b = numbers
    for pattern, name, operate in reversed(_OPERATIONS):
        if re.search(pattern, text):
            if name == "divided by" and b == 0:
                return "One cannot divide by zero."
            return f"{plain(a)} {name} {plain(b)} is {plain(operate(a, b))}."
    return ""


def _spell(text: str) -> str:
    match = re.search(r"\bspell (?:the word |me )?([a-z]+)", text)
    if match is None:
        return ""
    word = match.group(1)
    return f"{word.capitalize()} is spelled {', '.join(word.upper())}."


def _count(text: str, numbers: Sequence[float]) -> str:
    if not re.search(r"\bcount\b", text):
        return ""
    last = int(numbers[-1]) if numbers else 10
    if not 1 <= last <= 100:
        return "I count from one to a hundred at most."
    return ", ".join(str(number) for number in range(1, last + 1)) + "."
