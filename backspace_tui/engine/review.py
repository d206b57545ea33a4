"""The human's decisions: each makes a new accepted tree from the blobs that the human was looking at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core import hunks as core
from backspace_tui.core import units
from backspace_tui.core.marks import Spot, spot_of
from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import clean
from backspace_tui.core.trees import File, FileChange, in_the_way
from backspace_tui.engine.job import Job
from backspace_tui.engine.seen import as_seen, by_id
from backspace_tui.engine.talk import DecisionRefused, kind_of_message
from backspace_tui.sessions.review import ReviewFile, ReviewHunk, changes_between, splits
from backspace_tui.sessions.review import review as project

__all__ = ["Chosen", "DecisionRefused", "accept_all", "check", "decide", "locate", "staged", "undo"]

_TOLD: Final = ("reject", "redo", "comment")
"""Actions whose lines the agent is told."""

Staging = Callable[[FileChange, bytes, bytes, bytes, core.Choices], dict[str, File | None]]


class Chosen(msgspec.Struct, frozen=True):
    """A unit that a command names: a hunk, and the positions of its lines (none for a hunk that is no text).

    ``change`` is the one that the hunk is of: diff(B, A) for accepted hunks, else diff(A, W), ``None`` when it is gone.
    """

    file: ReviewFile
    item: ReviewHunk
    positions: frozenset[int]
    change: FileChange | None

    @property
    def spot(self) -> Spot | None:
        """Where the lines are."""
        return None if self.change is None else spot_of(self.change, self.item.hunk, self.positions)


def decide(job: Job, command: cmd.Decide) -> int:
    """Carry out a decision about one or more units, all of them or none.

    Returns:
        The ``seq`` of the last event.

    Raises:
        DecisionRefused: a unit is not there (any more), or its state does not allow the action.
    """
    with job.review_lock:
        state = job.state
        if not state.base_tree:
            raise DecisionRefused("there is nothing to review yet")
        if not command.hunks:
            raise DecisionRefused("name a hunk")
        chosen = locate(job, as_seen(job, command.hunks, command.action, command.seen), command.action)
        for one in chosen:
            check(one, command)
        tree = state.accepted_tree
        if command.action == "accept":
            tree = amended(job, tree, staged(job, chosen, core.take))
        elif command.action == "unstage":
            tree = amended(job, tree, staged(job, chosen, core.leave))
        elif command.action in ("reject", "redo"):
            refuse_in_the_way(job, state.work_tree, staged(job, chosen, core.leave))
        events = _events(job, chosen, command, tree)
        if command.action == "redo":
            with job.recorder.changed:
                return job.recorder.emit_all([*events, _request(job, chosen, command.comment)])
        return job.recorder.emit_all(events)


def amended(job: Job, tree: str, files: dict[str, File | None]) -> str:
    """``tree`` with these files.

    Raises:
        DecisionRefused: one of them stands where a folder has to be, or the reverse.
    """
    refuse_in_the_way(job, tree, files)
    return job.repository.amend_tree(tree, files)


def refuse_in_the_way(job: Job, tree: str, files: dict[str, File | None]) -> None:
    """Raises DecisionRefused where ``files`` cannot all stand in ``tree``."""
    if found := in_the_way(job.objects.entries(tree), files):
        path, other = found
        raise DecisionRefused(f"{path} and {other} cannot both be there: decide about both of them together")


def undo(job: Job) -> int:
    """Take back the last standing group of decisions.

    Raises:
        DecisionRefused: there is none.
    """
    with job.review_lock:
        state = job.state
        if not state.standing:
            raise DecisionRefused("there is no decision to undo")
        group = state.standing[-1]
        return job.recorder.emit_all(
            [
                ev.Decision(
                    hunk=decision.hunk,
                    path=decision.path,
                    action="undo",
                    tree=group[0].before,
                    before=state.accepted_tree,
                    group=state.group + 1,
                    undoes=decision.group,
                    part=decision.part,
                )
                for decision in reversed(group)
            ]
        )


def accept_all(job: Job) -> int:
    """Accept every hunk that nobody has decided about, except those that run on someone's machine.

    Returns:
        How many hunks were accepted.
    """
    with job.review_lock:
        shown = project(job.objects, job.state)
        ids = tuple(item.hunk.id for file in shown.files for item in file.hunks if item.sweeping and not file.protected)
        if ids:
            decide(job, cmd.Decide(hunks=ids, action="accept"))
        return len(ids)


def locate(job: Job, names: Iterable[str], action: str) -> list[Chosen]:
    """The units with these names, those of one hunk as one; a hunk of a rename may be one of its two halves.

    Raises:
        DecisionRefused: a name is none, or its unit is not there.
    """
    wanted: dict[str, list[str]] = {}
    for name in names:
        try:
            unit = units.parse(name)
        except ValueError as problem:
            raise DecisionRefused(str(problem)) from None
        wanted.setdefault(unit.hunk, []).append(unit.part)
    state = job.state
    shown = project(job.objects, state)
    found = by_id(shown, action)
    split = splits(job.objects, state)
    if missing := [name for name in wanted if name not in found]:
        split |= {file.path for file in shown.files if file.renamed_from}
        found = by_id(project(job.objects, state, split=split), action) if split else found
        missing = [name for name in wanted if name not in found]
    if missing:
        raise DecisionRefused(f"hunk {missing[0]} is not there (any more): the agent changed it, or the id is wrong")
    pending = changes_between(job.objects, state.accepted_tree, state.work_tree, split)
    taken = changes_between(job.objects, state.base_tree, state.accepted_tree, split)
    return [_choose(*found[name], parts, action, (pending, taken)) for name, parts in wanted.items()]


def _choose(
    file: ReviewFile,
    item: ReviewHunk,
    parts: Sequence[str],
    action: str,
    sides: tuple[dict[str, FileChange], dict[str, FileChange]],
) -> Chosen:
    positions: frozenset[int] = frozenset()
    for part in parts if not item.gone else ():
        try:
            named = units.positions(item.hunk, part)
        except ValueError as problem:
            raise DecisionRefused(str(problem)) from None
        if not part and item.state != "rejected":
            # The lines that wait to be rejected are decided.
            named -= item.rejected
        if part and action in ("reject", "redo") and named <= item.rejected:
            raise DecisionRefused(f"{item.hunk.id}{part} is rejected already")
        positions |= named
    side = sides[item.state == "accepted"]
    change = None if item.gone else side.get(file.path) or side.get(file.renamed_from)
    return Chosen(file, item, positions, change)


def check(one: Chosen, command: cmd.Decide) -> None:
    """Whether the unit's state allows the command.

    Raises:
        DecisionRefused: it does not.
    """
    item, action = one.item, command.action
    name = f"hunk {item.hunk.id} of {one.file.path}"
    accepted = item.state == "accepted"
    if item.gone:
        raise DecisionRefused(f"{name} is out of the agent's files already; undo the rejection to bring it back")
    if action == "unstage" and not accepted:
        raise DecisionRefused(f"{name} is not accepted, so it cannot be unstaged")
    if action in ("accept", "reject", "redo") and accepted:
        todo = "" if action == "accept" else "; unstage it first"
        raise DecisionRefused(f"{name} is accepted already{todo}")
    if action in ("reject", "redo") and item.state == "rejected":
        raise DecisionRefused(f"{name} is rejected already")
    if action == "accept" and one.file.protected and not command.accept_protected:
        raise DecisionRefused(f"{name} runs on someone's machine; accept it with its own confirmation")
    if action == "comment" and not command.comment.strip():
        raise DecisionRefused("a comment needs a text")


def staged(job: Job, chosen: Iterable[Chosen], function: Staging) -> dict[str, File | None]:
    """What the paths hold after ``function`` (take or leave) with the chosen units."""
    by_path: dict[str, dict[str, frozenset[int] | None]] = {}
    changes: dict[str, FileChange] = {}
    for one in chosen:
        assert one.change is not None
        text = one.item.hunk.kind == "text"
        by_path.setdefault(one.file.path, {})[one.item.local] = one.positions if text else None
        changes[one.file.path] = one.change
    found: dict[str, File | None] = {}
    for path, choices in by_path.items():
        found |= apply_choices(job, changes[path], choices, function)
    return found


def apply_choices(job: Job, change: FileChange, choices: core.Choices, function: Staging) -> dict[str, File | None]:
    """What the paths of ``change`` hold after ``function`` (take or leave) with these units."""
    return function(change, *job.objects.sides(change), choices)


def _events(job: Job, chosen: Iterable[Chosen], command: cmd.Decide, tree: str) -> list[ev.AnyEvent]:
    state = job.state
    comment = job.parts.redactor.redact(clean(command.comment))
    events: list[ev.AnyEvent] = []
    for one in chosen:
        voids, again = _ended(state, one, command.action)
        events.append(_decision(job, one, command.action, tree, one.positions, comment=comment, voids=voids))
        events += [_decision(job, one, "reject", tree, rest, comment=item.comment) for item, rest in again]
    return events


def _ended(
    state: SessionState, one: Chosen, action: str
) -> tuple[tuple[int, ...], list[tuple[ev.Rejected, frozenset[int]]]]:
    """The earlier decisions that ``action`` ends, and what of them stands nevertheless."""
    if action == "unreview":
        return one.item.reviews, []
    if action != "accept" or not one.item.rejections:
        return (), []
    if one.item.hunk.kind != "text":
        return one.item.rejections, []
    overlap = one.item.rejected & one.positions
    if not overlap:
        return (), []
    ended = [state.rejected[seq] for seq in one.item.rejections]
    rest = one.item.rejected - one.positions
    return tuple(item.seq for item in ended), [(ended[0], rest)] if rest else []


def _decision(
    job: Job,
    one: Chosen,
    action: ev.Action,
    tree: str,
    positions: frozenset[int],
    *,
    comment: str = "",
    voids: tuple[int, ...] = (),
) -> ev.Decision:
    hunk = one.item.hunk
    marks = action not in ("unstage", "unreview")
    return ev.Decision(
        hunk=hunk.id,
        path=one.file.path,
        action=action,
        tree=tree,
        before=job.state.accepted_tree,
        group=job.state.group + 1,
        comment=comment or (one.item.comment if action in ("reject", "redo") else ""),
        protected=one.file.protected,
        part=units.part_of(hunk, positions),
        lines=units.shown_lines(hunk, positions) if action in _TOLD else (),
        spot=spot_of(one.change, hunk, positions) if marks and one.change is not None else None,
        voids=voids,
    )


def _request(job: Job, chosen: Iterable[Chosen], comment: str) -> ev.Message:
    """What starts the agent's turn; what exactly it is to do anew stands in the rejection that comes before it."""
    paths = ", ".join(dict.fromkeys(one.file.path for one in chosen))
    wish = job.parts.redactor.redact(clean(comment.strip()))
    text = f"Do your change in {paths} again, in another way" + (f": {wish}" if wish else ".")
    return ev.Message(role="user", kind=kind_of_message(job, text), text=text, about="redo")
