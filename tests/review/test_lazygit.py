"""lazygit's tests of its patches and of staging by line, told again as reviews: what is accepted, byte for byte."""

from __future__ import annotations

import pytest

from backspace_tui.core.trees import EXECUTABLE, REGULAR, File
from tests.review.conftest import Make
from tests.review.scene import Scene, executable, lines

DOTS = ["...", "...", "..."]
SIMPLE = (lines("apple", "orange", *DOTS), lines("apple", "grape", *DOTS))
ADD_END = (lines("grape", *DOTS) + b"last line", lines("grape", *DOTS, "last line"))
DROP_END = ADD_END[::-1]
TWO_HUNKS = (
    lines("apple", "grape", *DOTS, 6, 7, 8, 9, *DOTS, *DOTS),
    lines("apple", "orange", *DOTS, 6, 7, 8, 9, *DOTS, "pear", "lemon", *DOTS),
)
TWO_CHANGES = (lines("apple", "grape", "orange", "banana", "lemon"), lines("apple", "kiwi", "orange", "pear", "lemon"))


def pick(scene: Scene, *wanted: str, accepted: bool = False) -> list[str]:
    """The units of these lines, one hunk at a time."""
    units = []
    left = list(wanted)
    for item in scene.of("accepted") if accepted else scene.open():
        shown = [sign + text.decode() for sign, text in item.hunk.lines]
        here = [shown.index(line) + 1 for line in left if line in shown]
        left = [line for line in left if line not in shown]
        if here:
            units.append(f"{item.hunk.id}:{','.join(str(n) for n in sorted(here))}")
    assert not left
    return units


CASES: list[tuple[str, tuple[bytes, bytes], tuple[str, ...], bytes]] = [
    ("only the removal", SIMPLE, ("-orange",), lines("apple", *DOTS)),
    ("only the addition", SIMPLE, ("+grape",), lines("apple", "orange", "grape", *DOTS)),
    ("both", SIMPLE, ("-orange", "+grape"), SIMPLE[1]),
    ("an end of line is added", ADD_END, ("-last line", "+last line"), ADD_END[1]),
    ("the removal of a line without end", ADD_END, ("-last line",), lines("grape", *DOTS)),
    (
        "the addition beside a line without end",
        ADD_END,
        ("+last line",),
        lines("grape", *DOTS, "last line", "last line"),
    ),
    ("an end of line is removed", DROP_END, ("-last line", "+last line"), DROP_END[1]),
    ("the removal before a line without end", DROP_END, ("-last line",), lines("grape", *DOTS)),
    (
        "the addition of a line without end",
        DROP_END,
        ("+last line",),
        lines("grape", *DOTS, "last line") + b"last line",
    ),
    ("the removal in the first hunk", TWO_HUNKS, ("-grape",), TWO_HUNKS[0].replace(b"grape\n", b"")),
    ("one addition of the second hunk", TWO_HUNKS, ("+lemon",), TWO_HUNKS[0][:-12] + b"lemon\n" + b"...\n" * 3),
    (
        "parts of both hunks",
        TWO_HUNKS,
        ("+orange", "+pear"),
        lines("apple", "grape", "orange", *DOTS, 6, 7, 8, 9, *DOTS, "pear", *DOTS),
    ),
    ("the second change of a hunk", TWO_CHANGES, ("-banana", "+pear"), TWO_CHANGES[0].replace(b"banana", b"pear")),
    (
        "crossing changes of a hunk",
        TWO_CHANGES,
        ("-grape", "+pear"),
        lines("apple", "orange", "banana", "pear", "lemon"),
    ),
    ("a part of a new file", (b"", lines("apple", "orange", "grape")), ("+orange",), lines("orange")),
    ("a line without end in an empty file", (b"", b"new line"), ("+new line",), b"new line"),
    ("the first of two lines, the second without end", (b"", b"one\ntwo"), ("+one",), b"one\n"),
    ("the second of two lines, without end", (b"", b"one\ntwo"), ("+two",), b"two"),
    ("a line after one without end", (b"a\nb", b"a\nb\nc\n"), ("+c",), b"a\nb\nc\n"),
    ("some lines after one without end", (b"a", b"a\nb\nc"), ("+c",), b"a\nc"),
    ("emptied in part", (lines("a", "b", "c"), b""), ("-b",), lines("a", "c")),
    ("emptied", (lines("a", "b"), b""), ("-a", "-b"), b""),
    ("emptied but for a line without end", (b"a\nb", b""), ("-a",), b"b"),
    ("emptied of the line without end", (b"a\nb", b""), ("-b",), b"a\n"),
]


@pytest.mark.parametrize(("pair", "chosen", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_lines_of_a_patch(make: Make, pair: tuple[bytes, bytes], chosen: tuple[str, ...], expected: bytes) -> None:
    scene = make({"file": pair[0]}, {"file": pair[1]})
    ids = [item.hunk.id for item in scene.open()]
    scene.decide("accept", *pick(scene, *chosen))
    assert scene.accepted("file") == expected
    assert scene.work("file") == pair[1]
    scene.undo()
    assert scene.accepted("file") == pair[0]
    assert [item.hunk.id for item in scene.open()] == ids


@pytest.mark.parametrize(("pair", "chosen", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_the_same_lines_through_the_command(
    make: Make, pair: tuple[bytes, bytes], chosen: tuple[str, ...], expected: bytes
) -> None:
    scene = make({"file": pair[0]}, {"file": pair[1]})
    shown = scene.command("--accept", *pick(scene, *chosen))
    assert scene.accepted("file") == expected
    assert sum(len(file["hunks"]) for file in shown["files"]) == len(scene.items())
    scene.command("--undo")
    assert scene.accepted("file") == pair[0]


BLOCK = (lines(1, 2, 3, 4, 5, 8), lines(1, 2, "3b", "4b", "5b", "6", "7", 8))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        # lazygit puts 6 and 7 in front of 4b and 5b when a pair in the middle was taken first.
        (("-4", "+4b"), [1, 2, 3, "4b", 5, 8]),
        (("-3", "+3b"), [1, 2, "3b", 4, 5, 8]),
        (("-5", "+7"), [1, 2, 3, 4, 7, 8]),
        (("-3", "-5", "+3b", "+5b"), [1, 2, "3b", 4, "5b", 8]),
        (("-3", "-5", "+3b", "+5b", "+7"), [1, 2, "3b", 4, "5b", 7, 8]),
        (("-3", "-5", "+3b"), [1, 2, "3b", 4, 8]),
        (("-4", "+3b", "+5b", "+7"), [1, 2, 3, "3b", "5b", 7, 5, 8]),
        (("+6", "+7"), [1, 2, 3, 4, 5, 6, 7, 8]),
        (("-3", "-4", "-5"), [1, 2, 8]),
    ],
)
def test_lines_in_the_middle_of_a_block(make: Make, chosen: tuple[str, ...], expected: list[object]) -> None:
    scene = make({"file": BLOCK[0]}, {"file": BLOCK[1]})
    scene.decide("accept", *pick(scene, *chosen))
    assert scene.accepted("file") == lines(*expected)


def test_a_block_line_by_line_ends_as_the_work(make: Make) -> None:
    scene = make({"file": BLOCK[0]}, {"file": BLOCK[1]})
    while scene.open():
        item = scene.open()[0]
        place = next(place for place, (sign, _) in enumerate(item.hunk.lines, 1) if sign != " ")
        scene.decide("accept", f"{item.hunk.id}:{place}")
    assert scene.accepted("file") == BLOCK[1]


def test_a_range_of_lines(make: Make) -> None:
    base = lines("a", "b", "c", "d", "e")
    scene = make({"file": base}, {"file": lines("a", "1", "2", "3", "4", "e")})
    name = scene.only()
    # a -b -c -d +1 +2 +3 +4 e: a range may begin and end in context.
    scene.decide("accept", f"{name}:1-2")
    assert scene.accepted("file") == lines("a", "c", "d", "e")
    scene.undo()
    scene.decide("accept", f"{name}:4-6")
    assert scene.accepted("file") == lines("a", "b", "c", "1", "2", "e")
    scene.undo()
    scene.decide("accept", f"{name}:8-9")
    assert scene.accepted("file") == lines("a", "b", "c", "d", "4", "e")


@pytest.mark.parametrize(("pair", "chosen", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_the_lines_are_unstaged_again(
    make: Make, pair: tuple[bytes, bytes], chosen: tuple[str, ...], expected: bytes
) -> None:
    scene = make({"file": pair[0]}, {"file": pair[1]})
    scene.decide("accept", *pick(scene, *chosen))
    scene.decide("unstage", *(item.hunk.id for item in scene.of("accepted")))
    assert scene.tree("accepted") == scene.tree("base")


@pytest.mark.parametrize("context", [2, 3, 6])
def test_carriage_returns_are_kept(make: Make, context: int) -> None:
    around = [f"c{n}" for n in range(context)]
    base = lines(*around, "old", *around).replace(b"\n", b"\r\n")
    work = lines(*around, "new", "more", *around).replace(b"\n", b"\r\n")
    scene = make({"file": base}, {"file": work})
    scene.decide("accept", *pick(scene, "+more\r"))
    assert scene.accepted("file") == base.replace(b"old\r\n", b"old\r\nmore\r\n")
    scene.decide("accept", *(item.hunk.id for item in scene.open()))
    assert scene.accepted("file") == work


def test_a_line_in_between_gets_the_files_own_ending(make: Make) -> None:
    scene = make({"file": b"a\r\nb\r\nlast"}, {"file": b"a\r\nb\r\nlast\r\nnew\r\n"})
    scene.decide("accept", *pick(scene, "+new\r"))
    assert scene.accepted("file") == b"a\r\nb\r\nlast\r\nnew\r\n"


def test_a_new_file_is_taken_in_parts(make: Make) -> None:
    scene = make({"kept": b"k\n"}, {"new": executable(b"1\n2\n3")})
    scene.decide("accept", *pick(scene, "+2"))
    assert scene.tree("accepted")["new"] == File(EXECUTABLE, b"2\n")
    scene.decide("accept", *pick(scene, "+3"))
    assert scene.tree("accepted")["new"] == File(EXECUTABLE, b"2\n3")
    scene.decide("unstage", *pick(scene, "+2", accepted=True))
    assert scene.tree("accepted")["new"] == File(EXECUTABLE, b"3")
    scene.decide("unstage", *pick(scene, "+3", accepted=True))
    assert "new" not in scene.tree("accepted"), "what holds no accepted line any more is not there at all"


def test_a_new_file_is_rejected_in_parts(make: Make) -> None:
    scene = make({"kept": b"k\n"}, {"new": b"1\n2\n3\n"})
    scene.decide("reject", *pick(scene, "+2"))
    scene.boundary()
    assert scene.work("new") == b"1\n3\n"
    scene.decide("reject", scene.only())
    scene.boundary()
    assert scene.work("new") is None


def test_a_deleted_file_does_not_stay_as_an_empty_one(make: Make) -> None:
    scene = make({"gone": b"1\n2\n", "kept": b"k\n"}, {"gone": None})
    scene.decide("accept", scene.only())
    assert scene.tree("accepted") == {"kept": File(REGULAR, b"k\n")}


def test_everything_is_discarded_line_by_line(make: Make) -> None:
    base, work = b"one\ntwo\n", b"three\nfour\n"
    scene = make({"file": base}, {"file": work})
    scene.decide("reject", scene.only())
    scene.boundary()
    assert scene.work("file") == base
    scene.undo()
    scene.boundary()
    assert scene.work("file") == work
    scene.decide("reject", *pick(scene, "-one", "+three"))
    scene.boundary()
    assert scene.work("file") == b"one\nfour\n"


def test_added_and_removed_lines_alone(make: Make) -> None:
    base = lines(*range(1, 13))
    scene = make({"file": base}, {"file": lines(1, 2, "new", 3, 4, 5, 6, 7, 8, 9, 11, 12)})
    scene.decide("accept", *pick(scene, "+new", "-10"))
    assert scene.accepted("file") == scene.work("file")
    scene.decide("unstage", *pick(scene, "-10", accepted=True))
    assert scene.accepted("file") == lines(1, 2, "new", *range(3, 13))
    scene.decide("reject", *pick(scene, "-10"))
    scene.boundary()
    assert scene.work("file") == scene.accepted("file")
