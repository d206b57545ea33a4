"""Frames to and from the supervisor: two big-endian u32 lengths, a JSON header, a payload.

The other side is ``sandbox/supervisor_wire.py``, which runs on the image's Python and shares no module with us.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Final

CHUNK: Final = 256 * 1024
MAX_FRAME: Final = 64 * 1024 * 1024
_LENGTHS: Final = struct.Struct(">II")

Header = dict[str, Any]


class ProtocolError(Exception):
    """The other side does not speak our protocol."""


def encode(header: Header, payload: bytes = b"") -> bytes:
    """One frame. Text may hold lone surrogates, as :func:`os.fsdecode` makes them."""
    head = json.dumps(header).encode()
    return _LENGTHS.pack(len(head), len(payload)) + head + payload


class Parser:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Header, bytes]]:
        """The frames that ``data`` completes.

        Raises:
            ProtocolError: the stream is not ours.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(self._buffer)
            if head + body > MAX_FRAME:
                raise ProtocolError("a frame is too long")
            end = _LENGTHS.size + head + body
            if len(self._buffer) < end:
                return
            try:
                header = json.loads(bytes(self._buffer[_LENGTHS.size : _LENGTHS.size + head]))
            except ValueError as error:
                raise ProtocolError("a header is not JSON") from error
            if not isinstance(header, dict):
                raise ProtocolError("a header is not an object")
            payload = bytes(self._buffer[_LENGTHS.size + head : end])
            del self._buffer[:end]
            yield header, payload
