"""The examples do what they say: each server answers one call, and the test among them passes outside this repository."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from voiceagent.twin import LocalEngines

EXAMPLES = Path(__file__).parents[1] / "examples"
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("VOICEAGENT_", "OPENAI_", "AZURE_"))}
LONGEST_START_S = 60

needs_local = pytest.mark.skipif(bool(LocalEngines.missing()), reason="the extra 'local' is not installed")


@contextlib.contextmanager
def running(name, below="", *arguments):
    """An example as its command runs it; yields its address, and a list for what it said by the time it was ended."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    process = subprocess.Popen(
        command, env=PLAIN | {"PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    said = []
    try:
        url = f"http://127.0.0.1:{port}{below}"
        until_ready(process, f"{url}/readyz")
        yield url, said
        process.send_signal(signal.SIGINT)
        said.append(process.communicate(timeout=30)[1])
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def until_ready(process, url):
    """Wait until one more session would be served."""
    until = time.monotonic() + LONGEST_START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        assert process.poll() is None, process.communicate()[1]
        with contextlib.suppress(OSError), opener.open(url, timeout=2):
            return
        assert time.monotonic() < until, url
        time.sleep(0.05)


def answer(url, text):
    """What is answered to a typed line."""
    call = [sys.executable, "-m", "voiceagent.cli", "call", "--url", url, "--text", text, "--json"]
    done = subprocess.run(call, env=PLAIN, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (turn,) = json.loads(done.stdout)["turns"]
    return turn["reply"]


@needs_local
@pytest.mark.local
@pytest.mark.slow
def test_watching():
    """The observer tells of a slow turn and who made it slow, and at the end how turns ended."""
    with running("watching.py", "", "0") as (url, said):
        assert answer(url, "spell banana")
    (told,) = said
    assert " of them " in told.split("slow: turn 1 of ")[1].splitlines()[0]
    assert told.splitlines()[-1] == "turns: 1 completed"


@needs_local
@pytest.mark.local
@pytest.mark.slow
def test_opening_hours():
    """The rule answers what it knows, the model the rest."""
    with running("opening_hours.py") as (url, _):
        assert answer(url, "when are you open") == "We are open from seven to six, and closed on Sundays."
        assert "B" in answer(url, "spell banana")


@needs_local
@pytest.mark.local
@pytest.mark.slow
def test_bakery():
    """The mounted agent asks the function, and the shop's own page is beside it."""
    with running("bakery.py", "/voice") as (url, _):
        assert answer(url, "what time is my bread ready") == "It is 4:40 in the afternoon."
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url.removesuffix("/voice"), timeout=5) as page:
            assert "Miller's bakery" in page.read().decode()
        with opener.open(f"{url}/", timeout=5) as page:
            assert "<title>voiceagent</title>" in page.read().decode()


@pytest.mark.parametrize("without", [[], ["-p", "no:asyncio", "-p", "no:anyio"]], ids=["as installed", "pytest alone"])
def test_the_test_of_the_bakery(tmp_path, without):
    """It passes in a folder of its own, without any configuration, with and without other plugins for async tests."""
    for name in ("bakery.py", "test_bakery.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *without]
    done = subprocess.run(command, cwd=tmp_path, env=PLAIN, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_tests_of_the_examples_where_they_are():
    """The configuration of this repository, which is for other plugins, is not theirs."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:anyio"]
    done = subprocess.run(
        [*command, "examples"], cwd=EXAMPLES.parent, env=PLAIN, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_are_named():
    """Every example is in the table."""
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    scripts = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("test_")}
    assert scripts == {"watching.py", "opening_hours.py", "bakery.py"}
    assert [name for name in scripts if f"python examples/{name}" not in told] == []
