"""``backspace-tui sessions fork``: a new session from another one's past."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backspace_tui.core.state import fold
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.fork import fork
from backspace_tui.sessions.log import read_events


def run(options: argparse.Namespace) -> int:
    """Make the fork and print its id; with ``--headless`` run it as ``resume --headless`` does."""
    source = store.find(options.session)
    if options.prompt is not None:
        _check_prompt(source, options.prompt)
    directory = fork(source, options.at, options.prompt or "")
    if not options.headless:
        print(directory.name)
        print(
            f"backspace-tui: go on with: backspace-tui attach {directory.name} (without a window: resume --headless)",
            file=sys.stderr,
        )
        return 0
    from backspace_tui import headless

    printer = headless.print_json if options.json else headless.Teller()
    if not options.json:
        print(directory.name, flush=True)
    after = fold(read_events(directory)).last_seq
    with headless.Interrupts() as interrupts:
        client.ensure_running(directory, exit_when_waiting=True)
        interrupts.attend(directory)
        state = headless.follow(directory, printer, after=after)
    return headless.outcome(directory, state)


def _check_prompt(source: Path, prompt: str) -> None:
    if not prompt.strip():
        raise SessionError("the prompt is empty; say what the fork is to do with -p", 2)
    started = fold(read_events(source)).started
    if started is not None and started.models == ("offline",):
        from backspace_tui.models.offline import GrammarError, check_prompt

        try:
            check_prompt(prompt)
        except GrammarError as problem:
            raise SessionError(str(problem), 2) from None
