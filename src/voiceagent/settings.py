"""Every setting: its name, unit, default and meaning; read from the environment, ``.env`` and the command's options.

The names in the environment are these with the prefix ``VOICEAGENT_``; docs/settings.md is generated from this module.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from voiceagent.pricing import Price

OPENAI_URL = "https://api.openai.com/v1"


class Settings(BaseSettings):
    """One frozen set of settings for a server and all its sessions."""

    model_config = SettingsConfigDict(
        env_prefix="VOICEAGENT_",
        env_ignore_empty=True,
        env_file=".env",
        env_file_encoding="utf-8",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    # -- the server
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("VOICEAGENT_PORT", "PORT"),
        description="Port to listen on (also read from `PORT`); 0 takes a free one.",
    )
    tls_cert: Path | None = Field(
        None, description="Certificate chain (PEM); with `tls_key` the page is served over HTTPS."
    )
    tls_key: Path | None = Field(None, description="Private key (PEM) of `tls_cert`.")
    access_token: SecretStr | None = Field(
        None,
        description="What a client must present; demanded (and made up, if unset) on any address but loopback with a key.",
    )
    allowed_origins: tuple[str, ...] = Field(
        (),
        description="Further page origins (as JSON list) that may open a session; the server's own is always allowed.",
    )
    max_sessions: int = Field(50, ge=1, description="Sessions at a time; one more is refused with a reason.")
    session_cap_s: float = Field(1800.0, gt=0, description="Longest session.")
    hello_timeout_s: float = Field(5.0, gt=0, description="How long a new connection may take to say hello.")
    pong_timeout_s: float = Field(20.0, gt=0, description="A browser that answers no ping for so long has left.")
    send_timeout_s: float = Field(5.0, gt=0, description="A browser that takes no data for so long has left.")
    resume_s: float = Field(60.0, ge=0, description="How long a lost conversation is kept for its resume token.")

    # -- the back-ends
    mode: Literal["cascade", "realtime"] = Field(
        "cascade",
        description="`cascade`: three streams; `realtime`: one voice model hears and speaks. The page can choose.",
    )
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("VOICEAGENT_OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="Key of the service (also read from `OPENAI_API_KEY`); without one the local twin answers.",
    )
    openai_base_url: str = Field(
        OPENAI_URL,
        validation_alias=AliasChoices("VOICEAGENT_OPENAI_BASE_URL", "OPENAI_BASE_URL"),
        description="Base URL of the service (also read from `OPENAI_BASE_URL`).",
    )
    azure_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("VOICEAGENT_AZURE_ENDPOINT", "AZURE_OPENAI_ENDPOINT"),
        description="Azure resource (also read from `AZURE_OPENAI_ENDPOINT`), in place of `openai_base_url`; models are deployments.",
    )
    azure_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("VOICEAGENT_AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
        description="Key of the Azure resource (also read from `AZURE_OPENAI_API_KEY`).",
    )
    azure_api_version: str = Field(
        "2025-08-28",
        validation_alias=AliasChoices("VOICEAGENT_AZURE_API_VERSION", "OPENAI_API_VERSION"),
        description="Version of Azure's API (also read from `OPENAI_API_VERSION`).",
    )
    backend: Literal["auto", "local", "openai"] = Field(
        "auto", description="`local`: the twin; `openai`: the service; `auto`: the service if there is a key."
    )
    stt_base_url: str | None = Field(None, description="Base URL of speech to text, if not `openai_base_url`.")
    stt_api_key: SecretStr | None = Field(None, description="Key of speech to text, if not `openai_api_key`.")
    stt_model: str = Field("gpt-live-transcribe", description="Transcription model.")
    stt_language: str | None = Field(
        None, description="Language spoken (ISO 639-1), e.g. `en`; the model detects it if unset."
    )
    stt_api: Literal["auto", "realtime", "file"] = Field(
        "auto",
        description="`realtime`: streamed; `file`: a request an utterance; `auto`: streamed where the server can.",
    )
    stt_turn_detection: Literal["none", "server_vad", "semantic_vad"] = Field(
        "none",
        description="Whether the server cuts turns too, for models that can; the agent ends turns in any case.",
    )
    stt_prompt: str | None = Field(None, description="What the speech is about, for models that take it.")
    stt_keywords: tuple[str, ...] = Field(
        (), description="Words to listen for (as JSON list), for models that take them."
    )
    stt_delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description="How long a streaming model waits for certainty, for models that take it."
    )
    stt_noise_reduction: Literal["near_field", "far_field"] | None = Field(
        None, description="Noise reduction on the server, for models that take it."
    )
    stt_tail_ms: int = Field(
        0,
        ge=0,
        le=1_000,
        description="Silence added before a commit, for a model that loses its last word.",
    )
    stt_session_s: float = Field(
        3_000.0, gt=1, description="Age at which an idle session is renewed; the service ends it after an hour."
    )
    llm_base_url: str | None = Field(None, description="Base URL of the language model, if not `openai_base_url`.")
    llm_api_key: SecretStr | None = Field(None, description="Key of the language model, if not `openai_api_key`.")
    llm_model: str = Field("gpt-6-luna", description="Chat model.")
    llm_api: Literal["chat", "responses"] = Field(
        "chat", description="`chat`: chat completions; `responses`: the Responses API."
    )
    llm_reasoning_effort: str | None = Field(
        None, description="Reasoning effort; unset: the fastest that a known model has; `unset`: never sent."
    )
    llm_verbosity: str | None = Field(
        None, description="Verbosity; unset: `low` for a model known to take it; `unset`: never sent."
    )
    llm_service_tier: str | None = Field(None, description="Service tier, e.g. `priority`.")
    llm_prompt_cache: bool = Field(
        True, description="Whether requests to models known to take one carry a cache key for their conversation."
    )
    tts_base_url: str | None = Field(None, description="Base URL of text to speech, if not `openai_base_url`.")
    tts_api_key: SecretStr | None = Field(None, description="Key of text to speech, if not `openai_api_key`.")
    tts_model: str = Field("gpt-realtime-2.1-mini", description="Speech model, or a voice model that reads aloud.")
    tts_api: Literal["auto", "speech", "realtime"] = Field(
        "auto",
        description="`speech`: HTTP; `realtime`: a persistent session; `auto`: what the model is for; HTTP at the twin.",
    )
    tts_voice: str = Field("marin", description="Voice; any string.")
    tts_instructions: str | None = Field(None, description="How to speak, for speech models that take it.")
    tts_speed: float | None = Field(None, ge=0.25, le=4, description="Pace of speech; unset: not sent.")
    tts_words: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether text to speech is asked for events that tell of words; `auto`: where the twin speaks.",
    )
    realtime_base_url: str | None = Field(None, description="Base URL of the voice model, if not `openai_base_url`.")
    realtime_api_key: SecretStr | None = Field(None, description="Key of the voice model, if not `openai_api_key`.")
    realtime_model: str = Field("gpt-realtime-2.1-mini", description="Voice model of the mode `realtime`.")
    realtime_reasoning_effort: str | None = Field(None, description="Its reasoning effort; unset: not sent.")
    connect_timeout_s: float = Field(5.0, gt=0, description="Longest wait for a connection to a back-end.")
    stt_timeout_s: float = Field(8.0, gt=0, description="Longest wait for a final transcript after the end of a turn.")
    reply_timeout_s: float = Field(10.0, gt=0, description="Longest wait for the first audio of a reply.")
    stall_timeout_s: float = Field(8.0, gt=0, description="Longest standstill of a reply that is being spoken.")
    hedge_llm_ms: int = Field(
        0, ge=0, le=10_000, description="Wait for the first token before a second request is made; 0: never."
    )
    hedge_tts_ms: int = Field(
        0, ge=0, le=10_000, description="Wait for a phrase's first byte before a second request is made; 0: never."
    )
    hedges_per_min: int = Field(
        30, ge=1, description="Second requests that the whole server may make, a minute on the average."
    )
    phrase_cache_mb: int = Field(
        8, ge=0, le=1_000, description="Memory for the audio of short phrases that are said often; 0: none is kept."
    )

    # -- the agent
    instructions: str = Field(
        "You are a friendly voice assistant. Answer in one to three short spoken sentences, without lists or markup. "
        "Say numbers, dates and units as one speaks them.",
        description="Instructions for the language model.",
    )
    instructions_file: Path | None = Field(None, description="File whose text replaces `instructions`.")
    greeting: str = Field("", description="What the agent says first; empty: it waits.")
    tools: bool = Field(
        True, description="Offer the functions given to `create_app` (by default: the time) to the model."
    )
    max_reply_tokens: int = Field(1024, ge=1, description="Longest reply, in tokens.")
    max_history_turns: int = Field(40, ge=1, description="Turns of the conversation that the language model is told.")
    max_session_tokens: int = Field(
        200_000, ge=1, description="Reply tokens of a whole session; then it ends politely."
    )

    # -- turn-taking: the end of a turn
    endpoint_ms: int = Field(
        650, ge=60, le=10_000, description="Silence that ends a turn, where its words say nothing else."
    )
    endpoint_adapts: bool = Field(
        True, description="Whether the wait listens to the words, to the caller's own pauses, and to the dial."
    )
    patience: float = Field(
        0.5, ge=0, le=1, description="The dial: 0 answers fast, 1 waits patiently. The page can turn it."
    )
    pause_ms: int = Field(
        100, ge=40, le=5_000, description="Silence that commits what was said and may start a reply early."
    )
    speculate: bool = Field(
        True, description="Whether a reply is prepared, behind the gate, before the turn has ended."
    )
    speculations_per_min: int = Field(
        45, ge=1, description="Replies a session may prepare early, a minute on the average."
    )
    speculations_per_turn: int = Field(8, ge=1, description="Replies that may be prepared early in one turn.")
    pre_roll_ms: int = Field(
        400, ge=300, le=2_000, description="Audio kept from before speech was noticed, so that no first word is lost."
    )
    vad_threshold: float = Field(0.5, gt=0, lt=1, description="Probability above which Silero hears speech.")
    energy_margin_db: float = Field(
        9.0, gt=0, le=40, description="How far above the noise floor sound must stand to be looked at."
    )
    min_speech_ms: int = Field(64, ge=30, le=1_000, description="Speech that must be heard before a turn begins.")
    max_turn_s: float = Field(60.0, gt=0, description="Longest turn of the user; then it is answered as it is.")
    mic_timeout_s: float = Field(
        2.0, gt=0, description="A microphone that sends nothing for so long in mid-turn ends it."
    )

    # -- turn-taking: sound over a reply
    barge_in: bool = Field(
        True, description="Whether speech interrupts the reply; `false` is half-duplex, for rooms that echo."
    )
    sound_ms: int = Field(60, ge=20, le=1_000, description="Sound over a reply that holds it.")
    unconfirmed_ms: int = Field(
        300, ge=100, le=5_000, description="Longest hold by a sound that is not heard as speech."
    )
    barge_in_ms: int = Field(
        900, ge=100, le=5_000, description="Speech over a reply being heard that interrupts it even without words."
    )
    barge_in_thinking_ms: int = Field(
        500, ge=100, le=5_000, description="Speech before the reply is heard that reopens the turn even without words."
    )
    verdict_ms: int = Field(1_500, ge=200, le=10_000, description="Longest hold before speech over a reply is judged.")
    resume_after_ms: int = Field(
        300,
        ge=50,
        le=5_000,
        description="Silence after speech over a reply whose words do not come, before it resumes.",
    )
    side_speech_db: float = Field(
        7.5,
        ge=0,
        le=40,
        description="Speech over a reply that is so much quieter than the caller is somebody else; 0: nobody is.",
    )
    echo_gate: bool = Field(
        True, description="Whether the agent's own voice in the microphone is told from the caller's."
    )
    flush_ack_ms: int = Field(
        250, ge=50, le=2_000, description="Longest wait for what was heard before the next request is made."
    )

    # -- silence
    filler: str = Field("tone", max_length=200, description="Bridges a late reply: `tone`, or words to say, or `none`.")
    filler_after_ms: int = Field(
        1_200, ge=100, le=10_000, description="Wait after the end of a turn before the filler."
    )
    ask_after_s: float = Field(
        60.0, ge=0, description="Silence after which the agent asks once whether one is there; 0: never."
    )
    ask: str = Field("Are you still there?", description="What it asks then.")
    idle_s: float = Field(
        600.0, gt=0, description="Silence after which the session ends; after the question, further silence."
    )
    farewell: str = Field("I will hang up now. Goodbye.", description="What is said before that, or `none`.")

    # -- playback
    lead_ms: int = Field(300, ge=200, le=400, description="How far ahead of the speaker reply audio is sent.")

    # -- records
    prices: dict[str, Price] = Field(
        {},
        description="Prices by model in US dollars, for an estimate of each turn's cost, as JSON: "
        '`{"gpt-6-luna": {"tokens_in": 1.0, "tokens_cached": 0.1, "tokens_out": 4.0}}` a million tokens; speech has '
        "`characters` (a million) and `audio_min` (a minute). Without all that a turn needs there is no estimate.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    log_content: bool = Field(False, description="Whether texts (what was said and answered) go into the log.")
    wire_log: Path | None = Field(
        None, description="Folder for a log of what goes over the wire to the models, without keys and audio."
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="`auto`: pretty on a terminal, JSON lines elsewhere."
    )
    log_file: Path | None = Field(None, description="File that the log's JSON lines go to as well, beside stdout.")
    log_file_mb: float = Field(
        100.0, gt=0, description="Size at which `log_file` is put aside as `….1`, and that as `….2`."
    )
    log_files: int = Field(
        5, ge=1, le=1_000, description="Files that are kept beside `log_file`; older ones are deleted."
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which Prometheus gets `/metrics`; 0 takes a free one; unset: none is.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address of `metrics_port`; whoever reaches it may read the metrics."
    )
    otel_endpoint: str | None = Field(
        None,
        description="Base URL of an OpenTelemetry collector (OTLP over HTTP) that gets a trace of each turn; unset: as "
        "`OTEL_EXPORTER_OTLP_ENDPOINT` says, else none does.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        keys = (self.openai_api_key, self.azure_api_key, self.stt_api_key, self.realtime_api_key)
        if self.backend == "openai" and not any(keys):
            raise ValueError("backend=openai needs a key: set OPENAI_API_KEY")
        if self.pause_ms > self.endpoint_ms:
            raise ValueError("pause_ms must not exceed endpoint_ms")
        if self.instructions_file is not None and not self.instructions_file.is_file():
            raise ValueError(f"instructions_file {self.instructions_file} is not a file")
        if self.log_file is not None and (not self.log_file.parent.is_dir() or self.log_file.is_dir()):
            raise ValueError(f"log_file {self.log_file} is not a file in a folder that exists")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the embedded twin answers."""
        azure = self.azure_endpoint is not None and self.azure_api_key is not None
        return self.backend == "local" or (self.backend == "auto" and self.openai_api_key is None and not azure)

    @property
    def asks_for_words(self) -> bool:
        """Whether text to speech is asked for events: the service has them without words, the twin with words."""
        return self.tts_words == "on" or (self.tts_words == "auto" and self.is_local and self.tts_base_url is None)

    @property
    def prompt(self) -> str:
        """The instructions for the language model, from the file if one is named."""
        if self.instructions_file is not None:
            return self.instructions_file.read_text(encoding="utf-8").strip()
        return self.instructions
