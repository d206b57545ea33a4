"""Where an edit's old text stands in a file: exactly, or but for line ends and outer white space."""

from __future__ import annotations

import difflib

from backspace_tui.engine.tools.base import ToolError


def replace(data: bytes, old: str, new: str, *, replace_all: bool, path: str) -> tuple[bytes, int]:
    """Replace ``old`` by ``new`` in a file's bytes; returns the new content and how often it was replaced.

    Tried in this order: exactly as given; with the file's CRLF line ends; line by line without regard to leading
    and trailing white space (then once only, with the file's own indentation). Never a guess between two places.

    Raises:
        ToolError: no place, more than one without ``replace_all``, or nothing to change.
    """
    if not old:
        raise ToolError("old must not be empty; use write_file to make a new file")
    if old == new:
        raise ToolError("old and new are the same; nothing to change")
    candidates = [(old.encode(), new.encode())]
    if b"\r\n" in data and "\n" in old:
        candidates.append((_crlf(old), _crlf(new)))
    for needle, replacement in candidates:
        count = data.count(needle)
        if count == 1 or (count and replace_all):
            if b"\r\n" in data and b"\n" not in needle:
                replacement = _crlf(new)
            return data.replace(needle, replacement), count
        if count:
            lines = ", ".join(str(number) for number in _line_numbers(data, needle)[:10])
            raise ToolError(
                f"old stands {count} times in {path} (lines {lines}); "
                "give more of the lines around it, or set replace_all"
            )
    return _replace_loosely(data, old, new, path), 1


def _crlf(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def _line_numbers(data: bytes, needle: bytes) -> list[int]:
    numbers, at = [], data.find(needle)
    while at >= 0:
        numbers.append(data.count(b"\n", 0, at) + 1)
        at = data.find(needle, at + len(needle))
    return numbers


def _replace_loosely(data: bytes, old: str, new: str, path: str) -> bytes:
    lines = data.split(b"\n")
    wanted = [line.strip().encode() for line in old.strip("\n").split("\n")]
    stripped = [line.strip() for line in lines]
    size = len(wanted)
    places = [at for at in range(len(lines) - size + 1) if stripped[at : at + size] == wanted]
    if len(places) > 1:
        numbers = ", ".join(str(at + 1) for at in places[:10])
        raise ToolError(f"old matches {len(places)} places in {path} but for white space (lines {numbers}); give more")
    if not places or not any(wanted):
        raise ToolError(f"old does not stand in {path}.{_nearest(lines, old)} Read the file again and copy exactly.")
    at = places[0]
    replacement = _reindent(old.strip("\n").split("\n"), lines[at : at + size], new.strip("\n").split("\n"))
    end = b"\r" if lines[at].endswith(b"\r") else b""
    return b"\n".join([*lines[:at], *(line + end for line in replacement), *lines[at + size :]])


def _reindent(old: list[str], found: list[bytes], new: list[str]) -> list[bytes]:
    given = next((_indent(line) for line in old if line.strip()), "")
    actual = next((_indent(line.decode(errors="replace")) for line in found if line.strip()), "")
    result = []
    for line in new:
        body = line.removeprefix(given) if line.startswith(given) else line.lstrip()
        result.append((actual + body if line.strip() else "").encode())
    return result


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _nearest(lines: list[bytes], old: str) -> str:
    first = next((line.strip() for line in old.split("\n") if line.strip()), "")
    texts = [line.decode(errors="replace").strip() for line in lines[:20_000] if len(line) < 400]
    close = difflib.get_close_matches(first[:400], texts, n=1, cutoff=0.6)
    if not close:
        return ""
    return f" The nearest line is {texts.index(close[0]) + 1}: {close[0]!r}."
