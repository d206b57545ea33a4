"""What a decision at the cursor is about: the rows that are selected, and the name of that unit."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Literal

from backspace_tui.core import units
from backspace_tui.ui.diff_layout import Layout

Mode = Literal["hunk", "block", "line"]
MODES: Final[tuple[Mode, ...]] = ("hunk", "block", "line")


def rows(layout: Layout, hunk: int, mode: Mode, start: int, end: int) -> range:
    """The rows of ``hunk`` that are selected with the cursor having gone from ``start`` to ``end``.

    By blocks and lines that is what lies there, else the next block or changed line of the hunk, else its last.
    """
    whole, body = layout.rows_of(hunk), layout.body_of(hunk)
    if mode == "hunk" or not body or not layout.hunks[hunk].parted or not layout.shape(hunk).blocks:
        return whole
    first, last = (max(body.start, min(row, body.stop - 1)) for row in sorted((start, end)))
    shape = layout.shape(hunk)
    one = shape.changed_at(layout.position(hunk, first))
    if mode == "block":
        block = shape.blocks[shape.block_at(one)]
        other = shape.blocks[max(shape.block_at(one), _last_block(layout, hunk, last))]
        return _rows_between(layout, hunk, block.start, other.stop - 1)
    row = layout.row_at(hunk, one)
    return range(first, last + 1) if first <= row <= last else range(row, row + 1)


def _last_block(layout: Layout, hunk: int, row: int) -> int:
    """The index of the last block that begins at ``row`` or before."""
    shape = layout.shape(hunk)
    position = layout.position(hunk, row)
    at = shape.block_at(position)
    return at if shape.blocks[at].start <= position else at - 1


def _rows_between(layout: Layout, hunk: int, first: int, last: int) -> range:
    """The rows of the lines from position ``first`` to ``last``, which begin and end blocks."""
    if not layout.paired:
        return range(layout.row_at(hunk, first), layout.row_at(hunk, last) + 1)
    shape, start = layout.shape(hunk), layout.row_at(hunk, first)
    return range(start, start + shape.row_after(last) - shape.row_of(first))


def positions(layout: Layout, hunk: int, selected: range) -> frozenset[int]:
    """The positions (from 1) of the changed lines in ``selected`` rows."""
    lines, body = layout.hunks[hunk].lines, layout.body_of(hunk)
    first, last = max(selected.start, body.start), min(selected.stop, body.stop) - 1
    spans = layout.positions_between(hunk, first, last) if first <= last else []
    return frozenset(position + 1 for span in spans for position in span if lines[position][0] != " ")


def name(layout: Layout, hunk: int, selected: range) -> str:
    """The name of the unit that the ``selected`` rows of a hunk are."""
    view = layout.hunks[hunk]
    if not view.parted or selected == layout.rows_of(hunk):
        return view.id
    return view.id + units.part_of(view.hunk, positions(layout, hunk, selected))


def following(layout: Layout, hunk: int, mode: Mode, selected: range, taken: frozenset[int]) -> int | None:
    """The row of the hunk's next changed line after ``selected`` that is not in ``taken`` (positions from 1)."""
    view = layout.hunks[hunk]
    if mode == "hunk" or not view.parted or selected == layout.rows_of(hunk):
        return None
    for row in range(selected.stop, layout.body_of(hunk).stop):
        for position in layout.positions(hunk, row):
            if position >= 0 and view.lines[position][0] != " " and position + 1 not in taken:
                return row
    return None


def taken(layout: Layout, hunk: int, busy: frozenset[str]) -> frozenset[int]:
    """The positions (from 1) of a hunk's lines that are rejected, or in a unit of ``busy``."""
    view = layout.hunks[hunk]
    found = set(view.rejected)
    for unit in busy:
        if hunk_of(unit) == view.id:
            with suppress(ValueError):  # the hunk may have been another when the unit was named
                found |= units.positions(view.hunk, units.parse(unit).part)
    return frozenset(found)


def hunk_of(unit: str) -> str:
    """The id of the hunk that a unit is of."""
    return unit.partition("/")[0].partition(":")[0]
