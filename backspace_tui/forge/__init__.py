"""Where accepted work goes: GitHub, or the user's own repository alone. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path

from backspace_tui.config import GithubSettings
from backspace_tui.core.protocols import Forge
from backspace_tui.forge.local import LocalForge
from backspace_tui.forge.remote import parse_github_remote, serves

__all__ = ["choose_forge", "parse_github_remote"]


def choose_forge(remote: str | None, source: Path | None, settings: GithubSettings | None, token: str) -> Forge:
    """GitHub where ``remote`` is one that ``[github] api_url`` serves and there is a ``token``; else the local forge.

    ``source`` is the user's checkout, ``None`` for a session on a URL. Nothing is contacted.
    """
    api_url = (settings or GithubSettings()).api_url
    found = parse_github_remote(remote) if remote else None
    if found is None or not serves(api_url, found.host):
        return LocalForge(source)
    if not token:
        return LocalForge(source, "to open it on GitHub, set GITHUB_TOKEN and resume")
    from backspace_tui.forge.github import GithubForge

    return GithubForge(found, api_url, token)
