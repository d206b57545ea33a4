"""How the lines of one hunk follow each other: what they are numbered, and which of them stand side by side."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple

from backspace_tui.core.alignment import signs

_STEPS: Final = re.compile(r"( *)(-*)(\+*)")
_REPLACED: Final = re.compile(r"(-+)(\++)")

Line = tuple[str, bytes]


class Step(NamedTuple):
    """Context, then deletions, then additions, each of them perhaps empty. Positions and rows count from 0.

    ``old``, ``new`` and ``row`` count the lines of each side, and the rows of both sides beside each other, that come
    before ``start``.
    """

    start: int
    context: int
    deleted: int
    added: int
    old: int
    new: int
    row: int

    @property
    def change(self) -> int:
        """Where its deletions begin."""
        return self.start + self.context

    @property
    def mid(self) -> int:
        """Where its additions begin."""
        return self.change + self.deleted


class Shape:
    """The steps of a hunk's lines. Making it reads every sign once, everything else is a search by halves."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        found = _STEPS.findall(signs(lines))[:-1]  # the last one is empty
        self._sizes = [(len(context), len(old), len(new)) for context, old, new in found]
        self._starts = _before([context + old + new for context, old, new in self._sizes])
        self._olds = _before([context + old for context, old, _ in self._sizes])
        self._news = _before([context + new for context, _, new in self._sizes])
        self._rows = _before([context + (old if old > new else new) for context, old, new in self._sizes])

    def _step(self, at: int) -> Step:
        return Step(self._starts[at], *self._sizes[at], self._olds[at], self._news[at], self._rows[at])

    def _step_at(self, position: int) -> Step:
        return self._step(bisect_right(self._starts, position) - 1)

    @cached_property
    def blocks(self) -> list[range]:
        """The positions of each change block: a maximal run of changed lines."""
        found: list[range] = []
        for start, (context, old, new) in zip(self._starts, self._sizes, strict=True):
            if not context and found:
                found[-1] = range(found[-1].start, start + old + new)
            elif old or new:
                found.append(range(start + context, start + context + old + new))
        return found

    def block_at(self, position: int) -> int:
        """The index of the block at ``position``, else of the next one, else of the last."""
        return min(bisect_right(self._ends, position), len(self._ends) - 1)

    @cached_property
    def _ends(self) -> list[int]:
        return [block.stop for block in self.blocks]

    def changed_at(self, position: int) -> int:
        """``position`` if a changed line is there, else that of the next one, else of the last."""
        block = self.blocks[self.block_at(position)]
        return max(block.start, min(position, block.stop - 1))

    def before(self, position: int) -> tuple[int, int]:
        """How many lines of the old and of the new side come before ``position``."""
        step = self._step_at(position)
        context = min(position - step.start, step.context)
        old = max(0, min(position - step.change, step.deleted))
        return step.old + context + old, step.new + context + max(0, position - step.mid)

    def change_at(self, position: int) -> tuple[range, range]:
        """The positions of the deletions and additions that belong together with the changed line at ``position``."""
        step = self._step_at(position)
        return range(step.change, step.mid), range(step.mid, step.mid + step.added)

    def of_new(self, count: int) -> int:
        """The position of the new side's line that ``count`` others precede."""
        step = self._step(bisect_right(self._news, count) - 1)
        inside = count - step.new
        position = step.start + inside if inside < step.context else step.mid + inside - step.context
        return min(position, len(self.lines) - 1)

    def row_of(self, position: int) -> int:
        """The row of a position, with both sides beside each other."""
        step = self._step_at(position)
        inside = position - step.start
        return step.row + (inside if position < step.mid else inside - step.deleted)

    def row_after(self, position: int) -> int:
        """The row after the changed lines that belong together with that at ``position``."""
        step = self._step_at(position)
        return step.row + step.context + max(step.deleted, step.added)

    def at_row(self, row: int) -> tuple[int, int]:
        """The positions of the old and the new line in a row of both sides; -1 where one has none."""
        step = self._step(bisect_right(self._rows, row) - 1)
        inside = row - step.row
        if inside < step.context:
            return step.start + inside, step.start + inside
        inside -= step.context
        return (
            step.change + inside if inside < step.deleted else -1,
            step.mid + inside if inside < step.added else -1,
        )

    def positions(self, first: int, last: int) -> Iterator[range]:
        """The positions of the lines in rows ``first`` to ``last``, by runs."""
        for at in range(bisect_right(self._rows, first) - 1, bisect_right(self._rows, last)):
            step = self._step(at)
            low, high = max(first - step.row, 0), last + 1 - step.row
            yield range(step.start + min(low, step.context), step.start + min(high, step.context))
            low, high = max(low - step.context, 0), max(high - step.context, 0)
            for start, size in ((step.change, step.deleted), (step.mid, step.added)):
                yield range(start + min(low, size), start + min(high, size))


def _before(sizes: list[int]) -> list[int]:
    """The sum of all sizes before each one."""
    return list(accumulate(sizes, initial=0))[:-1]


def doubled(lines: Sequence[Line]) -> int:
    """In how many rows of both sides a deletion and an addition stand beside each other."""
    return sum([min(len(old), len(new)) for old, new in _REPLACED.findall(signs(lines))])
