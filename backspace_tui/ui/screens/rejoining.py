"""From the workspace to other sessions: all of them on a screen, and the one that this repository has already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backspace_tui.ui.keymap import split
from backspace_tui.ui.panes.transcript import Entry
from backspace_tui.ui.screens.replaying import Replaying

if TYPE_CHECKING:
    from backspace_tui.sessions.store import SessionInfo


class Rejoining(Replaying):
    """The keys that leave for another session."""

    offer = ""
    """What the empty prompt line says of a session to rejoin."""
    _offered: list[SessionInfo]

    def action_sessions(self, filter: str = "") -> None:
        from backspace_tui.ui.screens.sessions import SessionsScreen

        self.app.push_screen(SessionsScreen(self.keys, filter=filter))

    def look_for_sessions(self, repository: str) -> None:
        """Offer to rejoin what is unfinished in ``repository``; in the background, since nothing waits for it."""
        self._offered = []

        def find() -> list[SessionInfo]:
            from backspace_tui.sessions.store import list_sessions
            from backspace_tui.sessions.unfinished import unfinished

            return unfinished(list_sessions(), repository)

        self.content_work.run(find, self._offer)

    def _offer(self, found: list[SessionInfo]) -> None:
        if self.directory is not None or not found:
            return
        from backspace_tui.sessions.table import row

        self._offered = found
        key = split(self.keys["session.rejoin"])[0]
        cells = row(found[0])
        what = f"{cells.title!r}, {cells.state}, {cells.age} ago"
        self.offer = f"   {key}: rejoin {what}" if len(found) == 1 else f"   {key}: rejoin one of {len(found)} sessions"
        lines = [Entry(f"{one.title}  ({one.state}, {one.age} ago)", "text", "open") for one in map(row, found[:5])]
        rest = f"{key} rejoins it" if len(found) == 1 else f"{key} shows all {len(found)} of this repository"
        self.thinking.extend([*lines, Entry(f"{rest}; a prompt starts a new session", "muted")])
        self._hint()

    def action_rejoin(self) -> None:
        if self.directory is not None:
            self.say(f"this window has a session: {split(self.keys['sessions'])[0]} shows the others", "muted")
            return
        offered = getattr(self, "_offered", [])
        if not offered:
            self.say("no session is open in this repository", "muted")
        elif len(offered) > 1:
            self.action_sessions(offered[0].repository)
        else:
            self._join(offered[0])

    def _join(self, info: SessionInfo) -> None:
        def start() -> None:
            from backspace_tui.sessions.client import ensure_running

            ensure_running(info.directory)

        self.say("joining the session ...", "accent")
        self.content_work.run(start, lambda _: self.backspace.open_session(info.directory, info.repository, info.title))

    def _hint(self) -> None:
        """What the empty prompt line says."""
        raise NotImplementedError
