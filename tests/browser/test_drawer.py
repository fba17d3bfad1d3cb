"""The drawer of settings: the dial, the outputs, and the echo's self-test, against a server that does as the test says."""

import pytest

from tests.browser.fake import FakeServer
from tests.browser.test_page import CONTEXTS, begin
from voiceagent import protocol

pytestmark = pytest.mark.browser

OUTPUTS = """
(() => {
  // Two loudspeakers, one of which can be taken away; `sinks` is what was asked for, and by whom.
  window.sinks = [];
  window.outputs = ["desk", "headset"];
  if (!navigator.mediaDevices) return;
  const enumerate = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
  navigator.mediaDevices.enumerateDevices = async () => [
    ...(await enumerate()).filter((device) => device.kind !== "audiooutput"),
    ...["default", ...window.outputs].map((id) => ({ kind: "audiooutput", deviceId: id, label: `The ${id}` })),
  ];
  for (const [name, owner] of [["context", AudioContext], ["element", HTMLMediaElement]]) {
    Object.defineProperty(owner.prototype, "sinkId", { get() { return this.chosenSink ?? ""; } });
    owner.prototype.setSinkId = async function (id) {
      if (id && !window.outputs.includes(id)) throw new DOMException("", "NotFoundError");
      window.sinks.push([name, id]);
      this.chosenSink = id;
    };
  }
})();
"""
"""Replaces the loudspeakers."""

NO_CHOICE = """
(() => {
  delete AudioContext.prototype.setSinkId;
  delete HTMLMediaElement.prototype.setSinkId;
  delete AudioContext.prototype.createMediaStreamDestination;
})();
"""
"""A browser that leaves the page no choice; the test's microphone has to do without one, too."""

ROOM = """
(() => {
  // The microphone hears what the page plays, GAIN times as loud, and nothing else.
  if (!navigator.mediaDevices) return;
  let room;
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode && !(this instanceof AnalyserNode)) {
      room ??= this.context.createMediaStreamDestination();
      const air = new GainNode(this.context, { gain: GAIN });
      connect.call(this, air);
      connect.call(air, room);
    }
    return connect.call(this, target, ...rest);
  };
  navigator.mediaDevices.getUserMedia = async () => room.stream;
})();
"""


@pytest.fixture
def fake():
    """A fake server."""
    with FakeServer() as server:
        yield server


def opened(open_page, url, *scripts, **options):
    """The page with its drawer open."""
    page = open_page(url, scripts=scripts, **options)
    page.page.click("#settings summary")
    return page


def options(page, select):
    """What there is to choose from: (text, value, disabled)."""
    script = "(s) => Array.from(s.options, (o) => [o.textContent, o.value, o.disabled])"
    return [tuple(option) for option in page.page.locator(select).evaluate(script)]


# ------------------------------------------------------------------------------------------------ the drawer
@pytest.mark.parametrize("width", [1280, 360])
def test_it_is_not_in_the_way(fake, open_page, width):
    """It is closed at first; open, it covers neither what is said nor what is pressed to talk, by keyboard as well."""
    page = open_page(fake.url, viewport={"width": width, "height": 720})
    begin(page, fake)
    assert not page.page.is_visible("#patience")
    page.page.focus("#settings summary")
    page.page.keyboard.press("Space")
    page.until("document.getElementById('settings').open")
    boxes = [page.page.locator(s).bounding_box() for s in ("#settings", ".talk", "#ptt", "#text")]
    drawer, talk, ptt, text = boxes
    assert drawer["y"] >= talk["y"] + talk["height"] or drawer["x"] >= talk["x"] + talk["width"]
    for box in (ptt, text):
        assert box["y"] + box["height"] <= 720
    for selector in ("#ptt", "#text"):
        page.page.click(selector, trial=True)
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.leave()


# ------------------------------------------------------------------------------------------------ the dial
def test_the_dial_follows_the_server(fake, open_page):
    """It stands where the server's stands as long as nobody has turned it, and nothing is asked for."""
    fake.welcome = {"patience": 0.8}
    page = opened(open_page, fake.url)
    peer = begin(page, fake)
    page.until("document.getElementById('patience').value === '0.8'")
    assert page.page.get_attribute("#patience", "aria-valuetext") == "rather patient"
    assert peer.hello.patience is None
    assert peer.said("tune") == []
    page.leave()


def test_the_dial_is_turned(fake, open_page):
    """Keys turn it; the server is told, and told again in the hello after a reload, where the person's choice is shown."""
    fake.welcome = {"patience": 0.5}
    page = opened(open_page, fake.url)
    peer = begin(page, fake)
    page.page.focus("#patience")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("End")
    page.wait(lambda: [message.patience for message in peer.said("tune")] == [0.55, 1])
    assert page.page.get_attribute("#patience", "aria-valuetext") == "patient"
    page.page.reload()
    assert page.page.input_value("#patience") == "1"
    peer = begin(page, fake)
    assert peer.hello.patience == 1
    assert page.page.input_value("#patience") == "1"
    page.leave()


def test_the_dial_before_the_start(fake, open_page):
    """What was turned before is in the hello, also where it is turned to nought."""
    page = opened(open_page, fake.url)
    page.page.focus("#patience")
    page.page.keyboard.press("Home")
    assert begin(page, fake).hello.patience == 0
    page.leave()


# ------------------------------------------------------------------------------------------------ the output
def test_an_output_is_chosen(fake, open_page):
    """The devices are listed by name; the chosen one is used at once, and again after a reload."""
    page = opened(open_page, fake.url, OUTPUTS)
    begin(page, fake)
    page.until("document.getElementById('outputs').options.length === 3")
    assert [text for text, *_ in options(page, "#outputs")] == ["The browser's own choice", "The desk", "The headset"]
    page.page.select_option("#outputs", "headset")
    page.until("window.sinks.length === 1")
    page.page.reload()
    begin(page, fake)
    page.until("window.sinks.length === 1")
    assert page.page.evaluate("window.sinks") == [["context", "headset"]]
    assert page.page.input_value("#outputs") == "headset"
    page.leave()


def test_the_way_is_chosen(fake, open_page):
    """Through the page's audio element the sound leaves the direct way, to the same device, in mid-reply as well."""
    page = opened(open_page, fake.url, OUTPUTS)
    begin(page, fake)
    page.page.select_option("#outputs", "desk")
    page.page.select_option("#route", "element")
    page.until("window.sinks.length === 2")
    assert page.page.evaluate("window.sinks") == [["context", "desk"], ["element", "desk"]]
    peer = fake.peers[-1]
    peer.reply(1, 1, b"\x00\x10" * 48_000)
    page.wait(lambda: len(peer.said("played")) >= 2)
    assert page.page.evaluate("window.loudness()") == 0  # of the direct way
    assert page.page.evaluate("!document.getElementById('speaker').paused")
    page.page.select_option("#route", "direct")
    page.until("window.loudness() > 0.1")
    assert page.page.evaluate("document.getElementById('speaker').srcObject === null")
    page.page.select_option("#route", "element")
    page.until("document.getElementById('speaker').srcObject !== null")
    page.page.reload()
    assert page.page.input_value("#route") == "element"
    begin(page, fake)
    page.until("document.getElementById('speaker').srcObject?.active && !document.getElementById('speaker').paused")
    page.leave()


def test_a_device_that_is_gone(fake, open_page):
    """The browser's own is used instead, and the page says so."""
    page = opened(open_page, fake.url, OUTPUTS)
    begin(page, fake)
    page.until("document.getElementById('outputs').options.length === 3")
    page.page.evaluate("window.outputs = ['desk']")
    page.page.select_option("#outputs", "headset")
    page.until("document.getElementById('output-note').textContent.includes('not there any more')")
    assert page.page.input_value("#outputs") == ""
    assert [value for _, value, _ in options(page, "#outputs")] == ["", "desk"]
    page.leave()


def test_no_choice(fake, open_page):
    """Where the browser lets the page choose nothing, the choices are disabled with a word of why, and sound comes."""
    page = opened(open_page, fake.url, NO_CHOICE, microphone=False)
    assert page.page.is_disabled("#outputs")
    assert [disabled for *_, disabled in options(page, "#route")] == [False, True]
    note = page.page.inner_text("#output-note")
    assert "chooses the device itself" in note
    assert "only the direct way" in note
    page.page.fill("#text", "hello")
    page.page.press("#text", "Enter")
    page.wait(lambda: fake.peers and fake.peers[0].said("text"))
    fake.peers[0].reply(1, 1, b"\x00\x10" * 24_000)
    page.until("window.loudness() > 0.1")
    page.leave()


# ------------------------------------------------------------------------------------------------ the self-test
def measured(page, peer):
    """Press the button and wait for the result: (what the page says, what it told the server)."""
    page.page.click("#echo-test")
    page.until("/agent|broken/.test(document.getElementById('echo-result').textContent)")
    page.wait(lambda: peer.said("mute")[-1:] and not peer.said("mute")[-1].muted)
    return page.page.inner_text("#echo-result"), [message.gain_db for message in peer.said("echo_test")]


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.1, "It hears the agent at −20 dB: fine."), (0.4, "It hears the agent at −8 dB: use headphones")],
)
def test_the_microphone_hears_the_agent(fake, open_page, gain, words):
    """What comes back is measured against what is played, said in words, and told to the server, which hears none of it."""
    page = opened(open_page, fake.url, ROOM.replace("GAIN", str(gain)))
    peer = begin(page, fake)
    page.wait(lambda: peer.frames)
    said, told = measured(page, peer)
    assert said.startswith(words)
    assert len(told) == 1
    assert abs(told[0] - {0.1: -20, 0.4: -8}[gain]) < 0.3
    assert [message.muted for message in peer.said("mute")] == [True, False]
    assert all(not any(frame.pcm) for frame in peer.frames)  # the test's sound did not go to the server
    count = len(peer.frames)
    page.wait(lambda: len(peer.frames) > count)
    assert [frame.seq for frame in peer.frames] == list(range(len(peer.frames)))
    page.leave()


def test_the_microphone_does_not_hear_the_agent(fake, open_page):
    """With headphones nothing comes back: one may speak over the agent whenever one likes."""
    page = opened(open_page, fake.url)
    said, told = measured(page, begin(page, fake))
    assert said == "Your microphone does not hear the agent: speak over it whenever you like."
    assert told == [-96]
    page.leave()


def test_when_the_echo_can_be_tested(fake, open_page):
    """Only with a microphone that hears, and while nobody speaks; else the button is disabled, with a word of why."""
    page = opened(open_page, fake.url)

    def obstacle():
        assert page.page.is_disabled("#echo-test")
        return page.page.inner_text("#echo-note")

    assert "press Start" in obstacle()
    peer = begin(page, fake)
    page.until("!document.getElementById('echo-test').disabled")
    page.page.click("#mute")
    assert "unmute" in obstacle()
    page.page.click("#mute")
    peer.send(protocol.State(state="speaking", leaf="speaking", trigger="t", turn=1, epoch=1, at_ms=1))
    page.until("document.getElementById('echo-test').disabled")
    assert "nobody speaks" in obstacle()
    peer.send(protocol.State(state="listening", leaf="listening", trigger="t", turn=1, epoch=1, at_ms=1))
    page.until("!document.getElementById('echo-test').disabled")
    page.leave()


def test_the_test_is_broken_off(fake, open_page):
    """When the agent begins to speak, the test is over without a result, and the microphone is the server's again."""
    page = opened(open_page, fake.url, CONTEXTS)
    peer = begin(page, fake)
    page.page.click("#echo-test")
    page.wait(lambda: peer.said("mute"))
    peer.send(protocol.State(state="thinking", leaf="thinking", trigger="agent_turn", turn=1, epoch=1, at_ms=1))
    page.until("document.getElementById('echo-result').textContent.includes('broken off')")
    count = len(peer.frames)
    page.wait(lambda: len(peer.frames) > count)
    assert peer.said("echo_test") == []
    page.leave()
