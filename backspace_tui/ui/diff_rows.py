"""The rows of the diff pane, as pure data: hunks in their place in the file, with context around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

RowKind = Literal["head", "line", "fold", "gap", "note", "why", "comment"]
Side = Literal["old", "new"]


class HunkView(NamedTuple):
    """A hunk as the pane shows it; every text is cleaned.

    ``lines`` are signs with texts, context included; ``old_start`` and ``new_start`` number the first of them on each
    side. ``settled`` hunks (accepted) lead from B to A, all others from A to W. ``gone`` ones are no longer anywhere.
    """

    id: str
    state: str
    kind: str
    old_start: int
    new_start: int
    lines: tuple[tuple[str, str], ...]
    settled: bool = False
    gone: bool = False
    note: str = ""
    why: str = ""
    comment: str = ""
    protected: bool = False

    @property
    def accepted_start(self) -> int:
        """Where its changed lines begin, by the numbers of A."""
        return (self.new_start if self.settled else self.old_start) + self.leading

    @property
    def leading(self) -> int:
        """Lines of context before its first changed line."""
        return next((count for count, (sign, _) in enumerate(self.lines) if sign != " "), 0)

    @property
    def core(self) -> tuple[tuple[str, str], ...]:
        """Its lines from the first changed one to the last."""
        end = len(self.lines)
        while end and self.lines[end - 1][0] == " ":
            end -= 1
        return self.lines[self.leading : end]

    @property
    def added(self) -> int:
        return sum(sign == "+" for sign, _ in self.lines)

    @property
    def removed(self) -> int:
        return sum(sign == "-" for sign, _ in self.lines)


class DiffRow(NamedTuple):
    """One row. ``hunk`` is its index, or -1; numbers are 0 where a side has no such line."""

    kind: RowKind
    hunk: int
    text: str
    sign: str = " "
    old: int = 0
    new: int = 0
    settled: bool = False


def build(
    hunks: Sequence[HunkView], work: Sequence[str] | None, context: int, unfolded: Collection[str]
) -> list[DiffRow]:
    """The rows for ``hunks``, which are in the order of their place in A.

    ``work`` are the lines of the file in W, once they are loaded; without them there is no context. Accepted hunks
    stand as one row unless their id is in ``unfolded``; others fold when their id is in it.
    """
    rows: list[DiffRow] = []
    shown = 1  # the next line of W that no row shows yet
    shift = 0  # how far W is ahead of A here
    after = 0  # lines of context still owed to the hunk before
    for index, hunk in enumerate(hunks):
        folded = (hunk.id in unfolded) != hunk.settled
        if work is None or hunk.gone:
            rows.extend(_hunk_rows(index, hunk, trim=False, folded=folded))
            continue
        start = hunk.accepted_start + shift
        before = 0 if folded else context
        shown = _between(rows, work, shown, min(start, len(work) + 1), after, before, shift)
        after = 0 if folded else context
        rows.extend(_hunk_rows(index, hunk, trim=True, folded=folded))
        length = sum(sign != "-" for sign, _ in hunk.core)
        if not hunk.settled:
            shown = max(shown, start + length)
            shift += hunk.added - hunk.removed
        elif not _changed_again(hunks[index + 1 :], hunk.accepted_start + length):
            shown = max(shown, start + length)
    if work is not None and hunks:
        _between(rows, work, shown, len(work) + 1, after, 0, shift)
    return rows


def _changed_again(following: Sequence[HunkView], end: int) -> bool:
    """Whether an open hunk begins before line ``end`` of A."""
    return any(not hunk.settled and not hunk.gone and hunk.accepted_start < end for hunk in following)


def plain_file(lines: Sequence[str]) -> list[DiffRow]:
    """The rows of a file without changes."""
    return [DiffRow("line", -1, text, " ", number, number) for number, text in enumerate(lines, start=1)]


def _between(
    rows: list[DiffRow], work: Sequence[str], shown: int, until: int, after: int, before: int, shift: int
) -> int:
    """Add the context in ``[shown, until)`` and a gap for the rest; the next line that is not shown."""
    first_end = min(shown + after, until)
    second_start = max(first_end, until - before)
    _context(rows, work, shown, first_end, shift)
    if hidden := second_start - first_end:
        if hidden == 1:  # a gap would take as much room as the line
            _context(rows, work, first_end, second_start, shift)
        elif hidden > 0:
            rows.append(DiffRow("gap", -1, f"{hidden} lines"))
    _context(rows, work, second_start, until, shift)
    return max(shown, until)


def _context(rows: list[DiffRow], work: Sequence[str], start: int, end: int, shift: int) -> None:
    rows.extend(DiffRow("line", -1, work[number - 1], " ", number - shift, number) for number in range(start, end))


def _hunk_rows(index: int, hunk: HunkView, *, trim: bool, folded: bool) -> list[DiffRow]:
    """The rows of one hunk; with ``trim`` without the context at its ends, which the file itself provides."""
    if folded:
        return [DiffRow("fold", index, f"+{hunk.added} -{hunk.removed}", settled=hunk.settled)]
    rows = [DiffRow("head", index, "", settled=hunk.settled)]
    if hunk.note:
        rows.append(DiffRow("note", index, hunk.note, settled=hunk.settled))
    skip = hunk.leading if trim else 0
    old, new = hunk.old_start + skip, hunk.new_start + skip
    for sign, text in hunk.core if trim else hunk.lines:
        numbers = (0, 0) if hunk.gone else (old if sign != "+" else 0, new if sign != "-" else 0)
        rows.append(DiffRow("line", index, text, sign, *numbers, hunk.settled))
        old += sign != "+"
        new += sign != "-"
    if hunk.comment:
        rows.append(DiffRow("comment", index, hunk.comment, settled=hunk.settled))
    if hunk.why:
        rows.append(DiffRow("why", index, hunk.why, settled=hunk.settled))
    return rows
