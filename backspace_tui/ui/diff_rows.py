"""What the diff pane shows of a file, as plain data: its hunks, and the rows that they become."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from backspace_tui.ui.raw_lines import shown_part

if TYPE_CHECKING:
    from backspace_tui.core.hunks import Hunk

RowKind = Literal["head", "line", "pair", "fold", "gap", "note", "tests", "comment", "why"]
UNDECIDED = frozenset({"pending", "reviewed", "changed"})


class HunkView(NamedTuple):
    """A hunk as the pane shows it. The hunk's lines are as they are in the file, all other texts are cleaned.

    ``settled`` hunks (accepted) lead from B to A, all others from A to W. ``gone`` ones are no longer anywhere.
    ``changed``, ``rejected``, ``kept`` and ``redo`` are those of the review; ``failing`` is what the tests said.
    """

    hunk: Hunk
    state: str
    settled: bool = False
    gone: bool = False
    note: str = ""
    why: str = ""
    comment: str = ""
    protected: bool = False
    changed: str = ""
    rejected: frozenset[int] = frozenset()
    kept: bool = False
    redo: bool = False
    failing: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.hunk.id

    @property
    def kind(self) -> str:
        return self.hunk.kind

    @property
    def lines(self) -> Sequence[tuple[Literal[" ", "-", "+"], bytes]]:
        """Signs with raw lines, context included."""
        return self.hunk.lines

    @property
    def undecided(self) -> bool:
        """Whether it waits for a decision."""
        return self.state in UNDECIDED and not self.kept

    @property
    def quiet(self) -> bool:
        """Whether it stands as one row until it is unfolded; what fails is to be seen."""
        return (self.settled or self.kept) and not self.failing

    @property
    def parted(self) -> bool:
        """Whether single lines of it can be decided about."""
        return self.hunk.kind == "text" and not self.gone

    @property
    def accepted_start(self) -> int:
        """Where its changed lines begin, by the numbers of A."""
        return (self.hunk.new_start if self.settled else self.hunk.old_start) + self.leading

    @property
    def leading(self) -> int:
        """Lines of context before its first changed line."""
        return self.extent[0]

    @property
    def end(self) -> int:
        """The index after its last changed line."""
        return self.extent[1]

    @property
    def extent(self) -> tuple[int, int]:
        """The index of its first changed line, and that after its last."""
        return self.hunk.extent

    @property
    def counts(self) -> tuple[int, int]:
        """How many lines it adds and removes."""
        hunk = self.hunk
        if hunk.additions or hunk.deletions:
            return len(hunk.additions), len(hunk.deletions)
        if hunk.kind != "text":  # all its deletions come first
            removed = bisect_left(hunk.lines, True, key=lambda line: line[0] != "-")
            return len(hunk.lines) - removed, removed
        signs = hunk.signs
        return signs.count("+"), signs.count("-")


class DiffRow(NamedTuple):
    """One row. ``hunk`` is its index, or -1; numbers are 0 where a side has no such line.

    ``words`` is the text of a row that is no line. A line is ``raw``, at ``position`` (from 1) of its hunk's lines.
    In a ``pair``, which shows both sides beside each other, these are the old side's, and ``other`` and
    ``other_raw`` the new one's; 0 where a side has no line.
    """

    kind: RowKind
    hunk: int
    words: str = ""
    sign: str = " "
    old: int = 0
    new: int = 0
    settled: bool = False
    raw: bytes | str = b""
    position: int = 0
    other_raw: bytes | str = b""
    other: int = 0

    @property
    def text(self) -> str:
        """What is shown of it."""
        if self.kind == "line":
            return shown_part(self.raw)
        if self.kind == "pair":
            return f"{shown_part(self.raw)} │ {shown_part(self.other_raw)}"
        return self.words
