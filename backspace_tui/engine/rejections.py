"""Rejections reach the agent's files at its turn boundary, and undone ones come back."""

from __future__ import annotations

from typing import NamedTuple

from backspace_tui.core import events as ev
from backspace_tui.core import hunks as core
from backspace_tui.core.terminal_text import clip
from backspace_tui.core.trees import Entry, File, FileChange
from backspace_tui.engine.job import Job
from backspace_tui.engine.review import apply_hunks
from backspace_tui.sessions.review import review, shown_lines

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
    changes = {change.path: change for change in job.objects.changes(state.accepted_tree, state.work_tree)}
    wanted = {(item.path, item.hunk) for item in rejections}
    touched: dict[str, File | None] = {}
    for file in review(job.objects, state).files:
        ids = {item.local for item in file.hunks if item.state == "rejected" and (file.path, item.hunk.id) in wanted}
        if ids - {""}:
            touched[file.path] = apply_hunks(job, changes[file.path], ids - {""}, core.reject)
    told = "\n\n".join(_told(item) for item in rejections)
    detail = f"The user rejected these changes. They are out of your files; do not make them again.\n\n{told}"
    _write(job, touched, "rejected", detail, rejections)


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
    groups: dict[FileChange, list[ev.Rejected]] = {}
    for item in restorations:
        groups.setdefault(_way_back(job, item), []).append(item)
    touched: dict[str, File | None] = {}
    kept, lost = [], []
    for change, items in groups.items():
        present = touched[change.path] if change.path in touched else _file(job, current.get(change.path))
        restored = _restored(job, change, items, present)
        if restored is None:
            lost += items
        else:
            kept += items
            touched[change.path] = restored.file
    parts = []
    if kept:
        parts.append("The user took rejections back. These changes are in your files again:")
        parts += [f"{item.path}:\n" + "\n".join(item.lines) for item in kept]
    if lost:
        parts.append("The user wants these rejected changes after all, but the files changed since. Make them again:")
        parts += [f"{item.path}:\n" + "\n".join(item.lines) for item in lost]
    _write(job, touched, "restored", "\n\n".join(parts), restorations)


class _Restored(NamedTuple):
    file: File | None


def _restored(job: Job, change: FileChange, items: list[ev.Rejected], present: File | None) -> _Restored | None:
    """``present`` with just these rejections put back, or ``None`` where their lines have no clear place any more."""
    wanted = {item.lines for item in items}
    chosen = {hunk.id for hunk in job.objects.hunks(change) if shown_lines(hunk) in wanted}
    if len(chosen) != len(items):
        return None
    after = _file(job, change.old)
    whole = apply_hunks(job, change, chosen, core.accept)
    if present == after:
        return _Restored(whole)
    if after is None or whole is None or present is None or present.mode != whole.mode:
        return None
    merged = job.repository.merge(after.data, present.data, whole.data)
    return None if merged is None else _Restored(File(present.mode, merged))


def _file(job: Job, entry: Entry | None) -> File | None:
    return None if entry is None else File(entry.mode, job.objects.blob(entry.oid))


def _way_back(job: Job, item: ev.Rejected) -> FileChange:
    """The change from what the path held just after the rejection was carried out to what it held before."""
    for event in reversed(job.recorder.events):
        if isinstance(event, ev.GitOperation) and event.operation == "rejected" and item.hunk in event.hunks:
            before, after = (job.objects.entries(tree).get(item.path) for tree in (event.before, event.tree))
            return FileChange(item.path, after, before)
    return FileChange(item.path, None, None)


def _write(
    job: Job, touched: dict[str, File | None], operation: str, detail: str, items: tuple[ev.Rejected, ...]
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
    )
    job.recorder.emit_all([*edits, carried_out])
