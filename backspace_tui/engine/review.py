"""The human's decisions: each makes a new accepted tree from the blobs that the human was looking at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core import hunks as core
from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import clean
from backspace_tui.core.trees import File, FileChange
from backspace_tui.engine.job import Job
from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk, shown_lines
from backspace_tui.sessions.review import review as project


class DecisionRefused(Exception):
    """The decision cannot be made; the text is one line that says why."""


Staging = Callable[[FileChange, bytes, bytes, bytes, Collection[str]], File | None]
Located = tuple[ReviewFile, ReviewHunk]


def decide(job: Job, command: cmd.Decide) -> int:
    """Carry out a decision about one or more hunks, all of them or none.

    Returns:
        The ``seq`` of the last event.

    Raises:
        DecisionRefused: an id is not there (any more), or the hunk's state does not allow the action.
    """
    with job.review_lock:
        state = job.state
        if not state.base_tree:
            raise DecisionRefused("there is nothing to review yet")
        if not command.hunks:
            raise DecisionRefused("name a hunk")
        located = _locate(project(job.objects, state), command)
        for file, item in located:
            _check(file, item, command)
        tree = state.accepted_tree
        if command.action in ("accept", "unstage"):
            tree = job.repository.amend_tree(tree, _staged(job, state, located, command.action))
        return _log(job, located, command, tree)


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
        ids = tuple(
            item.hunk.id
            for file in shown.files
            for item in file.hunks
            if item.state in ("pending", "reviewed", "changed") and not file.protected
        )
        if ids:
            decide(job, cmd.Decide(hunks=ids, action="accept"))
        return len(ids)


def _locate(shown: Review, command: cmd.Decide) -> list[Located]:
    """The hunks that the command names; an id that is both accepted and open means the one the action is for."""
    found: dict[str, Located] = {}
    for file in shown.files:
        for item in file.hunks:
            if item.hunk.id not in found or (item.state == "accepted") == (command.action == "unstage"):
                found[item.hunk.id] = (file, item)
    missing = [name for name in command.hunks if name not in found]
    if missing:
        raise DecisionRefused(f"hunk {missing[0]} is not there (any more): the agent changed it, or the id is wrong")
    return [found[name] for name in dict.fromkeys(command.hunks)]


def _check(file: ReviewFile, item: ReviewHunk, command: cmd.Decide) -> None:
    name = f"hunk {item.hunk.id} of {file.path}"
    accepted = item.state == "accepted"
    if item.gone:
        raise DecisionRefused(f"{name} is out of the agent's files already; undo the rejection to bring it back")
    if command.action == "unstage" and not accepted:
        raise DecisionRefused(f"{name} is not accepted, so it cannot be unstaged")
    if command.action in ("accept", "reject") and accepted:
        todo = "" if command.action == "accept" else "; unstage it first"
        raise DecisionRefused(f"{name} is accepted already{todo}")
    if command.action == "reject" and item.state == "rejected":
        raise DecisionRefused(f"{name} is rejected already")
    if command.action == "accept" and file.protected and not command.accept_protected:
        raise DecisionRefused(f"{name} runs on someone's machine; accept it with its own confirmation")
    if command.action == "comment" and not command.comment.strip():
        raise DecisionRefused("a comment needs a text")


def _staged(job: Job, state: SessionState, located: Iterable[Located], action: str) -> dict[str, File | None]:
    chosen: dict[str, set[str]] = {}
    for file, item in located:
        chosen.setdefault(file.path, set()).add(item.local)
    if action == "accept":
        changes = {change.path: change for change in job.objects.changes(state.accepted_tree, state.work_tree)}
        function = core.accept
    else:
        changes = {change.path: change for change in job.objects.changes(state.base_tree, state.accepted_tree)}
        function = core.unaccept
    return {path: apply_hunks(job, changes[path], ids, function) for path, ids in chosen.items()}


def apply_hunks(job: Job, change: FileChange, ids: Iterable[str], function: Staging) -> File | None:
    """What a path holds after ``function`` (accept, unaccept or reject) took the hunks with these local ids."""
    return function(change, *job.objects.sides(change), frozenset(ids))


def _log(job: Job, located: Iterable[Located], command: cmd.Decide, tree: str) -> int:
    before, group = job.state.accepted_tree, job.state.group + 1
    comments: Mapping[str, str] = job.state.comments
    comment = job.parts.redactor.redact(clean(command.comment))
    return job.recorder.emit_all(
        [
            ev.Decision(
                hunk=item.hunk.id,
                path=file.path,
                action=command.action,
                tree=tree,
                before=before,
                group=group,
                comment=comment or comments.get(item.hunk.id, ""),
                protected=file.protected,
                lines=shown_lines(item.hunk) if command.action in ("reject", "review") else (),
            )
            for file, item in located
        ]
    )
