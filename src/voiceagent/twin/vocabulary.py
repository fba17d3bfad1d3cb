"""The phrases that the local recogniser can hear: every way of asking that the responder has an answer to."""

from collections.abc import Iterator
from itertools import product

from voiceagent.twin.numbers import spoken

SPELLED = [
    "banana",
    "apple",
    "computer",
    "house",
    "school",
    "water",
    "table",
    "garden",
    "music",
    "coffee",
    "friend",
    "people",
    "morning",
    "language",
    "python",
    "window",
    "elephant",
    "orange",
    "summer",
    "winter",
    "yellow",
    "necessary",
]
_CONVERSIONS = (
    ("miles", "kilometers"), ("kilometers", "miles"), ("pounds", "kilograms"), ("kilograms", "pounds"),
    ("inches", "centimeters"), ("centimeters", "inches"), ("feet", "meters"), ("meters", "feet"),
    ("fahrenheit", "celsius"), ("celsius", "fahrenheit"), ("hours", "minutes"), ("days", "hours"), ("weeks", "days"),
)  # fmt: skip
_VALUES = (*range(1, 21), 25, 30, 40, 50, 60, 70, 80, 90, 100)
_FIXED = """
what time is it
what time is it now
what time is it please
what is the time
what's the time
what is the time now
tell me the time
tell me the time please
can you tell me the time
could you tell me what time it is
do you know what time it is
what date is it
what is the date
what is the date today
what's the date
what's today's date
what day is it
what day is it today
what day is today
what is today
tell me the date
which day is it
what year is it
what month is it
tell me a joke
tell me a joke please
tell me another joke
another joke
another joke please
do you know a joke
can you tell me a joke
say something funny
make me laugh
tell me a story
tell me a long story
tell me a story please
can you tell me a story
tell me another story
a long story
read me a story
go on
go on please
continue
continue please
carry on
go on with the story
continue the story
what can you do
what can i say
what can i ask you
what do you know
what do you do
help
help me
help me please
can you help me
i need help
who are you
what are you
what is your name
what's your name
how do you work
hello
hello there
hi
hi there
hey
hey there
good morning
good afternoon
good evening
how are you
how are you today
how do you do
i am fine
i am well
thank you
thank you very much
thanks
thanks a lot
goodbye
good bye
bye
bye bye
good night
see you
see you later
again
again please
say that again
say it again
say that again please
repeat that
repeat that please
repeat it
can you repeat that
one more time
pardon
what did i ask
what did i ask you
what did i say
what did i just say
what was my question
what was my last question
what did you say
what did you just say
what was your answer
where were we
where did you stop
stop
stop it
stop please
please stop
stop stop
stop talking
wait
wait a minute
wait please
hold on
no
no no
no stop
no wait
no thanks
enough
that is enough
be quiet
quiet please
cancel
shut up
yes
yes please
yeah
okay
okay thanks
right
sure
good
great
very good
can you hear me
are you there
testing
what is the weather
what is the weather like today
how is the weather
tell me about the weather
i have a question
i said stop
what
sorry
excuse me
i did not understand
never mind
"""


def phrases() -> tuple[str, ...]:
    """Return all of them, lower case, without punctuation, each once, in a fixed order."""
    return tuple(dict.fromkeys(_all()))


def _all() -> Iterator[str]:
    fixed = [line for line in _FIXED.splitlines() if line]
    yield from fixed * 1
    for a, operation, b in product(_VALUES, ("plus", "minus", "times", "divided by"), _VALUES):
        if (a * 7 + b) % 11 == 0:  # a share of them: the n-gram knows the pattern from it
            yield f"what is {spoken(a)} {operation} {spoken(b)}"
    for a, b in zip(_VALUES, _VALUES[3:] + _VALUES[:3], strict=True):
        yield f"how much is {spoken(a)} plus {spoken(b)}"
        yield f"{spoken(a)} plus {spoken(b)}"
        yield f"what's {spoken(a)} times {spoken(b)}"
    for tens, ones in product(range(20, 100, 10), range(1, 10)):
        yield f"what is {spoken(tens + ones)} plus {spoken((tens * 3 + ones) % 100)}"
    for index, value in enumerate(_VALUES):
        for source, target in _CONVERSIONS[index % 4 :: 4]:
            yield f"how many {target} are {spoken(value)} {source}"
            yield f"convert {spoken(value)} {source} to {target}"
            yield f"what is {spoken(value)} {source} in {target}"
        yield f"count to {spoken(value)}"
        yield f"can you count to {spoken(value)}"
    for value in (50, 60, 70, 80, 90, 100):
        yield f"what is {spoken(value)} degrees fahrenheit in celsius"
        yield f"what is {spoken(value // 2)} degrees celsius in fahrenheit"
    for word in SPELLED:
        yield f"spell {word}"
        yield f"spell the word {word}"
        yield f"how do you spell {word}"
        yield f"can you spell {word}"


def emphasised() -> tuple[str, ...]:
    """Return the corpus of the n-gram: what people say first and most is in it more than once."""
    fixed = tuple(line for line in _FIXED.splitlines() if line)
    return phrases() + fixed * 3
