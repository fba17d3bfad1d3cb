"""What the page says when something is wrong."""

import pytest

from tests.browser.conftest import ServerThread

pytestmark = [pytest.mark.browser, pytest.mark.local]


def problem(page):
    """What the page says is wrong, once it says so."""
    page.until("document.getElementById('problem').hidden === false")
    return page.page.inner_text("#problem")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "The microphone was not allowed."),
        ("NotFoundError", "No microphone was found."),
        ("NotReadableError", "in use by another program"),
    ],
)
def test_no_microphone(server, open_page, error, words):
    """A microphone that is denied, missing or taken is explained, and typing still works."""
    page = open_page(server.url, microphone=False)
    page.page.evaluate(
        "(name) => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', name); }; }",
        error,
    )
    page.page.click("#start")
    assert words in problem(page)
    page.page.fill("#text", "thank you")
    page.page.press("#text", "Enter")
    page.until("window.voiceagent.turns.length === 1")


def test_a_token_is_asked_for(open_page):
    """A server that wants a token is given one in the page."""
    with ServerThread(access_token="secret") as server:
        page = open_page(server.url)
        page.page.click("#start")
        assert "access token" in problem(page)
        page.page.fill("#token", "secret")
        page.page.press("#token", "Enter")
        page.until("window.voiceagent.state === 'listening'")
        page.leave()


def test_a_full_server(open_page):
    """A refused session says why and what to do."""
    with ServerThread(max_sessions=1) as server:
        first, second = open_page(server.url), open_page(server.url)
        first.page.click("#start")
        first.until("window.voiceagent.state === 'listening'")
        second.page.click("#start")
        assert "All places are taken" in problem(second)
        first.leave()


def test_a_lost_network_is_survived(open_page):
    """A connection that breaks is opened again, and the conversation goes on where it was."""
    with ServerThread() as server:
        page = open_page(server.url)
        page.page.fill("#text", "thank you")
        page.page.press("#text", "Enter")
        page.until("window.voiceagent.turns.length === 1")
        session = page.page.evaluate("window.voiceagent.session")
        page.page.evaluate("window.breakNetwork()")
        assert "was lost" in problem(page)
        page.until("document.getElementById('problem').hidden && window.voiceagent.state === 'listening'")
        assert page.page.evaluate("window.voiceagent.session") != session
        page.page.fill("#text", "what did i ask")
        page.page.press("#text", "Enter")
        page.until("window.loudness() > 0.01")  # the new connection counts its epochs anew
        page.until("window.voiceagent.turns.length === 2")
        assert [turn["basis"] for turn in page.turns] == ["heard", "heard"]
        assert "You said: thank you" in page.page.inner_text("#turns")
        page.leave()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits(server, open_page, scheme, width):
    """Nothing runs out of the page, wide or narrow, light or dark."""
    page = open_page(server.url, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.page.fill("#text", "thank you")
    page.page.press("#text", "Enter")
    page.until("window.voiceagent.turns.length === 1")
    assert page.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_denied_microphone_stays_explained(server, open_page):
    """The words about the microphone stay when the session stands a moment later."""
    page = open_page(server.url, microphone=False)
    page.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }; }"
    )
    page.page.click("#start")
    page.until("window.voiceagent.state === 'listening'")
    page.page.wait_for_timeout(200)
    assert "was not allowed" in problem(page)
