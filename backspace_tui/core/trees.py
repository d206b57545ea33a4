"""Plain data for git trees: what a path holds, and how two trees differ.

Paths are ``str`` as :func:`os.fsdecode` makes them: bytes that are not UTF-8 stand as lone surrogates and
turn back into the same bytes with :func:`os.fsencode`. They are relative, use ``/`` and name no ``.git``.
"""

from __future__ import annotations

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
    """How one path differs between two trees: ``old`` or ``new`` is ``None`` where the path is absent."""

    path: str
    old: Entry | None
    new: Entry | None
