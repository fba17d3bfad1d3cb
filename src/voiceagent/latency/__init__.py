"""``voiceagent latency``: from logs to where the time went, in which turns, because of whom, and what a change would gain."""
