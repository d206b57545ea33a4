"""Where a decision's lines are after further changes.

A decision about lines of diff(A, W) is remembered with a :class:`Spot`: the two blobs and the line numbers. Later
the blobs are others; a :class:`Leg` leads from the one blob to the other on each side, and :func:`carry` tells where
the lines are now and whether all of them are still the change that was decided about.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from backspace_tui.core import units

if TYPE_CHECKING:
    from backspace_tui.core.hunks import Hunk
    from backspace_tui.core.trees import FileChange

_BESIDE_CONTENT: Final = frozenset(("mode", "rename"))

Ranges = tuple[tuple[int, int], ...]
"""Line numbers from 1 as runs of (first, last)."""


class Spot(msgspec.Struct, frozen=True):
    """The lines of a unit: ``old`` and ``new`` are the blobs' ids (empty: absent), ``kind`` its hunk's kind.

    ``old_at`` is the place by old numbers: the first line from which it changes something, and the first one after.
    """

    kind: str
    old: str
    new: str
    deletions: Ranges = ()
    additions: Ranges = ()
    old_at: tuple[int, int] = (1, 1)


class Leg:
    """From the lines of one blob to those of another, by the spans in which they differ (from 0, ends excluded)."""

    def __init__(self, spans: Iterable[tuple[int, int, int, int]] = ()) -> None:
        self._spans = tuple(spans)
        self._starts = [start for start, _, _, _ in self._spans]

    def line(self, number: int) -> int | None:
        """The number of the same line, counted from 1; ``None`` when it is gone."""
        index = bisect_right(self._starts, number - 1) - 1
        if index < 0:
            return number
        _, end, _, new_end = self._spans[index]
        return None if number - 1 < end else number + new_end - end

    def place(self, number: int) -> int:
        """The number of the same line, or of the one that stands in the place of a line that is gone."""
        found = self.line(number)
        if found is not None:
            return found
        start, end, new_start, new_end = self._spans[bisect_right(self._starts, number - 1) - 1]
        return new_start + 1 + min(number - 1 - start, max(0, new_end - new_start - 1)) if end > start else number

    def until(self, number: int) -> int:
        """The first number after a range that ended before ``number``."""
        return self.place(number - 1) + 1 if number > 1 else 1


LOST: Final = Leg([(0, 1 << 40, 0, 0)])
"""The leg to a blob that has no lines."""


class Carried(NamedTuple):
    """The lines by today's numbers. ``intact``: none of them is lost. ``old_at`` is the place, as in the spot."""

    deletions: frozenset[int]
    additions: frozenset[int]
    intact: bool
    old_at: tuple[int, int]


def carry(spot: Spot, old: Leg, new: Leg) -> Carried:
    """The spot's lines after its blobs became others.

    Deletions that are lost were taken into the accepted side by the user, which ends nothing; additions that are lost
    were changed by the agent.
    """
    deletions = (old.line(number) for number in numbers(spot.deletions))
    additions = [new.line(number) for number in numbers(spot.additions)]
    first, after = spot.old_at
    place = (old.place(first), max(old.place(first), old.until(after)))
    return Carried(
        frozenset(number for number in deletions if number is not None),
        frozenset(number for number in additions if number is not None),
        None not in additions,
        place,
    )


def spot_of(change: FileChange, hunk: Hunk, named: Collection[int]) -> Spot:
    """Where the lines at these positions of a hunk of ``change`` are; all of a hunk that is no text."""
    old = change.old.oid if change.old is not None else ""
    new = change.new.oid if change.new is not None else ""
    if hunk.kind != "text":
        return Spot(hunk.kind, old, new)
    deletions, additions = units.chosen(hunk, named)
    return Spot(hunk.kind, old, new, ranges(deletions), ranges(additions), _place(hunk, min(named), max(named)))


def _place(hunk: Hunk, first: int, last: int) -> tuple[int, int]:
    """The old numbers of the first line from position ``first`` on, and of the one after position ``last``."""
    before = sum(sign != "+" for sign, _ in hunk.lines[: first - 1])
    inside = sum(sign != "+" for sign, _ in hunk.lines[first - 1 : last])
    return hunk.old_start + before, hunk.old_start + before + inside


def touches(hunk: Hunk, place: tuple[int, int]) -> bool:
    """Whether a change block of ``hunk`` is at or next to ``place``, by old numbers."""
    for block in units.blocks(hunk):
        start, after = _place(hunk, block[0], block[-1])
        if start <= place[1] and place[0] <= after:
            return True
    return False


def overtakes(hunk: Hunk, accepted: Accepted, since: Since | None = None) -> bool:
    """Whether ``hunk``, of diff(A, W), changes again what diff(B, A) holds.

    With ``since`` only what the agent did after the accepting counts: the rest of a hunk that was accepted in part
    changes nothing again.
    """
    if accepted == _UNTOUCHED:
        return False
    if hunk.kind in _BESIDE_CONTENT:
        return hunk.kind in accepted.whole
    if hunk.kind != "text":
        # A deletion and another type end everything of the path, other content only what was content.
        ended = accepted.whole if hunk.kind in ("deleted", "type") else accepted.whole - _BESIDE_CONTENT
        return bool(ended or accepted.lines or accepted.cuts)
    again = hunk.deletions & accepted.lines
    if any(since is None or since.deleted(number) for number in again):
        return True
    return any(
        _meets(hunk, block, accepted) and (since is None or since.any_of(*units.chosen(hunk, block)))
        for block in units.blocks(hunk)
    )


def _meets(hunk: Hunk, block: range, accepted: Accepted) -> bool:
    """Whether a change block stands where lines were deleted by an accepted hunk, or inside its lines."""
    start, after = _place(hunk, block[0], block[-1])
    if start == after and (start in accepted.cuts or {start, start - 1} <= accepted.lines):
        return True
    return any(cut in accepted.cuts for cut in range(start + 1, after))


class Since(NamedTuple):
    """Tells what is newer than W was when the newest lines of a path were accepted: the ways back to that W."""

    from_accepted: Leg
    from_work: Leg

    def deleted(self, number: int) -> bool:
        """Whether this line of A was still in W then."""
        return self.from_accepted.line(number) is not None

    def any_of(self, deletions: frozenset[int], additions: frozenset[int]) -> bool:
        """Whether one of these changes was not there then."""
        return any(map(self.deleted, deletions)) or any(self.from_work.line(number) is None for number in additions)


class Accepted(NamedTuple):
    """What the accepted hunks of a path made of A: added ``lines``, and the places of deletions without additions.

    ``whole`` are the kinds of its hunks that are no text.
    """

    lines: frozenset[int]
    cuts: frozenset[int]
    whole: frozenset[str]


_UNTOUCHED: Final = Accepted(frozenset(), frozenset(), frozenset())


def accepted_of(hunks: Iterable[Hunk]) -> Accepted:
    """What these hunks of diff(B, A) made of A."""
    lines: set[int] = set()
    cuts: set[int] = set()
    whole: set[str] = set()
    for hunk in hunks:
        if hunk.kind != "text":
            whole.add(hunk.kind)
            continue
        lines |= hunk.additions
        new = hunk.new_start
        for (sign, _), (following, _) in zip(hunk.lines, (*hunk.lines[1:], (" ", b"")), strict=True):
            new += sign != "-"
            if sign == "-" and following == " " and new - 1 not in hunk.additions:
                cuts.add(new)
    return Accepted(frozenset(lines), frozenset(cuts), frozenset(whole))


def numbers(ranges: Ranges) -> list[int]:
    """The single numbers of these runs, in order."""
    return [number for first, last in ranges for number in range(first, last + 1)]


def ranges(found: Collection[int]) -> Ranges:
    """The runs of these numbers."""
    result: list[tuple[int, int]] = []
    for number in sorted(found):
        if result and result[-1][1] + 1 == number:
            result[-1] = (result[-1][0], number)
        else:
            result.append((number, number))
    return tuple(result)
