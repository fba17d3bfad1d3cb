"""After each test nothing of it is left: no thread, no socket, no process (tasks are counted by `tests.virtual`).

And no asynchronous generator of ours was left to the garbage collector, which closes a request when it likes.
"""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

PROC = Path("/proc/self")
JOIN_TIMEOUT_S = 2.0
OURS = Path(__file__).parents[1] / "src" / "voiceagent"


def sockets() -> set[str]:
    """The sockets that this process holds, by inode; none where the system does not tell."""
    found = set()
    if not (PROC / "fd").is_dir():
        return found
    for entry in (PROC / "fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def children() -> set[str]:
    """The processes that this one started and that still run."""
    found = set()
    for path in (PROC / "task").glob("*/children"):
        with suppress(OSError):  # the thread has ended since
            found.update(path.read_text(encoding="ascii").split())
    return found


def remains(before: tuple[set[Any], ...]) -> tuple[set[Any], ...]:
    """The threads, sockets and processes that were not there before."""
    threads = {thread for thread in threading.enumerate() if thread.is_alive()}
    return threads - before[0], sockets() - before[1], children() - before[2]


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare what there is before and after; what belongs to a shared fixture was there before."""
    if "browser" in request.keywords:  # Playwright keeps its driver for the whole run
        yield
        return
    before = (set(threading.enumerate()), sockets(), children())
    yield
    left = remains(before)
    for thread in left[0]:  # one that has told its last may not yet have returned
        thread.join(JOIN_TIMEOUT_S)
    left = remains(before)
    if any(left):  # what nobody holds any more is not left; collecting it after every test would take a minute in all
        gc.collect()
        left = remains(before)
    assert not any(left), f"threads, sockets, processes that are left: {left}"


@pytest.fixture(autouse=True)
def generators_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Collect the generators of the agent that a loop had to close, as nobody else did."""
    forgotten: list[str] = []
    close = asyncio.BaseEventLoop._asyncgen_finalizer_hook  # there is no other way to see them

    def note(loop: asyncio.BaseEventLoop, generator: AsyncGenerator[Any, None]) -> None:
        code = generator.ag_code
        if Path(code.co_filename).is_relative_to(OURS):
            forgotten.append(code.co_qualname)
        close(loop, generator)

    monkeypatch.setattr(asyncio.BaseEventLoop, "_asyncgen_finalizer_hook", note)
    yield
    assert not forgotten, f"generators that nobody closed: {forgotten}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser tests last: Playwright keeps a loop running in this thread, and then no other loop can.

    With several processes a file is one's, and so are the browser and the conformance suite, each with its one server.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    for item in items:
        folder = item.path.parent.name
        group = folder if folder in {"browser", "conformance"} else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
