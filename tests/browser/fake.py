"""A server that does as a test says: it serves the real page, speaks the real protocol, and has no conversation behind it."""

import asyncio
import socket
import threading

from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from tests.world import settings_for_tests
from voiceagent import protocol
from voiceagent.server import HEADERS, WEB_DIR, _Server, _Statics, uvicorn_config

FRAME_SAMPLES = 960

TAP = """
registerProcessor("tap", class extends AudioWorkletProcessor {
  process(inputs, outputs) {
    const heard = inputs[0][0];
    if (heard) outputs[0][0].set(heard);
    this.port.postMessage(heard ? heard.slice() : new Float32Array(128));
    return true;
  }
});
"""
"""A worklet that lets sound through and tells every sample of it."""

RECORDING = """
(() => {
  if (!window.AudioWorklet) return; // about:blank has none
  // Everything that the page plays goes through the tap: `recording()` is every sample of it, as 16-bit numbers.
  const blocks = [];
  const addModule = AudioWorklet.prototype.addModule;
  AudioWorklet.prototype.addModule = async function (url) {
    await addModule.call(this, "/tap.js");
    return addModule.call(this, url);
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (!(target instanceof AudioDestinationNode)) {
      return connect.call(this, target, ...rest);
    }
    const tap = new AudioWorkletNode(this.context, "tap", { outputChannelCount: [1] });
    tap.port.onmessage = ({ data }) => blocks.push(data);
    connect.call(this, tap);
    return connect.call(tap, target);
  };
  window.recording = () => blocks.flatMap((block) => Array.from(block, (v) => Math.round(v * 32768)));
})();
"""
"""Puts the tap between the page and the speaker."""


class Peer:
    """One page's connection, as the server sees it. Its methods may be called from any thread."""

    def __init__(self, websocket):
        self.websocket = websocket
        self.loop = asyncio.get_running_loop()
        self.messages = []
        self.frames = []
        self.gone = False

    @property
    def hello(self):
        """The first message."""
        return self.messages[0]

    def said(self, kind):
        """What the page has said of one type."""
        return [message for message in self.messages if message.type == kind]

    def send(self, *messages):
        """Send protocol messages and frames, in order."""
        asyncio.run_coroutine_threadsafe(self._send(messages), self.loop).result(timeout=10)

    async def _send(self, messages):
        for message in messages:
            if isinstance(message, protocol.ReplyFrame):
                await self.websocket.send_bytes(message.pack())
            else:
                await self.websocket.send_text(message.model_dump_json())

    def reply(self, turn, epoch, pcm, *, first=0, filler=False):
        """Send PCM as reply frames of 40 ms, from sample `first` of its epoch on."""
        size = FRAME_SAMPLES * 2
        parts = [pcm[at : at + size] for at in range(0, len(pcm), size)]
        starts = range(first, first + len(pcm) // 2, FRAME_SAMPLES)
        self.send(*(protocol.ReplyFrame(turn, epoch, at, part, filler) for at, part in zip(starts, parts, strict=True)))

    def close(self, code=1001):
        """Close the connection."""
        asyncio.run_coroutine_threadsafe(self.websocket.close(code), self.loop).result(timeout=10)

    async def serve(self, refusal, welcome, ready):
        """Take in what the page sends until it goes; `welcome` is what the welcome says besides the usual.

        The page is welcomed once the event `ready` is set.
        """
        await self.websocket.accept()
        self.messages.append(protocol.parse_client(await self.websocket.receive_text()))
        await asyncio.to_thread(ready.wait, 10)
        if refusal is not None:
            code, error = refusal
            await self._send([error])
            await self.websocket.close(code)
            return
        await self._send(
            [
                protocol.Welcome(
                    version=1, session="fake", resume_token=f"resume-{id(self)}", resumed=self.hello.resume is not None,
                    backend="openai", models={"stt": "ear", "llm": "mind", "tts": "mouth"},
                ).model_copy(update=welcome),
                protocol.Ping(id=1),
            ]
        )  # fmt: skip
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                self.messages.append(protocol.parse_client(message["text"]))
            else:
                self.frames.append(protocol.MicFrame.unpack(message["bytes"]))


class FakeServer:
    """The page and a scripted ``/ws`` in a thread. A `refusal` is (close code, error), sent in place of the welcome."""

    def __init__(self, refusal=None):
        self.refusal = refusal
        self.welcome = {}
        self.ready = threading.Event()
        self.ready.set()
        self.peers = []
        self.failures = []
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        routes = [
            Route("/", lambda _: FileResponse(WEB_DIR / "index.html", headers=HEADERS)),
            Route("/tap.js", lambda _: Response(TAP, headers=HEADERS, media_type="text/javascript")),
            WebSocketRoute("/ws", self._websocket),
            Mount("/web", _Statics(directory=WEB_DIR)),
        ]
        settings = settings_for_tests(port=0)
        self.server = _Server(uvicorn_config(Starlette(routes=routes), settings), "")
        self.thread = threading.Thread(target=self._run, name="fake server")

    async def _websocket(self, websocket):
        peer = Peer(websocket)
        self.peers.append(peer)
        try:
            await peer.serve(self.refusal, self.welcome, self.ready)
        except WebSocketDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - the test that runs fails for it at its end
            self.failures.append(error)
        finally:
            peer.gone = True

    def _run(self):
        asyncio.run(self.server._serve([self.listener]))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()
        assert self.failures == []
