"""The human's own version of a hunk: accepted in the place of the agent's, whose files stay as they are."""

from __future__ import annotations

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.hunks import Hunk, replace_lines
from backspace_tui.core.marks import Spot, ranges, touches
from backspace_tui.core.trees import EXECUTABLE, REGULAR, File, FileChange
from backspace_tui.core.units import chosen, parse
from backspace_tui.engine.job import Job
from backspace_tui.engine.review import Chosen, DecisionRefused, amended, check, locate
from backspace_tui.engine.seen import as_seen
from backspace_tui.sessions.review import changes_between

LIMIT = 3_000_000
"""Bytes of an edited hunk; a command is one line on the socket."""


def edit(job: Job, command: cmd.Edit) -> int:
    """Put the edited text of a hunk's new side into A.

    Returns:
        The ``seq`` of the decision.

    Raises:
        DecisionRefused: the hunk is not there, has no lines to edit, or the result is empty.
    """
    with job.review_lock:
        if not job.state.base_tree:
            raise DecisionRefused("there is nothing to review yet")
        names = as_seen(job, (command.hunk,), "edit", command.seen)
        if len(names) != 1 or parse(names[0]).part:
            raise DecisionRefused(f"hunk {command.hunk} is not what you saw any more: look at the review again")
        (one,) = locate(job, names, "edit")
        _check(one, command)
        assert one.change is not None
        files, last = _edited(job, one, one.change, command.result)
        before = job.state.accepted_tree
        tree = amended(job, before, files)
        first = _first(one)
        return job.recorder.emit(
            ev.Decision(
                hunk=one.item.hunk.id,
                path=one.file.path,
                action="edit",
                tree=tree,
                before=before,
                group=job.state.group + 1,
                protected=one.file.protected,
                spot=_left_over(job, one.file.path, tree, (first, last)),
                voids=one.item.rejections,
            )
        ).seq


def _check(one: Chosen, command: cmd.Edit) -> None:
    hunk = one.item.hunk
    if one.item.state != "accepted":
        check(one, cmd.Decide(hunks=(hunk.id,), action="accept", accept_protected=command.accept_protected))
    elif one.file.protected and not command.accept_protected:
        raise DecisionRefused(f"hunk {hunk.id} of {one.file.path} runs on someone's machine; confirm it")
    if hunk.kind != "text":
        raise DecisionRefused(f"hunk {hunk.id} ({hunk.kind}) has no lines to edit: accept or reject it as it is")
    if not command.result:
        raise DecisionRefused("the edited text is empty, so nothing was changed: reject the hunk to leave it out")
    if len(command.result) > LIMIT:
        raise DecisionRefused(f"the edited text is larger than {LIMIT:,} bytes, so nothing was changed")


def _first(one: Chosen) -> int:
    """The line of A at which the hunk begins."""
    return one.item.hunk.new_start if one.item.state == "accepted" else one.item.hunk.old_start


def _edited(job: Job, one: Chosen, change: FileChange, result: bytes) -> tuple[dict[str, File | None], int]:
    """The files of A with the result in them, and the number of the line after it."""
    old, new, _ = job.objects.sides(change)
    hunk = one.item.hunk
    if one.item.state == "accepted":
        assert change.new is not None
        data, after = replace_lines(new, hunk.new_start, hunk.new_end, result)
        return {change.path: File(change.new.mode, data)}, after
    data, after = replace_lines(old, hunk.old_start, hunk.old_end, result)
    entry = change.old or change.new
    assert entry is not None
    mode = entry.mode if entry.mode in (REGULAR, EXECUTABLE) else REGULAR
    return {change.source or change.path: File(mode, data)}, after


def _left_over(job: Job, path: str, tree: str, place: tuple[int, int]) -> Spot | None:
    """What still differs between the edited lines of A, which are at ``place``, and the agent's version."""
    change = changes_between(job.objects, tree, job.state.work_tree).get(path)
    if change is None or change.old is None or change.new is None:
        return None
    deletions: set[int] = set()
    additions: set[int] = set()
    for hunk in job.objects.hunks(change):
        if hunk.kind == "text" and touches(hunk, place):
            out, into = chosen(hunk, _blocks_at(hunk, place))
            deletions |= out
            additions |= into
    if not (deletions or additions):
        return None
    return Spot("text", change.old.oid, change.new.oid, ranges(deletions), ranges(additions), place)


def _blocks_at(hunk: Hunk, place: tuple[int, int]) -> set[int]:
    found: set[int] = set()
    old = hunk.old_start
    block: list[int] = []
    start = old
    for position, (sign, _) in enumerate((*hunk.lines, (" ", b"")), start=1):
        if sign != " ":
            if not block:
                start = old
            block.append(position)
            old += sign == "-"
            continue
        if block and start <= place[1] and place[0] <= old:
            found.update(block)
        block = []
        old += 1
    return found
