"""The forge that needs nobody: the branch in the user's own repository is all there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backspace_tui.core.protocols import OpenedPullRequest, PullRequest
from backspace_tui.core.terminal_text import visible


class LocalForge:
    """``source_path`` is the user's checkout, which the commit stage has delivered to already.

    ``hint`` says what would make it a real pull request, where something would.
    """

    def __init__(self, source_path: Path | None, hint: str = "") -> None:
        self._source_path = source_path
        self._hint = hint

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    def push(self, repository: str, commit: str, branch: str, previous: Sequence[str]) -> str:
        """Nothing is left to do; says where the branch is."""
        del commit, previous
        shown = visible(branch)
        if self._source_path is None:
            line = f"{shown} is in the session's repository: git fetch {visible(repository)} {shown}"
        else:
            line = f"{shown} is in {visible(str(self._source_path))}"
        return f"{line}; {self._hint}" if self._hint else line

    def open_request(self, request: PullRequest) -> OpenedPullRequest:
        """The request as it is to be written down; its URL is ``local:<branch>``."""
        return OpenedPullRequest(url=f"local:{request.branch}", number=None, created=True)
