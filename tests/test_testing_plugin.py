"""The plugin in runs of pytest of their own: with and without other plugins, and beside tests that do not ask for it."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALONE = ["-p", "no:asyncio", "-p", "no:anyio"]
STRICT = ["-o", "asyncio_default_fixture_loop_scope=function"]
RUNS = {
    "alone": ALONE,
    "asyncio strict": STRICT,
    "asyncio auto": [*STRICT, "-o", "asyncio_mode=auto"],
    "anyio auto": ["-p", "no:asyncio", "-o", "anyio_mode=auto"],
}
TESTS = """
import asyncio
import pytest

async def test_time(virtual_time):
    await asyncio.sleep(1000)
    assert virtual_time.now_ms == 1_000_000

class TestClass:
    @pytest.mark.parametrize("times", [1, 2])
    async def test_method(self, times, virtual_time, tmp_path):
        assert tmp_path.is_dir()
        await asyncio.sleep(times)
        assert virtual_time.now_ms == times * 1000

async def test_fails(virtual_time):
    assert 1 == 2

async def test_endless(virtual_time):
    while True:
        await asyncio.sleep(600)

async def test_leaves(virtual_time):
    virtual_time.left = asyncio.get_running_loop().create_task(asyncio.sleep(9))

def test_plain(virtual_time):
    pass
"""


def pytest_run(folder, text, *options):
    """Run a file of tests in a folder without any configuration; return what was printed."""
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_beside_other_plugins(tmp_path, options):
    """Async tests that ask for virtual time run on it without a mark, whoever else would run async tests."""
    told = pytest_run(tmp_path, TESTS, *options)
    told = told.replace("[asyncio]", "").replace("[asyncio-", "[")  # how anyio names its loop
    results = dict(re.findall(r"(?m)^(?:PASSED|FAILED) test_it.py::(\S+)(?: - (.*))?$", told))
    assert "assert 1 == 2" in results.pop("test_fails"), told
    assert results.pop("test_endless").startswith("TimeoutError"), told
    assert results.pop("test_leaves").startswith("AssertionError: tasks that are left"), told
    assert results == dict.fromkeys(
        ["test_time", "TestClass::test_method[1]", "TestClass::test_method[2]", "test_plain"], ""
    ), told


def test_who_does_not_ask_notices_nothing(tmp_path):
    """Nothing of the agent is loaded but three rooms that hold next to nothing, and no fixture or hook takes part."""
    told = pytest_run(
        tmp_path,
        "import sys\n"
        "def test_it():\n"
        "    ours = sorted(name for name in sys.modules if name.startswith('voiceagent'))\n"
        "    assert ours == ['voiceagent', 'voiceagent.testing', 'voiceagent.testing.plugin']\n"
        "    assert not {'openai', 'numpy', 'pydantic', 'starlette', 'uvicorn'} & set(sys.modules)\n",
        *ALONE,
    )
    assert "1 passed" in told, told
    told = pytest_run(tmp_path, "def test_it(voice_agent):\n    pass\n", *ALONE, "-p", "no:voiceagent")
    assert "fixture 'voice_agent' not found" in told, told


def test_the_package_needs_no_pytest():
    """Only the plugin imports it."""
    program = (
        "import sys; import voiceagent.server, voiceagent.testing as t; [getattr(t, name) for name in t.__all__];"
        "assert 'pytest' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_it_is_announced():
    """Pytest finds it where the package is installed."""
    (entry,) = [entry for entry in entry_points(group="pytest11") if entry.name == "voiceagent"]
    assert entry.value == "voiceagent.testing.plugin"


def test_the_guide(tmp_path):
    """The test that docs/testing.md begins with passes."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(encoding="utf-8"), re.DOTALL)
    told = pytest_run(tmp_path, block, *ALONE)
    assert "1 passed" in told, told
