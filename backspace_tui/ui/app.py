"""Opens the window. Importing this costs nothing: Textual reads its environment when it is imported."""

from __future__ import annotations

import gc
import os
import sys

from backspace_tui.ui.launch import Launch


def run(launch: Launch) -> int:
    """Open the window and wait until the user leaves it.

    Returns the exit code: 0, or 1 when the window crashed, after one line about it on standard error (with
    ``launch.debug`` the traceback too). The session's process goes on in any case.
    """
    if launch.remote:
        os.environ["TEXTUAL_FPS"] = "15"
        os.environ["TEXTUAL_ANIMATIONS"] = "none"
        os.environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
    # Nothing made until the first frame is garbage; looking for some would take a tenth of the time to it.
    gc.disable()
    from backspace_tui.ui.window import BackspaceApp

    while True:
        app = BackspaceApp(launch)
        result = app.run()
        if app.following is None or app.crash is not None:
            break
        # Another session was chosen: a window of its own, in the same terminal.
        launch = app.following
    name = app.session
    if app.crash is not None:
        if launch.debug:
            import traceback

            traceback.print_exception(app.crash)
        after = f"; the session goes on: backspace-tui attach {name}" if name else ""
        what = " ".join(f"{type(app.crash).__name__}: {app.crash}".split())
        print(f"backspace-tui: the window crashed ({what}){after}", file=sys.stderr)
        return 1
    if name and not app.launch.looks_only:
        print(f"The session goes on. Come back with: backspace-tui attach {name}")
    return result or 0
