"""What the user calls a repository: a folder or an address."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from backspace_tui.core.terminal_text import visible
from backspace_tui.repository import check, urls
from backspace_tui.repository.errors import RepositoryError

__all__ = ["RepositoryError", "Source", "locate"]


class Source(msgspec.Struct, frozen=True):
    """Where the base comes from: exactly one of ``path`` (a checkout's top folder) and ``url`` is set.

    ``branch`` is the checkout's branch, empty where HEAD is ``detached`` (or not known yet, for a URL).
    ``ref`` is the branch that a GitHub web address names.
    """

    path: Path | None = None
    url: str = ""
    ref: str = ""
    branch: str = ""
    detached: bool = False


def locate(repository: str) -> Source:
    """Find the repository that ``repository`` names; an existing path wins over an address.

    A URL is not contacted here but when the base is imported.

    Raises:
        RepositoryError: it cannot be worked on.
    """
    if not repository.strip() or "\0" in repository:
        raise RepositoryError("no repository given: give a path or a URL")
    try:
        exists = Path(repository).expanduser().exists()
    except (OSError, RuntimeError):
        exists = False
    if urls.is_url(repository) and not exists:
        shown = visible(urls.without_credentials(repository))
        if problem := urls.unsupported(repository):
            raise RepositoryError(f"{shown} {problem}")
        url, ref = urls.parse(repository)
        return Source(url=url, ref=ref)
    found = check.inspect(os.path.expanduser(repository))
    return Source(path=found.top, branch=found.branch, detached=not found.branch)
