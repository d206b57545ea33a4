"""What the user's earlier decisions say of today's hunks: marks, comments, rejections that wait, edits.

Every decision remembers where its lines were (:mod:`backspace_tui.core.marks`); here they are found again in the
hunks of diff(A, W) as it is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core import units
from backspace_tui.core.hunks import Choices, Hunk, is_binary
from backspace_tui.core.marks import LOST, Carried, Leg, Since, Spot, carry, numbers, spot_of, touches
from backspace_tui.core.state import SessionState
from backspace_tui.core.trees import Entry, FileChange
from backspace_tui.sessions.objects import Objects

_BESIDE_CONTENT = ("mode", "rename")


class Standing(msgspec.Struct):
    """What stands about one hunk. Positions are those of :mod:`backspace_tui.core.units`.

    ``seen`` lines were marked as reviewed, ``kept`` ones are what an edit of the user's left out, ``rejected`` ones
    wait for the agent's turn boundary; for a hunk that is no text the ``..._whole`` flags say the same. ``touched``
    tells that the agent changed something here after the user had looked, ``again`` that it made once more what was
    rejected, ``redo`` that a new version was asked for. ``reviews``, ``rejections`` and ``answers`` are the ``seq``
    of the decisions; those of the last asked for what is here now.
    """

    seen: set[int] = msgspec.field(default_factory=set)
    kept: set[int] = msgspec.field(default_factory=set)
    rejected: set[int] = msgspec.field(default_factory=set)
    seen_whole: bool = False
    kept_whole: bool = False
    rejected_whole: bool = False
    touched: bool = False
    again: bool = False
    redo: bool = False
    comment: str = ""
    reviews: list[int] = msgspec.field(default_factory=list)
    rejections: list[int] = msgspec.field(default_factory=list)
    answers: list[int] = msgspec.field(default_factory=list)

    def look(self) -> None:
        """The user turned to the hunk as it is now: what came before is no news any more."""
        self.touched = self.again = False


NOTHING: Final = Standing()
"""What stands about a hunk of a path without decisions; never changed."""


class Gone(NamedTuple):
    """A hunk that is out of the agent's files: its rejections, and its place by A's line numbers."""

    rejections: tuple[ev.Rejected, ...]
    place: tuple[int, int]

    @property
    def name(self) -> str:
        """What the ids of all hunks with these lines begin with."""
        return units.stem(self.rejections[0].hunk)

    def made_again(self, accepted: Iterable[Hunk], pending: Iterable[Hunk]) -> bool:
        """Whether one of these hunks of the path is the same in the same place."""
        start, after = self.place
        return any(
            hunk.kind != "text" or (hunk.new_start <= after and start <= hunk.new_end)
            for hunk in accepted
            if units.stem(hunk.id) == self.name
        ) or any(
            hunk.kind != "text" or touches(hunk, self.place) for hunk in pending if units.stem(hunk.id) == self.name
        )


class Marks:
    """The marks of a session by path; made once a review.

    ``renames`` are the changes of all trees under review: lines of a renamed file are found under both names.
    """

    def __init__(self, objects: Objects, state: SessionState, renames: Iterable[FileChange] = ()) -> None:
        self._objects = objects
        self._other_names: dict[str, set[str]] = {}
        for change in renames:
            if change.source:
                self._link(change.path, change.source)
        self._marks: dict[str, list[ev.Decision]] = {}
        self._rejections: dict[str, list[ev.Rejected]] = {}
        self._accepts: dict[str, Spot] = {
            decision.path: decision.spot
            for group in state.standing
            for decision in group
            if decision.action == "accept" and decision.spot is not None
        }
        for mark in state.marks.values():
            self._marks.setdefault(mark.path, []).append(mark)
        for rejection in state.rejected.values():
            self._rejections.setdefault(rejection.path, []).append(rejection)
            if rejection.applied and rejection.spot is not None and rejection.spot.kind == "rename":
                self._link(rejection.path, rejection.lines[0][1:])

    @property
    def paths(self) -> set[str]:
        """Paths with rejections, which are listed even when nothing else is left of them."""
        return set(self._rejections)

    def _link(self, path: str, other: str) -> None:
        self._other_names.setdefault(path, set()).add(other)
        self._other_names.setdefault(other, set()).add(path)

    def _of(self, path: str) -> list[ev.Decision | ev.Rejected]:
        """What stands about a path, oldest first; of its other names only what is about lines of both sides."""
        found = [*self._marks.get(path, ()), *self._rejections.get(path, ())]
        for other in self._other_names.get(path, ()):
            for decision in (*self._marks.get(other, ()), *self._rejections.get(other, ())):
                spot = decision.spot
                if spot is not None and spot.kind == "text" and spot.old and spot.new:
                    found.append(decision)
        return sorted(found, key=lambda decision: decision.seq)

    def pending(self, change: FileChange, hunks: Sequence[Hunk], ids: Sequence[str]) -> list[Standing]:
        """What stands about each of the ``hunks`` of ``change`` in diff(A, W); ``ids`` are their names."""
        decisions = self._of(change.path)
        if not decisions:
            return [NOTHING] * len(hunks)
        found = [Standing() for _ in hunks]
        here = _Here(self._objects, change, hunks, ids)
        for decision in decisions:
            if decision.spot is None:
                continue
            if isinstance(decision, ev.Rejected):
                _reject(here, decision, decision.spot, found)
            elif decision.action == "comment" or decision.spot.old or not change.source:
                # A look at the whole new file is none at what the rename changes in it.
                _mark(here, decision, decision.spot, found)
        return found

    def since(self, change: FileChange) -> Since | None:
        """What tells the agent's later changes from those that were there when lines of the path were accepted."""
        spot = self.accepted_at(change.path)
        if spot is None or not spot.new:
            return None
        return Since(
            leg_between(self._objects, _oid(change.old), spot.new),
            leg_between(self._objects, _oid(change.new), spot.new),
        )

    def accepted_at(self, path: str) -> Spot | None:
        """Where lines of the path were accepted last."""
        names = (path, *self._other_names.get(path, ()))
        return next((self._accepts[name] for name in names if name in self._accepts), None)

    def gone(self, path: str, old: Entry | None) -> list[Gone]:
        """What was taken out of the agent's files; ``old`` is what A holds there."""
        by_hunk: dict[str, list[ev.Rejected]] = {}
        for rejection in self._rejections.get(path, ()):
            if rejection.applied and not rejection.overtaken:
                same = by_hunk.setdefault(rejection.hunk, [])
                # What was made again and rejected once more is one thing.
                same[:] = [other for other in same if other.part != rejection.part] + [rejection]
        return [Gone(tuple(items), self._place(items[0].spot, old)) for items in by_hunk.values()]

    def _place(self, spot: Spot | None, old: Entry | None) -> tuple[int, int]:
        if spot is None:
            return 1, 1
        return carry(spot, leg_between(self._objects, spot.old, _oid(old)), Leg()).old_at

    def concern(self, path: str) -> bool:
        """Whether any decision stands about a path."""
        return bool(self._of(path))

    def comments(self, change: FileChange, hunks: Sequence[Hunk], ids: Sequence[str]) -> list[str]:
        """The comment on each of the ``hunks`` of ``change`` in diff(B, A)."""
        found = [""] * len(hunks)
        for mark in self._of(change.path):
            if isinstance(mark, ev.Rejected) or mark.action != "comment" or mark.spot is None:
                continue
            carried = carry(
                mark.spot,
                leg_between(self._objects, mark.spot.old, _oid(change.old)),
                leg_between(self._objects, mark.spot.new, _oid(change.new)),
            )
            for index, hunk in enumerate(hunks):
                held = not (
                    carried.additions.isdisjoint(hunk.additions) and carried.deletions.isdisjoint(hunk.deletions)
                )
                if held or mark.hunk == ids[index]:
                    found[index] = mark.comment
        return found


def _mark(here: _Here, mark: ev.Decision, spot: Spot, found: list[Standing]) -> None:
    where = here.locate(mark.hunk, spot)
    for index, positions in where.held.items():
        standing = found[index]
        if mark.action == "comment":
            standing.comment = mark.comment
        elif mark.action == "review":
            standing.reviews.append(mark.seq)
        if not where.intact:
            standing.touched = True
        elif mark.action == "edit":
            standing.kept |= positions or set()
            standing.kept_whole = standing.kept_whole or positions is None
        elif mark.action == "review":
            standing.look()
            standing.seen |= positions or set()
            standing.seen_whole = standing.seen_whole or positions is None
        elif here.all_of(index, positions):
            standing.look()
        elif not mark.part:
            # The comment was about the whole hunk, and there is more of it now.
            standing.touched = True
    for index in where.near:
        if mark.action == "comment":
            found[index].comment = found[index].comment or mark.comment
        if not where.intact:
            found[index].touched = True


def _reject(here: _Here, rejection: ev.Rejected, spot: Spot, found: list[Standing]) -> None:
    where = here.locate(rejection.hunk, spot)
    if rejection.applied:
        for index in {*where.held, *where.near}:
            if rejection.overtaken and not where.intact:
                found[index].touched = True
            elif rejection.redo and not rejection.overtaken and here.is_new(index, spot):
                found[index].redo = True
                found[index].answers.append(rejection.seq)
            elif here.repeats(index, rejection):
                found[index].again = True
        return
    for index, positions in where.held.items():
        standing = found[index]
        if not where.intact:
            standing.touched = True
            continue
        standing.rejections.append(rejection.seq)
        standing.rejected |= positions or set()
        standing.rejected_whole = standing.rejected_whole or positions is None
        standing.redo = standing.redo or rejection.redo
        standing.comment = rejection.comment or standing.comment
    if not where.intact:
        for index in where.near:
            found[index].touched = True


def choices(objects: Objects, change: FileChange, hunks: Sequence[Hunk], rejected: Iterable[ev.Rejected]) -> Choices:
    """The lines of these rejections in the ``hunks`` of ``change``, as far as all of a rejection's are there."""
    here = _Here(objects, change, hunks, [hunk.id for hunk in hunks])
    found: dict[str, frozenset[int] | None] = {}
    for rejection in rejected:
        if rejection.spot is None:
            continue
        where = here.locate(rejection.hunk, rejection.spot)
        for index, positions in where.held.items() if where.intact else ():
            name = hunks[index].id
            before = found.get(name, frozenset())
            found[name] = None if positions is None or before is None else before | positions
    return found


def found_again(objects: Objects, change: FileChange, hunks: Sequence[Hunk], spot: Spot) -> dict[int, frozenset[int]]:
    """The positions of a ``text`` spot's lines in the ``hunks`` of ``change``, by their index.

    Nothing where they are not all there, or taking them would change another place than the spot's.
    """
    here = _Here(objects, change, hunks, [hunk.id for hunk in hunks])
    held = {index: positions for index, positions in here.locate("", spot).held.items() if positions}
    places = [spot_of(change, hunks[index], positions) for index, positions in held.items()]
    if not places or _size(spot) != sum(map(_size, places)):
        return {}
    old_at = (min(place.old_at[0] for place in places), max(place.old_at[1] for place in places))
    return held if old_at == here.carried(spot).old_at else {}


def _size(spot: Spot) -> int:
    return len(numbers(spot.deletions)) + len(numbers(spot.additions))


def halves(state: SessionState, changes: Iterable[FileChange]) -> frozenset[str]:
    """The new paths of renames one half of which (the deletion or the addition) was rejected by itself."""
    spots = [(item.path, item.spot) for item in state.pending_rejections if item.spot is not None]
    # A half has one side, and the rename has both.
    deleted = {path for path, spot in spots if not spot.new}
    added = {path for path, spot in spots if not spot.old}
    return frozenset(
        change.path for change in changes if change.source and (change.source in deleted or change.path in added)
    )


class _Where(msgspec.Struct, frozen=True):
    """The hunks that hold lines of a spot (``None``: the whole hunk), and those at its place."""

    held: Mapping[int, frozenset[int] | None]
    near: frozenset[int]
    intact: bool


class _Here:
    """The hunks of one change, and the ways to them."""

    def __init__(self, objects: Objects, change: FileChange, hunks: Sequence[Hunk], ids: Sequence[str]) -> None:
        self._objects = objects
        self._old, self._new = _oid(change.old), _oid(change.new)
        self._hunks, self._ids = hunks, ids
        self._deletions = {number: index for index, hunk in enumerate(hunks) for number in hunk.deletions}
        self._additions = {number: index for index, hunk in enumerate(hunks) for number in hunk.additions}

    def carried(self, spot: Spot) -> Carried:
        """The spot's lines by the numbers of this change."""
        return carry(
            spot, leg_between(self._objects, spot.old, self._old), leg_between(self._objects, spot.new, self._new)
        )

    def locate(self, hunk: str, spot: Spot) -> _Where:
        if spot.kind != "text":
            return self._whole(hunk, spot)
        carried = self.carried(spot)
        holding = {self._deletions[n] for n in carried.deletions if n in self._deletions}
        holding |= {self._additions[n] for n in carried.additions if n in self._additions}
        held = {index: units.at(self._hunks[index], carried.deletions, carried.additions) for index in sorted(holding)}
        # A deletion that A still has and that is no change any more was taken back by the agent.
        intact = carried.intact and all(number in self._deletions for number in carried.deletions)
        return _Where(held, self._near(carried) - holding, intact)

    def _near(self, carried: Carried) -> frozenset[int]:
        return frozenset(
            index
            for index, hunk in enumerate(self._hunks)
            if (touches(hunk, carried.old_at) if hunk.kind == "text" else hunk.kind not in _BESIDE_CONTENT)
        )

    def _whole(self, hunk: str, spot: Spot) -> _Where:
        held = {index: None for index, name in enumerate(self._ids) if name == hunk}
        if held:
            return _Where(held, frozenset(), True)
        beside = spot.kind in _BESIDE_CONTENT
        near = frozenset(
            index
            for index, other in enumerate(self._hunks)
            if (other.kind == spot.kind if beside else other.kind not in _BESIDE_CONTENT)
        )
        return _Where({}, near, False)

    def all_of(self, index: int, positions: frozenset[int] | None) -> bool:
        """Whether the positions are the whole hunk."""
        return positions is None or positions == units.changed(self._hunks[index])

    def is_new(self, index: int, spot: Spot) -> bool:
        """Whether the hunk is not just what was beside the spot's lines when they were decided about."""
        hunk = self._hunks[index]
        back = leg_between(self._objects, self._new, spot.new)
        return not hunk.additions or any(back.line(number) is None for number in hunk.additions)

    def repeats(self, index: int, rejection: ev.Rejected) -> bool:
        """Whether the hunk adds a line that was rejected, or deletes one where none was added."""
        assert rejection.spot is not None
        if rejection.spot.kind != "text":
            return self._ids[index] == rejection.hunk
        telling = {line for line in rejection.lines if line[:1] == "+" and line[1:].strip()} or set(rejection.lines)
        return not telling.isdisjoint(units.shown_lines(self._hunks[index]))


def leg_between(objects: Objects, old: str, new: str) -> Leg:
    """The leg from one blob's lines to another's (empty: absent)."""
    if old == new:
        return Leg()
    if not (old and new) or any(is_binary(objects.blob(oid)) for oid in (old, new)):
        return LOST
    return objects.leg(old, new)


def _oid(entry: Entry | None) -> str:
    return entry.oid if entry is not None and entry.mode != 0o160000 else ""
