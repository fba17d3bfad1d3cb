"""What is shipped: the wheel serves the page by itself, pins are plain, and the compose file says what it means."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml

from voiceagent.twin import LocalEngines

ROOT = Path(__file__).parents[1]


def test_the_wheel_serves_the_page(tmp_path):
    """Built and unpacked away from the sources, the package finds its page and serves it."""
    built, empty = tmp_path / "built", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(built), str(ROOT)], check=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)], check=True)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from starlette.testclient import TestClient\n"
        "from voiceagent.server import WEB_DIR, create_app\n"
        "from voiceagent.settings import Settings\n"
        f"assert WEB_DIR.is_relative_to({str(tmp_path)!r}), WEB_DIR\n"
        "client = TestClient(create_app(Settings(_env_file=None)))\n"
        "assert '<title>voiceagent</title>' in client.get('/').text\n"
        "assert client.get('/web/worklets/capture.js').status_code == 200\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=empty, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_constraints_are_plain():
    """Each line is name==version, and every dependency of the project has one."""
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.+-]*", line)] == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [need for needs in project["optional-dependencies"].values() for need in needs]
    needed = {re.match(r"[A-Za-z0-9_.-]+", need)[0].lower() for need in [*project["dependencies"], *extras]}
    assert needed - pinned == {"pocketsphinx"}  # no one version of it has wheels for every Python and platform


def test_compose():
    """The agent is published on loopback, checked for its health, and gets its key from the environment."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    agent = compose["services"]["agent"]
    assert agent["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert agent["environment"]["OPENAI_API_KEY"] == "${OPENAI_API_KEY:-}"
    assert agent["environment"]["VOICEAGENT_HOST"] == "0.0.0.0"
    assert "/healthz" in " ".join(agent["healthcheck"]["test"])
    for name in ("stt", "llm", "tts"):
        assert agent["depends_on"][name] == {"condition": "service_healthy"}
        assert "/health" in " ".join(compose["services"][name]["healthcheck"]["test"])
        assert compose["services"][name]["command"][-2:] == ["--only", name]
    assert agent["depends_on"]["voice"] == {"condition": "service_healthy"}
    assert "--only" not in compose["services"]["voice"]["command"]  # a conversation takes all three
    models = [name for name, service in compose["services"].items() if service.get("profiles") == ["models"]]
    assert models == ["speaches", "ollama"]


def test_compose_is_of_its_schema():
    """The file is what the Compose specification says."""
    schema = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*schema, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until_up(process, url):
    """Wait until a server answers."""
    until = time.monotonic() + 30
    while True:
        assert process.poll() is None, process.communicate()[1]
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < until, url
            time.sleep(0.05)


@pytest.mark.skipif(bool(LocalEngines.missing()), reason="the extra 'local' is not installed")
@pytest.mark.slow
@pytest.mark.local
def test_the_services_of_the_compose_file_converse():
    """Its very commands and environment, on loopback ports: the agent answers a question over three services, and over one."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    twins = {"stt": ["stt"], "llm": ["llm"], "tts": ["tts"], "voice": ["stt", "llm", "tts"]}
    ports = {name: free_port() for name in (*twins, "agent")}
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("VOICEAGENT_", "OPENAI_"))}
    voiceagent = [sys.executable, "-m", "voiceagent.cli"]
    with contextlib.ExitStack() as stack:

        def start(command, environment):
            process = subprocess.Popen(
                [*voiceagent, *command], env=plain | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            stack.callback(process.communicate)
            stack.callback(process.terminate)
            return process

        for name, has in twins.items():
            said = services[name]["command"]
            assert said[0] == "voiceagent"
            here = {"0.0.0.0": "127.0.0.1", "9000": str(ports[name])}
            process = start([here.get(word, word) for word in said[1:]], {})
            assert until_up(process, f"http://127.0.0.1:{ports[name]}/health")["services"] == has
        environment = {}
        for name, value in services["agent"]["environment"].items():
            usual = re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", value)
            usual = re.sub(r"//(stt|llm|tts|voice):9000", lambda host: f"//127.0.0.1:{ports[host[1]]}", usual)
            environment[name] = usual
        environment |= {"VOICEAGENT_HOST": "127.0.0.1", "VOICEAGENT_PORT": str(ports["agent"])}
        until_up(start(["serve"], environment), f"http://127.0.0.1:{ports['agent']}/healthz")
        url = f"http://127.0.0.1:{ports['agent']}"
        for mode in ("cascade", "realtime"):
            asks = ["call", "--url", url, "--mode", mode, "--text", "what is seventeen plus twenty five", "--json"]
            called = subprocess.run([*voiceagent, *asks], env=plain, capture_output=True, text=True, timeout=60)
            assert called.returncode == 0, called.stderr
            assert "forty" in called.stdout or "42" in called.stdout


def test_dockerfile():
    """The image runs as a user of its own and from the wheel alone."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"(?m)^USER (?!root)", text)
    assert "ca-certificates" in text
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text)
    for names in copied:
        for name in names.split():
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    ("version", "ok", "said"),
    [("3.12", True, ""), ("3.9", False, "is 3.9"), ("3.14", False, "is 3.14"), (None, False, "no Python at all")],
)
def test_finding_a_python(tmp_path, version, ok, said):
    """A Python that fits is found by running it; otherwise one sentence says what is there."""
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    if version is not None:
        fake = tmp_path / "python3"
        fake.write_text(f'#!/bin/sh\ncase "$2" in *version_info*) echo {version};; esac\n')
        fake.chmod(0o755)
    found = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "find_python.sh")],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode == 0) is ok
    assert said in found.stderr
    assert len(found.stderr.splitlines()) <= 1
