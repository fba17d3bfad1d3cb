"""Wire logs: what goes over the wire is on file, without keys and sound, and comes again from there."""

import base64
import json

import pytest

from tests.replaying import Replay, lines_of
from tests.test_clients import HELLO
from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.stages import wirelog
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.realtime import realtime_session
from voiceagent.stages.redaction import Redaction, sound_bytes
from voiceagent.stages.wirelog import WireLog
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin

SESSION = {
    "type": "transcription",
    "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}, "turn_detection": None}},
}


async def dialog(url, **more):
    """Two utterances, an answer and its sound: the transcripts, the text, and how much sound."""
    settings = settings_for_tests(backend="openai", openai_api_key="sk-canary", openai_base_url=url, **more)
    clients = Clients(settings)
    made = cascade(clients, settings)
    transcripts = []
    async with realtime_session(clients, "stt", SESSION, query={"intent": "transcription"}) as socket:
        for _ in range(2):
            await socket.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(24_000)).decode()})
            await socket.send('{"type":"input_audio_buffer.commit"}')
            while not (event := await socket.receive())["type"].endswith("transcription.completed"):
                pass
            transcripts.append(event["transcript"])
    async with made.llm.reply(HELLO, []) as deltas:
        text = "".join([delta.text async for delta in deltas])
    sound = 0
    async with made.tts.speak(text) as parts:
        async for part in parts:
            sound += len(part) if isinstance(part, bytes) else 0
    await clients.aclose()
    return transcripts, text, sound


@pytest.mark.parametrize("speech", ["speech", "realtime"])
def test_a_recorded_dialog_comes_again(speech, tmp_path):
    """A dialog with the twin, replayed from its log through the same clients, has the same words and as much sound."""

    @virtual_time
    async def run():
        more = {"tts_api": speech, "phrase_cache_mb": 0}
        script = Script(transcripts=["what time is it", "thank you"], replies=["It is late."])
        async with TwinServer(create_twin(ScriptedEngines(script))) as twin:
            recorded = await dialog(twin.base_url, wire_log=tmp_path, log_content=True, **more)
        assert recorded[:2] == (["what time is it", "thank you"], "It is late.")
        assert recorded[2] > 0
        async with Replay(tmp_path) as server:
            replayed = await dialog(server.base_url, **more)
            left = [log[0]["event"]["path"] for log in server.requests]
        assert replayed == recorded
        assert (server.sessions, [path for path in left if not path.endswith("models")]) == ([], [])

    run()


def test_what_is_kept(tmp_path):
    """Of sound its bytes, of texts their length, of keys nothing; types, codes, times and connections are kept."""

    @virtual_time
    async def run():
        script = Script(transcripts=["secret words"], replies=["Hidden."])
        async with TwinServer(create_twin(ScriptedEngines(script))) as twin:
            await dialog(twin.base_url, wire_log=tmp_path, tts_api="speech", phrase_cache_mb=0)

    run()
    logs = [lines_of(path) for path in sorted(tmp_path.iterdir())]
    whole = json.dumps(logs)
    for word in ("secret", "Hidden", "hello", "sk-canary", base64.b64encode(bytes(30)).decode()):
        assert word not in whole
    session, chat, speech = logs
    types = [line["type"] for line in session]
    assert types[:3] == ["open", "session.update", "session.created"]
    assert types[-1] == "end"
    append = next(line for line in session if line["type"] == "input_audio_buffer.append")
    assert (append["way"], append["event"]["audio"]) == ("out", {"bytes": 24_000})
    done = next(line for line in session if line["type"].endswith("completed"))
    assert (done["way"], done["event"]["transcript"]) == ("in", {"chars": 12})
    assert chat[0]["event"]["path"] == "/v1/chat/completions"
    assert chat[1]["event"]["messages"] == [{"role": "user", "content": {"chars": 5}}]
    answered = next(line["event"] for line in speech if line["type"] == "response")
    assert (answered["status"], answered["content_type"], answered["reused"]) == (200, "audio/pcm", True)
    assert sum(line["event"]["bytes"] for line in speech if line["type"] == "bytes") > 0
    assert all(line["at_ms"] >= 0 for log in logs for line in log)
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


@pytest.mark.parametrize("content", [False, True])
def test_redaction(content):
    """Keys are cut out of every string, also where texts are kept; what is named as a secret is never kept."""
    redaction = Redaction({"my-own-key"}, content=content)
    event = {
        "type": "x", "text": "say my-own-key", "value": "ek_123456789", "headers": {"Authorization": "Bearer abc"},
        "message": "Incorrect API key provided: sk-proj-123456", "metadata": {"utt": "3"}, "n": 1, "id": "sess_1",
    }  # fmt: skip
    kept = redaction.event(event)
    assert kept["text"] == ("say [key]" if content else {"chars": 14})
    assert (kept["value"], kept["headers"]) == ("[key]", {"Authorization": "[key]"})
    assert kept["message"] == "Incorrect API key provided: [key]"
    assert (kept["metadata"], kept["n"], kept["id"]) == ({"utt": "3"}, 1, "sess_1")
    assert redaction.event({"type": "response.output_audio.delta", "delta": "AAAA"})["delta"] == {"bytes": 3}
    assert [sound_bytes(base64.b64encode(bytes(count)).decode()) for count in range(5)] == list(range(5))


async def test_a_file_is_bounded(tmp_path, monkeypatch):
    """A file that is full ends with a note, and its connection goes on."""
    monkeypatch.setattr(wirelog, "MAX_FILE_BYTES", 2_000)
    wire = WireLog(tmp_path)
    log = wire.session("stt", "h", {"intent": "transcription", "key": "sk-canary"})
    for _ in range(100):
        log.sent('{"type":"input_audio_buffer.commit"}')
    log.ended("")
    await wire.aclose()
    (path,) = tmp_path.iterdir()
    lines = lines_of(path)
    assert lines[-1]["type"] == "full"
    assert path.stat().st_size < 2_200
    assert "canary" not in path.read_text()


async def test_the_loop_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    """Lines for which there is no room are left out and counted; nobody waits."""
    monkeypatch.setattr(wirelog, "MAX_WAITING", 4)
    wire = WireLog(tmp_path)
    monkeypatch.setattr(wire, "_run", lambda: None)  # a disk that takes nothing
    log = wire.session("stt", "h", {})
    for _ in range(10):
        log.sent("{}")
    assert wire._queue.qsize() == 4
    assert log._file.dropped == 7
    while not wire._queue.empty():
        wire._queue.get_nowait()
    await wire.aclose()


async def test_a_folder_that_cannot_be(tmp_path):
    """A folder that cannot be made is said, and nothing else happens."""
    (tmp_path / "file").write_text("")
    wire = WireLog(tmp_path / "file" / "below")
    assert wire.flaw.startswith(f"The wire log cannot be written to {tmp_path}")
    log = wire.session("stt", "h", {})
    log.sent("{}")
    log.ended("")
    await wire.aclose()
    assert wire._queue.empty()
