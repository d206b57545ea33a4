"""A file's text as a model is shown it: cleaned, masked and numbered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from backspace_tui.core.redact import Redactor
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.tools.base import TEXT_LIMIT, ToolError, shown

READ_LIMIT: Final = 2_000
LINE_LIMIT: Final = 1_500
"""Characters of one line that a model gets."""

CUT: Final = " [... the rest of this line is left out]"
_AROUND: Final = 400
"""Lines around those shown that a secret of several lines is looked for in."""

Line = tuple[int, str]


class Part(NamedTuple):
    """Lines ``start`` to ``last`` of a file (from 1), of ``total`` in all.

    ``crlf``: all its lines end so; ``ends``: its last line has a line end.
    """

    lines: Sequence[Line]
    start: int
    last: int
    total: int
    crlf: bool
    ends: bool


def is_binary(data: bytes) -> bool:
    """Whether this is no text, as far as its beginning tells."""
    return b"\0" in data[:8000]


def split(data: bytes) -> tuple[list[bytes], bool]:
    """The lines without their line feeds, and whether the last one has one."""
    lines = data.split(b"\n")
    ends = lines[-1] == b""
    return lines[: len(lines) - ends], ends


def is_plain(line: str) -> bool:
    """Whether cleaning leaves the line as it is, found quickly for most lines."""
    return line.isascii() and line.replace("\t", " ").isprintable()


def _cleaned(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    # Each line on its own, so that no control sequence of one hides the next.
    return text if is_plain(text) else clean(line).replace("\n", " ")


def view(lines: Sequence[bytes], redactor: Redactor, first: int = 1) -> list[Line]:
    """Numbered lines, the first of which has the number ``first``; a secret of several lines stands as one."""
    texts = [_cleaned(line.removesuffix(b"\r")) for line in lines]
    result = []
    for text in redactor.redact("\n".join(texts)).split("\n") if texts else ():
        result.append((first, text))
        first += 1 + (redactor.restore(text).count("\n") if "[secret:" in text else 0)
    return result


def part(path: str, data: bytes, start: int, end: int | None, redactor: Redactor) -> Part:
    """The lines from ``start`` to ``end``, at most :data:`READ_LIMIT`.

    Raises:
        ToolError: they are not there.
    """
    lines, ends = split(data)
    last = min(len(lines), end if end and end > 0 else len(lines), start + READ_LIMIT - 1)
    if start > max(last, 1):
        raise ToolError(f"{shown(path)} has {len(lines)} lines; lines {start} to {end or 'the end'} are not there")
    low = max(0, start - 1 - _AROUND)
    seen = view(lines[low : last + _AROUND], redactor, low + 1)
    crlf = bool(lines) and all(line.endswith(b"\r") for line in lines[: len(lines) if ends else -1])
    wanted = [(number, text) for number, text in seen if start <= number <= last]
    return Part(wanted, start, last, len(lines), crlf, ends)


def describe(path: str, found: Part, room: int = TEXT_LIMIT) -> str:
    """A header, the lines that fit into ``room`` characters, and what comes after them or how the file ends."""
    room -= len(path) + 150
    body: list[str] = []
    for number, text in found.lines:
        line = f"\n{number}\t{text[:LINE_LIMIT]}" + (CUT if len(text) > LINE_LIMIT else "")
        room -= len(line)
        if room < 0 and body:
            found = found._replace(last=number - 1)
            break
        body.append(line)
    header = f"{shown(path)} lines {found.start}-{found.last} of {found.total}{' (CRLF)' if found.crlf else ''}"
    tail = "\n\\ No newline at end of file" if found.last == found.total and not found.ends else ""
    if found.last < found.total:
        tail = f"\n({found.total - found.last} more lines; read on from start_line {found.last + 1})"
    return header + "".join(body) + tail
