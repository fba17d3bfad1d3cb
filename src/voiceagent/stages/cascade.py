"""The three streams as they are used: which back-end each has by the settings, and what stands before it."""

import asyncio

from voiceagent.answering import LENGTH_REACHED, SAY_AGAIN
from voiceagent.playing import APOLOGY
from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.hedging import Hedge, HedgeBudget, HedgedModel, HedgedSpeech, Told
from voiceagent.stages.llm import ChatModel
from voiceagent.stages.phrasecache import CachedSpeech, PhraseCache
from voiceagent.stages.ports import LanguageModel, Stages, TextToSpeech
from voiceagent.stages.responses import ResponsesModel
from voiceagent.stages.tts import SpeechModel
from voiceagent.stages.tts_realtime import ReadingModel, reads_aloud
from voiceagent.stages.voices import VoicePool
from voiceagent.stages.ways import Fallback, Transcriber, TranscriptionWays


def cascade(
    clients: Clients, settings: Settings, told: Told = lambda *_: None, stt_fallback: Fallback = lambda _: None
) -> Stages:
    """Return the stages that all sessions of a server use; each session makes its own transcriber.

    `told` hears of every request that was made twice, `stt_fallback` why files are sent in place of a stream. What they
    keep open is closed before the clients are.
    """
    budget = HedgeBudget(settings.hedges_per_min)
    responses = settings.llm_api == "responses"
    llm: LanguageModel = ResponsesModel(clients, settings) if responses else ChatModel(clients, settings)
    if settings.hedge_llm_ms:
        llm = HedgedModel(llm, Hedge("llm", settings.hedge_llm_ms, budget, told))
    pool = VoicePool(clients, settings) if reads_aloud(settings) else None
    if pool is not None:
        clients.on_close(pool.aclose)
    tts: TextToSpeech = SpeechModel(clients, settings) if pool is None else ReadingModel(pool)
    if settings.hedge_tts_ms:
        tts = HedgedSpeech(tts, Hedge("tts", settings.hedge_tts_ms, budget, told))
    if settings.phrase_cache_mb:
        voice = (
            settings.tts_model, settings.tts_voice, settings.tts_instructions, settings.tts_speed,
            settings.asks_for_words, pool is None,
        )  # fmt: skip
        cache = PhraseCache(settings.phrase_cache_mb * 1_000_000)
        tts = CachedSpeech(tts, cache, voice=voice, own_words=own_words(settings))

    ways = TranscriptionWays(settings, stt_fallback)

    async def warm() -> None:
        await asyncio.gather(clients.warm(), *([] if pool is None else [pool.warm()]))

    return Stages(
        stt=lambda post: Transcriber(clients, settings, ways, post),
        llm=llm,
        tts=tts,
        warm=warm,
        hosts={stage: endpoint.host for stage, endpoint in clients.endpoints.items()},
    )


def own_words(settings: Settings) -> tuple[str, ...]:
    """Return what the agent says of itself, without a model."""
    filler = "" if settings.filler == "tone" else settings.filler
    return (SAY_AGAIN, APOLOGY, LENGTH_REACHED, settings.greeting, settings.ask, settings.farewell, filler)
