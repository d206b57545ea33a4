"""A first look at a path with plain git processes: cheap enough to run before the first frame."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui.core.git_environment import of_user
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.urls import without_credentials

NO_GIT: Final = "git is not installed or not on PATH: install it (for example `apt-get install git`)"


class Checkout(msgspec.Struct, frozen=True):
    """A usable checkout: its ``top`` folder, HEAD's ``commit`` and the ``branch``, empty where HEAD is detached."""

    top: Path
    commit: str
    branch: str


def check_path(path: str | os.PathLike[str]) -> str | None:
    """Why ``path`` cannot be worked on, in one line, or ``None`` where it can."""
    try:
        inspect(path)
    except RepositoryError as problem:
        return str(problem)
    return None


def inspect(path: str | os.PathLike[str]) -> Checkout:
    """Find the checkout that holds ``path``; submodules and linked worktrees are checkouts of their own.

    Raises:
        RepositoryError: there is none, or it is bare, empty, somebody else's or of SHA-256 objects.
    """
    if not os.fspath(path):
        raise RepositoryError("no repository given: give a path or a URL")
    given = Path(path).expanduser()
    shown = visible(os.fspath(given))
    try:
        if not given.exists():
            raise RepositoryError(f"{shown} does not exist: give the path or URL of a git repository")
        if not given.is_dir():
            raise RepositoryError(f"{shown} is a file: give the folder of a git repository")
        folder = given.resolve()
        os.scandir(folder).close()
    except OSError as problem:
        raise RepositoryError(f"{shown} cannot be read: {problem.strerror or problem}") from None
    status, facts, said = _git(folder, "rev-parse", "--is-bare-repository", "--is-inside-work-tree")
    if status != 0:
        raise RepositoryError(_refusal(shown, said))
    bare, inside = facts.split()
    if bare == b"true":
        raise RepositoryError(f"{shown} is a bare repository: clone it and give the clone")
    if inside != b"true":
        raise RepositoryError(f"{shown} is inside a .git folder: give the checkout itself")
    status, top, said = _git(folder, "rev-parse", "--show-toplevel")
    if status != 0:
        raise RepositoryError(_refusal(shown, said))
    status, head, _ = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    commit = head.decode("ascii", "replace").strip()
    if status != 0:
        if _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")[0] == 0:
            raise RepositoryError(f"{shown}: the commit at HEAD cannot be read; `git fsck` says what is damaged")
        raise RepositoryError(f"{shown} has no commit yet: make a first commit (`git commit`)")
    if len(commit) != 40:
        raise RepositoryError(f"{shown} uses SHA-256 object ids, which are not supported: use a SHA-1 repository")
    _, symbolic, _ = _git(folder, "symbolic-ref", "--quiet", "HEAD")
    branch = os.fsdecode(symbolic).rstrip("\n")
    return Checkout(
        top=Path(os.fsdecode(top).removesuffix("\n")),
        commit=commit,
        branch=branch.removeprefix("refs/heads/") if branch.startswith("refs/heads/") else "",
    )


def committed_file(path: str | os.PathLike[str], name: str) -> bytes | None:
    """What the commit at HEAD holds at ``name``, from the top of the repository that holds ``path``; no links."""
    status, listed, _ = _git(Path(path), "ls-tree", "-z", "--full-tree", "HEAD", "--", name)
    if status != 0 or not listed.startswith(b"100"):
        return None
    status, data, _ = _git(Path(path), "cat-file", "blob", f"HEAD:{name}")
    return data if status == 0 else None


def first_line(said: bytes | str) -> str:
    """What git said in one line: its first ``fatal`` or ``error``, cleaned, without credentials."""
    lines = [line.strip() for line in clean(said).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote: error", "ERROR:"))]
    line = (telling or lines or ["it said nothing"])[0]
    for prefix in ("fatal: ", "error: "):
        line = line.removeprefix(prefix)
    return without_credentials(line)[:400]


def _refusal(shown: str, said: bytes) -> str:
    if b"dubious ownership" in said:
        return (
            f"{shown} belongs to another user, so git does not trust it; "
            f'if you do: git config --global --add safe.directory "{shown}"'
        )
    if b"not a git repository" in said:
        return f"{shown} is not a git repository: run `git init` there and commit, or give another path"
    return f"{shown} cannot be used: git says: {first_line(said)}"


def _git(folder: Path, *arguments: str) -> tuple[int, bytes, bytes]:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=of_user(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
    except FileNotFoundError:
        raise RepositoryError(NO_GIT) from None
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise RepositoryError(f"git cannot be run: {problem}") from None
    return done.returncode, done.stdout, done.stderr
