"""What is under test, and what it lacks."""

import pytest

from tests.conformance.targets import NO_SERVER, PROBES, Target, remote


async def test_the_twin_lacks_nothing(target: Target):
    """A capability that a server has not is skipped everywhere else; the twin has them all."""
    if not target.is_twin:
        pytest.skip("another server may lack what it likes")
    assert {name: lack for name, find in PROBES.items() if (lack := await find(target))} == {}


def test_another_server():
    """The whole suite runs against the service, or any server, that is named; a run without one says so here."""
    if remote() is None:
        pytest.skip(NO_SERVER)
    assert remote()[0].startswith("http")
