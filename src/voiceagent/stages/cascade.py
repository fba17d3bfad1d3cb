"""The three streams as they are used: Realtime transcription, chat completions, streamed speech, and what stands before them."""

from voiceagent.answering import LENGTH_REACHED, SAY_AGAIN
from voiceagent.playing import APOLOGY
from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.hedging import Hedge, HedgeBudget, HedgedModel, HedgedSpeech, Told
from voiceagent.stages.llm import ChatModel
from voiceagent.stages.phrasecache import CachedSpeech, PhraseCache
from voiceagent.stages.ports import LanguageModel, Stages, TextToSpeech
from voiceagent.stages.stt import RealtimeTranscriber
from voiceagent.stages.tts import SpeechModel


def cascade(clients: Clients, settings: Settings, told: Told = lambda *_: None) -> Stages:
    """Return the stages that all sessions of a server use; each session makes its own transcriber.

    `told` hears of every request that was made twice.
    """
    budget = HedgeBudget(settings.hedges_per_min)
    llm: LanguageModel = ChatModel(clients, settings)
    if settings.hedge_llm_ms:
        llm = HedgedModel(llm, Hedge("llm", settings.hedge_llm_ms, budget, told))
    tts: TextToSpeech = SpeechModel(clients, settings)
    if settings.hedge_tts_ms:
        tts = HedgedSpeech(tts, Hedge("tts", settings.hedge_tts_ms, budget, told))
    if settings.phrase_cache_mb:
        voice = (settings.tts_model, settings.tts_voice, settings.tts_instructions, settings.asks_for_words)
        cache = PhraseCache(settings.phrase_cache_mb * 1_000_000)
        tts = CachedSpeech(tts, cache, voice=voice, own_words=own_words(settings))
    return Stages(
        stt=lambda post: RealtimeTranscriber(clients, settings, post),
        llm=llm,
        tts=tts,
        warm=clients.warm,
    )


def own_words(settings: Settings) -> tuple[str, ...]:
    """Return what the agent says of itself, without a model."""
    filler = "" if settings.filler == "tone" else settings.filler
    return (SAY_AGAIN, APOLOGY, LENGTH_REACHED, settings.greeting, settings.ask, settings.farewell, filler)
