"""Whether a stage's server answers as it should: asked once at the start, and by the doctor."""

import asyncio
from dataclasses import dataclass

from voiceagent.events import Stage
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.explaining import unknown_model
from voiceagent.stages.ports import StageError
from voiceagent.stages.realtime import realtime_session

PROBE_TIMEOUT_S = 5.0
LISTS_NOTHING = frozenset({"http_404", "http_405", "http_501"})


@dataclass(frozen=True, slots=True)
class Probe:
    """What asking came to: the failure, if it failed; the names of its models, if the server tells them."""

    failure: StageError | None = None
    models: frozenset[str] | None = None


async def probe(clients: Clients, stage: Stage, timeout_s: float = PROBE_TIMEOUT_S) -> Probe:
    """Ask the stage's server for its models. One that lists none is well; the service itself must have the one chosen."""
    endpoint, model = clients.endpoints[stage], clients.model(stage)
    try:
        async with asyncio.timeout(timeout_s):
            # A plain object: of a typed answer the SDK makes something whatever came.
            listed = await clients.get(stage).get("/models", cast_to=object)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is explained
        failure = clients.explain(stage, error)
        return Probe() if failure.code in LISTS_NOTHING else Probe(failure)
    names = _names(listed)
    if names is None:
        sentence = f"{NAMES[stage]} at {endpoint.host} answers with something else than the API: check the base URL."
        return Probe(StageError(stage, "not_openai", sentence, retryable=False))
    if endpoint.is_openai and model not in names:
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
