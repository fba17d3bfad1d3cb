"""The pool of Realtime sessions that read aloud: which one reads, when another is opened, and what ends one."""

import asyncio
import contextvars
from contextlib import aclosing

import pytest

from tests.reading_server import ReadingServer, heard, pool_at, reading
from tests.virtual import virtual_time
from voiceagent.stages.ports import Acquired, StageError
from voiceagent.stages.voices import MAX_SESSIONS, SILENT_S

FRAME = bytes(960)


def reads_at_once(**options):
    """A server that reads every phrase at once."""
    server = ReadingServer(None, **options)
    server.on_event = server.read
    return server


class Stopped:
    """A server that answers no phrase until `go`; then all that waited, and from then on each at once."""

    def __init__(self):
        self.server = ReadingServer(self)
        self.waiting = []

    async def __call__(self, line, event):
        if event["type"] == "response.create":
            self.waiting.append((line, event))

    @property
    def by_line(self):
        """How many phrases wait on each connection, in the order in which they were opened."""
        return [sum(there is line for there, _ in self.waiting) for line in self.server.lines]

    async def go(self):
        """Answer."""
        self.server.on_event = self.server.read
        for line, event in self.waiting:
            await self.server.read(line, event)


# ------------------------------------------------------------------------------------------ which one reads
@virtual_time
async def test_a_session_is_opened_ahead():
    """Warmed twice, there is one session; the first phrase finds it open."""
    server = reads_at_once()
    async with reading(server) as (tts, pool):
        await asyncio.gather(pool.warm(), pool.warm())
        await pool.warm()
        assert len(server.lines) == 1
        assert await heard(tts) == [Acquired(0, reused=True), FRAME]


@virtual_time
async def test_the_time_of_opening_is_told():
    """A phrase that had to wait for its session says how long."""
    server = reads_at_once()
    server.confirms = False
    async with reading(server) as (tts, _):
        task = asyncio.create_task(heard(tts))
        await asyncio.sleep(0.25)
        await server.lines[0].send(type="session.updated", session={})
        assert (await task)[0] == Acquired(250_000, reused=False)


@virtual_time
async def test_another_is_opened_when_all_are_busy():
    """Two phrases a session; the third still goes where a session is open, and another is opened for the fourth."""
    stopped = Stopped()
    async with reading(stopped.server) as (tts, pool):
        await pool.warm()
        tasks = []
        for expected in ([1], [2], [3, 0], [3, 1], [3, 2], [3, 3, 0]):
            tasks.append(asyncio.create_task(heard(tts)))
            await asyncio.sleep(0.1)
            assert stopped.by_line == expected
        await stopped.go()
        assert [await task for task in tasks] == [[Acquired(0, reused=True), FRAME]] * 6
        assert len(pool) == 3  # those that are idle stay


@virtual_time
async def test_there_is_a_bound():
    """However many phrases there are at once, there are no more sessions than the bound, each with its share."""
    stopped = Stopped()
    async with reading(stopped.server) as (tts, pool):
        tasks = []
        for _ in range(MAX_SESSIONS * 4):
            tasks.append(asyncio.create_task(heard(tts)))
            await asyncio.sleep(0.1)
        assert len(pool) == len(stopped.server.lines) == MAX_SESSIONS
        assert max(stopped.by_line) - min(stopped.by_line) <= 1
        await stopped.go()
        await asyncio.gather(*tasks)


@virtual_time
async def test_a_server_that_reads_one_at_a_time():
    """A server that refuses a second phrase on a session is asked on sessions that are idle from then on."""
    server = ReadingServer(None)
    busy = {}

    async def one_at_a_time(line, event):
        if event["type"] != "response.create":
            return
        if line in busy:
            code = "conversation_already_has_active_response"
            await line.send(type="error", error={"code": code, "event_id": event["event_id"]})
            return
        busy[line] = event

    server.on_event = one_at_a_time
    async with reading(server) as (tts, pool):
        await pool.warm()
        first = asyncio.create_task(heard(tts))
        await asyncio.sleep(0.1)
        with pytest.raises(StageError) as error:
            await heard(tts)
        assert error.value.retryable
        again = asyncio.create_task(heard(tts))
        await asyncio.sleep(0.1)
        assert len(busy) == 2
        for line, event in busy.items():
            await server.read(line, event)
        assert [(await task)[-1] for task in (first, again)] == [FRAME, FRAME]


@virtual_time
async def test_a_session_is_nobodys():
    """A session's task knows nothing of the conversation that had it opened: the next one's log lines are not its."""
    whose = contextvars.ContextVar("whose", default="nobody")
    seen = []
    server = reads_at_once()
    async with reading(server) as (tts, pool):
        whose.set("mine")
        await heard(tts)
        (session,) = pool._sessions
        session._take = lambda _: seen.append(whose.get())
        await server.lines[0].send(type="rate_limits.updated")
        await asyncio.sleep(0.01)
        assert seen == ["nobody"]


# ------------------------------------------------------------------------------------------ what ends one
@virtual_time
async def test_a_lost_session():
    """Its phrases fail so that they can be asked again; the next phrase opens another session."""
    stopped = Stopped()
    async with reading(stopped.server) as (tts, pool):
        tasks = [asyncio.create_task(heard(tts)) for _ in range(2)]
        await asyncio.sleep(0.1)
        await stopped.server.lines[0].websocket.close(1011)
        for task in tasks:
            with pytest.raises(StageError, match=r"^Text to speech at 127\.0\.0\.1:\d+ ") as error:
                await task
            assert error.value.retryable
        assert len(pool) == 0
        stopped.server.on_event = stopped.server.read
        came, pcm = await heard(tts)
        assert (came.reused, pcm) == (False, FRAME)


@virtual_time
async def test_a_socket_that_is_silent():
    """Where nothing at all came back, leaving the phrase ends its session, so that the retry has another one."""
    stopped = Stopped()
    async with reading(stopped.server) as (tts, pool):
        await pool.warm()
        for wait_s, lines in ((SILENT_S - 0.1, 1), (SILENT_S, 2)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(wait_s), tts.speak("x") as parts, aclosing(parts):
                    await anext(parts)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await heard(tts)
            assert len(stopped.server.lines) == lines


@virtual_time
async def test_a_socket_that_falls_silent():
    """So it is where a phrase had begun; one that is left while its audio comes costs no session."""
    stopped = Stopped()
    async with reading(stopped.server) as (tts, pool):
        await pool.warm()
        for number, wait_s in enumerate((SILENT_S - 0.1, SILENT_S)):
            async with tts.speak("x") as parts, aclosing(parts):
                await asyncio.sleep(0.01)
                line, event = stopped.waiting[-1]
                await line.created(f"resp_{number}", event["event_id"])
                await line.audio(f"resp_{number}", FRAME)
                assert [await anext(parts), await anext(parts)] == [Acquired(0, reused=True), FRAME]
                await asyncio.sleep(wait_s)
            await asyncio.sleep(0.1)
            assert line.gone.is_set() is (wait_s >= SILENT_S)
        assert [event["response_id"] for event in line.of("response.cancel")] == ["resp_0"]


@virtual_time
async def test_a_socket_that_tells_of_others():
    """A phrase that is not answered says nothing of a socket on which another one is being read: the session stays."""
    stopped = Stopped()
    async with reading(stopped.server) as (tts, pool):
        await pool.warm()
        other = asyncio.create_task(heard(tts))
        await asyncio.sleep(0.1)
        late = asyncio.create_task(heard(tts))
        (line,) = stopped.server.lines
        for _ in range(5):
            await asyncio.sleep(1)
            await line.created("resp_1", stopped.waiting[0][1]["event_id"])
        late.cancel()
        await asyncio.wait({late})
        await line.audio("resp_1", FRAME)
        await line.done("resp_1")
        assert (await other)[-1] == FRAME
        assert not line.gone.is_set()


@virtual_time
async def test_no_session_is_to_be_had():
    """A server that never confirms a session fails the phrase after the time for connecting."""
    server = reads_at_once(confirms=False)
    async with reading(server, connect_timeout_s=1.5) as (tts, pool):
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(StageError, match="did not answer in time") as error:
            await heard(tts)
        assert error.value.retryable
        assert round(asyncio.get_running_loop().time() - began_s, 6) == 1.5
        await pool.warm()  # and says nothing
        assert len(pool) == 0


@pytest.mark.parametrize("used", [True, False])
def test_an_old_session_is_renewed(used):
    """A session that was used is opened anew when it has its age, and one that nobody used is let go."""

    @virtual_time
    async def run():
        server = reads_at_once()
        async with reading(server, stt_session_s=60) as (tts, pool):
            await pool.warm()
            if used:
                await heard(tts)
            await asyncio.sleep(59.9)
            assert not server.lines[0].gone.is_set()
            await asyncio.sleep(0.2)
            assert server.lines[0].gone.is_set()
            assert (len(pool), len(server.lines)) == ((1, 2) if used else (0, 1))
            assert (await heard(tts))[0].reused is used

    run()


@virtual_time
async def test_an_old_session_ends_its_phrase():
    """Of age in mid-phrase, a session reads it to its end, and new phrases go to another."""
    stopped = Stopped()
    async with reading(stopped.server, stt_session_s=60) as (tts, pool):
        await pool.warm()
        await asyncio.sleep(59.9)
        first = asyncio.create_task(heard(tts))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(heard(tts))
        await asyncio.sleep(0.1)
        assert stopped.by_line == [1, 1]
        await stopped.go()
        assert [(await task)[-1] for task in (first, second)] == [FRAME, FRAME]
        await asyncio.sleep(0.1)
        assert stopped.server.lines[0].gone.is_set()
        assert len(pool) == 1


@virtual_time
async def test_closing_ends_all():
    """Closed with its clients, the pool leaves no phrase waiting and no session; a phrase behind it is refused."""
    stopped = Stopped()
    async with reading(stopped.server) as (tts, pool):
        task = asyncio.create_task(heard(tts))
        await asyncio.sleep(0.1)
        opening = asyncio.create_task(pool.warm())
        await pool.aclose()
        await opening
        with pytest.raises(StageError, match="gave no answer"):
            await task
        with pytest.raises(StageError, match="closed"):
            await heard(tts)
        await pool.warm()
        assert len(pool) == 0


@virtual_time
async def test_nobody_there():
    """A host that cannot be reached is named; opening ahead says nothing of it."""
    async with pool_at("http://127.0.0.1:1/v1", connect_timeout_s=1) as (tts, pool):
        await pool.warm()
        with pytest.raises(StageError, match=r"^Text to speech at 127\.0\.0\.1:1 cannot be reached") as error:
            await heard(tts)
        assert error.value.retryable
