"""Speech to text a file an item: by wish, or where a server has no Realtime; through the real SDK."""

import asyncio
import io
import wave
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from tests.stt_rig import FRAME
from tests.test_stages import finals
from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.events import SttConnected, SttFailed
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.twin import FaultPlan, Script, ScriptedEngines, TwinServer, create_twin

MODEL = {"stt_model": "gpt-transcribe"}


class Files:
    """A server that transcribes files and knows no Realtime; `answers` are statuses or delays in seconds, then all is well."""

    def __init__(self, *answers, takes_s=0.0, headers=None):
        self.answers = list(answers)
        self.headers = headers
        self.takes_s = takes_s
        self.asked = []  # (fields, PCM)
        self.handshakes = 0
        self.at_once = self.most_at_once = 0

    async def transcribe(self, request):
        async with request.form() as form:
            data = await form["file"].read()
            fields = [(key, value) for key, value in form.multi_items() if key != "file"]
        with wave.open(io.BytesIO(data)) as sound:
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 24_000)
            self.asked.append((fields, sound.readframes(sound.getnframes())))
        number = len(self.asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = self.answers.pop(0) if self.answers else self.takes_s
            await asyncio.sleep(answer if isinstance(answer, float) else 0)
        finally:
            self.at_once -= 1
        if isinstance(answer, int):
            return JSONResponse({"error": {"message": "no", "code": None}}, answer, headers=self.headers)
        return JSONResponse({"text": f" words {number}"})

    async def realtime(self, websocket):
        self.handshakes += 1
        await websocket.send_denial_response(JSONResponse({"error": {"message": "Not found", "code": None}}, 404))

    @asynccontextmanager
    async def serve(self, **settings):
        """Its stages, the facts of one transcription, and a way to begin another."""
        routes = [
            Route("/v1/audio/transcriptions", self.transcribe, methods=["POST"]),
            WebSocketRoute("/v1/realtime", self.realtime),
        ]
        async with TwinServer(Starlette(routes=routes)) as server:
            chosen = settings_for_tests(stt_base_url=server.base_url, connect_timeout_s=2, **settings)
            clients = Clients(chosen, server.base_url)
            self.told = []
            made = cascade(clients, chosen, stt_fallback=self.told.append)
            async with asyncio.TaskGroup() as group:
                tasks = []

                def begin():
                    facts = []
                    stt = made.stt(facts.append)
                    tasks.append(group.create_task(stt.run()))
                    return stt, facts

                yield begin
                for task in tasks:
                    task.cancel()
            await clients.aclose()


def speak(stt, item, frames=10):
    """An item at once."""
    stt.open(item)
    stt.append(FRAME * frames)
    stt.commit(item)


def failures(facts):
    """Which items failed, and why."""
    return [(fact.item, fact.code) for fact in facts if isinstance(fact, SttFailed)]


@virtual_time
async def test_a_file_an_item():
    """Each item is a sound file of its own, its samples are all there, and what was set goes with it."""
    files = Files()
    async with files.serve(stt_api="file", stt_language="de", stt_keywords=("Kiel", "Ulm"), **MODEL) as begin:
        stt, facts = begin()
        speak(stt, 1, frames=50)
        await asyncio.sleep(1)
        speak(stt, 2, frames=1)
        await asyncio.sleep(1)
    assert finals(facts) == {1: "words 1", 2: "words 2"}
    (fields, first), (_, second) = files.asked
    assert (first, second) == (FRAME * 50, FRAME + bytes(5 * 960))
    assert fields == [
        ("model", "gpt-transcribe"), ("keywords[]", "Kiel"), ("keywords[]", "Ulm"), ("languages[]", "de"),
        ("response_format", "json"),
    ]  # fmt: skip
    assert files.handshakes == 0
    assert sum(isinstance(fact, SttConnected) for fact in facts) == 1  # the second went the same way
    assert files.told == []


@virtual_time
async def test_several_at_once():
    """Items are transcribed beside each other, four at most; a later one may be first."""
    files = Files(3.0, takes_s=1.0)
    async with files.serve(stt_api="file", **MODEL) as begin:
        stt, facts = begin()
        for item in range(1, 7):
            speak(stt, item)
        await asyncio.sleep(2.5)
        assert sorted(finals(facts)) == [2, 3, 4, 5, 6]
        await asyncio.sleep(1)
    assert sorted(finals(facts)) == [1, 2, 3, 4, 5, 6]
    assert files.most_at_once == 4


@pytest.mark.parametrize(
    ("answers", "headers", "asked", "outcome"),
    [
        ([500], {}, 2, None),
        ([429], {"retry-after-ms": "700"}, 2, None),
        ([429], {"retry-after": "5"}, 1, "http_429"),
        ([503, 503], {}, 2, "http_503"),
        ([400], {}, 1, "http_400"),
    ],
)
def test_another_try(answers, headers, asked, outcome):
    """What may be over the next time is tried once more, if that is soon; else the item alone has failed."""

    @virtual_time
    async def run():
        files = Files(*answers, headers=headers)
        async with files.serve(stt_api="file", **MODEL) as begin:
            stt, facts = begin()
            speak(stt, 1)
            await asyncio.sleep(2)
            assert len(files.asked) == asked
            assert failures(facts) == ([(1, outcome)] if outcome else [])
            speak(stt, 2)
            await asyncio.sleep(1)
            assert 2 in finals(facts)

    run()


@virtual_time
async def test_a_file_that_is_not_answered():
    """The deadline is the setting's, to the millisecond, and the sentence names the host."""
    files = Files(60.0)
    async with files.serve(stt_api="file", stt_timeout_s=3, **MODEL) as begin:
        stt, facts = begin()
        await asyncio.sleep(1)
        speak(stt, 1)
        await asyncio.sleep(2.999)
        assert failures(facts) == []
        await asyncio.sleep(0.002)
        assert failures(facts) == [(1, "timeout")]
        assert facts[-1].message.startswith("Speech to text at 127.0.0.1:")


@virtual_time
async def test_a_refused_key():
    """It is said once, and everything that is committed later fails with it, unasked."""
    files = Files(401)
    async with files.serve(stt_api="file", **MODEL) as begin:
        stt, facts = begin()
        speak(stt, 1)
        await asyncio.sleep(1)
        speak(stt, 2)
        assert failures(facts) == [(0, "http_401"), (1, "http_401"), (2, "http_401")]
        assert len(files.asked) == 1


@virtual_time
async def test_a_model_that_takes_no_files():
    """By wish it is an error in one sentence; found out, it is the server that has no Realtime."""
    files = Files()
    async with files.serve(stt_api="file", stt_model="gpt-live-transcribe") as begin:
        _, facts = begin()
        await asyncio.sleep(1)
        assert failures(facts) == [(0, "settings")]
        assert "gpt-live-transcribe only streams" in facts[0].message
    async with files.serve(stt_model="gpt-live-transcribe") as begin:
        stt, facts = begin()
        await asyncio.sleep(1)
        speak(stt, 1)
        assert failures(facts) == [(0, "http_404"), (1, "http_404")]
        assert "has no Realtime WebSocket" in facts[0].message
    assert (files.asked, files.told) == ([], [])


@virtual_time
async def test_a_server_without_realtime():
    """Files are sent in its place, what was said meanwhile too; it is told once, and asked again after ten minutes."""
    files = Files()
    async with files.serve(**MODEL) as begin:
        stt, facts = begin()
        speak(stt, 1)
        await asyncio.sleep(1)
        assert (finals(facts), failures(facts)) == ({1: "words 1"}, [])
        assert [failure.code for failure in files.told] == ["http_404"]
        other, more = begin()
        speak(other, 1)
        await asyncio.sleep(590)
        assert (finals(more), files.handshakes, len(files.told)) == ({1: "words 2"}, 1, 1)
        await asyncio.sleep(20)
        third, last = begin()
        speak(third, 1)
        await asyncio.sleep(1)
        assert (finals(last), files.handshakes, len(files.told)) == ({1: "words 3"}, 2, 2)


@virtual_time
async def test_two_that_find_out_at_once():
    """Both send files; it is told once."""
    files = Files()
    async with files.serve(**MODEL) as begin:
        pairs = [begin(), begin()]
        for stt, _ in pairs:
            speak(stt, 1)
        await asyncio.sleep(1)
        assert all(1 in finals(facts) for _, facts in pairs)
        assert (files.handshakes, len(files.told)) == (2, 1)


@virtual_time
async def test_by_wish_there_is_no_other_way():
    """`stt_api=realtime` is a stream or nothing."""
    files = Files()
    async with files.serve(stt_api="realtime", **MODEL) as begin:
        _, facts = begin()
        await asyncio.sleep(1)
        assert (failures(facts), files.asked) == ([(0, "http_404")], [])


@pytest.mark.parametrize("status", [403, 404, 405, 426, 501])
def test_the_twin_without_realtime(status):
    """However the handshake is refused, the twin's transcriptions are the other way."""

    @virtual_time
    async def run():
        plan = FaultPlan({"fault": "refuse", "stage": "stt", "nth": 1, "status": status, "code": "odd"})
        engines = ScriptedEngines(Script(transcripts=["hello"]))
        async with TwinServer(create_twin(engines, faults=plan)) as twin:
            settings = settings_for_tests(**MODEL)
            clients = Clients(settings, twin.base_url)
            facts = []
            stt = cascade(clients, settings).stt(facts.append)
            task = asyncio.create_task(stt.run())
            speak(stt, 1, frames=50)
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await clients.aclose()
        assert (finals(facts), failures(facts)) == ({1: "hello"}, [])

    run()
