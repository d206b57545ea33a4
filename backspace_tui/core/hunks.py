"""Hunks: what a reviewer decides about, and what a path holds after the decision.

Three trees are involved: B (base), A (accepted) and W (the agent's newest snapshot). Pending hunks are diff(A, W)
and accepted ones diff(B, A). Accepting takes units of diff(A, W) into A, rejecting leaves them out of W, and
unstaging leaves units of diff(B, A) out of A. A decision is content, never a patch: see :func:`stage`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Literal

import msgspec

from backspace_tui.core import units
from backspace_tui.core.alignment import CHANGED, Group, Lines, Mark, extent, proven, read_groups, signs, split_lines
from backspace_tui.core.staging import Block, blocks, end_lines, stage
from backspace_tui.core.trees import SYMLINK, Entry, File, FileChange

__all__ = [
    "Block",
    "Choices",
    "Hunk",
    "added_removed",
    "blocks",
    "file_hunks",
    "leave",
    "locate",
    "replace_lines",
    "stage",
    "take",
]

Kind = Literal["text", "mode", "binary", "symlink", "type", "added", "deleted", "rename"]
Choices = Mapping[str, frozenset[int] | None]
"""By a hunk's id the positions of its chosen lines; ``None`` for all of it (see :mod:`backspace_tui.core.units`)."""

_SNIFFED = 8000
"""Git takes a blob for binary when its first 8000 bytes hold a NUL."""


class Hunk(msgspec.Struct, frozen=True, gc=False):
    """One unit of decision about a path.

    ``kind`` is ``text`` for lines, and otherwise a unit that is taken or left as a whole: ``mode``, ``binary``,
    ``symlink`` (new or another target), ``type`` (a file became a link or the reverse), ``added`` (a new empty
    file), ``deleted``, ``rename`` (the path came from another one; what else changed are hunks of their own).
    ``lines`` are for showing, without their line feeds; those of the other kinds describe the change. ``deletions``
    and ``additions`` are what :func:`stage` takes (text alone). ``old_start`` and ``new_start`` number the first line
    of each side from 1, or the line that follows where a side has none. ``old_open`` and ``new_open`` tell that the
    last line of that side ends the file without a line feed.
    """

    id: str
    path: str
    kind: Kind
    old_start: int
    new_start: int
    lines: Sequence[tuple[Mark, bytes]]
    deletions: frozenset[int] = frozenset()
    additions: frozenset[int] = frozenset()
    old_open: bool = False
    new_open: bool = False

    @property
    def changes(self) -> int:
        """How many lines it changes (text alone)."""
        return len(self.deletions) + len(self.additions)

    @property
    def old_end(self) -> int:
        """The number after the hunk's last old line."""
        return self.old_start + len(self.lines) - self.signs.count("+")

    @property
    def new_end(self) -> int:
        """The number after the hunk's last new line."""
        return self.new_start + len(self.lines) - self.signs.count("-")

    @property
    def signs(self) -> str:
        """The mark of each line."""
        return signs(self.lines)

    @property
    def extent(self) -> tuple[int, int]:
        """The index of its first changed line, and that after its last."""
        return extent(self.lines)


def is_binary(data: bytes) -> bool:
    """Whether git would take ``data`` for binary."""
    return b"\0" in data[:_SNIFFED]


def added_removed(diff: bytes) -> tuple[int, int]:
    """How many lines one file's ``diff`` adds and removes.

    Raises:
        ValueError: the diff is malformed.
    """
    groups = read_groups(diff)
    return sum(g.marks.count("+") for g in groups), sum(g.marks.count("-") for g in groups)


def file_hunks(change: FileChange, old: bytes, new: bytes, diff: bytes) -> tuple[Hunk, ...]:
    """The hunks of one path, in order: its coming from another path, its mode, its content.

    ``old`` and ``new`` are the blobs (empty where the path is absent) and ``diff`` the unified diff between them,
    which only text needs: each ``@@`` of it is one hunk. A new file's mode comes with its content.

    Raises:
        ValueError: the diff is not one of these two blobs.
    """
    ids = _Ids(change.path)
    hunks: list[Hunk] = []
    if change.source:
        hunks.append(_renamed(ids, change))
    if _changes_mode(change):
        assert change.old is not None
        assert change.new is not None
        modes = (b"mode %o" % change.old.mode, b"mode %o" % change.new.mode)
        hunks.append(_whole(ids, change, "mode", *modes))
    match _content_kind(change, old, new):
        case None:
            pass
        case "text":
            hunks += _text_hunks(ids, change, old, new, diff)
        case kind:
            hunks.append(_whole(ids, change, kind, old, new))
    return tuple(hunks)


def take(change: FileChange, old: bytes, new: bytes, diff: bytes, choices: Choices) -> dict[str, File | None]:
    """What the old side's paths hold with the chosen units of the new side in them; ``None``: absent.

    Choosing nothing gives the old side, everything the new one. A rename concerns two paths: without it, chosen lines
    stand in the file under its old name.

    Raises:
        ValueError: an id names no hunk of this change, a position no changed line of it, or the diff is not one of
            these two blobs.
    """
    return _take(change, old, new, diff, _chosen(file_hunks(change, old, new, diff), choices))


def leave(change: FileChange, old: bytes, new: bytes, diff: bytes, choices: Choices) -> dict[str, File | None]:
    """What the new side's paths hold without the chosen units: the complement of :func:`take`. Raises as it does."""
    offered = file_hunks(change, old, new, diff)
    gone = {hunk.id: named for hunk, named in _chosen(offered, choices)}
    rest: list[_Chosen] = []
    for hunk in offered:
        left = units.changed(hunk) - gone.get(hunk.id, frozenset()) if hunk.kind == "text" else frozenset[int]()
        if hunk.id not in gone or left:
            rest.append((hunk, left))
    return _take(change, old, new, diff, rest)


def replace_lines(data: bytes, first: int, after: int, lines: bytes) -> tuple[bytes, int]:
    """``data`` with ``lines`` in the place of its lines from ``first`` to before ``after``, which count from 1.

    Where a line is no longer the last one and has no line ending, it gets the commoner one of ``data``.

    Returns:
        The new content, and the number of the line after the new ones.
    """
    old = split_lines(data)
    result = [*old[: first - 1], *split_lines(lines), *old[after - 1 :]]
    end_lines(result, data, lines)
    return b"".join(result), first + len(split_lines(lines))


def _chosen(offered: Iterable[Hunk], choices: Choices) -> list[_Chosen]:
    found: list[_Chosen] = []
    for hunk in locate(offered, choices):
        named = choices[hunk.id]
        whole = units.changed(hunk) if hunk.kind == "text" else frozenset[int]()
        if named is not None and not named <= whole:
            raise ValueError(f"hunk {hunk.id} has no changed line at {min(named - whole)}")
        if named is None or named or not whole:
            found.append((hunk, whole if named is None else named))
    return found


def locate(hunks: Iterable[Hunk], ids: Iterable[str]) -> tuple[Hunk, ...]:
    """The hunks with these ids, in the order of ``hunks``.

    Raises:
        ValueError: an id is none of theirs; the text names it.
    """
    wanted = set(ids)
    found = tuple(hunk for hunk in hunks if hunk.id in wanted)
    missing = wanted - {hunk.id for hunk in found}
    if missing:
        raise ValueError(f"no such hunk now: {', '.join(sorted(missing))}; it was decided or changed meanwhile")
    return found


def _changes_mode(change: FileChange) -> bool:
    old, new = change.old, change.new
    if old is None or new is None or old.mode == new.mode:
        return False
    return stat.S_ISREG(old.mode) and stat.S_ISREG(new.mode)


def _content_kind(change: FileChange, old: bytes, new: bytes) -> Kind | None:
    before, after = change.old, change.new
    if before is None and after is None:
        raise ValueError(f"{change.path!r} is absent on both sides: there is nothing to decide")
    if after is None:
        return "deleted"
    if before is not None and stat.S_IFMT(before.mode) != stat.S_IFMT(after.mode):
        return "type"
    if before is not None and old == new:
        return None
    if after.mode == SYMLINK:
        return "symlink"
    if not stat.S_ISREG(after.mode):
        return "type"
    if is_binary(old) or is_binary(new):
        return "binary"
    return "text" if old or new else "added"


def _take(
    change: FileChange, old: bytes, new: bytes, diff: bytes, chosen: Collection[_Chosen]
) -> dict[str, File | None]:
    """The old side with ``chosen`` taken from the new one."""
    data = _content(change, old, new, diff, chosen)
    if not change.source:
        return {change.path: data}
    if any(hunk.kind == "rename" for hunk, _ in chosen):
        return {change.source: None, change.path: data}
    return {change.source: data, change.path: None}


def _content(change: FileChange, old: bytes, new: bytes, diff: bytes, chosen: Collection[_Chosen]) -> File | None:
    kinds = {hunk.kind for hunk, _ in chosen}
    if change.new is None and kinds:
        return None
    if change.old is None and not kinds:
        return None
    if kinds - {"text", "mode", "rename"}:
        data = new
    elif "text" in kinds:
        deletions, additions = set[int](), set[int]()
        for hunk, named in chosen:
            out, into = units.chosen(hunk, named) if len(named) < hunk.changes else (hunk.deletions, hunk.additions)
            deletions |= out
            additions |= into
        data = stage(old, new, diff, frozenset(deletions), frozenset(additions))
    else:
        data = old
    # A mode changes by its own hunk, except with a path's coming or its change of type.
    source = change.new if change.old is None or kinds & {"mode", "type"} else change.old
    assert source is not None
    return File(source.mode, data)


_Chosen = tuple[Hunk, frozenset[int]]
"""A hunk and the positions of its chosen lines (none for a hunk that is no text)."""


class _Ids:
    """Makes ids that stay the same while path, kind, old and new lines do."""

    def __init__(self, path: str) -> None:
        self._path = path.encode("utf-8", "surrogateescape")
        self._seen: dict[str, int] = {}
        self._starts: dict[Kind, hashlib._Hash] = {}

    def make(self, kind: Kind, blocks_of_hunk: Iterable[tuple[bytes, bytes]]) -> str:
        start = self._starts.get(kind)
        if start is None:
            start = self._starts[kind] = hashlib.sha256()
            for part in (self._path, kind.encode()):
                start.update(b"%d:%s" % (len(part), part))
        digest = start.copy()
        for old, new in blocks_of_hunk:
            digest.update(b"%d:%d:%s%s" % (len(old), len(new), old, new))
        name = digest.hexdigest()[:12]
        count = self._seen[name] = self._seen.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"


def _whole(ids: _Ids, change: FileChange, kind: Kind, old: bytes, new: bytes) -> Hunk:
    lines: list[tuple[Mark, bytes]] = []
    sides: tuple[tuple[Mark, Entry | None, bytes], ...] = (("-", change.old, old), ("+", change.new, new))
    for mark, entry, data in sides:
        if entry is None or kind == "added":
            continue
        if kind != "mode" and entry.mode != SYMLINK and is_binary(data):
            shown = [b"binary file, %d bytes" % len(data)]
        else:
            shown = [line.removesuffix(b"\n") for line in split_lines(data)]
        lines += [(mark, line) for line in shown]
    # A link and a file may hold the same bytes; the direction of the change is in the modes.
    modes = [(b"%o" % e.mode if e else b"") for e in (change.old, change.new)] if kind == "type" else [b"", b""]
    name = ids.make(kind, [(old, new), (modes[0], modes[1])])
    return Hunk(name, change.path, kind, 1, 1, tuple(lines))


def _renamed(ids: _Ids, change: FileChange) -> Hunk:
    source, path = os.fsencode(change.source), os.fsencode(change.path)
    name = ids.make("rename", [(source, path)])
    return Hunk(name, change.path, "rename", 1, 1, (("-", source), ("+", path)))


def _text_hunks(ids: _Ids, change: FileChange, old: bytes, new: bytes, diff: bytes) -> list[Hunk]:
    groups = proven(split_lines(old), split_lines(new), diff)
    return [_text_hunk(ids, change.path, group, lines) for group, lines in groups]


def _text_hunk(ids: _Ids, path: str, group: Group, lines: list[bytes]) -> Hunk:
    marks = group.marks
    deletions: list[range] = []
    additions: list[range] = []
    changed: list[tuple[bytes, bytes]] = []
    old, new, seen = group.old_start + 1, group.new_start + 1, 0
    for block in CHANGED.finditer(marks):
        start, end = block.span()
        deleted = marks.count("-", start, end)
        middle = start + deleted
        if marks.count("-", start, middle) == deleted:
            changed.append((b"".join(lines[start:middle]), b"".join(lines[middle:end])))
        else:
            sides = {sign: [lines[at] for at in range(start, end) if marks[at] == sign] for sign in "-+"}
            changed.append((b"".join(sides["-"]), b"".join(sides["+"])))
        old += start - seen
        new += start - seen
        deletions.append(range(old, old + deleted))
        additions.append(range(new, new + end - middle))
        old, new, seen = old + deleted, new + end - middle, end
    return Hunk(
        ids.make("text", changed),
        path,
        "text",
        group.old_start + 1,
        group.new_start + 1,
        Lines(marks, group.body),
        frozenset(chain.from_iterable(deletions)),
        frozenset(chain.from_iterable(additions)),
        _open(lines, marks.rstrip("+")),
        _open(lines, marks.rstrip("-")),
    )


def _open(lines: list[bytes], marks: str) -> bool:
    """Whether the last line that has one of ``marks`` lacks its line feed."""
    return bool(marks) and not lines[len(marks) - 1].endswith(b"\n")
