"""The guide to the latency of a log shows what its commands print."""

import os
import re
from pathlib import Path

import pytest

from tests.latency_scenes import shown, write_logs

GUIDE = Path(__file__).parents[1] / "docs" / "latency.md"
SHOWS = re.compile(r"<!-- shows (.*?)(?: \| (.*?))? -->\n(.*?)<!-- /shows -->", re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the logs that the guide speaks of."""
    where = tmp_path_factory.mktemp("logs")
    write_logs(where)
    return where


@pytest.mark.parametrize("place", range(len(SHOWS.findall(GUIDE.read_text(encoding="utf-8")))))
def test_excerpt(folder, place):
    """Each excerpt is what its command prints, from a given line on; `UPDATE_TRANSCRIPTS=1` writes it."""
    text = GUIDE.read_text(encoding="utf-8")
    found = list(SHOWS.finditer(text))[place]
    command, since, written = found.groups()
    told = shown(command, folder)
    told = told[told[: told.index(since)].rfind("\n") + 1 :] if since else told
    made = f"```text\n$ {command}\n{told}\n```\n"
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        GUIDE.write_text(text[: found.start(3)] + made + text[found.end(3) :], encoding="utf-8")
    assert written == made


def test_the_what_if_that_was_tried(folder):
    """The guess of the gap without early replies, and what it is without them, are those that the guide tells."""
    text = GUIDE.read_text(encoding="utf-8")
    guess = re.search(r"speculate=off: p50 \S+ ms \(\S+ -> (\S+)\), p95 \S+ ms \(\S+ -> (\S+)\)", text)
    truth = [re.search(rf"gap +{percent} +(\S+)", text)[1] for percent in ("p50", "p95")]
    told = f"the guess was a p50 of {guess[1]} ms and a p95 of {guess[2]}, and it is {truth[0]} and {truth[1]} (below)"
    assert told in text
