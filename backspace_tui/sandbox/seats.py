"""How many sessions hold sandboxes where no engine knows: a locked file for each, let go however its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Final

from backspace_tui import paths, private
from backspace_tui.sandbox.leftovers import one_at_a_time, too_many

MODE: Final = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC


class Seat:
    """One sandbox of a session; the session counts as long as any of its seats is held."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let go; may be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def take(session: str, most: int) -> Seat:
    """A seat for a sandbox of ``session`` (empty: of this process).

    Raises:
        SandboxError: ``most`` other sessions of this user hold sandboxes.
    """
    name = hashlib.sha256((session or f"process {os.getpid()}").encode()).hexdigest()[:16]
    with one_at_a_time():
        try:
            folder = paths.data_dir() / "seats"
            private.make_directory(folder)
            held = _held(folder)
            if name not in held and len(held) >= most:
                raise too_many(len(held), most)
            fd = os.open(folder / name, MODE, 0o600)
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            # Without a place to write to nobody can be counted, and no sandbox is refused for that.
            return Seat(-1)
    return Seat(fd)


def _held(folder: Path) -> set[str]:
    """The names that some process holds; what nobody holds is removed."""
    found = set()
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                found.add(path.name)
            finally:
                os.close(fd)
    return found
