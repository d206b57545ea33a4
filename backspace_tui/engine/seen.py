"""Names of units as somebody saw them, in today's review.

A hunk's id tells its path and lines. Where several hunks of a file have the same ones, it also counts them, and then
a decision or the agent can make a name mean another place. A command that tells when its names were read (``seen``)
is carried out about the lines that they meant then, or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backspace_tui.core import events as ev
from backspace_tui.core import units
from backspace_tui.core.marks import spot_of
from backspace_tui.core.state import SessionState
from backspace_tui.core.trees import FileChange
from backspace_tui.engine.job import Job
from backspace_tui.engine.talk import DecisionRefused
from backspace_tui.sessions.marks import found_again
from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk, changes_between, review

_MOVING = (ev.Decision, ev.FileEdit, ev.GitOperation, ev.ToolFinished)
"""The events that can change what a review shows."""


def as_seen(job: Job, names: Iterable[str], action: str, seen: int) -> tuple[str, ...]:
    """Today's names of the units that ``names`` meant after the event ``seen`` (0: they are today's).

    Raises:
        DecisionRefused: one of several hunks with the same lines was meant, and it is not there any more.
    """
    names = tuple(names)
    later = job.recorder.events[seen:] if seen > 0 else ()
    if not any(isinstance(event, _MOVING) for event in later):
        return names
    then, now = _Shown(job, job.recorder.state_at(seen)), _Shown(job, job.state)
    return tuple(today for name in names for today in _today(name, action, then, now))


class _Shown:
    """What a review shows at a state."""

    def __init__(self, job: Job, state: SessionState) -> None:
        self.objects, self._state = job.objects, state
        whole = review(job.objects, state)
        self._split = frozenset(file.path for file in whole.files if file.renamed_from)
        self._reviews = [whole, review(job.objects, state, split=self._split)] if self._split else [whole]

    def find(self, hunk: str, action: str) -> tuple[ReviewFile, ReviewHunk] | None:
        """The hunk with this id; one that is both accepted and open means the one the action is for."""
        return next((found for shown in self._reviews if (found := by_id(shown, action).get(hunk))), None)

    def count(self, hunk: str) -> int:
        """How many hunks have the same lines."""
        stem = units.stem(hunk)
        return max(sum(units.stem(item.hunk.id) == stem for _, item in _all(shown)) for shown in self._reviews)

    def side(self, path: str, *, accepted: bool) -> tuple[FileChange | None, list[ReviewHunk]]:
        """The change of one side at a path, and its text hunks."""
        state = self._state
        trees = (state.base_tree, state.accepted_tree) if accepted else (state.accepted_tree, state.work_tree)
        for number, shown in enumerate(self._reviews):
            hunks = [
                item
                for file, item in _all(shown)
                if file.path == path
                and item.hunk.kind == "text"
                and not item.gone
                and (item.state == "accepted") == accepted
            ]
            if hunks:
                split = self._split if number else frozenset[str]()
                return changes_between(self.objects, *trees, split).get(path), hunks
        return None, []


def _all(shown: Review) -> Iterable[tuple[ReviewFile, ReviewHunk]]:
    return ((file, item) for file in shown.files for item in file.hunks)


def by_id(shown: Review, action: str) -> dict[str, tuple[ReviewFile, ReviewHunk]]:
    """The hunks by id; an id that is both accepted and open means the one the action is for."""
    found: dict[str, tuple[ReviewFile, ReviewHunk]] = {}
    for file, item in _all(shown):
        if item.hunk.id not in found or (item.state == "accepted") == (action == "unstage"):
            found[item.hunk.id] = (file, item)
    return found


def _today(name: str, action: str, then: _Shown, now: _Shown) -> Sequence[str]:
    try:
        unit = units.parse(name)
    except ValueError as problem:
        raise DecisionRefused(str(problem)) from None
    found = then.find(unit.hunk, action)
    if found is None or found[1].gone or found[1].hunk.kind != "text":
        return (name,)
    if then.count(unit.hunk) == 1 and now.count(unit.hunk) <= 1:
        return (name,)
    file, item = found
    try:
        positions = units.positions(item.hunk, unit.part)
    except ValueError as problem:
        raise DecisionRefused(str(problem)) from None
    accepted = item.state == "accepted"
    before, _ = then.side(file.path, accepted=accepted)
    after, hunks = now.side(file.path, accepted=accepted)
    if before is not None and after is not None:
        spot = spot_of(before, item.hunk, positions)
        held = found_again(now.objects, after, [one.hunk for one in hunks], spot)
        if held:
            return [hunks[index].hunk.id + units.part_of(hunks[index].hunk, at) for index, at in held.items()]
    raise DecisionRefused(
        f"hunk {unit.hunk} is one of several with the same lines, and it is not where it was: look at the review again"
    )
