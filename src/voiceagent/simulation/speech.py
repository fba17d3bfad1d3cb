"""How long the agent's voice takes for each word: what was truly heard of a phrase after so many samples."""

import random
import zlib

STEP_SAMPLES = 240


class Voice:
    """One synthesiser's voice. The same phrase always takes equally long."""

    def __init__(self, seed: int, pace: float = 1.0, *, tells_words: bool = False) -> None:
        self.tells_words = tells_words  # the synthesiser says where each word ends
        self._seed = seed
        self._pace = pace
        self._known: dict[str, list[int]] = {}

    def word_ends(self, text: str) -> list[int]:
        """The samples at which each word of a phrase ends."""
        ends = self._known.get(text)
        if ends is None:
            draw = random.Random(self._seed ^ zlib.crc32(text.encode()))
            at, ends = 0, []
            for word in text.split():
                letters = sum(character.isalnum() for character in word)
                steps = 3 + 6 * letters + (26 if word[-1] in ".?!" else 13 if word[-1] == "," else 0)
                at += max(8, round(steps * self._pace * draw.uniform(0.82, 1.2))) * STEP_SAMPLES
                ends.append(at)
            self._known[text] = ends
        return ends

    def samples(self, text: str) -> int:
        """How long a phrase is."""
        ends = self.word_ends(text)
        return ends[-1] if ends else 0

    def heard_words(self, phrases: list[tuple[str, int]], samples: int) -> int:
        """How many words were played after so many samples of an epoch; one counts once half of it was."""
        words = 0
        for text, first in phrases:
            begin = 0
            for end in self.word_ends(text):
                if samples - first < (begin + end) / 2:
                    return words
                words += 1
                begin = end
        return words
