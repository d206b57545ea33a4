"""What the agent does between the user's decisions, and what waits for its turn boundary."""

from __future__ import annotations

from typing import Literal

import pytest

from backspace_tui.engine.review import accept_all
from tests.review.conftest import Make
from tests.review.scene import lines

BODY = lines(*(f"line {n}" for n in range(1, 31)))
TEN = BODY.replace(b"line 10\n", b"ten\n")
OTHER = BODY.replace(b"line 10\n", b"TEN\n")


def test_a_rejection_that_came_too_late(make: Make) -> None:
    scene = make({"f": BODY}, {"f": TEN})
    scene.decide("reject", scene.only(), comment="no")
    scene.agent({"f": OTHER})
    for _ in range(2):
        (item,) = scene.open()
        assert (item.state, item.changed, item.rejected) == ("changed", "seen", frozenset())
        scene.boundary()
        assert scene.work("f") == OTHER, "what nobody has looked at stays"
    assert accept_all(scene.job) == 0
    scene.decide("accept", scene.only())
    assert scene.accepted("f") == OTHER


def test_what_is_made_again_after_its_rejection_says_so(make: Make) -> None:
    scene = make({"f": BODY}, {"f": TEN})
    scene.decide("reject", scene.only())
    scene.boundary()
    assert scene.work("f") == BODY
    scene.agent({"f": TEN})
    (item,) = scene.open()
    assert (item.state, item.changed) == ("changed", "rejected")
    assert accept_all(scene.job) == 0
    scene.decide("reject", scene.only())
    scene.boundary()
    assert scene.work("f") == BODY


def test_a_mark_is_set_anew_after_a_change(make: Make) -> None:
    scene = make({"f": BODY}, {"f": TEN})
    scene.decide("review", scene.only())
    scene.agent({"f": OTHER})
    (item,) = scene.open()
    assert (item.state, item.changed) == ("changed", "seen")
    assert accept_all(scene.job) == 0
    scene.decide("review", item.hunk.id)
    (item,) = scene.open()
    assert (item.state, item.changed) == ("reviewed", "")
    scene.undo()
    (item,) = scene.open()
    assert (item.state, item.changed) == ("changed", "seen")
    scene.decide("review", item.hunk.id)
    assert accept_all(scene.job) == 1
    assert scene.accepted("f") == OTHER


def test_a_new_version_is_asked_for(make: Make) -> None:
    scene = make({"f": BODY}, {"f": TEN})
    scene.decide("redo", scene.only(), comment="in capitals")
    (item,) = scene.items()
    assert (item.state, item.redo, item.comment) == ("rejected", True, "in capitals")
    scene.boundary()
    assert scene.work("f") == BODY
    scene.agent({"f": OTHER})
    (item,) = scene.open()
    assert (item.state, item.redo) == ("pending", True)
    scene.decide("accept", item.hunk.id)
    assert scene.accepted("f") == OTHER


def test_lines_that_wait_to_be_rejected_are_accepted_after_all(make: Make) -> None:
    work = BODY.replace(b"line 10\n", b"ten\nelf\n")
    scene = make({"f": BODY}, {"f": work})
    name = scene.only()
    scene.decide("reject", scene.unit("+ten", "+elf"))
    scene.decide("accept", scene.unit("+elf"))
    assert scene.accepted("f") == BODY.replace(b"line 10\n", b"line 10\nelf\n")
    (left,) = (item for item in scene.items() if item.state != "accepted")
    assert [left.hunk.lines[place - 1] for place in left.rejected] == [("+", b"ten")]
    scene.undo()
    (item,) = scene.items()
    assert item.hunk.id == name
    assert item.rejected == {5, 6}
    scene.decide("accept", scene.unit("-line 10", "+ten", "+elf"))
    assert scene.accepted("f") == work
    scene.boundary()
    assert scene.work("f") == work


def test_the_rest_of_a_hunk_is_what_is_not_rejected(make: Make) -> None:
    work = BODY.replace(b"line 10\n", b"ten\nelf\n")
    scene = make({"f": BODY}, {"f": work})
    scene.decide("reject", scene.unit("+elf"))
    scene.decide("accept", scene.only())
    assert scene.accepted("f") == TEN
    scene.boundary()
    assert scene.work("f") == TEN
    assert scene.open() == []


@pytest.mark.parametrize("action", ["review", "comment"])
@pytest.mark.parametrize("first", [b"same\n", b"", b"line 10\nsame\n", b"line 10\nsame\nsame\n"])
@pytest.mark.parametrize("then", [b"again\n", b"line 10\nother\n", b"again\nagain\n"])
def test_what_was_looked_at_and_changed_says_so(
    make: Make, action: Literal["review", "comment"], first: bytes, then: bytes
) -> None:
    scene = make({"f": BODY}, {"f": BODY.replace(b"line 10\n", first)})
    scene.decide(action, scene.only(), comment="why?" if action == "comment" else "")
    scene.agent({"f": BODY.replace(b"line 10\n", then)})
    (item,) = scene.open()
    assert (item.state, item.changed) == ("changed", "seen")
    assert accept_all(scene.job) == 0
