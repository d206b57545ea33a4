"""Where there is something to decide, and what stands behind each file in the tree: pure."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, NamedTuple

from backspace_tui.sessions.failing import numbers
from backspace_tui.ui.file_tree import Badge, Filter, Tests
from backspace_tui.ui.present import ordered

if TYPE_CHECKING:
    from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk


class Place(NamedTuple):
    """A hunk among all; ``failing`` tells that a failing run names its file."""

    file: ReviewFile
    item: ReviewHunk
    failing: bool = False

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def id(self) -> str:
        return self.item.hunk.id

    @property
    def state(self) -> str:
        return self.item.state

    @property
    def undecided(self) -> bool:
        """Whether it waits for a decision."""
        return self.item.open

    @property
    def sweeping(self) -> bool:
        """Whether it may be accepted with the rest of its file."""
        return self.item.sweeping and not self.file.protected

    def wanted(self, shown: Filter) -> bool:
        """Whether a filter shows it."""
        match shown:
            case "undecided":
                return self.item.open
            case "since":
                return self.item.state == "changed"
            case "commented":
                return bool(self.item.comment)
            case "failing":
                return self.failing and not self.item.gone
            case _:
                return True


def places(review: Review, failing: Container[str] = ()) -> list[Place]:
    """All hunks in the order in which the panes show them; ``failing`` are the paths that a failing run names."""
    found = []
    for file in review.files:
        named = file.path in failing
        found += [Place(file, item, named) for item in ordered(file)]
    return found


def badges(
    review: Review, failing: Container[str] = (), *, passes: bool = False, stale: bool = False
) -> dict[str, Badge]:
    """What stands behind each changed file.

    With ``passes`` the tests pass with exactly what is accepted; ``stale`` tells that the run that names the
    ``failing`` paths was one on another tree.
    """
    failed: Tests = "failed" if stale else "fails"
    return {
        file.path: _badge(file, failed if file.path in failing else "passes" if passes else "") for file in review.files
    }


def _badge(file: ReviewFile, tests: Tests) -> Badge:
    states = {item.state for item in file.hunks}
    return Badge(
        sum(not item.open for item in file.hunks),
        len(file.hunks),
        rejected=states == {"rejected"},
        partial=file.state == "partial",
        since="changed" in states,
        commented=any(item.comment for item in file.hunks),
        protected=file.protected,
        tests="" if tests == "passes" and "accepted" not in states else tests,
    )


def beside(file: ReviewFile, lines: Sequence[str]) -> dict[str, Sequence[str]]:
    """The hunks of ``file`` beside which the tests' lines about it stand, by id.

    These are the hunks that hold a line whose number is named; where none does, the last accepted one, or the last.
    """
    here = [item for item in ordered(file) if not item.gone]
    if not lines or not here:
        return {}
    named = numbers(lines, file.path)
    holding = [item for item in here if any(number in _span(item) for number in named)]
    if not holding:
        holding = [item for item in here if item.state == "accepted"][-1:] or here[-1:]
    return {item.hunk.id: lines for item in holding}


def _span(item: ReviewHunk) -> range:
    """The numbers of its lines in A."""
    hunk = item.hunk
    if item.state == "accepted":
        return range(hunk.new_start, hunk.new_end)
    return range(hunk.old_start, hunk.old_end)
