"""What goes over a session's socket while a shell is open: a kind in one byte, a big-endian u32 length, a payload."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

DATA: Final = b"d"
"""Both ways: what was typed, and the terminal's raw output."""
SIZE: Final = b"s"
"""To the session: the window's size, a :class:`Size`."""
NOTE: Final = b"n"
"""To the window: a line for its user, before the shell is open."""
OPENED: Final = b"o"
"""To the window: what is typed from now on reaches the shell."""
ENDED: Final = b"e"
"""To the window, the last one: an :class:`Ended`."""

_HEAD: Final = struct.Struct(">cI")
_LARGEST: Final = 4 * 1024 * 1024


class Size(msgspec.Struct, frozen=True):
    """A terminal's, in characters."""

    rows: int
    cols: int


class Ended(msgspec.Struct, frozen=True):
    """How a shell ended: ``exit_code`` (``None``: killed), the setting whose limit it met, what it changed.

    ``changed`` names the first of the changed paths, as they are shown, and ``count`` is the number of them.
    ``error`` is one line where something else ended it; what it changed since the last snapshot is lost then.
    """

    exit_code: int | None = None
    limit: str = ""
    changed: tuple[str, ...] = ()
    count: int = 0
    error: str = ""


def encode(kind: bytes, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(kind, len(payload)) + payload


class Parser:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The kinds and payloads that ``data`` completes; raises ``ValueError`` for what is not a stream of frames."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer)
            if length > _LARGEST:
                raise ValueError("a frame is too long")
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield kind, payload
