"""What goes wrong with sessions, as one line for the user."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

LAST_WORDS: Final = "session ended: "
"""What begins the line of ``engine.log`` that says why a session's process ended without a word in the log."""


class SessionError(Exception):
    """Something about a session failed; the text is one line that says what happened and what to do.

    ``exit_code`` is what a command that cannot go on exits with: 1 the job failed, 2 wrong usage.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def storage_error(error: OSError, path: Path) -> SessionError:
    """The one line for an operating system's refusal to read or write ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SessionError(f"no space left on the disk of {path}: free some space, then resume the session")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return SessionError(
            f"cannot write {path} ({error.strerror}): make it writable or set BACKSPACE_TUI_DATA_DIR to another folder"
        )
    return SessionError(f"cannot use {path}: {error.strerror or error}")
