"""The twin as a process of its own: until a signal comes."""

import asyncio
import dataclasses
import json
import signal
import ssl
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from voiceagent.twin.app import create_twin
from voiceagent.twin.faults import FaultPlan
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
        return Script(**{name: _with_numbers(value) for name, value in fields.items()})
    except (OSError, ValueError) as error:
        raise BadScript(f"the script {path} cannot be read: {error}") from None
    except (AttributeError, TypeError) as error:
        raise BadScript(f"the script {path} has a field that no script has: {error}") from None


def _with_numbers(value: Any) -> Any:
    """A plan by request numbers: JSON's keys are always text."""
    return {int(number): what for number, what in value.items()} if isinstance(value, dict) else value


def write_log(engines: ScriptedEngines, path: Path) -> None:
    """Write what was asked of the engines as JSON lines, in order; the times are of the machine's monotonic clock."""
    lines = [json.dumps(dataclasses.asdict(entry), default=str) + "\n" for entry in engines.log]
    path.write_text("".join(lines), encoding="utf-8")


def _check_tls(cert: Path | None, key: Path | None) -> None:
    """Raise `RuntimeError` with a sentence if a certificate and its key cannot be used."""
    if (cert is None) is not (key is None):
        raise RuntimeError("TLS takes both: --tls-cert and --tls-key")
    if cert is None or key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise RuntimeError(f"the certificate {cert} and the key {key} cannot be used: {error}") from None


async def serve(
    host: str, port: int, api_key: str | None, script: Path | None, log: Path | None = None,
    *, faults: Path | None = None, fault_header: bool = True, only: Collection[str] = (), strict_models: bool = False,
    tls_cert: Path | None = None, tls_key: Path | None = None,
) -> None:  # fmt: skip
    """Serve until SIGINT or SIGTERM; a script's engines leave their `log`.

    `faults`: a plan of what goes wrong; `fault_header`: clients may bring their own.
    `only`: some of ``stt``, ``llm`` and ``tts``. `tls_cert`, `tls_key`: PEM files, for TLS.
    Raises `BadScript`, `BadFaults`, `OSError` where the port is taken, `RuntimeError`.
    """
    plan = FaultPlan.load(faults) if faults is not None else FaultPlan() if fault_header else None
    engines: Engines = (
        ScriptedEngines(load_script(script), exact=True) if script is not None else LocalEngines(only=only)
    )
    if isinstance(engines, LocalEngines) and (missing := engines.missing(only)):
        raise RuntimeError(f"the local engines are missing: pip install 'voiceagent[local]' ({', '.join(missing)})")
    _check_tls(tls_cert, tls_key)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        app = create_twin(engines, api_key, plan, fault_header=fault_header, strict_models=strict_models, only=only)
        async with TwinServer(app, host, port, ssl_certfile=tls_cert, ssl_keyfile=tls_key) as twin:
            sys.stdout.write(f"twin: {twin.base_url}\n")
            sys.stdout.flush()
            await stop.wait()
    finally:
        if log is not None and isinstance(engines, ScriptedEngines):
            write_log(engines, log)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
