"""Three models or one voice model: what the page offers, says and remembers, against a server that does as the test says."""

import re

import pytest

from tests.browser.fake import FakeServer
from tests.browser.test_page import begin, said, turn_done
from voiceagent import protocol
from voiceagent.timeline import SEGMENTS

pytestmark = pytest.mark.browser

VOICE = {"mode": "realtime", "models": {"realtime": "parrot", "stt": "scribe"}}
PENDING = "It changes once nobody speaks; the conversation goes on."


@pytest.fixture
def fake():
    """A fake server."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def listening(fake, open_page):
    """A page with its drawer open whose session stands: (page, peer)."""
    page = opened(open_page, fake.url)
    yield page, begin(page, fake)
    page.leave()


def opened(open_page, url):
    """The page with its drawer open."""
    page = open_page(url)
    page.page.click("#settings summary")
    return page


def choose(page, mode):
    """Press one of the two choices."""
    page.page.click(f"#modes input[value={mode}]")


def checked(page):
    """Which of the two choices is shown, if one is."""
    return page.page.locator("#modes input").evaluate_all("(all) => all.filter((i) => i.checked).map((i) => i.value)")


def state(name, turn=1):
    """The server moves."""
    return protocol.State(state=name, leaf=name, trigger="t", turn=turn, epoch=turn, at_ms=1)


def contrast(one, other):
    """The contrast of two colours, as WCAG 2 counts it; what is transparent counts as the other."""
    if one.startswith("rgba"):
        return 1
    shares = [[int(c) / 255 for c in re.findall(r"\d+", colour)] for colour in (one, other)]
    linear = [[c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in share] for share in shares]
    dark, bright = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (bright + 0.05) / (dark + 0.05)


# ------------------------------------------------------------------------------------------------ what is shown
def test_who_answers(fake, open_page):
    """Beside the name stand the mode and the models that answer, in the panel every model in use with what it does."""
    page = open_page(fake.url)
    begin(page, fake)
    assert page.page.inner_text("#backend") == "Three models: ear · mind · mouth"
    shown = page.page.locator("#models > *").all_inner_texts()
    assert shown == ["Speech to text", "ear", "Language model", "mind", "Text to speech", "mouth"]
    page.page.click("#hang-up")
    page.until("window.voiceagent.state === 'closed'")
    fake.welcome = VOICE
    begin(page, fake)
    assert page.page.inner_text("#backend") == "One voice model: parrot"
    assert page.page.locator("#models > *").all_inner_texts() == [
        "Voice model", "parrot", "Your words in writing", "scribe",
    ]  # fmt: skip
    page.page.click("#hang-up")
    page.until("window.voiceagent.state === 'closed'")
    fake.welcome = {**VOICE, "backend": "local"}
    begin(page, fake)
    assert page.page.inner_text("#backend") == "One voice model · local twin"
    assert not page.page.is_visible("#models")
    page.leave()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_segment_has_a_name_and_a_colour(fake, open_page, scheme):
    """No segment of the server is counted as other, and no two look alike, in either colour scheme."""
    page = open_page(fake.url, color_scheme=scheme)
    begin(page, fake).send(turn_done(1, **dict.fromkeys(SEGMENTS, 10), newer=10))
    page.until("document.querySelectorAll('.waterfall').length === 1")
    parts = page.page.locator(".waterfall .bar span")
    colours = parts.evaluate_all("(all) => all.map((part) => getComputedStyle(part).backgroundColor)")
    assert len(colours) == len(SEGMENTS) + 1
    assert len(set(colours)) == len(colours)
    ground = page.page.locator(".waterfall .bar").evaluate("(bar) => getComputedStyle(bar).backgroundColor")
    assert min(contrast(colour, ground) for colour in colours) > 2.3  # a colour that is not there has none
    legend = page.page.locator("#legend li").all_inner_texts()
    assert len(legend) == len(colours)
    assert "voice model: time to first audio" in legend
    page.leave()


# ------------------------------------------------------------------------------------------------ the choice
def test_the_choice_follows_the_server(fake, open_page):
    """As long as nobody has chosen nothing is asked for, and what is shown is what the server answers with."""
    fake.welcome = VOICE
    page = opened(open_page, fake.url)
    assert checked(page) == []
    assert begin(page, fake).hello.mode is None
    assert checked(page) == ["realtime"]
    assert page.page.evaluate("window.voiceagent.mode") == "realtime"
    page.leave()


def test_the_choice_is_remembered(fake, open_page):
    """What was chosen before the start is in the hello, and after a reload it is shown and asked for again."""
    page = opened(open_page, fake.url)
    page.page.get_by_label("One voice model", exact=False).check()
    fake.welcome = VOICE
    assert begin(page, fake).hello.mode == "realtime"
    page.page.reload()
    assert checked(page) == ["realtime"]
    assert begin(page, fake).hello.mode == "realtime"
    assert page.page.locator(".change").count() == 0
    page.leave()


def test_the_address_may_choose(fake, open_page):
    """It says what is asked for at first; what a person has chosen counts more, and anything else is nothing."""
    fake.welcome = VOICE
    page = opened(open_page, f"{fake.url}/?mode=realtime")
    assert checked(page) == ["realtime"]
    assert begin(page, fake).hello.mode == "realtime"
    page.page.click("#hang-up")
    page.until("window.voiceagent.state === 'closed'")
    choose(page, "cascade")
    fake.welcome = {}
    page.page.reload()
    assert begin(page, fake).hello.mode == "cascade"
    page.leave()
    page = opened(open_page, f"{fake.url}/?mode=duet")
    assert begin(page, fake).hello.mode is None
    page.leave()


# ------------------------------------------------------------------------------------------------ in a conversation
def test_it_changes_at_once_where_nobody_speaks(listening, fake):
    """A new session takes up the conversation in the other mode: nothing was hung up, and the lines are still there."""
    page, peer = listening
    peer.send(
        protocol.Transcript(turn=1, text="what time is it", final=True),
        protocol.ReplyText(turn=1, epoch=1, text="Noon.", first_sample=0),
        turn_done(1),
        protocol.Notice(code="backend_trouble", message="The speech synthesis is down."),
    )
    page.until("document.getElementById('backend-trouble').hidden === false")
    token = page.page.evaluate("window.voiceagent.session")
    fake.welcome = VOICE
    choose(page, "realtime")
    page.wait(lambda: len(fake.peers) == 2 and fake.peers[1].frames)
    second = fake.peers[1]
    assert (second.hello.mode, second.hello.resume) == ("realtime", token)
    page.wait(lambda: peer.gone)
    assert peer.said("hang_up") == []
    assert second.frames[0].seq == 0  # the microphone is open all the while
    assert said(page) == ["You\nwhat time is it", "Agent\nNoon."]
    assert page.page.locator("#turns > li").last.inner_text() == "From here on: one voice model"
    assert page.page.inner_text("#mode-note") == ""
    assert not page.page.is_visible("#backend-trouble")  # other back-ends answer
    assert not page.page.is_visible("#problem")
    second.send(state("listening"), turn_done(2))
    page.until("window.voiceagent.turns.length === 2")
    choose(page, "realtime")
    page.page.wait_for_timeout(100)
    assert len(fake.peers) == 2


def test_it_waits_until_nobody_speaks(listening, fake):
    """Neither a question nor its answer is broken off, nor what is told of them; until then the page says what will happen."""
    page, peer = listening
    peer.send(state("speaking"))
    page.until("window.voiceagent.state === 'speaking'")
    choose(page, "realtime")
    assert page.page.inner_text("#mode-note") == PENDING
    peer.send(state("transcribing", 2))
    page.until("window.voiceagent.state === 'transcribing'")
    assert len(fake.peers) == 1
    fake.welcome = VOICE
    peer.send(state("listening", 2))
    page.until("window.voiceagent.state === 'listening'")
    assert len(fake.peers) == 1
    peer.send(protocol.Heard(turn=2, epoch=2, text="Noon.", interrupted=False), turn_done(2))
    page.wait(lambda: len(fake.peers) == 2 and fake.peers[1].messages)
    assert [turn["turn"] for turn in page.turns] == [2]  # nothing that the turn leaves was missed
    assert fake.peers[1].hello.mode == "realtime"
    page.until("window.voiceagent.mode === 'realtime' && window.voiceagent.state === 'listening'")
    assert page.page.inner_text("#mode-note") == ""


def test_a_change_of_mind(listening, fake):
    """Who goes back to the mode that answers, while it cannot change yet, has changed nothing."""
    page, peer = listening
    peer.send(state("speaking"))
    page.until("window.voiceagent.state === 'speaking'")
    choose(page, "realtime")
    choose(page, "cascade")
    assert page.page.inner_text("#mode-note") == ""
    peer.send(state("listening"), turn_done(1))
    page.until("window.voiceagent.turns.length === 1")
    page.page.wait_for_timeout(100)
    assert len(fake.peers) == 1


def test_a_server_that_has_only_one(listening, fake):
    """It is asked once; the page says that it is not as chosen."""
    page, _ = listening
    choose(page, "realtime")
    page.until("document.getElementById('mode-note').textContent.includes('three models')")
    page.wait(lambda: len(fake.peers) == 2)
    fake.peers[1].send(state("listening"), turn_done(1))
    page.until("window.voiceagent.turns.length === 1")
    page.page.wait_for_timeout(100)
    assert len(fake.peers) == 2
    assert page.page.locator(".change").count() == 0


def test_a_line_typed_meanwhile(fake, open_page):
    """Chosen between the hello and its answer: the line that waits for the session goes to the one that stays."""
    page = opened(open_page, fake.url)
    fake.ready.clear()
    page.page.fill("#text", "hello")
    page.page.press("#text", "Enter")
    page.wait(lambda: fake.peers and fake.peers[0].messages)
    choose(page, "realtime")
    fake.ready.set()
    page.wait(lambda: len(fake.peers) == 2 and fake.peers[1].said("text"))
    assert [message.text for message in fake.peers[1].said("text")] == ["hello"]
    assert fake.peers[0].said("text") == []
    assert (fake.peers[0].hello.mode, fake.peers[1].hello.mode) == (None, "realtime")
    page.leave()


def test_the_network_is_lost_meanwhile(listening, fake):
    """What is chosen while the page tries to come back is asked for when it does."""
    page, _ = listening
    fake.refusal = (1001, protocol.Error(code="later", message="Later.", fatal=False))
    page.page.evaluate("window.breakNetwork()")
    page.until("window.voiceagent.state === 'reconnecting'")
    choose(page, "realtime")
    fake.welcome, fake.refusal = VOICE, None
    page.until("window.voiceagent.mode === 'realtime'")
    page.page.wait_for_timeout(100)
    assert [peer.hello.mode for peer in fake.peers if peer.messages][-1] == "realtime"
    assert page.page.locator(".change").count() == 1


# ------------------------------------------------------------------------------------------------ words that come late
def test_words_after_the_reply_has_begun(listening):
    """They stand above the reply from their first partial on, and nothing is left below it."""
    page, peer = listening
    peer.send(protocol.ReplyText(turn=1, epoch=1, text="It is noon.", first_sample=0))
    peer.send(protocol.Transcript(turn=1, text="what time", final=False))
    page.until("document.querySelectorAll('.said').length === 2")
    assert said(page) == ["You\nwhat time", "Agent\nIt is noon."]
    assert page.page.locator(".said.you.coming").get_attribute("aria-live") == "off"
    peer.send(protocol.Transcript(turn=1, text="what time is it", final=True))
    page.until("document.querySelectorAll('.coming').length === 0")
    assert said(page) == ["You\nwhat time is it", "Agent\nIt is noon."]
    assert page.page.inner_text("#partial") == ""


def test_words_that_are_half_there(listening):
    """What was partly shown below the lines goes into its place when the reply begins, and is completed there."""
    page, peer = listening
    peer.send(protocol.Transcript(turn=1, text="what", final=False))
    page.until("document.getElementById('partial').textContent === 'what'")
    peer.send(protocol.ReplyText(turn=1, epoch=1, text="It is noon.", first_sample=0))
    page.until("document.querySelectorAll('.said').length === 2")
    assert said(page) == ["You\nwhat", "Agent\nIt is noon."]
    assert page.page.inner_text("#partial") == ""
    peer.send(protocol.Transcript(turn=1, text="what time is it", final=True))
    page.until("document.querySelector('.said.you').innerText.includes('is it')")
    assert said(page) == ["You\nwhat time is it", "Agent\nIt is noon."]


def test_words_of_the_turn_before(listening):
    """Later than the next turn's they still stand before it, and what is being said now stays."""
    page, peer = listening
    peer.send(
        protocol.ReplyText(turn=1, epoch=1, text="It is noon.", first_sample=0),
        protocol.Transcript(turn=3, text="spell banana", final=True),
        protocol.Transcript(turn=4, text="now I", final=False),
        protocol.Transcript(turn=2, text="sto", final=False),
        protocol.Transcript(turn=2, text="stop", final=True),
        protocol.Transcript(turn=1, text="what time", final=False),
        protocol.Transcript(turn=1, text="what time is it", final=True),
    )
    page.until("document.querySelectorAll('.said').length === 4")
    page.until("document.querySelectorAll('.coming').length === 0")
    assert said(page) == ["You\nwhat time is it", "Agent\nIt is noon.", "You\nstop", "You\nspell banana"]
    assert page.page.inner_text("#partial") == "now I"


def test_words_that_were_none(listening):
    """If in the end nothing was said, its line goes; if the last word never comes, the turn's end makes it the last."""
    page, peer = listening
    peer.send(
        protocol.ReplyText(turn=1, epoch=1, text="Pardon?", first_sample=0),
        protocol.Transcript(turn=1, text="uh", final=False),
        protocol.Transcript(turn=1, text="", final=True),
        protocol.ReplyText(turn=2, epoch=2, text="It is noon.", first_sample=0),
        protocol.Transcript(turn=2, text="what time", final=False),
        turn_done(2),
        protocol.Transcript(turn=3, text="and then", final=False),
        turn_done(3).model_copy(update={"outcome": "failed", "gap_ms": None, "basis": None}),
    )
    page.until("window.voiceagent.turns.length === 2")
    assert said(page) == ["Agent\nPardon?", "You\nwhat time", "Agent\nIt is noon.", "You\nand then"]
    assert page.page.locator(".coming").count() == 0
    assert page.page.inner_text("#partial") == ""


def test_words_of_a_reply_that_nobody_heard(listening):
    """The reply's line goes, the half words stay in theirs and are completed there."""
    page, peer = listening
    peer.send(
        protocol.Transcript(turn=1, text="what", final=False),
        protocol.ReplyText(turn=1, epoch=1, text="What about it?", first_sample=0),
        protocol.Flush(turn=1, epoch=1),
    )
    page.wait(lambda: peer.said("flushed"))
    peer.send(protocol.Transcript(turn=1, text="what time", final=False))
    page.until("document.querySelector('.said.you').innerText.includes('time')")
    assert said(page) == ["You\nwhat time"]
    assert page.page.inner_text("#partial") == ""
