"""Bringing a commit into the user's repository: objects and one branch, nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backspace_tui.core.terminal_text import visible
from backspace_tui.repository.errors import GitFailed, RepositoryError
from backspace_tui.repository.git import Runner, pipe

_ABSENT: Final = "0" * 40
_HEADS: Final = "refs/heads/"


def deliver(source_path: Path, repo_git: Path, commit: str, branch: str, previous: Sequence[str] = ()) -> str:
    """Make ``branch`` of the user's repository point at ``commit`` of ``repo_git``; what was done, in one line.

    The checkout, the index, the configuration and HEAD stay as they are, and no hook runs. May be repeated: what is
    there already is left alone.

    Raises:
        RepositoryError: the branch holds anything but ``commit`` or one of ``previous``, is checked out somewhere,
            or the repository no longer holds the base.
    """
    user = Runner.of_user(source_path)
    ref = _HEADS + branch
    shown = f"{commit[:10]} on {visible(branch)}"
    try:
        user.run("check-ref-format", ref)
    except GitFailed:
        raise RepositoryError(f"{visible(branch)!r} is not a name for a branch") from None
    present = _resolve(user, ref)
    if present == commit:
        return f"{shown}, which was there already"
    if present is not None and present not in previous:
        raise RepositoryError(
            f"the branch {visible(branch)} holds {present[:10]}, which this session did not make: "
            "rename or remove that branch, then resume"
        )
    if place := _checked_out(user, ref):
        raise RepositoryError(
            f"the branch {visible(branch)} is checked out in {place}: switch to another branch there, then resume"
        )
    transfer(user, Runner.of_our_own(repo_git), commit)
    try:
        user.run("update-ref", "-m", "backspace-tui: accepted work", ref, commit, present or _ABSENT)
    except GitFailed as problem:
        if _resolve(user, ref) != commit:
            raise RepositoryError(f"the branch {visible(branch)} cannot be set: {problem}") from None
    return f"{shown} in {visible(os.fspath(source_path))}"


def free_branch(source: Path, wanted: str) -> str:
    """``wanted``, or the first of ``wanted-2``, ``wanted-3``, ... that no branch here or on a remote is in the way of.

    Raises:
        RepositoryError: the repository cannot be read.
    """
    user = Runner.of_user(source)
    taken = set()
    for ref in os.fsdecode(user.run("for-each-ref", "--format=%(refname)", _HEADS, "refs/remotes/")).splitlines():
        # refs/heads/NAME, refs/remotes/REMOTE/NAME. Some file systems do not tell case apart.
        taken.add((ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else ref.split("/", 3)[-1]).casefold())
    candidate, count = wanted, 1
    if wanted.partition("/")[0].casefold() in taken:
        # A branch called `backspace` leaves no room for `backspace/...`.
        wanted = candidate = wanted.replace("/", "-")
    while any(_in_the_way(name, candidate.casefold()) for name in taken):
        count += 1
        candidate = f"{wanted}-{count}"
    return candidate


def _in_the_way(name: str, candidate: str) -> bool:
    return name == candidate or name.startswith(f"{candidate}/") or candidate.startswith(f"{name}/")


def transfer(user: Runner, bare: Runner, commit: str) -> None:
    """Copy ``commit`` and what it stands on, down to the base, into the user's repository.

    Raises:
        RepositoryError: the repository no longer holds the base.
    """
    roots = bare.line("rev-list", "--max-parents=0", commit).split()
    for root in roots:
        # A partial clone would fetch a commit that it does not hold.
        local = user.with_environment({"GIT_NO_LAZY_FETCH": "1"})
        if _resolve(local, f"{root}^{{commit}}") is None:
            raise RepositoryError(
                f"the repository in {visible(user.folder)} no longer holds {root[:10]}, where the session started: "
                "fetch it, then resume"
            )
    wanted = "".join(f"{line}\n" for line in (commit, *(f"^{root}" for root in roots)))
    pipe(bare, ("pack-objects", "--revs", "--stdout", "-q"), wanted.encode("ascii"), user, ("unpack-objects", "-q"))


def _resolve(user: Runner, name: str) -> str | None:
    return user.line("rev-parse", "--verify", "--quiet", name, ok=(0, 1, 128)) or None


def _checked_out(user: Runner, ref: str) -> str | None:
    place = ""
    for line in os.fsdecode(user.run("worktree", "list", "--porcelain")).splitlines():
        word, _, value = line.partition(" ")
        if word == "worktree":
            place = value
        elif word == "branch" and value == ref:
            return visible(place)
    return None
