"""Messages between the twin and its worker processes: a JSON head with the length of the bytes that follow it."""

import json
import struct
from typing import IO, Any

HEAD = struct.Struct("<II")
MAX_BYTES = 64 * 1024 * 1024


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Return one message."""
    text = json.dumps(head).encode()
    return HEAD.pack(len(text), len(body)) + text + body


def read(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read one message, blocking; None at the end of the stream."""
    lengths = stream.read(HEAD.size)
    if len(lengths) < HEAD.size:
        return None
    text, body = HEAD.unpack(lengths)
    return json.loads(stream.read(text)), stream.read(body) if body else b""


def write(stream: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    """Write one message."""
    stream.write(pack(head, body))
    stream.flush()
