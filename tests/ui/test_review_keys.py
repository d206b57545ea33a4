"""The review by keyboard, over a real socket and a real log."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.log import LogTail
from backspace_tui.ui.highlight import Span, line_spans
from backspace_tui.ui.raw_lines import raw_lines
from tests.ui.sample import CART, CART_NEW, Host, Sample
from tests.ui.windows import launch_of, opened, scenario


def _hunks(decisions: Mapping[int, ev.Decision | ev.Rejected]) -> set[str]:
    return {decision.hunk for decision in decisions.values()}


@scenario
async def test_accepting_all_hunks_by_key_makes_the_accepted_tree_the_work_tree(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("space", "y", "space", "y", "space")
        await window.until(lambda: sample.state.accepted_tree == sample.work, "all accepted")
        await window.until(lambda: "5 of 5 decided" in window.workspace.status.text, "the status")
        assert "accepted +4 -0" in window.text()
    assert [action for action, _ in host.decisions()] == ["accept"] * 5
    assert len({hunks for _, hunks in host.decisions()}) == 5


@scenario
async def test_a_fast_second_press_means_the_hunk_that_is_shown(host: Host) -> None:
    sample = host.sample
    ids = [item.hunk.id for item in sample.review().files[0].hunks]
    async with opened(launch_of(sample)) as window:
        await window.ready()
        # Both keys before a single reply can have come back.
        window.workspace.action_decide("accept")
        window.workspace.action_decide("reject")
        await window.until(lambda: len(host.commands) == 2, "two commands")
    assert host.decisions() == [("accept", (ids[0],)), ("reject", (ids[1],))]


@scenario
async def test_a_hunk_shows_as_deciding_until_the_log_says_so(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        workspace = window.workspace
        hunk = workspace.diff.hunk
        assert hunk is not None
        workspace.desk.sent([hunk.id])
        workspace.diff.mark_busy(workspace.desk.busy)
        await window.pilot.pause()
        assert "deciding" in window.text()
        workspace.desk.replied([hunk.id], 0, "refused")
        workspace.diff.mark_busy(workspace.desk.busy)
        await window.pilot.pause()
        assert "deciding" not in window.text()


@scenario
async def test_reject_undo_mark_and_unstage(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        first = window.workspace.diff.hunk
        assert first is not None
        await window.press("x")
        await window.until(lambda: first.id in _hunks(sample.state.rejected))
        await window.until(lambda: window.workspace.desk.state_of("shop/cart.py", first.id) == "rejected")
        await window.press("u")
        await window.until(lambda: first.id not in _hunks(sample.state.rejected))
        await window.until(lambda: window.workspace.desk.state_of("shop/cart.py", first.id) == "pending")
        await window.press("[", "m")
        await window.until(lambda: first.id in _hunks(sample.state.marks))
        await window.until(lambda: window.workspace.desk.state_of("shop/cart.py", first.id) == "reviewed")
        await window.press("[", "space")
        await window.until(lambda: sample.state.accepted_tree != sample.base)
        await window.until(lambda: window.workspace.desk.state_of("shop/cart.py", first.id) == "accepted")
        await window.press("[", "x")
        await window.until(lambda: sample.state.accepted_tree == sample.base, "unstaged")
    assert [action for action, _ in host.decisions()] == ["reject", "review", "accept", "unstage"]


@scenario
async def test_the_rest_of_a_file_is_one_decision(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("a")
        await window.until(lambda: len(sample.state.standing) == 1, "one group")
        await window.until(lambda: window.workspace.diff.path == "shop/tax.py", "the next file")
    from backspace_tui.sessions.objects import Objects

    with Objects(sample.repository.path) as objects:
        entry = objects.entries(sample.state.accepted_tree)["shop/cart.py"]
        assert objects.blob(entry.oid).decode() == CART_NEW != CART


@scenario
async def test_a_refused_decision_is_said_and_the_hunk_is_open_again(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        # The agent changed the file meanwhile, and the window does not know yet.
        workspace = window.workspace
        workspace.desk.sent(["0123456789ab"])
        workspace.send(cmd.Decide(hunks=("0123456789ab",), action="accept"))
        await window.until(lambda: "not there" in workspace.status.text, "the refusal")
        assert "0123456789ab" not in workspace.desk.busy


@scenario
async def test_protected_files_ask_first(tmp_path_factory: object, sample: Sample) -> None:
    from pathlib import Path

    from tests.ui.sample import WORK

    directory = Path(sample.directory).with_name("20260102-1505-cafe")
    risky = Sample(directory, WORK | {".github/workflows/ci.yml": "on: [push, pull_request_target]\n"}).run_to_review()
    host = Host(risky)
    try:
        async with opened(launch_of(risky)) as window:
            await window.ready()
            await window.until(lambda: window.workspace.diff.path == ".github/workflows/ci.yml")
            await window.press("space")
            await window.until(lambda: "Accept .github" in window.text(), "the question")
            assert host.commands == []
            await window.press("y")
            await window.until(lambda: host.commands, "the decision")
        command = host.commands[0]
        assert isinstance(command, cmd.Decide)
        assert command.accept_protected
    finally:
        host.close()


@scenario
async def test_comment_goes_to_the_agent(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await window.press("c", *"use qty", "enter")
        await window.until(lambda: host.commands, "the comment")
        await window.until(lambda: "comment: use qty" in window.text().replace("  ", " "), "the comment on screen")
    command = host.commands[0]
    assert isinstance(command, cmd.Decide)
    assert (command.action, command.comment) == ("comment", "use qty")


@scenario
async def test_why_shows_the_thought_and_the_call(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("w")
        await window.until(lambda: "Why" in window.text())
        text = window.text()
        assert "Quantities were ignored, so every total was too small." in text
        assert "edit shop/cart.py" in text
        await window.press("escape")
        await window.until(lambda: len(window.app.screen_stack) == 1)


@scenario
async def test_prompt_steers_answers_and_commands(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("i", *"faster", "enter")
        await window.until(lambda: cmd.Say(text="faster") in host.commands)
        sample.emit("implement", ev.Question(question="Which currency?", options=("euro", "dollar")))
        await window.until(lambda: "Which currency?" in window.text(), "the question")
        await window.press("2", "enter")
        await window.until(
            lambda: any(isinstance(sent, cmd.Answer) and sent.text == "dollar" for sent in host.commands), "the answer"
        )
        await window.until(lambda: not window.workspace.question.display)
        await window.press("i", *"/nothing", "enter")
        await window.until(lambda: "is no command" in window.workspace.status.text)


@scenario
async def test_pull_request_with_undecided_hunks_asks_and_shows_what_stands(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("P")
        await window.until(lambda: "nothing is accepted yet" in window.workspace.status.text)
        await window.press("a")
        await window.until(lambda: "3 of 5 decided" in window.text().replace("status", ""), "accepted")
        await window.press("P")
        await window.until(lambda: "2 hunks are undecided" in window.text(), "the question")
        await window.press("y")
        await window.until(lambda: cmd.Publish(pull_request=True) in host.commands)
        commit = ev.GitOperation(
            operation="commit", commit="2" * 40, tree=sample.state.accepted_tree, branch="backspace/qty"
        )
        request = ev.PrCreation(
            forge="local",
            branch="backspace/qty",
            base="main",
            title="Count quantities",
            body="Why: ...",
            commit="2" * 40,
        )
        sample.emit("pull_request", commit, request)
        await window.until(lambda: "git merge backspace/qty" in window.text(), "the request")


def test_a_request_of_the_past_is_not_announced(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    sample, opened_first, read = host.sample, threading.Event(), LogTail.read
    request = ev.PrCreation(
        forge="local", branch="backspace/qty", base="main", title="Count quantities", body="", commit="2" * 40
    )
    sample.emit("pull_request", request)

    def slowly(tail: LogTail) -> Any:
        assert opened_first.wait(10)
        return read(tail)

    monkeypatch.setattr(LogTail, "read", slowly)

    @scenario
    async def look() -> None:
        async with opened(launch_of(sample)) as window:
            # The window stands, and looked into the log in vain.
            await window.until(lambda: window.workspace._drained, "the first look")
            opened_first.set()
            await window.ready()
            assert window.app.screen is window.workspace
            sample.emit("pull_request", request)
            await window.until(lambda: "git merge backspace/qty" in window.text(), "the new request")

    look()


@scenario
async def test_a_newly_failing_verification_is_shown(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        output = "\n".join(f"line {number}" for number in range(200)) + "\nFAILED tests/test_cart.py::test_total\n"
        sample.emit(
            "verify",
            ev.Verification(tree=sample.work, verdict="newly fails", command="pytest -q", exit_code=1, output=output),
        )
        await window.until(lambda: "Nothing was committed" in window.text(), "the verdict")
        await window.press("G")
        await window.until(lambda: "FAILED tests/test_cart.py::test_total" in window.text(), "the end of the output")


@scenario
async def test_stop_asks_first(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        await window.press("S")
        await window.until(lambda: "not working" in window.workspace.status.text)
        sample.emit("implement", ev.StageStarted())
        await window.until(lambda: window.workspace.desk.state.status == "running")
        await window.press("S", "n")
        await window.press("S", "y")
        await window.until(lambda: cmd.Stop() in host.commands)
    assert host.commands.count(cmd.Stop()) == 1


@scenario
async def test_colours_of_the_old_side_follow_as_soon_as_a_hunk_is_accepted(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        diff, objects = window.workspace.diff, window.workspace.objects()
        shown: list[list[list[Span]]] = []
        load = diff.load

        def loaded(path: str, work: Sequence[bytes | str], spans: Mapping[str, Sequence[Sequence[Span]]]) -> None:
            shown.append([list(line) for line in spans.get("old", ())])
            load(path, work, spans)

        diff.load = loaded  # type: ignore[method-assign]
        await window.press("space")
        await window.until(lambda: sample.state.accepted_tree != sample.state.base_tree and shown, "accepted")
        lines = raw_lines(objects.blob(objects.entries(sample.state.accepted_tree)[diff.path].oid))
        exact = [list(line) for line in line_spans(diff.path, lines)]
        assert len(shown[0]) == len(exact)
        wrong = [at for at, line in enumerate(shown[0]) if line and line != exact[at]]
        assert not wrong
        assert shown[0][-1] == exact[-1]
        await window.until(lambda: shown[-1] == exact, "all colours")


@scenario
async def test_applying_asks_how(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await window.press("A")
        await window.until(lambda: "nothing is accepted yet" in window.text(), "the refusal")
        await window.press("space")
        await window.until(lambda: "1 of 5 decided" in window.workspace.status.text, "the decision")
        await window.press("A")
        await window.until(lambda: "u: uncommitted" in window.text(), "the question")
        assert "needs a commit of what is accepted first" in window.text()
        await window.press("escape", "A")
        await window.until(lambda: "u: uncommitted" in window.text(), "the question again")
        await window.press("u")
        await window.until(lambda: cmd.Apply(uncommitted=True) in host.commands, "the command")
        assert cmd.Apply() not in host.commands
