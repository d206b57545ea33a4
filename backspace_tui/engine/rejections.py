"""Rejections reach the agent's files at its turn boundary, and undone ones come back."""

from __future__ import annotations

from backspace_tui.core import events as ev
from backspace_tui.core import hunks as core
from backspace_tui.core.terminal_text import clip
from backspace_tui.core.trees import Entry, File
from backspace_tui.engine.job import Job
from backspace_tui.engine.review import apply_hunks
from backspace_tui.sessions.review import review

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


def _restore(job: Job, restorations: tuple[ev.Rejected, ...]) -> None:
    if not restorations:
        return
    current = job.objects.entries(job.state.work_tree)
    touched: dict[str, File | None] = {}
    kept, lost = [], []
    for item in restorations:
        before, after = _around(job, item)
        if current.get(item.path) == after:
            touched[item.path] = File(before.mode, job.objects.blob(before.oid)) if before else None
            kept.append(item)
        else:
            lost.append(item)
    parts = []
    if kept:
        parts.append("The user took rejections back. These changes are in your files again:")
        parts += [f"{item.path}:\n" + "\n".join(item.lines) for item in kept]
    if lost:
        parts.append("The user wants these rejected changes after all, but the files changed since. Make them again:")
        parts += [f"{item.path}:\n" + "\n".join(item.lines) for item in lost]
    _write(job, touched, "restored", "\n\n".join(parts), restorations)


def _around(job: Job, item: ev.Rejected) -> tuple[Entry | None, Entry | None]:
    """What the path held just before and just after its rejection was carried out."""
    for event in reversed(job.recorder.events):
        if isinstance(event, ev.GitOperation) and event.operation == "rejected" and item.hunk in event.hunks:
            before, after = (job.objects.entries(tree) for tree in (event.before, event.tree))
            return before.get(item.path), after.get(item.path)
    return None, None


def _write(
    job: Job, touched: dict[str, File | None], operation: str, detail: str, items: tuple[ev.Rejected, ...]
) -> None:
    before = job.state.work_tree
    for path, file in touched.items():
        if file is None:
            job.workspace.box.delete_file(path)
        else:
            job.workspace.box.write_file(path, file.data, file.mode)
    # Reading the files back tells what is really there, symbolic links and modes included.
    taken = job.workspace.snapshot(None)
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
