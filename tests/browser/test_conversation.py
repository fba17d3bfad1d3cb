"""A person's conversation in a real Chromium: real engines, real audio, in and out."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.local]
LOUD = 0.01


def start(page):
    """Press Start and wait until the session stands."""
    page.page.click("#start")
    page.until("window.voiceagent.state === 'listening'")
    page.until("document.getElementById('level').hidden === false")


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_a_spoken_question(server, open_page, voice, rate):
    """It is transcribed while it is spoken, and answered in sound and in writing, with a waterfall of the gap."""
    page = open_page(server.url, rate=rate)
    start(page)
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.until("document.getElementById('partial').textContent.includes('what')")
    page.until(f"window.voiceagent.state === 'speaking' && window.loudness() > {LOUD}")
    page.until("window.voiceagent.turns.length === 1")
    (turn,) = page.turns
    assert (turn["outcome"], turn["basis"]) == ("completed", "heard")
    assert abs(sum(turn["segments"].values()) - turn["gap_ms"]) < 1
    assert "time" in page.page.inner_text(".said.you")
    assert "It is" in page.page.inner_text(".said.agent")
    assert page.page.locator(".waterfall").count() == 1
    assert page.page.inner_text("#gap") == str(round(turn["gap_ms"]))


def test_a_barge_in(server, open_page, voice):
    """Speaking over the story silences it; what was not heard is struck out, and the next question is answered."""
    page = open_page(server.url)
    start(page)
    page.page.evaluate("(audio) => window.say(audio)", voice("tell me a long story"))
    page.until(f"window.voiceagent.state === 'speaking' && window.loudness() > {LOUD}")
    page.page.wait_for_timeout(1500)
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.until("window.voiceagent.state === 'barge_in' || window.voiceagent.state === 'transcribing'")
    page.until("window.voiceagent.state === 'transcribing' && window.loudness() === 0")
    page.until("window.voiceagent.turns.filter((t) => t.outcome === 'completed').length === 1")
    outcomes = [turn["outcome"] for turn in page.turns]
    assert outcomes == ["interrupted", "completed"]
    story = page.page.locator(".said.agent").first
    assert story.locator("del").count() == 1
    assert "Once upon a time" in story.inner_text()
    assert "It is" in page.page.locator(".said.agent").nth(1).inner_text()


def test_typing_without_a_microphone(server, open_page):
    """A typed line starts a session by itself and is answered aloud."""
    page = open_page(server.url)
    page.page.fill("#text", "spell banana")
    page.page.press("#text", "Enter")
    page.until(f"window.loudness() > {LOUD}")
    page.until("window.voiceagent.turns.length === 1")
    assert "spell banana" in page.page.inner_text(".said.you")
    assert page.turns[0]["origin"] == "text"


def test_a_hint_can_be_pressed(server, open_page):
    """In local mode the page says what one can say, and how to add a key."""
    page = open_page(server.url)
    start(page)
    assert "OPENAI_API_KEY" in page.page.inner_text("#local")
    page.page.click("text=spell banana")
    page.until("window.voiceagent.turns.length === 1")


def test_mute_and_hang_up(server, open_page, voice):
    """A muted microphone is not heard; after a hang-up the page can start again."""
    page = open_page(server.url)
    start(page)
    page.page.click("#mute")
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.page.wait_for_timeout(2500)
    assert page.turns == []
    assert page.page.inner_text("#state") == "listening"
    page.page.click("#hang-up")
    page.until("window.voiceagent.state === 'closed'")
    start(page)


def test_a_dialog_with_one_voice_model(server, open_page, voice):
    """A question, a story that is interrupted, and, after a change of mode in between, an answer by three models."""
    page = open_page(f"{server.url}/?mode=realtime")
    start(page)
    assert "One voice model" in page.page.inner_text("#backend")
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.until(f"window.voiceagent.state === 'speaking' && window.loudness() > {LOUD}")
    page.until("window.voiceagent.turns.length === 1")
    (turn,) = page.turns
    assert (turn["outcome"], turn["basis"]) == ("completed", "heard")
    assert turn["segments"]["model_ttfa"] > 0
    assert "llm_ttft" not in turn["segments"]
    assert abs(sum(turn["segments"].values()) - turn["gap_ms"]) < 1
    page.page.evaluate("(audio) => window.say(audio)", voice("tell me a long story"))
    page.until("window.voiceagent.state === 'thinking'")
    page.until(f"window.voiceagent.state === 'speaking' && window.loudness() > {LOUD}")
    page.page.wait_for_timeout(1500)
    page.page.evaluate("(audio) => window.say(audio)", voice("tell me a long story"))
    page.until("window.voiceagent.turns.some((t) => t.outcome === 'interrupted')")
    page.page.click("#settings summary")
    page.page.click("#modes input[value=cascade]")  # while somebody speaks: it waits
    page.until("document.getElementById('mode-note').textContent !== ''")
    page.page.fill("#text", "spell banana")
    page.page.press("#text", "Enter")
    page.until("window.voiceagent.mode === 'cascade'")
    page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
    page.until("window.voiceagent.turns.some((t) => t.segments.llm_ttft !== undefined)")
    assert [(turn["outcome"], "model_ttfa" in turn["segments"]) for turn in page.turns] == [
        ("completed", True), ("interrupted", True), ("completed", True), ("completed", False),
    ]  # fmt: skip
    lines = page.page.locator("#turns > li").all_inner_texts()
    whose = [line.split("\n")[0] for line in lines]
    assert whose == ["You", "Agent", "You", "Agent", "You", "Agent", "From here on: three models", "You", "Agent"]
    assert page.page.locator(".said.agent").nth(1).locator("del").count() == 1
    assert "Banana is spelled" in lines[5]
    assert "It is" in lines[8]
    assert "Three models" in page.page.inner_text("#backend")
