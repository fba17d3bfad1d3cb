"""What a person sees and does in the page, against a server that does as the test says."""

import pytest

from tests.browser.fake import FakeServer
from voiceagent import protocol

pytestmark = pytest.mark.browser

CONTEXTS = """
(() => {
  window.contexts = [];
  window.AudioContext = class extends AudioContext {
    constructor(...args) { super(...args); contexts.push(this); }
  };
})();
"""
"""Lets a test reach the page's audio contexts."""

WAITS = """
(() => {
  const real = setTimeout;
  window.waits = [];
  window.setTimeout = (f, ms, ...rest) => { window.waits.push(ms); return real(f, ms / 20, ...rest); };
})();
"""
"""Makes the page's patience twenty times shorter; `waits` is what it has waited for, in its own milliseconds."""


@pytest.fixture
def fake():
    """A fake server."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def listening(fake, open_page):
    """A page whose session stands, with a microphone: (page, peer)."""
    page = open_page(fake.url, scripts=[CONTEXTS])
    yield page, begin(page, fake)
    page.leave()


def begin(page, fake):
    """Press Start and wait until the session stands and the microphone is open; return the server's side of it."""
    page.page.click("#start")
    page.until("window.voiceagent.state === 'listening'")
    page.until("document.getElementById('level').hidden === false")
    return fake.peers[-1]


def said(page):
    """What the conversation shows, line by line."""
    return page.page.locator(".said").all_inner_texts()


def test_before_the_start(fake, open_page):
    """The page says what to do, asks for nothing, connects to nothing, and exposes one read-only name."""
    page = open_page(fake.url)
    assert page.page.inner_text("#state") == "not connected"
    assert "Press Start" in page.page.inner_text("#welcome")
    assert fake.peers == []
    own = page.page.evaluate("Object.keys(Object.getOwnPropertyDescriptors(window)).filter((n) => n.includes('voice'))")
    assert own == ["voiceagent"]
    page.leave()


def test_the_console_is_watched(fake, open_page):
    """A violation of the policy would be noticed: an inline style is refused, and told of."""
    page = open_page(fake.url)
    page.page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.wait(lambda: page.errors)
    assert "Content Security Policy" in page.errors[0]
    page.errors.clear()
    page.leave()


def test_states(listening):
    """Every state is shown as a word and as a colour of its own."""
    page, peer = listening
    colours = set()
    names = {"transcribing": "transcribing", "thinking": "thinking", "speaking": "speaking", "barge_in": "barge-in"}
    for state, word in {**names, "listening": "listening"}.items():
        peer.send(protocol.State(state=state, leaf=state, trigger="t", turn=1, epoch=1, at_ms=1))
        page.until(f"document.getElementById('state').textContent === '{word}'")
        colours.add(page.page.evaluate("getComputedStyle(document.getElementById('state')).color"))
    assert len(colours) == 5


def test_a_conversation_is_written(listening):
    """The partial is shown while spoken, then the line; phrases join; what was not heard is struck out."""
    page, peer = listening
    peer.send(protocol.Transcript(turn=1, text="tell me", final=False))
    page.until("document.getElementById('partial').textContent === 'tell me'")
    peer.send(
        protocol.Transcript(turn=1, text="tell me <b>more</b>", final=True),
        protocol.ReplyText(turn=1, epoch=1, text="Once upon a time,", first_sample=0),
        protocol.ReplyText(turn=1, epoch=1, text="<img src=x onerror=alert(1)> there was a fox.", first_sample=9),
    )
    page.until("document.querySelectorAll('.said').length === 2")
    page.until("document.body.innerText.includes('fox')")
    assert page.page.inner_text("#partial") == ""
    assert said(page) == [
        "You\ntell me <b>more</b>",
        "Agent\nOnce upon a time, <img src=x onerror=alert(1)> there was a fox.",
    ]
    peer.send(protocol.Heard(turn=1, epoch=1, text="Once upon a", interrupted=True))
    page.until("document.querySelector('del') !== null")
    assert page.page.locator("del").all_text_contents() == [" time, <img src=x onerror=alert(1)> there was a fox."]


def test_a_newer_attempt_replaces_the_words(listening):
    """A reply that begins anew shows its own words and none of the former attempt's."""
    page, peer = listening
    peer.send(
        protocol.ReplyText(turn=1, epoch=1, text="It is four", first_sample=0),
        protocol.ReplyText(turn=1, epoch=2, text="It is five.", first_sample=0),
    )
    page.until("document.body.innerText.includes('five')")
    assert said(page) == ["Agent\nIt is five."]


def turn_done(number, **segments):
    """A turn's record with these segments, in milliseconds."""
    gap = sum(segments.values())
    return protocol.TurnDone(
        turn=number, outcome="completed", origin="user", gap_ms=gap, basis="heard", segments=segments, marks={}, path=[]
    )


def test_the_waterfall(listening):
    """Each turn is a bar of its segments to one scale, with a legend, words for those who do not see it, and the gap."""
    page, peer = listening
    peer.send(turn_done(1, uplink=10, endpoint_wait=500, llm_ttft=290), turn_done(2, endpoint_wait=300, new_thing=100))
    page.until("document.querySelectorAll('.waterfall').length === 2")
    assert page.page.inner_text("#gap") == "400"
    bars = page.page.locator(".waterfall .bar")
    assert bars.nth(0).get_attribute("aria-label") == "Turn 2: 400 milliseconds: waiting for the end 300, other 100"
    widths = [
        [
            round(float(part.evaluate("(e) => e.style.width").rstrip("%")), 2)
            for part in bars.nth(i).locator("span").all()
        ]
        for i in range(2)
    ]
    assert widths == [[37.5, 12.5], [1.25, 62.5, 36.25]]
    legend = page.page.locator("#legend li").all_inner_texts()
    assert legend == ["to the server", "waiting for the end", "language model", "other"]


def test_a_turn_without_an_answer(listening):
    """What was a noise leaves no line and no bar."""
    page, peer = listening
    peer.send(
        protocol.Transcript(turn=1, text="hm", final=True),
        protocol.TurnDone(
            turn=1, outcome="discarded", origin="user", gap_ms=None, basis=None, segments={}, marks={}, path=[]
        ),
    )
    page.until("window.voiceagent.turns.length === 1")
    assert said(page) == []
    assert page.page.locator(".waterfall").count() == 0


def test_remarks_on_turns(listening):
    """A turn says how early its reply was prepared, and what became of a sound over it; one that was late says nothing."""
    page, peer = listening
    done = turn_done(1, endpoint_wait=400)
    early = {"endpoint": 900.4, "speculation_start": 500.0}
    peer.send(
        done.model_copy(update={"marks": early}),
        done.model_copy(update={"marks": {"endpoint": 900.0, "speculation_start": 900.0}}),
        done.model_copy(update={"marks": {"endpoint": 900.0}, "outcome": "interrupted"}),
        done.model_copy(update={"marks": early, "outcome": "resumed"}),
    )
    page.until("document.querySelectorAll('.waterfall').length === 4")
    remarks = [row.locator(".remark").all_inner_texts() for row in page.page.locator(".waterfall").all()]
    assert remarks == [
        ["prepared 400 ms early · a sound ignored"],
        ["interrupted"],
        [],
        ["prepared 400 ms early"],
    ]


def test_what_nobody_heard_leaves_no_line(listening):
    """Words of a reply that is dropped before its first sample go away; those of the attempt that follows are shown."""
    page, peer = listening
    peer.send(
        protocol.Transcript(turn=1, text="what time", final=True),
        protocol.ReplyText(turn=1, epoch=1, text="What about it?", first_sample=0),
        protocol.Flush(turn=1, epoch=1),
        protocol.Transcript(turn=1, text="what time is it", final=True),
    )
    page.until("document.querySelector('.said.you')?.innerText.includes('is it')")
    page.wait(lambda: peer.said("flushed"))
    page.until("document.querySelectorAll('.said.agent').length === 0")
    peer.send(protocol.ReplyText(turn=1, epoch=2, text="Noon.", first_sample=0))
    page.until("document.querySelectorAll('.said.agent').length === 1")
    assert said(page) == ["You\nwhat time is it", "Agent\nNoon."]


@pytest.mark.parametrize("outcome", ["discarded", "reopened"])
def test_a_turn_that_came_to_nothing(listening, outcome):
    """Neither its words nor its answer's are left."""
    page, peer = listening
    peer.send(
        protocol.Transcript(turn=1, text="hm", final=True),
        protocol.ReplyText(turn=1, epoch=1, text="Pardon?", first_sample=0),
        turn_done(1).model_copy(update={"outcome": outcome, "gap_ms": None, "basis": None}),
    )
    page.until("window.voiceagent.turns.length === 1")
    assert said(page) == []


def test_keys_that_mean_something_else(listening):
    """The space bar opens what can be opened, and Enter on the talk button talks as long as it is down."""
    page, peer = listening
    page.page.evaluate("document.getElementById('local').hidden = false")
    for press in ("Space", "Enter"):
        was_open = page.page.evaluate("document.getElementById('local').open")
        page.page.focus("#local summary")
        page.page.keyboard.press(press)
        assert page.page.evaluate("document.getElementById('local').open") != was_open
    assert peer.said("ptt") == []
    for key in ("Enter", "Space"):
        page.page.focus("#ptt")
        page.page.keyboard.down(key)
        page.until("document.getElementById('ptt').getAttribute('aria-pressed') === 'true'")
        page.page.keyboard.up(key)
        page.until("document.getElementById('ptt').getAttribute('aria-pressed') === 'false'")
    page.wait(lambda: [message.down for message in peer.said("ptt")] == [True, False, True, False])


def test_the_talk_key(listening):
    """The space bar and the button say when one talks; in the text field a space is a space."""
    page, peer = listening
    page.page.keyboard.down("Space")
    page.wait(lambda: [message.down for message in peer.said("ptt")] == [True])
    page.page.keyboard.up("Space")
    page.wait(lambda: [message.down for message in peer.said("ptt")] == [True, False])
    page.page.hover("#ptt")
    page.page.mouse.down()
    page.wait(lambda: len(peer.said("ptt")) == 3)
    page.page.mouse.up()
    page.wait(lambda: len(peer.said("ptt")) == 4)
    page.page.focus("#text")
    page.page.keyboard.type("a b")
    page.page.keyboard.press("Enter")
    page.wait(lambda: [message.text for message in peer.said("text")] == ["a b"])
    assert len(peer.said("ptt")) == 4


def test_mute(listening, fake):
    """A muted page sends no frame and says that it is muted, also to the next connection."""
    page, peer = listening
    page.wait(lambda: peer.frames)
    page.page.click("#mute")
    page.wait(lambda: [message.muted for message in peer.said("mute")] == [True])
    count = len(peer.frames)
    page.page.wait_for_timeout(200)
    assert len(peer.frames) - count <= 1  # one may have been on its way
    page.page.evaluate("window.breakNetwork()")
    page.wait(lambda: len(fake.peers) == 2 and fake.peers[1].said("mute"))
    page.page.click("#mute")
    page.wait(lambda: fake.peers[1].frames)
    assert fake.peers[1].frames[0].seq == 0
    assert [message.muted for message in fake.peers[1].said("mute")] == [True, False]


def test_hang_up(listening, fake):
    """It is said to the server, microphone and speaker are let go, and nothing is kept: Start begins anew."""
    page, peer = listening
    page.page.click("#hang-up")
    page.wait(lambda: peer.said("hang_up") and peer.gone)
    page.until("window.voiceagent.state === 'closed'")
    page.until("window.contexts.filter((c) => c.state === 'closed').length === 2")
    assert begin(page, fake).hello.resume is None


def test_start_twice(fake, open_page):
    """Pressing Start again while the browser asks for the microphone opens no second one."""
    page = open_page(fake.url, scripts=[CONTEXTS])
    page.page.evaluate("""() => {
      const open = navigator.mediaDevices.getUserMedia;
      window.asked = 0;
      navigator.mediaDevices.getUserMedia = async () => {
        window.asked++;
        await new Promise((allow) => { window.allow = allow; });
        return open();
      };
    }""")
    page.page.click("#start")
    page.until("window.voiceagent.state === 'listening' && window.asked === 1")
    page.page.click("#start")
    page.page.evaluate("window.allow()")
    page.until("document.getElementById('level').hidden === false")
    assert page.page.evaluate("window.asked") == 1
    assert len(fake.peers) == 1
    page.leave()


def test_coming_back(listening, fake):
    """A broken connection is opened again with the resume token; what is typed meanwhile is sent once it stands."""
    page, _ = listening
    token = page.page.evaluate("window.voiceagent.session")
    page.page.evaluate("window.breakNetwork()")
    page.until("document.getElementById('problem').innerText.includes('was lost')")
    page.page.fill("#text", "still there?")
    page.page.press("#text", "Enter")
    page.wait(lambda: len(fake.peers) == 2 and fake.peers[1].said("text"))
    assert fake.peers[1].hello.resume == token
    assert [message.text for message in fake.peers[1].said("text")] == ["still there?"]
    page.until("document.getElementById('problem').hidden")


def test_a_reload(listening, fake):
    """The page, loaded again, goes on with the conversation."""
    page, _ = listening
    token = page.page.evaluate("window.voiceagent.session")
    page.page.reload()
    assert begin(page, fake).hello.resume == token
