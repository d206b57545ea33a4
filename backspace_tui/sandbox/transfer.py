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
from backspace_tui.sandbox.kept import Increment
from backspace_tui.sandbox.wire import CHUNK

LISTING: Final = b"D"
"""The type of an entry of GNU tar's incremental archives: the names in a folder."""
MAX_PATH: Final = 4096
MAX_COMPONENT: Final = 255
_GIT: Final = frozenset((".git", "git~1"))
# As a symbolic link git refuses it, and with it the whole tree.
_NO_LINK: Final = frozenset((".gitmodules", "gitmod~1"))


def _means(component: str, names: frozenset[str]) -> bool:
    """Whether any file system could take the name for one of ``names``.

    HFS+ ignores some invisible characters and folds case; NTFS drops trailing dots, spaces and stream names, and has
    short names such as ``git~1``.
    """
    visible = "".join(c for c in component if unicodedata.category(c) not in ("Cf", "Cs", "Cn"))
    forms = (component, visible, unicodedata.normalize("NFKC", visible))
    return any(form.casefold().split(":")[0].rstrip(". ") in names for form in forms)


def acceptable(path: str) -> bool:
    """Whether ``path`` may stand in a tree: relative, plain components, none of them a disguised ``.git``."""
    if not path or path.startswith("/") or "\0" in path or len(os.fsencode(path)) > MAX_PATH:
        return False
    for component in path.split("/"):
        if component in ("", ".", "..") or len(os.fsencode(component)) > MAX_COMPONENT:
            return False
        if any(_means(piece, _GIT) for piece in component.split("\\")):
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


def unpack(pieces: Iterable[bytes], *, max_bytes: int, max_files: int) -> Increment:
    """The files of a tar stream that may stand in a tree, and its listings of folders; anything else is left out.

    Raises:
        SandboxError: the stream is broken or holds more than the caps allow.
    """
    files: dict[str, File] = {}
    folders: dict[str, dict[str, bool]] = {}
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
                    data = os.fsencode(entry.linkname)
                elif entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE, LISTING):
                    if entry.size > left:
                        raise SandboxError("the snapshot is larger than the workspace; raise [sandbox] workspace")
                    content = archive.extractfile(entry)
                    data = content.read() if content is not None else b""
                else:
                    continue
                left -= len(data)
                if entry.type == LISTING:
                    folders["" if entry.name == "." else entry.name] = _listed(data)
                elif acceptable(entry.name) and entry.name not in files and not _refused_link(entry):
                    files[entry.name] = File(_mode(entry), data)
                if len(files) > max_files:
                    raise SandboxError("the workspace holds too many files for a snapshot; delete generated ones")
                archive.members = []  # type: ignore[attr-defined]  # a stream keeps them all otherwise
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise SandboxError(f"the sandbox sent a broken snapshot: {error}") from error
    return Increment({path: file for path, file in files.items() if not _below_file(path, files)}, folders)


def _refused_link(entry: tarfile.TarInfo) -> bool:
    return entry.type == tarfile.SYMTYPE and _means(entry.name.rpartition("/")[2], _NO_LINK)


def _mode(entry: tarfile.TarInfo) -> int:
    if entry.type == tarfile.SYMTYPE:
        return SYMLINK
    return EXECUTABLE if entry.mode & 0o100 else REGULAR


def _listed(data: bytes) -> dict[str, bool]:
    """The names of a folder, each with whether it is one itself."""
    return {os.fsdecode(record[1:]): record[:1] == b"D" for record in data.split(b"\0") if record}


def _below_file(path: str, files: Mapping[str, File]) -> bool:
    while "/" in path:
        path = path.rpartition("/")[0]
        if path in files:
            return True
    return False
