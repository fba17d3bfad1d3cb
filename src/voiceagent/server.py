"""The application: routes, who may come in, what the process holds for all sessions, and how it starts and stops."""

import asyncio
import secrets
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from voiceagent import __version__, protocol
from voiceagent.backends import Backends
from voiceagent.endpointing import EndpointConfig, Endpointer
from voiceagent.exports.errors import ExportError
from voiceagent.exports.house import House
from voiceagent.exports.wanted import Exports
from voiceagent.hooks import Hooks
from voiceagent.incoming import Gone
from voiceagent.logs import RecordLog
from voiceagent.models import chosen
from voiceagent.models import warnings as model_warnings
from voiceagent.observing import Observer, Observers
from voiceagent.resumption import Sessions
from voiceagent.session import Session
from voiceagent.settings import Settings
from voiceagent.timeline import TransitionRecord, TurnRecord
from voiceagent.turns import PastTurn
from voiceagent.websocket import LOOPBACK, Refusal, StarletteSocket, hello, origin_allowed, refuse

_PACKAGED = Path(__file__).parent / "web"
WEB_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "web"
"""The page: inside the wheel, or beside ``src`` in a checkout."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self)",
    "cache-control": "no-cache",  # the page and the server must be of one version
}


class Agent:
    """One server's application state and its endpoints. It serves sessions inside its own context: ``async with agent``.

    The application's lifespan enters it; where the application is mounted in another one, that one's lifespan has to,
    since nobody runs the lifespan of what is mounted.
    """

    def __init__(self, settings: Settings, hooks: Hooks, log: RecordLog) -> None:
        self.settings = settings
        self.log = log
        self.sessions = Sessions(settings)
        self.rejected: Counter[str] = Counter()
        house = House(
            sessions=lambda: self.sessions.running, capacity=lambda: settings.max_sessions,
            rejected=lambda: self.rejected, dropped=lambda: log.dropped,
        )  # fmt: skip
        self.exports = Exports(settings, house)
        self.observers = Observers((*hooks.observers, *self.exports.observers), self._observer_failed)
        self.backends = Backends(settings, log, hooks.stages)
        self.token = _access_token(settings)
        self.draining = False
        self._tools = tuple(hooks.tools) if settings.tools else ()
        self._turn_model = hooks.turn_model

    async def __aenter__(self) -> Self:
        self.draining = False
        self.exports.open()
        self.log.start()
        await self.backends.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()
        await self.backends.__aexit__(kind, error, trace)
        await asyncio.to_thread(self.exports.close)
        await asyncio.to_thread(self.log.close)

    def drain(self) -> None:
        """Begin no more sessions; those that run go on. ``/readyz`` says so."""
        self.draining = True

    async def websocket(self, websocket: WebSocket) -> None:
        """Serve ``/ws``."""
        if not origin_allowed(websocket, self.settings, token_needed=self.token is not None):
            self.rejected["origin"] += 1
            await websocket.close()  # before it is accepted: the handshake is refused with 403
            return
        await websocket.accept()
        try:
            if self.draining:
                text, hint = "This server is about to stop.", "Press Start again in a moment."
                await self._reject(websocket, Refusal(protocol.Close.BUSY, "draining", text, hint))
                return
            greeting = await hello(websocket, self.settings, self.token)
            if isinstance(greeting, Refusal):
                await self._reject(websocket, greeting)
                return
            await self._admit(websocket, greeting)
        except Gone:
            return

    async def _reject(self, websocket: WebSocket, refusal: Refusal) -> None:
        self.rejected[refusal.code] += 1
        await refuse(websocket, refusal)

    async def _admit(self, websocket: WebSocket, greeting: protocol.Hello) -> None:
        failure = await self.backends.ready()
        if failure:
            hint = "The server's log and `voiceagent doctor` say more."
            await self._reject(websocket, Refusal(protocol.Close.INTERNAL, "backend", failure, hint))
            return
        if not self.sessions.enter(greeting.resume):
            text, hint = "All places are taken at the moment.", "Try again in a minute."
            await self._reject(websocket, Refusal(protocol.Close.BUSY, "capacity", text, hint))
            return
        try:
            await self._serve(websocket, greeting)
        finally:
            self.sessions.leave()

    async def _serve(self, websocket: WebSocket, greeting: protocol.Hello) -> None:
        former = await self.sessions.take_over(greeting.resume)
        name = former.name if former is not None else secrets.token_hex(6)
        past = former.past if former is not None else ()
        settings = self.settings
        wishes = {"patience": greeting.patience, "mode": greeting.mode}
        settings = settings.model_copy(update={name: wish for name, wish in wishes.items() if wish is not None})
        session = Session(
            name, StarletteSocket(websocket), settings, self.backends.stages(settings.mode),
            Endpointer(EndpointConfig.from_settings(settings), self.backends.detector()),
            turn_model=self._turn_model() if self._turn_model is not None else None,
            record=self._record, tools=self._tools, past=past,
            first_turn=former.next_turn if former is not None else 1,
        )  # fmt: skip
        token = secrets.token_urlsafe(24)
        kept = self.sessions.begin(session, token)
        ending = None
        try:
            welcome = self._welcome(name, token, past, settings, resumed=former is not None)
            await websocket.send_text(welcome.model_dump_json())
            for sentence in self.backends.troubles if settings.mode == self.settings.mode else ():
                notice = protocol.Notice(code="backend_trouble", message=sentence)
                await websocket.send_text(notice.model_dump_json())
            self.log.event("session_began", session=name, client=greeting.client, resumed=former is not None)
            ending = await session.run()
            self.log.event("session_ended", session=name, reason=ending.reason)
        except Exception as error:  # noqa: BLE001 - a defect ends one session, with a word to its browser
            self.log.failure("session_failed", error, session=name)
            text, hint = "Something went wrong in the server.", "Press Start to begin again."
            await refuse(websocket, Refusal(protocol.Close.INTERNAL, "internal", text, hint))
        finally:
            self.sessions.end(kept, token, ending)

    def _welcome(
        self, name: str, token: str, past: Sequence[PastTurn], settings: Settings, *, resumed: bool
    ) -> protocol.Welcome:
        return protocol.Welcome(
            version=protocol.PROTOCOL_VERSION, session=name, resume_token=token, resumed=resumed,
            backend="local" if settings.is_local else "openai",
            mode=settings.mode, models={str(role): name for role, name in chosen(settings).items()},
            patience=settings.patience, barge_in=settings.barge_in,
            hints=list(self.backends.hints),
            history=[
                {"turn": turn.number, "user": turn.user, "reply": turn.reply, "interrupted": turn.interrupted}
                for turn in past
            ],
        )  # fmt: skip

    def _record(self, session: str, record: TransitionRecord | TurnRecord) -> None:
        self.log.record(session, record)
        self.observers.record(session, record)

    def _observer_failed(self, observer: Observer, error: Exception) -> None:
        self.log.failure("observer_failed", error, observer=type(observer).__qualname__)

    async def health(self, _: Request) -> Response:
        """Serve ``/healthz``: the process lives, and what it has lost so far."""
        return JSONResponse({
            "status": "ok", "version": __version__, "sessions": self.sessions.running,
            "records_dropped": self.log.dropped, "observers_raised": self.observers.raised,
        })  # fmt: skip

    async def readiness(self, _: Request) -> Response:
        """Serve ``/readyz``: whether one more session would be served, or else 503 and why."""
        reason = sentence = ""
        if self.draining:
            reason, sentence = "draining", "This server is about to stop."
        elif trouble := self.backends.trouble:
            reason, sentence = "backends", trouble
        elif self.sessions.full:
            reason, sentence = "full", f"All {self.settings.max_sessions} places are taken."
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason, "sentence": sentence}, 503)
        return JSONResponse({"status": "ready"})


def create_app(settings: Settings, hooks: Hooks | None = None, *, log: RecordLog | None = None) -> Starlette:
    """Return the application; its `state.agent` is the `Agent`.

    `hooks` are the user's own code (default: none but the tool that tells the time); `log` takes the records in place
    of the one that the settings describe.
    """
    agent = Agent(settings, hooks or Hooks(), log or RecordLog(settings))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with agent:
            yield

    async def page(_: Request) -> Response:
        return FileResponse(WEB_DIR / "index.html", headers=HEADERS)

    async def icon(_: Request) -> Response:
        return FileResponse(WEB_DIR / "favicon.svg", headers=HEADERS)

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/favicon.ico", icon),
            Route("/healthz", agent.health),
            Route("/readyz", agent.readiness),
            WebSocketRoute("/ws", agent.websocket),
            Mount("/web", _Statics(directory=WEB_DIR)),
        ],
        lifespan=lifespan,
    )
    app.state.agent = agent
    return app


class _Statics(StaticFiles):
    """The page's files, with the page's headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


def _access_token(settings: Settings) -> str | None:
    """The token that clients must present; made up where an open address would spend somebody's money without one."""
    if settings.access_token is not None:
        return settings.access_token.get_secret_value()
    if settings.host not in LOOPBACK and not settings.is_local:
        return secrets.token_urlsafe(12)
    return None


# ------------------------------------------------------------------------------------------ the process
def run(settings: Settings, hooks: Hooks | None = None) -> int:
    """Serve until a signal comes; return the process's exit code. What prevents it is said in one sentence."""
    if settings.tls_cert is not None and not settings.tls_cert.is_file():
        return _sorry(f"the certificate {settings.tls_cert} is not a file")
    try:
        listener = _listen(settings)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        return _sorry(f"cannot listen on {where}: {error.strerror}. Set another port with PORT=… or end what uses it.")
    if settings.log_file is not None:
        try:
            settings.log_file.open("ab").close()
        except OSError as error:
            return _sorry(f"cannot write the log to {settings.log_file}: {error.strerror}")
    app = create_app(settings, hooks)
    agent: Agent = app.state.agent
    try:
        agent.exports.open()
        banner = _banner(settings, listener, agent)
        server = _Server(uvicorn_config(app, settings), banner, agent.drain)
        server.run(sockets=[listener])
    except ExportError as error:
        return _sorry(str(error))
    except KeyboardInterrupt:
        return 0
    finally:
        agent.exports.close()
        listener.close()
    return 0 if server.started else 1


def uvicorn_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """Return how the application is to be served: small messages, no compression, our own pings, a bounded end."""
    return uvicorn.Config(
        app, loop="auto", http="auto", ws="websockets-sansio", lifespan="on", log_config=None, access_log=False,
        ws_max_size=protocol.MAX_MESSAGE_BYTES, ws_per_message_deflate=False, ws_ping_interval=None,
        ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key, timeout_graceful_shutdown=3,
        server_header=False, date_header=False,
    )  # fmt: skip


class _Server(uvicorn.Server):
    """Prints the banner once the port is open, and lets nobody in any more before it closes it."""

    def __init__(self, config: uvicorn.Config, banner: str, drain: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._banner = banner
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stderr.write(self._banner)
            sys.stderr.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain()
        await super().shutdown(sockets)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off; else small messages wait 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except BaseException:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def _sorry(sentence: str) -> int:
    sys.stderr.write(f"voiceagent: {sentence}\n")
    return 1


def _banner(settings: Settings, listener: socket.socket, agent: Agent) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_cert is not None else "http"
    shown = f"[{host}]" if ":" in host else host
    lines = [f"voiceagent {__version__}: {scheme}://{shown}:{port}"]
    if settings.is_local:
        from voiceagent.twin import HINTS

        lines.append(
            "The local twin answers: no key, no network, a list of phrases. Set OPENAI_API_KEY for the real one."
        )
        lines.append("Say: " + " · ".join(f'"{hint}"' for hint in HINTS[:4]))
    else:
        lines.append(f"Answers: {', '.join(chosen(settings).values())}.")
        lines += [f"Note: {warning}" for warning in model_warnings(settings)]
    lines += agent.exports.notes
    if agent.token is not None:
        lines.append(f"Access token: {agent.token}")
    return "\n".join(lines) + "\n"
