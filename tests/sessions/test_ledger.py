"""The ledger of costs: every call once, from many processes, over crashes, torn lines and deleted sessions."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.ledger import LEDGER_NAME, Ledger, entry, read

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STARTED = ev.SessionStarted(session="one", repository="/home/u/cart", prompt="p", version="0", models=("m",))


def replied(seq: int, usd: float | None = 0.01, model: str = "m") -> ev.ModelReplied:
    return ev.ModelReplied(
        seq=seq, time=NOW, model=model, text="said", tokens_in=100, tokens_out=20, usd=usd, tokens_cached=60
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / LEDGER_NAME


@pytest.fixture
def ledger(path: Path) -> Ledger:
    return Ledger(path, STARTED)


def test_replies_and_failures_that_cost(path: Path, ledger: Ledger) -> None:
    events: list[ev.AnyEvent] = [
        ev.ModelCalled(seq=1, model="m"),
        ev.ModelFailed(seq=2, time=NOW, model="m", reason="refused"),
        ev.ModelFailed(seq=3, time=NOW, model="m", reason="cut", tokens_in=90, tokens_out=5, usd=0.002),
        ev.ModelFailed(seq=4, time=NOW, model="x", reason="cut", tokens_in=90, usd=None),
        replied(5, None),
    ]
    for event in events:
        ledger.add(event)
    found = read(path)
    assert [(item.seq, item.model, item.usd, item.answered) for item in found] == [
        (3, "m", 0.002, False),
        (4, "x", None, False),
        (5, "m", None, True),
    ]
    assert found[-1] == entry(STARTED, replied(5, None))
    assert (found[-1].tokens_in, found[-1].tokens_out, found[-1].tokens_cached) == (100, 20, 60)
    assert b"said" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_event_counts_once(path: Path, ledger: Ledger) -> None:
    for _ in range(2):
        ledger.add(replied(1))
    Ledger(path, replace(STARTED, session="two")).add(replied(1))
    assert [(item.session, item.seq) for item in read(path)] == [("one", 1), ("two", 1)]


def test_what_a_crash_left_out_is_caught_up_with(path: Path, ledger: Ledger) -> None:
    events = [replied(seq) for seq in range(1, 5)]
    ledger.add(events[0])
    ledger.add(events[2])
    ledger.catch_up(events)
    ledger.catch_up(events)
    assert sorted(item.seq for item in read(path)) == [1, 2, 3, 4]
    assert path.read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_torn_line_costs_nothing_but_itself(path: Path, ledger: Ledger, cut: int) -> None:
    events = [replied(seq) for seq in (1, 2, 3)]
    ledger.add(events[0])
    ledger.add(events[1])
    path.write_bytes(path.read_bytes()[:-cut])
    left = [item.seq for item in read(path)]
    assert left in ([1], [1, 2])  # without its line feed alone a line is whole
    ledger.add(events[2])
    assert [item.seq for item in read(path)] == [*left, 3]
    ledger.catch_up(events)
    assert sorted(item.seq for item in read(path)) == [1, 2, 3]


def test_lines_of_somebody_else_are_left_out(path: Path, ledger: Ledger) -> None:
    other = b'{"a": 1}\n\xff\xfe\nnull\n[]\n{"session": "s", "seq": 1, "time": "2026-01-01", "model": "m"}\n\n'
    path.write_bytes(other)
    ledger.add(replied(1))
    assert [item.seq for item in read(path)] == [1]
    assert path.read_bytes().startswith(other)


def test_a_path_that_is_not_utf_8(path: Path) -> None:
    odd = replace(STARTED, repository="/home/u/caf\udce9")
    Ledger(path, odd).add(replied(1))
    assert [item.repository for item in read(path)] == ["/home/u/caf\udce9"]


def _many(path: Path, session: str, count: int) -> None:
    ledger = Ledger(path, replace(STARTED, session=session))
    for seq in range(1, count + 1):
        ledger.add(replied(seq))


def test_many_processes_write_at_once(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_many, args=(path, f"s{number}", 60)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(read(path)) == path.read_bytes().count(b"\n") == 240


def test_a_full_disk_ends_nothing_and_leaves_whole_lines(
    path: Path, ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    ledger.add(replied(1))
    whole = path.read_bytes()
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 50, before[1]))
    try:
        ledger.add(replied(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == whole
    assert "could not be written" in capfd.readouterr().err
    ledger.catch_up([replied(1), replied(2)])
    assert [item.seq for item in read(path)] == [1, 2]


def test_a_ledger_that_is_a_link_is_not_followed(
    path: Path, ledger: Ledger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_text("x")
    path.symlink_to(tmp_path / "precious")
    ledger.add(replied(1))
    assert (tmp_path / "precious").read_text() == "x"
    assert "could not be written" in capfd.readouterr().err


def test_none_yet_and_one_that_cannot_be_read(path: Path) -> None:
    assert read(path) == []
    path.mkdir()
    with pytest.raises(SessionError, match=os.fspath(path)):
        read(path)
