"""The twin as a process of its own: until a signal comes."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from voiceagent.twin.app import create_twin
from voiceagent.twin.local import LocalEngines
from voiceagent.twin.ports import Engines
from voiceagent.twin.scripted import Script, ScriptedEngines
from voiceagent.twin.server import TwinServer


class BadScript(Exception):  # noqa: N818 - what the file is
    """The script file cannot be used; the message says why."""


def load_script(path: Path) -> Script:
    """Read a script: a JSON object with the fields of `Script`. Raises `BadScript`."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Script(**fields)
    except (OSError, ValueError) as error:
        raise BadScript(f"the script {path} cannot be read: {error}") from None
    except TypeError as error:
        raise BadScript(f"the script {path} has a field that no script has: {error}") from None


async def serve(host: str, port: int, api_key: str | None, script: Path | None) -> None:
    """Serve until SIGINT or SIGTERM. Raises `BadScript`, `OSError` where the port is taken, `RuntimeError`."""
    engines: Engines = ScriptedEngines(load_script(script)) if script is not None else LocalEngines()
    if isinstance(engines, LocalEngines) and (missing := engines.missing()):
        raise RuntimeError(f"the local engines are missing: pip install 'voiceagent[local]' ({', '.join(missing)})")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with TwinServer(create_twin(engines, api_key), host, port) as twin:
            sys.stdout.write(f"twin: {twin.base_url}\n")
            sys.stdout.flush()
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
