"""The processes of a benchmark: a twin with a script, a server, and what they cost; all on loopback, all ended."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0


class BenchError(Exception):
    """The benchmark cannot be run; the message is a sentence."""


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "voiceagent.cli", *arguments]


def _environment(settings: dict[str, Any]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOICEAGENT_", "OPENAI_"))}
    kept.pop("PORT", None)
    return kept | {f"VOICEAGENT_{name.upper()}": str(value) for name, value in settings.items()}


@contextmanager
def _running(command: list[str], environment: dict[str, str], folder: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


class Twin:
    """A twin with a script: its base URL, and, once it has ended, what it logged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.log: list[dict[str, Any]] = []


@contextmanager
def scripted_twin(script: dict[str, Any], faults: list[dict[str, Any]] | None = None) -> Iterator[Twin]:
    """Run a twin with a script, and with a plan of what goes wrong."""
    with TemporaryDirectory() as folder:
        path, log = Path(folder) / "script.json", Path(folder) / "log.jsonl"
        path.write_text(json.dumps(script), encoding="utf-8")
        command = _command("twin", "--port", "0", "--script", str(path), "--log", str(log))
        if faults is not None:
            (Path(folder) / "faults.json").write_text(json.dumps(faults), encoding="utf-8")
            command += ["--faults", str(Path(folder) / "faults.json")]
        with _running(command, _environment({}), folder) as process:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.startswith("twin: "):
                raise BenchError("the scripted twin does not start")
            twin = Twin(line.removeprefix("twin: ").strip())
            yield twin
        twin.log = [json.loads(entry) for entry in log.read_text(encoding="utf-8").splitlines()]


class Server:
    """A running server: its URL, how long it took to answer, what it costs, and the twin behind it, if it has one."""

    def __init__(self, url: str, pid: int, ready_ms: float) -> None:
        self.url = url
        self.pid = pid
        self.ready_ms = ready_ms
        self.twin: Twin | None = None

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        """Memory that it holds."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def server(**settings: Any) -> Iterator[Server]:
    """Run a server with these settings and yield it once its page answers."""
    port = free_port()
    with TemporaryDirectory() as folder:
        environment = _environment({"port": port, "log_level": "warning", **settings})
        began_s = time.perf_counter()
        with _running(_command("serve"), environment, folder) as process:
            url = f"http://127.0.0.1:{port}"
            while not _answers(url):
                if process.poll() is not None or time.perf_counter() - began_s > START_TIMEOUT_S:
                    raise BenchError("the server does not start")
                time.sleep(0.005)
            yield Server(url, process.pid, (time.perf_counter() - began_s) * 1000)


def faults_done(url: str) -> list[dict[str, Any]]:
    """Return what the faults of a twin that runs have done, in order."""
    with _opener().open(f"{url.removesuffix('/v1')}/faults", timeout=START_TIMEOUT_S) as answer:
        done: list[dict[str, Any]] = json.load(answer)["log"]
        return done


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _answers(url: str) -> bool:
    try:
        with _opener().open(f"{url}/", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def behind(script: dict[str, Any], **settings: Any) -> Iterator[Server]:
    """Run a server whose three stages are one scripted twin."""
    with scripted_twin(script) as twin:
        stages = {f"{stage}_base_url": twin.url for stage in ("stt", "llm", "tts")}
        with server(**stages, **settings) as running:
            running.twin = twin
            yield running


def utterance(text: str = "what time is it now") -> bytes:
    """Return speech that ends at once, in the middle of a vowel: where it ends is then beyond dispute.

    Raises `BenchError` without the local synthesiser.
    """
    from voiceagent.twin import LocalEngines

    if LocalEngines.missing():
        raise BenchError("the benchmark speaks with the local engines: pip install 'voiceagent[local]'")

    async def speak() -> bytes:
        engines = LocalEngines()
        await engines.start()
        try:
            return b"".join([chunk async for chunk in _chunks(engines, text)])
        finally:
            await engines.aclose()

    return cut_loud(asyncio.run(speak()))


async def _chunks(engines: Any, text: str) -> AsyncIterator[bytes]:
    async for chunk in engines.speak(text, "en-us", 1.0):
        yield chunk


def whole_frames(pcm: bytes, frame_bytes: int) -> bytes:
    """Return the audio with silence before it, so that it ends where a frame of the microphone does.

    Else up to a frame would pass before the rest of its last frame is sent: the measure's wait, not the server's.
    """
    return bytes(-len(pcm) % frame_bytes) + pcm


def cut_loud(pcm: bytes) -> bytes:
    """Return the audio up to the end of its last loud 10 ms."""
    import numpy as np

    from voiceagent.audio import levels_dbfs, ms_to_samples

    samples = np.frombuffer(pcm, dtype="<i2")
    step = ms_to_samples(10)
    levels = levels_dbfs(samples, step)
    last = int(np.flatnonzero(levels >= levels.max() - 10)[-1])
    return pcm[: (last + 1) * step * 2]
