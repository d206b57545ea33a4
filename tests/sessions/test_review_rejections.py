"""Rejected hunks and lines: while they wait, when they are out of the agent's files, and when they come again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.review.scene import lines
from tests.sessions.one_file import Make, at, maker, name
from tests.sessions.test_review import text


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with maker(tmp_path) as made:
        yield made


def test_a_rejected_hunk_stays_listed_when_it_is_taken_out(make: Make) -> None:
    session = make(b"x\n", "caf\u00e9\n".encode())
    identity = session.only()
    session.decide("reject", identity, comment="no")
    assert not session.items()[0].gone
    session.boundary()
    (item,) = session.items()
    assert (item.state, item.gone, item.hunk.id, item.comment) == ("rejected", True, identity, "no")
    assert item.hunk.lines == (("-", b"x"), ("+", "caf\u00e9".encode()))
    assert (item.hunk.old_start, item.hunk.new_start) == (0, 0)
    assert (session.review.pending, session.review.decided) == (0, 1)
    assert session.file("a").change.old == session.file("a").change.new
    session.agent({"a": "caf\u00e9\n".encode()})
    (item,) = session.items()
    assert (item.state, item.changed, item.gone) == ("changed", "rejected", False), "the agent did it again"
    session.decide("accept", item.hunk.id)
    assert session.states() == ["accepted"]


def test_undo_brings_a_rejection_back_to_be_decided(make: Make) -> None:
    work = text(l3="three", l20="twenty")
    session = make(text(), work)
    session.decide("reject", name(session, "+three"))
    session.boundary()
    session.undo()
    session.boundary()
    assert (session.states(), session.work("a")) == (["pending", "pending"], work)


def test_lines_that_wait_to_be_rejected(make: Make) -> None:
    session = make(text(), text(l3="three\nthree more", l6="six"))
    identity = session.only()
    session.decide("reject", session.unit("+three more"), comment="too much")
    (item,) = session.items()
    assert (item.state, item.rejected, item.comment) == ("pending", frozenset({6}), "too much")
    assert item.open
    assert item.hunk.id == identity
    # The hunk's name means the rest now.
    session.decide("accept", identity)
    assert session.accepted("a") == text(l3="three", l6="six")
    (rest,) = (item for item in session.items() if item.state == "rejected")
    assert [line for sign, line in rest.hunk.lines if sign != " "] == [b"three more"]
    session.boundary()
    assert session.work("a") == session.accepted("a") == text(l3="three", l6="six")
    (gone,) = (item for item in session.items() if item.gone)
    assert (gone.hunk.id, gone.hunk.lines) == (identity, (("+", b"three more"),))


def test_a_hunk_is_rejected_when_all_its_lines_are(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.decide("reject", session.unit("+three"))
    assert session.states() == ["pending"]
    session.decide("reject", session.only() + ":4")
    assert session.states() == ["rejected"]
    session.boundary()
    assert session.work("a") == text()
    (gone,) = session.items()
    assert gone.hunk.lines == (("+", b"three"), ("-", b"line 3"))


def test_accepting_rejected_lines_takes_that_back_for_them(make: Make) -> None:
    session = make(text(), text(l3="three\nthree more\nand more"))
    identity = session.only()
    session.decide("reject", identity + ":5-7", comment="no")
    session.decide("accept", identity + ":6")
    (item,) = session.open()
    assert session.accepted("a") == text(l3="line 3\nthree more")
    waiting = {line for position, (_, line) in enumerate(item.hunk.lines, 1) if position in item.rejected}
    assert (waiting, item.comment) == ({b"three", b"and more"}, "no")
    session.undo()
    (item,) = session.items()
    assert item.rejected == {5, 6, 7}


def test_a_rejection_stays_with_its_lines(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    session.decide("reject", name(session, "+three"))
    session.agent({"a": b"above\n" + text(l3="three", l20="TWENTY")})
    session.boundary()
    assert session.work("a") == b"above\n" + text(l20="TWENTY")


def test_a_rejected_hunk_that_the_agent_changed_first_is_to_be_looked_at(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.decide("reject", session.only(), comment="no")
    session.agent({"a": text(l3="tri")})
    item = at(session, "+tri")
    assert (item.state, item.changed, item.rejected) == ("changed", "seen", frozenset())
    session.boundary()
    assert session.work("a") == text(l3="tri")
    assert all(not item.gone for item in session.items())
    item = at(session, "+tri")
    assert (item.changed, item.sweeping) == ("seen", False), "nobody has looked at it"
    session.agent({"a": text(l3="three")})
    assert at(session, "+three").changed == "rejected", "the agent did it after all"
    session.agent({"a": text(l3="tri")})
    session.decide("review", session.only())
    assert (at(session, "+tri").state, at(session, "+tri").sweeping) == ("reviewed", True)


def test_other_lines_in_the_place_of_rejected_ones_are_no_repetition(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.decide("reject", session.only())
    session.boundary()
    session.agent({"a": text(l3="tri")})
    assert at(session, "+tri").changed != "rejected"
    session.agent({"a": text(l3="tri\nthree")})
    assert at(session, "+tri").changed == "rejected"


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_of_several_same_hunks_is_rejected(make: Make, which: int) -> None:
    sections = [lines(*(f"only {n} {k}" for k in range(9)), "x") for n in range(3)]
    work = [section.replace(b"x", b"y") for section in sections]
    session = make(b"".join(sections), b"".join(work))
    ids = [item.hunk.id for item in session.items()]
    session.decide("reject", ids[which])
    session.boundary()
    work[which] = sections[which]
    assert session.work("a") == b"".join(work)
    assert {item.hunk.id: (item.state, item.gone) for item in session.items()} == {
        identity: ("rejected", True) if n == which else ("pending", False) for n, identity in enumerate(ids)
    }
    # What the others are called does not change when one of them is accepted, nor when it comes again.
    other = (which + 1) % 3
    session.decide("accept", ids[other])
    assert {item.hunk.id for item in session.of("accepted")} == {ids[other]}
    work[which] = sections[which].replace(b"x", b"y")
    session.agent({"a": b"".join(work)})
    assert {item.hunk.id: item.changed or item.state for item in session.items()} == {
        ids[which]: "rejected", ids[other]: "accepted", ids[3 - which - other]: "pending"
    }  # fmt: skip
    session.decide("accept", ids[which])
    assert [item.hunk.id for item in session.items() if item.state == "accepted"] == sorted((ids[which], ids[other]))
    assert not any(item.gone for item in session.items())
    session.undo()
    session.decide("reject", ids[which])
    session.boundary()
    (gone,) = (item for item in session.items() if item.gone)
    assert (gone.hunk.id, gone.hunk.lines) == (ids[which], (("-", b"x"), ("+", b"y")))


# Redo


def test_a_redo_waits_for_another_version_and_shows_it_in_place(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    session.decide("redo", name(session, "+three"), comment="in capitals")
    item = at(session, "+three")
    assert (item.state, item.redo, item.comment, item.open) == ("rejected", True, "in capitals", False)
    session.boundary()
    assert session.work("a") == text(l20="twenty")
    (gone,) = (item for item in session.items() if item.gone)
    assert (gone.redo, gone.comment) == (True, "in capitals")
    session.agent({"a": text(l3="THREE", l20="twenty")})
    item = at(session, "+THREE")
    assert (item.state, item.redo, item.changed, item.sweeping) == ("pending", True, "", True)
    assert not any(other.gone for other in session.items())
    assert not at(session, "+twenty").redo
    session.decide("accept", item.hunk.id)
    assert session.accepted("a") == text(l3="THREE")


def test_part_of_a_hunk_is_done_again(make: Make) -> None:
    session = make(text(), text(l3="three\nthree more"))
    session.decide("redo", session.unit("+three more"))
    session.boundary()
    # What was beside it is not yet the new version.
    assert (at(session, "+three").redo, at(session, "+three").state) == (False, "pending")
    assert [item.redo for item in session.items() if item.gone] == [True]
    session.agent({"a": text(l3="three\nthree again")})
    item = at(session, "+three again")
    assert (item.redo, item.state) == (True, "pending")
    assert not any(other.gone for other in session.items())


def test_one_redo_of_two_is_answered(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    session.decide("redo", name(session, "+three"))
    session.decide("redo", name(session, "+twenty"))
    session.boundary()
    session.agent({"a": text(l20="TWENTY")})
    assert [item.redo for item in session.open()] == [True]
    (gone,) = (item for item in session.items() if item.gone)
    assert ("+", b"three") in gone.hunk.lines


def test_the_same_version_is_no_answer_to_a_redo(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.decide("redo", session.only())
    session.boundary()
    session.agent({"a": text(l3="three")})
    (item,) = session.items()
    assert (item.changed, item.redo) == ("rejected", False)
