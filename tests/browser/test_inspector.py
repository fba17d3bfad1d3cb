"""What the page shows of its own working: the running turn, the state machine as a drawing, and the export."""

import json
from pathlib import Path

import pytest

from tests.browser.fake import FakeServer
from tests.browser.test_page import begin, turn_done
from voiceagent import protocol
from voiceagent.reference import page_table
from voiceagent.states import TABLE, Leaf

pytestmark = pytest.mark.browser

LAYOUT = """() => {
  // What is wrong with the drawing: ways that begin or end in the open, or pass through a box that is not theirs.
  const boxes = Object.fromEntries(Array.from(document.querySelectorAll(".leaf"), (leaf) => [
    leaf.dataset.leaf, ["x", "y", "width", "height"].map((name) => Number(leaf.querySelector("rect").getAttribute(name))),
  ]));
  const off = ([x, y, w, h], p) => Math.hypot(Math.max(x - p.x, 0, p.x - x - w), Math.max(y - p.y, 0, p.y - y - h));
  const wrong = [];
  for (const way of document.querySelectorAll(".move")) {
    const [from, to] = way.dataset.move.split(">");
    const points = Array.from({ length: 101 }, (_, i) => way.getPointAtLength(way.getTotalLength() * i / 100));
    if (from && off(boxes[from], points[0]) > 1) wrong.push(`${way.dataset.move} begins in the open`);
    if (off(boxes[to], points[100]) > 1) wrong.push(`${way.dataset.move} ends in the open`);
    for (const [leaf, box] of Object.entries(boxes)) {
      if (leaf !== from && leaf !== to && points.some((p) => off(box, p) < 4)) wrong.push(`${way.dataset.move} at ${leaf}`);
    }
  }
  for (const word of document.querySelectorAll(".leaf text")) {
    const [x, , width] = boxes[word.parentNode.dataset.leaf];
    const { x: left, width: wide } = word.getBBox();
    if (left < x || left + wide > x + width) wrong.push(`${word.textContent} is too long`);
  }
  return wrong;
}"""

DRAWN = """
(() => {
  window.frames_drawn = 0;
  const request = requestAnimationFrame;
  window.requestAnimationFrame = (draw) => request((at) => { window.frames_drawn++; draw(at); });
})();
"""
"""Counts what the page draws by itself."""


@pytest.fixture
def fake():
    """A fake server."""
    with FakeServer() as server:
        yield server


def opened(page):
    """Open the drawer."""
    page.page.click("#inspector summary")


def state(leaf, trigger, turn=1, epoch=1, at_ms=0.0, **marks):
    """The machine moved."""
    return protocol.State(
        state=Leaf(leaf).state, leaf=leaf, trigger=trigger, turn=turn, epoch=epoch, at_ms=at_ms, marks=marks
    )


QUESTION = (
    state("transcribing_open", "voice_on", at_ms=1000),
    state("transcribing_ended", "endpoint", at_ms=2500, speech_end=2000, speech_end_arrived=2020, endpoint=2500),
)
THINKING = {"speech_end": 2000, "speech_end_arrived": 2020, "endpoint": 2500, "stt_final": 2600, "llm_request": 2600}


def widths(page, row=0):
    """The segments of a row and their widths, as shares of the scale."""
    script = "(b) => Array.from(b.children, (p) => [p.dataset.segment, Number(p.style.width.slice(0, -1))])"
    return dict(page.page.locator(".waterfall .bar").nth(row).evaluate(script))


def lit(page, kind):
    """What is lit in the drawing: leaves, or moves."""
    script = "(all) => all.map((one) => one.dataset.leaf ?? one.dataset.move)"
    return page.page.locator(kind).evaluate_all(script)


# ----------------------------------------------------------------------------------------------- the drawing
def test_the_drawing_is_the_table(fake, open_page):
    """Every leaf has a box and every move a way of its own; none passes through a box that is not its own."""
    page = open_page(fake.url)
    opened(page)
    moves = {(leaf, target) for leaf, _, target in TABLE if target is not None}
    ways = {f"{leaf}>{target}" if target is not Leaf.CLOSED else ">closed" for leaf, target in moves}
    assert set(lit(page, ".leaf")) == set(Leaf)
    assert sorted(lit(page, ".move")) == sorted(ways)
    assert page.page.evaluate(LAYOUT) == []
    assert (
        page.page.locator(".move title").first.text_content()
        == "listening → transcribing, you speak: voice_on, ptt_down"
    )
    table = Path(__file__).parents[2] / "web" / "table.js"
    assert table.read_text(encoding="utf-8") == page_table()
    page.leave()


def test_the_state_lights_up(fake, open_page):
    """The live leaf, the way that led there and the ways of the same turn before it; words for who does not see it."""
    page = open_page(fake.url)
    opened(page)
    label = "document.getElementById('diagram').getAttribute('aria-label')"
    assert page.page.evaluate(label) == "The state machine: no session"
    assert lit(page, ".leaf.live") == []
    peer = begin(page, fake)
    assert lit(page, ".leaf.live") == ["listening"]
    peer.send(*QUESTION, state("thinking", "text_ready", at_ms=2600, **THINKING))
    page.until("document.querySelector('.leaf.live')?.dataset.leaf === 'thinking'")
    assert lit(page, ".move.last") == ["transcribing_ended>thinking"]
    assert lit(page, ".move.past") == [
        "listening>transcribing_open", "transcribing_open>transcribing_ended", "transcribing_ended>thinking",
    ]  # fmt: skip
    assert lit(page, ".leaf.past") == ["listening", "transcribing_open", "transcribing_ended"]
    assert page.page.evaluate(label) == "The state machine: now thinking, from transcribing, last words by text_ready"
    assert page.page.locator("#moves li").all_inner_texts() == [
        "transcribing, last words → thinking\nby text_ready after 100 ms",
        "transcribing, you speak → transcribing, last words\nby endpoint after 1.5 s",
        "listening → transcribing, you speak\nby voice_on after 1.0 s",
    ]
    peer.send(state("listening", "gave_up", at_ms=9000), state("thinking", "text_submitted", turn=2, at_ms=9500))
    page.until("document.querySelector('.move.last')?.dataset.move === 'listening>thinking'")
    assert lit(page, ".move.past") == ["listening>thinking"]  # another turn, another path
    page.page.click("#hang-up")
    page.until("document.querySelectorAll('.leaf.live').length === 0")
    page.leave()


# ------------------------------------------------------------------------------------------- the running turn
def test_the_running_turn(fake, open_page):
    """Its segments are those of the marks, the last one grows; once heard it stands; then the record takes its place."""
    page = open_page(fake.url, scripts=[DRAWN])
    peer = begin(page, fake)
    peer.send(*QUESTION)
    page.until("document.querySelector('.waterfall.live .growing')?.dataset.segment === 'stt_tail'")
    peer.send(state("thinking", "text_ready", at_ms=2600, **THINKING))
    page.until("document.querySelector('.waterfall.live .growing')?.dataset.segment === 'llm_ttft'")
    assert page.page.locator(".waterfall.live > span").first.inner_text() == "now"
    seen = widths(page)
    assert list(seen) == ["uplink", "endpoint_wait", "stt_tail", "llm_ttft"]
    assert round(seen["endpoint_wait"] / seen["uplink"], 3) == 24
    assert round(seen["stt_tail"] / seen["uplink"], 3) == 5
    drawn = page.page.evaluate("frames_drawn")
    page.until(f"frames_drawn > {drawn} + 5")
    assert widths(page)["uplink"] < seen["uplink"]  # the scale is the longest turn, and this one has grown
    made = {"llm_first_token": 2800, "tts_request": 2850, "tts_first_byte": 3000, "gate_open": 3000}
    peer.send(state("speaking", "first_frame", at_ms=3000, **THINKING, **made))
    page.until("document.querySelector('.waterfall.live .growing')?.dataset.segment === 'playback'")
    seen = widths(page)
    steps = {"endpoint_wait": 24, "stt_tail": 5, "llm_ttft": 10, "clause_wait": 2.5, "tts_ttfb": 7.5}
    assert {name: round(seen[name] / seen["uplink"], 3) for name in steps} == steps
    peer.reply(1, 1, b"\x00\x10" * 4_800)
    page.until("document.querySelector('.waterfall.live') && !document.querySelector('.waterfall.live .growing')")
    assert page.page.locator(".waterfall.live .bar").get_attribute("aria-label").startswith("The turn that runs: ")
    total = page.page.inner_text(".waterfall.live .ms")
    standing = "new Promise((told) => { const was = frames_drawn; setTimeout(() => told(frames_drawn === was), 200); })"
    page.until(standing)  # a row that grows is drawn each frame
    assert page.page.inner_text(".waterfall.live .ms") == total
    peer.send(turn_done(1, endpoint_wait=500, llm_ttft=290))
    page.until("!document.querySelector('.waterfall.live') && document.querySelectorAll('.waterfall').length === 1")
    page.leave()


def test_a_turn_that_comes_to_nothing_leaves_no_row(fake, open_page):
    """Nor does one whose connection is lost."""
    page = open_page(fake.url)
    peer = begin(page, fake)
    peer.send(*QUESTION)
    page.until("document.querySelectorAll('.waterfall.live').length === 1")
    peer.send(state("listening", "text_empty", at_ms=2700))
    page.until("document.querySelectorAll('.waterfall.live').length === 0")
    peer.send(*QUESTION)
    page.until("document.querySelectorAll('.waterfall.live').length === 1")
    page.page.evaluate("window.breakNetwork()")
    page.until("document.querySelectorAll('.waterfall.live').length === 0")
    page.leave()


def test_a_silence_shows_before_the_server_says_so(fake, open_page, voice):
    """What grows after the last sound is the wait for the end; a voice that goes on ends it."""
    page = open_page(fake.url)
    peer = begin(page, fake)
    peer.send(state("transcribing_open", "voice_on", at_ms=1000))
    page.until("document.querySelectorAll('.waterfall.live').length === 1")
    assert page.page.inner_text(".waterfall.live .ms") == "0 ms"
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.until("document.querySelector('.waterfall.live .growing')?.dataset.segment === 'endpoint_wait'")
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.until("document.querySelector('.waterfall.live .ms')?.textContent === '0 ms'")
    page.leave()


def test_the_interrupted_turn_gives_way(fake, open_page, voice):
    """The record of the turn before takes its own row away, not that of the one that runs, whose voice began before."""
    page = open_page(fake.url)
    peer = begin(page, fake)
    peer.send(*QUESTION, state("thinking", "text_ready", at_ms=2600, **THINKING))
    peer.send(state("barge_in_thinking", "voice_on", at_ms=2800, speech_start=2700))
    page.until("document.querySelector('.leaf.live')?.dataset.leaf === 'barge_in_thinking'")
    assert list(widths(page)) == ["uplink", "endpoint_wait", "stt_tail", "llm_ttft"]
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.until("document.getElementById('level').value > 0.3")
    page.until("document.getElementById('level').value < 0.05")
    peer.send(
        state("transcribing_open", "confirmed", at_ms=3300, speech_start=2700),
        turn_done(1, endpoint_wait=500).model_copy(update={"outcome": "interrupted", "gap_ms": None}),
    )
    page.until("window.voiceagent.turns.length === 1")
    assert page.page.locator(".waterfall.live").count() == 1
    page.until("document.querySelector('.waterfall.live .growing')?.dataset.segment === 'endpoint_wait'")
    assert list(widths(page)) == ["endpoint_wait"]
    page.leave()


def test_little_motion(fake, open_page):
    """Who wants little motion sees the steps and nothing between them."""
    page = open_page(fake.url, reduced_motion="reduce", scripts=[DRAWN])
    peer = begin(page, fake)
    peer.send(*QUESTION)
    page.until("document.querySelectorAll('.waterfall.live').length === 1")
    total = page.page.inner_text(".waterfall.live .ms")
    page.page.wait_for_timeout(200)
    assert page.page.inner_text(".waterfall.live .ms") == total
    assert page.page.evaluate("frames_drawn") == 0
    peer.send(state("thinking", "text_ready", at_ms=2510, **THINKING))  # 10 ms after the last, by its own clock
    page.until("document.querySelector('.waterfall.live .growing')?.dataset.segment === 'llm_ttft'")
    animation = "getComputedStyle(document.querySelector('.waterfall.live .growing')).animationName"
    assert page.page.evaluate(animation) == "none"
    assert page.page.evaluate("frames_drawn") == 0
    page.leave()


def test_the_quantiles(fake, open_page):
    """p50 and p95 by nearest rank, of the turns that were answered, once there are two."""
    page = open_page(fake.url)
    peer = begin(page, fake)
    peer.send(turn_done(1, endpoint_wait=900))
    page.until("window.voiceagent.turns.length === 1")
    assert not page.page.is_visible("#quantiles")
    peer.send(*(turn_done(number, endpoint_wait=100 * number) for number in range(2, 9)))
    peer.send(turn_done(9, endpoint_wait=1).model_copy(update={"outcome": "reopened"}))
    peer.send(turn_done(10).model_copy(update={"outcome": "failed", "gap_ms": None}))
    page.until("window.voiceagent.turns.length === 10")
    assert page.page.inner_text("#quantiles").replace("\u00a0", " ") == "p50 500 ms · p95 900 ms · 8 turns"
    page.leave()


# ------------------------------------------------------------------------------------------------ the drawer
@pytest.mark.parametrize("width", [1280, 320])
def test_the_drawer(fake, open_page, width):
    """Closed at first; opened by key it covers nothing that is pressed to talk, and is open again after a reload."""
    page = open_page(fake.url, viewport={"width": width, "height": 720})
    assert not page.page.is_visible("#diagram")
    begin(page, fake)
    page.page.focus("#inspector summary")
    page.page.keyboard.press("Space")
    page.until("localStorage.getItem('inspector') === 'open'")
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    talk, drawer = (page.page.locator(s).bounding_box() for s in (".talk", "#inspector"))
    assert drawer["y"] >= talk["y"] + talk["height"]
    for selector in ("#ptt", "#text", "#hang-up"):
        page.page.click(selector, trial=True)
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.id") == "export"
    page.page.reload()
    page.until("document.getElementById('inspector').open")
    page.page.click("#inspector summary")
    page.until("localStorage.getItem('inspector') === null")
    page.page.reload()
    assert not page.page.is_visible("#diagram")
    page.leave()


# ------------------------------------------------------------------------------------------------ the export
def exported(page):
    """What the button gives: (the file's name, what is in it)."""
    with page.page.expect_download() as waiting:
        page.page.click("#export")
    download = waiting.value
    return download.suggested_filename, json.loads(Path(download.path()).read_text(encoding="utf-8"))


def test_the_export(fake, open_page):
    """Turns and moves with the names of their sessions; what was said only where the box is ticked."""
    page = open_page(fake.url)
    opened(page)
    assert exported(page)[0] == "voiceagent-page.json"
    peer = begin(page, fake)
    peer.send(
        *QUESTION,
        protocol.Transcript(turn=1, text="what time", final=False),
        protocol.Transcript(turn=1, text="what time is it", final=True),
        protocol.ReplyText(turn=1, epoch=1, text="It is four", first_sample=0),
        protocol.ReplyText(turn=1, epoch=2, text="It is", first_sample=0),
        protocol.ReplyText(turn=1, epoch=2, text="five.", first_sample=9),
        protocol.Heard(turn=1, epoch=2, text="It is", interrupted=True),
        turn_done(1, endpoint_wait=500, llm_ttft=290),
    )
    page.until("window.voiceagent.turns.length === 1")
    fake.welcome = {"session": "second", "mode": "realtime"}
    page.page.evaluate("window.breakNetwork()")
    page.wait(lambda: len(fake.peers) == 2 and fake.peers[1].said("pong"))
    fake.peers[1].send(turn_done(2, endpoint_wait=300))
    page.until("window.voiceagent.turns.length === 2")
    name, seen = exported(page)
    assert name == "voiceagent-second.json"
    assert (seen["schema"], seen["fields_of"]) == ("voice.page/1", ["voice.turn/1", "voice.transition/1"])
    models = {"stt": "ear", "llm": "mind", "tts": "mouth"}
    assert seen["sessions"] == [
        {"session": "fake", "mode": "cascade", "backend": "openai", "models": models},
        {"session": "second", "mode": "realtime", "backend": "openai", "models": models},
    ]
    first, second = seen["turns"]
    assert first == {
        "event": "turn", "session": "fake", "turn": 1, "outcome": "completed", "origin": "user", "gap_ms": 790,
        "basis": "heard", "path": [], "segments_ms": {"endpoint_wait": 500, "llm_ttft": 290}, "marks_ms": {},
    }  # fmt: skip
    assert (second["session"], second["turn"]) == ("second", 2)
    assert seen["transitions"][1] == {
        "event": "transition", "session": "fake", "turn": 1, "epoch": 1, "at_ms": 2500, "from": "transcribing_open",
        "trigger": "endpoint", "to": "transcribing_ended", "dwell_ms": 1500,
    }  # fmt: skip
    assert len(seen["transitions"]) == 2
    assert seen["dropped"] == {"turns": 0, "transitions": 0}
    assert "what time" not in json.dumps(seen)
    page.page.check("#export-content")
    first, second = exported(page)[1]["turns"]
    assert first["content"] == {"user": "what time is it", "reply": "It is five.", "heard": "It is"}
    assert "content" not in second
    page.leave()
