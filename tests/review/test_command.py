"""The scripted review decides by unit what the keys do, and what it prints is what stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core.trees import EXECUTABLE, REGULAR, File
from tests.review.conftest import Make
from tests.review.scene import executable, lines

BASE = lines(*range(1, 41))
WORK = BASE.replace(b"5\n", b"five\nfunf\n", 1).replace(b"20\n", b"twenty\nzwanzig\n").replace(b"36\n", b"")
FILES = {"f": BASE, "k": b"k\n"}


def states(shown: Any) -> list[str]:
    return [item["state"] for file in shown["files"] for item in file["hunks"]]


def test_several_options_are_what_they_are_one_by_one(make: Make) -> None:
    ends = []
    for together in (True, False):
        scene = make(FILES, {"f": WORK, "k": b"K\n"})
        first, second, _ = (item.hunk.id for item in scene.open("f"))
        options = (("--comment", f"{second}=why"), ("--reject", f"{second}:6"), ("--accept", f"{first}:4,5", "all"))
        if together:
            scene.command(*(word for option in options for word in option))
        else:
            for option in options:
                scene.command(*option)
        ends.append(scene.tree("accepted"))
        scene.boundary()
        assert scene.tree("work") == ends[-1]
    assert ends[0] == ends[1]
    assert ends[0] == {"f": File(REGULAR, WORK.replace(b"zwanzig\n", b"")), "k": File(REGULAR, b"K\n")}


def test_some_lines_are_accepted_and_others_rejected_at_once(make: Make) -> None:
    scene = make(FILES, {"f": WORK})
    first = scene.open()[0].hunk.id
    scene.command("--reject", f"{first}:6", "--accept", f"{first}:4,5")
    assert scene.accepted("f") == BASE.replace(b"5\n", b"five\n", 1)
    scene.boundary()
    assert scene.work("f") == WORK.replace(b"funf\n", b"")


def test_marks_are_set_and_taken_off(make: Make) -> None:
    scene = make(FILES, {"f": WORK})
    first, second, third = (item.hunk.id for item in scene.open())
    assert states(scene.command("--mark", first, third)) == ["reviewed", "pending", "reviewed"]
    assert states(scene.command("--unmark", third)) == ["reviewed", "pending", "pending"]
    assert states(scene.command("--mark", "all")) == ["reviewed"] * 3
    assert states(scene.command("--accept", second)) == ["reviewed", "accepted", "reviewed"]
    assert states(scene.command("--undo")) == ["reviewed"] * 3
    assert scene.tree("accepted") == scene.tree("base")


def test_an_edited_hunk_comes_from_a_file(make: Make, tmp_path: Path) -> None:
    scene = make(FILES, {"f": WORK})
    first = scene.open()[0].hunk.id
    mine = tmp_path / "mine"
    mine.write_bytes(lines(2, 3, 4, "mine", 6, 7, 8))
    scene.command("--edit", f"{first}={mine}")
    assert scene.accepted("f") == BASE.replace(b"5\n", b"mine\n", 1)
    assert scene.work("f") == WORK
    scene.command("--undo")
    assert scene.tree("accepted") == scene.tree("base")
    mine.write_bytes(b"")
    for options in (f"{first}={mine}", f"{first}={tmp_path / 'none'}"):
        seq = scene.state.last_seq
        with pytest.raises(AssertionError):
            scene.command("--edit", options)
        assert scene.state.last_seq == seq


def test_another_version_is_asked_for(make: Make) -> None:
    scene = make(FILES, {"f": WORK})
    first = scene.open()[0].hunk.id
    shown = scene.command("--redo", f"{first}=shorter")
    assert states(shown) == ["rejected", "pending", "pending"]
    scene.boundary()
    assert scene.work("f") == WORK.replace(b"five\nfunf\n", b"5\n")


@pytest.mark.parametrize("wrong", ["0123456789ab", "{}/9", "{}:99", "{}:1", "{}:", "{}/0", "../x", ""])
def test_a_wrong_unit_changes_nothing(make: Make, wrong: str) -> None:
    scene = make(FILES, {"f": WORK})
    first, second, _ = (item.hunk.id for item in scene.open())
    seq = scene.state.last_seq
    for options in (("--accept", second, wrong.format(first)), ("--reject", second, "--accept", wrong.format(first))):
        assert scene.command(*options, expect=2) is None
        assert scene.said.startswith("backspace-tui: ")
        assert scene.said.count("\n") == 1
    assert scene.state.last_seq == seq


def test_lines_and_blocks_through_the_program(make: Make) -> None:
    scene = make(FILES, {"run": executable(b"1\n2\n3"), "f": WORK})
    first, second, _ = (item.hunk.id for item in scene.open("f"))
    (new,) = (item.hunk.id for item in scene.open("run"))
    told = scene.program("--accept", f"{new}:2", f"{first}/1", "--reject", f"{second}:5-6")
    assert [file["path"] for file in told["files"]] == ["f", "run"]
    assert scene.tree("accepted") == {
        "run": File(EXECUTABLE, b"2\n"),
        "f": File(REGULAR, BASE.replace(b"5\n", b"five\nfunf\n", 1)),
        "k": File(REGULAR, b"k\n"),
    }
    scene.boundary()
    assert scene.work("f") == WORK.replace(b"twenty\nzwanzig\n", b"")
    scene.program("--undo")
    assert scene.tree("accepted") == scene.tree("base")
