"""Where an edit's old text stands in a file, and what the file holds after it.

Tried in this order: exactly as given, line ends apart; then line by line without regard to white space, blank lines and
typographic look-alikes. There must be one such place: between two there is never a guess.
"""

from __future__ import annotations

import bisect
import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Final, NamedTuple

from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.tools.base import ToolError
from backspace_tui.engine.tools.indentation import Indentation, indent_of
from backspace_tui.engine.tools.view import is_plain

_ALIKE: Final = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2010": "-",
    "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2026": "...",
})  # fmt: skip
SIZE_LIMIT: Final = 64 << 20
"""The most bytes that a file may have after an edit."""

LOOSE_LINES: Final = 2_000
"""Longer texts must match exactly."""

_NUMBERED: Final = re.compile(r"\s*\d+\t")


class Edited(NamedTuple):
    """The new content, how many places were replaced, and the number of the first line of the first one.

    ``note`` says what of the old text was not exactly so in the file.
    """

    data: bytes
    places: int
    line: int
    note: str = ""


class NoPlace(ToolError):
    """The old text stands nowhere in the file, or not closely enough to edit it."""


def replace(data: bytes, old: str, new: str, *, replace_all: bool, path: str) -> Edited:
    """Replace ``old`` by ``new`` in a file's bytes.

    What stays in the place keeps its bytes, white space and line ends; what is new gets the line ends of the place, and
    its indentation where ``old`` was indented in another way. ``path`` is for the errors alone.

    Raises:
        NoPlace: there is no such place, or only one that differs in more than its white space.
        ToolError: more than one place without ``replace_all``, or nothing to change.
    """
    if not old:
        raise ToolError("old must not be empty; use write_file to make a new file")
    if old == new:
        raise ToolError("old and new are the same; nothing to change")
    text = _Text(data)
    before, after = _encoded(old, "old"), _encoded(new, "new")
    if b"\r\n" in before or b"\r\n" in data:
        before, after = before.replace(b"\r\n", b"\n"), after.replace(b"\r\n", b"\n")
    if before == after:
        raise ToolError("old and new differ in their line ends alone, which edit_file keeps; use write_file")
    places = list(islice(_places(text.plain, before), 11))
    if len(places) > 1 and not replace_all:
        count = max(len(places), text.plain.count(before))
        raise ToolError(
            f"old stands {count} times in {path} (lines {_numbers(text.line(at) for at in places)}); "
            "give more of the lines around it, or set replace_all"
        )
    if places:
        return _exactly(text, before, after)
    return _loosely(text, before.decode("utf-8"), after.decode("utf-8"), path, replace_all=replace_all)


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ToolError(f"{name} holds an unpaired surrogate, which is no text") from None


class _Text:
    """A file's bytes, and the same with every line end a line feed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        found = [match.start() for match in re.finditer(b"\r\n", data)] if b"\r\n" in data else []
        self.plain = data.replace(b"\r\n", b"\n") if found else data
        self._pairs = [at - number for number, at in enumerate(found)]

    def offset(self, at: int) -> int:
        """Where ``at`` of :attr:`plain` is in :attr:`data`; a line end of two bytes is never cut in two."""
        return at + bisect.bisect_left(self._pairs, at)

    def line(self, at: int) -> int:
        """The number of the line that ``at`` of :attr:`plain` is in."""
        return self.plain.count(b"\n", 0, at) + 1

    def ending(self, at: int) -> bytes:
        """The line end of the line at ``at`` of :attr:`plain`, or else of the one before it."""
        if not self._pairs:
            return b"\n"
        end = self.plain.find(b"\n", at)
        if end < 0:
            end = self.plain.rfind(b"\n", 0, at)
        number = bisect.bisect_left(self._pairs, end)
        return b"\r\n" if number < len(self._pairs) and self._pairs[number] == end else b"\n"


def _places(data: bytes, needle: bytes) -> Iterator[int]:
    """Where ``needle`` begins, overlapping places too."""
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1)


def _numbers(lines: Iterable[int]) -> str:
    numbers = list(islice(dict.fromkeys(lines), 11))
    return ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")


def _exactly(text: _Text, old: bytes, new: bytes) -> Edited:
    """Every place replaced; what ``old`` and ``new`` begin and end with keeps its bytes."""
    count, first = text.plain.count(old), text.plain.find(old)
    if len(text.data) + count * (len(new) - len(old)) > SIZE_LIMIT:
        raise ToolError(f"the file would be larger than {SIZE_LIMIT:,} bytes with {count} places replaced")
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    middle = new[head : len(new) - tail]
    parts, done, at = [], 0, first
    while at >= 0:
        start, end = at + head, at + len(old) - tail
        parts += [text.data[done : text.offset(start)], middle.replace(b"\n", text.ending(start))]
        done, at = text.offset(end), text.plain.find(old, at + len(old))
    return Edited(b"".join([*parts, text.data[done:]]), count, text.line(first))


def _common(one: bytes, other: bytes) -> int:
    """How many bytes at the beginning are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        half = (low + high + 1) // 2
        low, high = (half, high) if one[:half] == other[:half] else (low, half - 1)
    return low


def key(line: str) -> str:
    """What two lines have in common that differ in their white space or typography alone; empty for a blank one."""
    if not is_plain(line):
        line = unicodedata.normalize("NFC", clean(line)).translate(_ALIKE)
    return " ".join(line.split())


def _loosely(text: _Text, old: str, new: str, path: str, *, replace_all: bool) -> Edited:
    wanted = [key(line) for line in old.split("\n")]
    solid = [one for one in wanted if one]
    if len(solid) > LOOSE_LINES:
        raise NoPlace(f"old does not stand in {path} exactly, and is too long for any other match")
    lines = text.plain.removesuffix(b"\n").split(b"\n")
    found = [(number, one) for number, line in enumerate(lines) if (one := key(line.decode("utf-8", "replace")))]
    starts = _runs([one for _, one in found], solid) if solid else []
    if len(starts) > 1:
        hint = "; replace_all takes exact matches alone" if replace_all else ""
        raise ToolError(
            f"old matches {len(starts)} places in {path} but for white space "
            f"(lines {_numbers(found[at][0] + 1 for at in starts)}); copy more of the lines around it exactly{hint}"
        )
    if not starts:
        if solid and all(_NUMBERED.match(line) for line in old.split("\n") if line.strip()):
            raise NoPlace(
                f"old does not stand in {path}: it holds the line numbers that read_file adds; leave them out"
            )
        raise NoPlace(f"old does not stand in {path}")
    matched = [number for number, _ in found[starts[0] : starts[0] + len(solid)]]
    return _Place(text, lines, matched, old, wanted).edited(new, path)


def _runs(keys: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where ``wanted`` begins in ``keys``, neither of which holds line feeds."""
    whole, part = "\n".join(["", *keys, ""]), "\n".join(["", *wanted, ""])
    starts, at = [], whole.find(part)
    if at < 0:
        return []
    ends = [index for index, char in enumerate(whole) if char == "\n"]
    while at >= 0:
        starts.append(bisect.bisect_left(ends, at))
        at = whole.find(part, at + 1)
    return starts


class _Place:
    """The lines of a file that stand for the lines of ``old``, one for one but for blank ones."""

    def __init__(
        self, text: _Text, lines: Sequence[bytes], matched: Sequence[int], old: str, keys: Sequence[str]
    ) -> None:
        self._text, self._lines = text, lines
        self._old = _lines(old)
        self._spans = _spans(keys[: len(self._old)], matched, lines)
        self._starts = [0, *accumulate(len(line) + 1 for line in lines)]

    def edited(self, new: str, path: str) -> Edited:
        """The file with ``new`` in this place.

        Raises:
            NoPlace: a line that would change differs in more than white space, or the indentation is beyond a guess.
        """
        wanted = _lines(new)
        steps = difflib.SequenceMatcher(None, self._old, wanted, autojunk=False).get_opcodes()
        changed = {at for tag, start, end, _, _ in steps if tag != "equal" for at in range(start, end)}
        alike = [at for at, line in enumerate(self._old) if line.split() != self._line(at).split()]
        if off := [at for at in alike if at in changed]:
            raise NoPlace(f"old does not stand in {path} exactly: {self._differences(off)}")
        near = self._lines[max(0, self._spans[0][0] - 200) : self._spans[-1][2] + 200]
        pairs = [(indent_of(line), indent_of(self._line(at))) for at, line in enumerate(self._old) if line.strip()]
        indentation = Indentation(pairs, wanted, [line.decode("utf-8", "replace") for line in near])
        result: list[tuple[bytes, bytes]] = []
        for tag, start, end, first, last in steps:
            low, high, whole = self._range(start, end)
            if tag == "equal":
                high = low
            else:
                fresh = self._fresh(wanted[first:last], range(start, end), indentation, path)
                result += [(line, self._ending(low)) for line in fresh]
            result += [(self._lines[at], self._ending(at)) for at in range(high, whole)]
        return self._joined(result, alike)

    def _line(self, at: int) -> str:
        start, end, _ = self._spans[at]
        return self._lines[start].decode("utf-8", "replace") if end > start else ""

    def _range(self, start: int, end: int) -> tuple[int, int, int]:
        """The file's lines for these of ``old``, and the end of the blank lines after them that ``old`` left out."""
        if start < end:
            return self._spans[start][0], *self._spans[end - 1][1:]
        at = self._spans[start][0] if start < len(self._spans) else self._spans[-1][2]
        return at, at, at

    def _ending(self, number: int) -> bytes:
        return self._text.ending(self._starts[min(number, len(self._lines) - 1)])

    def _fresh(self, lines: Sequence[str], replaced: range, indentation: Indentation, path: str) -> list[bytes]:
        """New lines as the file would indent them."""
        result = []
        for number, line in enumerate(lines):
            if not line.strip():
                result.append(b"")
                continue
            indent, found = indent_of(line), None
            # A changed line that was indented like the one whose place it takes is still indented like it.
            at = replaced[number] if number < len(replaced) else None
            if at is not None and self._old[at].strip() and indent_of(self._old[at]) == indent:
                found = indent_of(self._line(at))
            else:
                found = indentation.of(indent)
            if found is None:
                raise NoPlace(
                    f"the lines of old are indented in another way in {path} (from line {self._spans[0][0] + 1}), and "
                    "how new is to be indented there cannot be told; copy the lines exactly"
                )
            result.append((found + line[len(indent) :]).encode())
        return result

    def _differences(self, numbers: Sequence[int]) -> str:
        shown = [f"line {self._spans[at][0] + 1} is {clean(self._line(at))[:200]!r}" for at in numbers[:5]]
        return "; ".join(shown) + ". Copy it exactly, or leave it out of what changes"

    def _joined(self, result: Sequence[tuple[bytes, bytes]], alike: Sequence[int]) -> Edited:
        first, last = self._spans[0][0], self._spans[-1][2]
        data, end = self._text.data, self._text.offset(self._starts[last])
        body = b"".join(line + ending for line, ending in result)
        if last == len(self._lines) and not self._text.plain.endswith(b"\n"):
            # The file's last line has no line end, and keeps having none.
            end = len(data)
            body = body[: len(body) - len(result[-1][1])] if result else body
        note = "old matched but for white space"
        if alike:
            note += f" and look-alike characters: {self._differences(alike)}"
        return Edited(data[: self._text.offset(self._starts[first])] + body + data[end:], 1, first + 1, note)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _spans(keys: Sequence[str], matched: Sequence[int], lines: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """For each line of the old text its line in the file, as start and end, and the end of the blank lines after it.

    A blank line that the file lacks has none: its start is its end. Blank lines that only the file has come after the
    last one of their gap that both have.
    """
    solid = [at for at, one in enumerate(keys) if one]
    start = matched[0]
    while matched[0] - start < solid[0] and start > 0 and _blank(lines[start - 1]):
        start -= 1
    missing = solid[0] - (matched[0] - start)
    spans = [(start, start, start)] * missing + [(at, at + 1, at + 1) for at in range(start, matched[0])]
    for index, (at, number) in enumerate(zip(solid, matched, strict=True)):
        inner = index + 1 < len(solid)
        blanks = (solid[index + 1] if inner else len(keys)) - at - 1
        limit = matched[index + 1] if inner else number + 1
        while not inner and limit - number - 1 < blanks and limit < len(lines) and _blank(lines[limit]):
            limit += 1
        here = [min(number + 1 + offset, limit) for offset in range(blanks + 1)]
        spans.append((number, number + 1, number + 1))
        spans += [(low, min(low + 1, limit), min(low + 1, limit)) for low in here[:blanks]]
        spans[-1] = (*spans[-1][:2], limit)
    return spans


def _blank(line: bytes) -> bool:
    return not key(line.decode("utf-8", "replace"))
