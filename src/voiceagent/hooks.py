"""What users' own code may be put into a server: functions, ears for the end of a turn, onlookers, stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voiceagent.observing import Observer
from voiceagent.stages.ports import Stages
from voiceagent.tools import CLOCK, Tool
from voiceagent.vad import TurnModel


@dataclass(frozen=True, slots=True)
class Hooks:
    """All of them, for `voiceagent.server.create_app`. What the agent is told to be is a setting: `instructions`."""

    tools: Sequence[Tool] = (CLOCK,)
    """Functions that the language model is offered (the setting `tools` switches them off)."""

    turn_model: Callable[[], TurnModel] | None = None
    """Makes, for each session, a model that hears whether a turn is over; without one silence and words decide."""

    observers: Sequence[Observer] = ()
    """They get the records of all sessions as they happen."""

    stages: Callable[[Stages], Stages] | None = None
    """Is given the stages as the settings made them and returns those to use, such as
    ``dataclasses.replace(stages, llm=Mine(stages.llm))``.

    It is called at the start, once for the three streams and once for the mode `realtime`, where `Stages.voice` is set.
    What it raises is told to all sessions in place of an answer.
    """
