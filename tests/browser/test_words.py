"""What the page says when something is wrong, against a server that does as the test says."""

import pytest

from tests.browser.fake import FakeServer
from tests.browser.test_page import CONTEXTS, WAITS, begin
from voiceagent import protocol

pytestmark = pytest.mark.browser


def problem(page):
    """What the page says is wrong, once it says so."""
    page.until("document.getElementById('problem').hidden === false")
    return page.page.inner_text("#problem")


@pytest.mark.parametrize(
    ("close", "code"),
    [(protocol.Close.VERSION, "version"), (protocol.Close.BUSY, "capacity"), (protocol.Close.REPLACED, "replaced")],
)
def test_a_refusal(open_page, close, code):
    """The server's words are shown, nothing is tried again, and Start is there for another attempt."""
    error = protocol.Error(code=code, message="Not now.", hint="Do this instead.", fatal=True)
    with FakeServer(refusal=(close, error)) as fake:
        page = open_page(fake.url, scripts=[WAITS])
        page.page.click("#start")
        assert problem(page).split("\n")[0].startswith("Not now.")
        assert "Do this instead." in problem(page)
        page.page.wait_for_timeout(100)
        assert len(fake.peers) == 1
        assert page.page.is_visible("#start")
        assert not page.page.is_visible("#token-form")
        fake.refusal = None
        begin(page, fake)
        assert not page.page.is_visible("#problem")
        page.leave()


def test_a_wrong_token(open_page):
    """The page asks for the token as often as it is refused, and sends what was typed."""
    error = protocol.Error(code="token", message="A token is needed.", hint="Type it here.", fatal=True)
    with FakeServer(refusal=(protocol.Close.UNAUTHORIZED, error)) as fake:
        page = open_page(fake.url)
        page.page.click("#start")
        for count, token in ((2, "wrong"), (3, "right")):
            problem(page)
            page.until("document.getElementById('token-form').hidden === false")
            page.page.fill("#token", token)
            if token == "right":
                fake.refusal = None
            page.page.press("#token", "Enter")
            page.wait(lambda count=count: len(fake.peers) == count and fake.peers[-1].messages)
            assert fake.peers[-1].hello.token == token
            page.until("window.voiceagent.state === 'closed' || window.voiceagent.state === 'listening'")
        page.until("window.voiceagent.state === 'listening'")
        page.leave()


def test_the_server_is_gone(open_page):
    """The page tries again and again for the minute that the conversation is kept, says so, and in the end what to do."""
    with FakeServer() as fake:
        page = open_page(fake.url, scripts=[WAITS])
        begin(page, fake)
        page.page.evaluate("window.waits.length = 0")
    assert "Trying again for a minute" in problem(page)
    page.until("document.getElementById('problem').innerText.includes('cannot be reached')")
    assert "press Start" in problem(page)
    assert page.page.is_visible("#start")
    deadline, *waits = page.page.evaluate("window.waits.filter((ms) => ms !== 25000)")
    assert deadline == 60_000
    assert waits[:6] == [250, 500, 1_000, 2_000, 4_000, 5_000]
    assert set(waits[6:]) == {5_000}
    assert all("ERR_CONNECTION_REFUSED" in error for error in page.errors)  # the browser's own words on each attempt
    page.errors.clear()


def test_the_server_comes_back(open_page):
    """After a while without it the page goes on with the conversation, and the next loss has its own minute."""
    with FakeServer() as fake:
        page = open_page(fake.url, scripts=[WAITS])
        peer = begin(page, fake)
        refused = protocol.Error(code="later", message="Later.", fatal=False)
        fake.refusal = (1001, refused)
        page.page.evaluate("window.breakNetwork()")
        page.wait(lambda: len(fake.peers) >= 9)  # more often than the longest list of waits
        fake.refusal = None
        page.until("window.voiceagent.state === 'listening'")
        assert fake.peers[-1].hello.resume == f"resume-{id(peer)}"
        assert not page.page.is_visible("#problem")
        page.page.evaluate("window.waits.length = 0; window.breakNetwork()")
        page.until("window.waits.includes(60000) && window.voiceagent.state === 'listening'")
        page.leave()


def test_without_https(open_page):
    """A page without HTTPS says at once why there is no microphone; typing works."""
    with FakeServer() as fake:
        insecure = "Object.defineProperty(window, 'isSecureContext', { value: false });"
        page = open_page(fake.url, scripts=[insecure])
        assert "Without HTTPS" in problem(page)
        page.page.fill("#text", "hello")
        page.page.press("#text", "Enter")
        page.wait(lambda: fake.peers and fake.peers[0].said("text"))
        page.leave()


def test_a_microphone_is_pulled_out(open_page):
    """The page says so, keeps the session, and offers to use another one."""
    with FakeServer() as fake:
        page = open_page(fake.url)
        peer = begin(page, fake)
        page.page.evaluate("window.testMicrophone.node.stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
        assert "The microphone was disconnected." in problem(page)
        assert page.page.inner_text("#start") == "Use the microphone"
        assert not peer.gone
        page.page.click("#start")
        page.until("document.getElementById('problem').hidden")
        page.until("document.getElementById('level').hidden === false")
        page.leave()


def test_the_sound_is_stopped(open_page):
    """Where the browser stops the sound, a tap anywhere goes on."""
    with FakeServer() as fake:
        page = open_page(fake.url, scripts=[CONTEXTS])
        begin(page, fake)
        page.page.evaluate("window.contexts = window.contexts.filter((c) => c !== window.testMicrophone.context)")
        page.page.evaluate("Promise.all(window.contexts.map((context) => context.suspend()))")
        assert "Tap anywhere" in problem(page)
        page.page.click("h1")
        page.until("document.getElementById('problem').hidden")
        page.until("window.contexts.every((context) => context.state === 'running')")
        page.leave()


def test_two_troubles(open_page):
    """The more urgent one is shown; when it is over, the other one is said again."""
    with FakeServer() as fake:
        page = open_page(fake.url, microphone=False)
        page.page.evaluate(
            "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }; }"
        )
        page.page.click("#start")
        page.until("window.voiceagent.state === 'listening'")
        assert "was not allowed" in problem(page)
        page.page.evaluate("window.breakNetwork()")
        page.until("document.getElementById('problem').innerText.includes('was lost')")
        page.until("document.getElementById('problem').innerText.includes('was not allowed')")
        page.leave()


def test_a_notice(open_page):
    """What the conversation survives is said without getting in the way."""
    with FakeServer() as fake:
        page = open_page(fake.url)
        begin(page, fake).send(protocol.Notice(code="slow", message="The answer takes longer than usual."))
        page.until("document.getElementById('notice').textContent === 'The answer takes longer than usual.'")
        assert not page.page.is_visible("#problem")
        page.leave()


def test_a_back_end_in_trouble(open_page):
    """The sentence stays, said once, over all that comes, also a lost network, until the next start."""
    with FakeServer() as fake:
        page = open_page(fake.url)
        peer = begin(page, fake)

        def troubles():
            return page.page.locator("#backend-trouble p").all_inner_texts()

        peer.send(protocol.Notice(code="backend_trouble", message="The language model at mind.test refuses the key."))
        page.until("document.getElementById('backend-trouble').hidden === false")
        peer.send(
            protocol.Notice(code="backend_trouble", message="The language model at mind.test refuses the key."),
            protocol.Notice(code="backend_trouble", message="The speech synthesis at mouth.test cannot be reached."),
            protocol.Notice(code="slow", message="The answer takes longer than usual."),
            protocol.State(state="transcribing", leaf="transcribing_open", trigger="t", turn=1, epoch=1, at_ms=1),
            protocol.State(state="listening", leaf="listening", trigger="t", turn=1, epoch=1, at_ms=1),
        )
        page.until("window.voiceagent.state === 'listening' && document.getElementById('notice').textContent === ''")
        both = [
            "The language model at mind.test refuses the key.",
            "The speech synthesis at mouth.test cannot be reached.",
        ]
        assert troubles() == both
        page.page.evaluate("window.breakNetwork()")
        page.wait(lambda: len(fake.peers) == 2)
        page.until("window.voiceagent.state === 'listening'")
        assert troubles() == both
        fake.peers[1].send(*(protocol.Notice(code="backend_trouble", message=f"Trouble {n}.") for n in range(9)))
        page.until("document.getElementById('backend-trouble').innerText.includes('Trouble 8')")
        assert troubles() == ["Trouble 6.", "Trouble 7.", "Trouble 8."]
        page.page.click("#hang-up")
        page.until("window.voiceagent.state === 'closed'")
        assert page.page.is_visible("#backend-trouble")
        begin(page, fake)
        assert not page.page.is_visible("#backend-trouble")
        assert troubles() == []
        page.leave()
