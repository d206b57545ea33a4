"""Importing the base: HEAD of the user's repository, alone, into the session's own repository."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui import private
from backspace_tui.core.protocols import CancelToken
from backspace_tui.core.terminal_text import visible
from backspace_tui.repository import cache, dirty, urls
from backspace_tui.repository.check import inspect
from backspace_tui.repository.errors import GitFailed, RepositoryError, RepositoryTooLarge
from backspace_tui.repository.git import Runner, pipe
from backspace_tui.repository.source import Source

NAME: Final = "backspace-tui"
EMAIL: Final = "backspace-tui@localhost"
DIRTY_MESSAGE: Final = "Uncommitted changes of the user at the start\n"
BASE_REF: Final = "refs/backspace/base"

Progress = Callable[[str], None]


class Base(msgspec.Struct, frozen=True):
    """What a session starts from.

    ``commit`` is the parent of our commit and ``tree`` its tree (B). ``head`` is the user's HEAD: the same, or the
    parent of ``commit`` where uncommitted changes were included. ``branch`` is the user's branch (empty: detached),
    ``upstream`` its name at the remote. ``remote_url`` holds no credentials. ``dirty`` are the paths that differ
    from HEAD, in the base only if ``included``. ``tag`` is the nearest tag.
    """

    commit: str
    tree: str
    head: str
    branch: str
    upstream: str
    remote_url: str | None
    dirty: tuple[str, ...]
    included: bool
    author_name: str
    author_email: str
    tag: str = ""


def import_base(
    bare: Runner,
    source: Source,
    include_dirty: bool,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    most: int | None = None,
) -> Base:
    """Bring the base of ``source`` into the bare repository; may be repeated.

    Raises:
        RepositoryTooLarge: its files hold more than ``most`` bytes; nothing was copied.
        RepositoryError: unreachable, damaged, no commit, uncommitted changes that cannot be read.
        Cancelled: ``cancel`` was flipped.
    """
    tell = progress or (lambda _: None)
    if source.path is None:
        return _from_url(bare, source, tell, cancel, most)
    return _from_path(bare, source.path, include_dirty, tell, cancel, most)


def _from_url(bare: Runner, source: Source, tell: Progress, cancel: CancelToken | None, most: int | None) -> Base:
    with cache.fetched(source.url, source.ref, tell, cancel) as clone:
        _check_size(clone.runner, clone.commit, most, cancel)
        _copy(bare, clone.runner, clone.commit, (clone.commit,), cancel)
        _check_size(bare, clone.commit, most, cancel)
        name, email = _identity(Runner.of_user(Path("/")))
    return Base(
        commit=clone.commit,
        tree=_tree(bare, clone.commit),
        head=clone.commit,
        branch=clone.branch,
        upstream=clone.branch,
        remote_url=urls.without_credentials(source.url),
        dirty=(),
        included=False,
        author_name=name,
        author_email=email,
    )


def _from_path(
    bare: Runner, path: Path, include_dirty: bool, tell: Progress, cancel: CancelToken | None, most: int | None
) -> Base:
    found = inspect(path)
    user = Runner.of_user(found.top)
    _check_size(user, found.commit, most, cancel)
    tell("looking for uncommitted changes")
    changes = dirty.uncommitted(user, cancel)
    name, email = _identity(user)
    commit = found.commit
    with _scratch(bare) as scratch:
        if include_dirty and changes:
            tell(f"reading {len(changes)} uncommitted changes")
            _check_changes(found.top, changes, most)
            user = dirty.beside(user, scratch)
            tree = dirty.tree_with(user, changes, cancel)
            when = datetime.now().astimezone()
            commit = commit_tree(user, tree, (found.commit,), DIRTY_MESSAGE, name, email, when)
            _check_size(user, commit, most, cancel)
        tell(f"copying {visible(found.branch) or 'HEAD'} at {found.commit[:10]}")
        _copy(bare, user, found.commit, (commit,), cancel)
    _check_size(bare, commit, most, cancel)
    remote, upstream = _remote(user, found.branch)
    return Base(
        commit=commit,
        tree=_tree(bare, commit),
        head=found.commit,
        branch=found.branch,
        upstream=upstream,
        remote_url=remote,
        dirty=changes,
        included=bool(include_dirty and changes),
        author_name=name,
        author_email=email,
        tag=_quiet(user, "describe", "--tags", "--abbrev=0", found.commit),
    )


def _check_size(user: Runner, commit: str, most: int | None, cancel: CancelToken | None) -> None:
    """Look at what the objects tell; blobs of a partial clone that are not here stay there, and are not counted."""
    if most is None:
        return
    here = user.with_environment({"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"})
    try:
        entries = here.run("ls-tree", "-r", "-l", "-z", commit, cancel=cancel).split(b"\0")
    except GitFailed:
        return
    sizes = [entry.partition(b"\t")[0].rpartition(b" ")[2] for entry in entries]
    size = sum(int(text) for text in sizes if text.isdigit())
    if size > most:
        raise RepositoryTooLarge(size)


def _check_changes(top: Path, changes: tuple[str, ...], most: int | None) -> None:
    size = 0
    for path in changes:
        with contextlib.suppress(OSError):
            size += os.lstat(top / path).st_size
    if most is not None and size > most:
        raise RepositoryTooLarge(size)


def commit_tree(
    runner: Runner,
    tree: str,
    parents: tuple[str, ...],
    message: str,
    author_name: str,
    author_email: str,
    when: datetime,
) -> str:
    """A commit that depends on nothing but these arguments."""
    if when.tzinfo is None:
        raise ValueError("the time of a commit needs its zone")
    name, email = (_plain(author_name) or NAME), (_plain(author_email) or EMAIL)
    stamp = f"@{int(when.timestamp())} +0000"
    identity: dict[str, str] = {}
    for who in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": email, f"GIT_{who}_DATE": stamp}
    text = message.replace("\0", "").rstrip("\n") + "\n"
    arguments = [word for parent in parents for word in ("-p", parent)]
    runner = runner.with_environment(identity)
    return runner.run(
        "-c", "i18n.commitEncoding=utf-8", "-c", "commit.gpgSign=false", "commit-tree", tree, *arguments,
        data=text.encode("utf-8", "replace"),
    ).decode("ascii").strip()  # fmt: skip


def _copy(bare: Runner, user: Runner, head: str, commits: tuple[str, ...], cancel: CancelToken | None) -> None:
    # pack-objects in the user's repository rather than a fetch from it: upload-pack would refuse shallow and
    # partial clones, run under the user's settings for servers, and need its own proof of ownership.
    wanted = "".join(f"{line}\n" for line in (f"--shallow {head}", *commits))
    try:
        pipe(
            user, ("pack-objects", "--revs", "--stdout", "-q", "--no-use-bitmap-index"), wanted.encode("ascii"),
            bare, ("index-pack", "--stdin", "--fix-thin"), cancel,
        )  # fmt: skip
    except GitFailed as problem:
        raise RepositoryError(f"the repository's files cannot be read ({problem}); `git fsck` says more") from None
    _add_shallow(Path(bare.folder), head)
    bare.run("update-ref", BASE_REF, commits[0])


def _add_shallow(git_dir: Path, commit: str) -> None:
    # An import that was cut off may have left another base here, which the log may name: both stay.
    path = git_dir / "shallow"
    held = path.read_text(encoding="ascii").split() if path.exists() else []
    if commit in held:
        return
    fresh = path.with_suffix(".new")
    with open(fresh, "w", encoding="ascii", opener=private.opener) as stream:
        stream.write("".join(f"{oid}\n" for oid in sorted({*held, commit})))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


@contextlib.contextmanager
def _scratch(bare: Runner) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="backspace-scratch-", dir=bare.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tree(bare: Runner, commit: str) -> str:
    return bare.line("rev-parse", "--verify", f"{commit}^{{tree}}")


def _quiet(runner: Runner, *arguments: str) -> str:
    try:
        return runner.line(*arguments)
    except GitFailed:
        return ""


def _identity(user: Runner) -> tuple[str, str]:
    name = user.environment.get("GIT_AUTHOR_NAME") or _quiet(user, "config", "user.name")
    email = user.environment.get("GIT_AUTHOR_EMAIL") or _quiet(user, "config", "user.email")
    return _plain(name) or NAME, _plain(email) or EMAIL


def _plain(text: str) -> str:
    # What git would strip from an identity anyway, and may then refuse as empty.
    cleaned = "".join(char for char in text if char.isprintable() and char not in "<>")
    return cleaned.encode("utf-8", "replace").decode("utf-8").strip(" .,:;\"'\\")


def _remote(user: Runner, branch: str) -> tuple[str | None, str]:
    name, upstream = "", branch
    if branch:
        name = _quiet(user, "config", f"branch.{branch}.remote")
        merge = _quiet(user, "config", f"branch.{branch}.merge")
        if name and name != "." and merge.startswith("refs/heads/"):
            upstream = merge.removeprefix("refs/heads/")
    remotes = _quiet(user, "remote").split()
    if name not in remotes:
        name = "origin" if "origin" in remotes else remotes[0] if len(remotes) == 1 else ""
    url = _quiet(user, "ls-remote", "--get-url", name) if name else ""
    return (urls.without_credentials(url) or None), upstream
