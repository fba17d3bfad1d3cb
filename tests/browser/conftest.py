"""A real Chromium with a microphone that a test speaks into, a server with real engines, and a watch on the console."""

import asyncio
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.world import settings_for_tests
from voiceagent.server import _Server, create_app, uvicorn_config

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-default-apps", "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip

MICROPHONE = """
(() => {
  if (!navigator.mediaDevices) return;
  window.testMicrophone = { context: null, node: null };
  navigator.mediaDevices.getUserMedia = async () => {
    const context = new AudioContext({ sampleRate: RATE });
    const node = context.createMediaStreamDestination();
    // A silent source keeps the track alive between two utterances.
    const silence = context.createConstantSource(); silence.offset.value = 0; silence.connect(node); silence.start();
    await context.resume();
    window.testMicrophone = { context, node };
    return node.stream;
  };
  window.say = async (base64) => {
    const { context, node } = window.testMicrophone;
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const pcm = new Int16Array(bytes.buffer);
    const buffer = context.createBuffer(1, pcm.length, 24000);
    buffer.copyToChannel(Float32Array.from(pcm, (v) => v / 32768), 0);
    const source = context.createBufferSource();
    source.buffer = buffer; source.connect(node); source.start();
  };
})();
"""
"""Replaces the microphone by one that `say` speaks into."""

TAP = """
(() => {
  // What leaves the page's speaker passes through an analyser: `loudness()` is the RMS of the last 21 ms.
  const connect = AudioNode.prototype.connect;
  const taps = [];
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      const analyser = new AnalyserNode(this.context, { fftSize: 512 });
      connect.call(this, analyser);
      connect.call(analyser, target);
      taps.push(analyser);
      return target;
    }
    return connect.call(this, target, ...rest);
  };
  window.loudness = () => {
    let loudest = 0;
    for (const tap of taps) {
      const data = new Float32Array(512);
      tap.getFloatTimeDomainData(data);
      loudest = Math.max(loudest, Math.sqrt(data.reduce((sum, v) => sum + v * v, 0) / 512));
    }
    return loudest;
  };
})();
"""


SOCKETS = """
(() => {
  // `breakNetwork()` breaks every connection of the page, as a network would.
  const sockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...args) { super(...args); sockets.push(this); }
  };
  window.breakNetwork = () => { for (const socket of sockets) socket.close(); };
})();
"""


def find_chromium() -> str | None:
    """The browser that is there, if one is."""
    for name in (os.environ.get("VOICEAGENT_CHROMIUM", ""), *NAMES):
        path = shutil.which(name) if name else None
        if path:
            return path
    return None


@pytest.fixture(scope="package")
def browser() -> Iterator[object]:
    """One Chromium for the whole run."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test installs it")
    with playwright.sync_playwright() as p:
        path = find_chromium() or p.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("there is no Chromium or Chrome: install one, or let Playwright do it")
        chromium = p.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


class Page:
    """A page with its console watched; leaving it fails the test if there was an error or a violation of the policy."""

    def __init__(self, context, url):
        self.errors = []
        self.page = context.new_page()
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.url = url

    def until(self, script, limit_ms=30_000):
        """Wait until a JavaScript condition holds (the page's policy forbids Playwright's own way of it)."""
        deadline = time.monotonic() + limit_ms / 1000
        while not self.page.evaluate(script):
            assert time.monotonic() < deadline, f"never came: {script}; {self.page.inner_text('body')}"
            self.page.wait_for_timeout(20)

    def wait(self, condition, limit_ms=30_000):
        """Wait until something holds on this side, and return it; the page goes on meanwhile."""
        deadline = time.monotonic() + limit_ms / 1000
        while not (found := condition()):
            assert time.monotonic() < deadline, f"never came; {self.page.inner_text('body')}"
            self.page.wait_for_timeout(20)
        return found

    def leave(self):
        """Go away before the server does."""
        self.page.goto("about:blank")

    @property
    def turns(self):
        """The turns that are over."""
        return self.page.evaluate("window.voiceagent.turns")


@pytest.fixture
def open_page(browser):
    """Open a page in a new context: ``open_page(url, rate=48000, microphone=True, scripts=(), **context_options)``."""
    opened = []

    def open_(url, *, rate=48_000, microphone=True, scripts=(), **options):
        context = browser.new_context(**options)
        if microphone:
            context.add_init_script(MICROPHONE.replace("RATE", str(rate)))
        context.add_init_script(TAP)
        context.add_init_script(SOCKETS)
        for script in scripts:
            context.add_init_script(script)
        page = Page(context, url)
        page.page.goto(url)
        opened.append((context, page))
        return page

    yield open_
    for context, page in opened:
        context.close()
        assert page.errors == []


class ServerThread:
    """A server in a thread of its own, for tests whose browser is driven synchronously; `within` is what it is part of."""

    def __init__(self, within=lambda app: app, **settings):
        self.settings = settings_for_tests(port=0, **settings)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.records = []
        log = SimpleNamespace(
            record=lambda _, record: self.records.append(record), event=lambda *_, **__: None,
            start=lambda: None, close=lambda: None, dropped={},
            warning=lambda *_, **__: None, failure=lambda name, error, **_: self.failures.append((name, error)),
        )  # fmt: skip
        self.failures = []
        self.server = _Server(uvicorn_config(within(create_app(self.settings, log=log)), self.settings), "")
        self.thread = threading.Thread(target=self._run, name="server under test")

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


@pytest.fixture(scope="package")
def server():
    """One server with the real local engines, for all tests that only talk to it."""
    with ServerThread() as running:
        yield running


@pytest.fixture(scope="package")
def voice():
    """Text to spoken PCM, as base64, by the local synthesiser."""
    import base64

    from voiceagent.twin import LocalEngines

    async def speak(texts):
        engines = LocalEngines()
        await engines.start()
        try:
            return {text: b"".join([c async for c in engines.speak(text, "en-us", 1.0)]) for text in texts}
        finally:
            await engines.aclose()

    texts = ["what time is it", "tell me a long story", "tell me a joke"]
    with ThreadPoolExecutor(1) as pool:  # this thread has a loop already: Playwright's
        spoken = pool.submit(lambda: asyncio.run(speak(texts))).result()
    return lambda text: base64.b64encode(spoken[text]).decode()
