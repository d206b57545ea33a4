"""The accepted work of a session, put into the checkout that the session began in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.terminal_text import visible
from backspace_tui.repository.apply import Applied, apply_merge, apply_uncommitted
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.urls import without_credentials
from backspace_tui.sessions import store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.imported import is_imported
from backspace_tui.sessions.log import EventLog


def apply(directory: Path, events: Sequence[ev.AnyEvent], *, uncommitted: bool) -> ev.GitOperation:
    """Do it; the event that is to be logged, whose ``detail`` says what was done. Again is nothing.

    Raises:
        SessionError: there is nothing to apply, or no checkout to apply it to.
        RepositoryError: the checkout is not in a state for it, or has changes of the user's in the way.
    """
    state = fold(events)
    if not state.base_tree or state.accepted_tree == state.base_tree:
        raise SessionError("nothing is accepted yet; accept a hunk first")
    if not uncommitted and not committed(state):
        raise SessionError(
            "what is accepted is not committed yet: P in the review or backspace-tui sessions apply "
            f"{directory.name} commits it, or apply it as uncommitted changes"
        )
    folder = _checkout(directory, events, state)
    done = _applied(directory, folder, state, uncommitted=uncommitted)
    return ev.GitOperation(
        operation="apply", commit=done.commit, tree=state.accepted_tree, branch=done.branch, detail=done.detail,
        stage=state.stage, attempt=max(state.attempt, 1),
    )  # fmt: skip


def apply_at_rest(directory: Path, *, uncommitted: bool) -> ev.GitOperation:
    """:func:`apply` for a session without a process, logged by this one.

    Raises:
        SessionError: as there; or its process has just been started.
        RepositoryError: as there.
    """
    with store.Lock(directory), EventLog.open(directory) as log:
        done = apply(directory, log.events, uncommitted=uncommitted)
        log.append(done)
    return done


def committed(state: SessionState) -> bool:
    """Whether exactly what is accepted stands in the session's newest commit."""
    return bool(state.commit) and state.committed_tree == state.accepted_tree


def _applied(directory: Path, folder: Path, state: SessionState, *, uncommitted: bool) -> Applied:
    repo_git = directory / "repo.git"
    if uncommitted:
        return apply_uncommitted(folder, repo_git, state.base_tree, state.accepted_tree)
    try:
        return apply_merge(folder, repo_git, state.commit, state.branch)
    except RepositoryError as problem:
        if state.base_commit and "no longer holds" in str(problem):
            raise RepositoryError(f"{problem}, or apply it as uncommitted changes") from None
        raise


def _checkout(directory: Path, events: Sequence[ev.AnyEvent], state: SessionState) -> Path:
    """The folder that the session was started on.

    Raises:
        SessionError: there is none of the user's: the line says how to get the work all the same.
    """
    prepared = next(
        (e.data for e in reversed(events) if isinstance(e, ev.StageFinished) and e.stage == "prepare" and e.data), {}
    )
    path = prepared.get("source_path")
    if path and not is_imported(directory):
        return Path(path)
    repository = visible(without_credentials(state.started.repository)) if state.started else "elsewhere"
    why = "was imported" if is_imported(directory) else f"works on {repository}, not on a checkout of yours"
    if not committed(state):
        raise SessionError(f"the session {why}: commit what is accepted, then fetch it in a clone of yours")
    raise SessionError(
        f"the session {why}: in a clone of yours, git fetch {visible(str(directory / 'repo.git'))} "
        f"{visible(state.branch)} && git merge FETCH_HEAD"
    )
