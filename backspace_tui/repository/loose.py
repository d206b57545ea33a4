"""A tree with a few changes, written object by object: a small snapshot needs no process and no pack of its own."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

import msgspec

from backspace_tui.core.trees import Entry, File
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.fast_import import EMPTY_TREE, blob_oid, checked
from backspace_tui.repository.git import Process, Runner

MOST: Final = 64
"""Changes that are written one by one; for more, one pack is quicker."""

LARGEST: Final = 1 << 17
"""Bytes of a folder's tree that is read here."""

_CACHED: Final = 512
_FOLDER: Final = b"40000"


class TooMuch(Exception):
    """This is for git itself."""


class Node(msgspec.Struct):
    """What is to happen at one path: it is removed, then set, or something below it changes."""

    remove: bool = False
    leaf: tuple[bytes, str] | None = None
    below: dict[bytes, Node] = {}


class Loose:
    """Reads trees of one repository and writes loose objects into it. Used by one thread at a time."""

    def __init__(self, runner: Runner, git_dir: Path) -> None:
        self._runner = runner
        self._objects = git_dir / "objects"
        self._trees: OrderedDict[str, bytes] = OrderedDict()
        self._reader: Process | None = None
        self._pending: dict[str, tuple[int, str, Path]] = {}

    def amend(self, tree: str, changes: Mapping[str, File | Entry | None], known: set[str]) -> str:
        """``tree`` with ``changes``, as :func:`backspace_tui.repository.fast_import.make_tree` has it.

        Raises:
            TooMuch: this takes git itself; nothing is lost.
            RepositoryError: a path or mode that no tree may hold, or no space left.
        """
        if len(changes) > MOST:
            raise TooMuch
        written: set[str] = set()
        try:
            made = self._amended(tree, self._plan(changes, known, written)) or EMPTY_TREE
            self._keep()
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                where = self._runner.folder
                raise RepositoryError(f"no space left on the disk of {where}: free some space, then resume") from None
            reason = problem.strerror or problem
            raise RepositoryError(f"cannot write into the session's repository: {reason}") from None
        finally:
            self._forget()
        known |= written
        return made

    def _plan(self, changes: Mapping[str, File | Entry | None], known: set[str], written: set[str]) -> Node:
        root = Node(below={})
        for raw, change in checked(changes):
            node = root
            for name in raw.split(b"/"):
                node = node.below.setdefault(name, Node(below={}))
            if change is None:
                node.remove = True
            elif isinstance(change, Entry):
                if change.oid not in known:
                    raise TooMuch
                node.leaf = (b"%o" % change.mode, change.oid)
            else:
                node.leaf = (b"%o" % change.mode, self._blob(change.data, known, written))
        return root

    def _amended(self, oid: str | None, node: Node) -> str | None:
        entries = self._read(oid) if oid is not None else {}
        for name, change in node.below.items():
            if change.remove:
                entries.pop(name, None)
            if change.leaf is not None:
                entries[name] = change.leaf
                continue
            mode, present = entries.get(name, (b"", None))
            if mode not in (_FOLDER, b"") and not _sets(change):
                continue
            below = self._amended(present if mode == _FOLDER else None, change)
            if below is not None:
                entries[name] = (_FOLDER, below)
            else:
                entries.pop(name, None)
        return self._write_tree(entries) if entries else None

    def _write_tree(self, entries: Mapping[bytes, tuple[bytes, str]]) -> str:
        # Git sorts a folder as if its name ended in a slash.
        order = sorted(entries, key=lambda name: name + b"/" if entries[name][0] == _FOLDER else name)
        data = b"".join(b"%s %s\0%s" % (entries[name][0], name, bytes.fromhex(entries[name][1])) for name in order)
        oid = self._write(b"tree", data)
        self._remember(oid, data)
        return oid

    def _blob(self, data: bytes, known: set[str], written: set[str]) -> str:
        oid = blob_oid(data)
        if oid not in known:
            written.add(self._write(b"blob", data))
        return oid

    def _write(self, kind: bytes, data: bytes) -> str:
        content = b"%s %d\0%s" % (kind, len(data), data)
        oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        folder = self._objects / oid[:2]
        target = folder / oid[2:]
        if oid in self._pending or target.exists():
            return oid
        folder.mkdir(mode=0o700, exist_ok=True)
        fd, scratch = tempfile.mkstemp(prefix="tmp_obj_", dir=folder)
        self._pending[oid] = (fd, scratch, target)
        packed = memoryview(zlib.compress(content, 1))
        while packed:
            packed = packed[os.write(fd, packed) :]
        os.fchmod(fd, 0o400)
        return oid

    def _keep(self) -> None:
        """Everything that was written is on disk, and only then has its name."""
        files = [fd for fd, _, _ in self._pending.values()]
        # At once, so that the file system commits them together.
        with ThreadPoolExecutor(len(files) or 1) as threads:
            list(threads.map(os.fsync, files))
        for _, scratch, target in self._pending.values():
            os.rename(scratch, target)

    def _forget(self) -> None:
        pending, self._pending = self._pending, {}
        for fd, scratch, _ in pending.values():
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)

    # Reading

    def _read(self, oid: str) -> dict[bytes, tuple[bytes, str]]:
        data = b"" if oid == EMPTY_TREE else self._trees.get(oid)
        if data is None:
            data = self._ask(oid)
            self._remember(oid, data)
        if len(data) > LARGEST:
            raise TooMuch
        entries = {}
        position = 0
        while position < len(data):
            end = data.index(b"\0", position)
            mode, name = data[position:end].split(b" ", 1)
            entries[name] = (mode, data[end + 1 : end + 21].hex())
            position = end + 21
        return entries

    def _remember(self, oid: str, data: bytes) -> None:
        self._trees[oid] = data
        self._trees.move_to_end(oid)
        while len(self._trees) > _CACHED:
            self._trees.popitem(last=False)

    def _ask(self, oid: str) -> bytes:
        if self._reader is None:
            self._reader = self._runner.start("cat-file", "--batch", stdin=subprocess.PIPE)
        requests, answers = self._reader.stdin, self._reader.stdout
        assert requests is not None
        try:
            requests.write(oid.encode("ascii") + b"\n")
            requests.flush()
            return _tree(answers)
        except (OSError, ValueError):
            # It ended, or what it said is no tree: git itself says what is wrong.
            self.close()
            raise TooMuch from None

    def close(self) -> None:
        """End the process that reads; the object may be used again afterwards."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def _tree(answers: IO[bytes]) -> bytes:
    words = answers.readline().split()
    if len(words) != 3 or words[1] != b"tree":
        raise ValueError
    size = int(words[2])
    data = answers.read(size + 1)
    if len(data) != size + 1:
        raise ValueError
    return data[:-1]


def _sets(node: Node) -> bool:
    """Whether something is put there, not only removed."""
    return node.leaf is not None or any(_sets(below) for below in node.below.values())
