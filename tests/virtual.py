"""Virtual time for the suite: that of `voiceagent.testing`, under the names that the tests use."""

from voiceagent.testing.clock import VirtualLoop, run_virtual
from voiceagent.testing.clock import on_virtual_time as virtual_time

__all__ = ["VirtualLoop", "run_virtual", "virtual_time"]
