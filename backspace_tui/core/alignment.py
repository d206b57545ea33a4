"""How the lines of two blobs correspond, read from a unified diff.

A diff is used for nothing but this correspondence: content always comes from the blobs. What git prints for two
files that end in a line feed is read by a few operations a hunk. unidiff reads everything else, on text that cannot
confuse it: the part from the first ``@@`` on, behind a header of our own (its header rules trip over paths like
``x b/y``), decoded as Latin-1 so that every byte is one character, and split on line feeds alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress, islice
from operator import itemgetter
from typing import Final, Literal, NamedTuple, overload

from backspace_tui.core.marks import Leg

Mark = Literal[" ", "-", "+"]

_MARKS: Final[dict[str, Mark]] = {" ": " ", "-": "-", "+": "+"}
_RUNS: Final = re.compile(r" +|-+|\++")
_IN_OLD: Final = bytes.maketrans(b" -+", b"\1\1\0")
_IN_NEW: Final = bytes.maketrans(b" -+", b"\1\0\1")
_FIRST_HUNK = re.compile(rb"^@@ -", re.MULTILINE)
_HEADER = re.compile(rb"\n@@ -([0-9]+)(?:,([0-9]+))? \+([0-9]+)(?:,([0-9]+))? @@[^\n]*(?=\n)")
CHANGED: Final = re.compile(r"[-+]+")
"""The change blocks in a group's marks."""
_SIGN = itemgetter(0)


class Group(NamedTuple):
    """One ``@@`` of a diff: positions count from 0, ``marks`` holds each line's ``" "``, ``-`` or ``+``.

    ``body`` are its lines with their marks, each ending in a line feed; ``old_open`` and ``new_open`` tell that the
    diff marks a side's last line as having none.
    """

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    marks: str
    body: bytes
    old_open: bool = False
    new_open: bool = False


class Lines(Sequence[tuple[Mark, bytes]]):
    """Lines with their marks and without their line feeds, like a tuple of pairs; made when they are first asked for.

    ``marks`` holds each line's mark, and ``body`` is a group's. A large diff has a hundred thousand lines, of which
    few are ever looked at.
    """

    __slots__ = ("_body", "_made", "marks")

    def __init__(self, marks: str, body: bytes) -> None:
        self.marks, self._body = marks, body
        self._made: tuple[tuple[Mark, bytes], ...] | None = None

    def _all(self) -> tuple[tuple[Mark, bytes], ...]:
        made = self._made
        if made is None:
            texts = [line[1:] for line in self._body[:-1].split(b"\n")]
            made = self._made = tuple(zip(map(_MARKS.__getitem__, self.marks), texts, strict=True))
        return made

    def __len__(self) -> int:
        return len(self.marks)

    @overload
    def __getitem__(self, index: int) -> tuple[Mark, bytes]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[Mark, bytes], ...]: ...
    def __getitem__(self, index: int | slice) -> tuple[Mark, bytes] | tuple[tuple[Mark, bytes], ...]:
        return self._all()[index]

    def __iter__(self) -> Iterator[tuple[Mark, bytes]]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Lines):
            return self.marks == other.marks and self._all() == other._all()
        return self._all() == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


def signs(lines: Sequence[tuple[str, bytes]]) -> str:
    """The mark of each line."""
    return lines.marks if isinstance(lines, Lines) else "".join([mark for mark, _ in lines])


def extent(lines: Sequence[tuple[str, bytes]]) -> tuple[int, int]:
    """The index of the first changed line, and that after the last; it reads as few lines as it can."""
    if isinstance(lines, Lines):
        end = len(lines.marks.rstrip(" "))
        return min(end, len(lines) - len(lines.marks.lstrip(" "))), end
    start, end = 0, len(lines)
    while end and lines[end - 1][0] == " ":
        end -= 1
    while start < end and lines[start][0] == " ":
        start += 1
    return start, end


class Span(NamedTuple):
    """A maximal run of changed lines: ``old[old_start:old_end]`` became ``new[new_start:new_end]`` (from 0)."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def split_lines(data: bytes) -> list[bytes]:
    """The lines with their line feeds; only ``\\n`` ends a line, and the last one may lack it."""
    return io.BytesIO(data).readlines()


@lru_cache(maxsize=16)
def read_groups(diff: bytes) -> tuple[Group, ...]:
    """The ``@@`` groups of one file's diff; cached, since every decision about a file reads its diff again.

    Raises:
        ValueError: the hunks are malformed, or belong to more than one file.
    """
    first = _FIRST_HUNK.search(diff)
    if first is None:
        return ()
    found = _plain_groups(diff[first.start() :])
    return _any_groups(diff[first.start() :]) if found is None else found


def beginning(old: bytes, new: bytes, diff: bytes, groups: int) -> tuple[bytes, bytes, bytes]:
    """Both sides and their diff as far as its first ``groups`` hunks go; all of them where there are no more.

    Raises:
        ValueError: the diff is malformed.
    """
    first = _FIRST_HUNK.search(diff)
    heads = islice(_HEADER.finditer(diff, first.start() - 1 if first else len(diff)), groups + 1)
    if (cut := next(islice(heads, groups, None), None)) is None:
        return old, new, diff
    head = diff[: cut.start() + 1]
    last = read_groups(head)[-1]
    return (
        _first_lines(old, last.old_start + last.old_count),
        _first_lines(new, last.new_start + last.new_count),
        head,
    )


def _first_lines(data: bytes, count: int) -> bytes:
    return b"".join(islice(io.BytesIO(data), count))


def _plain_groups(diff: bytes) -> tuple[Group, ...] | None:
    """The groups of a diff that holds complete lines and nothing else; ``None`` where it is another one."""
    if not diff.endswith(b"\n"):
        return None
    text = b"\n" + diff
    heads = list(_HEADER.finditer(text))
    if not heads or heads[0].start():
        return None
    ends = [head.start() + 1 for head in heads[1:]]
    groups: list[Group] = []
    for head, end in zip(heads, [*ends, len(text)], strict=True):
        body = text[head.end() + 1 : end]
        try:
            marks = bytes(map(_SIGN, body[:-1].split(b"\n"))).decode("latin-1")
        except IndexError:
            return None
        first, old, second, new = head.groups(b"1")
        old_count, new_count = int(old), int(new)
        kept = marks.count(" ")
        added, removed = marks.count("+"), marks.count("-")
        if kept + added + removed != len(marks) or (kept + removed, kept + added) != (old_count, new_count):
            return None
        # A side without lines is numbered by the line before it.
        old_start, new_start = int(first) - (1 if old_count else 0), int(second) - (1 if new_count else 0)
        groups.append(Group(old_start, old_count, new_start, new_count, marks, body))
    return tuple(groups)


def _any_groups(diff: bytes) -> tuple[Group, ...]:
    """The groups of any unified diff of one file."""
    # Few diffs need it, and a start none.
    from unidiff.errors import UnidiffParseError
    from unidiff.patch import PatchSet

    text = diff.decode("latin-1")
    if not text.endswith("\n"):
        text += "\n"
    try:
        files = PatchSet(io.StringIO("--- a\n+++ b\n" + text, newline="\n"))
    except UnidiffParseError as error:
        raise ValueError(f"the diff cannot be read: {str(error).strip()[:80]!r}") from error
    if len(files) != 1:
        raise ValueError("the diff names more than one file; give the diff of one")
    groups: list[Group] = []
    for hunk in files[0]:
        marks: list[str] = []
        body: list[str] = []
        old_open = new_open = False
        for line in hunk:
            kind = line.line_type
            if kind in ("-", "+", " "):
                marks.append(kind)
                body.append(kind + line.value)
            elif kind == "\\" and marks:
                old_open = old_open or marks[-1] != "+"
                new_open = new_open or marks[-1] != "-"
        groups.append(
            Group(
                hunk.source_start - (1 if hunk.source_length else 0),
                len(marks) - marks.count("+"),
                hunk.target_start - (1 if hunk.target_length else 0),
                len(marks) - marks.count("-"),
                "".join(marks),
                "".join(body).encode("latin-1"),
                old_open,
                new_open,
            )
        )
    return tuple(groups)


@lru_cache(maxsize=16)
def spans(diff: bytes) -> tuple[Span, ...]:
    """The maximal changed runs in order; runs that touch across two groups (``-U0``) are one. Cached."""
    found: list[Span] = []
    for group in read_groups(diff):
        old, new, seen = group.old_start, group.new_start, 0
        for run in CHANGED.finditer(group.marks):
            context = run.start() - seen
            seen = run.end()
            deleted = run.group().count("-")
            old += context
            new += context
            span = Span(old, old + deleted, new, new + len(run.group()) - deleted)
            old, new = span.old_end, span.new_end
            if found and (found[-1].old_end, found[-1].new_end) == (span.old_start, span.new_start):
                span = Span(found[-1].old_start, span.old_end, found[-1].new_start, span.new_end)
                found.pop()
            found.append(span)
    return tuple(found)


def align(old: list[bytes], new: list[bytes], diff: bytes) -> tuple[Span, ...]:
    """The changed runs of ``diff``, proven to lead from ``old`` to ``new`` (see :func:`split_lines`).

    Raises:
        ValueError: the diff is malformed or is not a diff of these two.
    """
    for _ in proven(old, new, diff):
        pass
    return spans(diff)


def proven(old: list[bytes], new: list[bytes], diff: bytes) -> Iterator[tuple[Group, list[bytes]]]:
    """Each group of ``diff`` and its lines without their marks; their line endings are those of the files.

    That they lead from ``old`` to ``new`` is proven with the last group.

    Raises:
        ValueError: the diff is malformed or is not a diff of these two.
    """
    old_at = new_at = 0
    for group in read_groups(diff):
        start, end = group.old_start, group.new_start
        # Whatever the diff does not mention must be the same on both sides, line endings included: this is
        # what makes "everything chosen" equal to the new side.
        if not (old_at <= start and new_at <= end and old[old_at:start] == new[new_at:end]):
            raise _other_text(group) if min(start, end) < 0 else _left_out(old_at)
        old_at, new_at = start + group.old_count, end + group.new_count
        lines = [line[1:] for line in split_lines(group.body)]
        marks = group.marks.encode()
        complete = not (group.old_open or group.new_open)
        if not (
            complete
            and b"".join(compress(lines, marks.translate(_IN_OLD))) == b"".join(old[start:old_at])
            and b"".join(compress(lines, marks.translate(_IN_NEW))) == b"".join(new[end:new_at])
        ):
            lines = _lines(group, old, new)
        yield group, lines
    if old[old_at:] != new[new_at:]:
        raise _left_out(old_at)


def _lines(group: Group, old: list[bytes], new: list[bytes]) -> list[bytes]:
    """The group's lines as they are in the two sides, where one of them may lack its line feed."""
    old_at, new_at = group.old_start, group.new_start
    found: list[bytes] = []
    pieces: list[bytes] = []
    for run in _RUNS.findall(group.marks):
        mark, count = run[0], len(run)
        if mark == "+":
            lines = new[new_at : new_at + count]
            new_at += count
        else:
            lines = old[old_at : old_at + count]
            if mark == " ":
                if lines != new[new_at : new_at + count]:
                    raise _left_out(old_at)
                new_at += count
            old_at += count
        if len(lines) != count:
            raise _other_text(group)
        found += lines
        # Each line ends in its line feed, so that the sign stands between them.
        sign = mark.encode()
        piece = sign + sign.join(lines)
        pieces.append(piece if piece.endswith(b"\n") else piece + b"\n")
    # A diff without "\ No newline" markers is taken as it is, but a marker must be true.
    closed = (group.old_open and _complete(old, old_at)) or (group.new_open and _complete(new, new_at))
    if closed or b"".join(pieces) != group.body:
        raise _other_text(group)
    return found


def _left_out(line: int) -> ValueError:
    return ValueError(f"the diff does not match the files: it leaves out a difference near old line {line + 1}")


def _other_text(group: Group) -> ValueError:
    return ValueError(f"the diff does not match the files: other text at line {group.old_start + 1}")


def _complete(lines: list[bytes], end: int) -> bool:
    """Whether the line before ``end`` ends in a line feed."""
    return not 0 < end <= len(lines) or lines[end - 1].endswith(b"\n")


def leg(diff: bytes) -> Leg:
    """The leg that a unified diff describes.

    Raises:
        ValueError: the diff is malformed.
    """
    return Leg(spans(diff))
