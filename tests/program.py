"""Driving the real program in tests: its own home, data and settings, and a repository to work on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backspace_tui.core import events as ev
from backspace_tui.sessions.log import read_events

TEST_CART = """\
import unittest

from cart import total


class CartTest(unittest.TestCase):
    def test_quantity(self):
        self.assertEqual(total([(2, 3)]), 6)
"""
CART = """\
def total(items):
    return sum(price for price, quantity in items)
"""


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints, with an identity of its own and nobody's settings."""
    env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1")
    env |= {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True)
    return done.stdout.decode(errors="surrogateescape")


IDENTITY = {"NAME": "Uma User", "EMAIL": "uma@example.com", "DATE": "2026-01-02T03:04:05Z"}


def make_repository(folder: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A repository with one commit; by default a cart whose one test fails."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, content in (files or {"cart.py": CART, "tests/test_cart.py": TEST_CART}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def tree(folder: Path, revision: str) -> dict[str, tuple[str, bytes]]:
    """Every path of a commit with its mode and content (a submodule's is its commit)."""
    found, blobs = {}, []
    for record in _raw(folder, "ls-tree", "-r", "-z", revision).split(b"\0")[:-1]:
        facts, _, raw = record.partition(b"\t")
        path, (mode, kind, oid) = os.fsdecode(raw), facts.decode().split()
        found[path] = (mode, oid.encode())
        if kind == "blob":
            blobs.append((path, mode, oid))
    answer = _raw(folder, "cat-file", "--batch", "--buffer", data="".join(f"{oid}\n" for *_, oid in blobs).encode())
    at = 0
    for path, mode, _ in blobs:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split()[2])
        found[path] = (mode, answer[end + 1 : end + 1 + size])
        at = end + size + 2
    return found


def _raw(folder: Path, *arguments: str, data: bytes | None = None) -> bytes:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, input=data).stdout


def kept(folder: Path) -> dict[str, object]:
    """All of a user's checkout that a run must leave alone; index and settings as their bytes.

    Taken twice and compared: the first look lets git refresh its index, so that the second finds it as it was.
    """
    common = folder / _raw(folder, "rev-parse", "--git-common-dir").decode().strip()
    own = folder / _raw(folder, "rev-parse", "--git-dir").decode().strip()
    refs = _raw(folder, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    files = {
        os.fsencode(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, _content(path))
        for path in folder.rglob("*")
        if ".git" not in path.relative_to(folder).parts
    }
    return {
        "status": _raw(folder, "--no-optional-locks", "status", "--porcelain=v2", "-z", "--untracked-files=all"),
        "index": (own / "index").read_bytes(),
        "HEAD": (own / "HEAD").read_bytes(),
        "HEAD's log": _content(own / "logs" / "HEAD"),
        "config": (common / "config").read_bytes(),
        "refs": [ref for ref in refs if not ref.startswith(b"refs/heads/backspace/")],
        "stash": _raw(folder, "stash", "list"),
        "files": files,
        "hooks": {path.name: path.read_bytes() for path in (common / "hooks").glob("*")},
        "names": sorted(path.name for path in own.iterdir()),
    }


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(os.readlink(path))
    return path.read_bytes() if path.is_file() else b""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Poll until ``condition()`` is true and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return value


class Program:
    """``backspace-tui`` as a user runs it, with everything it keeps below one folder."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.data = folder / "data"
        self.prefix: tuple[str, ...] = ()
        kept = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST", "LANG", "TMPDIR") if name in os.environ}
        self.env = {
            **kept,
            "HOME": str(folder / "home"),
            "TERM": "xterm-256color",
            "BACKSPACE_TUI_DATA_DIR": str(self.data),
            "BACKSPACE_TUI_CONFIG": str(folder / "config.toml"),
            **env,
        }
        (folder / "home").mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").touch()

    def command(self, *arguments: str) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "backspace_tui", *arguments]

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run to the end; output is text."""
        return subprocess.run(
            self.command(*arguments),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start in the background."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @property
    def sessions(self) -> list[Path]:
        """The folders of the sessions, oldest first."""
        root = self.data / "sessions"
        return sorted(root.iterdir()) if root.exists() else []

    @property
    def session(self) -> Path:
        """The one session's folder."""
        (only,) = self.sessions
        return only

    def events(self) -> list[ev.AnyEvent]:
        """The one session's log, empty before it begins."""
        if not self.sessions or not (self.session / "events.jsonl").exists():
            return []
        return read_events(self.session)


def processes_of(session: Path) -> list[int]:
    """Processes whose command line or working directory names a session's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            inside = os.fsencode(session) in os.fsencode(os.readlink(entry / "cwd"))
        except OSError:
            continue
        if os.fsencode(session) in line or inside:
            found.append(int(entry.name))
    return found
