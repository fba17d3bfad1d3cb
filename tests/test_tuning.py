"""The tuning guide shows what the records say: its excerpts are played anew."""

import os
import re
from pathlib import Path

import pytest

from tests.tuning_scenes import SCENES, block
from voiceagent.settings import Settings

GUIDE = Path(__file__).parents[1] / "docs" / "tuning.md"


@pytest.mark.parametrize("name", SCENES)
def test_excerpt(name):
    """The guide's excerpt of a scene is the record of that scene; `UPDATE_TRANSCRIPTS=1` writes it."""
    made = f"<!-- scene {name} -->\n{block(name)}\n<!-- /scene -->"
    text = GUIDE.read_text(encoding="utf-8")
    (written,) = re.findall(rf"<!-- scene {name} -->\n.*?<!-- /scene -->", text, re.DOTALL)
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        GUIDE.write_text(text.replace(written, made), encoding="utf-8")
    assert written == made


def test_the_guide_names_what_there_is():
    """Each scene has its place, and each setting that the guide names exists."""
    text = GUIDE.read_text(encoding="utf-8")
    assert re.findall(r"<!-- scene (\w+) -->", text) == list(SCENES)
    named = {name.lower() for name in re.findall(r"VOICEAGENT_([A-Z_]+)", text)}
    assert named <= set(Settings.model_fields)
