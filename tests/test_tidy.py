"""The house is in order: imports only go down, rooms are small, names say something, and nothing foreign lies about."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "voiceagent"
FLOORS = (
    "audio allowance vad frames protocol timeline records recordlines observing pricing settings models tools clockmap",
    (
        "states events effects turns rules speculation endpointing echo ear_delays phrases heard lexicon dictation likeness "
        "wordlists patience"
    ),
    "recording bookkeeping answering playing weighing conversation",
    "stages",
    "accounts steps outbox incoming making reply spoken attempts acoustics microphone session",
    "sinks logs hooks backends resumption websocket exports server",
    "cli caller speaker soundfiles doctor recordpage reference bench simulation dialogs latency replay tracefile testing",
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
TWIN_MAY = {"audio", "vad"}
MAX_LINES, MAX_FUNCTION_LINES = 400, 60


def tracked() -> list[Path]:
    """Every file that is committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


MODULES = sorted(SRC.rglob("*.py"))
TEXTS = (".py", ".js", ".css", ".html", ".md", ".toml", ".yml", ".txt", ".sh", ".json", "")


def room_of(path: Path) -> str:
    """The room that a module belongs to: its name, or its folder's."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The rooms of this package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "voiceagent":
            names += [f"voiceagent.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("voiceagent.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_only_go_down(path):
    """A room imports its own floor or the floors below; the twin imports nothing of the agent but audio and vad."""
    room = room_of(path)
    if room == "__init__":
        return
    if room == "twin":
        assert imports(path) <= TWIN_MAY | {"twin"}
        return
    assert room in FLOOR, f"put {room} on a floor: here and in ARCHITECTURE.md"
    for other in imports(path):
        if other == "twin":
            assert FLOOR[room] >= FLOOR["backends"]
        else:
            assert FLOOR[other] <= FLOOR[room], f"{room} imports {other} from above"


def test_the_floors_are_documented():
    """ARCHITECTURE.md names the same rooms on the same floors."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for number, rooms in enumerate(FLOORS):
        row = next(line for line in text.splitlines() if line.startswith(f"| {number} |"))
        assert set(re.findall(r"[a-z_]+", row.split("|")[2])) == set(rooms.split())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_modules(path):
    """A module says in its first line what it knows; its functions are short; only the upper floors read a clock."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "say in one sentence what this module alone knows"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{node.name} is too long"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            reads = (node.value.id, node.attr) in {("time", "time"), ("time", "monotonic"), ("time", "monotonic_ns")}
            room = room_of(path)
            assert not reads or room == "twin" or FLOOR[room] >= FLOOR["session"], "only the driver reads the clock"


def test_files_are_short():
    """No source file is longer than one sitting."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked()
        if path.suffix in {".py", ".js", ".css"}
        and (count := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_names():
    """No module, class or function is named after nothing in particular."""
    vague = re.compile(r"(?i)^(utils?|helpers?|misc|common)$|manager$|handler$")
    for path in MODULES:
        names = [path.stem]
        names += [
            node.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert [name for name in names if vague.search(name)] == []


def test_every_test_says_what_it_shows():
    """Each test has a line that states the behaviour."""
    silent = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test and not ast.get_docstring(node):
                silent.append(f"{path.name}::{node.name}")
    assert silent == []


def test_nothing_foreign():
    """No path of a machine, no address of a package registry, no recording is in the repository."""
    # In pieces, or this file would be foreign itself.
    pieces = ["/ho+me/", "/ro+ot/", "/wo+rk/", "/Use+rs/", "pypi.org/si+mple", "registry.npm+js", "files.python+hosted"]
    foreign = re.compile("|".join(re.escape(piece.replace("+", "")) for piece in pieces))
    for path in tracked():
        assert path.suffix.lower() not in {".wav", ".flac", ".mp3", ".ogg", ".opus"}, path
        if path.suffix in TEXTS and path.stat().st_size < 1_000_000:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert foreign.search(text) is None, path
