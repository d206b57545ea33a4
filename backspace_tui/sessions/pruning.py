"""Removing sessions by age, size or number."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from backspace_tui.core.pruning import Candidate, Plan, Rule, plan
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.importing import remove_abandoned
from backspace_tui.sessions.store import SessionInfo, info, remove
from backspace_tui.sessions.summaries import disk_size


def candidate(session: SessionInfo, now: float) -> Candidate:
    """``session`` as pruning sees it at ``now`` (seconds since the epoch)."""
    summary = session.summary
    return Candidate(
        id=session.id,
        age=now - session.updated.timestamp(),
        size=summary.size if summary is not None else disk_size(str(session.directory)),
        running=session.running,
        unsaved=summary.uncommitted if summary is not None else _has_log(session),
    )


def _has_log(session: SessionInfo) -> bool:
    """Whether there is a log that cannot be read, in which anything may stand."""
    try:
        return (session.directory / "events.jsonl").stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True


def choose(sessions: Sequence[SessionInfo], rule: Rule, now: float | None = None) -> Plan:
    """What ``rule`` removes of ``sessions`` at ``now``."""
    at = time.time() if now is None else now
    return plan([candidate(session, at) for session in sessions], rule)


def carry_out(root: Path, chosen: Plan, rule: Rule) -> tuple[int, int, list[str]]:
    """Remove what was chosen: how many are gone, the bytes freed, and a line for each that stayed after all.

    A session that was taken up since then, or in which something was accepted, stays. What imports that were killed
    left goes too.
    """
    remove_abandoned(root)
    gone = freed = 0
    stayed = []
    for item in chosen.doomed:
        now = candidate(info(root / item.id), time.time())
        if now.running or (now.unsaved and not rule.force):
            stayed.append(f"{item.id} stays: it was taken up meanwhile")
            continue
        try:
            remove(root / item.id)
        except SessionError as problem:
            stayed.append(str(problem))
        else:
            gone += 1
            freed += item.size
    return gone, freed, stayed
