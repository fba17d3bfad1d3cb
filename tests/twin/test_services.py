"""A twin with some of its services, and one that speaks TLS."""

import asyncio
import ssl
import subprocess

import httpx2
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.virtual import virtual_time
from voiceagent.cli import main
from voiceagent.twin import LocalEngines, Script, ScriptedEngines, TwinServer, create_twin, local

KEY = {"Authorization": "Bearer any"}
PATHS = {
    "/audio/transcriptions": "stt", "/realtime/client_secrets": "stt", "/chat/completions": "llm",
    "/responses": "llm", "/audio/speech": "tts",
}  # fmt: skip


@pytest.mark.parametrize("only", [["stt"], ["llm"], ["tts"], ["llm", "tts"], []])
def test_other_services_are_not_there(only):
    """What a twin does not serve is 404 unknown_url; it tells what it serves, and lists its models alone."""

    @virtual_time
    async def run():
        app = create_twin(ScriptedEngines(Script()), only=only)
        async with TwinServer(app) as server, httpx2.AsyncClient(trust_env=False, headers=KEY) as http:
            health = (await http.get(server.base_url.removesuffix("/v1") + "/health")).json()
            assert health == {"status": "ok", "services": only or ["stt", "llm", "tts"], "realtime": not only}
            for path, service in PATHS.items():
                answer = await http.post(server.base_url + path, json={})
                there = not only or service in only
                code = answer.json().get("error", {}).get("code")
                assert (code != "unknown_url") is there, path
                assert (await http.get(server.base_url + path)).status_code == (405 if there else 404)
            names = {entry["id"] for entry in (await http.get(server.base_url + "/models")).json()["data"]}
            assert ("tts-1" in names) is (not only or "tts" in only)
            assert ("gpt-realtime-2.1-mini" in names) is (not only)

    run()


@virtual_time
async def test_sessions_of_a_part():
    """Speech to text alone has transcription sessions; conversations take all services."""
    async with TwinServer(create_twin(ScriptedEngines(Script()), only=["stt"])) as server:
        url = server.base_url.replace("http", "ws") + "/realtime"
        async with connect(url + "?intent=transcription", proxy=None, additional_headers=KEY) as ws:
            assert "session.created" in await ws.recv()
        with pytest.raises(InvalidStatus) as refused:
            await connect(url + "?model=gpt-realtime-2", proxy=None, additional_headers=KEY)
        assert refused.value.response.status_code == 404


def test_a_part_needs_only_its_engines(monkeypatch):
    """The language model alone takes no package; each other service its own."""
    monkeypatch.setattr(local, "find_spec", lambda _: None)
    assert LocalEngines.missing(["llm"]) == []
    assert LocalEngines.missing(["stt"]) == ["pocketsphinx", "soxr"]
    assert LocalEngines.missing() == ["pocketsphinx", "soxr", "espeakng-loader"]
    with pytest.raises(ValueError, match="no such service: ears"):
        LocalEngines(only=["ears"])


@pytest.fixture
def certificate(tmp_path):
    """A certificate for loopback and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    return cert, key


def test_tls(certificate):
    """With a certificate both HTTP and WebSockets are encrypted."""
    cert, key = certificate
    trust = ssl.create_default_context(cafile=str(cert))

    async def run():
        app = create_twin(ScriptedEngines(Script()))
        async with (
            TwinServer(app, ssl_certfile=cert, ssl_keyfile=key) as server,
            httpx2.AsyncClient(trust_env=False, headers=KEY, verify=trust) as http,
        ):
            assert server.base_url.startswith("https://")
            assert (await http.get(server.base_url + "/models")).status_code == 200
            url = server.base_url.replace("https", "wss") + "/realtime?intent=transcription"
            async with connect(url, proxy=None, additional_headers=KEY, ssl=trust) as ws:
                assert "session.created" in await ws.recv()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--tls-cert", "nowhere.pem"], "TLS takes both: --tls-cert and --tls-key"),
        (["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"], "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used(options, sentence):
    """The command ends with a sentence."""
    ran = CliRunner().invoke(main, ["twin", "--port", "0", "--only", "llm", *options])
    assert ran.exit_code == 1
    assert sentence in ran.output
