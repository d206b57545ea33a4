"""The secrets that stand in the repository: known before any part of it is shown to a model or logged."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Set
from itertools import chain
from pathlib import PurePosixPath
from typing import Final

from backspace_tui.core.terminal_text import clean
from backspace_tui.core.trees import EXECUTABLE, REGULAR, Entry
from backspace_tui.engine.job import Job
from backspace_tui.engine.tools.view import is_binary

FILE_LIMIT: Final = 256 << 10
"""Bytes of a file that is looked into."""

TOTAL_LIMIT: Final = 16 << 20
"""Bytes of all files that are looked into, those that usually hold secrets first."""

FILES_LIMIT: Final = 5_000

_LIKELY: Final = re.compile(
    r"\.env|secret|credential|\.netrc|\.npmrc|\.pypirc|\.pgpass|id_(?:rsa|dsa|ecdsa|ed25519)", re.I
)
_KEY_FILES: Final = frozenset({".pem", ".key", ".p8", ".ppk", ".asc", ".gpg"})
_SETTINGS: Final = frozenset(
    {".yml", ".yaml", ".json", ".toml", ".ini", ".cfg", ".conf", ".properties", ".xml", ".tfvars"}
)


def learn(job: Job) -> None:
    """Let the redactor know what the base holds, and what a process before this one left in the agent's files.

    Raises:
        Stopped: the user stopped it meanwhile.
    """
    base = job.state.base_tree
    if not base or job.learned == base:
        return
    job.parts.redactor.lookup = lambda: texts(job, job.state.snapshot or job.state.work_tree)
    seen = {entry.oid for entry in job.objects.entries(base).values()}
    for text in chain(texts(job, base), texts(job, job.state.snapshot or job.state.work_tree, seen)):
        job.check_stop()
        job.parts.redactor.learn(text)
    job.learned = base


def texts(job: Job, tree: str, seen: Set[str] = frozenset()) -> Iterator[str]:
    """The files of a tree as text, without the blobs ``seen``; those that usually hold secrets first."""
    entries = job.objects.entries(tree) if tree else {}
    total = 0
    for path in _in_order(entries)[:FILES_LIMIT]:
        oid = entries[path].oid
        if oid in seen:
            continue
        size = job.objects.size(oid)
        if size > FILE_LIMIT:
            continue
        total += size
        if total > TOTAL_LIMIT:
            return
        data = job.objects.blob(oid)
        if not is_binary(data):
            yield clean(data)


def _in_order(entries: Mapping[str, Entry]) -> list[str]:
    return sorted((path for path, entry in entries.items() if entry.mode in (REGULAR, EXECUTABLE)), key=_rank)


def _rank(path: str) -> tuple[int, str]:
    name, suffix = os.path.basename(path), PurePosixPath(path).suffix.lower()
    if _LIKELY.search(name) or suffix in _KEY_FILES:
        return 0, path
    return (1 if suffix in _SETTINGS else 2), path
