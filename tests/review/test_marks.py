"""Marks, rejections and places: lines that are all different, so that it is known what each hunk must be."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.engine.review import accept_all
from backspace_tui.sessions.review import ReviewHunk
from tests.review.scene import Scene, Store, lines
from tests.review.told import Told, often

LENGTH = 90
SPOTS = tuple(range(4, LENGTH, 9))
"""Far enough from each other that every one has a hunk of its own."""


def numbered(changes: dict[int, bytes]) -> bytes:
    return b"".join(changes.get(n, b"line %d\n" % n) for n in range(LENGTH))


def spot_of(item: ReviewHunk, spots: Any) -> int:
    """The line that a hunk is about, told by its context."""
    texts = [text for _, text in item.hunk.lines]
    (found,) = [n for n in spots if b"line %d" % (n - 1) in texts and b"line %d" % (n + 1) in texts]
    return int(found)


def at(scene: Scene, spots: Any) -> dict[int, ReviewHunk]:
    return {spot_of(item, spots): item for item in scene.open("f")}


def written(data: st.DataObject, n: int) -> bytes:
    """A new text for line ``n``: its own, or one that every other may have as well; taken out, or put behind it."""
    return data.draw(
        st.sampled_from([b"changed %d\n" % n, b"line %d\nsame\n" % n, b"line %d\nsame\nsame\n" % n, b"same\n", b""])
    )


@often
@given(st.data())
def test_marks_stay_with_their_lines(store: Store, data: st.DataObject) -> None:
    changes = {n: written(data, n) for n in data.draw(st.sets(st.sampled_from(SPOTS), min_size=2))}
    with tempfile.TemporaryDirectory() as folder:
        scene = Told(Path(folder), {"f": numbered({})}, store)
        try:
            scene.agent({"f": numbered(changes)})
            marks: dict[int, str] = {}
            for n in data.draw(st.sets(st.sampled_from(sorted(changes)), min_size=1)):
                marks[n] = data.draw(st.sampled_from(["review", "comment", "both"]))
                if marks[n] != "comment":
                    scene.decide("review", at(scene, SPOTS)[n].hunk.id)
                if marks[n] != "review":
                    scene.decide("comment", at(scene, SPOTS)[n].hunk.id, comment=f"about {n}")
            touched: set[int] = set()
            for _ in range(data.draw(st.integers(1, 3))):
                match data.draw(st.sampled_from(["agent", "agent", "accept", "undo"])):
                    case "agent":
                        n = data.draw(st.sampled_from(SPOTS))
                        text = written(data, n) if n not in changes else b"again %d\n" % n
                        changes[n] = text
                        touched.add(n)
                        scene.agent({"f": numbered(changes)})
                    case "accept":
                        others = [item for n, item in at(scene, SPOTS).items() if n not in marks]
                        if others:
                            scene.decide("accept", data.draw(st.sampled_from(others)).hunk.id)
                    case _:
                        if scene.state.standing and scene.state.standing[-1][0].action == "accept":
                            scene.undo()
                found = at(scene, SPOTS)
                for n, kind in marks.items():
                    if n in touched:
                        assert found[n].state != "reviewed", "other lines than those that were looked at"
                        assert found[n].changed == "seen"
                        continue
                    assert (found[n].state == "reviewed") == (kind != "comment")
                    assert found[n].changed == ""
                    assert found[n].comment == ("" if kind == "review" else f"about {n}")
                for n in found.keys() - marks.keys():
                    assert found[n].state != "reviewed"
                    assert found[n].comment == ""
                    assert found[n].changed != "seen"
            accept_all(scene.job)
            assert set(at(scene, SPOTS)) == touched & marks.keys(), "all leaves out what changed since it was seen"
        finally:
            scene.close()


@often
@given(st.data())
def test_the_order_of_independent_decisions_does_not_matter(store: Store, data: st.DataObject) -> None:
    changes = {n: written(data, n) for n in data.draw(st.sets(st.sampled_from(SPOTS), min_size=2, max_size=5))}
    plan = {n: data.draw(st.sampled_from(["accept", "reject", "review", "leave"])) for n in sorted(changes)}
    ends = []
    for order in (sorted(plan), data.draw(st.permutations(sorted(plan)))):
        with tempfile.TemporaryDirectory() as folder:
            scene = Told(Path(folder), {"f": numbered({})}, store)
            try:
                scene.agent({"f": numbered(changes)})
                for n in order:
                    if plan[n] != "leave":
                        action: Any = plan[n]
                        scene.decide(action, at(scene, SPOTS)[n].hunk.id)
                seen = {(item.hunk.lines, item.state) for item in scene.items()}
                scene.boundary()
                ends.append((scene.tree("accepted"), scene.tree("work"), seen))
            finally:
                scene.close()
    assert ends[0] == ends[1]
    assert ends[0][0]["f"].data == numbered({n: changes[n] for n in plan if plan[n] == "accept"})
    assert ends[0][1]["f"].data == numbered({n: changes[n] for n in plan if plan[n] != "reject"})


@often
@given(st.data())
def test_what_is_accepted_says_when_the_agent_changes_it(store: Store, data: st.DataObject) -> None:
    spots = sorted(data.draw(st.sets(st.sampled_from(SPOTS), min_size=2, max_size=5)))
    changes = {n: b"changed %d\n" % n for n in spots}
    with tempfile.TemporaryDirectory() as folder:
        scene = Told(Path(folder), {"f": numbered({})}, store)
        try:
            scene.agent({"f": numbered(changes)})
            taken = data.draw(st.sets(st.sampled_from(spots), min_size=1))
            scene.decide("accept", *(at(scene, SPOTS)[n].hunk.id for n in sorted(taken)))
            accepted = scene.accepted("f")
            again = data.draw(st.sets(st.sampled_from(spots), min_size=1))
            scene.agent({"f": numbered(changes | {n: b"again %d\n" % n for n in again})})
            assert scene.accepted("f") == accepted == numbered({n: changes[n] for n in taken})
            found = at(scene, SPOTS)
            assert {n for n, item in found.items() if item.changed == "accepted"} == taken & again
            assert set(found) == again | (set(spots) - taken)
        finally:
            scene.close()


@often
@given(st.data())
def test_rejections_leave_and_come_back_around_the_agents_edits(store: Store, data: st.DataObject) -> None:
    spots = sorted(data.draw(st.sets(st.sampled_from(SPOTS), min_size=3, max_size=6)))
    changes = {n: written(data, n) for n in spots}
    with tempfile.TemporaryDirectory() as folder:
        scene = Told(Path(folder), {"f": numbered({})}, store)
        try:
            scene.agent({"f": numbered(changes)})
            order = data.draw(st.permutations(spots))
            taken, out = order[:1], order[1 : data.draw(st.integers(2, len(spots)))]
            inside = dict(changes)
            for n in taken:
                scene.decide("accept", at(scene, SPOTS)[n].hunk.id)
            for n in out:
                scene.decide("reject", at(scene, SPOTS)[n].hunk.id, comment=f"not {n}")
            if data.draw(st.booleans()):
                # Edits that came before the boundary: what waits is carried along.
                free = data.draw(st.sampled_from([n for n in SPOTS if n not in spots]))
                inside[free] = b"before %d\n" % free
                scene.agent({"f": numbered(inside)})
                assert {n for n, item in at_all(scene).items() if item.state == "rejected"} == set(out)
            scene.boundary()
            left = {n: text for n, text in inside.items() if n not in out}
            assert scene.work("f") == numbered(left)
            assert {item.comment for item in scene.items("f") if item.gone} == {f"not {n}" for n in out}
            free = data.draw(st.sampled_from([n for n in SPOTS if n not in spots]))
            left[free] = b"after %d\n" % free
            scene.agent({"f": numbered(left)})
            for n in out[: -data.draw(st.integers(1, len(out))) - 1 : -1]:
                scene.undo()
                left[n] = changes[n]
                if data.draw(st.booleans()):
                    scene.boundary()
                    assert scene.work("f") == numbered(left)
            scene.boundary()
            assert scene.work("f") == numbered(left)
            assert scene.accepted("f") == numbered({n: changes[n] for n in taken})
            assert set(at(scene, SPOTS)) == left.keys() - set(taken)
        finally:
            scene.close()


def at_all(scene: Scene) -> dict[int, ReviewHunk]:
    """By line, the hunks of diff(A, W), those that wait to be rejected included."""
    return {spot_of(item, SPOTS): item for item in scene.items("f") if item.state != "accepted" and not item.gone}


def test_a_whole_files_lines_are_numbered_right() -> None:
    assert numbered({1: b"x\n"}).startswith(lines("line 0", "x", "line 2"))
