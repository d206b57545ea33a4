"""Files to and from a tar stream, with everything that leaves a sandbox checked in memory.

What the sandbox sends is hostile: only regular files and links with a path that git would take are kept.
"""

from __future__ import annotations

import io
import os
import tarfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from backspace_tui.core.protocols import SandboxError
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.sandbox.wire import CHUNK

MAX_PATH: Final = 4096
MAX_COMPONENT: Final = 255


def _means_git(component: str) -> bool:
    """Whether any file system could take the name for ``.git``.

    HFS+ ignores some invisible characters and folds case; NTFS drops trailing dots, spaces and stream names, and
    knows ``.git`` as ``git~1``.
    """
    visible = "".join(c for c in component if unicodedata.category(c) not in ("Cf", "Cs", "Cn"))
    for form in (component, visible, unicodedata.normalize("NFKC", visible)):
        name = form.casefold().split(":")[0].rstrip(". ")
        if name in (".git", "git~1"):
            return True
    return False


def acceptable(path: str) -> bool:
    """Whether ``path`` may stand in a tree: relative, plain components, none of them a disguised ``.git``."""
    if not path or path.startswith("/") or "\0" in path or len(os.fsencode(path)) > MAX_PATH:
        return False
    for component in path.split("/"):
        if component in ("", ".", "..") or len(os.fsencode(component)) > MAX_COMPONENT:
            return False
        if any(_means_git(piece) for piece in component.split("\\")):
            return False
    return True


def check(files: Mapping[str, File]) -> None:
    """Raises SandboxError where a path cannot be laid out, such as one below another's file."""
    folders: set[str] = set()
    for path in files:
        if not acceptable(path):
            raise SandboxError(f"the path {path!r} cannot be laid into a sandbox")
        while "/" in path:
            path = path.rpartition("/")[0]
            folders.add(path)
    for path in folders:
        if path in files:
            raise SandboxError(f"the path {path!r} is both a file and a folder")


def pack(files: Mapping[str, File]) -> Iterator[bytes]:
    """A tar stream of ``files``, which were checked, in pieces."""
    sink = io.BytesIO()
    with tarfile.open(
        fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape", bufsize=CHUNK
    ) as archive:
        for path, file in files.items():
            entry = tarfile.TarInfo(path)
            if file.mode == SYMLINK:
                entry.type, entry.linkname = tarfile.SYMTYPE, os.fsdecode(file.data)
                archive.addfile(entry)
            else:
                entry.mode = 0o755 if file.mode == EXECUTABLE else 0o644
                entry.size = len(file.data)
                archive.addfile(entry, io.BytesIO(file.data))
            if sink.tell() >= CHUNK:
                yield sink.getvalue()
                sink.seek(0)
                sink.truncate()
    yield sink.getvalue()


class _Pieces(io.RawIOBase):
    """A readable file over an iterator of byte strings."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def unpack(pieces: Iterable[bytes], *, max_bytes: int, max_files: int) -> dict[str, File]:
    """The files of a tar stream that may stand in a tree; anything else is left out.

    Raises:
        SandboxError: the stream is broken or holds more than the caps allow.
    """
    files: dict[str, File] = {}
    left = max_bytes
    try:
        with tarfile.open(
            fileobj=io.BufferedReader(_Pieces(pieces), CHUNK),
            mode="r|",
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            for entry in archive:
                if entry.type == tarfile.SYMTYPE:
                    file = File(SYMLINK, os.fsencode(entry.linkname))
                elif entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    if entry.size > left:
                        raise SandboxError("the snapshot is larger than the workspace; raise [sandbox] workspace")
                    content = archive.extractfile(entry)
                    data = content.read() if content is not None else b""
                    file = File(EXECUTABLE if entry.mode & 0o100 else REGULAR, data)
                else:
                    continue
                left -= len(file.data)
                if acceptable(entry.name) and entry.name not in files:
                    files[entry.name] = file
                if len(files) > max_files:
                    raise SandboxError("the workspace holds too many files for a snapshot; delete generated ones")
                archive.members = []  # type: ignore[attr-defined]  # a stream keeps them all otherwise
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise SandboxError(f"the sandbox sent a broken snapshot: {error}") from error
    return {path: file for path, file in files.items() if not _below_file(path, files)}


def _below_file(path: str, files: Mapping[str, File]) -> bool:
    while "/" in path:
        path = path.rpartition("/")[0]
        if path in files:
            return True
    return False
