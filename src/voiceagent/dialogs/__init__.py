"""The dialog suite: scripted callers with known times talk to the real session on virtual time, and its manners are scored."""
