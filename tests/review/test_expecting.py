"""What the window shows of a decision under way is what the session makes of it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.sessions.expecting import expected
from backspace_tui.sessions.review import Review, ReviewFile
from backspace_tui.ui.diff_layout import Layout
from backspace_tui.ui.diff_rows import DiffRow
from backspace_tui.ui.present import hunk_views
from backspace_tui.ui.raw_lines import raw_lines
from tests.review.scene import Scene, Store, lines, scene


def rows(file: ReviewFile, work: bytes) -> list[DiffRow]:
    """What the pane draws of a file, with the lines around the hunks and every hunk unfolded."""
    views = hunk_views(file, {})
    quiet = {view.id for view in views if view.quiet}
    return list(Layout(views, raw_lines(work), 3, quiet))


def shown(review: Review, scene: Scene) -> dict[str, object]:
    """Everything that the window takes from a review; ids in the agent's own diff are the session's affair."""
    return {
        file.path: (
            file.state,
            file.change,
            file.protected,
            [
                (item.hunk, item.state, item.why, item.comment, item.changed, item.rejected, item.kept, item.redo)
                for item in file.hunks
            ],
            rows(file, scene.work(file.path) or b""),
        )
        for file in review.files
    } | {"": (review.pending, review.decided, review.total)}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        made = Store.make(Path(folder))
        yield made
        made.objects.close()
        made.repository.close()


def changed(chance: random.Random, old: list[str]) -> list[str]:
    """Lines replaced, put in and taken out here and there, some near each other, some far."""
    new: list[str] = []
    at = 0
    while at < len(old):
        kept = chance.choice([2, 5, 6, 7, 8, 12, 20])
        new += old[at : at + kept]
        at += kept
        gone, added = chance.choice([(1, 1), (2, 1), (0, 2), (3, 0), (1, 4), (2, 2)])
        new += [f"new {chance.random()}" for _ in range(added)]
        at += gone
    return new


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 32), size=st.integers(0, 120), ending=st.booleans())
def test_the_expected_review_is_the_real_one(store: Store, seed: int, size: int, ending: bool) -> None:
    chance = random.Random(seed)
    old = [f"line {number} {seed}" for number in range(size)]
    new = changed(chance, old) or ["only"]
    before, after = lines(*old), lines(*new)
    base = {"f": before, "g": lines("x", seed)}
    work = {"f": after if ending else after[:-1], "g": lines("x", seed, "y")}
    with tempfile.TemporaryDirectory() as folder, scene(Path(folder), base, store) as here:
        here.agent(work)
        for item in here.open("f"):
            if chance.random() < 0.3:
                here.decide(chance.choice(["review", "reject", "comment"]), item.hunk.id, comment="so")
        for _ in range(4):
            offered = [item.hunk.id for item in here.open() if item.sweeping]
            if not offered:
                break
            chosen = chance.sample(offered, min(len(offered), chance.choice([1, 1, 1, 2, 5])))
            hoped = expected(here.review, chosen, "accept")
            here.decide("accept", *chosen)
            if hoped is not None:
                assert shown(hoped, here) == shown(here.review, here)


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Scene]:
    """Three hunks; the first two are six lines apart from being one with each other's context."""
    old = [f"line {number}" for number in range(60)]
    new = [*old[:5], "a", *old[6:13], "b", "c", *old[14:40], *old[44:]]
    with scene(tmp_path, {"f": lines(*old), "g": lines("x")}) as here:
        here.agent({"f": lines(*new), "g": lines("y")})
        yield here


def test_it_is_foretold_while_hunks_stay_apart(apart: Scene) -> None:
    first, second, third = (item.hunk.id for item in apart.open("f"))
    for chosen in ((third,), (first, second)):
        hoped = expected(apart.review, chosen, "accept")
        assert hoped is not None
        apart.decide("accept", *chosen)
        assert shown(hoped, apart) == shown(apart.review, apart)
    assert apart.states("f") == ["accepted"] * 3


def test_nothing_is_foretold_of_what_cannot_be_known(apart: Scene) -> None:
    review = apart.review
    first = apart.open("f")[0].hunk.id
    assert expected(review, (first,), "unstage") is None
    assert expected(review, (f"{first}/1",), "accept") is None
    assert expected(review, ("0123456789ab",), "accept") is None
    assert expected(review, (first, "0123456789ab"), "accept") is None
    assert expected(review, ("no name",), "accept") is None
    apart.decide("accept", first)
    assert expected(apart.review, (first,), "accept") is None
    # The agent adds a line below what was accepted: accepting that too makes one hunk of both.
    apart.agent({"f": (apart.work("f") or b"").replace(b"line 8\n", b"line 8\nmore\n")})
    assert expected(apart.review, (apart.open("f")[0].hunk.id,), "accept") is None


def test_nothing_is_foretold_of_other_kinds(tmp_path: Path) -> None:
    with scene(tmp_path, {"f": lines(*range(9)), "old": lines(*range(30)), "gone": b"x\n"}) as here:
        here.agent({"f": b"\0", "gone": None, "old": None, "new": lines(*range(29), "last")})
        for item in here.open():
            assert expected(here.review, (item.hunk.id,), "accept") is None
