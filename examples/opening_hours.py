"""A stage of one's own: what a rule can answer is answered at once and for nothing, the rest by the model.

Run it with ``python examples/opening_hours.py`` and ask, at http://127.0.0.1:8000, "when are you open", then anything else.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from voiceagent.hooks import Hooks
from voiceagent.server import run
from voiceagent.settings import Settings
from voiceagent.stages.ports import Delta, LanguageModel, Stages

HOURS = "We are open from seven to six, and closed on Sundays."


class OpeningHours:
    """A `LanguageModel` before another one."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """Answer the last message; the context is left early where the caller speaks over the answer."""
        asked = str(messages[-1].get("content") or "").lower()
        if "open" in asked or "close" in asked:
            yield _words(HOURS)
        else:
            async with self._model.reply(messages, tools) as deltas:
                yield deltas


async def _words(text: str) -> AsyncIterator[Delta]:
    yield Delta(text)


def by_rule(stages: Stages) -> Stages:
    """Put the rule before the language model; in the mode `realtime` one voice model answers, and nobody asks this one."""
    return replace(stages, llm=OpeningHours(stages.llm))


if __name__ == "__main__":
    raise SystemExit(run(Settings(), Hooks(stages=by_rule)))
