"""``voiceagent call``: a caller in the terminal, and the worked example of a client.

It does what the page does: one WebSocket, a hello, microphone frames in real time from the first to the last moment, and
acknowledgements of what was played. `Call.run` returns what happened; `run_call` is the command around it.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from voiceagent import __version__, protocol
from voiceagent.audio import wav_bytes
from voiceagent.soundfiles import SoundFileError, read_speech
from voiceagent.speaker import Speaker

FRAME_BYTES = protocol.FRAME_SAMPLES * 2
FRAME_S = protocol.FRAME_MS / 1000
ROOM = bytes(FRAME_BYTES)
OPENING_S = 0.3  # of silence before the first word, as between a click on Start and speaking
CONNECT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 1.0


class CallError(Exception):
    """The call cannot be made or was refused; the message is a sentence."""


@dataclass(slots=True)
class TurnSeen:
    """One turn as the client saw it."""

    transcript: str = ""
    reply: list[str] = field(default_factory=list)
    epoch: int = 0
    reply_samples: int = 0
    heard: str = ""
    interrupted: bool = False
    done: protocol.TurnDone | None = None

    def report(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        done = self.done
        report: dict[str, Any] = {
            "transcript": self.transcript,
            "reply": " ".join(self.reply),
            "response_gap_ms": None if done is None or done.gap_ms is None else round(done.gap_ms, 1),
            "reply_audio_s": round(self.reply_samples / protocol.RATE_HZ, 3),
            "interrupted": self.interrupted,
            "heard": self.heard,
        }
        if done is not None:
            report |= {"outcome": done.outcome, "segments": done.segments, "marks": done.marks, "path": done.path}
        return report


Mode = Literal["cascade", "realtime"]
Utterance = bytes | str
"""What is said next: audio, or a line to type."""


class Call:
    """One call. `progress` is told how many of the utterances are done."""

    def __init__(
        self, url: str, utterances: Sequence[Utterance],
        *, token: str | None = None, barge_in_ms: int | None = None, timeout_s: float = 30.0, mode: Mode | None = None,
    ) -> None:  # fmt: skip
        self.turns: dict[int, TurnSeen] = {}
        self.errors: list[str] = []
        self.progress = 0
        self.log: list[tuple[float, str]] = []  # what happened when, on the loop's clock, for whoever measures
        self.speaker = Speaker(self._put)
        self._url = websocket_url(url)
        self._utterances = list(utterances)
        self._token = token
        self._barge_in_ms = barge_in_ms
        self._timeout_s = timeout_s
        self._mode: Mode | None = mode
        self._speech = b""  # what is being said
        self._said = 0  # bytes of it that went out
        self._over: tuple[int | None, float] = (None, 0.0)  # the reply that was last spoken over, and how far it was
        self._out: asyncio.Queue[str] = asyncio.Queue()
        self._happened = asyncio.Event()  # something changed that the dialog may wait for
        self._state = "listening"
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Make the call. Raises `CallError`."""
        async with self._connection() as socket:
            await self._greet(socket)
            tasks = [
                asyncio.create_task(work)
                for work in (self._hear(socket), self._speak(socket), self._write(socket), self._dialog())
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception):
                    raise result
            del done
            with suppress(Exception):
                await socket.send(protocol.HangUp().model_dump_json())

    @asynccontextmanager
    async def _connection(self) -> Any:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException

        host = urlsplit(self._url).netloc
        try:
            async with connect(
                self._url, proxy=None, compression=None, open_timeout=CONNECT_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S, max_size=1 << 20,
            ) as socket:  # fmt: skip
                yield socket
        except InvalidStatus as error:
            raise CallError(f"{host} refused the connection ({error.response.status_code}).") from None
        except (OSError, TimeoutError):
            raise CallError(f"No voiceagent server answers at {host}: start one with `make run`.") from None
        except WebSocketException as error:
            raise CallError(f"The connection to {host} broke: {error}.") from None

    async def _greet(self, socket: Any) -> None:
        hello = protocol.Hello(
            version=protocol.PROTOCOL_VERSION, token=self._token, client=f"voiceagent call {__version__}",
            mode=self._mode,
        )  # fmt: skip
        await socket.send(hello.model_dump_json())
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            answer = protocol.parse_server(await socket.recv())
        if isinstance(answer, protocol.Error):
            raise CallError(f"{answer.message} {answer.hint}".strip())

    # ------------------------------------------------------------------------------ out
    def _put(self, message: protocol.Message) -> None:
        self._out.put_nowait(message.model_dump_json())

    async def _write(self, socket: Any) -> None:
        while True:
            await socket.send(await self._out.get())

    async def _speak(self, socket: Any) -> None:
        """Send a frame every 20 ms on an absolute schedule: the microphone never stops, and never drifts."""
        start_s, seq = self._loop.time(), 0
        while True:
            due_s = start_s + (seq + 1) * FRAME_S
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            pcm = self._speech[self._said : self._said + FRAME_BYTES]
            if pcm:
                if self._said == 0:
                    self.log.append((due_s - FRAME_S, "speech begins"))
                self._said += len(pcm)
                if self._said >= len(self._speech):
                    self.log.append((due_s - FRAME_S + len(pcm) / 2 / protocol.RATE_HZ, "speech ends"))
                    self._happened.set()
            # The frame was captured in the 20 ms up to now, whatever the scheduler made of it.
            frame = protocol.MicFrame(seq, (due_s - FRAME_S) * 1000, pcm.ljust(FRAME_BYTES, b"\0") if pcm else ROOM)
            await socket.send(frame.pack())
            seq += 1
            self.speaker.advance(self._loop.time())
            if self._barge_in_ms is not None:
                self._happened.set()  # the dialog waits for a position in the reply

    # ------------------------------------------------------------------------------ in
    async def _hear(self, socket: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async for data in socket:
                now_s = self._loop.time()
                if isinstance(data, bytes):
                    self._frame(protocol.ReplyFrame.unpack(data), now_s)
                else:
                    self._message(protocol.parse_server(data), now_s)
                self._happened.set()
        except ConnectionClosed as closed:
            reason = closed.rcvd.reason if closed.rcvd is not None else "the network"
            self.errors.append(f"The server ended the call: {reason}.")
        else:
            if self._state != "closed":
                self.errors.append("The server ended the call.")

    def _frame(self, frame: protocol.ReplyFrame, now_s: float) -> None:
        if frame.filler:  # it is heard, but it is no reply
            self.speaker.frame(frame, now_s)
            return
        turn = self._turn(frame.turn)
        if frame.epoch > turn.epoch:
            turn.epoch, turn.reply_samples = frame.epoch, 0
        if frame.first_sample == 0:
            self.log.append((now_s, "first frame"))
        turn.reply_samples = max(turn.reply_samples, frame.first_sample + len(frame.pcm) // 2)
        self.speaker.frame(frame, now_s)

    def _message(self, message: protocol.Message, now_s: float) -> None:
        match message:
            case protocol.Ping(id=number):
                self._put(protocol.Pong(id=number, client_ms=now_s * 1000))
            case protocol.State(state=state):
                self._state = state
            case protocol.Transcript(turn=turn, text=text):
                self._turn(turn).transcript = text
            case protocol.ReplyText(turn=turn, epoch=epoch, text=text):
                seen = self._turn(turn)
                if epoch > seen.epoch:
                    seen.epoch, seen.reply, seen.reply_samples = epoch, [], 0
                seen.reply.append(text)
            case protocol.Heard(turn=turn, text=text, interrupted=interrupted):
                self._turn(turn).heard, self._turn(turn).interrupted = text, interrupted
            case protocol.TurnDone(turn=turn):
                self._turn(turn).done = message
            case protocol.Error(message=text, hint=hint):
                self.errors.append(f"{text} {hint}".strip())
            case protocol.Notice(message=text):
                self.errors.append(text)
            case _:
                self.log.append((now_s, message.type))
                self.speaker.control(message, now_s)

    def _turn(self, number: int) -> TurnSeen:
        return self.turns.setdefault(number, TurnSeen())

    # ------------------------------------------------------------------------------ the dialog
    async def _dialog(self) -> None:
        """Say one thing after the other, each at its time, and wait for the last answer."""
        await asyncio.sleep(OPENING_S)
        for number, utterance in enumerate(self._utterances):
            last = number == len(self._utterances) - 1
            known = max(self._answered(), number)  # an interrupted turn is over only after the next one began
            if isinstance(utterance, str):
                self._put(protocol.Text(text=utterance))
            else:
                self._over = self._heard()
                self._speech, self._said = utterance, 0
                await self._until(lambda: self._said >= len(self._speech), len(utterance) / 2 / protocol.RATE_HZ + 5)
            if self._barge_in_ms is not None and not last:
                answered = await self._until(self._far_enough, self._timeout_s)
            else:
                answered = await self._until(lambda known=known: self._quiet_again(known), self._timeout_s)
            if not answered:
                self.errors.append(f"There was no answer to utterance {number + 1} within {self._timeout_s:g} s.")
            self.progress = number + 1

    def _answered(self) -> int:
        return sum(1 for turn in self.turns.values() if turn.done is not None and _counts(turn.done))

    def _quiet_again(self, known: int) -> bool:
        """Whether one more turn got its answer, and nobody has the floor."""
        return self._answered() > known and self._state == "listening" and self.speaker.playing is None

    def _far_enough(self) -> bool:
        """Whether so much of a reply was heard since one last spoke over it."""
        epoch = self.speaker.playing
        over, since_ms = self._over
        return epoch is not None and self.speaker.heard_ms(epoch) >= (self._barge_in_ms or 0) + (
            since_ms if epoch == over else 0.0
        )

    async def _until(self, condition: Any, timeout_s: float) -> bool:
        """Wait for it, for so long at most from now or from the last that was heard; False if it did not come."""
        loop, heard = asyncio.get_running_loop(), self._heard()
        try:
            async with asyncio.timeout(timeout_s) as limit:
                while not condition():
                    self._happened.clear()
                    await self._happened.wait()
                    if heard != (heard := self._heard()):
                        limit.reschedule(loop.time() + timeout_s)
        except TimeoutError:
            return False
        return True

    def _heard(self) -> tuple[int | None, float]:
        epoch = self.speaker.playing
        return epoch, self.speaker.heard_ms(epoch) if epoch is not None else 0.0


def _counts(done: protocol.TurnDone) -> bool:
    """Whether a turn's end is an answer to something that was said."""
    return done.origin != "agent" and done.outcome not in {"discarded", "reopened"}


def websocket_url(url: str) -> str:
    """Return the address of ``/ws`` on the server that `url` names. Raises `CallError`."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.netloc:
        raise CallError(f"{url} is not the address of a server: give something like http://127.0.0.1:8000.")
    path = parts.path.rstrip("/")
    return urlunsplit((schemes[parts.scheme], parts.netloc, path if path.endswith("/ws") else f"{path}/ws", "", ""))


# ------------------------------------------------------------------------------------------ the command
def run_call(
    *, files: Sequence[Path], url: str, token: str | None, texts: Sequence[str], barge_in_ms: int | None,
    timeout_s: float, save: Path | None, as_json: bool, mode: Mode | None = None,
) -> int:  # fmt: skip
    """Make the call that the options describe and print it; 0 if everything got an answer, 1 if not, 2 for bad usage."""
    if not files and not texts:
        sys.stderr.write("voiceagent: give a sound file to speak, or --text to type.\n")
        return 2
    turns: list[TurnSeen] = []
    errors: list[str] = []
    try:
        utterances: list[Utterance] = [*(read_speech(path) for path in files), *texts]
        call = asyncio.run(_run(url, utterances, token, barge_in_ms, timeout_s, mode=mode, show=not as_json))
        turns = [turn for _, turn in sorted(call.turns.items()) if turn.done is not None]
        errors = call.errors
        if save is not None:
            save.write_bytes(wav_bytes(bytes(call.speaker.heard)))
    except (SoundFileError, CallError, OSError) as error:
        errors.append(str(error))
    if as_json:
        sys.stdout.write(json.dumps({"turns": [turn.report() for turn in turns], "errors": errors}, indent=1) + "\n")
    else:
        _print(turns)
    for sentence in errors:
        sys.stderr.write(f"voiceagent: {sentence}\n")
    answered = sum(1 for turn in turns if turn.done is not None and _counts(turn.done))
    return 0 if answered and not errors else 1


async def _run(
    url: str, utterances: Sequence[Utterance], token: str | None, barge_in_ms: int | None, timeout_s: float,
    *, mode: Mode | None, show: bool,
) -> Call:  # fmt: skip
    from rich.progress import Progress

    call = Call(url, utterances, token=token, barge_in_ms=barge_in_ms, timeout_s=timeout_s, mode=mode)
    with Progress(disable=not (show and sys.stderr.isatty()), transient=True) as bar:
        task = bar.add_task("calling", total=len(utterances))
        running = asyncio.create_task(call.run())
        while not running.done():
            await asyncio.wait({running}, timeout=0.2)
            bar.update(task, completed=call.progress)
        await running
    return call


def _print(turns: Sequence[TurnSeen]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("you", "agent", "gap", "outcome")
    for turn in turns:
        report = turn.report()
        gap = "" if report["response_gap_ms"] is None else f"{report['response_gap_ms']:.0f} ms"
        reply = report["heard"] + " […]" if turn.interrupted else report["reply"]
        table.add_row(turn.transcript, reply, gap, report.get("outcome", ""))
        if turn.done is not None and turn.done.segments:
            parts = "  ".join(f"{name} {ms:.0f}" for name, ms in turn.done.segments.items() if ms >= 0.5)
            table.add_row("", f"[dim]{parts}[/dim]")
    Console().print(table)
