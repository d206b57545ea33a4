"""Logs that a crash, a power failure or a disk spoilt: what stands before the damage is all there, and work goes on."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ToolCall
from backspace_tui.core.spending import COUNTED, Limits, Spent, extended
from backspace_tui.core.state import fold
from backspace_tui.sessions import store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import LOG_NAME, EventLog, LogTail, read_events
from backspace_tui.sessions.timeline import Timeline

STORY: tuple[ev.AnyEvent, ...] = (
    ev.SessionStarted(session="s", repository="/r", prompt="Mend the tötal 🧾", version="0", models=("test",)),
    ev.StageStarted(stage="implement", attempt=1),
    ev.ModelCalled(model="test"),
    ev.ModelReplied(model="test", text="ok", tool_calls=(ToolCall("1", "write_file", {"path": "ä\udcff.txt"}),)),
    ev.ToolStarted(call_id="1", tool="write_file", arguments={"path": "ä\udcff.txt"}),
    ev.FileEdit(path="ä\udcff.txt", added=1, removed=0, tree="1" * 40),
    ev.ToolFinished(call_id="1", tool="write_file", ok=True, text="written", tree="1" * 40, snapshot="1" * 40),
    ev.Decision(hunk="1", path="ä\udcff.txt", action="accept", tree="1" * 40, before="2" * 40, group=1),
    ev.SessionFinished(outcome="waiting", reason="waiting for your review ✓", exit_code=4),
)


def written(directory: Path) -> bytes:
    directory.mkdir(parents=True, exist_ok=True)
    with EventLog.open(directory) as log:
        log.append(STORY[0])
        log.extend(STORY[1:5])
        for event in STORY[5:-1]:
            log.append(event)
        log.append(STORY[-1])
    return (directory / LOG_NAME).read_bytes()


def starts(data: bytes) -> list[int]:
    """Where each line begins."""
    return [0, *(at + 1 for at, byte in enumerate(data[:-1]) if byte == 0x0A)]


def check_goes_on(directory: Path, expected: int) -> None:
    """Every reader sees the first ``expected`` events, the writer goes on behind them, and a tail follows all that."""
    tail = LogTail(directory)
    seen = list(tail.read())
    assert [event.seq for event in seen] == list(range(1, expected + 1))
    assert read_events(directory) == seen
    if expected:
        shown, state = store.info(directory), fold(seen)
        assert (shown.title, shown.updated) == ("Mend the tötal 🧾", state.last_time)
        assert shown.status == ("interrupted" if state.status == "running" else state.status)
    with EventLog.open(directory) as log:
        assert log.events == seen
        more = log.append(ev.Message(role="program", text="more"))
    assert more.seq == expected + 1
    assert [*seen, *tail.read()] == [*seen, more] == read_events(directory)


def test_a_last_line_torn_at_every_length(tmp_path: Path) -> None:
    data = written(tmp_path / "whole")
    lines = starts(data)
    directory = tmp_path / "torn"
    directory.mkdir()
    for size in range(lines[-3], len(data)):
        (directory / LOG_NAME).write_bytes(data[:size])
        check_goes_on(directory, max(n for n, at in enumerate(lines) if at <= size) - 1)


def test_a_group_torn_at_every_length_counts_only_as_a_whole(tmp_path: Path) -> None:
    data = written(tmp_path / "whole")
    lines = starts(data)
    directory = tmp_path / "torn"
    directory.mkdir()
    for size in range(lines[1], lines[6]):
        (directory / LOG_NAME).write_bytes(data[:size])
        check_goes_on(directory, 1 if size >= lines[2] else 0)


GARBAGE = {
    "binary": b"\x80\xff\x00\x01{{{\n",
    "binary without end": b"\x80\xff\x00\x01{{{",
    "zeros": bytes(4096),
    "zeros and an end": bytes(512) + b"\n",
    "half a character": '{"type":"message","text":"ü'.encode()[:-1],
    "half a character in a whole line": '{"type":"message","seq":10,"text":"ü'.encode()[:-1] + b'"}\n',
    "no event": b'{"hello": "world"}\n',
    "no object": b'[1, 2, 3]\n7\nnull\n"seq"\n',
    "an event without a number": b'{"type":"message","role":"user","text":"x"}\n',
    "a number out of range": b'{"type":"message","seq":1e400}\n',
    "deep": b"[" * 100_000 + b"\n",
    "many bad lines": b"?\n" * 1000,
    "empty lines": b"\n\n\n",
    "long": b"x" * (8 << 20),
    "the beginning of a group": b'{"type":"message","seq":10,"role":"user","text":"x"} \n',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_place_of_a_last_line(tmp_path: Path, name: str) -> None:
    data = written(tmp_path / "s")
    for torn in (data, data[: starts(data)[-1]]):
        (tmp_path / "s" / LOG_NAME).write_bytes(torn + GARBAGE[name])
        check_goes_on(tmp_path / "s", len(STORY) - (torn is not data))


@given(garbage=st.binary(max_size=200).filter(lambda data: b'"type"' not in data))
@settings(max_examples=150, deadline=None)
def test_any_bytes_in_place_of_a_last_line(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    directory = tmp_path_factory.mktemp("s")
    data = written(directory)
    (directory / LOG_NAME).write_bytes(data + garbage)
    check_goes_on(directory, len(STORY))


@pytest.mark.parametrize("name", ["binary", "zeros and an end", "no event", "deep", "empty lines"])
def test_garbage_in_the_middle_is_named_with_a_way_out(tmp_path: Path, name: str) -> None:
    data = written(tmp_path / "s")
    at = starts(data)[7]
    damaged = data[:at] + GARBAGE[name] + data[at:]
    path = tmp_path / "s" / LOG_NAME
    path.write_bytes(damaged)
    for use in (read_events, EventLog.open, lambda directory: LogTail(directory).read()):
        with pytest.raises(SessionError, match="damaged at line 8") as caught:
            use(tmp_path / "s")
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == damaged
    # The way out that it names.
    subprocess.run(["sh", "-c", str(caught.value).rpartition(": ")[2]], check=True)
    check_goes_on(tmp_path / "s", 6)


def test_a_reader_that_follows_names_the_line_of_the_file(tmp_path: Path) -> None:
    data = written(tmp_path / "s")
    at, path = starts(data)[7], tmp_path / "s" / LOG_NAME
    path.write_bytes(data[:at])
    tail = LogTail(tmp_path / "s")
    assert len(tail.read()) == 6
    path.write_bytes(data[:at] + b"?\n" + data[at:])
    with pytest.raises(SessionError, match="damaged at line 8"):
        tail.read()


def test_a_clock_that_jumps_back_changes_no_order(tmp_path: Path) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    times = iter(now - timedelta(hours=n) for n in range(100))
    with EventLog.open(tmp_path, clock=lambda: next(times)) as log:
        for event in STORY:
            log.append(event)
    with EventLog.open(tmp_path, clock=lambda: next(times)) as log:
        log.append(STORY[-1])
    events = read_events(tmp_path)
    assert [event.seq for event in events] == list(range(1, len(STORY) + 2))
    assert [event.time for event in events] == sorted((event.time for event in events), reverse=True)
    assert [type(event) for event in events[: len(STORY)]] == [type(event) for event in STORY]
    line = Timeline(events, interval=3)
    assert [line.state_at(index).last_seq for index in range(-1, len(events))] == list(range(len(events) + 1))


CLOCK = st.lists(
    st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)).map(lambda time: time.replace(tzinfo=UTC)),
    min_size=1,
    max_size=40,
)
KINDS = st.sampled_from([
    ev.StageStarted(stage="implement"), ev.ModelCalled(model="m"), ev.ModelFailed(model="m", reason="x"),
    ev.ModelReplied(model="m", text="", tokens_in=1), ev.ToolStarted(call_id="1", tool="t"),
    ev.ToolFinished(call_id="1", tool="t", ok=True, text=""), ev.Paused(reason="budget: minutes", limit="minutes"),
    ev.Resumed(), ev.StageFinished(outcome="ok"), ev.SessionFinished(outcome="done"), ev.Question(question="?"),
])  # fmt: skip


@given(clock=CLOCK, events=st.lists(KINDS, max_size=40), now=CLOCK)
@settings(max_examples=200, deadline=None)
def test_no_clock_makes_time_run_backwards(
    clock: list[datetime], events: list[ev.AnyEvent], now: list[datetime]
) -> None:
    spent, latest = Spent(), 0.0
    state = fold(())
    for number, event in enumerate(events, 1):
        assert type(event) in COUNTED
        state = fold([replace(event, seq=number, time=clock[number % len(clock)])], state)
        assert state.spent.seconds >= latest >= 0
        latest, spent = state.spent.seconds, state.spent
        assert all(spent.minutes(moment) >= spent.seconds / 60 for moment in now)
        limit = extended(Limits(minutes=30), spent).minutes
        assert limit is not None
        assert limit >= 30
