"""Blocks, lines and ranges by key, what is never accepted by accident, and doing a hunk anew."""

from __future__ import annotations

from pathlib import Path

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.objects import Objects
from tests.ui.sample import CART, CART_NEW, WORK, Host, Sample
from tests.ui.windows import Window, launch_of, opened, scenario

PATH = "shop/cart.py"


def accepted(sample: Sample, path: str = PATH) -> str:
    """What is accepted of a file."""
    with Objects(sample.repository.path) as objects:
        return objects.blob(objects.entries(sample.state.accepted_tree)[path].oid).decode()


async def settled(window: Window, decisions: int) -> None:
    """So many groups of decisions stand, and the window shows them."""
    desk = window.workspace.desk
    await window.until(lambda: len(desk.state.standing) == decisions and not desk.busy, f"{decisions} decisions")
    await window.until(lambda: desk.review_seq == desk.state.last_seq, "their review")


@scenario
async def test_single_lines_are_accepted_one_after_the_other(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        diff = window.workspace.diff
        await window.press("]", "s", "s")
        assert "by line" in str(diff.border_title)
        hunk = sample.review().files[0].hunks[1].hunk
        changed = [number for number, (sign, _) in enumerate(hunk.lines, start=1) if sign != " "]
        assert diff.unit == f"{hunk.id}:{changed[0]}"
        await window.press("space")
        await settled(window, 1)
        old = "    return sum(i.price for i in items)\n"
        assert accepted(sample) == CART.replace(old, "")
        # The cursor went on to the next changed line of the same hunk, which has another id by now.
        assert diff.plain(diff.cursor).strip() == "return sum(i.price * i.qty for i in items)"
        await window.press("space")
        await settled(window, 2)
        assert accepted(sample) == CART.replace(old, "    return sum(i.price * i.qty for i in items)\n")
    assert host.decisions()[0] == ("accept", (f"{hunk.id}:{changed[0]}",))


@scenario
async def test_a_second_key_on_a_hunk_under_way_does_nothing(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("]", "s", "s")
        window.workspace.action_decide("accept")
        window.workspace.action_decide("accept")
        assert "under way" in window.workspace.status.text
        await settled(window, 1)
    assert len(host.decisions()) == 1


@scenario
async def test_blocks_are_decided_by_themselves(host: Host) -> None:
    sample = host.sample
    hunk = sample.review().files[0].hunks[1].hunk
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("]", "s", "space")
        await settled(window, 1)
        await window.press("x")
        await settled(window, 2)
        await window.press("u")
        await settled(window, 1)
        await window.press("u")
        await settled(window, 0)
    (accept, first), (reject, second) = host.decisions()
    assert (accept, first) == ("accept", (f"{hunk.id}/1",))
    assert reject == "reject"
    assert second != first
    assert sample.state.accepted_tree == sample.base


@scenario
async def test_a_range_is_one_decision_and_escape_ends_it(host: Host) -> None:
    sample = host.sample
    hunk = sample.review().files[0].hunks[1].hunk
    async with opened(launch_of(sample)) as window:
        await window.ready()
        diff = window.workspace.diff
        await window.press("]", "v", "j", "escape")
        assert not diff.in_range
        await window.press("[", "]", "v")
        start = diff.cursor
        while diff.cursor < start + 3:
            await window.press("j")
        unit = diff.unit
        assert unit.startswith(hunk.id)
        assert unit != hunk.id
        await window.press("x")
        await settled(window, 1)
    assert host.decisions() == [("reject", (unit,))]
    assert {rejection.part for rejection in sample.state.rejected.values()} == {unit.removeprefix(hunk.id)}


@scenario
async def test_what_changed_since_it_was_reviewed_takes_a_second_press(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        workspace = window.workspace
        await window.press("m")
        await settled(window, 1)
        sample.change(PATH, CART_NEW.replace("from shop import tax", "from shop import tax as rates"))
        await window.until(lambda: "changed since you looked" in window.pane_text("diff"), "the change")
        await window.press("[", "[")
        assert workspace.diff.hunk_index == 0
        await window.press("space")
        assert "changed since you looked: space again accepts it" in workspace.status.text
        # Going away and coming back starts over.
        await window.press("]", "[", "space")
        assert "space again" in workspace.status.text
        assert [action for action, _ in host.decisions()] == ["review"]
        await window.press("space")
        await settled(window, 2)
    assert [action for action, _ in host.decisions()] == ["review", "accept"]
    assert "tax as rates" in accepted(sample)


@scenario
async def test_the_rest_of_a_file_leaves_out_what_changed_since_and_says_so(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        workspace = window.workspace
        await window.press("m")
        await settled(window, 1)
        sample.change(PATH, CART_NEW.replace("from shop import tax", "from shop import tax as rates"))
        await window.until(lambda: "changed since you looked" in window.pane_text("diff"), "the change")
        await window.press("a")
        assert "2 hunks accepted, 1 left out" in workspace.status.text
        await settled(window, 2)
        assert workspace.diff.hunk is not None
        assert workspace.diff.hunk.changed == "seen"
        await window.press("a")
        assert "1 hunk left out" in workspace.status.text
    assert [len(hunks) for action, hunks in host.decisions() if action == "accept"] == [2]
    assert "tax as rates" not in accepted(sample)


@scenario
async def test_the_rest_of_a_protected_file_is_left_out(sample: Sample) -> None:
    directory = Path(sample.directory).with_name("20260102-1505-cafe")
    risky = Sample(directory, WORK | {".github/workflows/ci.yml": "on: [push]\n"}).run_to_review()
    host = Host(risky)
    try:
        async with opened(launch_of(risky)) as window:
            await window.ready()
            assert window.workspace.diff.path == ".github/workflows/ci.yml"
            await window.press("a")
            assert "1 hunk left out" in window.workspace.status.text
            assert "runs on someone's machine" in window.workspace.status.text
        assert host.commands == []
    finally:
        host.close()


@scenario
async def test_doing_it_anew_asks_what_should_be_different(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        workspace = window.workspace
        first = workspace.diff.hunk
        assert first is not None
        await window.press("r", "escape")
        assert host.commands == []
        await window.press("r", *"import it lazily", "enter")
        await settled(window, 1)
        assert workspace.diff.hunk_index == 1
        assert "waits for a new version" in window.pane_text("diff")
        assert any(isinstance(event, ev.Message) and event.about == "redo" for event in sample.log.events)
        await window.press("[", "r")
        assert "rejected already" in workspace.status.text
    (asked,) = host.commands
    assert isinstance(asked, cmd.Decide)
    assert (asked.hunks, asked.action, asked.comment) == ((first.id,), "redo", "import it lazily")


@scenario
async def test_an_accepted_hunk_is_taken_back_before_it_is_done_anew(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await window.press("space")
        await settled(window, 1)
        await window.press("[", "r")
        assert "x takes it back first" in window.workspace.status.text
    assert [action for action, _ in host.decisions()] == ["accept"]


@scenario
async def test_both_sides_and_words(sample: Sample) -> None:
    async with opened(launch_of(sample), (200, 50)) as window:
        await window.ready()
        diff = window.workspace.diff
        await window.press("\\")
        assert diff.side_by_side
        assert "side by side" in str(diff.border_title)
        await window.press("\\", "E")
        assert not diff.side_by_side
        assert not diff.emphasis
        assert "not marked" in window.workspace.status.text


@scenario
async def test_both_sides_need_room(sample: Sample) -> None:
    async with opened(launch_of(sample), (120, 40)) as window:
        await window.ready()
        await window.press("\\")
        assert "80 columns" in window.workspace.status.text
