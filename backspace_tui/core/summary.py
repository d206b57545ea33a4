"""What a list of sessions shows of one: a few facts of its state, small enough to be kept in a file of their own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState

MAX_PROMPT: Final = 4000
"""Characters of a prompt that a summary keeps; a search reads all of it in the log."""

_SETTLED: Final = ("accept", "edit", "reject", "redo")

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Summary(msgspec.Struct, frozen=True):
    """One session in short.

    ``accepted`` and ``rejected`` count the hunks about which a decision stands. They come from the log alone, without
    a diff, and so do not know of hunks that nobody decided; ``hunks``, how many there are in all and ``None`` where
    that is not known, is counted by the session's own process when it ends. ``uncommitted`` says that something is
    accepted that no commit holds. ``usd`` is what the models cost as far as prices are known, ``unpriced`` the calls
    whose price is not. ``request`` is the pull request's URL (``local:BRANCH`` where it is written down here alone).
    ``size`` is what the session's directory takes on disk, in bytes. ``work_tree`` is the agent's newest tree.
    A fork was created when it was made, of ``forked_from`` at the step ``forked_at``.
    """

    repository: str
    prompt: str
    status: str
    created: _Time
    updated: _Time
    stage: str = ""
    usd: float = 0.0
    unpriced: int = 0
    tokens: int = 0
    accepted: int = 0
    rejected: int = 0
    hunks: int | None = None
    uncommitted: bool = False
    verdict: str = ""
    requested: bool = False
    request: str = ""
    request_number: int | None = None
    request_stale: bool = False
    branch: str = ""
    size: int = 0
    work_tree: str = ""
    forked_from: str = ""
    forked_at: int = 0

    @property
    def decided(self) -> int:
        """Hunks about which a decision stands."""
        return self.accepted + self.rejected


def summarize(state: SessionState, hunks: int | None = None, size: int = 0) -> Summary | None:
    """The summary of a session at ``state``; ``None`` for one that never began."""
    started = state.started
    if started is None:
        return None
    accepted, rejected = _counts(state)
    request = state.request
    work = bool(state.accepted_tree) and state.accepted_tree not in (state.base_tree, state.committed_tree)
    return Summary(
        repository=started.repository,
        prompt=started.prompt[:MAX_PROMPT],
        status=state.status,
        created=started.forked if started.forked_from else started.time,
        updated=state.last_time,
        stage=state.stage_now,
        usd=state.usd,
        unpriced=state.unpriced,
        tokens=state.tokens,
        accepted=accepted,
        rejected=rejected,
        # Decided hunks whose lines are gone by now are not counted by a diff.
        hunks=None if hunks is None else max(hunks, accepted + rejected),
        uncommitted=work,
        verdict=state.verdict.verdict if state.verdict is not None else "",
        requested=request is not None,
        request=request.url if request is not None else "",
        request_number=request.number if request is not None else None,
        request_stale=request is not None and state.request_stale,
        branch=state.branch,
        size=size,
        work_tree=state.work_tree,
        forked_from=started.forked_from,
        forked_at=started.forked_at,
    )


def _counts(state: SessionState) -> tuple[int, int]:
    """How many hunks are accepted and rejected by the decisions that stand; the last word about a hunk counts."""
    last: dict[tuple[str, str], ev.Decision] = {}
    for group in state.standing:
        for decision in group:
            key = (decision.path, decision.hunk)
            if decision.action in _SETTLED:
                last[key] = decision
            elif decision.action == "unstage":
                last.pop(key, None)
    rejected = sum(decision.action in ("reject", "redo") for decision in last.values())
    return len(last) - rejected, rejected
