"""A session as a recording that asciinema plays (version 2): its lines as they came, with pauses cut short."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.core.terminal_text import clean

WIDTH: Final = 120
HEIGHT: Final = 40
MAX_PAUSE: Final = 2.0
"""Seconds without a word after which the recording goes on."""


def cast(
    name: str, events: Sequence[ev.AnyEvent], tell: Callable[[ev.AnyEvent], str], redactor: Redactor
) -> Iterator[str]:
    """The lines of the file, each with its line feed; ``tell`` gives an event's lines, and sees all in order."""
    begin = events[0].time
    header = {
        "version": 2,
        "width": WIDTH,
        "height": HEIGHT,
        "timestamp": int(begin.timestamp()),
        "idle_time_limit": MAX_PAUSE,
        "title": redactor.redact(clean(f"backspace-tui {name}")),
    }
    yield json.dumps(header) + "\n"
    at, last = 0.0, begin
    for event in events:
        said = tell(event)
        if isinstance(event, ev.ToolOutput):
            said = event.text.rstrip("\n")
        elif isinstance(event, ev.ModelReplied) and event.text.strip():
            said = "\n".join(f"agent      {line}" for line in event.text.strip().splitlines())
        if not said:
            continue
        # A clock that was set back does not bring the past again.
        at += min(max((event.time - last).total_seconds(), 0.0), MAX_PAUSE)
        last = event.time
        shown = redactor.redact(clean(said)).replace("\n", "\r\n") + "\r\n"
        yield json.dumps([round(at, 6), "o", shown]) + "\n"
