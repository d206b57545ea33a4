"""The recording: valid, in order, at the session's own pace."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.headless import Teller
from backspace_tui.sessions.export.cast import MAX_PAUSE, cast
from tests.sessions.export.conftest import SECRET
from tests.ui.sample import Sample


def test_every_line_is_valid_and_time_goes_on(sample: Sample, redactor: Redactor) -> None:
    events = sample.log.events
    said = ev.Message(role="user", text=f"it is {SECRET}\x1b]0;evil\x07", time=events[-1].time + timedelta(hours=5))
    back = msgspec.structs.replace(said, time=events[0].time, text="earlier")
    lines = list(cast("x", [*events, said, back], Teller().see, redactor))
    header = json.loads(lines[0])
    assert header["version"] == 2
    assert header["width"] > 0
    assert header["timestamp"] == int(events[0].time.timestamp())
    rows = [json.loads(line) for line in lines[1:]]
    assert all(len(row) == 3 and row[1] == "o" and row[2].endswith("\r\n") for row in rows)
    times = [row[0] for row in rows]
    assert times == sorted(times)
    assert times[-1] - times[-3] <= 2 * MAX_PAUSE
    text = "".join(row[2] for row in rows)
    assert "2 passed in 0.31s" in text
    assert "tool       run pytest -q" in text
    assert SECRET not in text
    assert "\x1b" not in text
    assert text.count("\n") == text.count("\r\n")
