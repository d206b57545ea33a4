"""Summaries: always what the log says, whatever lies in their file; and what is found and shown of sessions."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.pruning import Rule
from backspace_tui.core.state import fold
from backspace_tui.core.summary import Summary, summarize
from backspace_tui.sessions import pruning, searching, store, summaries, table
from backspace_tui.sessions.log import LOG_NAME, EventLog, read_events
from backspace_tui.sessions.store import Lock, SessionInfo
from backspace_tui.sessions.summaries import SUMMARY_NAME, disk_size, summary_of
from tests.sessions.test_store import make


def decision(hunk: str, action: ev.Action, group: int, tree: str = "a1", undoes: int = 0) -> ev.Decision:
    return ev.Decision(hunk=hunk, path="a.py", action=action, tree=tree, before="b", group=group, undoes=undoes)


BASE = ev.GitOperation(operation="base", tree="b", commit="c0")
REPLY = ev.ModelReplied(model="m", text="I will mend the Steuersätze", tokens_in=100, tokens_out=20, usd=0.25)
ASKED = ev.PrCreation(
    forge="github", branch="backspace/x", base="main", title="t", body="b", commit="c1", url="https://h/7", number=7
)


def known(directory: Path) -> Summary:
    summary = summary_of(str(directory))
    assert summary is not None
    return summary


def test_a_summary_counts_the_decisions_that_stand(tmp_path: Path) -> None:
    directory = make(
        tmp_path, "20261121-0915-aaaa", BASE, REPLY,
        decision("h1", "accept", 1), decision("h2", "accept", 2), decision("h3", "reject", 3),
        decision("h2", "unstage", 4), decision("h4", "accept", 5), decision("h4", "undo", 6, "a1", undoes=5),
        ev.Verification(tree="a1", verdict="newly fails"),
    )  # fmt: skip
    found = known(directory)
    assert (found.accepted, found.rejected, found.hunks) == (1, 1, None)
    assert (found.usd, found.tokens, found.verdict) == (0.25, 120, "newly fails")
    assert found.uncommitted
    assert found.size == disk_size(str(directory)) - os.stat(directory / SUMMARY_NAME).st_blocks * 512


def test_committed_work_is_not_uncommitted_until_the_next_decision(tmp_path: Path) -> None:
    directory = make(
        tmp_path, "20261121-0915-aaaa", BASE, decision("h1", "accept", 1),
        ev.GitOperation(operation="commit", tree="a1", commit="c1", branch="backspace/x"), ASKED,
    )  # fmt: skip
    found = known(directory)
    assert (found.uncommitted, found.request, found.request_number, found.request_stale) == (
        False, "https://h/7", 7, False,
    )  # fmt: skip
    with EventLog.open(directory) as log:
        log.append(decision("h2", "accept", 2, "a2"))
    found = known(directory)
    assert (found.uncommitted, found.request_stale, found.accepted) == (True, True, 2)


@pytest.mark.parametrize("garbage", [b"", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b'{"version": 1}', "directory"])
def test_whatever_lies_in_the_file_the_log_is_right(tmp_path: Path, garbage: bytes | str) -> None:
    directory = make(tmp_path, "20261121-0915-aaaa", ev.StageStarted(stage="review"))
    right = known(directory)
    path = directory / SUMMARY_NAME
    path.unlink()
    if isinstance(garbage, str):
        path.mkdir()
    else:
        path.write_bytes(garbage)
    assert known(directory).status == right.status == "waiting"
    assert known(directory).prompt == "Fix the tax"
    assert not list(directory.glob(".summary*"))


def test_a_right_summary_is_not_made_again_and_a_stale_one_is(tmp_path: Path) -> None:
    directory = make(tmp_path, "20261121-0915-aaaa")
    summaries.keep(directory, fold(read_events(directory)), 9)
    first = (directory / SUMMARY_NAME).stat()
    assert known(directory).hunks == 9, "what the session's process counted, no reader could"
    assert (directory / SUMMARY_NAME).stat().st_ino == first.st_ino
    assert first.st_mode & 0o777 == 0o600
    with EventLog.open(directory) as log:
        log.append(ev.SessionFinished(outcome="failed", reason="no"))
    assert known(directory).status == "failed"
    assert known(directory).hunks == 9, "the agent changed nothing since"
    with EventLog.open(directory) as log:
        log.append(ev.GitOperation(operation="snapshot", tree="w2", snapshot="w2"))
    assert known(directory).hunks is None
    # As long as before, but not what it was.
    data = (directory / LOG_NAME).read_bytes()
    (directory / LOG_NAME).write_bytes(data.replace(b"Fix the tax", b"Fix the fax"))
    assert known(directory).prompt == "Fix the fax"


def test_a_reader_that_cannot_write_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make(tmp_path, "20261121-0915-aaaa")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "replace", refused)
    assert known(directory).prompt == "Fix the tax"
    assert not (directory / SUMMARY_NAME).exists()
    assert not list(directory.glob(".summary*"))


def test_a_log_that_never_began_has_no_summary(tmp_path: Path) -> None:
    with EventLog.open(tmp_path):
        pass
    assert summary_of(str(tmp_path)) is None
    assert summarize(fold([])) is None


# Searching


def found(root: Path, text: str) -> dict[str, str]:
    return {info.id[-4:]: where for info, where in searching.search(store.list_sessions(root), text)}


def test_a_search_reads_all_that_people_read_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, "20261121-0915-aaaa", REPLY, ev.ToolOutput(call_id="c", stream="stdout", text='say "hi"\n\tthere\n'))
    make(
        tmp_path, "20261121-0915-bbbb", ev.FileEdit(path="src/tax_é.py", added=1, removed=0, tree="ffff0000"),
        ev.FileEdit(path="odd\udcff-name", added=1, removed=0, tree="t"), prompt="Rename the CART",
    )  # fmt: skip
    store.rename(tmp_path / "20261121-0915-bbbb", "Wagen")
    assert set(found(tmp_path, "steuerSÄTZE")) == {"aaaa"}
    assert set(found(tmp_path, 'SAY "hi"')) == {"aaaa"}
    assert set(found(tmp_path, "tax_É")) == {"bbbb"}
    assert set(found(tmp_path, "-NAME")) == {"bbbb"}
    assert set(found(tmp_path, "wagen")) == {"bbbb"}
    assert set(found(tmp_path, "the cart")) == {"bbbb"}
    assert set(found(tmp_path, "/SRC/shop")) == {"aaaa", "bbbb"}
    for word in ("tool_output", "ffff0000", "call_id", "nowhere", "\\"):
        assert found(tmp_path, word) == {}, word


def test_what_is_found_is_shown_without_control_characters(tmp_path: Path) -> None:
    make(tmp_path, "20261121-0915-aaaa", ev.Message(role="agent", text="x" * 100 + "\x1b]0;evil\x07 needle\nmore"))
    (where,) = found(tmp_path, "needle").values()
    assert "needle" in where
    assert where.isprintable()
    assert len(where) < 200


def test_a_search_ends_when_it_is_told(tmp_path: Path) -> None:
    for name in ("aaaa", "bbbb", "cccc"):
        make(tmp_path, f"20261121-0915-{name}")
    sessions = store.list_sessions(tmp_path)
    seen: list[SessionInfo] = []
    for info, _ in searching.search(sessions, "tax", lambda: len(seen) >= 1):
        seen.append(info)
    assert len(seen) == 1


# Rows


def at(directory: Path, now: datetime) -> table.Row:
    return table.row(store.info(directory), now.timestamp())


def test_rows_fit_every_width(tmp_path: Path) -> None:
    make(tmp_path, "20261121-0915-aaaa", BASE, REPLY, decision("h1", "accept", 1), ASKED, prompt="Füge 漢字 hinzu " * 9)
    make(tmp_path, "20261121-0915-bbbb", prompt="short")
    rows = [table.row(info) for info in store.list_sessions(tmp_path)]
    for width in (20, 40, 60, 80, 120, 200):
        columns = table.fit(rows, width)
        for cells in (table.HEADER, *rows):
            if width >= 40:
                assert table.cell_width(columns.line(cells)) <= width
    assert "repository" not in table.fit(rows, 70).widths
    assert {"cost", "hunks", "request", "repository"} <= table.fit(rows, None).widths.keys()


def test_a_row_says_what_a_session_is(tmp_path: Path) -> None:
    now = datetime(2026, 11, 21, 12, 16, tzinfo=UTC)
    directory = make(
        tmp_path, "20261121-0915-aaaa", BASE, REPLY, decision("h1", "accept", 1),
        ev.Verification(tree="a1", verdict="fails as before"), ev.StageStarted(stage="review"), ASKED,
    )  # fmt: skip
    row = at(directory, now)
    assert row[1:7] == ("waiting", "3h", "$0.25", "1", "as before", "#7")
    with Lock(directory):
        assert at(directory, now).state == f"{table.RUNS} waiting"


# Pruning


def test_pruning_removes_what_was_chosen_and_spares_what_was_taken_up(tmp_path: Path) -> None:
    for number, name in enumerate(("aaaa", "bbbb", "cccc", "dddd")):
        work = (BASE, decision("h", "accept", 1)) if name == "bbbb" else ()
        make(tmp_path, f"20261121-0915-{name}", *work, minute=number)
    (tmp_path / "20261121-0915-eeee").mkdir()
    (tmp_path / "20261121-0915-eeee" / LOG_NAME).write_bytes(b"no log\n")
    rule = Rule(keep=0)
    chosen = pruning.choose(store.list_sessions(tmp_path), rule)
    assert {item.id[-4:] for item in chosen.doomed} == {"aaaa", "cccc", "dddd"}
    assert {item.id[-4:] for item in chosen.unsaved} == {"bbbb", "eeee"}
    with EventLog.open(tmp_path / "20261121-0915-dddd") as log:
        log.extend([BASE, decision("h", "accept", 1)])
    with Lock(tmp_path / "20261121-0915-cccc"):
        gone, freed, stayed = pruning.carry_out(tmp_path, chosen, rule)
    assert (gone, len(stayed)) == (1, 2)
    assert freed > 0
    assert {path.name[-4:] for path in tmp_path.iterdir()} == {"bbbb", "cccc", "dddd", "eeee"}


def test_age_is_the_time_since_anything_happened(tmp_path: Path) -> None:
    directory = make(tmp_path, "20261121-0915-aaaa")
    info = store.info(directory)
    assert pruning.candidate(info, info.updated.timestamp() + 60).age == pytest.approx(60)
    now = info.updated.timestamp() + 60
    assert len(pruning.choose([info], Rule(older_than=59), now).doomed) == 1
    assert pruning.choose([info], Rule(older_than=61), now).doomed == ()
