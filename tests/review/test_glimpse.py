"""The first hunks that are shown while a long review is computed are those that it will have."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.sessions import review as reviews
from backspace_tui.sessions.glimpse import glimpse
from backspace_tui.ui.launch import Launch
from tests.review.scene import Scene, lines, scene
from tests.ui.windows import opened, scenario

COUNT = 12_000


def long(word: str, end: bytes = b"\n") -> bytes:
    """A text of which every tenth line holds ``word``."""
    rows = [f"value_{n} = {word if n % 10 == 0 else 'same'}  # {'.' * 60}".encode() for n in range(COUNT)]
    return b"\n".join(rows) + end


def seen(scene: Scene) -> None:
    """Hold the glimpse against the review's first file."""
    found = glimpse(scene.store.objects, scene.state)
    assert found is not None
    whole = scene.review.files[0]
    count = len(found.hunks)
    assert 0 < count <= len(whole.hunks)
    assert (found.path, found.state, found.protected) == (whole.path, whole.state, whole.protected)
    for early, item in zip(found.hunks, whole.hunks, strict=False):
        assert (early.hunk, early.state, early.changed) == (item.hunk, item.state, item.changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (long("one"), long("two")),
        (long("one"), long("two", b"")),
        (long("one").replace(b"\n", b"\r\n"), long("two").replace(b"\n", b"\r\n")),
        (b"first\n" + long("one"), long("two")),
    ],
    ids=["plain", "no line feed at the end", "carriage returns", "a line less"],
)
def test_a_glimpse_shows_what_the_review_will(tmp_path: Path, old: bytes, new: bytes) -> None:
    with scene(tmp_path, {"b.py": old}) as made:
        made.agent({"b.py": new, "c.py": b"more\n"})
        seen(made)


def test_a_glimpse_of_many_files_shows_the_first(tmp_path: Path) -> None:
    with scene(tmp_path, {f"{n:03}.py": lines("one", n) for n in range(200)}) as made:
        made.agent({f"{n:03}.py": lines("two", n) for n in range(200)})
        seen(made)


def test_a_long_review_shows_few_hunks_of_many(tmp_path: Path) -> None:
    with scene(tmp_path, {"b.py": long("one")}) as made:
        made.agent({"b.py": long("two")})
        found = glimpse(made.store.objects, made.state)
        assert found is not None
        assert len(found.hunks) * 10 < len(made.review.files[0].hunks)


def test_one_long_hunk_has_no_glimpse(tmp_path: Path) -> None:
    with scene(tmp_path, {"b.py": long("one")}) as made:
        made.agent({"b.py": b""})
        assert glimpse(made.store.objects, made.state) is None


def test_what_is_short_or_decided_has_no_glimpse(tmp_path: Path) -> None:
    with scene(tmp_path, {"a.py": lines("one"), "b.py": long("one")}) as made:
        made.agent({"a.py": lines("two")})
        assert glimpse(made.store.objects, made.state) is None
        made.agent({"b.py": long("two")})
        made.decide("accept", made.only("a.py"))
        assert glimpse(made.store.objects, made.state) is None


@scenario
async def test_a_long_review_can_be_read_before_it_can_be_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    real = reviews.review

    def held(*arguments: Any, **named: Any) -> reviews.Review:
        assert go.wait(30)
        return real(*arguments, **named)

    monkeypatch.setattr(reviews, "review", held)
    with scene(tmp_path, {"b.py": long("one")}) as made:
        made.agent({"b.py": long("two")})
        launch = Launch(repository="/home/me/shop", title="shop", session=str(made.directory))
        async with opened(launch) as window:
            workspace = window.workspace
            await window.until(lambda: workspace.diff.hunks, "the first hunks")
            assert workspace.desk.review is None
            few = len(workspace.diff.hunks)
            assert "value_10 = two" in window.text()
            await window.press("]", "space")
            await window.until(lambda: "still being read" in workspace.status.text, "the refusal")
            at = workspace.diff.hunk
            go.set()
            await window.until(lambda: workspace.desk.review is not None, "the review")
            await window.until(lambda: len(workspace.diff.hunks) == COUNT // 10, "all hunks")
            assert few < COUNT // 10
            assert at is not None
            assert workspace.diff.hunk is not None
            assert workspace.diff.hunk.id == at.id
        assert made.review.files[0].state == "pending"
