"""Which paths may stand in a tree that we make."""

from __future__ import annotations

import os
from typing import Final

from backspace_tui.core.terminal_text import visible
from backspace_tui.core.trees import SYMLINK
from backspace_tui.repository.errors import RepositoryError

# What HFS+ ignores when it compares names (git's utf8.c).
_IGNORED: Final = dict.fromkeys(
    (*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF), None
)  # fmt: skip


def check_path(path: str, mode: int | None = None) -> bytes:
    """``path`` as bytes.

    Raises:
        RepositoryError: it is absolute, climbs, has empty parts or a NUL, or names ``.git`` in any spelling that a
            file system takes for it; or it is a symbolic link that git refuses to check out (``.gitmodules``).
    """
    raw = os.fsencode(path)
    if not raw or b"\0" in raw:
        raise RepositoryError(f"{visible(path)!r} is not a usable path")
    parts = path.split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise RepositoryError(f"{visible(path)} is not a path inside the repository")
        if any(is_dot_git(piece) for piece in part.split("\\")):
            raise RepositoryError(f"{visible(path)} names a .git folder, which no tree may hold")
    if mode == SYMLINK and _plain(parts[-1]) in (".gitmodules", "gitmod~1"):
        raise RepositoryError(f"{visible(path)} is a symbolic link, which git refuses for that name")
    return raw


def is_dot_git(part: str) -> bool:
    """Whether some file system takes ``part`` for ``.git``: case, trailing dots, streams, short and invisible names."""
    return _plain(part) in (".git", "git~1")


def _plain(part: str) -> str:
    return part.translate(_IGNORED).split(":", 1)[0].rstrip(" .").casefold()


def quote(raw: bytes) -> bytes:
    """A path as fast-import reads it, quoted like a C string."""
    return b'"' + b"".join(_QUOTED[byte] for byte in raw) + b'"'


_QUOTED: Final = [
    b"\\%c" % byte if byte in b'"\\' else b"%c" % byte if 0x20 <= byte < 0x7F else b"\\%03o" % byte
    for byte in range(256)
]
