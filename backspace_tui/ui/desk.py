"""What the window knows of its session: plain data, fed by the log, asked by the screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import clean
from backspace_tui.sessions.expecting import expected
from backspace_tui.sessions.failing import MOST, newest
from backspace_tui.sessions.why import Calls, Why
from backspace_tui.ui.file_tree import Filter
from backspace_tui.ui.places import Place, places
from backspace_tui.ui.selection import hunk_of

if TYPE_CHECKING:
    from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk

_SENTENCE: Final = 160
STALE: Final = "stale: decisions since this run changed what is accepted"

Failing = Mapping[str, tuple[str, ...]]
"""Lines of a failing run's output, by the path that they name."""


class Desk:
    """The session's state, its review, and the decisions that are under way.

    A decision is under way from the key press until the review shows what became of it; until then its hunk shows as
    deciding, takes no further one, and is skipped by everything that looks for the next one. Where it can be known
    what will become of it, :attr:`review` is the review as it will be, until the real one comes.
    """

    def __init__(self) -> None:
        self.state = SessionState()
        self.review: Review | None = None
        self.review_seq = 0
        self.work_tree = ""
        self.places: list[Place] = []
        self.failing: Failing = {}
        self._real: Review | None = None
        self._hoped: dict[tuple[str, ...], str] = {}
        self._shown: frozenset[str] = frozenset()
        self._busy: dict[str, int | None] = {}
        self._calls = Calls()

    # The log

    def take(self, events: Iterable[ev.AnyEvent], state: SessionState) -> None:
        """These events happened, and ``state`` is what they lead to."""
        self.state = state
        for event in events:
            self._calls.take(event)

    def call_of(self, edit: int) -> Why | None:
        """The tool call that made the edit with this ``seq``."""
        return self._calls.of(edit)

    def thought_of(self, edit: int) -> str:
        """One sentence of what was thought before that edit, or empty."""
        call = self.call_of(edit)
        return sentence(call.thought) if call is not None else ""

    def rewind(self, state: SessionState) -> None:
        """Replay shows another point of time: what was computed later is void."""
        self.state = state
        self.review_seq = 0

    def forget_review(self) -> None:
        """There is nothing to review at this point of time."""
        self.review = self._real = None
        self.places, self.failing, self.work_tree = [], {}, ""

    # The review

    def take_review(self, review: Review, seq: int, work_tree: str, failing: Failing | None = None) -> bool:
        """A review was computed; ``False`` when a newer one is there already."""
        if seq < self.review_seq:
            return False
        self._real, self.review_seq, self.work_tree = review, seq, work_tree
        self.failing = failing or {}
        self._busy = {unit: caused for unit, caused in self._busy.items() if caused is None or caused > seq}
        self._foresee()
        return True

    def _foresee(self) -> None:
        """Show the newest review with what the decisions under way will make of it."""
        shown, foreseen = self._real, set[str]()
        self._hoped = {units: action for units, action in self._hoped.items() if self._busy.keys() >= set(units)}
        for units, action in self._hoped.items():
            after = expected(shown, units, action) if shown is not None else None
            if after is not None:
                shown = after
                foreseen.update(units)
        self.review, self._shown = shown, frozenset(foreseen)
        if shown is not None:
            self.places = places(shown, self.failing)

    def file(self, path: str) -> ReviewFile | None:
        """The file under review at ``path``."""
        if self.review is None:
            return None
        return next((file for file in self.review.files if file.path == path), None)

    def item(self, path: str, hunk: str) -> ReviewHunk | None:
        """The hunk of ``path`` with this id, as the review has it."""
        file = self.file(path)
        return next((item for item in file.hunks if item.hunk.id == hunk), None) if file is not None else None

    def changed_paths(self) -> list[str]:
        """The paths under review, in order."""
        return [file.path for file in self.review.files] if self.review is not None else []

    def sweep(self, path: str) -> tuple[list[str], list[str]]:
        """The ids of the hunks that accepting the rest of ``path`` takes, and of the undecided ones it leaves out."""
        busy = self.busy_hunks
        left = [place for place in self.places if place.path == path and place.undecided and place.id not in busy]
        return [place.id for place in left if place.sweeping], [place.id for place in left if not place.sweeping]

    def next_open(self, path: str, hunk: str, shown: Filter = "all") -> Place | None:
        """The next hunk after this one that waits for a decision and that the filter shows, around the end."""
        places = self.places
        at = next((n for n, place in enumerate(places) if (place.path, place.id) == (path, hunk)), -1)
        if at < 0:
            at = next((n for n, place in enumerate(places) if place.path >= path), len(places)) - 1
        around = chain(range(at + 1, len(places)), range(max(at, 0)))
        passed = self.busy_hunks | {hunk}
        return next(
            (
                place
                for place in map(places.__getitem__, around)
                if place.undecided and place.wanted(shown) and place.id not in passed
            ),
            None,
        )

    def state_of(self, path: str, hunk: str) -> str:
        """The hunk's state in the newest review, or empty."""
        return next((place.state for place in self.places if (place.path, place.id) == (path, hunk)), "")

    # The tests

    @property
    def verdict(self) -> tuple[ev.Verification | None, bool]:
        """The verdict on what is accepted, or else the last one; and whether it is stale, being of another tree."""
        found = newest(self.state)
        return found, found is not None and found.tree != self.state.accepted_tree

    def failing_of(self, path: str) -> tuple[str, ...]:
        """What the tests say of ``path`` where they fail."""
        lines = self.failing.get(path, ())
        return (STALE, *lines[1 - MOST :]) if lines and self.verdict[1] else lines

    # Decisions under way

    @property
    def busy(self) -> frozenset[str]:
        """The units whose decision is under way."""
        return frozenset(self._busy)

    @property
    def busy_hunks(self) -> frozenset[str]:
        """The ids of their hunks."""
        return frozenset(map(hunk_of, self._busy))

    @property
    def deciding(self) -> frozenset[str]:
        """The units whose decision is under way and does not show yet."""
        return frozenset(self._busy) - self._shown

    def sent(self, units: Sequence[str], action: str = "") -> bool:
        """A decision about ``units`` is on its way; whether :attr:`review` shows already what it makes."""
        self._busy.update(dict.fromkeys(units))
        after = expected(self.review, units, action) if self.review is not None and action else None
        if after is None:
            return False
        self._hoped[tuple(units)] = action
        self.review, self._shown = after, self._shown.union(units)
        self.places = places(after, self.failing)
        return True

    def replied(self, units: Sequence[str], seq: int, error: str) -> bool:
        """It was carried out as the event ``seq``, or refused; whether :attr:`review` is another one by that."""
        for unit in units:
            if unit not in self._busy:
                continue
            if error or seq <= self.review_seq:
                del self._busy[unit]
            else:
                self._busy[unit] = seq
        if tuple(units) not in self._hoped or self._busy.keys() >= set(units):
            return False
        self._foresee()
        return True


def sentence(text: str) -> str:
    """The first sentence of ``text``, on one line."""
    line = " ".join(clean(text).split())
    end = line.find(". ")
    line = line[: end + 1] if 0 < end < _SENTENCE else line
    return line if len(line) <= _SENTENCE else line[: _SENTENCE - 2].rstrip() + " …"
