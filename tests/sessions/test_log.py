from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ToolCall
from backspace_tui.sessions.log import (
    FORMAT,
    LOG_NAME,
    EventLog,
    LogTail,
    SessionError,
    decode,
    encode,
    parse,
    read_events,
)

NOW = datetime(2026, 11, 21, 9, 15, tzinfo=UTC)

# What file names, outputs and arguments can hold: any text, and paths as os.fsdecode makes them.
paths = st.binary(max_size=20).map(os.fsdecode)
text = st.one_of(st.text(max_size=30), paths)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)
arguments = st.dictionaries(text, plain, max_size=3)
events: st.SearchStrategy[ev.AnyEvent] = st.one_of(
    st.builds(ev.FileEdit, path=text, added=st.integers(0), removed=st.integers(0), tree=text, by=text),
    st.builds(ev.ToolStarted, call_id=text, tool=text, arguments=arguments, title=text),
    st.builds(ev.AgentThinking, text=text, kind=st.sampled_from(["text", "thinking"])),
    st.builds(
        ev.ModelReplied,
        model=text,
        text=text,
        tool_calls=st.lists(st.builds(ToolCall, id=text, name=text, arguments=arguments), max_size=2).map(tuple),
        usd=st.one_of(st.none(), st.floats(0, 10)),
    ),
    st.builds(
        ev.Decision,
        hunk=text,
        path=paths,
        action=st.just("accept"),
        tree=text,
        before=text,
        lines=st.lists(text, max_size=3).map(tuple),
    ),
)
stamped = st.builds(
    lambda event, seq, time: replace(event, seq=seq, time=time),
    events,
    st.integers(1, 2**53),
    st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),
)


@settings(max_examples=300)
@given(stamped)
def test_every_event_survives_the_round_trip(event: ev.AnyEvent) -> None:
    line = encode(event)
    assert b"\n" not in line
    line.decode("utf-8")
    assert decode(line) == event


def test_paths_that_are_not_utf8_are_written_with_json_escapes() -> None:
    line = encode(ev.FileEdit(path=os.fsdecode(b"caf\xe9"), added=1, removed=0, tree="t"))
    assert b"\\udce9" in line
    event = decode(line)
    assert isinstance(event, ev.FileEdit)
    assert os.fsencode(event.path) == b"caf\xe9"


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "hologram", "seq": 7, "time": "2026-11-21T09:15:00Z", "stage": "review", "depth": [1, {"x": None}]},
        {"type": "hologram", "seq": 7, "path": "caf\udce9"},
        {"type": "stage_started", "seq": 7, "stage": "celebrate", "attempt": 2},
        {"type": "file_edit", "seq": 7, "path": 5},
        {"type": "unknown", "seq": 7, "raw": {"type": "stage_started"}},
    ],
)
def test_what_a_newer_version_wrote_is_kept_as_it_was(raw: dict[str, Any]) -> None:
    line = json.dumps(raw).encode()
    event = decode(line)
    assert isinstance(event, ev.Unknown)
    assert event.seq == 7
    assert json.loads(encode(event)) == raw
    assert decode(encode(event)) == event


def test_unknown_fields_are_ignored() -> None:
    line = b'{"type":"stage_started","seq":3,"time":"2026-11-21T09:15:00Z","stage":"plan","mood":"good"}'
    assert decode(line) == ev.StageStarted(seq=3, time=NOW, stage="plan")


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"7", b"\0\0", b'{"type":"x"}', b'{"seq":1}', b"[" * 9000, b"\xff"]
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(line)


def write(directory: Path, *items: ev.AnyEvent) -> bytes:
    with EventLog.open(directory, lambda: NOW) as log:
        for item in items:
            log.append(item)
    return (directory / LOG_NAME).read_bytes()


def test_the_writer_numbers_and_stamps(tmp_path: Path) -> None:
    with EventLog.open(tmp_path, lambda: NOW) as log:
        first = log.append(ev.StageStarted(stage="plan"))
        rest = log.extend([ev.Paused(), ev.Unknown(raw={"type": "x"})])
        assert [event.seq for event in (first, *rest)] == [1, 2, 3]
        assert first.time == NOW
        assert log.events == [first, *rest]
    lines = (tmp_path / LOG_NAME).read_bytes().splitlines()
    assert json.loads(lines[0]) == FORMAT
    assert read_events(tmp_path) == [first, *rest]
    assert (tmp_path / LOG_NAME).stat().st_mode & 0o777 == 0o600
    with EventLog.open(tmp_path, lambda: NOW) as log:
        assert log.append(ev.Resumed()).seq == 4


def test_a_log_torn_at_any_byte_loses_only_the_torn_line(tmp_path: Path) -> None:
    whole = write(
        tmp_path,
        ev.StageStarted(),
        ev.FileEdit(path=os.fsdecode(b"caf\xe9"), added=1, removed=0, tree="t"),
        ev.Message(role="user", text="gr\u00fc\u00dfe"),
    )
    path = tmp_path / LOG_NAME
    everything = read_events(tmp_path)
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole)):
        for junk in (b"", b"\0" * 5, b"\0" * 5 + b"\n"):
            path.write_bytes(whole[:cut] + junk)
            complete = max((end for end in ends if end <= cut), default=0)
            expected = everything[: max(ends.index(complete), 0)] if complete else []
            assert read_events(tmp_path) == expected
            assert list(LogTail(tmp_path).read()) == expected
            with EventLog.open(tmp_path, lambda: NOW) as log:
                assert log.events == expected
                added = log.append(ev.Resumed())
                assert added.seq == len(expected) + 1
            assert read_events(tmp_path) == [*expected, added]
            assert path.read_bytes().startswith(whole[: max(complete, ends[0])])


def test_events_written_together_count_only_together(tmp_path: Path) -> None:
    with EventLog.open(tmp_path) as log:
        log.append(ev.Paused())
        alone = log.path.stat().st_size
        log.extend([ev.Message(role="user", text="one"), ev.Message(role="user", text="two"), ev.Resumed()])
    whole = log.path.read_bytes()
    assert [json.loads(line)["seq"] for line in whole.splitlines()[1:]] == [1, 2, 3, 4]
    assert [event.seq for event in read_events(tmp_path)] == [1, 2, 3, 4]
    for cut in range(alone, len(whole)):
        log.path.write_bytes(whole[:cut])
        tail = LogTail(tmp_path)
        assert [event.seq for event in tail.read()] == [1]
        with log.path.open("ab") as file:
            file.write(whole[cut:])
        assert [event.seq for event in tail.read()] == [2, 3, 4]
        log.path.write_bytes(whole[:cut])
        with EventLog.open(tmp_path) as repaired:
            assert repaired.last_seq == 1
        assert log.path.stat().st_size == alone


def test_damage_in_the_middle_is_named_and_not_cut_away(tmp_path: Path) -> None:
    whole = write(tmp_path, ev.StageStarted(), ev.Paused(), ev.Resumed())
    lines = whole.splitlines(keepends=True)
    lines[2] = b"\0" * 20 + b"\n"
    damaged = b"".join(lines)
    (tmp_path / LOG_NAME).write_bytes(damaged)
    for action in (read_events, EventLog.open, lambda d: LogTail(d).read()):
        with pytest.raises(SessionError, match="damaged at line 3"):
            action(tmp_path)
    assert (tmp_path / LOG_NAME).read_bytes() == damaged


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(b'{"format":"backspace-tui-session","version":2}\n')
    for action in (read_events, EventLog.open):
        with pytest.raises(SessionError, match="newer backspace-tui"):
            action(tmp_path)


def test_another_file_is_not_taken_for_a_log(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(b"precious\nnotes\n")
    with pytest.raises(SessionError, match="not the log of a session"):
        EventLog.open(tmp_path)
    assert (tmp_path / LOG_NAME).read_bytes() == b"precious\nnotes\n"


def test_reading_where_there_is_no_session(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="holds no session") as caught:
        read_events(tmp_path)
    assert caught.value.exit_code == 2
    assert list(LogTail(tmp_path).read()) == []


def test_a_full_disk_takes_back_the_partial_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog.open(tmp_path, lambda: NOW)
    log.append(ev.StageStarted())
    before = (tmp_path / LOG_NAME).read_bytes()
    real = os.write
    state = {"calls": 0}

    def full(descriptor: int, data: bytes) -> int:
        state["calls"] += 1
        if state["calls"] > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, bytes(data)[:7])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SessionError, match="no space left"):
        log.append(ev.Paused())
    monkeypatch.undo()
    assert (tmp_path / LOG_NAME).read_bytes() == before
    assert log.append(ev.Resumed()).seq == 2
    log.close()
    assert [event.seq for event in read_events(tmp_path)] == [1, 2]


def test_a_partial_line_that_cannot_be_cut_at_once_is_cut_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog.open(tmp_path, lambda: NOW)
    real = os.write

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def partial(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", broken)
        return real(descriptor, bytes(data)[:7])

    monkeypatch.setattr(os, "write", partial)
    monkeypatch.setattr(os, "ftruncate", broken)
    with pytest.raises(SessionError):
        log.append(ev.Paused())
    monkeypatch.undo()
    assert (tmp_path / LOG_NAME).read_bytes().endswith(b'{"type"')
    added = log.append(ev.Resumed())
    log.close()
    assert read_events(tmp_path) == [added]


def test_a_real_file_size_limit_leaves_a_valid_log(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from backspace_tui.core import events as ev\n"
        "from backspace_tui.sessions.log import EventLog, SessionError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "log = EventLog.open(Path(sys.argv[1]))\n"
        "try:\n"
        "    while True: log.append(ev.Message(role='agent', text='x' * 300))\n"
        "except SessionError as error: print(len(log.events))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, check=True, text=True)
    assert int(done.stdout) == len(read_events(tmp_path)) > 3
    assert (tmp_path / LOG_NAME).read_bytes().endswith(b"}\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3000


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    with EventLog.open(tmp_path) as log:
        threads = [
            threading.Thread(target=lambda: [log.append(ev.AgentThinking(text="x")) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [event.seq for event in log.events] == list(range(1, 201))
    assert [event.seq for event in read_events(tmp_path)] == list(range(1, 201))


def test_writing_to_a_closed_log_says_so(tmp_path: Path) -> None:
    log = EventLog.open(tmp_path)
    log.close()
    log.close()
    with pytest.raises(SessionError, match="closed"):
        log.append(ev.Paused())


@given(cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_a_tail_yields_each_event_once_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("tail")
    whole = write(directory, *(ev.Message(role="user", text="m" * n) for n in range(8)))
    expected = read_events(directory)
    path = directory / LOG_NAME
    path.unlink()
    tail = LogTail(directory)
    seen = list(tail.read())
    for cut in sorted({min(cut, len(whole)) for cut in cuts} | {len(whole)}):
        path.write_bytes(whole[:cut])
        seen.extend(tail.read())
        assert list(tail.read()) == []
    assert seen == expected


def test_a_tail_goes_on_after_a_repair(tmp_path: Path) -> None:
    write(tmp_path, ev.StageStarted())
    tail = LogTail(tmp_path)
    assert len(tail.read()) == 1
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(b'{"type":"message","ro')
    assert list(tail.read()) == []
    with EventLog.open(tmp_path, lambda: NOW) as log:
        assert list(tail.read()) == []
        written = [log.append(ev.Paused()), log.append(ev.Resumed())]
    assert list(tail.read()) == written


def test_a_tail_survives_a_repair_to_the_same_length(tmp_path: Path) -> None:
    write(tmp_path, ev.StageStarted())
    tail = LogTail(tmp_path)
    tail.read()
    good = (tmp_path / LOG_NAME).read_bytes()
    line = encode(ev.Paused(seq=2, time=NOW)) + b"\n"
    (tmp_path / LOG_NAME).write_bytes(good + b"x" * len(line))
    assert list(tail.read()) == []
    (tmp_path / LOG_NAME).write_bytes(good + line)
    os.utime(tmp_path / LOG_NAME, (1e9, 1e9))
    assert [event.seq for event in tail.read()] == [2]


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b" ",
        b"{",
        b"7",
        b'{"type":"from the future","seq":3}',
        b'{"type":"unknown","seq":3,"raw":{"type":"x"}}',
        b'{"type":"resumed","seq":3}{"type":"resumed","seq":4}',
        b'{"type":"file_edit","seq":3,"path":"\\udc80","added":0,"removed":0,"tree":""}',
        b'{"type":"message","seq":3,"role":"user","text":"\xff"}',
        b'{"type":"paused","seq":3} ',
    ],
)
@pytest.mark.parametrize("after", [b"", b"\n", b'\n{"type":"resumed","seq":9}\n'])
def test_one_odd_line_changes_nothing_for_the_others(odd: bytes, after: bytes) -> None:
    """Logs of plain lines are read at once; wherever a line is not plain, the result is that of line by line."""
    plain = b'{"format":"backspace-tui-session","version":1}\n{"type":"paused","seq":1}\n{"type":"resumed","seq":2}\n'
    data = plain + odd + after
    events: list[ev.AnyEvent] = [ev.Paused(seq=1), ev.Resumed(seq=2)]
    length = len(plain)
    try:
        third = [decode(odd)] if after else []
    except ValueError:
        if after.count(b"\n") > 1:
            with pytest.raises(SessionError, match="damaged at line 4"):
                parse(data)
            return
    else:
        torn = odd.endswith(b" ") and after == b"\n"
        if after and not torn:
            events += third
            length = len(data)
        if after.count(b"\n") > 1:
            events.append(ev.Resumed(seq=9))
    assert parse(data) == (events, length)
