"""The mark of a session that came from elsewhere.

Its log names another machine's folders, models and settings, in whoever's words; so nothing of it is ever run or
written to here. It is read: shown, replayed, reviewed and exported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from backspace_tui.sessions.errors import SessionError

MARK: Final = "imported"
"""The file in the session's directory that says so."""


def is_imported(directory: Path) -> bool:
    """Whether the session came from elsewhere."""
    return (directory / MARK).exists()


def refuse_imported(directory: Path) -> None:
    """Raises :class:`SessionError` for a session that came from elsewhere: it cannot be run."""
    if is_imported(directory):
        name = directory.name
        raise SessionError(
            f"session {name} was imported, so it can be read but not run: backspace-tui replay {name}, "
            "or start a new session in the repository"
        )
