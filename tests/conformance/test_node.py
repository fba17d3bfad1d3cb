"""The same dialogs through openai-node and @openai/agents-realtime, each in a process of Node's against a real socket."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.targets import TWIN_KEY, engines, models
from tests.conformance.test_transcriptions import wav
from voiceagent.twin import TwinServer, create_twin

HERE = Path(__file__).parent / "node"
INSTALL = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent")
ANSWER = [
    "response.created", "response.output_item.added", "conversation.item.added", "response.content_part.added", "delta",
    "response.output_audio.done", "response.output_audio_transcript.done", "response.content_part.done",
    "conversation.item.done", "response.output_item.done", "response.done",
]  # fmt: skip
WORDS = "Hello to you all."
DEADLINE_S = 60
Dialog = Callable[..., Awaitable[dict[str, Any]]]


def lacking(reason: str) -> None:
    """Skip with the reason; where everything must run, fail with it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _installed() -> bool:
    wanted = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    there = {name: HERE / "node_modules" / name / "package.json" for name in wanted}
    return all(
        there[name].is_file() and json.loads(there[name].read_text(encoding="utf-8"))["version"] == version
        for name, version in wanted.items()
    )


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the packages of package.json in their very versions; they are installed once."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            lacking(f"{tool} is not installed")
    if not _installed():
        try:
            done = subprocess.run(INSTALL, cwd=HERE, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            lacking("npm install did not end: is there a network?")
        if done.returncode or not _installed():
            lacking(f"npm install failed in tests/conformance/node: {done.stderr.strip()[-300:]}")
    return shutil.which("node")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine and its key, made for this run."""
    if shutil.which("openssl") is None:
        lacking("openssl is not installed: there is no certificate to listen with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*make.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


async def run(
    node: str, script: str, name: str, base_url: str, speech: Path | None = None, **more: str
) -> dict[str, Any]:
    """Run one dialog in Node and return what it reports."""
    names = models()
    told = {
        "BASE_URL": base_url, "KEY": TWIN_KEY, "MODEL": names["llm"], "REALTIME_MODEL": names["realtime"],
        "STT_MODEL": names["stt"], "FILE_MODEL": names["file"], "SPEECH_MODEL": names["speech"], "VOICE": names["voice"],
        "SPEECH": str(speech), "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }  # fmt: skip
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        node, HERE / f"{script}.mjs", name, env={**inherited, **told, **more},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"{script} {name} did not end: {err.decode()[-2000:]}")
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out.decode().splitlines()[-1])


@pytest.fixture
def pcm(tmp_path: Path, spoken: bytes) -> Path:
    """A file of speech with silence around it, as PCM16 at 24 kHz."""
    path = tmp_path / "speech.pcm"
    path.write_bytes(spoken)
    return path


# ------------------------------------------------------------------------------------------ openai-node, HTTP
@pytest.fixture
async def http(node: str) -> Any:
    """Run a dialog of openai.mjs."""
    async with TwinServer(create_twin(engines(), TWIN_KEY)) as twin:

        async def dialog(name: str, **more: Any) -> dict[str, Any]:
            return await run(node, "openai", name, twin.base_url, **more)

        yield dialog


async def test_chat(http: Dialog):
    """Chat completions, streamed through the SDK's accumulation and not, are the same words with usage."""
    told = await http("chat")
    assert told["whole"] == told["deltas"] == told["final"] == WORDS
    assert (told["finish"], told["usage"]["completion_tokens"]) == ("stop", 4)


async def test_chat_function(http: Dialog):
    """A function call streams into the SDK's message, which goes back as it is with its result."""
    told = await http("chat_function")
    assert told == {"name": "get_time", "arguments": "{}", "finish": "tool_calls", "answer": WORDS}


async def test_responses(http: Dialog):
    """The SDK puts a streamed response together, and goes on from it by its id."""
    told = await http("responses")
    assert told.pop("order") == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added", "delta",
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert told == {"numbered": True, "text": WORDS, "status": "completed", "previous": True, "second": WORDS}


async def test_responses_function(http: Dialog):
    """A function call of a response, and its result on top of the stored one."""
    assert await http("responses_function") == {"name": "get_time", "arguments": "{}", "answer": WORDS}


async def test_speech(http: Dialog):
    """PCM is 60 ms a character at 24 kHz, and WAV begins with its header."""
    told = await http("speech")
    assert told["type"].startswith("audio/pcm")
    assert (told["bytes"], told["header"]) == (len("Hello to you.") * 60 * 48, "RIFF")


async def test_transcription(http: Dialog, tmp_path: Path, spoken: bytes):
    """A file comes back as the words of the script, as JSON and as text."""
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(spoken))
    told = await http("transcription", speech=path)
    assert (told["json"], told["text"].strip()) == ("hello there", "hello there")


async def test_errors(http: Dialog):
    """Errors are of the SDK's classes and carry code, parameter and type."""
    told = await http("errors")
    assert told["listed"] is True
    assert {name: (told[name]["kind"], told[name]["status"]) for name in ("key", "messages", "model")} == {
        "key": ("AuthenticationError", 401), "messages": ("BadRequestError", 400), "model": ("NotFoundError", 404),
    }  # fmt: skip
    assert (told["key"]["code"], told["model"]["code"]) == ("invalid_api_key", "model_not_found")
    assert (told["messages"]["param"], told["messages"]["type"]) == ("messages", "invalid_request_error")


# ------------------------------------------------------------------------------------------ @openai/agents-realtime, ws
@pytest.fixture
async def agents(node: str, pcm: Path, request: pytest.FixtureRequest) -> Any:
    """Run a dialog of agents.mjs; `script` fields may be set before."""
    made = engines()
    async with TwinServer(create_twin(made, TWIN_KEY)) as twin:

        async def dialog(name: str, **script: Any) -> dict[str, Any]:
            for field, value in script.items():
                setattr(made.script, field, value)
            told = await run(node, "agents", name, twin.base_url, pcm)
            assert told["errors"] == []
            assert told["unread"] == []  # every event fits the schemas
            return told

        yield dialog


def user(*parts: list[str]) -> dict[str, Any]:
    """A user's message, as it is remembered."""
    return {"role": "user", "status": "completed", "parts": list(parts)}


def assistant(words: str, status: str = "completed") -> dict[str, Any]:
    """An answer, as it is remembered."""
    return {"role": "assistant", "status": status, "parts": [["output_audio", words]]}


async def test_text_dialog(agents: Dialog):
    """Two messages and two answers, remembered in order; audio came and usage was counted."""
    told = await agents("text")
    assert told["history"] == [
        user(["input_text", "Say hello."]), assistant(WORDS), user(["input_text", "Say it again."]), assistant(WORDS),
    ]  # fmt: skip
    assert told["bytes"] == 2 * len(WORDS) * 60 * 48
    assert told["usage"] > 0


async def test_audio_dialog(agents: Dialog):
    """What was said is heard, ends by the server's detection, is answered in audio, and is remembered by its words."""
    told = await agents("audio")
    assert told["history"] == [user(["input_audio", "hello there"]), assistant(WORDS)]
    assert told["bytes"] == len(WORDS) * 60 * 48
    for kind in ("speech_started", "speech_stopped", "committed"):
        assert told["kinds"].count(f"input_audio_buffer.{kind}") == 1


async def test_push_to_talk(agents: Dialog):
    """The same where the client ends the turn."""
    told = await agents("push_to_talk")
    assert told["history"] == [user(["input_audio", "hello there"]), assistant(WORDS)]
    assert told["bytes"] == len(WORDS) * 60 * 48


async def test_a_failed_transcript(agents: Dialog):
    """A transcript that fails is an event like any other, and the session goes on."""
    told = await agents("not_understood", stt_fail={1})
    assert (told["status"], told["error"]["type"]) == ("completed", "server_error")
    assert told["history"][-1] == assistant(WORDS)


LONG = {"replies": ("word " * 40, WORDS), "tts_realtime_factor": 1.0}


async def test_interruption(agents: Dialog):
    """Interrupted, the response is cancelled and its item cut at what was played; the next one is answered as ever."""
    told = await agents("interruption", **LONG)
    assert (told["status"], told["reason"], told["interruptions"]) == ("cancelled", "client_cancelled", 1)
    assert 0 < told["heardMs"] < 5_000
    assert told["item"]["role"] == "assistant"
    kept = told["item"]["content"][0].get("transcript") or ""
    assert len(kept) < len("word " * 40)
    roles = [item["role"] for item in told["history"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert told["history"][-1] == assistant(WORDS)


async def test_barge_in(agents: Dialog):
    """Speech over an answer cancels it on the server's side, the session cuts it, and what was said is answered."""
    told = await agents("barge_in", **LONG)
    assert (told["status"], told["reason"], told["second"]) == ("cancelled", "turn_detected", "completed")
    assert told["interruptions"] == 1
    assert [item["role"] for item in told["history"]] == ["user", "assistant", "user", "assistant"]
    assert told["history"][2] == user(["input_audio", "hello there"])
    assert told["history"][-1] == assistant(WORDS)


async def test_tool_call(agents: Dialog):
    """The session runs the tool, sends its result, asks for the answer, and remembers the call with its output."""
    told = await agents("tool_call")
    assert (told["calls"], told["status"]) == ([{}], "completed")
    assert told["history"] == [
        user(["input_text", "What time is it?"]),
        {"call": "get_time", "status": "completed", "output": "twelve o'clock"},
        assistant(WORDS),
    ]


async def test_history(agents: Dialog):
    """An application may put a message first and take an answer away; the session's history follows the server's."""
    told = await agents("history")
    assert told["before"] == [user(["input_text", "Say hello."]), assistant(WORDS)]
    assert told["history"] == [user(["input_text", "My name is Ada."]), user(["input_text", "Say hello."])]


# ------------------------------------------------------------------------------------------ openai-node, wss
@pytest.fixture
async def secure(node: str, pcm: Path, certificate: tuple[Path, Path]) -> Any:
    """Run a dialog of realtime.mjs over TLS, whose certificate Node is told to trust."""
    cert, key = certificate
    async with TwinServer(create_twin(engines(), TWIN_KEY), ssl_certfile=cert, ssl_keyfile=key) as twin:
        assert twin.base_url.startswith("https://")

        async def dialog(name: str) -> dict[str, Any]:
            return await run(node, "realtime", name, twin.base_url, pcm, NODE_EXTRA_CA_CERTS=str(cert))

        yield dialog


async def test_realtime_conversation(secure: Dialog):
    """openai-node's Realtime client opens a conversation, asks, and gets the answer in the service's order."""
    told = await secure("conversation")
    assert (told["first"], told["status"], told["transcript"]) == ("realtime", "completed", WORDS)
    assert [kind for kind in told["order"] if kind != "rate_limits.updated"] == ANSWER
    assert told["bytes"] == len(WORDS) * 60 * 48
    assert (told["errors"], told["code"]) == ([], 1000)


async def test_realtime_transcription(secure: Dialog):
    """It opens a transcription session by intent, commits, and gets the words."""
    told = await secure("transcription")
    assert (told["first"], told["transcript"], told["deltas"]) == ("transcription", "hello there", "hello there")
    assert told["order"] == [
        "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
    ]  # fmt: skip
    assert (told["usage"], told["errors"], told["code"]) == ("duration", [], 1000)


async def test_realtime_refused(secure: Dialog):
    """A wrong key is refused in the handshake."""
    assert "401" in (await secure("refused"))["message"]
