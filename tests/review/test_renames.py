"""Renames: one to look at, two paths to stage."""

from __future__ import annotations

import pytest

from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sessions.review import review
from tests.review.conftest import Make
from tests.review.scene import Content, Refused, Scene, executable, lines

BODY = lines(*(f"line {n}" for n in range(1, 31)))
MOVED = BODY.replace(b"line 7\n", b"seven\n")


def ids(scene: Scene) -> list[str]:
    return [item.hunk.id for item in scene.open()]


@pytest.mark.parametrize("work", [BODY, MOVED, executable(BODY), executable(MOVED)])
def test_a_rename_is_accepted_as_both_its_paths(make: Make, work: Content) -> None:
    scene = make({"old": BODY, "k": b"k\n"}, {"old": None, "new": work})
    (file,) = scene.review.files
    assert (file.path, file.renamed_from) == ("new", "old")
    every = ids(scene)
    scene.decide("accept", *every)
    assert scene.tree("accepted") == scene.tree("work")
    scene.decide("unstage", *(item.hunk.id for item in scene.of("accepted")))
    assert (scene.tree("accepted"), ids(scene)) == (scene.tree("base"), every)
    scene.decide("reject", *every)
    scene.boundary()
    assert scene.tree("work") == scene.tree("base")
    scene.undo()
    scene.boundary()
    assert ids(scene) == every


def test_a_renames_lines_are_decided_apart(make: Make) -> None:
    scene = make({"old": BODY, "k": b"k\n"}, {"old": None, "new": MOVED})
    rename, edit = scene.open()
    assert (rename.hunk.kind, edit.hunk.kind) == ("rename", "text")
    scene.decide("accept", rename.hunk.id)
    assert scene.tree("accepted") == {"new": File(REGULAR, BODY), "k": File(REGULAR, b"k\n")}
    (left,) = scene.open()
    scene.decide("reject", left.hunk.id)
    scene.boundary()
    assert scene.tree("work") == scene.tree("accepted")


def test_lines_of_a_renamed_file_are_accepted_without_the_rename(make: Make) -> None:
    scene = make({"old": BODY, "k": b"k\n"}, {"old": None, "new": MOVED})
    rename, edit = scene.open()
    scene.decide("accept", edit.hunk.id)
    # The rename is undecided, so its lines are where the file was.
    assert scene.tree("accepted") == {"old": File(REGULAR, MOVED), "k": File(REGULAR, b"k\n")}
    assert [item.hunk.kind for item in scene.open()] == ["rename"]
    scene.decide("accept", rename.hunk.id)
    assert scene.tree("accepted") == scene.tree("work")
    scene.undo()
    scene.undo()
    assert (scene.tree("accepted"), ids(scene)) == (scene.tree("base"), [rename.hunk.id, edit.hunk.id])


def half(scene: Scene, path: str) -> list[str]:
    """The hunks of one path of the rename, shown as two files."""
    shown = review(scene.store.objects, scene.state, split=frozenset(["new"]))
    (file,) = (file for file in shown.files if file.path == path)
    return [item.hunk.id for item in file.hunks]


@pytest.mark.parametrize("work", [BODY, MOVED, executable(MOVED)])
@pytest.mark.parametrize("path", ["old", "new"])
def test_one_half_of_a_rename_accepted_and_back(make: Make, work: Content, path: str) -> None:
    scene = make({"old": BODY, "k": b"k\n"}, {"old": None, "new": work})
    every, mine = ids(scene), half(scene, path)
    scene.decide("accept", *mine)
    expected = scene.tree("base") | scene.tree("work") if path == "new" else {"k": File(REGULAR, b"k\n")}
    assert scene.tree("accepted") == expected
    scene.decide("unstage", *mine)
    assert (scene.tree("accepted"), ids(scene)) == (scene.tree("base"), every)
    scene.decide("accept", *mine)
    scene.decide("accept", *(item.hunk.id for item in scene.open()))
    assert scene.tree("accepted") == scene.tree("work")


@pytest.mark.parametrize("path", ["old", "new"])
def test_one_half_of_a_rename_rejected_and_back(make: Make, path: str) -> None:
    scene = make({"old": BODY, "k": b"k\n"}, {"old": None, "new": MOVED})
    every, work = ids(scene), scene.tree("work")
    scene.decide("reject", *half(scene, path))
    scene.boundary()
    expected = scene.tree("base") | work if path == "old" else {"k": File(REGULAR, b"k\n")}
    assert scene.tree("work") == expected
    scene.undo()
    scene.boundary()
    assert (scene.tree("work"), ids(scene)) == (work, every)


def test_a_rejected_rename_leaves_the_undecided_lines(make: Make) -> None:
    scene = make({"old": BODY, "k": b"k\n"}, {"old": None, "new": MOVED})
    rename, edit = scene.open()
    try:
        scene.decide("reject", rename.hunk.id)
    except Refused:
        return
    decided = [item.state for item in scene.items("new") if item.hunk.id == edit.hunk.id] == ["rejected"]
    scene.boundary()
    if not decided:
        assert scene.work("old") == MOVED, "nobody rejected its lines"
