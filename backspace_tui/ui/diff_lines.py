"""The lines of a diff as styled pieces: both sides below each other, or beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from backspace_tui.ui.diff_rows import DiffRow, HunkView
from backspace_tui.ui.emphasis import Ranges, changed_words
from backspace_tui.ui.highlight import Span
from backspace_tui.ui.raw_lines import MAX_COLUMNS, shown_part
from backspace_tui.ui.styles import Styles

_SIDES = {"-": "removed", "+": "added"}


class Look(NamedTuple):
    """What the drawing of every line depends on. ``left`` columns are scrolled away, ``colours`` are by side."""

    styles: Styles
    digits: int
    left: int
    width: int
    colours: Mapping[str, Sequence[Sequence[Span]]]
    emphasis: bool


def unified(look: Look, row: DiffRow, view: HunkView | None, mate: bytes | None) -> tuple[list[Segment], Style | None]:
    """A line with both numbers, and what fills the rest of the row. ``mate`` is the line that it stands for."""
    side = _SIDES.get(row.sign, "")
    struck = _struck(view, row.position) and bool(side)
    ground = look.styles[side] if side and not struck else None
    old = str(row.old) if row.old else ""
    new = str(row.new) if row.new else ""
    digits = look.digits
    if row.sign == "-":
        gutter = f"{old:>{digits}} {'-':>{digits}} "
    elif row.sign == "+":
        gutter = f"{'':>{digits}} {new:>{digits}}+"
    else:
        gutter = f"{old:>{digits}} {new:>{digits}} "
    text = shown_part(row.raw)
    words = _words(look, text, mate, row.sign) if not struck else ()
    body = _text(look, row, text, ground, words, struck=struck)
    return [*_gutter(look, gutter, side, struck=struck), *body], ground


def paired(look: Look, row: DiffRow, view: HunkView | None) -> tuple[list[Segment], Style | None]:
    """A row with the old line on the left and the new one on the right."""
    room = look.width - 2  # the bar before and the line between
    half = room // 2
    if row.kind == "line" and row.sign == " ":
        left, right = row, row
    else:
        left = row._replace(kind="line", sign="-", new=0)
        right = row._replace(kind="line", sign="+", old=0, raw=row.other_raw, position=row.other)
    pieces = [
        *_half(look, left, view, half, row.other_raw if row.position and row.other else None, "old"),
        Segment("│", look.styles["faint"]),
        *_half(look, right, view, room - half, row.raw if row.position and row.other else None, "new"),
    ]
    return pieces, None


def _half(
    look: Look, row: DiffRow, view: HunkView | None, width: int, mate: bytes | str | None, column: str
) -> list[Segment]:
    side = _SIDES.get(row.sign, "")
    if side and not row.position:
        return [Segment(" " * width)]
    struck = _struck(view, row.position) and bool(side)
    ground = look.styles[side] if side and not struck else None
    number = row.old if column == "old" else row.new
    sign = row.sign if column == "new" or row.sign == "-" else " "
    gutter = f"{number or '':>{look.digits}}{sign}"
    text = shown_part(row.raw)
    words = _words(look, text, mate, row.sign) if not struck else ()
    pieces = [*_gutter(look, gutter, side, struck=struck), *_text(look, row, text, ground, words, struck=struck)]
    return list(Strip(pieces).adjust_cell_length(width, ground))


def _struck(view: HunkView | None, position: int) -> bool:
    return view is not None and (view.state == "rejected" or position in view.rejected)


def _gutter(look: Look, text: str, side: str, *, struck: bool) -> list[Segment]:
    styles = look.styles
    if not side or struck:
        return [Segment(text, styles["faint"]), Segment("│", styles["faint"])]
    return [Segment(text, styles[f"{side}-sign"]), Segment("│", styles.of("faint", side))]


def _words(look: Look, text: str, mate: bytes | str | None, sign: str) -> Ranges:
    if mate is None or not look.emphasis:
        return ()
    other = shown_part(mate)
    return changed_words(text, other)[0] if sign == "-" else changed_words(other, text)[1]


def _text(look: Look, row: DiffRow, text: str, ground: Style | None, words: Ranges, *, struck: bool) -> list[Segment]:
    """The text from the first column that is seen on, coloured, and changed words in their style."""
    styles = look.styles
    if struck:
        return [Segment(text[look.left : look.left + MAX_COLUMNS], styles["rejected"])]
    plain = styles["text"] + ground if ground else styles["text"]
    pieces: list[tuple[int, int, Style]] = []
    at = 0
    for start, end, name in _spans(look, row):
        if start > at:
            pieces.append((at, start, plain))
        style = styles[name]
        pieces.append((max(at, start), end, style + ground if ground else style))
        at = max(at, end)
    pieces.append((at, len(text), plain))
    if words:
        pieces = _over(pieces, words, styles["added-word" if row.sign == "+" else "removed-word"])
    first, last = look.left, min(len(text), look.left + MAX_COLUMNS)
    return [
        Segment(text[max(start, first) : min(end, last)], style)
        for start, end, style in pieces
        if max(start, first) < min(end, last)
    ]


def _spans(look: Look, row: DiffRow) -> Sequence[Span]:
    """The colours of a row's line. The old side's are those of A, so an accepted hunk has its new lines there."""
    if row.settled:
        side, number = ("old", row.new) if row.sign != "-" else ("", 0)
    else:
        side, number = ("old", row.old) if row.sign == "-" else ("new", row.new)
    table = look.colours.get(side, ())
    return table[number - 1] if 0 < number <= len(table) else ()


def _over(pieces: list[tuple[int, int, Style]], words: Ranges, style: Style) -> list[tuple[int, int, Style]]:
    """``pieces`` cut where ``words`` begin and end, and these in ``style`` on top."""
    found: list[tuple[int, int, Style]] = []
    for start, end, below in pieces:
        at = start
        for first, last in words:
            if last <= at or first >= end:
                continue
            if first > at:
                found.append((at, first, below))
            found.append((max(at, first), min(last, end), below + style))
            at = min(last, end)
        if at < end:
            found.append((at, end, below))
    return found
