"""Trees out of files, by one ``git fast-import`` a tree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from backspace_tui.core.trees import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Entry, File
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.git import Runner
from backspace_tui.repository.names import check_path, quote

EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

_FILE_MODES: Final = (REGULAR, EXECUTABLE, SYMLINK)
_OID: Final = re.compile(r"[0-9a-f]{40}")
_REF: Final = b"refs/backspace/scratch"


def blob_oid(data: bytes) -> str:
    """The object id of ``data`` as a blob."""
    digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def make_tree(runner: Runner, base: str, changes: Mapping[str, File | Entry | None], known: set[str]) -> str:
    """The tree ``base`` with ``changes``: deletions first, then files and entries.

    Blobs of ``known`` are in the repository already and are only named; new ones are added to it.

    Raises:
        RepositoryError: a path or mode no tree may hold, a path that is both file and folder, an unknown object.
    """
    written: set[str] = set()
    chunks = list(_stream(base, changes, known, written))
    # One process a tree: it starts in a few milliseconds, and its objects are visible and durable when it ends.
    answer = runner.run("fast-import", "--quiet", "--force", "--depth=0", data=chunks)
    known |= written
    words = answer.split()
    if words == [b"missing"]:
        return EMPTY_TREE
    if len(words) != 3 or words[1] != b"tree":
        raise RepositoryError("git fast-import gave no tree; is the session's disk full?")
    return words[2].decode("ascii")


def check_oid(oid: str) -> str:
    """``oid`` itself.

    Raises:
        RepositoryError: it is not 40 hex digits.
    """
    if not _OID.fullmatch(oid):
        raise RepositoryError(f"{oid[:60]!r} is not an object id")
    return oid


def checked(changes: Mapping[str, File | Entry | None]) -> Iterator[tuple[bytes, File | Entry | None]]:
    """The changes with their paths as bytes.

    Raises:
        RepositoryError: a path or mode no tree may hold, a path that is both file and folder.
    """
    _refuse_conflicts(changes)
    for path, change in changes.items():
        if isinstance(change, File) and change.mode not in _FILE_MODES:
            raise RepositoryError(f"{change.mode:o} is not the mode of a file")
        if isinstance(change, Entry) and change.mode not in (*_FILE_MODES, GITLINK):
            raise RepositoryError(f"{change.mode:o} is not the mode of a file")
        yield check_path(path, None if change is None else change.mode), change


def _stream(
    base: str, changes: Mapping[str, File | Entry | None], known: set[str], written: set[str]
) -> Iterator[bytes]:
    paths = list(checked(changes))
    yield b"feature done\ncommit %s\ncommitter backspace-tui <> 0 +0000\ndata 0\n" % _REF
    if base != EMPTY_TREE:
        yield b'M 040000 %s ""\n' % check_oid(base).encode("ascii")
    for raw, change in paths:
        if change is None:
            yield b"D %s\n" % quote(raw)
    for raw, change in paths:
        if change is None:
            continue
        name = quote(raw)
        if isinstance(change, Entry):
            yield b"M %06o %s %s\n" % (change.mode, check_oid(change.oid).encode("ascii"), name)
            continue
        oid = blob_oid(change.data)
        if oid in known:
            yield b"M %06o %s %s\n" % (change.mode, oid.encode("ascii"), name)
        else:
            yield b"M %06o inline %s\ndata %d\n" % (change.mode, name, len(change.data))
            yield change.data
            yield b"\n"
            written.add(oid)
    # The commit is only the handle by which fast-import shows a tree; no ref is to keep it.
    yield b'ls ""\nreset %s\nfrom %s\n\ndone\n' % (_REF, b"0" * 40)


def _refuse_conflicts(changes: Mapping[str, object]) -> None:
    kept = {path for path, change in changes.items() if change is not None}
    for path in kept:
        folder = path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in kept:
                raise RepositoryError(f"{folder!r} cannot be both a file and a folder")
