"""How loud a voice is said to be."""

import numpy as np
import pytest

from tests.test_ears import noise, run, voice
from voiceagent.endpointing import Endpoint


def level(quieter_db, snr_db):
    """What is told of a voice in a room whose noise is so far below it."""
    spoken = np.frombuffer(voice(800), "<i2") * 10 ** (-quieter_db / 20)
    room = np.frombuffer(noise(7_000, -20 - quieter_db - snr_db), "<i2").astype(np.float64)
    room[24_000 * 5 : 24_000 * 5 + spoken.size] += spoken
    *_, end = (p for p in run(room.astype("<i2").tobytes()) if isinstance(p, Endpoint))
    return end.level_dbfs


@pytest.mark.parametrize(("quieter_db", "snr_db"), [(0, 8), (0, 10), (9, 8)])
def test_the_level_of_a_voice_is_not_that_of_its_noise(quieter_db, snr_db):
    """A voice in a loud room is told as loud as in a quiet one, so that somebody else is told from the caller there too."""
    assert level(quieter_db, snr_db) == pytest.approx(level(0, 40) - quieter_db, abs=0.3)
