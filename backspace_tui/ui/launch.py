"""What the command line hands to the window: light to import, so that wiring costs nothing."""

from __future__ import annotations

import msgspec

from backspace_tui.core.events import SessionStarted


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to open the window.

    ``repository`` is the path or URL as given and ``title`` what to call it. ``template`` is the first event of a new
    session, which the first prompt completes; ``initial_prompt`` is sent as soon as the window stands. ``session`` is
    the directory of an existing session to attach to, or with ``replay`` to step through: from its event ``at`` (a
    ``seq``; 0: its end), playing at ``speed`` (0: not at once), without ``at`` from its beginning; with ``read_only``
    it is followed and nothing is asked of it. ``keys`` overrides keys by their ids, ``theme`` names a theme (empty:
    ours), ``theme_directory`` holds the user's own. ``notice`` is one line to show at first. ``remote`` sends fewer
    frames, for slow lines.
    """

    repository: str
    title: str
    template: SessionStarted | None = None
    session: str = ""
    replay: bool = False
    read_only: bool = False
    at: int = 0
    speed: float = 0.0
    initial_prompt: str = ""
    keys: dict[str, str] = {}
    theme: str = ""
    theme_directory: str = ""
    notice: str = ""
    remote: bool = False
    debug: bool = False

    @property
    def looks_only(self) -> bool:
        """Whether the window asks nothing of the session."""
        return self.replay or self.read_only
