"""Audio on the wire: the binary frames of both directions, their headers, and their limits."""

import struct
from dataclasses import dataclass

RATE_HZ = 24_000
FRAME_MS = 20
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000

MIC_KIND = 1
REPLY_KIND = 2
_MIC_HEADER = struct.Struct("<BBHId")
_REPLY_HEADER = struct.Struct("<BBHIII")
HEADER_BYTES = 16
MAX_MIC_SAMPLES = RATE_HZ // 5


class ProtocolError(Exception):
    """What the peer sent is not of this protocol.

    ``code`` is one of the codes of `Error`, ``message`` a sentence that names what is wrong and never quotes content.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# ---------------------------------------------------------------------------------- audio frames
@dataclass(frozen=True, slots=True)
class MicFrame:
    """Microphone audio, browser to server: 1 to 4,800 samples of PCM16 mono at 24 kHz, 480 as a rule.

    ``seq`` counts frames from 0 without a gap. ``captured_ms`` is the browser's clock at the frame's first sample.
    Header: kind 1 (u8), zero (u8), zero (u16), seq (u32), captured_ms (f64).
    """

    seq: int
    captured_ms: float
    pcm: bytes

    def pack(self) -> bytes:
        """Return the frame as it goes over the wire."""
        return _MIC_HEADER.pack(MIC_KIND, 0, 0, self.seq, self.captured_ms) + self.pcm

    @classmethod
    def unpack(cls, data: bytes) -> "MicFrame":
        """Read a frame. Raises `ProtocolError` with code ``bad_frame``."""
        size = len(data) - HEADER_BYTES
        if size < 0 or data[0] != MIC_KIND:
            raise ProtocolError("bad_frame", "A binary message must be a microphone frame with its 16-byte header.")
        if size == 0 or size % 2 or size > MAX_MIC_SAMPLES * 2:
            raise ProtocolError("bad_frame", f"A microphone frame holds 1 to {MAX_MIC_SAMPLES} whole 16-bit samples.")
        _, _, _, seq, captured_ms = _MIC_HEADER.unpack_from(data)
        if not 0 <= captured_ms < 1e15:  # also refuses NaN
            raise ProtocolError("bad_frame", "A microphone frame's capture time is not a time.")
        return cls(seq, captured_ms, data[HEADER_BYTES:])


@dataclass(frozen=True, slots=True)
class ReplyFrame:
    """Reply audio, server to browser: PCM16 mono at 24 kHz, at most 100 ms.

    ``first_sample`` is the position of the frame's first sample within its epoch; frames of an epoch come in order and
    without a gap. A frame of an epoch that was flushed is to be dropped by the browser. ``filler`` marks the sound that
    bridges a long wait: it is played and acknowledged like a reply, but it is none.
    Header: kind 2 (u8), flags (u8, bit 0: filler), zero (u16), turn (u32), epoch (u32), first_sample (u32).
    """

    turn: int
    epoch: int
    first_sample: int
    pcm: bytes
    filler: bool = False

    def pack(self) -> bytes:
        """Return the frame as it goes over the wire."""
        header = _REPLY_HEADER.pack(REPLY_KIND, int(self.filler), 0, self.turn, self.epoch, self.first_sample)
        return header + self.pcm

    @classmethod
    def unpack(cls, data: bytes) -> "ReplyFrame":
        """Read a frame. Raises `ProtocolError` with code ``bad_frame``."""
        if len(data) <= HEADER_BYTES or data[0] != REPLY_KIND or len(data) % 2:
            raise ProtocolError("bad_frame", "A binary message must be a reply frame with its 16-byte header.")
        _, flags, _, turn, epoch, first_sample = _REPLY_HEADER.unpack_from(data)
        return cls(turn, epoch, first_sample, data[HEADER_BYTES:], filler=bool(flags & 1))
