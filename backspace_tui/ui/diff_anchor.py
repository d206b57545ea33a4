"""What the cursor is on, and where that is once the rows are others."""

from __future__ import annotations

from typing import Final, NamedTuple

from backspace_tui.ui.diff_layout import Layout
from backspace_tui.ui.diff_rows import DiffRow

_NEAR: Final = 60
"""Rows around a line's number in which it is looked for again."""


class Anchor(NamedTuple):
    """A line by its hunk and position (from 1), else a row by its distance from its hunk's first.

    ``number`` is the line's place in W, ``below`` how far down the view it is shown.
    """

    hunk: str
    position: int
    offset: int
    number: int
    row: DiffRow
    below: int


def anchor(layout: Layout, cursor: int, below: int) -> Anchor:
    """What the row ``cursor`` is."""
    row, hunk = layout[cursor], layout.owner(cursor)
    offset = cursor - layout.rows_of(hunk).start if hunk >= 0 else 0
    name = layout.hunks[hunk].id if hunk >= 0 else ""
    return Anchor(name, row.position or row.other, offset, layout.number(cursor), row, below)


def row_of(layout: Layout, wanted: Anchor) -> int:
    """The row that ``wanted`` is in ``layout``: the same place in its hunk, else the same line of the file."""
    hunk = layout.index_of(wanted.hunk)
    if wanted.position and hunk >= 0:
        return _nearest(layout, layout.row_at(hunk, wanted.position - 1), wanted.row)
    if wanted.row.kind in ("line", "pair") and (layout.loaded or hunk < 0):
        return _nearest(layout, layout.row_of_number(wanted.number), wanted.row)
    if hunk >= 0:
        rows = layout.rows_of(hunk)
        return max(0, min(rows.start + wanted.offset, rows.stop - 1))
    return layout.row_of_number(wanted.number)


def _nearest(layout: Layout, row: int, wanted: DiffRow) -> int:
    """The nearest row that shows the same line, or ``row`` itself."""
    for distance in range(_NEAR):
        for at in {row - distance, row + distance}:
            if 0 <= at < len(layout):
                found = layout[at]
                if _line(found) == _line(wanted):
                    return at
    return row


def _line(row: DiffRow) -> tuple[object, ...]:
    return row.kind, row.sign, row.raw, row.other_raw
