"""The hook for functions that the language model may call: a plain typed Python function, and its JSON schema."""

import asyncio
import datetime as dt
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ValidationError, create_model

TIMEOUT_S = 10.0
MAX_RESULT_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Tool:
    """One function offered to the model: its name, what it does, and its arguments as a pydantic model."""

    name: str
    description: str
    arguments: type[BaseModel]
    function: Callable[..., Any]

    @classmethod
    def from_function(cls, function: Callable[..., Any]) -> Self:
        """Make a tool of a typed function with a docstring; it may be a coroutine function.

        Raises `TypeError` if it has no docstring or a parameter has no type: the model would have to guess.
        """
        description = inspect.getdoc(function)
        if not description:
            raise TypeError(f"the tool {function.__name__} needs a docstring: it tells the model what the tool does")
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
            if parameter.annotation is parameter.empty:
                raise TypeError(f"the parameter {name} of the tool {function.__name__} needs a type")
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (parameter.annotation, default)
        return cls(function.__name__, description, create_model(function.__name__, **fields), function)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as chat completions want it."""
        parameters = _parameters(self.arguments)
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }

    async def call(self, arguments_json: str) -> str:
        """Run the function and return its result as text. A failure is a text too: the model can speak of it."""
        try:
            arguments = self.arguments.model_validate_json(arguments_json)
        except ValidationError as error:
            return f"Error: the arguments do not fit ({error.error_count()} wrong)."
        values = {name: getattr(arguments, name) for name in type(arguments).model_fields}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if inspect.iscoroutinefunction(self.function):
                    result = await self.function(**values)
                else:
                    result = self.function(**values)
        except TimeoutError:
            return "Error: it took too long."
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything; the conversation goes on
            return f"Error: {type(error).__name__}."
        return str(result)[:MAX_RESULT_CHARS]


@cache
def _parameters(arguments: type[BaseModel]) -> dict[str, Any]:
    """The schema of a tool's arguments: it takes a millisecond, and every reply wants it."""
    return arguments.model_json_schema()


def current_time(timezone: str = "") -> str:
    """Tell the current date and time, in an IANA time zone such as Europe/Berlin or, without one, here."""
    try:
        zone = ZoneInfo(timezone) if timezone else None
    except (ZoneInfoNotFoundError, ValueError):
        return f"There is no time zone {timezone}."
    return dt.datetime.now(zone).astimezone(zone).strftime("%A, %d %B %Y, %H:%M %Z")


CLOCK = Tool.from_function(current_time)
"""The example: a model does not know the time by itself."""
