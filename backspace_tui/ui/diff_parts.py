"""What a file's diff is made of: unchanged lines, and hunks."""

from __future__ import annotations

from typing import NamedTuple


class Between(NamedTuple):
    """Lines of W that no hunk changes: ``[first, one)`` and ``[two, until)`` are shown, one row stands for the rest.

    Numbers count from 1. ``shift`` is how far W is ahead of A here.
    """

    first: int
    one: int
    two: int
    until: int
    shift: int

    @property
    def rows(self) -> int:
        return self.one - self.first + (self.two > self.one) + self.until - self.two

    def number(self, row: int) -> int:
        """The number in W of a row's line; for the row that stands for many the first of them."""
        number = self.first + row
        return number if number <= self.one or self.two == self.one else self.two + number - self.one - 1

    def row_of(self, number: int) -> int:
        """The row of a line of W, or the one that stands for it."""
        if number < self.two:
            return min(number, self.one) - self.first
        return number - self.two + self.one - self.first + (self.two > self.one)

    def is_gap(self, row: int) -> bool:
        return self.one < self.two and self.first + row == self.one


class Body(NamedTuple):
    """The rows of one hunk: ``above``, then ``body`` rows for its lines ``[start, stop)``, then ``below``.

    ``number`` is where the first of its lines is in W.
    """

    hunk: int
    start: int
    stop: int
    above: int
    body: int
    below: int
    number: int

    @property
    def rows(self) -> int:
        return self.above + self.body + self.below
