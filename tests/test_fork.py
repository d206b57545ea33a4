"""Forks of real sessions: at every step, of running and deleted sources, to their own commits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.state import fold
from backspace_tui.sessions import ledger, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.fork import fork
from backspace_tui.sessions.log import LOG_NAME, read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from tests.crash import Human, Script, scene, steps
from tests.models.turns import Turn, call
from tests.program import Program, git, make_repository, wait_for

WRITES = call("write_file", path="a.txt", content="a\n") + call("write_file", path="b.txt", content="b\n")
FIXED = call("edit_file", path="cart.py", old="price for", new="price * quantity for")
SECRET = "sk-never-to-be-shown-0123456789"


def agent(body: Mapping[str, Any]) -> Turn:
    """Does its work, and ``c.txt`` once it was asked for that."""
    messages = body["messages"]
    asked = any(message["role"] == "user" and "c.txt" in message["content"] for message in messages)
    if asked and "wrote c.txt" not in str(messages) and body.get("tools"):
        return call("write_file", path="c.txt", content="c\n")
    return steps(WRITES, FIXED)(body)


def contents(directory: Path) -> dict[str, str]:
    """Every file of a session by its digest; its socket comes and goes."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def step(events: list[ev.AnyEvent], kind: type[ev.Event], which: Callable[[ev.AnyEvent], bool] = lambda _: True) -> int:
    """The first event of a kind."""
    return next(event.seq for event in events if isinstance(event, kind) and which(event))


def beside(human: Human, directory: Path) -> Human:
    """The same human with a fork."""
    return replace(human, directory=directory, starts=0, acknowledged=[])


def at_work(human: Human, directory: Path) -> Human:
    """A fork that was run to its end."""
    other = beside(human, directory)
    other.start()
    other.ended()
    return other


def branches(repository: Path) -> dict[str, str]:
    lines = git(repository, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads/backspace/")
    return dict(line.split() for line in lines.splitlines())


def test_a_fork_at_every_step_opens_and_its_source_stays(tmp_path: Path) -> None:
    with scene(tmp_path, Script(agent), "process", headless=True, accept="all") as human:
        human.start()
        assert human.ended().status == "done"
        source, events, before = human.directory, human.events(), contents(human.directory)
        lines = (source / LOG_NAME).read_bytes().splitlines()[1:]
        whole, last_whole = 0, {}
        for number, line in enumerate(lines, 1):
            whole = whole if line.endswith(b" ") else number
            last_whole[number] = whole
        assert any(number != whole for number, whole in last_whole.items())
        for event in events:
            directory = fork(source, event.seq)
            copied = read_events(directory)
            state = fold(copied)
            assert state.started is not None
            assert (state.started.session, state.started.forked_from) == (directory.name, source.name)
            at = state.started.forked_at
            # What counts only together is taken or left together.
            assert at == last_whole[event.seq]
            assert copied[1:at] == events[1:at]
            assert [item.seq for item in copied] == list(range(1, len(copied) + 1))
            assert (state.commits, state.request, state.turns) == ((), None, 0)
            if state.base_tree:
                with Objects(directory / "repo.git") as objects:
                    review(objects, state)
                assert git(directory / "repo.git", "fsck", "--strict", "--no-dangling") == ""
                assert not (directory / "repo.git" / "objects" / "info" / "alternates").exists()
        assert contents(source) == before
        assert len({directory.name for directory in source.parent.iterdir()}) == len(events) + 1


@pytest.mark.parametrize("deleted", [False, True])
def test_forks_end_in_commits_of_their_own(tmp_path: Path, deleted: bool) -> None:
    with scene(tmp_path, Script(agent), "process", headless=True, accept="all", pull_request=True) as human:
        human.start()
        original = human.ended()
        events = human.events()
        stages = {
            "started": 1,
            "tool": step(events, ev.ToolStarted, lambda event: "b.txt" in str(event)),
            "edited": step(events, ev.FileEdit, lambda event: "cart.py" in str(event)),
            "verified": step(events, ev.StageFinished, lambda event: event.stage == "verify"),
            "committed": step(events, ev.GitOperation, lambda event: "commit" in str(event.operation)),  # type: ignore[union-attr]
            "pushed": step(events, ev.StageFinished, lambda event: event.stage == "push"),
            "requested": step(events, ev.PrCreation),
        }
        chosen = ("tool", "pushed") if deleted else ("started", "edited", "verified", "committed", "requested")
        forks = [fork(human.directory, stages[name]) for name in chosen]
        before = branches(human.repository)
        assert before == {original.branch: original.commit}
        if deleted:
            store.remove(human.directory)
        ended = [at_work(human, directory).state() for directory in forks]
        after = branches(human.repository)
    for state in ended:
        assert (state.status, state.exit_code, len(state.commits)) == ("done", 0, 1), state.error
        assert state.request is not None
        assert state.request.branch == state.branch != original.branch
        assert after[state.branch] == state.commit
        assert git(human.repository, "show", f"{state.branch}:cart.py").count("price * quantity") == 1
        assert git(human.repository, "rev-list", "--count", f"main..{state.branch}") == "1\n"
    assert after[original.branch] == original.commit
    assert len(after) == 1 + len(forks)


def test_a_fork_of_finished_work_rests_in_the_review_until_it_is_published(tmp_path: Path) -> None:
    with scene(tmp_path, Script(agent), "process", headless=True, accept="all") as human:
        human.start()
        original = human.ended()
        other = beside(human, fork(human.directory))
        other.headless = False
        state = other.until(lambda state: state.stage == "review" and state.stage_open, "the review")
        assert (state.accepted_tree, state.commits) == (original.accepted_tree, ())
        other.publish()
        state = other.until(lambda state: state.stage == "done" and state.stage_open, "the commit")
        assert branches(human.repository) == {original.branch: original.commit, state.branch: state.commit}
        other.kill()


@pytest.mark.parametrize("where", ["working", "done"])
def test_a_prompt_is_what_the_fork_does_next(tmp_path: Path, where: str) -> None:
    with scene(tmp_path, Script(agent), "process", headless=True, accept="all") as human:
        human.start()
        human.ended()
        at = step(human.events(), ev.FileEdit) + 1 if where == "working" else None
        directory = fork(human.directory, at, "also c.txt")
        store.remove(human.directory)
        other = at_work(human, directory)
        state = other.state()
        assert "c.txt" in state.edits
        # What was accepted by itself once is the human's to accept now.
        assert state.status == ("done" if where == "working" else "waiting")
        said = [event for event in other.events() if isinstance(event, ev.Message) and event.text == "also c.txt"]
        assert [event.kind for event in said] == ["steer" if where == "working" else "prompt"]


def test_a_paused_source_and_an_open_question_are_taken_up_by_the_prompt(tmp_path: Path) -> None:
    asks = steps(WRITES, call("ask_user", question="Really?", options=["yes", "no"]), FIXED)
    with scene(tmp_path, Script(asks), "process", headless=True) as human:
        human.start()
        assert human.ended().question is not None
        other = at_work(human, fork(human.directory, prompt="yes"))
        assert (other.state().question, other.state().stage) == (None, "review")
        assert "cart.py" in other.state().edits
        again = at_work(human, fork(human.directory))
        assert again.state().question is not None
        assert "cart.py" not in again.state().edits


def test_a_running_source_is_forked_and_not_disturbed(tmp_path: Path) -> None:
    server = Script(steps(WRITES, call("run_command", command="echo held"), FIXED), "echo held")
    with scene(tmp_path, server, "process", headless=True, accept="all") as human:
        human.start()
        human.until(lambda state: "b.txt" in state.edits, "the files")
        directory = fork(human.directory)
        server.gates["echo held"].set()
        original = human.ended()
        state = at_work(human, directory).state()
    assert (original.status, state.status) == ("done", "done")
    assert branches(human.repository) == {original.branch: original.commit, state.branch: state.commit}
    assert state.branch != original.branch


def test_what_the_source_paid_is_in_the_ledger_once(tmp_path: Path) -> None:
    with scene(tmp_path, Script(agent), "process", headless=True) as human:
        human.start()
        human.ended()
        path = tmp_path / ledger.LEDGER_NAME
        before = ledger.read(path)
        assert before
        other = at_work(human, fork(human.directory))
        assert ledger.read(path) == before
        assert other.state().turns == 0
        more = at_work(human, fork(human.directory, prompt="also c.txt"))
        added = ledger.read(path)[len(before) :]
        assert {item.session for item in added} == {more.directory.name}
        assert len(added) == more.state().turns > 0


def test_a_fork_of_a_fork(tmp_path: Path) -> None:
    with scene(tmp_path, Script(agent), "process", headless=True, accept="all") as human:
        human.start()
        original = human.ended()
        first = fork(human.directory)
        second = fork(first, prompt="also c.txt")
        store.remove(first)
        state = at_work(human, second).state()
        assert state.started is not None
        assert (state.started.forked_from, state.started.masks) == (first.name, human.directory.name)
        assert state.status == "waiting"
        other = beside(human, second)
        other.headless = False
        other.keep_running()
        other.decide("accept", "c.txt")
        other.publish()
        state = other.until(lambda state: state.stage == "done" and state.stage_open, "the commit")
        other.kill()
        assert set(branches(human.repository)) == {original.branch, f"{original.branch}-{second.name[-4:]}"}


def test_a_secret_in_the_prompt_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with scene(tmp_path, Script(agent), "process", headless=True) as human:
        human.start()
        human.ended()
        directory = fork(human.directory, prompt=f"use {SECRET}\x1b[31m")
    data = (directory / "events.jsonl").read_bytes()
    assert SECRET.encode() not in data
    assert b"\\u001b" not in data
    assert any(isinstance(e, ev.Message) and e.text.startswith("use ") for e in read_events(directory))


@pytest.mark.parametrize("at", [0, -1, 10_000])
def test_unknown_steps_and_damaged_sources_leave_nothing_behind(tmp_path: Path, at: int) -> None:
    with scene(tmp_path, Script(agent), "process", headless=True) as human:
        human.start()
        human.ended()
        with pytest.raises(SessionError, match=f"no step {at}: they go from 1 to") as told:
            fork(human.directory, at)
        assert told.value.exit_code == 2
        if at:
            return
        for broken in ("objects", "HEAD"):
            (human.directory / "repo.git" / broken).rename(human.directory / broken)
            with pytest.raises(SessionError):
                fork(human.directory)
            (human.directory / broken).rename(human.directory / "repo.git" / broken)
        (human.directory / "events.jsonl").write_bytes(b"something else\n")
        with pytest.raises(SessionError, match="is not the log of a session"):
            fork(human.directory)
    assert store.list_sessions(human.directory.parent)[0].id == human.directory.name
    assert len(list(human.directory.parent.iterdir())) == 1


@pytest.mark.bubblewrap
def test_the_command(tmp_path: Path, bubblewrap: str) -> None:
    program = Program(tmp_path)
    repository = make_repository(tmp_path / "repository")
    prompt = "create notes.txt with hello"
    done = program.run(
        "run", str(repository), "-p", prompt, "--model", "offline", "--sandbox", bubblewrap, "--accept", "all"
    )
    assert done.returncode == 0, done.stderr
    source = program.session
    forked = program.run("sessions", "fork", "last")
    assert forked.returncode == 0, forked.stderr
    assert forked.stderr.startswith("backspace-tui: go on with: backspace-tui attach ")
    assert (source.parent / forked.stdout.strip()).is_dir()
    shown = program.run("sessions", "show", forked.stdout.strip()).stdout
    assert f"fork       of {source.name} at step " in shown
    assert program.run("sessions", "fork", source.name, "--at", "99999").returncode == 2
    assert program.run("sessions", "fork", source.name, "-p", "make it nicer").returncode == 2
    assert program.run("sessions", "list", "--at", "3").returncode == 2
    again = program.run("sessions", "fork", source.name, "--headless", "-p", "create more.txt with more")
    assert again.returncode == 4, again.stderr
    assert "more.txt  +1 -0" in again.stdout
    assert "see its hunks with" in again.stderr
    wait_for(lambda: not any(store.is_running(item) for item in program.sessions), "the processes to end")
    assert git(repository, "branch", "--list", "backspace/*").split() == ["backspace/create-notes-txt-with-hello"]
