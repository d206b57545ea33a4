"""Plain data for git trees: what a path holds, and how two trees differ.

Paths are ``str`` as :func:`os.fsdecode` makes them: bytes that are not UTF-8 stand as lone surrogates and
turn back into the same bytes with :func:`os.fsencode`. They are relative, use ``/`` and name no ``.git``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

REGULAR = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
GITLINK = 0o160000
"""A submodule: its object is a commit of another repository."""


class File(msgspec.Struct, frozen=True):
    """The content of one path. ``mode`` is a git mode; a symbolic link's ``data`` is its target."""

    mode: int
    data: bytes


class Entry(msgspec.Struct, frozen=True):
    """One path of a tree by identity: its git mode and the object id (40 hex digits) of its blob."""

    mode: int
    oid: str


class FileChange(msgspec.Struct, frozen=True):
    """How one path differs between two trees: ``old`` or ``new`` is ``None`` where the path is absent.

    With ``source`` the path was renamed: ``old`` is what that other path held, and the new tree lacks it.
    """

    path: str
    old: Entry | None
    new: Entry | None
    source: str = ""


def in_the_way(present: Collection[str], files: Mapping[str, File | None]) -> tuple[str, str] | None:
    """A path of ``files`` that is a folder of another one, or below one, once they stand among ``present`` paths.

    ``None`` in ``files`` removes a path. Returns the path and the one that it collides with.
    """
    fresh = [path for path, file in files.items() if file is not None and path not in present]
    if not fresh:
        return None
    after = {path for path in present if files.get(path, True) is not None}.union(fresh)
    folders = {folder: path for path in after for folder in folders_above(path)}
    for path in fresh:
        if path in folders:
            return path, folders[path]
        for folder in folders_above(path):
            if folder in after:
                return path, folder
    return None


def folders_above(path: str) -> Iterator[str]:
    """The folders that ``path`` lies in, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
