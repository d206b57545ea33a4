"""The review that a decision will lead to, before the session has carried it out: pure.

Accepting whole hunks of text moves them from diff(A, W) into diff(B, A) and shifts the numbers of those that follow.
No more than that is foretold; where hunks could melt together or states could change, nothing is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from msgspec.structs import replace

from backspace_tui.core import units
from backspace_tui.core.hunks import Hunk
from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk, file_state

_APART: Final = 7
"""As many unchanged lines between two changes keep them in two hunks, with three lines of context each."""


class _Placed(NamedTuple):
    """A hunk by the numbers of A: its first changed line, and the one after its last."""

    start: int
    end: int
    item: ReviewHunk


def expected(review: Review, names: Iterable[str], action: str) -> Review | None:
    """``review`` after ``action`` on the units with these names; ``None`` where that cannot be known."""
    if action != "accept":
        return None
    try:
        parsed = [units.parse(name) for name in names]
    except ValueError:
        return None
    wanted = {unit.hunk for unit in parsed}
    if any(unit.part for unit in parsed):
        return None
    files = list(review.files)
    left = wanted
    for index, file in enumerate(files):
        here = wanted.intersection(item.hunk.id for item in file.hunks) if left else frozenset[str]()
        if not here:
            continue
        after = _accepted(file, here)
        if after is None or not here <= left:
            return None
        files[index] = after
        left = left - here
    if left:
        return None
    return Review(tuple(files), review.pending - len(wanted), review.decided + len(wanted), review.total)


def _accepted(file: ReviewFile, wanted: Collection[str]) -> ReviewFile | None:
    """The file with these hunks accepted."""
    if file.renamed_from or len({item.hunk.id for item in file.hunks}) < len(file.hunks):
        return None
    if any(item.gone or item.hunk.kind != "text" or item.changed == "accepted" for item in file.hunks):
        return None
    if any(not item.open or item.rejected or item.redo for item in file.hunks if item.hunk.id in wanted):
        return None
    places = sorted(map(_placed, file.hunks), key=_place)
    if not _keep_apart(places, wanted):
        return None
    taken: list[ReviewHunk] = []
    pending: list[ReviewHunk] = []
    ahead = 0  # how far A is ahead of B here
    moved = 0  # how far it will be ahead of what it is now
    for place in places:
        item, hunk = place.item, place.item.hunk
        added = len(hunk.additions) - len(hunk.deletions)
        if item.state == "accepted":
            taken.append(_with(item, _shifted(hunk, new=moved)))
            ahead += added
        elif hunk.id in wanted:
            start = hunk.old_start + moved
            accepted = _shifted(hunk, old=-ahead, new=start - hunk.new_start)
            taken.append(ReviewHunk(accepted, "accepted", item.why, item.comment, local=item.local))
            moved += added
        else:
            pending.append(_with(item, _shifted(hunk, old=moved)))
    hunks = tuple(sorted((*taken, *pending), key=lambda item: (item.hunk.new_start, item.hunk.old_start)))
    return replace(file, state=file_state(hunks), hunks=hunks)


def _placed(item: ReviewHunk) -> _Placed:
    hunk = item.hunk
    leading, end = hunk.extent
    trailing = len(hunk.lines) - end
    if item.state == "accepted":
        start, length = hunk.new_start, len(hunk.lines) - len(hunk.deletions)
    else:
        start, length = hunk.old_start, len(hunk.lines) - len(hunk.additions)
    return _Placed(start + leading, start + length - trailing, item)


def _place(placed: _Placed) -> tuple[int, int]:
    return placed.start, placed.end


def _keep_apart(places: Iterable[_Placed], wanted: Collection[str]) -> bool:
    """Whether the wanted hunks and the accepted ones stay hunks of their own; ``places`` are in order."""
    accepted = chosen = -_APART
    for start, end, item in places:
        if item.state == "accepted":
            if start - chosen < _APART:
                return False
            accepted = max(accepted, end)
        elif item.hunk.id in wanted:
            if start - accepted < _APART:
                return False
            chosen = max(chosen, end)
    return True


def _with(item: ReviewHunk, hunk: Hunk) -> ReviewHunk:
    return item if hunk is item.hunk else replace(item, hunk=hunk)


def _shifted(hunk: Hunk, *, old: int = 0, new: int = 0) -> Hunk:
    """The hunk with its numbers moved on either side."""
    if not (old or new):
        return hunk
    return replace(
        hunk,
        old_start=hunk.old_start + old,
        new_start=hunk.new_start + new,
        deletions=frozenset(number + old for number in hunk.deletions) if old else hunk.deletions,
        additions=frozenset(number + new for number in hunk.additions) if new else hunk.additions,
    )
