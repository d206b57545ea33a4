"""Random histories: an agent that goes on editing, a human who decides in between; the laws hold after every step."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.core.state import fold
from backspace_tui.core.trees import File
from backspace_tui.engine.review import accept_all
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.review import ReviewHunk
from tests.review import oracle
from tests.review.scene import Action, Content, Refused, Scene, Store, executable, symlink
from tests.review.told import Told, often

STEPS = 10
ALPHABET = [b"a", b"b", b"c", b"", b"}", b"a\r"]
PATHS = ("f", "g")
View = frozenset[tuple[Any, ...]]


def view(scene: Scene) -> View:
    """What the human sees, but for places: those of accepted hunks count other files' lines than the next diff."""
    return frozenset(
        (i.hunk.path, i.hunk.id, i.state, i.changed, i.rejected, i.comment, i.kept, i.redo, i.gone)
        for i in scene.items()
    )


def contents() -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda items, closed: b"\n".join(items) + (b"\n" if closed and items else b""),
        st.lists(st.sampled_from(ALPHABET), max_size=24),
        st.booleans(),
    )


def edited(data: st.DataObject, old: bytes) -> bytes:
    """``old`` with some lines replaced, put in or taken out, or another end."""
    parts = old.split(b"\n")
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(parts)))
        parts[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(st.sampled_from(ALPHABET), max_size=2))
    return b"\n".join(parts)


def agents_turn(data: st.DataObject, scene: Scene) -> dict[str, Content | None]:
    """Mostly lines; now and then another mode, kind or name."""
    work = scene.tree("work")
    path = data.draw(st.sampled_from(sorted({*PATHS, *work})))
    held = work.get(path)
    kind = data.draw(st.sampled_from(["lines"] * 12 + ["mode", "gone", "link", "binary", "new", "rewrite", "move"]))
    if held is None or kind == "rewrite":
        return {path: data.draw(contents())}
    match kind:
        case "mode":
            return {path: File(0o100644 if held.mode == 0o100755 else 0o100755, held.data)}
        case "gone":
            return {path: None}
        case "link":
            return {path: symlink(b"x" + data.draw(st.sampled_from(ALPHABET)))}
        case "binary":
            return {path: b"\0" + data.draw(contents())}
        case "move":
            moved = File(held.mode, edited(data, held.data)) if data.draw(st.booleans()) else held
            return {path: None, data.draw(st.sampled_from(["m", "n"])): moved}
        case "new":
            return {"h": executable(data.draw(contents()))}
        case _:
            return {path: edited(data, held.data)}


def a_unit(data: st.DataObject, item: ReviewHunk) -> tuple[str, frozenset[int]]:
    """A unit of the hunk: its name, and the positions of its changed lines as the name means them."""
    places = [place for place, (sign, _) in enumerate(item.hunk.lines, 1) if sign != " "]
    if item.hunk.kind != "text":
        return item.hunk.id, frozenset()
    match data.draw(st.sampled_from(["hunk", "hunk", "block", "line", "range", "lines"])):
        case "hunk":
            # Of a hunk with lines that are to be rejected, its name alone means the rest.
            rest = frozenset(places) - item.rejected
            return item.hunk.id, rest or frozenset(places)
        case "block":
            starts = [place for place in places if place - 1 not in places]
            number = data.draw(st.integers(1, len(starts)))
            end = starts[number] if number < len(starts) else len(item.hunk.lines) + 1
            return f"{item.hunk.id}/{number}", frozenset(p for p in places if starts[number - 1] <= p < end)
        case "line":
            place = data.draw(st.sampled_from(places))
            return f"{item.hunk.id}:{place}", frozenset([place])
        case "range":
            first = data.draw(st.sampled_from(places))
            last = data.draw(st.integers(first, len(item.hunk.lines)))
            return f"{item.hunk.id}:{first}-{last}", frozenset(p for p in places if first <= p <= last)
        case _:
            some = data.draw(st.sets(st.sampled_from(places), min_size=1))
            return f"{item.hunk.id}:{','.join(map(str, sorted(some)))}", frozenset(some)


def side(scene: Scene, which: Any, path: str) -> File | None:
    return scene.tree(which).get(path)


def pending(scene: Scene, path: str) -> list[ReviewHunk]:
    """The path's hunks of diff(A, W), in order."""
    return [item for item in scene.items(path) if item.state != "accepted" and not item.gone]


def staged(
    scene: Scene, old: File | None, new: File | None, items: list[ReviewHunk], taken: dict[str, frozenset[int]]
) -> File | None:
    """``old`` with these units of the way to ``new``: the hunks are ``items``, the chosen ones stand in ``taken``."""
    chosen = {item.hunk.kind for item in items if item.hunk.id in taken}
    if not chosen:
        return old
    if new is None:
        return None
    mode = new.mode if old is None or chosen & {"mode", "type"} else old.mode
    before = old.data if old is not None else b""
    if chosen - {"mode", "text"}:
        return File(mode, new.data)
    if "text" not in chosen:
        return File(mode, before)
    texts = [item.hunk.id for item in items if item.hunk.kind == "text"]
    diff = oracle.git_diff(scene.store.repository.path, before, new.data)
    assert len(oracle.read(diff)) == len(texts), "the review shows the hunks that git does"
    return File(
        mode, oracle.stage(before, new.data, diff, lambda hunk, place: place in taken.get(texts[hunk - 1], frozenset()))
    )


def is_rename(scene: Scene, path: str) -> bool:
    return any(
        file.path == path and any(item.hunk.kind == "rename" for item in file.hunks) for file in scene.review.files
    )


def accept(data: st.DataObject, scene: Scene) -> None:
    found = [item for item in scene.items() if item.state != "accepted" and not item.gone and not item.kept]
    if not found:
        return
    item = data.draw(st.sampled_from(found))
    path = item.hunk.path
    unit, places = a_unit(data, item)
    before, seen, work = scene.tree("accepted"), view(scene), scene.state.work_tree
    plain = not is_rename(scene, path)
    expected = (
        staged(scene, before.get(path), side(scene, "work", path), pending(scene, path), {item.hunk.id: places})
        if plain
        else None
    )
    scene.decide("accept", unit)
    after = scene.tree("accepted")
    assert scene.state.work_tree == work
    if plain:
        assert after.get(path) == expected
        assert {p: f for p, f in after.items() if p != path} == {p: f for p, f in before.items() if p != path}
    scene.undo()
    assert scene.tree("accepted") == before
    assert view(scene) == seen
    scene.decide("accept", unit)
    assert scene.tree("accepted") == after


def unstage(data: st.DataObject, scene: Scene) -> None:
    found = scene.of("accepted")
    if not found:
        return
    item = data.draw(st.sampled_from(found))
    path = item.hunk.path
    unit, places = a_unit(data, item)
    before, seen = scene.tree("accepted"), view(scene)
    items = scene.of("accepted", path)
    plain = not is_rename(scene, path)
    every = {
        other.hunk.id: frozenset(p for p, (sign, _) in enumerate(other.hunk.lines, 1) if sign != " ") for other in items
    }
    left = every[item.hunk.id] - places if item.hunk.kind == "text" else frozenset()
    rest = {name: kept for name, kept in every.items() if name != item.hunk.id} | ({item.hunk.id: left} if left else {})
    expected = staged(scene, side(scene, "base", path), before.get(path), items, rest) if plain else None
    scene.decide("unstage", unit)
    if plain:
        assert scene.accepted(path) == (expected.data if expected else None)
        assert scene.tree("accepted").get(path) == expected
    scene.undo()
    assert (scene.tree("accepted"), view(scene)) == (before, seen)
    scene.decide("unstage", unit)


def reject(data: st.DataObject, scene: Scene) -> None:
    found = [item for item in scene.open() if not item.rejected]
    if not found:
        return
    item = data.draw(st.sampled_from(found))
    unit, places = a_unit(data, item)
    accepted, work, seen = scene.state.accepted_tree, scene.state.work_tree, view(scene)
    scene.decide("reject", unit, comment=data.draw(st.sampled_from(["", "no"])))
    assert (scene.state.accepted_tree, scene.state.work_tree) == (accepted, work)
    (now,) = [other for other in scene.items() if other.hunk.id == item.hunk.id and other.state != "accepted"]
    if item.hunk.kind == "text":
        assert now.rejected == places
    scene.undo()
    assert view(scene) == seen
    scene.decide("reject", unit)
    if data.draw(st.booleans()) and not scene.state.restorations and len(scene.state.pending_rejections) == 1:
        # There and back again: nothing else waits, so nothing else moves.
        boundary(data, scene)
        scene.undo()
        scene.boundary()
        assert scene.tree("work") == scene.job.workspace.files(work)
        assert view(scene) == seen


def boundary(data: st.DataObject, scene: Scene) -> None:
    accepted, before = scene.state.accepted_tree, scene.tree("work")
    expected: dict[str, File | None] = dict(before)
    known = not scene.state.restorations
    for path in {item.hunk.path for item in scene.items()}:
        items = pending(scene, path)
        waiting = [item for item in items if item.rejected or item.state == "rejected"]
        if waiting and is_rename(scene, path):
            known = False
        elif waiting:
            kept = {}
            for item in items:
                every = frozenset(p for p, (sign, _) in enumerate(item.hunk.lines, 1) if sign != " ")
                left = every - item.rejected
                if item.state != "rejected" and (left or item.hunk.kind != "text"):
                    kept[item.hunk.id] = left
            expected[path] = staged(scene, side(scene, "accepted", path), before.get(path), items, kept)
    scene.boundary()
    assert scene.state.accepted_tree == accepted, "a boundary does not move what is accepted"
    assert not scene.state.pending_rejections
    assert not scene.state.restorations
    if known:
        assert scene.tree("work") == {path: file for path, file in expected.items() if file is not None}
    again = scene.state.last_seq
    scene.boundary()
    assert scene.state.last_seq == again, "nothing waits after a boundary"


def mark(data: st.DataObject, scene: Scene) -> None:
    found = scene.open()
    if not found:
        return
    item = data.draw(st.sampled_from(found))
    trees = scene.state.accepted_tree, scene.state.work_tree
    action: Action = data.draw(st.sampled_from(["review", "comment", "unreview"]))
    if action == "unreview" and item.state != "reviewed":
        return
    scene.decide(action, item.hunk.id, comment="why?" if action == "comment" else "")
    (now,) = [other for other in scene.open() if other.hunk.id == item.hunk.id]
    if action == "comment":
        assert now.comment == "why?"
    else:
        assert (now.state == "reviewed") == (action == "review")
        assert now.comment == item.comment
    assert (scene.state.accepted_tree, scene.state.work_tree) == trees


def edit(data: st.DataObject, scene: Scene) -> None:
    found = [item for item in scene.open() if item.hunk.kind == "text" and not item.rejected]
    if not found:
        return
    item = data.draw(st.sampled_from(found))
    path = item.hunk.path
    if is_rename(scene, path):
        return
    new = [text for sign, text in item.hunk.lines if sign != "-"]
    result = edited(data, b"".join(text + b"\n" for text in new))
    before, seen, work = scene.tree("accepted"), view(scene), scene.state.work_tree
    held = before[path].data if path in before else b""
    rows = held.split(b"\n")
    closed = rows[-1] == b""
    if closed:
        rows.pop()
    start = item.hunk.old_start - 1
    end = start + sum(sign != "+" for sign, _ in item.hunk.lines)
    try:
        scene.edit(item.hunk.id, result)
    except Refused:
        assert (scene.tree("accepted"), view(scene)) == (before, seen)
        return
    assert scene.state.work_tree == work, "an edit leaves the agent's file alone"
    after = scene.accepted(path)
    head, tail = (b"".join(row + b"\n" for row in part) for part in (rows[:start], rows[end:]))
    if end < len(rows) and closed:
        # In the middle of a file every line has its end.
        assert after == head + (result if result.endswith(b"\n") or not result else result + b"\n") + tail
    elif result.endswith(b"\n"):
        assert after is not None
        assert after.startswith(head + result[:-1])
    scene.undo()
    assert (scene.tree("accepted"), view(scene)) == (before, seen)
    scene.edit(item.hunk.id, result)
    assert scene.accepted(path) == after


def take_all(data: st.DataObject, scene: Scene) -> None:
    before, seen = scene.tree("accepted"), view(scene)
    out = [item for item in scene.open() if item.changed in ("seen", "rejected")]
    waiting = [item for item in scene.items() if item.rejected or item.kept or item.state == "rejected"]
    taken = accept_all(scene.job)
    left = {item.hunk.id for item in scene.open()}
    if not waiting and not out:
        assert scene.tree("accepted") == scene.tree("work")
        assert not left
    elif not taken:
        assert (scene.tree("accepted"), view(scene)) == (before, seen)
    if taken:
        after = scene.tree("accepted")
        scene.undo()
        assert (scene.tree("accepted"), view(scene)) == (before, seen)
        accept_all(scene.job)
        assert scene.tree("accepted") == after


def agent(data: st.DataObject, scene: Scene) -> None:
    accepted = scene.state.accepted_tree
    comments = {item.hunk.id: item.comment for item in scene.open() if "-" not in item.hunk.id}
    reviewed = {item.hunk.id for item in scene.of("reviewed") if "-" not in item.hunk.id}
    scene.agent(agents_turn(data, scene))
    assert scene.state.accepted_tree == accepted, "the agent does not move what is accepted"
    now = {item.hunk.id: item for item in scene.open()}
    for name in now.keys() - {name.partition("-")[0] for name in now if "-" in name}:
        if name in reviewed:
            assert now[name].state == "reviewed", "the same hunk keeps its mark"
        if comments.get(name):
            assert now[name].comment == comments[name]


def undo(data: st.DataObject, scene: Scene) -> None:
    if not scene.state.standing:
        with pytest.raises(Refused):
            scene.undo()
        return
    before = scene.state.standing[-1][0].before
    scene.undo()
    assert scene.state.accepted_tree == before


STEP = (agent, agent, agent, accept, accept, reject, unstage, mark, mark, edit, boundary, undo, take_all)


@often
@given(st.data())
def test_the_laws_hold_after_every_step(store: Store, data: st.DataObject) -> None:
    base: dict[str, Content] = {path: data.draw(contents()) for path in PATHS[: data.draw(st.integers(1, 2))]}
    with tempfile.TemporaryDirectory() as folder:
        scene = Told(Path(folder), base, store)
        try:
            agent(data, scene)
            for _ in range(data.draw(st.integers(1, STEPS))):
                data.draw(st.sampled_from(STEP))(data, scene)
                check(scene)
            finish(data, scene)
            assert fold(read_events(scene.directory)) == scene.state
        finally:
            scene.close()


@often
@given(st.data())
def test_everything_is_undone(store: Store, data: st.DataObject) -> None:
    base: dict[str, Content] = {path: data.draw(contents()) for path in PATHS}
    with tempfile.TemporaryDirectory() as folder:
        scene = Told(Path(folder), base, store)
        try:
            for _ in range(data.draw(st.integers(1, 3))):
                agent(data, scene)
            work, seen = scene.tree("work"), view(scene)
            for _ in range(data.draw(st.integers(1, STEPS))):
                data.draw(st.sampled_from((accept, accept, unstage, reject, reject, edit, boundary, take_all)))(
                    data, scene
                )
            while scene.state.standing:
                before = scene.state.standing[-1][0].before
                scene.undo()
                assert scene.state.accepted_tree == before
                if data.draw(st.booleans()):
                    scene.boundary()
            scene.boundary()
            assert scene.tree("accepted") == scene.tree("base")
            assert scene.tree("work") == work
            assert view(scene) == seen
        finally:
            scene.close()


def check(scene: Scene) -> None:
    shown = scene.review
    ids = [item.hunk.id for item in scene.items() if not item.gone]
    assert len(set(ids)) == len(ids)
    assert shown.total == shown.pending + shown.decided == len(scene.items())
    differs = {
        p for p in scene.tree("work") | scene.tree("accepted") if side(scene, "work", p) != side(scene, "accepted", p)
    }
    told = {path for file in shown.files for path in (file.path, file.renamed_from)}
    assert differs <= told, "what differs is shown"


def finish(data: st.DataObject, scene: Scene) -> None:
    """One by one, in any order, what is open leads to the agent's work, and what is accepted leads back."""
    scene.boundary()
    apart = {item.hunk.path for item in scene.items() if item.kept}
    while found := [item for item in scene.open() if item.hunk.path not in apart]:
        item = data.draw(st.sampled_from(found))
        left = len(found)
        scene.decide("accept", item.hunk.id)
        assert scene.state.accepted_tree
        assert len([i for i in scene.open() if i.hunk.path not in apart]) <= left + 1
    if not apart:
        assert scene.tree("accepted") == scene.tree("work")
    while found := scene.of("accepted"):
        scene.decide("unstage", *(item.hunk.id for item in found))
    assert scene.tree("accepted") == scene.tree("base")
