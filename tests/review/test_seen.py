"""A name means what it meant in the review that it was read in, also where several hunks have the same lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from tests.review.scene import Refused, Scene

Make = Callable[..., Scene]


def lines(count: int, after: Iterable[int] = (), text: bytes = b"NEW\n") -> bytes:
    """``l1`` to ``l<count>``, with ``text`` after some of them."""
    wanted = set(after)
    return b"".join(b"l%d\n" % n + (text if n in wanted else b"") for n in range(1, count + 1))


def ids(scene: Scene, path: str = "f") -> list[str]:
    """Of the hunks in the order of the file."""
    return [item.hunk.id for item in scene.file(path).hunks]


@pytest.fixture
def scene(tmp_path: Path) -> Iterable[Scene]:
    made = Scene(tmp_path / "scene", {"f": lines(40)})
    yield made
    made.close()


def test_the_agent_adds_a_hunk_with_the_same_lines_before_it(scene: Scene) -> None:
    scene.agent({"f": lines(40, [30])})
    (name,), seen = ids(scene), scene.state.last_seq
    scene.agent({"f": lines(40, [12, 30])})
    scene.do(cmd.Decide(hunks=(name,), action="accept", seen=seen))
    assert scene.accepted("f") == lines(40, [30])
    scene.undo()
    scene.command("--as-of", str(seen), "--reject", name)
    scene.boundary()
    assert scene.work("f") == lines(40, [12])


def test_the_second_of_two_is_the_only_one_left(scene: Scene) -> None:
    scene.agent({"f": lines(40, [12, 30])})
    (first, second), seen = ids(scene), scene.state.last_seq
    scene.agent({"f": lines(40, [30])})
    with pytest.raises(Refused, match="is not where it was"):
        scene.do(cmd.Decide(hunks=(first,), action="accept", seen=seen))
    assert scene.accepted("f") == lines(40)
    scene.do(cmd.Decide(hunks=(f"{second}:4",), action="accept", seen=seen))
    assert scene.accepted("f") == lines(40, [30])


def test_names_of_one_command_line_are_read_once(scene: Scene) -> None:
    scene.agent({"f": lines(40, [3], b"foo\n").replace(b"l16\n", b"l16\nNEW\n").replace(b"l31\n", b"l31\nNEW\n")})
    foo, _, third = ids(scene)
    edited = scene.folder / "edited"
    edited.write_bytes(b"l1\nl2\nl3\nNEW\nl4\nl5\nl6\n")
    scene.command("--edit", f"{foo}={edited}", "--accept", third)
    assert scene.accepted("f") == lines(40, [3, 31])


def test_gits_pathological_context(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "scene", {"a": b"a\n" * 11})
    scene.agent({"a": b"c\n" + b"b\n" + b"a\n" * 7 + b"b\n" + b"a\n" * 4})
    first, second = ids(scene, "a")
    edited = scene.folder / "edited"
    edited.write_bytes(b"b\na\na\na\n")
    scene.command("--edit", f"{first}={edited}", "--accept", second)
    assert scene.accepted("a") == b"b\n" + b"a\n" * 7 + b"b\n" + b"a\n" * 4
    scene.close()


def test_in_blocks_that_are_all_the_same_it_is_the_place_or_nothing(tmp_path: Path) -> None:
    block = b"a\nb\nc\nd\n%se\nf\ng\nh\n"
    wrong = []
    for first in range(6):
        for second in range(6):
            if first == second:
                continue
            scene = Scene(tmp_path / f"{first}-{second}", {"f": block % b"" * 6})
            scene.agent({"f": block % b"NEW\n" * 6})
            names, seen = ids(scene), scene.state.last_seq
            scene.do(cmd.Decide(hunks=(names[first],), action="accept", seen=seen))
            taken = {first, second}
            try:
                scene.do(cmd.Decide(hunks=(names[second],), action="accept", seen=seen))
            except Refused:
                taken = {first}
            if scene.accepted("f") != b"".join(block % (b"NEW\n" if n in taken else b"") for n in range(6)):
                wrong.append((first, second))
            scene.close()
    assert wrong == []


def test_what_is_rejected_goes_although_git_aligns_the_rest_in_another_way(tmp_path: Path) -> None:
    block = b"a\nb\nc\nd\n%se\nf\ng\nh\n"
    scene = Scene(tmp_path / "scene", {"f": block % b"" * 6})
    scene.agent({"f": block % b"NEW\n" * 6})
    names = ids(scene)
    scene.command("--reject", names[1], names[4], "--accept", names[3])
    assert scene.accepted("f") == b"".join(block % (b"NEW\n" if n == 3 else b"") for n in range(6))
    scene.boundary()
    assert scene.work("f") == b"".join(block % (b"" if n in (1, 4) else b"NEW\n") for n in range(6))
    (told,) = [event for event in scene.events if isinstance(event, ev.GitOperation) and event.operation == "rejected"]
    assert told.overtaken == ()
    scene.close()


def test_what_was_put_back_was_made_by_the_agents_edit(scene: Scene) -> None:
    scene.agent({"f": lines(40, [30])})
    (item,) = scene.file("f").hunks
    scene.decide("reject", item.hunk.id)
    scene.boundary()
    scene.undo()
    scene.boundary()
    assert scene.work("f") == lines(40, [30])
    (again,) = scene.file("f").hunks
    assert (again.state, again.why) == ("pending", item.why)


def test_a_step_that_is_none_decides_nothing(scene: Scene) -> None:
    scene.agent({"f": lines(40, [30])})
    (name,) = ids(scene)
    for step in ("0", str(scene.state.last_seq + 1)):
        scene.command("--as-of", step, "--accept", name, expect=2)
        assert "is no step of this session" in scene.said
    assert scene.accepted("f") == lines(40)
