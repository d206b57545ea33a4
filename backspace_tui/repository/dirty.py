"""The user's uncommitted changes, read without touching their index, objects or files.

Contents go through the user's own clean filters and line ending rules, exactly as their ``git add`` would do it:
without them a Windows checkout would differ in every line, and a large file would replace its pointer.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from backspace_tui.core.protocols import CancelToken
from backspace_tui.core.terminal_text import visible
from backspace_tui.repository.errors import GitFailed, RepositoryError
from backspace_tui.repository.git import Runner


def uncommitted(user: Runner, cancel: CancelToken | None = None) -> tuple[str, ...]:
    """The paths whose index or working content differs from HEAD, untracked and not ignored ones included.

    Repositories inside the repository that are not its submodules are no part of it.
    """
    records = user.run(
        "status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignore-submodules=dirty", "--no-renames",
        cancel=cancel,
    ).split(b"\0")  # fmt: skip
    return tuple(os.fsdecode(record[3:]) for record in records if record and not record.endswith(b"/"))


def beside(user: Runner, scratch: Path) -> Runner:
    """``user`` with a copy of the index, writing objects into ``scratch`` instead of the user's repository."""
    objects = _inside(user, "objects")
    index = _inside(user, "index")
    own = scratch / "objects"
    own.mkdir()
    if index.exists():
        # With its times: by them git knows which entries may have changed within the same second.
        shutil.copy2(index, scratch / "index")
    return user.with_environment(
        {
            "GIT_INDEX_FILE": os.fspath(scratch / "index"),
            "GIT_OBJECT_DIRECTORY": os.fspath(own),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": listed(objects),
        }
    )


def tree_with(user: Runner, paths: tuple[str, ...], cancel: CancelToken | None = None) -> str:
    """The tree of HEAD with the working content of ``paths``; ``user`` is what :func:`beside` gave.

    Raises:
        RepositoryError: a merge is not finished, or a file cannot be read or filtered.
    """
    unmerged = user.run("ls-files", "--unmerged", "-z").split(b"\0")
    if unmerged[0]:
        path = visible(unmerged[0].partition(b"\t")[2])
        raise RepositoryError(f"{path} has merge conflicts: resolve them, or start without the uncommitted changes")
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    try:
        user.run(
            "-c", "core.splitIndex=false", "update-index", "--add", "--remove", "--replace", "-z", "--stdin",
            data=names, cancel=cancel,
        )  # fmt: skip
        return user.line("write-tree")
    except GitFailed as problem:
        raise RepositoryError(
            f"your uncommitted changes cannot be read ({problem}); start without them or mend that"
        ) from None


def _inside(user: Runner, name: str) -> Path:
    return Path(user.folder, user.line("rev-parse", "--git-path", name)).absolute()


def listed(path: Path) -> str:
    """A folder of objects as git's list of alternates names it."""
    # A list separated by colons; a quoted entry may hold one.
    text = os.fspath(path)
    if ":" not in text and not text.startswith('"'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
