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


@contextmanager
def scripted_twin(script: dict[str, Any]) -> Iterator[str]:
    """Run a twin with a script and yield its base URL."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "script.json"
        path.write_text(json.dumps(script), encoding="utf-8")
        with _running(_command("twin", "--port", "0", "--script", str(path)), _environment({}), folder) as process:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.startswith("twin: "):
                raise BenchError("the scripted twin does not start")
            yield line.removeprefix("twin: ").strip()


class Server:
    """A running server: its URL, how long it took to answer, and what it costs."""

    def __init__(self, url: str, pid: int, ready_ms: float) -> None:
        self.url = url
        self.pid = pid
        self.ready_ms = ready_ms

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


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def behind(script: dict[str, Any], **settings: Any) -> Iterator[Server]:
    """Run a server whose three stages are one scripted twin."""
    with scripted_twin(script) as url:
        stages = {f"{stage}_base_url": url for stage in ("stt", "llm", "tts")}
        with server(**stages, **settings) as running:
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


def cut_loud(pcm: bytes) -> bytes:
    """Return the audio up to the end of its last loud 10 ms."""
    import numpy as np

    from voiceagent.audio import levels_dbfs, ms_to_samples

    samples = np.frombuffer(pcm, dtype="<i2")
    step = ms_to_samples(10)
    levels = levels_dbfs(samples, step)
    last = int(np.flatnonzero(levels >= levels.max() - 10)[-1])
    return pcm[: (last + 1) * step * 2]
