"""The back-ends at the start and under the doctor: what is wrong is told, and a key appears nowhere."""

import asyncio
import io
import json
import traceback
from dataclasses import asdict

import pytest

from tests.serving import Answer, Recorder
from tests.test_bad_input import CANARY, HTML, NOT_THE_API, PAGE, WEB_PAGE, ask, error
from tests.test_clients import MODELS, openai_settings
from tests.virtual import virtual_time
from voiceagent import doctor
from voiceagent.backends import Backends
from voiceagent.logs import RecordLog
from voiceagent.settings import Settings
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.ports import StageError
from voiceagent.stages.probing import probe_all
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin


# ------------------------------------------------------------------------------------------ at the start
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(MODELS), None), (error(404), None), (error(405), None),
        (Answer(PAGE, content_type=HTML), WEB_PAGE),
        (Answer(b"hello", content_type="text/plain"), "answers with something else" + NOT_THE_API),
        (Answer({"hello": 1}), "answers with something else" + NOT_THE_API),
        (Answer(b"{", content_type="application/json"), "sent an answer that cannot be read."),
        (error(401, "invalid_api_key"), "refused the key (401)."),
    ],
)  # fmt: skip
def test_asking_once(answer, sentence):
    """A server that lists models, or none, is well; another is not, whatever the SDK makes of its answer."""

    @virtual_time
    async def run():
        async with Recorder(answer) as server:
            clients = Clients(openai_settings(server.base_url))
            probes = await probe_all(clients, ("stt", "llm", "tts"))
            await clients.aclose()
        for stage, probed in probes.items():
            expected = None if sentence is None else f"{NAMES[stage]} at 127.0.0.1:{server.port} {sentence}"
            assert (probed.failure.message if probed.failure else None) == expected
        assert set(probes) == {"stt", "llm", "tts"}
        if sentence is None:
            assert len(server.asked) == 1  # they share it

    run()


ALL_THREE = {f"{stage}_base_url": "http://127.0.0.1:9/v1" for stage in ("stt", "llm", "tts")}


@pytest.mark.parametrize(
    ("settings", "missing", "url"),
    [
        ({}, (), "http://twin/v1"), (ALL_THREE, (), "http://twin/v1"), (ALL_THREE, ("pocketsphinx",), None),
        ({**ALL_THREE, "realtime_base_url": "http://127.0.0.1:9/v1"}, (), None),
        ({"openai_api_key": "sk-none", "llm_base_url": None}, (), None),
        ({}, ("pocketsphinx",), "pocketsphinx"), ({**ALL_THREE, "mode": "realtime"}, ("pocketsphinx",), "pocketsphinx"),
    ],
)  # fmt: skip
def test_whether_a_twin_is_needed(settings, missing, url, monkeypatch):
    """It serves the stages that have no address of their own, the page's other mode among them; engines must be there."""

    class Twin:
        base_url = "http://twin/v1"

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

    class Engines:
        def missing(self):
            return missing

    monkeypatch.setattr("voiceagent.twin.LocalEngines", Engines)
    monkeypatch.setattr("voiceagent.twin.TwinServer", lambda _: Twin())
    monkeypatch.setattr("voiceagent.twin.create_twin", lambda _: None)
    made = Settings(_env_file=None, **settings)
    backends = Backends(made, RecordLog(made, io.StringIO()))
    if missing and url:
        with pytest.raises(RuntimeError, match=url):
            asyncio.run(backends._start_twin())
    else:
        assert asyncio.run(backends._start_twin()) == url


def test_the_service_must_have_the_model(monkeypatch):
    """The service lists all its models, so one that is missing is a mistake; another server's list says nothing."""

    @virtual_time
    async def run():
        listed = {"data": [{"id": "m"}]}
        async with Recorder(Answer(listed)) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            for host, expected in (
                ("eu.api.openai.com", 'does not know the model "gpt-6-moon".'),
                ("vllm.example", None),
            ):
                clients = Clients(
                    openai_settings(f"http://{host}/v1", stt_model="m", tts_model="m", llm_model="gpt-6-moon")
                )
                probes = await probe_all(clients, ("stt", "llm", "tts"))
                await clients.aclose()
                assert (probes["stt"].failure, probes["tts"].failure) == (None, None)
                failure = probes["llm"].failure
                assert (failure and failure.message) == (expected and f"The language model at {host} {expected}")

    run()


def test_troubles_at_the_start(capsys):
    """What is wrong is in the log, on stderr and kept for the sessions, a sentence a stage; the server runs all the same."""
    settings = openai_settings("http://127.0.0.1:1/v1", log_format="json", stt_model="m")
    stream = io.StringIO()
    stages = ("stt", "llm", "tts")
    sentences = tuple(f"{NAMES[stage]} at 127.0.0.1:1 cannot be reached: nothing listens there." for stage in stages)

    @virtual_time
    async def run():
        async with Backends(settings, log) as backends:
            assert await backends.ready() == ""
            await backends._checking
            assert backends.troubles == sentences

    log = RecordLog(settings, stream)
    run()
    log.start()
    assert log.close()
    logged = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [line for line in logged if line["event"] == "backend_trouble"]
    assert [(line["stage"], line["host"], line["code"], line["sentence"]) for line in told] == [
        (stage, "127.0.0.1:1", "connection", said) for stage, said in zip(stages, sentences, strict=True)
    ]
    assert capsys.readouterr().err == "".join(f"voiceagent: {sentence}\n" for sentence in sentences)
    assert CANARY not in stream.getvalue()


@virtual_time
async def test_what_the_doctor_says():
    """Each stage with its way; a server without Realtime is bad for what needs it, and a note where files do as well."""
    engines = ScriptedEngines(Script())
    async with TwinServer(create_twin(engines)) as twin, Recorder(Answer(MODELS)) as plain:
        live = {"stt_model": "gpt-live-transcribe"}
        settings = openai_settings(twin.base_url, llm_base_url=plain.base_url, llm_model="m", **live)
        found = {line.what: line for line in await doctor._backends(settings)}
        here = f"127.0.0.1:{twin.port} answers with a key"
        assert (found["Speech to text"].result, found["Speech to text"].detail) == ("ok", f"{here}, over Realtime")
        there = f"127.0.0.1:{plain.port} answers with a key, over HTTP"
        assert (found["The language model"].result, found["The language model"].detail) == ("ok", there)
        settings = openai_settings(twin.base_url, llm_base_url=plain.base_url, llm_model="other", **live)
        found = {line.what: line for line in await doctor._backends(settings)}
        line = found["The language model"]
        assert (line.result, line.detail) == ("note", f"{there}; it does not list other")
        for model, result, fix in (
            ("gpt-live-transcribe", "bad", "set stt_model to one that takes files, such as gpt-transcribe"),
            ("gpt-transcribe", "note", "set stt_api to file"),
        ):
            settings = openai_settings(plain.base_url, stt_model=model, tts_model="m")
            found = {line.what: line for line in await doctor._backends(settings)}
            assert (found["Speech to text"].result, found["Text to speech"].result) == (result, "ok")
            assert "has no Realtime WebSocket at this address (200)" in found["Speech to text"].detail
            assert found["Speech to text"].fix == fix


@virtual_time
async def test_what_the_doctor_says_of_a_model_that_a_session_has_not():
    """Files are no way round it: it is bad, and the model is to be looked at."""
    async with TwinServer(create_twin(ScriptedEngines(Script()), strict_models=True)) as twin:
        settings = openai_settings(twin.base_url, stt_model="whisper-3")
        (line,) = [line for line in await doctor._backends(settings) if line.what == "Speech to text"]
        said = f'Speech to text at 127.0.0.1:{twin.port} does not know the model "whisper-3".'
        assert line.detail.endswith(f"no Realtime: {said}")
        assert (line.result, line.fix) == ("bad", "check the base URL and the model of stt")


def test_what_the_doctor_says_of_models():
    """Models that are not known are notes; Azure without a key is one too."""
    settings = openai_settings("http://h/v1", llm_model="llama")
    said = [line.detail for line in doctor._models(settings)]
    assert "llama is not known here; used conservatively" in said
    assert doctor._azure(settings) == []
    settings = openai_settings("http://h/v1", azure_endpoint="https://r.openai.azure.com")
    assert doctor._azure(settings)[0].detail == "an endpoint is set, but no key: it is not used"
    settings = openai_settings("http://h/v1", azure_endpoint="https://r.openai.azure.com", azure_api_key="az")
    assert doctor._azure(settings)[0].result == "ok"


def test_what_the_doctor_says_of_the_transcription(capsys):
    """Settings of speech to text that its model does not take are notes, each with its name; a voice model has its own."""
    wishes = {"stt_model": "whisper-1", "stt_delay": "low", "stt_turn_detection": "semantic_vad", "stt_prompt": "boats"}
    found = doctor._transcription(openai_settings("http://h/v1", **wishes))
    assert [(line.what, line.result, line.detail) for line in found] == [
        ("transcription", "note", "stt_delay has no effect: whisper-1 does not take it."),
        ("transcription", "note", "stt_turn_detection has no effect: whisper-1 has no semantic_vad."),
    ]
    assert all(line.fix for line in found)
    assert doctor._transcription(openai_settings("http://h/v1")) == []
    assert doctor._transcription(openai_settings("http://h/v1", mode="realtime", **wishes)) == []
    doctor.run(openai_settings("http://127.0.0.1:1/v1", **wishes), as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert [line for line in report if line["what"] == "transcription"] == [asdict(line) for line in found]


# ------------------------------------------------------------------------------------------ keys
def chained(error):
    """All that an exception and those behind it say, as a traceback in a log would."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "answer",
    [error(401, "invalid_api_key"), error(404), error(500), Answer(PAGE, content_type=HTML), Answer(MODELS), None],
    ids=["401", "404", "500", "page", "models", "nothing"],
)
def test_no_key_anywhere(answer, tmp_path, capsys):
    """Whatever fails, the key is in no sentence, no log, no report, no wire log and no object's text."""

    @virtual_time
    async def run():
        async with Recorder(lambda _: answer) as server:
            settings = openai_settings(
                server.base_url, wire_log=tmp_path, log_content=True, log_format="json", connect_timeout_s=1
            )
            stream = io.StringIO()
            log = RecordLog(settings, stream)
            log.start()
            async with Backends(settings, log) as backends:
                assert await backends.ready() == ""
                await backends._checking
            clients = Clients(settings)
            made = cascade(clients, settings)
            said = [*backends.troubles, repr(settings), repr(clients.endpoints), repr(clients.get("llm"))]
            for stage in ("llm", "tts"):
                with pytest.raises(StageError) as raised:
                    await ask(made, stage)
                log.warning("failed", sentence=raised.value.message)
                said += [str(raised.value), repr(raised.value)]
            facts = []
            running = asyncio.create_task(made.stt(facts.append).run())
            await asyncio.sleep(10)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await clients.aclose()
            assert log.close()
            said += [repr(facts), stream.getvalue(), *map(repr, await doctor._backends(settings))]
            asked = server.asked
        assert any(f"Bearer {CANARY}" == one.headers.get("authorization") for one in asked)
        files = list(tmp_path.iterdir())
        assert files
        said += [path.read_text() for path in files]
        assert CANARY not in "".join(said)

    run()
    captured = capsys.readouterr()
    assert CANARY not in captured.out + captured.err


def test_no_key_in_a_traceback():
    """Where the key itself is what is wrong, nothing that is raised holds it."""
    for key in (f"{CANARY}\nsecond line", f"{CANARY}\u00e4"):
        settings = openai_settings("http://127.0.0.1:1/v1", openai_api_key=key)
        clients = Clients(settings)
        with pytest.raises(StageError) as raised:
            clients.get("llm")
        assert CANARY not in chained(raised.value)
    with pytest.raises(ValueError, match="port") as wrong:
        Settings(openai_api_key=CANARY, port=-1)
    assert CANARY not in chained(wrong.value)
