"""How the lines of two blobs correspond, read from a unified diff.

A diff is used for nothing but this correspondence: content always comes from the blobs. What git prints for two
files that end in a line feed is read by a few operations a hunk. unidiff reads everything else, on text that cannot
confuse it: the part from the first ``@@`` on, behind a header of our own (its header rules trip over paths like
``x b/y``), decoded as Latin-1 so that every byte is one character, and split on line feeds alone.
"""

from __future__ import annotations

import io
import re
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from backspace_tui.core.marks import Leg

RUNS: Final = re.compile(r" +|-+|\++")
"""The runs of one sign in a group's marks."""

_FIRST_HUNK = re.compile(rb"^@@ -", re.MULTILINE)
_HEADER = re.compile(rb"\n@@ -([0-9]+)(?:,([0-9]+))? \+([0-9]+)(?:,([0-9]+))? @@[^\n]*(?=\n)")
_CHANGED = re.compile(r"[-+]+")
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
        for run in _CHANGED.finditer(group.marks):
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


def align(old: list[bytes], new: list[bytes], diff: bytes) -> tuple[tuple[Group, ...], tuple[Span, ...]]:
    """The groups and changed runs of ``diff``, proven to lead from ``old`` to ``new`` (see :func:`split_lines`).

    Raises:
        ValueError: the diff is malformed or is not a diff of these two.
    """
    groups = read_groups(diff)
    for group in groups:
        _check(group, old, new)
    changed = spans(diff)
    old_at = new_at = 0
    for span in [*changed, Span(len(old), len(old), len(new), len(new))]:
        # Whatever the diff does not mention must be the same on both sides, line endings included: this is
        # what makes "everything chosen" equal to the new side.
        if span.old_start < old_at or old[old_at : span.old_start] != new[new_at : span.new_start]:
            raise ValueError(
                f"the diff does not match the files: it leaves out a difference near old line {old_at + 1}"
            )
        old_at, new_at = span.old_end, span.new_end
    return groups, changed


def _check(group: Group, old: list[bytes], new: list[bytes]) -> None:
    """Whether the group's lines are those of the two sides."""
    old_at, new_at = group.old_start, group.new_start
    pieces: list[bytes] = []
    for run in RUNS.findall(group.marks):
        sign, count = run[0].encode(), len(run)
        # Each line ends in its line feed, so that the sign stands between them.
        if sign == b"+":
            lines = new[new_at : new_at + count]
        else:
            lines = old[old_at : old_at + count]
            old_at += count
        new_at += count if sign != b"-" else 0
        piece = sign + sign.join(lines)
        pieces.append(piece if piece.endswith(b"\n") else piece + b"\n")
    # A diff without "\ No newline" markers is taken as it is, but a marker must be true.
    closed = (group.old_open and _complete(old, old_at)) or (group.new_open and _complete(new, new_at))
    if min(group.old_start, group.new_start) < 0 or closed or b"".join(pieces) != group.body:
        raise ValueError(f"the diff does not match the files: other text at line {group.old_start + 1}")


def _complete(lines: list[bytes], end: int) -> bool:
    """Whether the line before ``end`` ends in a line feed."""
    return not 0 < end <= len(lines) or lines[end - 1].endswith(b"\n")


def leg(diff: bytes) -> Leg:
    """The leg that a unified diff describes.

    Raises:
        ValueError: the diff is malformed.
    """
    return Leg(spans(diff))
