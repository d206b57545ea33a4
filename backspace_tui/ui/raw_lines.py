"""Lines of files as bytes, and as what is shown of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from backspace_tui.core.terminal_text import visible

TAB: Final = "    "
MAX_COLUMNS: Final = 3000
"""Columns that are shown of a line, and as many can be scrolled to the left."""

_CLIPPED: Final = 4 * 2 * MAX_COLUMNS
"""Bytes that make at least the columns that can be shown: a character has at most four."""

_SPELLED: Final = frozenset("u+0123456789abcdef")


def raw_lines(data: bytes) -> list[bytes]:
    """A whole file as lines, split at line feeds alone; a file that looks binary is one note."""
    if b"\0" in data[:8000]:
        return [b"binary file, %d bytes" % len(data)]
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def shown(line: bytes | str) -> str:
    """A line of a file as it is shown: nothing invisible, tabs as blanks."""
    return visible(line).replace("\t", TAB)


@lru_cache(maxsize=1024)
def shown_part(line: bytes | str) -> str:
    """As :func:`shown`, for as much of the line as can ever be seen."""
    return shown(line[:_CLIPPED])


def matcher(query: str) -> Callable[[bytes | str], bool]:
    """Whether a line holds ``query`` as it is shown, without regard to case.

    Plain lines are searched as they are; only those that may be shown in other words are made so first.
    """
    folded = query.casefold()
    needle = folded.encode() if folded.isascii() else None
    spelled = "<" in folded or ">" in folded or set(folded) <= _SPELLED
    blank = " " in folded

    def matches(line: bytes | str) -> bool:
        if isinstance(line, str):
            return folded in line.casefold()
        if line.isascii():
            if not (blank and b"\t" in line) and not spelled:
                return needle is not None and needle in line.lower()
        elif not spelled and not blank:
            return folded in line.decode("utf-8", "surrogateescape").casefold()
        if needle is not None and needle in line.lower():
            return True
        return folded in shown(line).casefold()

    return matches
