"""What the user said or typed to a voice model: in order, kept until it is answered, matched with its words by item."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from voiceagent.events import FinalTranscript, PartialTranscript, SttFailed
from voiceagent.stages.pieces import CHUNK_BYTES, MIN_COMMIT_BYTES
from voiceagent.stages.ports import StageError, Transcribed
from voiceagent.stages.realtime import append_event
from voiceagent.stages.voice_config import deletion, typed_item

MAX_SAID = 64
MAX_EARLY = 16


@dataclass(slots=True, eq=False)
class Said:
    """An item's audio, or a typed line."""

    key: int  # the agent's number of the item; below zero for what was typed
    text: str = ""  # typed
    audio: bytearray = field(default_factory=bytearray)
    committed: bool = False
    answered: bool = False
    unwanted: bool = False
    final: bool = False  # its words were told
    words: str = ""
    retries: int = 0  # connections that were lost after all of it was sent, and before it was answered
    # what the present connection knows of it
    sent: int = 0
    asked: bool = False  # its commit, or its line, was sent
    item_id: str | None = None


class SaidList:
    """The list of it. `post` takes transcripts, `control` takes events that are to be sent before anything else."""

    def __init__(self, post: Callable[[Transcribed], None], control: Callable[[dict[str, Any]], None]) -> None:
        self._post = post
        self._control = control
        self._said: list[Said] = []  # answered ones while their words are still to come
        self._open: Said | None = None
        self._early: dict[str, dict[str, Any]] = {}  # words that came before it was known whose they are
        self._typed = 0

    @property
    def waits(self) -> bool:
        """Whether something is being said, or was said and is not answered."""
        return any(not said.answered for said in self._said)

    @property
    def asked(self) -> set[int]:
        """The keys of what the server has."""
        return {said.key for said in self._said if said.asked}

    # ------------------------------------------------------------------------------ the user
    def open(self, item: int) -> None:
        """Begin an item."""
        self._open = Said(item)
        self._keep(self._open)

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""
        if self._open is not None:
            self._open.audio += pcm

    def commit(self, item: int) -> bool:
        """End the open item; False if it is another one."""
        said = self._open
        if said is None or said.key != item:
            return False
        self._open = None
        said.committed = True
        said.audio += bytes(max(0, MIN_COMMIT_BYTES - len(said.audio)))
        return True

    def type(self, text: str) -> None:
        """Put in a typed line."""
        self._typed -= 1
        self._keep(Said(self._typed, text=text, committed=True, final=True))

    def discard(self, item: int) -> None:
        """Forget an item."""
        said = next((said for said in self._said if said.key == item), None)
        if said is None:
            return
        self._open = None if self._open is said else self._open
        if said.asked:
            said.unwanted, said.final = True, True
            self._forget_if_unwanted(said)
        else:
            self._said.remove(said)
            if said.sent:
                self._control({"type": "input_audio_buffer.clear"})

    def _keep(self, said: Said) -> None:
        self._said.append(said)
        if len(self._said) > MAX_SAID:
            del self._said[0]

    # ------------------------------------------------------------------------------ the server
    def next_event(self, *, fresh: bool) -> str | Mapping[str, Any] | None:
        """Return what is to be sent of it next; to a `fresh` conversation nothing that would stand before its past."""
        for said in self._said:
            if said.answered or said.asked:
                continue
            if said.sent < len(said.audio):
                chunk = bytes(said.audio[said.sent : said.sent + CHUNK_BYTES])
                said.sent += len(chunk)
                return append_event(said.key, chunk)
            if fresh or not said.committed:
                return None  # the server has one buffer: what follows waits for this one's commit
            said.asked = True
            if said.text:
                return typed_item(said.text)
            return f'{{"type":"input_audio_buffer.commit","event_id":"commit_{said.key}"}}'
        return None

    def settle(self, keys: set[int]) -> None:
        """What has these keys needs no other answer: its audio is not needed again."""
        for said in self._said:
            if said.key in keys:
                said.answered = True
                said.audio.clear()
        self._said = [said for said in self._said if not (said.answered and said.final)]

    def forget_connection(self) -> None:
        """Count all that is not answered as not sent; the words of the rest will not come any more."""
        self._early.clear()
        for said in self._said:
            if said.answered and not said.final:
                self._post(FinalTranscript(said.key, said.words.strip(), said.retries))
        self._said = [said for said in self._said if not said.answered and not said.unwanted]
        for said in self._said:
            said.retries += said.asked
            said.sent, said.asked, said.item_id = 0, False, None

    def fail(self, failure: StageError) -> None:
        """There will be no words of anything."""
        for said in self._said:
            if said.committed and not said.final:
                said.final = True
                self._post(SttFailed(said.key, failure.code, failure.message, said.retries))

    # ------------------------------------------------------------------------------ its words
    def take(self, kind: str, event: Mapping[str, Any]) -> None:
        """Take in an event; most are not about items."""
        if kind == "input_audio_buffer.committed":
            self._bind(event["item_id"])
        elif kind.startswith("conversation.item.input_audio_transcription."):
            self._words(kind.rpartition(".")[2], event)

    def empty(self, event_id: str) -> bool:
        """A commit with this id was refused; False if it is none of ours. One that stands already is not touched."""
        for said in self._said:
            if event_id == f"commit_{said.key}" and not said.text:
                if said.item_id is None:
                    self._said.remove(said)
                    self._post(FinalTranscript(said.key, "", said.retries))
                return True
        return False

    def lacks(self, event_id: str) -> bool:
        """Whether this id is of audio that is still to be answered: it was refused."""
        return any(event_id == f"append_{said.key}" and not said.answered for said in self._said)

    def _bind(self, item_id: str) -> None:
        """The service confirms commits in the order in which it got them."""
        for said in self._said:
            if said.asked and not said.text and said.item_id is None:
                said.item_id = item_id
                self._forget_if_unwanted(said)
                break
        early = self._early.pop(item_id, None)
        if early is not None:
            self.take(early["type"], early)

    def _forget_if_unwanted(self, said: Said) -> None:
        if said.unwanted and said.item_id is not None:
            self._control(deletion(said.item_id))
            self._said.remove(said)

    def _words(self, kind: str, event: Mapping[str, Any]) -> None:
        said = next((said for said in self._said if said.item_id == event["item_id"]), None)
        if said is None:
            if kind != "delta" and len(self._early) < MAX_EARLY:
                self._early[event["item_id"]] = dict(event)
        elif said.final:
            return
        elif kind == "delta":
            said.words += event.get("delta") or ""
            self._post(PartialTranscript(said.key, said.words))
        elif kind in {"completed", "failed"}:  # what could not be written down was heard all the same
            said.final = True
            if said.answered:
                self._said.remove(said)
            self._post(FinalTranscript(said.key, str(event.get("transcript") or said.words).strip(), said.retries))
