"""Where everything of a file's diff stands. Making it costs a little a hunk; each row is made when it is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final, overload

from backspace_tui.ui.diff_parts import Between, Body
from backspace_tui.ui.diff_rows import DiffRow, HunkView, RowKind
from backspace_tui.ui.diff_shape import Shape, doubled

_AT_ONCE: Final = 500
_FEW: Final = 50

Matches = Callable[[bytes | str], bool]


class Layout(Sequence[DiffRow]):
    """The rows for ``hunks``, which are in the order of their place in A.

    ``work`` are the lines of the file in W, once they are loaded; without them there is no context. Quiet hunks
    stand as one row unless their id is in ``unfolded``; others fold when their id is in it. With ``paired`` both
    sides stand beside each other. ``previous`` lends what it knows of hunks that are the same.
    """

    def __init__(
        self,
        hunks: Sequence[HunkView],
        work: Sequence[bytes | str] | None,
        context: int,
        unfolded: Collection[str],
        *,
        paired: bool = False,
        previous: Layout | None = None,
    ) -> None:
        self.hunks, self.paired, self.loaded = hunks, paired, work is not None
        self._work: Sequence[bytes | str] = work if work is not None else ()
        self._unfolded = frozenset(unfolded)
        self._shapes: dict[int, Shape] = {}
        self._known = previous._shapes if previous is not None else {}
        self._parts: list[Between | Body] = []
        self._part_of: list[int] = []
        if work is None:
            for index, view in enumerate(hunks):
                self._add(index, 0, len(view.lines), view.hunk.new_start)
        elif hunks:
            self._place(context)
        else:
            self._parts.append(Between(1, len(work) + 1, len(work) + 1, len(work) + 1, 0))
        self._known = {}
        self._starts = list(accumulate((part.rows for part in self._parts), initial=0))
        ends = [max(view.hunk.old_start, view.hunk.new_start) + len(view.hunk.lines) for view in hunks]
        self.greatest = max(len(self._work), max(ends, default=1) - 1)

    # Making it

    def _place(self, context: int) -> None:
        shown = 1  # the next line of W that no row shows yet
        shift = 0  # how far W is ahead of A here
        after = 0  # lines of context still owed to the hunk before
        end = len(self._work) + 1
        places = [view.extent for view in self.hunks]
        starts = [
            (view.hunk.new_start if view.settled else view.hunk.old_start) + leading
            for view, (leading, _) in zip(self.hunks, places, strict=True)
        ]
        again = self._next_open(starts)
        for index, view in enumerate(self.hunks):
            if view.gone:
                self._add(index, 0, len(view.lines), shown)
                continue
            around = 0 if self._folded(view) else context
            start = starts[index] + shift
            shown = self._between(shown, min(start, end), after, around, shift)
            after = around
            self._add(index, *places[index], start)
            added, removed = view.counts
            length = places[index][1] - places[index][0] - removed
            if not view.settled:
                shown = max(shown, start + length)
                shift += added - removed
            elif again[index] >= starts[index] + length:
                shown = max(shown, start + length)
        self._between(shown, end, after, 0, shift)

    def _next_open(self, starts: Sequence[int]) -> list[float]:
        """For each hunk, the first line of A at which an open hunk after it begins."""
        found: list[float] = []
        nearest = float("inf")
        for view, start in zip(reversed(self.hunks), reversed(starts), strict=True):
            found.append(nearest)
            if not view.settled and not view.gone and start < nearest:
                nearest = start
        return found[::-1]

    def _between(self, shown: int, until: int, after: int, before: int, shift: int) -> int:
        """Add the lines in ``[shown, until)``; the next line that is not shown."""
        if until <= shown:
            return shown
        one = min(shown + after, until)
        two = max(one, until - before)
        if two - one == 1:  # a gap would take as much room as the line
            one = two
        self._parts.append(Between(shown, one, two, until, shift))
        return until

    def _add(self, index: int, start: int, stop: int, number: int) -> None:
        """Add a hunk with its lines ``[start, stop)``, the first of which is at ``number`` in W."""
        view = self.hunks[index]
        self._part_of.append(len(self._parts))
        if self._folded(view):
            self._parts.append(Body(index, 0, 0, 1, 0, 0, number))
            return
        body = stop - start
        if self.paired:
            body -= doubled(view.lines)
        below = len(view.failing) + bool(view.comment) + bool(view.why)
        self._parts.append(Body(index, start, stop, 2 if view.note else 1, body, below, number))

    def _folded(self, view: HunkView) -> bool:
        return (view.hunk.id in self._unfolded) != view.quiet

    def _shape(self, view: HunkView) -> Shape:
        lines = view.lines
        shape = self._shapes.get(id(lines)) or self._known.get(id(lines))
        if shape is None or shape.lines is not lines:
            shape = Shape(lines)
        self._shapes[id(lines)] = shape  # the shape keeps the lines, so the number stays theirs
        return shape

    def shape(self, index: int) -> Shape:
        """The shape of a hunk."""
        return self._shape(self.hunks[index])

    # Rows

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> DiffRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[DiffRow]: ...
    def __getitem__(self, index: int | slice) -> DiffRow | list[DiffRow]:
        if isinstance(index, slice):
            return [self._row(number) for number in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._row(index)

    def __iter__(self) -> Iterator[DiffRow]:
        return (self._row(index) for index in range(len(self)))

    def _find(self, row: int) -> tuple[int, int]:
        """The part that holds a row, and how many rows of it come before."""
        part = bisect_right(self._starts, row, 0, len(self._parts)) - 1
        return part, row - self._starts[part]

    def _row(self, row: int) -> DiffRow:
        at, inside = self._find(row)
        part = self._parts[at]
        if isinstance(part, Body):
            return self._hunk_row(part, inside)
        if part.is_gap(inside):
            return DiffRow("gap", -1, f"{part.two - part.one} lines")
        number = part.number(inside)
        return DiffRow("line", -1, "", " ", number - part.shift, number, False, self._work[number - 1])

    def _hunk_row(self, part: Body, row: int) -> DiffRow:
        view = self.hunks[part.hunk]
        if row < part.above or row >= part.above + part.body:
            kind, words = self._words(part, view, row)
            return DiffRow(kind, part.hunk, words, settled=view.settled)
        row -= part.above
        shape = self._shape(view)
        if not self.paired:
            return self._line(part, view, shape, part.start + row)
        left, right = shape.at_row(part.start + row)
        if left == right:
            return self._line(part, view, shape, left)
        old = self._line(part, view, shape, left) if left >= 0 else None
        new = self._line(part, view, shape, right) if right >= 0 else None
        return DiffRow(
            "pair",
            part.hunk,
            old=old.old if old else 0,
            new=new.new if new else 0,
            settled=view.settled,
            raw=old.raw if old else b"",
            position=left + 1,
            other_raw=new.raw if new else b"",
            other=right + 1,
        )

    def _line(self, part: Body, view: HunkView, shape: Shape, position: int) -> DiffRow:
        sign, raw = view.lines[position]
        old = new = 0
        if not view.gone:
            before = shape.before(position)
            old = view.hunk.old_start + before[0] if sign != "+" else 0
            new = view.hunk.new_start + before[1] if sign != "-" else 0
        return DiffRow("line", part.hunk, "", sign, old, new, view.settled, raw, position + 1)

    def _words(self, part: Body, view: HunkView, row: int) -> tuple[RowKind, str]:
        """The rows of a hunk that are no lines."""
        if row == 0:
            if self._folded(view):
                added, removed = view.counts
                return "fold", f"+{added} -{removed}"
            return "head", ""
        if row < part.above:
            return "note", view.note
        row -= part.above + part.body
        if row < len(view.failing):
            return "tests", view.failing[row]
        if view.comment and row == len(view.failing):
            return "comment", view.comment
        return "why", view.why

    # Places

    def owner(self, row: int) -> int:
        """The hunk that a row belongs to; between hunks the next one, and after the last the last; -1 without hunks."""
        if not self.hunks:
            return -1
        at, _ = self._find(row)
        part = self._parts[min(at, len(self._parts) - 1)]
        if isinstance(part, Body):
            return part.hunk
        following = self._parts[at + 1] if at + 1 < len(self._parts) else None
        return following.hunk if isinstance(following, Body) else len(self.hunks) - 1

    def index_of(self, hunk: str) -> int:
        """The index of the hunk with this id, or -1."""
        return self._indices.get(hunk, -1)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {view.hunk.id: index for index, view in enumerate(self.hunks)}

    def rows_of(self, hunk: int) -> range:
        """All rows of a hunk."""
        at = self._part_of[hunk]
        return range(self._starts[at], self._starts[at + 1])

    def body_of(self, hunk: int) -> range:
        """The rows of a hunk's lines."""
        at = self._part_of[hunk]
        part = self._parts[at]
        assert isinstance(part, Body)
        first = self._starts[at] + part.above
        return range(first, first + part.body)

    def position(self, hunk: int, row: int) -> int:
        """The position (from 0) of a line in a row of :meth:`body_of`; of two the old one."""
        left, right = self.positions(hunk, row)
        return left if left >= 0 else right

    def positions(self, hunk: int, row: int) -> tuple[int, int]:
        """The positions (from 0) of the old and the new line in a row of :meth:`body_of`; -1 where it has none."""
        part = self._parts[self._part_of[hunk]]
        assert isinstance(part, Body)
        inside = part.start + row - self.body_of(hunk).start
        if self.paired:
            return self.shape(hunk).at_row(inside)
        sign = self.hunks[hunk].lines[inside][0]
        return inside if sign != "+" else -1, inside if sign != "-" else -1

    def positions_between(self, hunk: int, first: int, last: int) -> list[range]:
        """The positions (from 0) of all lines in rows ``first`` to ``last`` of :meth:`body_of`, by runs."""
        part = self._parts[self._part_of[hunk]]
        assert isinstance(part, Body)
        start = self.body_of(hunk).start - part.start
        if self.paired:
            return list(self.shape(hunk).positions(first - start, last - start))
        return [range(first - start, last - start + 1)]

    def row_at(self, hunk: int, position: int) -> int:
        """The row of the line at ``position`` (from 0); the nearest that there is where it is not shown."""
        body = self.body_of(hunk)
        if not body:
            return self.rows_of(hunk).start
        part = self._parts[self._part_of[hunk]]
        assert isinstance(part, Body)
        inside = self.shape(hunk).row_of(position) if self.paired else position
        return max(body.start, min(body.start + inside - part.start, body.stop - 1))

    def number(self, row: int) -> int:
        """The number in W of the line in a row, or of the next one where the row shows none of W."""
        at, inside = self._find(row)
        part = self._parts[at]
        if isinstance(part, Between):
            return part.number(inside)
        if not part.body or inside < part.above:
            return part.number
        shape, first = self.shape(part.hunk), self._starts[at] + part.above
        position = max(self.positions(part.hunk, min(row, first + part.body - 1)))  # additions follow deletions
        return part.number + shape.before(position)[1] - shape.before(part.start)[1]

    def row_of_number(self, number: int) -> int:
        """The row that shows a line of W, else the one that stands where it is."""
        nearest = -1
        for at, part in enumerate(self._parts):
            if isinstance(part, Between):
                if part.first <= number < part.until:
                    return self._starts[at] + part.row_of(number)
            elif part.number <= number and not self.hunks[part.hunk].gone:
                nearest = at
        if nearest < 0:
            return 0
        part = self._parts[nearest]
        if not isinstance(part, Body) or not part.body:
            return self._starts[nearest]
        shape = self.shape(part.hunk)
        return self.row_at(part.hunk, shape.of_new(shape.before(part.start)[1] + number - part.number))

    # Searching

    def find(self, matches: Matches, start: int, direction: int, *, wrap: bool) -> int | None:
        """The first row from ``start`` in ``direction`` whose text matches, around the end with ``wrap``."""
        count = len(self)
        if direction > 0:
            spans = [range(start, count), range(start if wrap else 0)]
        else:
            spans = [range(start + 1), range(start + 1, count if wrap else 0)]
        for span in spans:
            found = self._search(matches, span, direction)
            if found is not None:
                return found
        return None

    def _search(self, matches: Matches, span: range, direction: int) -> int | None:
        if not span:
            return None
        first, last = self._find(span.start)[0], self._find(span.stop - 1)[0]
        for at in range(first, last + 1)[::direction]:
            begin = self._starts[at]
            rows = range(max(span.start, begin) - begin, min(span.stop, self._starts[at + 1]) - begin)[::direction]
            for first_row in range(0, len(rows), _AT_ONCE):
                some = rows[first_row : first_row + _AT_ONCE]
                if len(some) > _FEW and not self._may_match(matches, at, some):
                    continue
                for row, text in self._texts(at, some):
                    if matches(text):
                        return begin + row
        return None

    def _may_match(self, matches: Matches, at: int, rows: range) -> bool:
        """Whether a row may match, from all their lines at once; what matches at the joints alone is no match."""
        part = self._parts[at]
        first, last = min(rows[0], rows[-1]), max(rows[0], rows[-1])
        if isinstance(part, Between):
            texts = [line for line in self._work[part.number(first) - 1 : part.number(last)] if isinstance(line, bytes)]
            return len(texts) < len(rows) or matches(b" ".join(texts))
        if first < part.above or last >= part.above + part.body:
            return True
        spans = self.positions_between(part.hunk, self._starts[at] + first, self._starts[at] + last)
        lines = self.hunks[part.hunk].lines
        return matches(b" ".join([line for span in spans for _, line in lines[span.start : span.stop]]))

    def _texts(self, at: int, rows: range) -> Iterator[tuple[int, bytes | str]]:
        """What there is to search in rows of a part."""
        part = self._parts[at]
        if isinstance(part, Between):
            for row in rows:
                if not part.is_gap(row):
                    yield row, self._work[part.number(row) - 1]
            return
        view = self.hunks[part.hunk]
        lines, before, stop, offset = view.lines, part.above, part.above + part.body, part.start - part.above
        for row in rows:
            if not before <= row < stop:
                yield row, self._words(part, view, row)[1]
            elif self.paired:
                for position in self._shape(view).at_row(offset + row):
                    if position >= 0:
                        yield row, lines[position][1]
            else:
                yield row, lines[offset + row][1]
