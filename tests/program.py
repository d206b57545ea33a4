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
        return [sys.executable, "-m", "backspace_tui", *arguments]

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run to the end; output is text."""
        return subprocess.run(
            self.command(*arguments),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
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
