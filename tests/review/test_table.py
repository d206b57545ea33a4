"""Every kind of change, decided whole, by block, by line and by range; each decision and its inverse, byte for byte."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from backspace_tui.core.trees import REGULAR, SYMLINK, File
from backspace_tui.sessions.review import ReviewHunk
from tests.review import oracle
from tests.review.conftest import Make
from tests.review.scene import Content, Scene, executable, lines, symlink

BODY = lines(*(f"line {n}" for n in range(1, 31)))
EDITED = BODY.replace(b"line 2\n", b"two\nzwei\n").replace(b"line 15\n", b"").replace(b"line 28\n", b"end\n")
BIG = b"x" * (20 << 20)


class Case(NamedTuple):
    """A base and what the agent made of it; ``text`` where the change has parts."""

    base: dict[str, Content]
    work: dict[str, Content | None]
    text: bool = True


def text(old: bytes, new: bytes) -> Case:
    return Case({"f": old}, {"f": new})


CASES: dict[str, Case] = {
    "three hunks": text(BODY, EDITED),
    "no end on the old side": text(b"a\nb", b"a\nb\nc\n"),
    "no end on the new side": text(b"a\nb\nc\n", b"a\nx\nb"),
    "no end on either side": text(b"a\nb\nc", b"x\na\nd"),
    "nothing but the end, gained": text(b"a\nb", b"a\nb\n"),
    "nothing but the end, lost": text(b"a\nb\n", b"a\nb"),
    "one line without end": text(b"a", b"b"),
    "carriage returns": text(BODY.replace(b"\n", b"\r\n"), EDITED.replace(b"\n", b"\r\n")),
    "to carriage returns": text(b"a\nb\nc\n", b"a\r\nb\r\nc\r\n"),
    "from carriage returns": text(b"a\r\nb\r\nc\r\n", b"a\nb\nc\n"),
    "mixed ends": text(b"a\r\nb\nc\r\nd", b"a\nb\nx\r\nd\ne"),
    "carriage returns alone": text(b"a\rb\rc", b"a\rB\rc\nd"),
    "new": Case({"k": b"k\n"}, {"f": b"a\nb\nc\n"}),
    "new without end": Case({"k": b"k\n"}, {"f": b"a\nb\nc"}),
    "new and executable": Case({"k": b"k\n"}, {"f": executable(b"a\nb\n")}),
    "new and empty": Case({"k": b"k\n"}, {"f": b""}, text=False),
    "new, empty and executable": Case({"k": b"k\n"}, {"f": executable(b"")}, text=False),
    "deleted": Case({"f": BODY, "k": b"k\n"}, {"f": None}, text=False),
    "deleted while empty": Case({"f": b"", "k": b"k\n"}, {"f": None}, text=False),
    "deleted and executable": Case({"f": executable(b"x"), "k": b"k\n"}, {"f": None}, text=False),
    "emptied": text(b"a\nb\nc\n", b""),
    "emptied, without end": text(b"a\nb", b""),
    "emptied and executable": Case({"f": executable(b"a\nb\n")}, {"f": executable(b"")}),
    "filled": text(b"", b"a\nb\n"),
    "filled without end": text(b"", b"a\nb"),
    "mode alone": Case({"f": b"a\n"}, {"f": executable(b"a\n")}, text=False),
    "mode taken away": Case({"f": executable(b"a\n")}, {"f": File(REGULAR, b"a\n")}, text=False),
    "mode of an empty file": Case({"f": b""}, {"f": executable(b"")}, text=False),
    "mode and lines": Case({"f": BODY}, {"f": executable(EDITED)}),
    "mode and binary": Case({"f": b"\0a"}, {"f": executable(b"\0b")}, text=False),
    "mode and emptied": Case({"f": b"a\nb\n"}, {"f": executable(b"")}),
    "new link": Case({"k": b"k\n"}, {"f": symlink(b"k")}, text=False),
    "other target": Case({"f": symlink(b"k"), "k": b"k\n"}, {"f": symlink(b"nowhere\n")}, text=False),
    "deleted link": Case({"f": symlink(b"k"), "k": b"k\n"}, {"f": None}, text=False),
    "new binary": Case({"k": b"k\n"}, {"f": b"\0\1\2"}, text=False),
    "binary": Case({"f": b"\0a\nb\n"}, {"f": b"\0a\nc\n"}, text=False),
    "text to binary": Case({"f": BODY}, {"f": b"a\0b\n"}, text=False),
    "binary to text": Case({"f": b"a\0b\n"}, {"f": BODY}, text=False),
    "deleted binary": Case({"f": b"a\0b\n", "k": b"k\n"}, {"f": None}, text=False),
    "emptied binary": Case({"f": b"a\0b\n"}, {"f": b""}, text=False),
    "a NUL that git does not see": text(b"x" * 8000 + b"\0\nb\n", b"x" * 8000 + b"\0\nc\nd\n"),
    "file to link": Case({"f": b"k", "k": b"k\n"}, {"f": symlink(b"k")}, text=False),
    "executable file to link": Case({"f": executable(b"a\n"), "k": b"k\n"}, {"f": symlink(b"k")}, text=False),
    "link to file": Case({"f": symlink(b"k"), "k": b"k\n"}, {"f": File(REGULAR, b"a\nb\n")}, text=False),
    "link to executable file": Case({"f": symlink(b"k"), "k": b"k\n"}, {"f": executable(b"k")}, text=False),
    "not UTF-8": text(b"\xff\xfe\ncaf\xe9\n\x80\nb\n", b"\xff\xfe\ncaf\xe8\n\xc0\xaf\nb\n"),
    "surrogates": text(b"\xed\xb2\x80\na\nb\n", b"c\nb\n\xed\xa0\x80\n"),
    "separators": text(b"a\xe2\x80\xa8b\nx\x0cy\x0bz\n\x1c\x1d\x1e\x85\n", b"a\xe2\x80\xa9b\nx\x0cy\n\x1c\x85q\n"),
    "form feeds at ends": text(b"a\x0c\nb\x0c\nc\n", b"a\x0c\nB\x0c\nc\x0c"),
    "escape sequences": text(b"\x1b[31mred\x1b[0m\n\x07\x08\n", b"\x1b]0;x\x07\n\x07\x08\n\x00"[:-1]),
    "lines like a diff": text(
        b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n",
        b"--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n+x\n\\ No newline at end of file\ndiff --git a/f b/f\n",
    ),
    "markers without end": text(b"\\ No newline at end of file", b"-- \n\\ No newline at end of file"),
    "signature": text(b"a\n-- \nb\n", b"a\n-- \n--- \nc\n"),
    "blank lines": text(b"\n\n\n", b"\n\na\n\n\n"),
    "blanks": text(b" \n\t\n  a\n", b"\t\n \n  a \n"),
    "a long line": Case({"f": b"a\n" + BIG + b"\nb\n"}, {"f": b"A\n" + BIG + b"y\nb\nc\n"}),
    "the whole file": text(lines(*range(300)), lines(*(f"new {n}" for n in range(250)))),
    "every other line": text(lines(*range(60)), lines(*(n if n % 2 else f"new {n}" for n in range(60)))),
    "same lines": text(b"a\n" * 9, b"a\n" * 4 + b"b\n" + b"a\n" * 8),
    "adjacent hunks": text(
        lines(*range(20)), lines(*range(3), "x", *range(4, 10), "y", *range(11, 17), "z", *range(18, 20))
    ),
    "a gap of six lines": text(lines("a", *range(6), "b"), lines("A", *range(6), "B")),
    "a gap of seven lines": text(lines("a", *range(7), "b"), lines("A", *range(7), "B")),
    "name with spaces": Case({"a b/ c": BODY}, {"a b/ c": EDITED}),
    "name with quotes": Case({"\"'`$(x)": BODY}, {"\"'`$(x)": EDITED}),
    "name with a tab": Case({"a\tb": BODY}, {"a\tb": EDITED}),
    "name with a line feed": Case({"a\nb": BODY}, {"a\nb": EDITED}),
    "name not UTF-8": Case({"caf\udce9": BODY}, {"caf\udce9": EDITED}),
    "name not ASCII": Case({"\u00fc/\u65e5\u672c": BODY}, {"\u00fc/\u65e5\u672c": EDITED}),
    "name like an option": Case({"--": BODY, "-n": b"x\n"}, {"--": EDITED, "-n": b"y\n"}),
    "name like a pathspec": Case({":(top)x": BODY, "*": b"x\n"}, {":(top)x": EDITED, "*": b"y\n"}),
    "name with b/": Case({"x b/y": BODY}, {"x b/y": EDITED}),
    "many at once": Case(
        {"a": BODY, "b": b"b\n", "c": executable(b"c"), "d": symlink(b"a"), "e": b""},
        {"a": EDITED, "b": None, "c": File(REGULAR, b"c\n"), "d": symlink(b"b"), "e": b"\0", "n": b"n"},
    ),
}

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
small = {name: case for name, case in CASES.items() if name != "a long line"}
each_small = pytest.mark.parametrize("case", small.values(), ids=small.keys())
texts = {name: case for name, case in small.items() if case.text}
each_text = pytest.mark.parametrize("case", texts.values(), ids=texts.keys())


def ids(scene: Scene) -> list[str]:
    return [item.hunk.id for item in scene.open()]


def shown(scene: Scene) -> list[tuple[str, str, frozenset[int]]]:
    """What the human sees of each hunk, but for where it is."""
    return sorted((item.hunk.id, item.state, item.rejected) for item in scene.items())


@each_case
def test_all_of_it_there_and_back(make: Make, case: Case) -> None:
    scene = make(case.base, case.work)
    every, base, work = ids(scene), scene.tree("base"), scene.tree("work")
    assert every
    assert scene.tree("accepted") == base
    scene.decide("accept", *every)
    assert scene.tree("accepted") == work
    assert ids(scene) == []
    scene.decide("unstage", *(item.hunk.id for item in scene.of("accepted")))
    assert (scene.tree("accepted"), ids(scene)) == (base, every)
    scene.undo()
    assert scene.tree("accepted") == work
    scene.undo()
    assert (scene.tree("accepted"), ids(scene)) == (base, every)
    scene.decide("reject", *every, comment="no")
    assert scene.tree("work") == work, "nothing moves under the agent's hands"
    scene.boundary()
    assert scene.tree("work") == scene.tree("accepted") == base
    scene.undo()
    scene.boundary()
    assert (scene.tree("work"), scene.tree("accepted"), ids(scene)) == (work, base, every)


@each_small
def test_each_hunk_alone_and_in_either_order(make: Make, case: Case) -> None:
    scene = make(case.base, case.work)
    before, every = shown(scene), ids(scene)
    for name in every:
        scene.decide("accept", name)
        assert scene.tree("accepted") != scene.tree("base")
        scene.undo()
        assert (scene.tree("accepted"), shown(scene)) == (scene.tree("base"), before)
    for order in (every, every[::-1]) if len(every) > 1 else ():
        for name in order:
            scene.decide("accept", name)
        assert scene.tree("accepted") == scene.tree("work")
        scene.decide("unstage", *(item.hunk.id for item in scene.of("accepted")))
        assert shown(scene) == before


def changed(item: ReviewHunk) -> list[int]:
    return [place for place, (sign, _) in enumerate(item.hunk.lines, 1) if sign != " "]


def each_line(item: ReviewHunk) -> list[list[int]]:
    return [[place] for place in changed(item)]


def each_block(item: ReviewHunk) -> list[list[int]]:
    found: list[list[int]] = []
    for place in changed(item):
        if found and found[-1][-1] == place - 1:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def each_range(item: ReviewHunk) -> list[list[int]]:
    places = changed(item)
    return [[n for n in places if first <= n <= first + 2] for first in places[::2]]


def units(item: ReviewHunk) -> list[list[int]]:
    """Blocks, lines and ranges; three of each stand for all, where there are more."""
    found = []
    for some in (each_block(item), each_line(item), each_range(item)):
        found += some if len(some) <= 3 else [some[0], some[len(some) // 2], some[-1]]
    return [places for index, places in enumerate(found) if places not in found[:index]]


def spelled(hunk: str, places: list[int]) -> str:
    return f"{hunk}:{','.join(map(str, places))}"


@each_text
def test_every_unit_is_what_rule_r_says(make: Make, case: Case) -> None:
    scene = make(case.base, case.work)
    for path in case.work:
        items = [item for item in scene.open(path) if item.hunk.kind == "text"]
        if not items:
            continue
        work = scene.tree("work")[path]
        base = scene.tree("base").get(path, File(work.mode, b""))
        before = base.data if path in scene.tree("base") else None
        diff = oracle.git_diff(scene.store.repository.path, base.data, work.data)
        for number, item in enumerate(items, 1):
            for index, places in enumerate(units(item)):
                named = {(number, place) for place in places}
                expected = oracle.stage(base.data, work.data, diff, lambda h, p, named=named: (h, p) in named)  # type: ignore[misc]
                scene.decide("accept", spelled(item.hunk.id, places))
                assert scene.tree("accepted")[path] == File(base.mode, expected), (path, item.hunk.id, places)
                if index % 2:
                    scene.undo()
                else:
                    scene.decide("unstage", *(found.hunk.id for found in scene.of("accepted", path)))
                assert scene.accepted(path) == before
    assert ids(scene)


@each_text
def test_each_rejected_line_leaves_the_work(make: Make, case: Case) -> None:
    scene = make(case.base, case.work)
    path, item = next((item.hunk.path, item) for item in scene.open() if item.hunk.kind == "text")
    base, work = scene.tree("base").get(path), scene.tree("work")[path]
    old = base.data if base is not None else b""
    diff = oracle.git_diff(scene.store.repository.path, old, work.data)
    before = shown(scene)
    for places in each_line(item)[:2]:
        (place,) = places
        kept = oracle.stage(old, work.data, diff, lambda h, p, place=place: (h, p) != (1, place))  # type: ignore[misc]
        scene.decide("reject", spelled(item.hunk.id, places))
        (waiting,) = [found for found in scene.items(path) if found.rejected]
        assert waiting.rejected == {place}
        scene.boundary()
        left = scene.tree("work").get(path)
        if len(changed(item)) == 1 and len(scene.open(path)) == 0:
            assert left == base
        else:
            assert left == File(work.mode, kept)
        scene.undo()
        scene.boundary()
        assert scene.tree("work")[path] == work
        assert shown(scene) == before
    assert scene.tree("accepted") == scene.tree("base")


@each_text
def test_accepted_line_by_line_it_is_the_work(make: Make, case: Case) -> None:
    scene = make(case.base, case.work)
    if len(scene.open()) > 6 or sum(len(changed(item)) for item in scene.open()) > 30:
        pytest.skip("too many lines to take one by one")
    while found := scene.open():
        item = found[-1]
        scene.decide("accept", spelled(item.hunk.id, changed(item)[:1]) if item.hunk.kind == "text" else item.hunk.id)
    assert scene.tree("accepted") == scene.tree("work")


def test_the_link_stays_a_link(make: Make) -> None:
    scene = make({"f": symlink(b"a")}, {"f": symlink(b"b")})
    scene.decide("accept", scene.only())
    assert scene.tree("accepted")["f"] == File(SYMLINK, b"b")
