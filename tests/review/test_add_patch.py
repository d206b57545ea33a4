"""Git's own tests of ``add -p`` and ``checkout -p`` (t3701), told again as reviews: what is accepted, byte for byte."""

from __future__ import annotations

import pytest

from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from tests.review.conftest import Make
from tests.review.scene import Refused, Scene, executable, lines, symlink

TEST = lines(10, 20, 30, 40, 50, 60)


def bits(scene: Scene, path: str = "test") -> str:
    """The one open hunk of a path, whose blocks are what ``s`` would split it into."""
    return scene.only(path)


def test_a_new_file_is_added_whole(make: Make) -> None:
    scene = make({"other": b"x\n"}, {"file": b"content\n"})
    scene.decide("accept", scene.only())
    assert scene.accepted("file") == b"content\n"


def test_a_line_of_an_existing_file_is_added(make: Make) -> None:
    scene = make({"file": b"baseline\n"}, {"file": b"baseline\ncontent\n"})
    scene.decide("accept", scene.only())
    assert scene.accepted("file") == b"baseline\ncontent\n"
    scene.decide("unstage", scene.of("accepted")[0].hunk.id)
    assert scene.accepted("file") == b"baseline\n"


def test_an_edit_that_changes_nothing_is_the_hunk(make: Make) -> None:
    scene = make({"file": b"baseline\n"}, {"file": b"baseline\ncontent\n"})
    scene.edit(scene.only(), b"baseline\ncontent\n")
    assert scene.accepted("file") == b"baseline\ncontent\n"
    assert scene.open() == []


def test_a_real_edit_is_what_is_accepted(make: Make) -> None:
    work = b"baseline\ncontent\nnewcontent\nlines\n"
    scene = make({"file": b"baseline\n"}, {"file": work})
    scene.edit(scene.only(), b"baseline\nnewcontent\n")
    assert scene.accepted("file") == b"baseline\nnewcontent\n"
    assert scene.work("file") == work


def test_an_edit_may_take_the_hunks_lines_away(make: Make) -> None:
    scene = make({"test": TEST}, {"test": lines(10, 15, 20, 30, 40, 50, 60)})
    before = scene.accepted("test")
    with pytest.raises(Refused):
        scene.edit(scene.only(), b"")
    assert scene.accepted("test") == before
    scene.edit(scene.only(), lines(10, 20, 30, 40))
    assert scene.accepted("test") == lines(10, 20, 30, 40, 50, 60)


def test_an_edit_of_one_hunk_leaves_the_others(make: Make) -> None:
    base = lines(*range(30))
    work = base.replace(b"3\n", b"three\n", 1).replace(b"25\n", b"twentyfive\n")
    scene = make({"test": base}, {"test": work})
    first, second = scene.open()
    scene.edit(first.hunk.id, lines(0, 1, 2, "drei", "und mehr", 4, 5, 6))
    accepted = base.replace(b"3\n", b"drei\nund mehr\n", 1)
    assert scene.accepted("test") == accepted
    scene.decide("accept", second.hunk.id)
    assert scene.accepted("test") == accepted.replace(b"25\n", b"twentyfive\n")
    scene.undo()
    scene.undo()
    assert scene.accepted("test") == base


def test_content_alone_does_not_take_the_mode(make: Make) -> None:
    scene = make({"file": b"content\n"}, {"file": executable(b"content\nmore\n")})
    mode, text = scene.open()
    assert (mode.hunk.kind, text.hunk.kind) == ("mode", "text")
    scene.decide("accept", text.hunk.id)
    assert scene.tree("accepted") == {"file": File(REGULAR, b"content\nmore\n")}


def test_the_mode_alone_does_not_take_the_content(make: Make) -> None:
    scene = make({"file": b"content\n"}, {"file": executable(b"content\nmore\n")})
    mode, _ = scene.open()
    scene.decide("accept", mode.hunk.id)
    assert scene.tree("accepted") == {"file": File(EXECUTABLE, b"content\n")}
    scene.decide("unstage", mode.hunk.id)
    assert scene.tree("accepted") == {"file": File(REGULAR, b"content\n")}


def test_mode_and_content_are_added_together(make: Make) -> None:
    scene = make({"file": b"content\n"}, {"file": executable(b"content\nmore\n")})
    scene.decide("accept", *(item.hunk.id for item in scene.open()))
    assert scene.tree("accepted") == scene.tree("work") == {"file": File(EXECUTABLE, b"content\nmore\n")}


def test_a_rejected_mode_leaves_the_content(make: Make) -> None:
    scene = make({"file": b"content\n"}, {"file": executable(b"content\nmore\n")})
    mode, _ = scene.open()
    scene.decide("reject", mode.hunk.id)
    scene.boundary()
    assert scene.tree("work") == {"file": File(REGULAR, b"content\nmore\n")}


@pytest.mark.parametrize("content", [b"content\n", b"", b"no end", b"bin\0ary"])
def test_a_deleted_file_is_one_unit(make: Make, content: bytes) -> None:
    scene = make({"file": content, "kept": b"k\n"}, {"file": None})
    name = scene.only()
    scene.decide("accept", name)
    assert scene.tree("accepted") == {"kept": File(REGULAR, b"k\n")}
    scene.decide("unstage", name)
    assert scene.accepted("file") == content
    scene.decide("reject", name)
    scene.boundary()
    assert scene.work("file") == content


def test_a_deleted_file_has_no_parts(make: Make) -> None:
    scene = make({"file": b"1\n2\n", "kept": b"k\n"}, {"file": None})
    for part in (":1", "/1"):
        with pytest.raises(Refused):
            scene.decide("accept", scene.only() + part)
    assert scene.accepted("file") == b"1\n2\n"


def test_an_empty_file_is_added(make: Make) -> None:
    scene = make({"kept": b"k\n"}, {"empty": b""})
    name = scene.only()
    scene.decide("accept", name)
    assert scene.tree("accepted")["empty"] == File(REGULAR, b"")
    scene.decide("unstage", name)
    assert scene.accepted("empty") is None
    scene.decide("reject", name)
    scene.boundary()
    assert scene.work("empty") is None


def test_the_first_lines_of_a_file_are_added(make: Make) -> None:
    scene = make({"file": lines("", "10", "20")}, {"file": lines("0", "", "10", "20")})
    scene.decide("accept", scene.only())
    assert scene.accepted("file") == lines("0", "", "10", "20")


def test_a_hunk_is_split_and_its_first_part_taken(make: Make) -> None:
    scene = make({"test": TEST}, {"test": lines(5, 10, 20, 21, 30, 31, 40, 50, 60)})
    hunk = bits(scene)
    scene.decide("accept", hunk + "/1")
    assert scene.accepted("test") == lines(5, 10, 20, 30, 40, 50, 60)


def test_a_split_hunk_is_taken_from_the_middle(make: Make) -> None:
    scene = make({"test": TEST}, {"test": lines(5, 10, 20, 21, 30, 31, 40, 50, 60)})
    scene.decide("accept", bits(scene) + "/2")
    assert scene.accepted("test") == lines(10, 20, 21, 30, 40, 50, 60)
    # What is left is still the same two additions.
    scene.decide("accept", bits(scene) + "/2")
    assert scene.accepted("test") == lines(10, 20, 21, 30, 31, 40, 50, 60)


def test_no_to_the_first_yes_to_the_rest(make: Make) -> None:
    scene = make({"test": TEST}, {"test": lines(5, 10, 20, 21, 30, 31, 40, 50, 60)})
    scene.decide("accept", bits(scene) + "/2-3")
    assert scene.accepted("test") == lines(10, 20, 21, 30, 31, 40, 50, 60)


def test_split_then_edit_then_no(make: Make) -> None:
    scene = make({"test": TEST}, {"test": lines(10, 15, 20, 21, 22, 23, 24, 30, 40, 50, 60)})
    hunk = bits(scene)
    scene.decide("accept", scene.unit("+15"), scene.unit("+21", "+24"))
    assert scene.accepted("test") == lines(10, 15, 20, 21, 24, 30, 40, 50, 60)
    scene.undo()
    assert bits(scene) == hunk
    scene.decide("accept", f"{hunk}/1", f"{hunk}:5-6")
    assert scene.accepted("test") == lines(10, 15, 20, 22, 23, 30, 40, 50, 60)


def test_adding_lines_in_the_editor_to_the_first_of_two_hunks(make: Make) -> None:
    scene = make({"test": TEST}, {"test": lines(10, 11, 20, 30, 40, 50, 51, 60)})
    scene.edit(scene.only(), lines(10, 11, 12, 20, 21, 22, 30, 40, 50, 60))
    assert scene.accepted("test") == lines(10, 11, 12, 20, 21, 22, 30, 40, 50, 60)
    assert scene.work("test") == lines(10, 11, 20, 30, 40, 50, 51, 60)


def test_a_split_hunk_with_an_incomplete_line_at_the_end(make: Make) -> None:
    scene = make({"test": TEST + b"missing LF"}, {"test": lines("before", 10, 20, 30, 40, 50, 60, 70)})
    hunks = [item.hunk.id for item in scene.open()]
    last = f"{hunks[0]}/2" if len(hunks) == 1 else hunks[1]
    scene.decide("accept", last)
    assert scene.accepted("test") == lines(10, 20, 30, 40, 50, 60, 70)
    scene.undo()
    first = f"{hunks[0]}/1" if len(hunks) == 1 else hunks[0]
    scene.decide("accept", first)
    assert scene.accepted("test") == lines("before", 10, 20, 30, 40, 50, 60) + b"missing LF"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (("-missing LF",), TEST),
        (("+70",), TEST + b"missing LF\n70\n"),
        (("-missing LF", "+70"), TEST + b"70\n"),
        (("+before",), lines("before") + TEST + b"missing LF"),
    ],
)
def test_lines_around_an_incomplete_line(make: Make, chosen: tuple[str, ...], expected: bytes) -> None:
    scene = make({"test": TEST + b"missing LF"}, {"test": lines("before", 10, 20, 30, 40, 50, 60, 70)})
    scene.decide("accept", scene.unit(*chosen))
    assert scene.accepted("test") == expected


def test_hunks_after_an_empty_context_line(make: Make) -> None:
    scene = make({"file": b"1\n\n2\n"}, {"file": b"0\n1\n\n2\n3\n"})
    scene.decide("accept", scene.only() + "/2")
    assert scene.accepted("file") == b"1\n\n2\n3\n"
    scene.decide("accept", scene.only())
    assert scene.accepted("file") == b"0\n1\n\n2\n3\n"


PATHOLOGICAL = lines("c", "b", *"aaaaaaa", "b", *"aaaa")


def test_pathological_context(make: Make) -> None:
    scene = make({"a": lines(*"a" * 11)}, {"a": PATHOLOGICAL})
    # No to the lines at the top, yes to the one in the middle.
    found = [f"{i.hunk.id}:{p}" for i in scene.open() for p, (sign, _) in enumerate(i.hunk.lines, 1) if sign == "+"]
    scene.decide("accept", found[-1])
    assert scene.accepted("a") == lines(*"aaaaaaa", "b", *"aaaa")


def test_editing_with_pathological_context(make: Make) -> None:
    scene = make({"a": lines(*"a" * 11)}, {"a": PATHOLOGICAL})
    scene.edit(scene.open()[0].hunk.id, lines("b", "a", "a", "a"))
    # What was left out of the edited hunk is not offered again as undecided.
    (second,) = scene.open()
    scene.decide("accept", second.hunk.id)
    assert scene.accepted("a") == lines("b", *"aaaaaaa", "b", *"aaaa")


def test_one_of_many_same_lines_is_rejected(make: Make) -> None:
    base, work = lines(*"aaaaaa"), lines(*"abababababa")
    scene = make({"a": base}, {"a": work})
    hunk = scene.only()
    scene.decide("reject", f"{hunk}/4")
    scene.boundary()
    assert scene.work("a") == lines(*"abababaaba")
    assert scene.accepted("a") == base
    scene.undo()
    scene.boundary()
    assert scene.work("a") == work


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_each_of_many_same_lines_can_be_taken(make: Make, number: int) -> None:
    scene = make({"a": lines(*"aaaaaa")}, {"a": lines(*"abababababa")})
    scene.decide("accept", f"{scene.only()}/{number}")
    assert scene.accepted("a") == lines(*"a" * number, "b", *"a" * (6 - number))


def test_a_new_executable_file_keeps_its_mode_in_parts(make: Make) -> None:
    scene = make({"kept": b"k\n"}, {"run": executable(b"#!/bin/sh\necho 1\necho 2\n")})
    scene.decide("accept", scene.unit("+#!/bin/sh", "+echo 2"))
    assert scene.tree("accepted")["run"] == File(EXECUTABLE, b"#!/bin/sh\necho 2\n")
    scene.decide("accept", scene.only())
    assert scene.tree("accepted") == scene.tree("work")
    scene.undo()
    scene.undo()
    assert scene.accepted("run") is None


def test_a_new_executable_empty_file(make: Make) -> None:
    scene = make({"kept": b"k\n"}, {"run": executable(b"")})
    scene.decide("accept", scene.only())
    assert scene.tree("accepted")["run"] == File(EXECUTABLE, b"")


def test_a_symlink_becomes_a_file_as_one_unit(make: Make) -> None:
    scene = make({"link": symlink(b"target"), "target": b"t\n"}, {"link": File(REGULAR, b"file\n")})
    name = scene.only()
    for part in (":1", "/1"):
        with pytest.raises(Refused):
            scene.decide("accept", name + part)
    scene.decide("accept", name)
    assert scene.tree("accepted")["link"] == File(REGULAR, b"file\n")
    scene.decide("unstage", name)
    assert scene.tree("accepted")["link"] == File(SYMLINK, b"target")


@pytest.mark.parametrize("mode", [REGULAR, EXECUTABLE])
def test_a_file_becomes_a_symlink_as_one_unit(make: Make, mode: int) -> None:
    scene = make({"link": File(mode, b"file\n"), "target": b"t\n"}, {"link": symlink(b"target")})
    scene.decide("accept", scene.only())
    assert scene.tree("accepted")["link"] == File(SYMLINK, b"target")
    scene.undo()
    scene.decide("reject", scene.only())
    scene.boundary()
    assert scene.tree("work")["link"] == File(mode, b"file\n")


def test_a_file_becomes_a_folder(make: Make) -> None:
    scene = make({"x": b"file\n"}, {"x": None, "x/y": b"inside\n"})
    assert len(scene.open()) == 2
    scene.decide("accept", *(item.hunk.id for item in scene.open()))
    assert scene.tree("accepted") == {"x/y": File(REGULAR, b"inside\n")}
    scene.undo()
    assert scene.tree("accepted") == {"x": File(REGULAR, b"file\n")}
    scene.decide("reject", *(item.hunk.id for item in scene.open()))
    scene.boundary()
    assert scene.tree("work") == {"x": File(REGULAR, b"file\n")}
    scene.undo()
    scene.boundary()
    assert scene.tree("work") == {"x/y": File(REGULAR, b"inside\n")}


@pytest.mark.parametrize(
    ("base", "work"),
    [
        ({"x/y": b"inside\n"}, {"x/y": None, "x": b"a file, and not what was inside\n"}),
        ({"x": b"a file\n"}, {"x": None, "x/y": b"inside, and not what was there\n"}),
        ({"x": symlink(b"k")}, {"x": None, "x/y/z": b"inside\n"}),
    ],
)
def test_a_file_and_a_folder_of_one_name(
    make: Make, base: dict[str, bytes | File], work: dict[str, bytes | File | None]
) -> None:
    scene = make({"k": b"k\n"} | base, work)
    (gone,) = base
    (new,) = (path for path, content in work.items() if content is not None)
    # A tree cannot hold both; what nobody decided about is not lost for that.
    try:
        scene.decide("accept", scene.only(new))
    except Refused:
        assert scene.tree("accepted") == scene.tree("base")
    else:
        assert gone in scene.tree("accepted")
    scene.decide("accept", *(item.hunk.id for item in scene.open()))
    assert scene.tree("accepted") == scene.tree("work")
    with_both = [item.hunk.id for item in scene.of("accepted")]
    # The same backwards: the old one cannot come back beside the new one.
    (deletion,) = scene.of("accepted", gone)
    try:
        scene.decide("unstage", deletion.hunk.id)
    except Refused:
        assert scene.tree("accepted") == scene.tree("work")
    else:
        assert new in scene.tree("accepted")
    scene.decide("unstage", *(name for name in with_both if name in {item.hunk.id for item in scene.of("accepted")}))
    assert scene.tree("accepted") == scene.tree("base")


def test_a_rejected_file_where_a_folder_was(make: Make) -> None:
    scene = make({"x/y": b"inside\n"}, {"x/y": None, "x": b"a file, and not what was inside\n"})
    work = scene.tree("work")
    # Only the deletion: the folder cannot come back beside the file, which nobody rejected.
    try:
        scene.decide("reject", scene.only("x/y"))
    except Refused:
        pass
    else:
        scene.boundary()
        assert scene.tree("work").get("x") == work["x"]


NAMES = ["funny name", "t\tab", "new\nline", 'qu"ote', "back\\slash", "caf\u00e9", "-n", ":(top)x", "a b/c d"]
NAMES += [b"caf\xe9".decode("utf-8", "surrogateescape"), " lead", "trail ", "x b/y", "\u2028", "[a-z]*", "'"]


def test_unusual_names(make: Make) -> None:
    base: dict[str, bytes] = dict.fromkeys(NAMES, b"1\n2\n3\n")
    scene = make(dict(base), dict.fromkeys(NAMES, b"one\n2\nthree\n"))
    for name in NAMES:
        scene.decide("accept", scene.unit("-1", "+one", path=name))
    assert {path: file.data for path, file in scene.tree("accepted").items()} == dict.fromkeys(NAMES, b"one\n2\n3\n")
    for name in NAMES:
        scene.decide("reject", scene.only(name))
    scene.boundary()
    assert scene.tree("work") == scene.tree("accepted")


@pytest.mark.parametrize("name", NAMES)
def test_unusual_names_of_new_and_deleted_files(make: Make, name: str) -> None:
    scene = make({name: b"1\n", "kept": b"k\n"}, {name: None, "new " + name: b"new\n"})
    for item in scene.open():
        scene.decide("accept", item.hunk.id)
    assert scene.tree("accepted") == scene.tree("work")


def test_everything_and_nothing(make: Make) -> None:
    base = {"a": lines(*range(20)), "b": b"x\n", "gone": b"g\n"}
    work = {"a": lines(*range(1, 15), "end"), "b": executable(b"y\n"), "gone": None, "new": b"n", "link": symlink(b"a")}
    scene = make(base, work)
    every = [item.hunk.id for item in scene.open()]
    scene.decide("accept", *every)
    assert scene.tree("accepted") == scene.tree("work")
    assert scene.open() == []
    scene.undo()
    assert scene.tree("accepted") == scene.tree("base")
    assert [item.hunk.id for item in scene.open()] == every
    scene.decide("reject", *every)
    scene.boundary()
    assert scene.tree("work") == scene.tree("base")


def test_a_group_is_all_or_nothing(make: Make) -> None:
    scene = make({"a": lines(*range(20))}, {"a": lines("x", *range(20), "y")})
    first, _ = scene.open()
    seq = scene.state.last_seq
    with pytest.raises(Refused):
        scene.decide("accept", first.hunk.id, "0123456789ab")
    with pytest.raises(Refused):
        scene.decide("accept", first.hunk.id, f"{first.hunk.id}:99")
    assert scene.state.last_seq == seq
    assert scene.tree("accepted") == scene.tree("base")


@pytest.mark.parametrize("part", [":0", ":99", ":", "/0", "/3", "/", ":1-", ":2-1", ":x", "/1:1", ":1,,2", ":-1"])
def test_a_part_that_is_not_there_is_refused(make: Make, part: str) -> None:
    scene = make({"test": TEST}, {"test": lines(10, 15, 20, 30, 40, 45, 50, 60)})
    name = scene.only()
    with pytest.raises(Refused):
        scene.decide("accept", name + part)
    assert scene.tree("accepted") == scene.tree("base")


def test_the_first_of_two_same_hunks_is_rejected(make: Make) -> None:
    base = lines("x", *range(20), "x")
    scene = make({"f": base}, {"f": lines("y", *range(20), "y")})
    first, second = (item.hunk.id for item in scene.open())
    scene.decide("reject", first, comment="not here")
    scene.boundary()
    assert scene.work("f") == lines("x", *range(20), "y")
    (left,) = scene.open()
    assert left.hunk.id == second, "its path, old and new lines are what they were"
    (gone,) = (item for item in scene.items() if item.gone)
    assert (gone.state, gone.hunk.id, gone.comment) == ("rejected", first, "not here")
    scene.decide("accept", second)
    assert scene.accepted("f") == lines("x", *range(20), "y")
    scene.undo()
    scene.undo()
    scene.boundary()
    assert scene.work("f") == lines("y", *range(20), "y")
    assert [item.hunk.id for item in scene.open()] == [first, second]


def test_marks_of_same_hunks_stay_apart(make: Make) -> None:
    scene = make({"f": lines("x", *range(20), "x")}, {"f": lines("y", *range(20), "y")})
    first, second = (item.hunk.id for item in scene.open())
    scene.decide("review", second)
    scene.decide("comment", second, comment="the second")
    scene.decide("accept", first)
    assert [(i.state, i.comment) for i in scene.items()] == [("accepted", ""), ("reviewed", "the second")]
    scene.undo()
    scene.decide("reject", first)
    scene.boundary()
    (left,) = scene.open()
    assert (left.state, left.comment) == ("reviewed", "the second")
