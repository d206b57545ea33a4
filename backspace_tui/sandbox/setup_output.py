"""What setup prints, as lines for the screen: cleaned, clipped, and not without end."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable
from typing import Final

from backspace_tui.core.terminal_text import clean

SHOWN_LINES: Final = 300
"""Lines of one command that are told; of more, the last few are."""
WIDTH: Final = 200
TAIL_LINES: Final = 4
_LONGEST: Final = 16 * 1024
_BREAK: Final = re.compile(rb"[\r\n]+")


class Told:
    """Takes output in pieces and tells ``say`` its lines; an :data:`~backspace_tui.core.protocols.OutputSink`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._open = {"stdout": b"", "stderr": b""}
        self._count = 0
        self._last: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)

    def take(self, stream: str, data: bytes) -> None:
        """The next piece of ``stdout`` or ``stderr``."""
        *whole, rest = _BREAK.split(self._open[stream] + data)
        if len(rest) > _LONGEST:
            whole, rest = [*whole, rest], b""
        self._open[stream] = rest
        for raw in whole:
            self._line(raw)

    def end(self) -> None:
        """Nothing more comes."""
        for stream, rest in self._open.items():
            self._open[stream] = b""
            self._line(rest)
        if self._count > SHOWN_LINES:
            self._say(f"... {self._count - SHOWN_LINES} more lines, the last: {self.tail}")

    @property
    def tail(self) -> str:
        """The last lines, as one."""
        return " / ".join(self._last)

    def _line(self, raw: bytes) -> None:
        text = " ".join(clean(raw[: 8 * WIDTH]).split())[:WIDTH]
        if not text:
            return
        self._last.append(text)
        self._count += 1
        if self._count <= SHOWN_LINES:
            self._say(text)
