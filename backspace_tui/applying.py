"""``backspace-tui sessions apply``: the accepted work comes into the user's checkout."""

from __future__ import annotations

import sys
from pathlib import Path

from backspace_tui import reviewing
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import fold
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.applying import apply_at_rest, committed
from backspace_tui.sessions import store
from backspace_tui.sessions.client import Client
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.imported import is_imported
from backspace_tui.sessions.log import read_events


def run(name: str, *, uncommitted: bool) -> int:
    """Merge the session's branch, or write its changes; what is not committed yet is verified and committed first.

    The exit code is 0, or that of the verification or commit that failed.

    Raises:
        SessionError: it is refused, with nothing changed.
        RepositoryError: as well.
    """
    directory = store.find(name)
    state = fold(read_events(directory))
    fresh = state.accepted_tree not in ("", state.base_tree) and not committed(state)
    if fresh and not uncommitted and not is_imported(directory):
        code = reviewing.carry_out(directory, cmd.Publish(pull_request=False), sys.stderr)
        if code:
            return code
    print(clean(_apply(directory, uncommitted=uncommitted)))
    return 0


def _apply(directory: Path, *, uncommitted: bool) -> str:
    if not store.is_running(directory):
        return apply_at_rest(directory, uncommitted=uncommitted).detail
    with Client.connect(directory) as connection:
        reply = connection.send(cmd.Apply(uncommitted=uncommitted))
    if reply.error:
        raise SessionError(reply.error)
    return next(e.detail for e in read_events(directory) if e.seq == reply.seq and isinstance(e, ev.GitOperation))
