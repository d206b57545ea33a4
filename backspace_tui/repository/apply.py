"""Putting accepted work into the user's checkout: as a merge of the session's branch, or as uncommitted changes.

The user's settings and filters are trusted as their own; no hook runs, and nothing of the user's is overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui.core.terminal_text import visible
from backspace_tui.core.trees import Entry, folders_above
from backspace_tui.repository import check
from backspace_tui.repository.apply_changes import named, write_changes
from backspace_tui.repository.deliver import transfer
from backspace_tui.repository.errors import GitFailed, RepositoryError
from backspace_tui.repository.git import Runner
from backspace_tui.repository.names import check_path

__all__ = ["Applied", "apply_merge", "apply_uncommitted"]

_UNDER_WAY: Final = (
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
)
_QUIET: Final = ("-c", "submodule.recurse=false", "-c", "advice.detachedHead=false")


class Applied(msgspec.Struct, frozen=True):
    """What was done, in one line; ``commit`` is HEAD afterwards, ``branch`` the user's, empty where it is detached."""

    detail: str
    commit: str
    branch: str
    already: bool = False


def apply_merge(folder: Path, repo_git: Path, commit: str, branch: str) -> Applied:
    """Merge the session's ``commit``, called ``branch``, into HEAD of the checkout: fast-forward where that is enough.

    May be repeated. On any refusal index, files and refs are as they were.

    Raises:
        RepositoryError: it conflicts, would overwrite changes of the user's, or something else is under way.
    """
    found = _checkout(folder)
    user = Runner.of_user(found.top)
    where = f"in {visible(os.fspath(found.top))}"
    into = visible(found.branch) if found.branch else "the detached HEAD, which no branch follows"
    if _has(user, commit) and _is_ancestor(user, commit, found.commit):
        return Applied(f"already applied: {into} {where} holds {commit[:10]}", found.commit, found.branch, already=True)
    transfer(user, Runner.of_our_own(repo_git), commit)
    forward = _is_ancestor(user, found.commit, commit)
    tree = commit if forward else _merged(user, found.commit, commit)
    _refuse_untracked(user, found.top, found.commit, tree)
    _switch(user, found.commit, tree, dry=True)
    made = commit
    if not forward:
        made = user.line("commit-tree", tree, "-p", found.commit, "-p", commit, "-m", _message(branch, found.branch))
    _switch(user, found.commit, tree)
    reason = f"merge {branch}: " + ("Fast-forward" if forward else "Merge made by backspace-tui")
    try:
        user.run("update-ref", "ORIG_HEAD", found.commit)
        user.run("update-ref", "-m", reason, "HEAD", made, found.commit)
    except GitFailed as problem:
        _switch(user, tree, found.commit)
        raise RepositoryError(f"HEAD {where} cannot be moved ({problem}): nothing was changed; try again") from None
    how = f"fast-forward to {made[:10]}" if forward else f"merge {made[:10]}"
    return Applied(f"merged {visible(branch)} into {into} {where} ({how})", made, found.branch)


def apply_uncommitted(folder: Path, repo_git: Path, base_tree: str, accepted_tree: str) -> Applied:
    """Write what ``accepted_tree`` changes of ``base_tree`` into the files of the checkout; the index stays as it is.

    A file that is as in the base becomes as accepted, one that is so already is left alone. All or nothing.

    Raises:
        RepositoryError: a file was changed by the user as well, or something else is in the way; nothing was written.
    """
    found = _checkout(folder)
    written = write_changes(found.top, repo_git, base_tree, accepted_tree)
    where = f"in {visible(os.fspath(found.top))}"
    if not written:
        return Applied(f"already applied: the files {where} hold it", found.commit, found.branch, already=True)
    files = "one file" if len(written) == 1 else f"{len(written)} files"
    return Applied(f"wrote {files} {where}, uncommitted", found.commit, found.branch)


def _checkout(folder: Path) -> check.Checkout:
    found = check.inspect(folder)
    user = Runner.of_user(found.top)
    for name, what in _UNDER_WAY:
        if Path(found.top, user.line("rev-parse", "--git-path", name)).exists():
            raise RepositoryError(
                f"a {what} is under way in {visible(os.fspath(found.top))}: finish or abort it, then apply"
            )
    return found


def _has(user: Runner, commit: str) -> bool:
    local = user.with_environment({"GIT_NO_LAZY_FETCH": "1"})
    return bool(local.line("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", ok=(0, 1, 128)))


def _is_ancestor(user: Runner, older: str, newer: str) -> bool:
    process = user.start("merge-base", "--is-ancestor", older, newer)
    return process.finish(ok=(0, 1))[0] == 0


def _merged(user: Runner, ours: str, theirs: str) -> str:
    """The tree of the merge; nothing but objects is written for it."""
    command = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    try:
        status, output = user.start(*command).finish(ok=(0, 1))
    except GitFailed as problem:
        if problem.status == 129:
            raise RepositoryError(
                "this git cannot merge without touching the files: install git 2.38 or newer, or use --uncommitted"
            ) from None
        raise RepositoryError(f"the branches cannot be merged: {problem}") from None
    tree, *names = output.split(b"\0")
    if status:
        conflicts = named({os.fsdecode(name) for name in names if name})
        raise RepositoryError(
            f"the merge conflicts in {conflicts}: nothing was changed; merge the branch yourself to resolve that"
        )
    return tree.decode("ascii")


def _entries(user: Runner, tree: str) -> dict[str, Entry]:
    found = {}
    for record in user.run("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        head, _, raw = record.partition(b"\t")
        mode, _, oid = head.decode("ascii").split(" ")
        found[os.fsdecode(raw)] = Entry(int(mode, 8), oid)
    return found


def _refuse_untracked(user: Runner, top: Path, old: str, new: str) -> None:
    """Git overwrites files that it ignores, and replaces links in the place of folders; they are the user's too."""
    before, after = _entries(user, old), _entries(user, new)
    tracked = {os.fsdecode(raw) for raw in user.run("ls-files", "-z").split(b"\0") if raw}
    folders = {folder for path in tracked for folder in folders_above(path)}
    added = [path for path in after if path not in before]
    for path, entry in after.items():
        if before.get(path) != entry:
            check_path(path, entry.mode)
    if blocking := {place for path in added for place in _in_the_way(top, path, tracked, folders)}:
        raise RepositoryError(
            f"{named(blocking)} would be overwritten and is not under version control: move it away, then apply"
        )


def _in_the_way(top: Path, path: str, tracked: Collection[str], folders: Collection[str]) -> Sequence[str]:
    for folder in folders_above(path):
        place = top / folder
        if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()) and folder not in tracked:
            return [folder]
    place = top / path
    if not os.path.lexists(place) or path in tracked:
        return []
    if place.is_dir() and not place.is_symlink():
        inside = [os.path.join(root, name) for root, _, names in os.walk(place) for name in names]
        return [name for item in inside if (name := os.path.relpath(item, top)) not in tracked]
    # Behind a link that git replaces by a folder there is nothing of the user's.
    behind = any((top / folder).is_symlink() for folder in folders_above(path))
    return [] if behind or path in folders else [path]


def _switch(user: Runner, old: str, new: str, *, dry: bool = False) -> None:
    """Bring index and files from one tree to another; what the user changed elsewhere stays."""
    if dry:
        # Should it not be possible, the next command says so.
        user.run("update-index", "-q", "--refresh", ok=(0, 1, 128))
    try:
        user.run(*_QUIET, "read-tree", "-m", "-u", *(["-n"] if dry else []), old, new)
    except GitFailed as problem:
        changed = _touched(user, old, new)
        if mine := changed & _uncommitted(user):
            raise RepositoryError(
                f"your uncommitted changes of {named(mine)} would be overwritten: commit or stash them, then apply"
            ) from None
        raise RepositoryError(f"the files cannot be changed: {problem}; nothing was merged") from None


def _touched(user: Runner, old: str, new: str) -> set[str]:
    output = user.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
    return {os.fsdecode(raw) for raw in output.split(b"\0") if raw}


def _uncommitted(user: Runner) -> set[str]:
    records = user.run("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames").split(b"\0")
    return {os.fsdecode(record[3:]) for record in records if record}


def _message(branch: str, into: str) -> str:
    return f"Merge branch '{branch}'" + (f" into {into}" if into and into not in ("main", "master") else "")
