"""How late the ears are, as measured: onset to sound and to voice, end to the pause of 100 ms, in milliseconds.

`python -m voiceagent.bench.ears` measures them on 48 synthesised utterances in frames of 20 ms, and says what an onset is.
A delay below 0 came before the onset as it is defined there. Whoever plays the ears draws from these.
"""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

# condition -> what is told -> the delays at these quantiles, in ms
DELAYS_MS: dict[str, dict[str, tuple[float, ...]]] = {
    "clean": {
        "sound": (52.3, 56.0, 60.2, 67.9, 70.1, 70.4, 76.0),
        "voice": (67.6, 76.8, 91.4, 118.0, 140.7, 149.9, 179.4),
        "pause": (102.0, 108.4, 114.3, 121.0, 140.0, 154.2, 166.1),
    },
    "30 dB": {
        "sound": (52.3, 56.0, 60.2, 67.9, 70.1, 70.4, 76.0),
        "voice": (65.1, 74.7, 94.8, 118.0, 136.8, 149.0, 179.4),
        "pause": (101.2, 108.2, 113.7, 118.2, 125.3, 130.1, 146.7),
    },
    "20 dB": {
        "sound": (53.5, 58.2, 66.8, 70.4, 82.3, 88.7, 98.4),
        "voice": (61.2, 73.0, 94.8, 126.3, 140.7, 149.9, 179.4),
        "pause": (63.4, 95.5, 103.2, 110.2, 114.2, 114.6, 116.9),
    },
    "10 dB": {
        "sound": (60.0, 70.0, 77.9, 100.3, 121.4, 138.7, 154.4),
        "voice": (64.1, 77.2, 95.7, 120.3, 140.7, 149.9, 179.4),
        "pause": (-10.7, 21.4, 95.3, 107.7, 114.1, 114.3, 115.2),
    },
    "echo -40 dB": {
        "sound": (52.3, 57.5, 60.8, 68.2, 70.3, 72.1, 78.4),
        "voice": (65.1, 74.7, 94.8, 120.3, 136.8, 149.0, 179.4),
        "pause": (101.2, 107.4, 112.0, 117.6, 119.4, 127.2, 146.7),
    },
    "echo -30 dB": {
        "sound": (54.1, 58.2, 66.8, 70.3, 76.4, 87.8, 98.4),
        "voice": (57.9, 68.8, 74.1, 107.7, 135.0, 143.4, 165.9),
        "pause": (99.9, 105.0, 110.1, 114.2, 118.1, 118.4, 127.7),
    },
    "echo -20 dB": {
        "sound": (58.8, 68.8, 74.1, 92.4, 116.0, 125.2, 132.6),
        "voice": (60.5, 70.3, 77.5, 102.2, 126.5, 129.9, 136.5),
        "pause": (73.7, 101.9, 108.3, 114.0, 117.7, 118.3, 127.7),
    },
    "echo": {
        "sound": (53.2, 58.5, 68.0, 73.0, 90.0, 108.1, 129.8),
        "voice": (59.8, 70.3, 79.1, 110.3, 134.4, 138.3, 179.6),
        "pause": (98.1, 104.5, 110.0, 114.2, 118.3, 119.2, 135.6),
    },
}

# the share that did not come within a second
MISSED: dict[str, dict[str, float]] = {
    "clean": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
    "30 dB": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
    "20 dB": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
    "10 dB": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
    "echo -40 dB": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
    "echo -30 dB": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
    "echo -20 dB": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
    "echo": {"sound": 0.0, "voice": 0.0, "pause": 0.0},
}
