"""What the tests say of a hunk, beside it and by key, and the key that sends it to the agent."""

from __future__ import annotations

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from tests.ui.sample import Host, Sample
from tests.ui.test_units import settled
from tests.ui.windows import launch_of, opened, scenario

OUTPUT = """\
    def test_quantity():
>       assert total([Item('a', 2.0, 3)]) == 6.0
E       AssertionError: assert 2.0 == 6.0

tests/test_cart.py:9: AssertionError
Traceback (most recent call last):
  File "/workspace/shop/cart.py", line 16, in total
    return sum(i.price * i.qty for i in items)
TypeError: unsupported operand
FAILED tests/test_cart.py::test_quantity - assert 2.0 == 6.0
"""


def fail(sample: Sample, output: str = OUTPUT) -> None:
    """The tests fail on what is accepted."""
    failed = ev.Verification(
        tree=sample.state.accepted_tree, verdict="newly fails", command="pytest -q", exit_code=1, output=output
    )
    sample.emit("verify", failed)


@scenario
async def test_failing_output_stands_beside_the_hunk_it_names_and_gets_stale(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("]", "space")
        await settled(window, 1)
        fail(sample)
        await window.until(lambda: "Nothing was committed" in window.text(), "the verdict")
        await window.press("escape")
        views = window.workspace.diff
        await window.until(lambda: any(view.failing for view in views.hunks), "the output beside the hunk")
        (view,) = [view for view in views.hunks if view.failing]
        assert view.state == "accepted"
        assert "TypeError: unsupported operand" in view.failing
        assert "tests:" in window.pane_text("diff")
        assert "fails" in window.pane_text("files")
        await window.press("]", "space")
        await settled(window, 2)
        await window.until(lambda: "stale" in window.pane_text("diff"), "the mark")
        assert "verified stale" in window.workspace.status.text


@scenario
async def test_the_dialog_says_how_what_is_accepted_stands(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()

        async def told(text: str) -> None:
            await window.press("t")
            await window.until(lambda: text in window.text(), text)
            await window.press("escape")
            await window.until(lambda: len(window.app.screen_stack) == 1)

        await told("nothing is accepted yet")
        await window.press("]", "space")
        await settled(window, 1)
        await told("not verified yet: V verifies")
        tree = sample.state.accepted_tree
        sample.emit("verify", ev.Verification(tree=tree, verdict="passes", command="pytest -q", exit_code=0))
        await window.until(lambda: window.workspace.desk.state.verdict, "the verdict")
        await told("verified: passes (exit 0)")
        await window.until(lambda: "✓" in window.pane_text("files"), "the mark")
        await window.press("]", "space")
        await settled(window, 2)
        await told("stale: decisions since")
        await told("the last verdict: passes")
        fail(sample)
        await window.until(lambda: "Nothing was committed" in window.text(), "the verdict")
        await window.press("escape", "{", "{")
        assert window.workspace.diff.path == "shop/cart.py"
        await told("TypeError: unsupported operand")
        await window.press("}")
        assert window.workspace.diff.path == "shop/tax.py"
        await told("The output does not name shop/tax.py")


@scenario
async def test_the_failing_output_is_sent_once_and_only_when_it_is_of_what_is_accepted(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        status = window.workspace.status
        await window.press("T")
        assert "not verified" in status.text
        await window.press("]", "space")
        await settled(window, 1)
        tree = sample.state.accepted_tree
        sample.emit("verify", ev.Verification(tree=tree, verdict="passes", command="pytest -q", exit_code=0))
        await window.until(lambda: window.workspace.desk.state.verdict, "the verdict")
        await window.press("T")
        assert "no failing output" in status.text
        fail(sample, "x" * 20000 + "\n" + OUTPUT)
        await window.until(lambda: "Nothing was committed" in window.text(), "the verdict")
        await window.press("T")
        await window.until(lambda: "sent the tests' failing output" in window.pane("thinking"), "the message")
        await window.press("T")
        assert "has this output already" in status.text
        await window.press("]", "space")
        await settled(window, 2)
        await window.press("T")
        assert "not verified" in status.text
    (said,) = [command for command in host.commands if isinstance(command, cmd.Say)]
    assert said.about == "tests"
    assert "$ pytest -q   (newly fails, exit 1)" in said.text
    assert said.text.endswith("\n".join(f"> {line}" for line in OUTPUT.rstrip("\n").split("\n")))
    assert len(said.text) < 7000


@scenario
async def test_failing_output_that_names_no_line_stands_once_in_its_file(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("space", "space")
        await settled(window, 2)
        fail(sample, "ERROR shop/cart.py - ImportError: no module named tax\n")
        await window.until(lambda: "Nothing was committed" in window.text(), "the verdict")
        await window.press("escape")
        diff = window.workspace.diff
        await window.until(lambda: any(view.failing for view in diff.hunks), "the output beside the hunk")
        assert [bool(view.failing) for view in diff.hunks] == [False, True, False]
