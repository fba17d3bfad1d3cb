"""The form of a language's word lists, and the noises that every language has.

Words are small and NFKC. An entry of several words is a phrase. Where a list says "ends", it is of the last words said.
"""

from dataclasses import dataclass, field

Phrases = frozenset[str]
NONE: Phrases = frozenset()


def phrases(text: str) -> Phrases:
    """Return the phrases of a text, which commas or line ends divide."""
    return frozenset(" ".join(part.split()) for line in text.splitlines() for part in line.split(",") if part.strip())


def words(text: str) -> Phrases:
    """Return the words of a text."""
    return frozenset(text.split())


def numerals(text: str, first: int, *, step: int = 1) -> dict[str, str]:
    """Return the digits of number words, which commas divide; blanks stand between words for the same number."""
    return {word: str(first + at * step) for at, part in enumerate(text.split(",")) for word in part.split()}


# What every language has, and all that is known of a language without a list.
NOISES = phrases("""
m hm, mm hm, mhm, hm, mm, m m, uh huh, aha, ah, oh, ooh, okay, ok, okey dokey, haha, hehe, hihi, ha ha, he he, ha,
ha ha ha, hahaha, wow, ahem, achoo, hatschi, atchoum, achis
""")
STOPS = phrases("stop, stopp")


@dataclass(frozen=True, slots=True)
class Words:
    """One language's lists. Those of a language that is not known are empty but for the noises and "stop"."""

    backchannels: Phrases = NONE  # what a listener says while the other goes on talking
    stops: Phrases = NONE  # what asks the other to be quiet
    polite: Phrases = NONE  # what may stand around it
    answers: Phrases = NONE  # a whole turn in a word
    closers: Phrases = NONE  # ends of complete turns
    hesitations: Phrases = NONE  # ends of somebody who searches for words
    hesitation_not_after: dict[str, Phrases] = field(default_factory=dict)  # "you know", but not "do you know"
    fillers: Phrases = NONE  # words before the sentence proper
    articles: Phrases = NONE  # articles, possessives: a noun is to come
    joining: Phrases = NONE  # conjunctions and all else that goes on
    prepositions: Phrases = NONE
    auxiliaries: Phrases = NONE
    subjects: Phrases = NONE  # pronouns that may be one
    objects: Phrases = NONE  # other pronouns
    only_subjects: Phrases = NONE  # pronouns that are nothing else: a verb is to come
    pointers: Phrases = NONE  # subjects that want more than an auxiliary: "that is"
    replies: Phrases = NONE  # whole turns of a subject and an auxiliary: "I am"
    unfinished_ends: Phrases = NONE
    complete_ends: Phrases = NONE  # ends that look unfinished and are not
    particles: dict[str, Phrases] = field(default_factory=dict)  # a particle, and the verbs that it completes
    openers: Phrases = NONE  # question words and what else opens a clause that may end with a preposition or a verb
    stranded: Phrases = NONE  # ends that are complete after an opener: "waiting for"
    agreeing: Phrases = NONE  # after these a clause may end with its auxiliary: "I think it is"
    verb_last: bool = False  # a clause after an opener ends with its auxiliary
    questions: Phrases = NONE  # words that begin a question
    asking: Phrases = NONE  # auxiliaries that begin a question when a subject follows
    requests: Phrases = NONE  # verbs that begin a request
    asking_on: Phrases = NONE  # of these: what wants a verb after the subject as well: "how do I"
    orders: Phrases = NONE  # what looks like one: "do it"
    wants: Phrases = NONE  # with a denial a clause may end in these and "to": "I don't want to"
    denials: Phrases = NONE
    copulas: Phrases = NONE  # "where are you from"
    numbers: dict[str, str] = field(default_factory=dict)  # number words, and the digits each stands for
    zeros: Phrases = NONE  # with these only a dictated number begins
    number_parts: str = ""  # a regular expression for number words written as one
    repeats: Phrases = NONE  # "double five"
    points: Phrases = NONE  # "three point five"
    number_cues: dict[str, int] = field(default_factory=dict)  # what announces a number, and how long it is
    plain_numbers: Phrases = NONE  # "room number 12" is no telephone
    birth: Phrases = NONE  # what announces a date of birth
    date_words: Phrases = NONE  # months and ordinals
    half_years: Phrases = NONE  # "march fifth nineteen"
    phone_digits: int = 10
    spaced_thousands: bool = False  # "120 000" is a quantity
    spelling_cues: Phrases = NONE
    spelling_joins: Phrases = NONE  # "B as in Bravo"
    spelling_words: Phrases = NONE  # alphabets, and "dot" or "slash" of an address
    address_words: Phrases = NONE  # of these: what another part of an address follows
    short_words: Phrases = NONE  # letters that are words
    initials: Phrases = NONE  # letters that are one word: "p m"
