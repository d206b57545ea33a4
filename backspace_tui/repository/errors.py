"""The errors of this ring."""

from __future__ import annotations

from backspace_tui.core.sizes import show_megabytes


class RepositoryError(Exception):
    """A repository cannot be used or changed as asked: one line, no secrets, with what to do."""


class GitFailed(RepositoryError):
    """A git command failed; ``status`` is its exit status and ``stderr`` what it said (cleaned, no credentials)."""

    def __init__(self, message: str, status: int, stderr: str) -> None:
        super().__init__(message)
        self.status = status
        self.stderr = stderr


class RepositoryTooLarge(RepositoryError):
    """The files of a base hold ``size`` bytes, more than may be copied."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the repository holds {show_megabytes(size)}")
        self.size = size
