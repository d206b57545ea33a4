"""``costs``: the ledger by model and by repository."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from backspace_tui import costs
from backspace_tui.core import events as ev
from backspace_tui.sessions.codec import to_json
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.ledger import LEDGER_NAME, Entry, read
from tests.crash import Script, scene, steps
from tests.models.turns import call
from tests.program import Program

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SONNET = Entry("a", 5, NOON, "/home/u/cart", "anthropic/claude-sonnet-5", 1000, 50, 800, 0.0123)
ENTRIES = (
    SONNET,
    replace(SONNET, seq=9, tokens_cached=0, usd=2.5, answered=False),
    replace(SONNET, session="b", seq=5, repository="https://example.com/x.git", time=NOON + timedelta(days=5)),
    Entry("b", 8, NOON + timedelta(days=5), "https://example.com/x.git", "openai/own", 7, 3, 0, None),
)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def keep(program: Program, *entries: Entry) -> None:
    program.data.mkdir(exist_ok=True)
    (program.data / LEDGER_NAME).write_bytes(b"".join(to_json(item) + b"\n" for item in entries))


def test_as_json(program: Program) -> None:
    keep(program, *ENTRIES, SONNET)
    done = program.run("costs", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["since"] is None
    assert found["total"] == {
        "calls": 4,
        "failed": 1,
        "tokens_in": 3007,
        "tokens_out": 153,
        "tokens_cached": 1600,
        "usd": pytest.approx(2.5246),
        "unpriced": 1,
    }
    assert [(row["model"], row["calls"], row["unpriced"]) for row in found["models"]] == [
        ("anthropic/claude-sonnet-5", 3, 0),
        ("openai/own", 1, 1),
    ]
    assert [(row["repository"], row["calls"], row["usd"]) for row in found["repositories"]] == [
        ("/home/u/cart", 2, pytest.approx(2.5123)),
        ("https://example.com/x.git", 2, pytest.approx(0.0123)),
    ]


def test_for_people(program: Program) -> None:
    keep(program, *ENTRIES)
    lines = program.run("costs").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "model calls tokens in cached tokens out dollars unpriced",
        "anthropic/claude-sonnet-5 3 (1 failed) 3,000 1,600 150 $2.52 0",
        "openai/own 1 7 0 3 $0.00 1",
        "",
        "repository calls tokens in cached tokens out dollars unpriced",
        "/home/u/cart 2 (1 failed) 2,000 800 100 $2.51 0",
        "https://example.com/x.git 2 1,007 800 53 $0.0123 1",
        "",
        "total 4 (1 failed) 3,007 1,600 153 $2.52 1",
    ]
    assert len({len(line) for line in lines if line}) == 1


def test_since_a_day_or_a_time(program: Program) -> None:
    keep(program, *ENTRIES)
    program.env["TZ"] = "UTC"
    for when, calls in (("2026-03-10", 4), ("2026-03-11", 2), ("2026-03-15T12:00+00:00", 2), ("2026-03-16", 0)):
        assert json.loads(program.run("costs", "--json", "--since", when).stdout)["total"]["calls"] == calls
    assert program.run("costs", "--since", "2027-01-01").stdout == "no model has cost anything since 2027-01-01\n"


def test_a_day_begins_at_local_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    midnight = datetime(2026, 3, 10).astimezone()
    assert costs.since("2026-03-10") == midnight
    with pytest.raises(SessionError, match="--since takes a day such as"):
        costs.since("yesterday")


def test_nothing_yet_and_wrong_usage(program: Program) -> None:
    done = program.run("costs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "no model has cost anything yet\n", "")
    wrong = program.run("costs", "--since", "soon")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("backspace-tui: --since takes a day")
    assert wrong.stderr.count("\n") == 1


def test_names_are_shown_harmlessly(program: Program) -> None:
    keep(program, replace(SONNET, repository="/r\x1b[31m\udce9\n"))
    done = program.run("costs")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert json.loads(program.run("costs", "--json").stdout)["total"]["calls"] == 1


def test_a_kill_between_log_and_ledger_costs_no_line(tmp_path: Path) -> None:
    server = Script(steps(call("write_file", path="a.txt", content="a\n")))
    with scene(tmp_path, server, "process", mode="after", only="ModelReplied") as human:
        human.until(lambda state: state.stage == "review" and state.stage_open, "the review")
        assert human.starts > 3
        replies = {event.seq: event for event in human.events() if isinstance(event, ev.ModelReplied)}
    found = read(tmp_path / LEDGER_NAME)
    assert [item.seq for item in found] == list(replies)
    assert [item.time for item in found] == [event.time for event in replies.values()]
    assert {(item.session, item.repository, item.model, item.usd) for item in found} == {
        (human.directory.name, str(human.repository), "test", 0.01)
    }
