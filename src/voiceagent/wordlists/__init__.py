"""The words of each language that matter for turn-taking: data only; what follows from them is in ``lexicon``."""

from voiceagent.wordlists.english import ENGLISH
from voiceagent.wordlists.form import NOISES, STOPS, Phrases, Words, phrases
from voiceagent.wordlists.french import FRENCH
from voiceagent.wordlists.german import GERMAN
from voiceagent.wordlists.spanish import SPANISH

__all__ = ["BY_LANGUAGE", "NOISES", "STOPS", "Phrases", "Words", "phrases"]

BY_LANGUAGE = {"en": ENGLISH, "de": GERMAN, "es": SPANISH, "fr": FRENCH}
