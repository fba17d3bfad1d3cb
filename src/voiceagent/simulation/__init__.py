"""The simulator: the real session and conversation on virtual time, everything around them scripted and drawn by a seed."""
