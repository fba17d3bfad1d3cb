"""Whether a stage's server answers as it should: asked once at the start, and by the doctor."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from voiceagent.events import Stage
from voiceagent.stages.clients import Clients
from voiceagent.stages.endpoints import Endpoint
from voiceagent.stages.explaining import not_openai, unknown_model
from voiceagent.stages.ports import StageError
from voiceagent.stages.realtime import realtime_session

PROBE_TIMEOUT_S = 5.0
LISTS_NOTHING = frozenset({"http_404", "http_405", "http_501"})


@dataclass(frozen=True, slots=True)
class Probe:
    """What asking came to: the failure, if it failed; the names of its models, if the server tells them."""

    failure: StageError | None = None
    models: frozenset[str] | None = None


async def probe_all(
    clients: Clients, stages: Sequence[Stage], timeout_s: float = PROBE_TIMEOUT_S
) -> dict[Stage, Probe]:
    """Ask the servers of the stages, at once; stages of one server that answers ask it once. The twin is not asked."""
    groups: dict[Endpoint, list[Stage]] = {}
    for stage in stages:
        endpoint = clients.endpoints[stage]
        if not endpoint.embedded:
            groups.setdefault(replace(endpoint, stage="llm"), []).append(stage)
    results = await asyncio.gather(*(_probe_group(clients, group, timeout_s) for group in groups.values()))
    return {stage: probed for result in results for stage, probed in result.items()}


async def _probe_group(clients: Clients, stages: Sequence[Stage], timeout_s: float) -> dict[Stage, Probe]:
    first = await probe(clients, stages[0], timeout_s)
    if first.models is None and first.failure is not None:  # each has a sentence of its own
        rest = await asyncio.gather(*(probe(clients, stage, timeout_s) for stage in stages[1:]))
    else:
        rest = [_judged(clients, stage, first.models) for stage in stages[1:]]
    return dict(zip(stages, [first, *rest], strict=True))


async def probe(clients: Clients, stage: Stage, timeout_s: float = PROBE_TIMEOUT_S) -> Probe:
    """Ask the stage's server for its models. One that lists none is well; the service itself must have the one chosen."""
    try:
        async with asyncio.timeout(timeout_s):
            # A plain object: of a typed answer the SDK makes something whatever came.
            listed = await clients.get(stage).get("/models", cast_to=object)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is explained
        failure = clients.explain(stage, error)
        return Probe() if failure.code in LISTS_NOTHING else Probe(failure)
    names = _names(listed)
    if names is None:
        return Probe(not_openai(stage, clients.endpoints[stage].host, "something else"))
    return _judged(clients, stage, names)


def _judged(clients: Clients, stage: Stage, names: frozenset[str] | None) -> Probe:
    endpoint, model = clients.endpoints[stage], clients.model(stage)
    if names is not None and endpoint.is_openai and model not in names:
        return Probe(unknown_model(stage, endpoint.host, model, "model_not_found"), names)
    return Probe(models=names)


def _names(listed: object) -> frozenset[str] | None:
    entries = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list):
        return None
    return frozenset(str(entry.get("id")) for entry in entries if isinstance(entry, dict))


async def probe_realtime(clients: Clients, stage: Stage, timeout_s: float = PROBE_TIMEOUT_S) -> StageError | None:
    """Open a Realtime session of the stage's kind and close it; return why that is not possible, or None."""
    model = clients.model(stage)
    listens = {"input": {"transcription": {"model": model}, "turn_detection": None}}
    try:
        async with asyncio.timeout(timeout_s):
            if stage == "stt":
                session = {"type": "transcription", "audio": listens}
                async with realtime_session(clients, stage, session, query={"intent": "transcription"}):
                    return None
            async with realtime_session(clients, stage, {"type": "realtime"}, query={"model": model}):
                return None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is explained
        return clients.explain(stage, error)
