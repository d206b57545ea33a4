"""How the lines of two blobs correspond, read from a unified diff.

A diff is used for nothing but this correspondence: content always comes from the blobs. unidiff does the
reading, on text that cannot confuse it: the part from the first ``@@`` on, behind a header of our own (its header
rules trip over paths like ``x b/y``), decoded as Latin-1 so that every byte is one character, and split on line
feeds alone.
"""

from __future__ import annotations

import io
import re
from functools import lru_cache
from typing import NamedTuple

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from backspace_tui.core.marks import Leg

_FIRST_HUNK = re.compile(rb"^@@ -", re.MULTILINE)
_CHANGED = re.compile(r"[-+]+")


class Group(NamedTuple):
    """One ``@@`` of a diff: positions count from 0, ``marks`` holds each line's ``" "``, ``-`` or ``+``.

    ``old_text`` and ``new_text`` are the two sides, every line ending in a line feed; ``old_open`` and
    ``new_open`` tell that the diff marks a side's last line as having none.
    """

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    marks: str
    old_text: bytes
    new_text: bytes
    old_open: bool
    new_open: bool


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
    text = diff[first.start() :].decode("latin-1")
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
        old: list[str] = []
        new: list[str] = []
        old_open = new_open = False
        for line in hunk:
            kind = line.line_type
            if kind == "-":
                marks.append("-")
                old.append(line.value)
            elif kind == "+":
                marks.append("+")
                new.append(line.value)
            elif kind == " ":
                marks.append(" ")
                old.append(line.value)
                new.append(line.value)
            elif kind == "\\" and marks:
                old_open = old_open or marks[-1] != "+"
                new_open = new_open or marks[-1] != "-"
        groups.append(
            Group(
                # A side without lines is numbered by the line before it.
                hunk.source_start - (1 if hunk.source_length else 0),
                len(old),
                hunk.target_start - (1 if hunk.target_length else 0),
                len(new),
                "".join(marks),
                "".join(old).encode("latin-1"),
                "".join(new).encode("latin-1"),
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
        for lines, start, count, text, is_open in (
            (old, group.old_start, group.old_count, group.old_text, group.old_open),
            (new, group.new_start, group.new_count, group.new_text, group.new_open),
        ):
            _check_side(lines, start, count, text, is_open)
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


def _check_side(lines: list[bytes], start: int, count: int, text: bytes, is_open: bool) -> None:
    end = start + count
    actual = b"".join(lines[start:end]) if start >= 0 else b""
    lacks_newline = not actual.endswith(b"\n")
    if lacks_newline and actual:
        actual += b"\n"
    # A diff without "\ No newline" markers is taken as it is, but a marker must be true.
    if actual != text or (is_open and not lacks_newline):
        raise ValueError(f"the diff does not match the files: other text at line {start + 1}")


def leg(diff: bytes) -> Leg:
    """The leg that a unified diff describes.

    Raises:
        ValueError: the diff is malformed.
    """
    spans: list[tuple[int, int, int, int]] = []
    for group in read_groups(diff):
        old, new = group.old_start, group.new_start
        inside = False
        for mark in group.marks:
            if mark == " ":
                inside = False
            elif not inside:
                spans.append((old, old, new, new))
                inside = True
            old += mark != "+"
            new += mark != "-"
            if inside:
                start, _, new_start, _ = spans[-1]
                spans[-1] = (start, old, new_start, new)
    return Leg(spans)
