"""Renames are one file of the review with two paths, joined and split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backspace_tui.core.trees import EXECUTABLE, File
from backspace_tui.sessions.review import review
from tests.review.scene import Scene, lines, scene

BODY = lines(*(f"line {n}" for n in range(40)))
EDITED = BODY.replace(b"line 3\n", b"three\n").replace(b"line 30\n", b"thirty\n")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, {"was": BODY, "k": b"k\n"}) as made:
        yield made


def split(session: Scene, *paths: str) -> dict[str, list[str]]:
    """The kinds of the hunks by path when these renames are shown as two files."""
    shown = review(session.store.objects, session.state, split=frozenset(paths))
    return {file.path: [item.hunk.kind for item in file.hunks] for file in shown.files}


def half(session: Scene, path: str) -> str:
    """The id of the one hunk of one of the two paths, split."""
    shown = review(session.store.objects, session.state, split=frozenset({"is"}))
    (found,) = (item.hunk.id for file in shown.files if file.path == path for item in file.hunks)
    return found


def kinds(session: Scene) -> list[tuple[str, str]]:
    return [(item.hunk.kind, item.state) for item in session.items("is")]


def test_a_rename_is_one_file_and_two_when_it_is_split(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    (file,) = session.review.files
    assert (file.path, file.renamed_from, file.change.source) == ("is", "was", "was")
    assert kinds(session) == [("rename", "pending"), ("text", "pending"), ("text", "pending")]
    assert split(session, "is") == {"is": ["text"], "was": ["deleted"]}
    assert split(session, "other") == {"is": ["rename", "text", "text"]}
    assert session.review.total == 3


def test_the_rename_is_a_unit_beside_its_lines(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("accept", session.items()[0].hunk.id)
    assert (session.accepted("was"), session.accepted("is")) == (None, BODY)
    assert kinds(session) == [("rename", "accepted"), ("text", "pending"), ("text", "pending")]
    assert session.file("is").renamed_from == "was"
    session.undo()
    assert (session.accepted("was"), session.accepted("is")) == (BODY, None)


def test_a_line_without_the_rename_stands_under_the_old_name(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("accept", session.unit("-line 3", "+three"))
    assert (session.accepted("was"), session.accepted("is")) == (BODY.replace(b"line 3\n", b"three\n"), None)
    # It is shown with the rest of the file, which has its new name.
    assert {file.path: file.state for file in session.review.files} == {"is": "partial"}
    assert sorted(kinds(session)) == [("rename", "pending"), ("text", "accepted"), ("text", "pending")]
    session.decide("unstage", session.of("accepted")[0].hunk.id)
    assert session.tree("accepted") == session.tree("base")
    session.undo()
    session.decide("accept", *(item.hunk.id for item in session.open()))
    assert session.tree("accepted") == session.tree("work")


def test_everything_of_a_rename_with_another_mode(session: Scene) -> None:
    session.agent({"was": None, "is": File(EXECUTABLE, EDITED)})
    session.decide("accept", *(item.hunk.id for item in session.open()))
    assert (session.accepted("is"), session.mode("is")) == (EDITED, EXECUTABLE)
    assert kinds(session) == [(kind, "accepted") for kind in ("rename", "mode", "text", "text")]
    session.decide("unstage", session.items()[0].hunk.id)
    assert (session.accepted("was"), session.mode("was"), session.accepted("is")) == (EDITED, EXECUTABLE, None)
    session.decide("unstage", *(item.hunk.id for item in session.of("accepted")))
    assert session.tree("accepted") == session.tree("base")


def test_the_halves_are_accepted_by_their_own_names(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("accept", half(session, "is"))
    assert (session.accepted("was"), session.accepted("is")) == (BODY, EDITED)
    assert [(file.path, file.state) for file in session.review.files] == [("is", "accepted"), ("was", "pending")]
    session.decide("accept", session.only("was"))
    assert session.tree("accepted") == session.tree("work")
    assert [file.renamed_from for file in session.review.files] == ["was"]


def test_the_deletion_may_be_accepted_first(session: Scene) -> None:
    session.agent({"was": None, "is": BODY})
    session.decide("accept", half(session, "was"))
    assert (session.accepted("was"), session.accepted("is")) == (None, None)
    session.decide("accept", session.only("is"))
    assert session.tree("accepted") == session.tree("work")


@pytest.mark.parametrize(("rejected", "other"), [("was", "is"), ("is", "was")])
def test_one_half_is_rejected(session: Scene, rejected: str, other: str) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("reject", half(session, rejected), comment="no")
    # Decided apart, it is shown apart.
    assert {file.path: file.state for file in session.review.files} == {rejected: "rejected", other: "pending"}
    assert [item.comment for item in session.items(rejected)] == ["no"]
    session.boundary()
    assert session.tree("work").keys() == {"k"} | ({"was", "is"} if rejected == "was" else set())
    assert [item.gone for item in session.items(rejected)] == [True]
    assert [item.state for item in session.items(other)] == ["pending"]
    session.undo()
    session.boundary()
    assert (session.work("was"), session.work("is")) == (None, EDITED)
    assert kinds(session) == [("rename", "pending"), ("text", "pending"), ("text", "pending")]


def test_a_rejected_half_stays_rejected_when_the_agent_goes_on(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("reject", half(session, "is"))
    session.agent({"is": EDITED + b"more\n"})
    assert {file.path for file in session.review.files} == {"was", "is"}
    (item,) = session.items("is")
    assert len(item.rejected) == 40
    session.boundary()
    assert (session.work("was"), session.work("is")) == (None, b"more\n")


def test_a_rejected_rename_leaves_its_lines_to_be_decided(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("reject", session.items()[0].hunk.id)
    session.boundary()
    assert (session.work("was"), session.work("is")) == (EDITED, None)
    assert [item.state for item in session.open()] == ["pending", "pending"]
    assert [item.hunk.kind for item in session.items() if item.gone] == ["rename"]
    session.undo()
    session.boundary()
    assert (session.work("was"), session.work("is")) == (None, EDITED)


def test_rejected_lines_of_a_rename(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("reject", session.unit("-line 3", "+three"))
    session.boundary()
    assert (session.work("was"), session.work("is")) == (None, BODY.replace(b"line 30\n", b"thirty\n"))
    assert kinds(session)[:2] == [("rename", "pending"), ("text", "pending")]


def test_marks_of_a_rename_survive_what_the_agent_does(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    rename, first, _ = (item.hunk.id for item in session.items())
    session.decide("review", rename, first)
    session.decide("comment", first, comment="good")
    session.agent({"is": EDITED.replace(b"thirty", b"THIRTY") + b"below\n"})
    found = {line: item for item in session.items() for _, line in item.hunk.lines}
    assert (found[b"is"].state, found[b"three"].state, found[b"three"].comment) == ("reviewed", "reviewed", "good")
    assert found[b"THIRTY"].state == "pending"


def test_marks_follow_their_lines_to_the_other_name(session: Scene) -> None:
    session.agent({"was": EDITED})
    first, second = (item.hunk.id for item in session.items())
    session.decide("review", first)
    session.decide("comment", first, comment="good")
    session.decide("reject", second)
    # The agent renames the file: its lines are what they were.
    session.agent({"was": None, "is": EDITED})
    assert kinds(session) == [("rename", "pending"), ("text", "reviewed"), ("text", "rejected")]
    assert session.items()[1].comment == "good"
    session.boundary()
    assert session.work("is") == BODY.replace(b"line 3\n", b"three\n")
    session.undo()
    session.boundary()
    assert session.work("is") == EDITED
    # A line that is accepted without the rename keeps its comment, and so does one whose rename was rejected.
    session.decide("accept", session.items()[1].hunk.id)
    assert [item.comment for item in session.of("accepted")] == ["good"]
    session.undo()
    session.decide("reject", session.items()[0].hunk.id)
    session.boundary()
    assert [(item.state, item.comment) for item in session.items("was")] == [("reviewed", "good"), ("pending", "")]


def test_marks_on_one_half_say_nothing_of_the_lines(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    session.decide("review", half(session, "was"), half(session, "is"))
    assert {item.changed for item in session.items()} == {""}


def test_an_edited_hunk_of_a_rename(session: Scene) -> None:
    session.agent({"was": None, "is": EDITED})
    mine = lines("line 0", "line 1", "line 2", "3", "line 4", "line 5", "line 6")
    session.edit(session.items()[1].hunk.id, mine)
    assert (session.accepted("was"), session.accepted("is")) == (BODY.replace(b"line 3\n", b"3\n"), None)
    (left,) = (item for item in session.items() if ("+", b"three") in item.hunk.lines)
    assert left.kept
    session.decide("accept", next(item.hunk.id for item in session.open() if item.hunk.kind == "rename"))
    assert (session.accepted("was"), session.accepted("is")) == (None, BODY.replace(b"line 3\n", b"3\n"))


def test_what_runs_elsewhere_is_protected_by_both_names(session: Scene) -> None:
    session.agent({"was": None, ".github/workflows/ci.yml": BODY})
    assert session.review.files[0].protected
    session.agent({".github/workflows/ci.yml": None, "was": BODY})
    session.agent({"was": None, "is": BODY})
    assert not session.review.files[0].protected
