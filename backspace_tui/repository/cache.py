"""Clones of URLs, kept between sessions so that only what is new is fetched."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui import paths, private
from backspace_tui.core.git_environment import of_user, with_config
from backspace_tui.core.protocols import CancelToken
from backspace_tui.core.terminal_text import visible
from backspace_tui.repository.check import first_line
from backspace_tui.repository.errors import GitFailed, RepositoryError
from backspace_tui.repository.git import Runner
from backspace_tui.repository.urls import without_credentials

_REF: Final = "refs/backspace/base"
_PATIENCE: Final = (("http.lowSpeedLimit", "1000"), ("http.lowSpeedTime", "60"))
_GITHUB: Final = re.compile(r"https://(?:[^@/]*@)?github\.com/", re.IGNORECASE)
_DENIED: Final = (
    "could not read Username", "could not read Password", "Authentication failed", "Repository not found",
    "error: 401", "error: 403", "not found",
)  # fmt: skip


class Clone(msgspec.Struct, frozen=True):
    """A bare clone that holds ``commit``; ``branch`` is its name there, empty where the remote's HEAD is detached."""

    runner: Runner
    commit: str
    branch: str


@contextlib.contextmanager
def fetched(url: str, ref: str, tell: Callable[[str], None], cancel: CancelToken | None = None) -> Iterator[Clone]:
    """The newest commit of ``url`` (of the branch ``ref``, or its HEAD) in a clone that nobody else changes meanwhile.

    Raises:
        RepositoryError: unreachable, no such branch, no commit yet: with what git said.
    """
    folder = paths.cache_dir() / "clones" / hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:32]
    try:
        private.make_directory(folder)
        lock = open(folder / "lock", "w", encoding="ascii", opener=private.opener)  # noqa: SIM115 - closed below
    except OSError as problem:
        raise RepositoryError(f"the cache {folder} cannot be written: {problem.strerror or problem}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        git_dir = folder / "git"
        own = Runner.of_our_own(git_dir)
        if not (git_dir / "HEAD").exists():
            git_dir.mkdir(mode=0o700, exist_ok=True)
            own.run("init", "--quiet", "--bare", "--template=", "--object-format=sha1")
        tell(f"fetching {visible(without_credentials(url))}")
        commit, branch = _fetch(git_dir, url, ref, cancel)
        yield Clone(own, commit, branch)


def _fetch(git_dir: Path, url: str, ref: str, cancel: CancelToken | None) -> tuple[str, str]:
    shown = visible(without_credentials(url))
    problem: GitFailed | None = None
    for runner in _runners(git_dir, url):
        try:
            branch = _newest(runner, url, ref, shown, cancel)
            runner.run(
                "fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
                "--no-auto-maintenance", url, f"+{f'refs/heads/{branch}' if branch else 'HEAD'}:{_REF}", cancel=cancel,
            )  # fmt: skip
            return runner.line("rev-parse", "--verify", f"{_REF}^{{commit}}"), branch
        except GitFailed as failed:
            problem = problem or failed
            if not any(word in failed.stderr for word in _DENIED):
                break
    assert problem is not None
    if "object format" in problem.stderr or "mismatched algorithms" in problem.stderr:
        raise RepositoryError(f"{shown} uses SHA-256 object ids, which are not supported") from None
    raise RepositoryError(
        f"{shown} cannot be fetched: {_without(first_line(problem.stderr), url)}; "
        "check the address, the network and your access"
    ) from None


def _newest(runner: Runner, url: str, ref: str, shown: str, cancel: CancelToken | None) -> str:
    wanted = f"refs/heads/{ref}" if ref else "HEAD"
    answer = runner.run("ls-remote", "--symref", "--end-of-options", url, wanted, cancel=cancel).splitlines()
    branch, commit = ref, ""
    for line in answer:
        value, _, name = line.partition(b"\t")
        if name == wanted.encode() and value.startswith(b"ref: refs/heads/"):
            branch = os.fsdecode(value.removeprefix(b"ref: refs/heads/"))
        elif name == wanted.encode():
            commit = value.decode("ascii", "replace")
    if not commit:
        raise RepositoryError(
            f"{shown} has no branch {visible(ref)}" if ref else f"{shown} has no commit yet: push a first commit"
        )
    return branch


def _runners(git_dir: Path, url: str) -> Iterator[Runner]:
    # The user's own credentials come first: a token made for pull requests may see fewer repositories.
    base = {**with_config(of_user(os.environ), _PATIENCE), "GIT_DIR": os.fspath(git_dir)}
    yield Runner(git_dir, base, umask=private.UMASK)
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GITHUB_PAT")
    if token and _GITHUB.match(url):
        secret = base64.b64encode(f"x-access-token:{token}".encode()).decode("ascii")
        header = ("http.https://github.com/.extraHeader", f"Authorization: Basic {secret}")
        environment = with_config(base, (header, ("http.followRedirects", "false")))
        yield Runner(git_dir, environment, umask=private.UMASK)


def _without(line: str, url: str) -> str:
    # Git repeats the address, which was named already.
    line = re.sub(r"^unable to access '[^']*': ", "", line).rstrip(".")
    return line.replace(url, "it").replace(without_credentials(url), "it")
