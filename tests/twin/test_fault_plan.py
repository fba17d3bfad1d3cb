"""Which requests a fault plan strikes, where it comes from, and that it changes nothing else."""

import asyncio
import json
import re
from pathlib import Path

import httpx2
import openai
import pytest
from click.testing import CliRunner
from websockets.exceptions import ConnectionClosed

from tests.twin.faulty import MESSAGES, faulty, say, take
from tests.virtual import virtual_time
from voiceagent.cli import main
from voiceagent.reference import with_faults
from voiceagent.twin.fault_rules import RULES, name_of
from voiceagent.twin.faults import MAX_HEADERS, MAX_TEXT_CHARS, BadFaults, FaultPlan


# ------------------------------------------------------------------------------------------ which, and by whom
@virtual_time
async def test_which_requests():
    """Stage, path and number choose, and a seed draws the same ones each time."""
    struck = []
    for _ in range(2):
        async with faulty({"fault": "refuse", "stage": "llm", "probability": 0.5, "seed": 3}) as twin:
            outcome = ""
            for _ in range(12):
                try:
                    outcome += "." if await twin.chat() else "?"
                except openai.InternalServerError:
                    outcome += "x"
            struck.append(outcome)
            assert [done.number for done in twin.plan.log] == [at for at, what in enumerate(outcome, 1) if what == "x"]
    assert struck[0] == struck[1]
    assert set(struck[0]) == {"x", "."}
    async with faulty({"fault": "refuse", "path": "/v1/mod*", "nth": [2, 3]}) as twin:
        codes = [(await twin.http.get(twin.server.base_url + "/models")).status_code for _ in range(4)]
        assert codes == [200, 500, 500, 200]
        assert await twin.chat() == "Hello to you."


@virtual_time
async def test_a_header():
    """A request brings its own rules; the same header of many requests counts them, and others go untouched."""
    rule = json.dumps({"fault": "refuse", "status": 503, "nth": 2})
    async with faulty() as twin:
        client = twin.client.with_options(default_headers={"x-voiceagent-faults": rule})
        answers = []
        for _ in range(3):
            try:
                await client.models.list()
                answers.append(200)
            except openai.InternalServerError as error:
                answers.append(error.status_code)
            await twin.client.models.list()
        assert answers == [200, 503, 200]
        with pytest.raises(openai.RateLimitError):
            await twin.chat(extra_headers={"x-voiceagent-faults": '[{"fault": "refuse", "status": 429}]'})
        close = json.dumps({"fault": "close", "code": 4001})
        for options in ({"x-voiceagent-faults": close}, {}):
            query = "?intent=transcription" + ("" if options else f"&faults={httpx2.QueryParams({'a': close})['a']}")
            async with twin.socket(query.replace(" ", "%20").replace('"', "%22"), **options) as ws:
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        await ws.recv()
                assert closed.value.rcvd.code == 4001
        assert [done.rule for done in twin.plan.log] == ["header rule 1"] * 4


@virtual_time
async def test_a_headers_counts():
    """They begin anew with another note, after the plan was replaced, and when too many others came between."""
    async with faulty() as twin:
        url = twin.server.base_url + "/models"

        async def status(**fields):
            header = {"x-voiceagent-faults": json.dumps({"fault": "refuse", "nth": 1, **fields})}
            return (await twin.http.get(url, headers=header)).status_code

        assert [await status(), await status(), await status(note="b")] == [500, 200, 500]
        await twin.http.delete(twin.root + "/faults")
        assert [await status(), await status()] == [500, 200]
        for number in range(MAX_HEADERS - 1):
            twin.plan.strikes(None, "/", json.dumps({"fault": "html", "note": str(number)}))
        assert await status() == 200
        for number in range(MAX_HEADERS - 1):  # others than before: this one was used last
            twin.plan.strikes(None, "/", json.dumps({"fault": "html", "note": f"b {number}"}))
        assert await status() == 200
        for number in range(MAX_HEADERS):
            twin.plan.strikes(None, "/", json.dumps({"fault": "html", "note": f"c {number}"}))
        assert await status() == 500


@virtual_time
async def test_a_header_of_the_sdks_realtime_client():
    """openai-python's Realtime connection takes the header too."""
    headers = {"x-voiceagent-faults": json.dumps({"fault": "session_expired", "after_ms": 100})}
    async with faulty() as twin:
        manager = twin.client.realtime.connect(
            extra_query={"intent": "transcription"}, extra_headers=headers,
            websocket_connection_options={"proxy": None},
        )  # fmt: skip
        async with manager as connection:
            seen = [event.type async for event in connection]
        assert seen == ["session.created", "error"]


@virtual_time
async def test_an_embedded_twin_takes_no_header():
    """Without a plan there is neither header nor endpoint."""
    async with faulty(header=False) as twin:
        header = {"x-voiceagent-faults": json.dumps({"fault": "refuse"})}
        assert (await twin.http.get(twin.server.base_url + "/models", headers=header)).status_code == 200
        assert (await twin.http.get(twin.root + "/faults")).status_code == 404


BAD = [
    ({"fault": "sleep"}, "rule 1, field 'fault': it must be one of delay, stall, slow, drop, "),
    ({}, "rule 1, field 'fault': it must be one of "),
    (
        [{"fault": "drop"}, {"fault": "drop", "nth": 0}],
        "rule 2 (drop), field 'nth.0': Input should be greater than or ",
    ),
    ({"fault": "slow"}, "rule 1 (slow), field 'bytes_per_s': Field required"),
    ({"fault": "html", "colour": "red"}, "rule 1 (html), field 'colour': Extra inputs are not permitted"),
    ({"fault": "drop", "after_ms": 1, "after_events": 1}, "rule 1 (drop): only one of after_events, "),
    (
        {"fault": "close", "code": 1006},
        "rule 1 (close): 1006 is no code that may be sent; for 1006 use the fault 'drop'",
    ),
    ({"fault": "close", "reason": "é" * 100}, "rule 1 (close): a reason has at most 123 bytes"),
    ({"fault": "drop", "event": "*"}, "rule 1 (drop): event needs after_events, which counts such events"),
    ("drop", "it must be a rule or a list of rules"),
    ([7], "rule 1"),
    ([{"fault": "drop"}] * 201, "it has more than 200 rules"),
]


@pytest.mark.parametrize(("rules", "sentence"), BAD)
def test_bad_rules(rules, sentence):
    """A sentence names the rule and the field; a request with such a header is 400, a WebSocket closes with 4000."""
    with pytest.raises(BadFaults) as bad:
        FaultPlan(rules)
    assert str(bad.value).startswith(sentence)

    @virtual_time
    async def run():
        async with faulty() as twin:
            header = {"x-voiceagent-faults": json.dumps(rules)}
            if len(header["x-voiceagent-faults"]) > 4_000:
                return
            answer = await twin.http.get(twin.server.base_url + "/models", headers=header)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_faults", "x-voiceagent-faults")
            assert sentence in error["message"]
            async with twin.socket(**header) as ws:
                (event,) = await take(ws, 1)
                assert sentence in event["error"]["message"]
                with pytest.raises(ConnectionClosed) as closed:
                    await ws.recv()
                assert closed.value.rcvd.code == 4000

    run()


@virtual_time
async def test_the_plan_at_run_time():
    """GET tells the plan and what it did, POST replaces it, DELETE clears it; a bad plan leaves the old one."""
    async with faulty({"fault": "refuse", "status": 429}) as twin:
        faults = twin.root + "/faults"
        with pytest.raises(openai.RateLimitError):
            await twin.chat()
        shown = (await twin.http.get(faults)).json()
        assert shown["rules"] == [{"fault": "refuse", "status": 429}]
        assert shown["counts"] == {"refuse": 1}
        assert [(done["rule"], done["path"]) for done in shown["log"]] == [("rule 1", "/v1/chat/completions")]
        for bad in (b"{", b'{"fault": "x"}', b'{"fault": "html", "body": "' + b"x" * MAX_TEXT_CHARS + b'"}'):
            answer = await twin.http.post(faults, content=bad)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_faults")
        assert (await twin.http.get(faults)).json() == shown
        answer = await twin.http.post(faults, json=[{"fault": "delay", "delay_ms": 5}])
        assert answer.json() == {"rules": [{"fault": "delay", "delay_ms": 5.0}], "counts": {}, "log": []}
        assert await twin.chat() == "Hello to you."
        assert (await twin.http.delete(faults)).json() == {"rules": [], "counts": {}, "log": []}
        assert (await twin.http.put(faults, json={"fault": "html"})).status_code == 200
        assert (await twin.http.patch(faults)).status_code == 405


# ------------------------------------------------------------------------------------------ nothing else changes
async def raw(port, request):
    """All bytes of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def masked(answer):
    """Without what is different each time."""
    return re.sub(rb'(req|chatcmpl)[_-][0-9a-f]+|"created":\s?\d+', lambda found: b"#" * len(found[0]), answer)


def unchunked(answer):
    """The head, and the body without the sizes of its chunks."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return head, body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return head, whole


REQUESTS = [
    ("GET", "/v1/models", None),
    ("GET", "/v1/nothing", None),
    ("POST", "/v1/chat/completions", {"model": "m", "messages": MESSAGES}),
    ("POST", "/v1/chat/completions", {"model": "m", "messages": MESSAGES, "stream": True}),
    ("POST", "/v1/chat/completions", {"model": "m"}),
    ("POST", "/v1/audio/speech", {"input": "hello", "response_format": "pcm"}),
    ("POST", "/v1/audio/speech", {"input": "hello", "response_format": "wav"}),
    ("POST", "/v1/audio/speech", {"input": "hello", "response_format": "pcm", "stream_format": "sse"}),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_no_rule_changes_no_byte(method, path, body):
    """The wire is the same without a plan, with an empty one, and with one whose rules find nothing to do."""

    @virtual_time
    async def run():
        content = json.dumps(body).encode() if body is not None else b""
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nConnection: close\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        ).encode() + content
        answers = []
        idle = [{"fault": "delay"}, {"fault": "drop", "after_events": 10_000}, {"fault": "delay", "event": "never"}]
        for rules, header in (([], False), ([], True), (idle, True)):
            async with faulty(*rules, header=header) as twin:
                answers.append(masked(await raw(twin.server.port, request)))
        assert answers[0].startswith(b"HTTP/1.1 ")
        assert answers[0] == answers[1]
        assert unchunked(answers[0]) == unchunked(answers[2])  # each event is written by itself

    run()


@virtual_time
async def test_no_rule_changes_no_message():
    """Of a WebSocket as well, in either direction."""
    seen = []
    idle = [{"fault": "missing", "event": "never", "direction": way} for way in ("up", "down")]
    for rules, header in (([], False), ([], True), (idle, True)):
        async with faulty(*rules, header=header) as twin, twin.session() as ws:
            await ws.send(b"\x00")
            await say(ws)
            events = await take(ws, 6)
            seen.append([(event["type"], event.get("transcript"), sorted(event)) for event in events])
    assert seen[0] == seen[1] == seen[2]


def test_a_plan_of_a_file(tmp_path):
    """A file holds a rule or a list; what is wrong with it is said in a sentence that names it."""
    path = tmp_path / "faults.json"
    path.write_text('[{"fault": "drop"}, {"fault": "delay", "delay_ms": 5}]')
    assert [rule.fault for rule in FaultPlan.load(path).rules] == ["drop", "delay"]
    path.write_text("[")
    with pytest.raises(BadFaults, match="faults.json cannot be used: it is no JSON"):
        FaultPlan.load(path)
    path.write_text(" " * (MAX_TEXT_CHARS + 1))
    with pytest.raises(BadFaults, match="faults.json cannot be used: it is too long"):
        FaultPlan.load(path)
    with pytest.raises(BadFaults, match="cannot be read"):
        FaultPlan.load(tmp_path / "none.json")


def test_every_field_is_explained():
    """A rule says what it does, and each of its fields too."""
    silent = [
        f"{rule.__name__}.{name}"
        for rule in RULES
        for name, field in rule.model_fields.items()
        if name != "fault" and not field.description
    ]
    assert silent == []
    assert all(rule.__doc__ for rule in RULES)


def test_the_command_refuses_a_bad_file(tmp_path):
    """`voiceagent twin --faults` ends with one sentence that names the file, the rule and the field."""
    script, path = tmp_path / "script.json", tmp_path / "faults.json"
    script.write_text("{}")
    path.write_text('{"fault": "slow"}')
    ended = CliRunner().invoke(main, ["twin", "--port", "0", "--script", str(script), "--faults", str(path)])
    assert ended.exit_code == 1
    sentence = f"the fault plan {path} cannot be used: rule 1 (slow), field 'bytes_per_s': Field required"
    assert ended.output == f"voiceagent: {sentence}\n"


PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_page_is_current():
    """The tables are those of the models, and every fault is in a recipe or in the table."""
    text = PAGE.read_text(encoding="utf-8")
    assert with_faults(text) == text
    assert all(f"| `{name_of(rule)}` |" in text for rule in RULES)


@pytest.mark.parametrize("block", re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
def test_the_recipes_are_plans(block):
    """What the page shows can be used."""
    assert FaultPlan(json.loads(block)).rules
