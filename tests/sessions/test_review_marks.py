"""What a look, a comment or an edit of the user's says of a hunk after the agent went on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from backspace_tui.sessions.review import ReviewHunk
from tests.review.scene import lines
from tests.sessions.one_file import Make, at, maker, name
from tests.sessions.test_review import edit, text


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with maker(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "later",
    [
        text(l10="ten", l20="TWENTY", l35="more"),
        text(l10="ten", l20="twenty"),
        text(l10="ten", l20="twenty", l28="twenty-eight", l35="more"),
        text(l1="one", l10="ten"),
        b"above\nand above\n" + text(l10="ten", l20="twenty", l35="more"),
        text(l10="ten", l20="twenty", l35="more") + b"below\n",
        text(l10="ten", l20="twenty", l35="more").replace(b"line 26\nline 27\n", b""),
    ],
)
def test_marks_survive_what_the_agent_does_elsewhere(make: Make, later: bytes) -> None:
    session = make(text(), text(l10="ten", l20="twenty", l35="more"))
    session.decide("review", name(session, "+ten"))
    session.decide("comment", name(session, "+ten"), comment="nice")
    session.agent({"a": later})
    item = at(session, "+ten")
    assert (item.state, item.comment, item.changed) == ("reviewed", "nice", "")
    others = [other for other in session.items() if other.hunk.id != item.hunk.id]
    assert {(other.state, other.comment) for other in others} == {("pending", "")}


def test_marks_survive_decisions_elsewhere(make: Make) -> None:
    session = make(text(), text(l3="three\nthree more", l20="twenty", l35="more"))
    session.decide("review", name(session, "+twenty"))
    session.decide("accept", name(session, "+three"))
    assert at(session, "+twenty").state == "reviewed"
    session.decide("reject", name(session, "+more"))
    session.boundary()
    assert at(session, "+twenty").state == "reviewed"
    session.decide("unstage", next(item.hunk.id for item in session.of("accepted")))
    assert at(session, "+twenty").state == "reviewed"
    assert at(session, "+three").state == "pending"


@pytest.mark.parametrize("seed", range(20))
def test_marks_stay_with_their_lines_among_the_same_ones(make: Make, seed: int) -> None:
    """Six hunks with the same lines; those about them differ."""
    pick = random.Random(seed)

    def content(words: list[str]) -> bytes:
        return b"".join(lines(*(f"only {n} {k}" for k in range(9)), word) for n, word in enumerate(words)) + b"end\n"

    words = ["x"] * 6
    session = make(content(words), content(["y"] * 6))
    marked = pick.sample(range(6), 2)
    ids = [item.hunk.id for item in session.items()]
    assert len({identity.partition("-")[0] for identity in ids}) == 1
    session.decide("review", *(ids[n] for n in marked))
    session.decide("comment", ids[marked[0]], comment="this one")
    now = ["y"] * 6
    for _ in range(3):
        for n in pick.sample([n for n in range(6) if n not in marked], 2):
            now[n] = pick.choice(["x", "y", "z", "y\ny", ""])
        above = b"y\n" * pick.randrange(3)
        session.agent({"a": above + content(now)})
        found = {_section(item): item for item in session.items()}
        assert {n for n, item in found.items() if item.state == "reviewed"} == set(marked)
        assert {n for n, item in found.items() if item.comment} == {marked[0]}


def _section(item: ReviewHunk) -> int:
    """The number of the section that a hunk's change is in, by the lines before it; -1 above them all."""
    before: list[int] = []
    for sign, line in item.hunk.lines:
        if sign != " ":
            break
        if line.startswith(b"only"):
            before.append(int(line.split()[1]))
    return before[-1] if before else -1


@pytest.mark.parametrize(
    ("later", "line"),
    [
        # Other lines in its place, one more, one less, none of the deleted ones.
        (text(l3="THREE\nthree more"), "+THREE"),
        (text(l3="three\nthree more\nand more"), "+three"),
        (text(l3="three"), "+three"),
        (text(l3="line 3\nthree more"), "+three more"),
        # The neighbour's change is now in one hunk with it.
        (text(l3="three\nthree more", l5="five"), "+three"),
        # It is where the file ends now.
        (lines("line 0", "line 1", "line 2", "other"), "+other"),
    ],
)
def test_what_takes_the_place_of_a_reviewed_hunk_is_changed(make: Make, later: bytes, line: str) -> None:
    work = text(l3="three\nthree more")
    session = make(text(), work)
    session.decide("review", name(session, "+three"))
    session.agent({"a": later})
    item = at(session, line)
    assert (item.state, item.changed, item.open, item.sweeping) == ("changed", "seen", True, False)
    session.agent({"a": work})
    assert at(session, "+three").state == "reviewed"
    # Another look is enough.
    session.agent({"a": later})
    session.decide("unreview", name(session, line))
    session.decide("review", name(session, line))
    assert at(session, line).state == "reviewed"


def test_a_reviewed_hunk_may_be_marked_again_as_it_is(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.decide("review", session.only())
    session.agent({"a": text(l3="THREE")})
    assert at(session, "+THREE").changed == "seen"
    session.decide("review", session.only())
    assert at(session, "+THREE").state == "reviewed"


def test_part_of_a_hunk_is_reviewed_by_itself(make: Make) -> None:
    session = make(text(), text(l3="three", l6="six"))
    session.decide("review", session.unit("-line 3", "+three"))
    assert at(session, "+three").changed == "seen", "the rest of it was not looked at"
    session.decide("review", session.unit("-line 6", "+six"))
    assert at(session, "+three").state == "reviewed"


def test_a_mark_on_a_whole_unit_ends_with_its_content(make: Make) -> None:
    session = make(b"\0one", b"\0two")
    session.decide("review", session.only())
    assert session.states() == ["reviewed"]
    session.agent({"b": b"b\n"})
    assert session.states("a") == ["reviewed"]
    session.agent({"a": b"\0three"})
    assert session.items("a")[0].changed == "seen"


def test_what_changes_accepted_lines_is_changed(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    session.decide("accept", name(session, "+three"))
    session.agent({"a": text(l3="tri", l20="twenty")})
    assert sorted(session.states()) == ["accepted", "changed", "pending"]
    item = at(session, "+tri")
    assert (item.changed, item.sweeping) == ("accepted", True)
    assert session.review.decided == 1
    assert session.accepted("a") == text(l3="three")
    # A look takes the news off it.
    session.decide("review", item.hunk.id)
    assert at(session, "+tri").state == "reviewed"


# Edits


def test_what_an_edit_leaves_out_is_decided(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    edit(session, name(session, "+three"), b"mine\n")
    assert session.accepted("a") == text(l3="three", l6="line 6\nmine")
    (kept,) = (item for item in session.items() if item.kept)
    assert (kept.state, kept.open, kept.sweeping) == ("reviewed", False, False)
    assert [line for sign, line in kept.hunk.lines if sign != " "] == [b"mine"]
    assert (session.review.pending, session.review.total) == (1, 3)
    # The agent goes on with what it has: that is news.
    session.agent({"a": text(l3="three", l6="line 6\ntheirs", l20="twenty")})
    item = at(session, "+theirs")
    assert (item.kept, item.open) == (False, True)
    assert item.state == "changed"


def test_an_edit_survives_what_the_agent_does_elsewhere(make: Make) -> None:
    session = make(text(), text(l10="ten", l20="twenty"))
    session.edit(
        name(session, "+ten"), lines(*(f"line {n}" for n in range(7, 10)), "10", "line 11", "line 12", "line 13")
    )
    assert at(session, "+ten").kept
    session.agent({"a": b"above\n" + text(l10="ten", l20="TWENTY")})
    assert at(session, "+ten").kept
    session.decide("accept", name(session, "+TWENTY"))
    assert at(session, "+ten").kept
    assert session.accepted("a") == text(l10="10", l20="TWENTY")
    session.agent({"a": b"above\n" + text(l10="TEN", l20="TWENTY")})
    assert (at(session, "+TEN").changed, at(session, "+TEN").kept) == ("seen", False)


def test_an_edit_to_what_the_agent_has_leaves_nothing(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.edit(session.only(), lines("line 0", "line 1", "line 2", "three", "line 4", "line 5", "line 6"))
    assert session.states() == ["accepted"]
    assert session.accepted("a") == text(l3="three")


def test_an_undone_edit_is_forgotten(make: Make) -> None:
    session = make(text(), text(l3="three"))
    edit(session, session.only(), b"mine\n")
    session.undo()
    (item,) = session.items()
    assert (item.state, item.kept) == ("pending", False)
    assert session.accepted("a") == text()


def test_what_an_edit_left_out_may_be_accepted_after_all(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.edit(session.only(), lines("line 0", "line 1", "line 2", "3", "line 4", "line 5", "line 6"))
    session.decide("accept", name(session, "+three"))
    assert session.accepted("a") == text(l3="three")


# Comments


def test_comments_follow_their_lines_into_accepted_hunks(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    session.decide("comment", name(session, "+three"), comment="fine")
    session.decide("accept", name(session, "+three"))
    comments = {item.state: item.comment for item in session.items()}
    assert comments == {"accepted": "fine", "pending": ""}
    session.agent({"a": b"above\n" + text(l3="three", l20="TWENTY")})
    assert {item.comment for item in session.of("accepted")} == {"fine"}
    session.decide("unstage", session.of("accepted")[0].hunk.id)
    # What came above stands in the same hunk now, and was not there when the comment was written.
    assert (at(session, "+three").changed, at(session, "+three").comment) == ("seen", "fine")


def test_a_comment_on_an_accepted_hunk(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    identity = name(session, "+three")
    session.decide("accept", identity)
    session.decide("comment", identity, comment="well done")
    assert {item.state: item.comment for item in session.items()} == {"accepted": "well done", "pending": ""}


def test_the_newest_comment_stands(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.decide("comment", session.only(), comment="why?")
    session.decide("comment", session.only(), comment="why, really?")
    assert session.items()[0].comment == "why, really?"
    session.agent({"a": text(l3="tri")})
    assert session.items()[0].comment == "why, really?", "what answers it stands in its place"


def test_a_commented_hunk_that_changed_says_so(make: Make) -> None:
    session = make(text(), text(l3="three", l20="twenty"))
    session.decide("comment", name(session, "+three"), comment="why?")
    session.agent({"a": text(l3="tri", l20="twenty")})
    item = at(session, "+tri")
    assert (item.changed, item.sweeping) == ("seen", False)
    # To comment on all of it is to have looked at it.
    session.decide("comment", item.hunk.id, comment="better")
    assert (at(session, "+tri").state, at(session, "+tri").comment) == ("pending", "better")


def test_a_comment_on_a_line_is_no_look_at_the_others(make: Make) -> None:
    session = make(text(), text(l3="three"))
    session.decide("review", session.only())
    session.agent({"a": text(l3="tri\nthree more")})
    session.decide("comment", session.unit("+three more"), comment="why?")
    assert at(session, "+tri").changed == "seen"


@pytest.mark.parametrize("part", ["/1", ":4", ":4-5", ":6", ":6,8", ":7"])
def test_the_rest_of_a_hunk_accepted_in_part_is_no_news(make: Make, part: str) -> None:
    session = make(text(), text(l10="ten\nten and a half\neleven", l11=""))
    (item,) = session.items()
    session.decide("accept", item.hunk.id + part)
    assert {(rest.state, rest.changed) for rest in session.items() if rest.state != "accepted"} <= {("pending", "")}


def test_what_the_agent_adds_among_accepted_lines_is_news(make: Make) -> None:
    session = make(text(), text(l10="ten\neleven"))
    session.decide("accept", name(session, "+ten"))
    session.agent({"a": text(l10="ten\nand a half\neleven")})
    assert at(session, "+and a half").changed == "accepted"
