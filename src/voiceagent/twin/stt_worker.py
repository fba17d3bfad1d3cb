"""The recogniser's process: pocketsphinx with an n-gram of what the responder understands, and a way to say "none of it".

Speech from outside the phrases is not to be bent into them: one garbage word for each phone competes with the words, and
where it wins too often nothing was understood.
"""

import os
import re
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import soxr

from voiceagent.twin import joining, pipes
from voiceagent.twin.vocabulary import emphasised

IN_HZ, RATE_HZ = 24_000, 16_000
FRAME_MS = 10  # the decoder's
GARBAGE_LOG10 = -1.2
MOST_GARBAGE = 0.15
QUIET_DBFS = -48.0
MOST_HYPOTHESES = 50
DISCOUNT = 0.05  # how much is left for word pairs that are in no phrase: "do me a joke"
_GARBAGE = "garbage_"


class Recogniser:
    """A decoder for whole utterances."""

    def __init__(self) -> None:
        import pocketsphinx
        from pocketsphinx.lm import ArpaBoLM

        pocketsphinx.set_loglevel("FATAL")
        model = Path(pocketsphinx.get_model_path()) / "en-us"
        corpus = emphasised()
        words = {word for phrase in corpus for word in phrase.split()}
        self._pairs = joining.word_pairs(corpus)
        lexicon, phones = _lexicon((model / "cmudict-en-us.dict").read_text(encoding="utf-8"), words)
        with tempfile.TemporaryDirectory(prefix="voiceagent-") as folder:
            dictionary, grammar = Path(folder) / "words.dict", Path(folder) / "phrases.lm"
            garbage = [f"{_GARBAGE}{phone.lower()} {phone}" for phone in sorted(phones)]
            dictionary.write_text("\n".join([*lexicon, *garbage]) + "\n", encoding="utf-8")
            arpa = ArpaBoLM(text="\n".join(corpus), add_start=True, discount_mass=DISCOUNT)
            arpa.compute()
            arpa.write_file(str(grammar))
            _add_unigrams(grammar, [line.split()[0] for line in garbage])
            self._decoder = pocketsphinx.Decoder(
                hmm=str(model / "en-us"), dict=str(dictionary), lm=str(grammar), fwdflat=True, loglevel="FATAL"
            )

    def new_words(self, pcm: bytes, *, seam: int, given: str, final: bool) -> tuple[str, bool]:
        """Return the words of an item that begins at the byte `seam`, and whether it goes on with what is before it.

        `given` are the words that were told of what is before.
        """
        if not seam:
            return self.words(pcm, final=final), False
        before = given.split()
        joined = self.words(pcm, final=final, judged_from=seam if before else 0)
        words, goes_on = joining.new_words(
            before, joined.split(), lambda: self.words(pcm[seam:], final=final).split(), self._pairs, final=final
        )
        return " ".join(words), goes_on

    def words(self, pcm: bytes, *, final: bool, judged_from: int = 0) -> str:
        """Return the words of PCM16 mono at 24 kHz; "" if they are none of ours, or those from the byte `judged_from`."""
        audio = soxr.resample(np.frombuffer(pcm, dtype="<i2").astype(np.float32), IN_HZ, RATE_HZ)
        if not audio.size:
            return ""
        # Digital silence ruins the decoder's idea of the channel: it gets a quiet room, always the same one.
        audio += np.random.default_rng(0).normal(0, 32768 * 10 ** (QUIET_DBFS / 20), audio.size)
        # What it learned of the noise in other people's utterances would change the words of this one.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(np.clip(audio, -32768, 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        first_frame = judged_from * 1000 // (IN_HZ * 2) // FRAME_MS
        words = _words(list(self._decoder.seg() or ()), final=final, first_frame=first_frame)
        return " ".join((self._likelier(words) or words) if final else words)

    def _likelier(self, words: list[str]) -> list[str] | None:
        """The best hypothesis that is all of pairs we know, if the best of all is not: "tell me" before "do me"."""
        if not words or joining.all_known(words, self._pairs):
            return None
        for hypothesis in islice(self._decoder.nbest() or (), MOST_HYPOTHESES):
            other = [_plain(word) for word in hypothesis.hypstr.split() if not word.startswith(("<", "[", "++"))]
            if other and joining.all_known(other, self._pairs):
                return other
        return None


def _words(segments: list[object], *, final: bool, first_frame: int) -> list[str]:
    said: list[str] = []
    garbage = voiced = 0
    for segment in segments:
        word = str(segment.word)  # type: ignore[attr-defined]
        begins = max(first_frame, segment.start_frame)  # type: ignore[attr-defined]
        frames = max(0, segment.end_frame - begins + 1)  # type: ignore[attr-defined]
        if word.startswith(_GARBAGE):
            garbage += frames
        elif not word.startswith(("<", "[", "++")):
            voiced += frames
            said.append(_plain(word))
    if not said or (final and garbage > 0 and garbage >= MOST_GARBAGE * voiced):
        return []
    return said


def _plain(word: str) -> str:
    """A word without the number of its pronunciation."""
    return re.sub(r"\(\d+\)$", "", word)


def _lexicon(text: str, words: set[str]) -> tuple[list[str], set[str]]:
    """The dictionary's lines for these words, and all its phones."""
    lines, phones, found = [], set(), set()
    for line in text.splitlines():
        head, _, sounds = line.partition(" ")
        phones.update(sounds.split())
        word = _plain(head)
        if word in words:
            found.add(word)
            lines.append(line)
    missing = sorted(words - found)
    if missing:
        raise RuntimeError(f"words without a pronunciation: {', '.join(missing)}")
    return lines, phones


def _add_unigrams(grammar: Path, words: list[str]) -> None:
    """Put words into an ARPA model that may come at any place."""
    text = grammar.read_text(encoding="utf-8")
    count = int(re.search(r"ngram 1=(\d+)", text)[1])  # type: ignore[index]  # the model was just written
    text = text.replace(f"ngram 1={count}", f"ngram 1={count + len(words)}", 1)
    rows = "".join(f"{GARBAGE_LOG10:.4f} {word} 0.0000\n" for word in words)
    text = text.replace("\\1-grams:\n", "\\1-grams:\n" + rows, 1)
    grammar.write_text(text, encoding="utf-8")


def main() -> None:
    """Serve requests from stdin until it ends."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the messages
    engine = Recogniser()
    pipes.write(sink, {"ready": True})
    while (message := pipes.read(source)) is not None:
        head, body = message
        try:
            words, goes_on = engine.new_words(body, seam=head["seam"], given=head["given"], final=head["final"])
            pipes.write(sink, {"id": head["id"], "end": True, "words": words, "goes_on": goes_on})
        except Exception as error:  # noqa: BLE001 - the request fails, the worker goes on
            pipes.write(sink, {"id": head["id"], "end": True, "error": f"{type(error).__name__}"})


if __name__ == "__main__":
    main()
