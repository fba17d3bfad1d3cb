"""What comes in from the browser: message after message, in measure, and how many mistakes are forgiven."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from voiceagent import protocol
from voiceagent.allowance import Allowance
from voiceagent.events import Left

MAX_MISTAKES = 10
MIC_BURST_S, MIC_SPEED = 12.0, 1.5  # a stalled network catches up; a flood is something else
MESSAGES_BURST, MESSAGES_PER_S = 400, 60


class Gone(Exception):  # noqa: N818 - what happened, not whose error
    """The browser has left."""


class Socket(Protocol):
    """One WebSocket, accepted, as messages: what they look like on the wire is its own affair.

    Every method raises `Gone` when the browser has left.
    """

    async def receive(self) -> protocol.Message | protocol.MicFrame:
        """Return the next message. Raises `ProtocolError` for one that is none."""

    async def send(self, message: protocol.Message | protocol.ReplyFrame) -> None:
        """Send one message."""

    async def close(self, code: int, reason: str) -> None:
        """Close it with a code; never raises."""


class Incoming:
    """Reads `socket` and hands each message to `take`, which raises `ProtocolError` for what cannot be.

    `complain` answers a forgiven mistake, `leave` ends the session; `busy` says that facts wait to be decided on.
    """

    def __init__(
        self, socket: Socket, take: Callable[[protocol.Message | protocol.MicFrame], None],
        *, now_us: Callable[[], int], leave: Callable[[Left], None], busy: Callable[[], bool],
        complain: Callable[[protocol.ProtocolError], None],
    ) -> None:  # fmt: skip
        self._socket = socket
        self._take = take
        self._now_us = now_us
        self._leave = leave
        self._busy = busy
        self._complain = complain
        self._mistakes = 0
        self.heard_us = now_us()
        """The browser's last sign of life."""

    async def run(self) -> None:
        """Read until the browser has left, or has gone too far."""
        audio = Allowance(MIC_BURST_S, MIC_SPEED, self.heard_us)
        messages = Allowance(MESSAGES_BURST, MESSAGES_PER_S, self.heard_us)
        try:
            while True:
                try:
                    message = await self._socket.receive()
                    self.heard_us = self._now_us()
                    if isinstance(message, protocol.MicFrame):
                        allowed = audio.take(len(message.pcm) / 2 / protocol.RATE_HZ, self.heard_us)
                    else:
                        allowed = messages.take(1, self.heard_us)
                    if not allowed:
                        text = "More was sent than a conversation needs."
                        self._leave(Left("too_fast", protocol.Close.POLICY, text, "Send audio as it is recorded."))
                        return
                    self._take(message)
                    if self._busy():  # after a stall much comes at once: each fact is decided on in its place
                        await asyncio.sleep(0)
                except protocol.ProtocolError as error:
                    self._mistake(error)
        except Gone:
            self._leave(Left("disconnected"))

    def _mistake(self, error: protocol.ProtocolError) -> None:
        self._mistakes += 1
        if self._mistakes >= MAX_MISTAKES:
            hint = "Reload the page; if it happens again, the client does not speak this protocol."
            self._leave(Left(error.code, protocol.Close.BAD_MESSAGE, error.message, hint))
        else:
            self._complain(error)
