"""Rejections reach the agent's files at its turn boundary, and undone ones come back."""

from __future__ import annotations

from collections.abc import Sequence

from backspace_tui.core import events as ev
from backspace_tui.core import hunks as core
from backspace_tui.core.terminal_text import clip
from backspace_tui.core.trees import Entry, File, FileChange, in_the_way
from backspace_tui.engine.job import Job
from backspace_tui.engine.review import apply_choices
from backspace_tui.sessions.marks import choices
from backspace_tui.sessions.review import changes_between, review, splits

LINES_LIMIT = 4_000


def carry_out(job: Job) -> None:
    """Take rejected changes out of the agent's files and put undone ones back, and say so in the conversation.

    One event tells of all of them, so that a crash cannot deliver the message twice or lose it.
    """
    with job.review_lock:
        _restore(job, job.state.restorations)
        _reject(job, job.state.pending_rejections)


def _reject(job: Job, rejections: tuple[ev.Rejected, ...]) -> None:
    if not rejections:
        return
    state = job.state
    split = splits(job.objects, state)
    changes = changes_between(job.objects, state.accepted_tree, state.work_tree, split)
    wanted: list[tuple[dict[str, File | None], set[int]]] = []
    for file in review(job.objects, state).files:
        named: dict[str, frozenset[int] | None] = {}
        ended: set[int] = set()
        for item in file.hunks:
            if item.rejections and not item.gone:
                ended.update(item.rejections)
                named[item.local] = item.rejected if item.hunk.kind == "text" else None
        if named:
            wanted.append((apply_choices(job, changes[file.path], named, core.leave), ended))
    located = {seq for _, ended in wanted for seq in ended}
    for rejection in rejections:
        if rejection.seq not in located and (files := _as_decided(job, rejection, _together(wanted))):
            wanted.append((files, {rejection.seq}))
    present = job.objects.entries(state.work_tree)
    # A file may take a folder's place only with everything that leaves it, so all of them are looked at together.
    while blocked := in_the_way(present, _together(wanted)):
        wanted = [(files, ended) for files, ended in wanted if files.get(blocked[0]) is None]
    found = {seq for _, ended in wanted for seq in ended}
    _write(job, _together(wanted), "rejected", _message(rejections, found), rejections, found)


def _as_decided(job: Job, item: ev.Rejected, so_far: dict[str, File | None]) -> dict[str, File | None]:
    """The file without lines that the agent has not touched since they were rejected; nothing where that is not clear.

    Where lines of a file are alike, accepting some can make git align the rest in another way, so that today's
    difference does not show the rejected ones.
    """
    spot, entry = item.spot, job.objects.entries(job.state.work_tree).get(item.path)
    if spot is None or spot.kind != "text" or not spot.old or entry is None or entry.oid != spot.new:
        return {}
    change = FileChange(item.path, Entry(entry.mode, spot.old), entry)
    files = apply_choices(job, change, choices(job.objects, change, job.objects.hunks(change), [item]), core.leave)
    work = _file(job, entry)
    merged = _merged(job, work, so_far.get(item.path, work), files[item.path])
    return {} if merged is None else {item.path: merged[0]}


def _together(wanted: Sequence[tuple[dict[str, File | None], set[int]]]) -> dict[str, File | None]:
    return {path: file for files, _ in wanted for path, file in files.items()}


def _message(rejections: Sequence[ev.Rejected], found: set[int]) -> str:
    """What the agent is told at its next turn."""
    groups = (
        (
            "The user rejected these changes. They are out of your files; do not make them again.",
            [item for item in rejections if item.seq in found and not item.redo],
        ),
        (
            "The user wants another version of these changes. They are out of your files; do each of them anew, "
            "and nothing else.",
            [item for item in rejections if item.seq in found and item.redo],
        ),
        (
            "The user rejected these changes, but you changed the lines meanwhile. What you made of them stays for "
            "the user to look at.",
            [item for item in rejections if item.seq not in found],
        ),
    )
    parts = [part for text, items in groups if items for part in (text, *(_told(item) for item in items))]
    return "\n\n".join(parts)


def _told(item: ev.Rejected) -> str:
    comment = f"\nThe user's comment: {item.comment}" if item.comment else ""
    return clip(f"{item.path}:\n" + "\n".join(item.lines), LINES_LIMIT) + comment


def put_back(job: Job) -> None:
    """Put undone rejections back into the agent's files; while it rests nothing else waits for its next turn."""
    with job.review_lock:
        _restore(job, job.state.restorations)


def _restore(job: Job, restorations: tuple[ev.Rejected, ...]) -> None:
    if not restorations:
        return
    current = job.objects.entries(job.state.work_tree)
    blocked: set[str] = set()
    while True:
        kept, touched = _put_together(job, restorations, current, blocked)
        collision = in_the_way(current, touched)
        if collision is None:
            break
        # A file may take a folder's place only with everything that leaves it, so all of them are looked at together.
        blocked.add(collision[0])
    lost = [item for item in restorations if item not in kept]
    parts = []
    if kept:
        parts.append("The user took rejections back. These changes are in your files again:")
        parts += [f"{item.path}:\n" + "\n".join(item.lines) for item in kept]
    if lost:
        parts.append("The user wants these rejected changes after all, but the files changed since. Make them again:")
        parts += [f"{item.path}:\n" + "\n".join(item.lines) for item in lost]
    _write(job, touched, "restored", "\n\n".join(parts), restorations, {item.seq for item in restorations})


def _put_together(
    job: Job, restorations: Sequence[ev.Rejected], current: dict[str, Entry], blocked: set[str]
) -> tuple[list[ev.Rejected], dict[str, File | None]]:
    """The rejections that can be put back without adding a ``blocked`` path, and the files that do it."""
    touched: dict[str, File | None] = {}
    kept = []
    for index, item in enumerate(restorations):
        restored = _restored(job, item, restorations[index + 1 :], touched, current)
        if restored is not None and all(restored.get(path) is None for path in blocked):
            kept.append(item)
            touched |= restored
    return kept, touched


def _restored(
    job: Job,
    item: ev.Rejected,
    later: Sequence[ev.Rejected],
    touched: dict[str, File | None],
    current: dict[str, Entry],
) -> dict[str, File | None] | None:
    """The files with just this rejection put back, or ``None`` where its lines have no clear place any more.

    What was carried out with it and is not undone yet (``later`` will be) stays out.
    """
    event = _carried_out(job, item)
    change = _change_of(job, event, item) if event else None
    if event is None or change is None:
        return None
    others = [
        other
        for other in (*job.state.rejected.values(), *later)
        if other.path == item.path and other.seq in event.decisions and other.seq not in event.overtaken
    ]
    hunks = job.objects.hunks(change)
    with_it = apply_choices(job, change, choices(job.objects, change, hunks, [item, *others]), core.leave)
    without = apply_choices(job, change, choices(job.objects, change, hunks, others), core.leave)
    result: dict[str, File | None] = {}
    for path in with_it | without:
        present = touched[path] if path in touched else _file(job, current.get(path))
        restored = _merged(job, with_it.get(path), present, without.get(path))
        if restored is None:
            return None
        result[path] = restored[0]
    return result


def _change_of(job: Job, event: ev.GitOperation, item: ev.Rejected) -> FileChange | None:
    """The change that held the rejected lines when they were carried out: of a whole rename, or of one half."""
    for renames in (True, False):
        changes = job.objects.changes(event.accepted, event.before, renames=renames)
        change = next((change for change in changes if item.path in (change.path, change.source)), None)
        if change is not None and change.source and item.spot is not None and not item.spot.old:
            continue  # the addition alone was rejected
        if change is not None and choices(job.objects, change, job.objects.hunks(change), [item]):
            return change
    return None


def _merged(job: Job, base: File | None, present: File | None, wanted: File | None) -> tuple[File | None] | None:
    """``present`` with what leads from ``base`` to ``wanted``; ``None`` where that touches the same lines."""
    if present == base:
        return (wanted,)
    if base == wanted:
        return (present,)
    if base is None or wanted is None or present is None:
        return None
    data = present.data if base.data == wanted.data else job.repository.merge(base.data, present.data, wanted.data)
    if data is None:
        return None
    return (File(wanted.mode if present.mode == base.mode else present.mode, data),)


def _file(job: Job, entry: Entry | None) -> File | None:
    return None if entry is None else File(entry.mode, job.objects.blob(entry.oid))


def _carried_out(job: Job, item: ev.Rejected) -> ev.GitOperation | None:
    """The event that took the rejected lines out of W."""
    for event in reversed(job.recorder.events):
        if isinstance(event, ev.GitOperation) and event.operation == "rejected" and item.seq in event.decisions:
            return event
    return None


def _write(
    job: Job,
    touched: dict[str, File | None],
    operation: str,
    detail: str,
    items: tuple[ev.Rejected, ...],
    found: set[int],
) -> None:
    before = job.state.work_tree
    taken = job.workspace.put(touched)
    edits = job.workspace.edits(taken.tree, "rejection" if operation == "rejected" else "undo")
    carried_out = ev.GitOperation(
        operation="rejected" if operation == "rejected" else "restored",
        before=before,
        tree=taken.tree,
        snapshot=taken.full,
        detail=detail,
        hunks=tuple(item.hunk for item in items),
        accepted=job.state.accepted_tree,
        decisions=tuple(item.seq for item in items),
        overtaken=tuple(item.seq for item in items if item.seq not in found),
    )
    job.recorder.emit_all([*edits, carried_out])
