"""What reading a repository by plain git processes takes: their environment, ones that stay, and a cache."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from typing import IO, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def environment(git_dir: Path) -> dict[str, str]:
    """An environment in which git reads ``git_dir`` and nothing else."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return kept | {
        "GIT_DIR": os.fspath(git_dir),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


class Cache(Generic[K, V]):
    """Least recently used first out, by weight. Not locked: its owner is."""

    def __init__(self, budget: int) -> None:
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._budget = budget
        self._weight = 0

    def __contains__(self, key: K) -> bool:
        return key in self._items

    def get(self, key: K) -> V | None:
        found = self._items.get(key)
        if found is None:
            return None
        self._items.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        if key in self._items:
            self._weight -= self._items.pop(key)[1]
        self._items[key] = (value, weight)
        self._weight += weight
        while self._weight > self._budget and len(self._items) > 1:
            self._weight -= self._items.popitem(last=False)[1][1]


class Batch:
    """A long-lived ``git cat-file``; started on first use and again when it died."""

    def __init__(self, arguments: list[str], env: dict[str, str], cwd: Path) -> None:
        self._arguments = arguments
        self._env = env
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, oid: str) -> tuple[IO[bytes], list[bytes]]:
        """The stream behind the header, and the words of the header."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._arguments,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl+C in the terminal is the window's, not git's.
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(oid.encode("ascii") + b"\n")
        self._process.stdin.flush()
        return self._process.stdout, self._process.stdout.readline().split()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
