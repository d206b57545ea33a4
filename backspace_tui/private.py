"""Files and directories that are the user's alone, whatever the umask says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

UMASK: Final = 0o077
"""For processes that write into directories of ours."""


def make_directory(path: Path) -> None:
    """Make ``path`` and what is missing above it, mode 0700; what is there already stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_directory(path.parent)
        # Somebody else may have made it meanwhile.
        path.mkdir(mode=0o700, exist_ok=True)


def opener(path: str, flags: int) -> int:
    """For :func:`open`: a file that is made gets the mode 0600."""
    return os.open(path, flags, 0o600)


def write(path: Path, data: bytes) -> None:
    """Write a file, with the mode 0600 if it is new.

    Raises:
        OSError: it cannot be written.
    """
    with open(path, "wb", opener=opener) as file:
        file.write(data)
