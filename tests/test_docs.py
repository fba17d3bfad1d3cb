"""The documentation is true: what is generated is current, what is named exists, and links lead somewhere."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from voiceagent.cli import main
from voiceagent.protocol import Close, Message
from voiceagent.reference import CLIENT, CLOSES, SERVER, pages
from voiceagent.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_generated_pages_are_current():
    """Settings, protocol, states and the diagram are what the code says; `make docs` writes them."""
    stale = [path.name for path, text in pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == []


def test_every_message_is_documented():
    """No message of the protocol is missing from the page, and no close code."""
    assert set(CLIENT) | set(SERVER) == set(Message.__subclasses__())
    assert set(CLOSES) == {value for name, value in vars(Close).items() if name.isupper()}


def test_every_setting_has_a_meaning():
    """A setting without a description is none."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links(path):
    """A link to a file of the repository leads to one."""
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands(path):
    """A command that is named exists, and so does each of its options."""
    for verb, rest in re.findall(r"`(?:\.venv/bin/)?voiceagent ([a-z]+)([^`]*)`", path.read_text(encoding="utf-8")):
        assert verb in main.commands, verb
        known = {option for parameter in main.commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) - {"--help"} <= known
    for verb in re.findall(r"`make ([a-z]+)`", path.read_text(encoding="utf-8")):
        assert re.search(rf"(?m)^{verb}:", (ROOT / "Makefile").read_text(encoding="utf-8")), verb


def test_readme_begins_with_two_commands():
    """The README's first block is how to run it and how to test it."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make run", "make test"]


def test_settings_named_in_the_docs_exist():
    """A setting that is named with its prefix is one."""
    for path in DOCS:
        for name in re.findall(r"VOICEAGENT_([A-Z_]+[A-Z])", path.read_text(encoding="utf-8")):
            assert name.lower() in Settings.model_fields or name.startswith(("CHROMIUM", "CONFORMANCE_")), name


def test_help():
    """Every command explains itself."""
    for verb in main.commands:
        shown = CliRunner().invoke(main, [verb, "--help"])
        assert shown.exit_code == 0
        assert len(shown.output.splitlines()) > 3
