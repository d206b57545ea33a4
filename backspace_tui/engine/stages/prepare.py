"""Prepare: the base goes into the session's own repository, and the sandbox starts from it."""

from __future__ import annotations

from backspace_tui.core import events as ev
from backspace_tui.core.sizes import parse_size
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.job import Job, StageFailed, StageResult
from backspace_tui.repository.deliver import free_branch
from backspace_tui.repository.errors import RepositoryError, RepositoryTooLarge
from backspace_tui.repository.slug import branch_name
from backspace_tui.repository.source import locate


def run(job: Job) -> StageResult:
    """Import B (found again after a crash), choose the branch, start the sandbox."""
    started = job.started
    most = job.parts.settings.sandbox.repository
    try:
        limit = parse_size(most)
    except ValueError as problem:
        raise StageFailed(f"[sandbox] repository = {problem}", exit_code=2) from None
    try:
        source = locate(started.repository)
        base = job.repository.import_base(
            source,
            include_dirty=started.include_dirty,
            progress=job.parts.progress,
            cancel=job.control.cancel,
            most=limit,
        )
        wanted = branch_name(started.prompt)
        branch = free_branch(source.path, wanted) if source.path is not None else wanted
    except RepositoryTooLarge as problem:
        raise StageFailed(
            f"{problem}, more than [sandbox] repository = {most}: raise it, or take large files out of the repository",
            exit_code=2,
        ) from None
    except RepositoryError as problem:
        raise StageFailed(str(problem)) from None
    if (job.state.base_commit, job.state.base_tree) != (base.commit, base.tree):
        detail = _dirty_notice(len(base.dirty), started.include_dirty)
        job.recorder.emit(
            ev.GitOperation(
                operation="base", commit=base.commit, tree=base.tree, branch=base.branch, tag=base.tag, detail=detail
            )
        )
    data = {
        "branch": branch,
        "source_path": str(source.path) if source.path is not None else "",
        "base_branch": base.upstream or base.branch,
        "remote_url": base.remote_url or "",
        "author_name": base.author_name,
        "author_email": base.author_email,
        "sandbox": job.workspace.box.label,
    }
    return StageResult("ok", clean(f"{base.branch or 'detached HEAD'} at {base.commit[:10]}"), data)


def _dirty_notice(count: int, included: bool) -> str:
    if not count:
        return ""
    changes = "1 uncommitted change" if count == 1 else f"{count} uncommitted changes"
    if included:
        return f"{changes} of yours included in the base"
    return f"{changes} of yours left out (include with --include-dirty)"
