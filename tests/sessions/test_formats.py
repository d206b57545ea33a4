"""Logs of every released format are read, folded, reviewed and stepped through as they always were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, apply, fold
from backspace_tui.sessions.log import LOG_NAME, EventLog, parse, read_events
from backspace_tui.sessions.timeline import Timeline
from tests.sessions.formats.stored import EXPECTED, FORMATS, PACK, SESSIONS, summary, unpack

HELP = (
    "this change reads a stored session ({}) in another way than the release that wrote it. Users have such sessions:"
    " make the change read them as before (see 'Formats of the log' in CONTRIBUTING.md); never record one again"
)
names = pytest.mark.parametrize("stored", SESSIONS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")


@names
def test_a_stored_session_reads_as_it_was_written(stored: Path, tmp_path: Path) -> None:
    found = json.loads(json.dumps(summary(unpack(stored, tmp_path / "session"))))
    expected: dict[str, Any] = json.loads((stored / EXPECTED).read_text("utf-8"))
    # What a later version knows besides does not count.
    found["end"] = {name: value for name, value in found["end"].items() if name in expected["end"]}
    for part, value in expected.items():
        assert found[part] == value, HELP.format(f"{stored.parent.name}/{stored.name}: {part}")


@names
def test_its_timeline_is_the_fold_at_every_point(stored: Path) -> None:
    events = read_events(stored)
    timeline = Timeline(events, 16)
    state = SessionState()
    for index, event in enumerate(events):
        state = apply(state, event)
        assert timeline.state_at(index) == state


@names
def test_it_can_be_gone_on_with(stored: Path, tmp_path: Path) -> None:
    data = (stored / LOG_NAME).read_bytes()
    (tmp_path / LOG_NAME).write_bytes(data)
    with EventLog.open(tmp_path) as log:
        added = log.append(ev.Message(role="user", text="go on", kind="prompt"))
    after = read_events(tmp_path)
    assert (tmp_path / LOG_NAME).read_bytes().startswith(data)
    assert (after[:-1], after[-1]) == (read_events(stored), added)
    assert added.seq == after[-2].seq + 1


@names
def test_what_a_newer_minor_version_adds_is_kept_and_skipped(stored: Path, tmp_path: Path) -> None:
    """A field more in every line, and a type of event more between any two: the state is the same."""
    header, *lines = (stored / LOG_NAME).read_bytes().splitlines()
    mixed = [header]
    for line in lines:
        event = json.loads(line)
        unknown = {"type": "from_the_future", "seq": event["seq"], "time": event["time"], "deep": {"er": [1, None]}}
        mixed += [json.dumps({**event, "newer": {"a": [1]}}).encode(), json.dumps(unknown).encode()]
    events, length = parse(b"\n".join(mixed) + b"\n")
    assert length == sum(map(len, mixed)) + len(mixed)
    known = [event for event in events if not isinstance(event, ev.Unknown)]
    assert known == read_events(stored)
    assert {event.raw["type"] for event in events if isinstance(event, ev.Unknown)} == {"from_the_future"}
    assert fold(events) == fold(known)


def test_the_format_of_this_version_is_stored_with_every_type_of_event() -> None:
    current = [folder for folder in SESSIONS if folder.parent.name == str(ev.SCHEMA_VERSION)]
    found = {type(event) for folder in current for event in read_events(folder)}
    missing = sorted(kind.__name__ for kind in set(ev.AnyEvent.__args__) - found - {ev.Unknown})
    assert not missing, (
        f"no session of tests/sessions/formats/{ev.SCHEMA_VERSION} has the events {', '.join(missing)}: let record.py"
        " make them happen, and store another session of that format"
    )


def test_nothing_stored_is_large_or_tells_of_a_machine() -> None:
    assert SESSIONS
    assert sum((folder / PACK).stat().st_size for folder in SESSIONS) < 100_000
    for folder in SESSIONS:
        text = (folder / LOG_NAME).read_bytes()
        for place in (b"/tmp/", b"/var/tmp", b"/root", str(FORMATS).encode()):
            assert place not in text, f"{folder}: {place!r}"
