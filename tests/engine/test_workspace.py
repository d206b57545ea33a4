"""Snapshots of the agent's sandbox, going back to an earlier one, and a sandbox that dies."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backspace_tui.config import Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Estimate, ModelUnavailable, SandboxGone, SandboxSpec, ToolCall
from backspace_tui.core.redact import Redactor
from backspace_tui.core.state import fold
from backspace_tui.core.trees import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Entry, File
from backspace_tui.engine import driver, rejections
from backspace_tui.engine.context import conversation
from backspace_tui.engine.job import Control, Job, Parts, WaitsForPerson
from backspace_tui.engine.recorder import Recorder
from backspace_tui.engine.rollback import roll_back
from backspace_tui.engine.server import handle
from backspace_tui.engine.stages import implement
from backspace_tui.engine.stages.implement import run_call
from backspace_tui.engine.workspace import REBUILT, Workspace
from backspace_tui.repository.bare import BareRepository
from backspace_tui.sandbox.factory import Factory
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from tests.sandbox.support import until

FILES = {
    ".gitignore": File(REGULAR, b"*.log\nbuilt/\n"),
    "src/main.py": File(REGULAR, b"one\ntwo\n"),
    "run.sh": File(EXECUTABLE, b"#!/bin/sh\n"),
    "link": File(SYMLINK, b"run.sh"),
    "tracked.log": File(REGULAR, b"1\n"),
}
MODULE = Entry(GITLINK, "1" * 40)


class Events:
    """A log in memory."""

    def __init__(self) -> None:
        self.events: list[ev.AnyEvent] = []

    def append(self, event: ev.AnyEvent) -> ev.AnyEvent:
        self.events.append(replace(event, seq=len(self.events) + 1))
        return self.events[-1]

    def extend(self, events: Iterable[ev.AnyEvent]) -> list[ev.AnyEvent]:
        return [self.append(event) for event in events]


class NoModel:
    names = ("none",)

    def estimate(self, *_: object) -> Estimate:
        return Estimate("none")

    def complete(self, *_: object) -> None:
        raise ModelUnavailable("no model here")


class Session:
    """A session whose agent is this test: it calls tools in a real sandbox."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.backend = backend
        repository = BareRepository.create(folder / "repo.git")
        objects, recorder = Objects(repository.path), Recorder(Events())
        model: Any = NoModel()
        base = repository.amend_tree(repository.write_tree(FILES), {"vendor/module": MODULE})
        recorder.emit(
            ev.SessionStarted(session="s", repository=str(folder), prompt="Do it", version="0", sandbox=backend)
        )
        recorder.emit(ev.GitOperation(operation="base", commit=base, tree=base))
        recorder.enter(ev.StageStarted(stage="implement"))
        sandboxes = Factory(SandboxSpec(backend=backend))
        self.job = Job(
            directory=folder,
            recorder=recorder,
            repository=repository,
            objects=objects,
            workspace=Workspace("s", sandboxes, repository, objects, recorder),
            parts=Parts(
                model=model,
                sandboxes=sandboxes,
                forge=lambda _remote, _source: model,
                prompts=dict.fromkeys(("analyze", "plan", "implement", "critique"), ""),
                settings=Settings(),
                redactor=Redactor([], salt=b"s"),
            ),
            control=Control(),
            exit_when_waiting=True,
            idle_timeout=1.0,
        )

    @property
    def box(self) -> Any:
        return self.job.workspace.box

    def ask(self, tool: str, **arguments: Any) -> ToolCall:
        """The model's turn with one call."""
        call = ToolCall(f"call-{len(self.job.recorder.events)}", tool, arguments)
        self.job.recorder.emit(ev.ModelReplied(model="none", text="So.", tool_calls=(call,)))
        return call

    def call(self, tool: str, **arguments: Any) -> ev.ToolFinished:
        """The model's call and its end."""
        run_call(self.job, self.ask(tool, **arguments))
        finished = self.job.recorder.events[-1]
        assert isinstance(finished, ev.ToolFinished)
        return finished

    def run(self, command: str) -> ev.ToolFinished:
        """Run a command; what was stored then is all that the sandbox holds."""
        finished = self.call("run_command", command=command)
        self.look()
        return finished

    def look(self) -> None:
        """The snapshot is all that the sandbox holds, and W what is made from all of that."""
        job, state = self.job, self.job.state
        assert job.workspace.files(state.snapshot) == self.box.export()
        # What that look found the engine will not be told; so it has to look at everything as well.
        job.workspace._held = ""
        assert state.work_tree == job.repository.work_tree(state.snapshot, state.base_tree)[0]

    def work(self) -> dict[str, File]:
        return self.job.workspace.files(self.job.state.work_tree)


@pytest.fixture(params=[pytest.param("bubblewrap", marks=pytest.mark.bubblewrap), "process"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    if request.param == "bubblewrap":
        request.getfixturevalue("bubblewrap")
    made = Session(tmp_path, request.param)
    yield made
    made.job.workspace.close()
    made.job.objects.close()
    made.job.repository.close()


@pytest.mark.parametrize("seed", range(3))
def test_snapshots_follow_commands_and_tools(session: Session, seed: int) -> None:
    chance = random.Random(seed)
    commands = (
        "echo {n} >> src/main.py", "mkdir -p a/b && echo {n} > a/b/f{n}", "rm -rf a", "mv src source; mv source src",
        "echo {n} > x.log; echo {n} > tracked.log", "mkdir -p built && touch built/x", "rm -f tracked.log built/x",
        "chmod -x run.sh", "mkdir -p vendor/module && echo {n} > vendor/module/f", "rm -rf vendor",
        "rm -f link; mkdir link && echo {n} > link/in", "rm -rf link; ln -s {n} link", "true", "echo {n} > vendor",
        "mkdir -p node_modules/x && echo {n} > node_modules/x/y", "chmod 000 src", "git checkout -q . 2> /dev/null",
    )  # fmt: skip
    for n in range(60):
        match chance.randrange(4):
            case 0:
                session.call(
                    "write_file", path=chance.choice(("src/main.py", "new", "run.sh", "y.log")), content=f"{n}\n"
                )
            case 1:
                session.call("delete_file", path=chance.choice(("src/main.py", "new", "y.log", "run.sh")))
            case _:
                session.call("run_command", command=chance.choice(commands).format(n=n))
        if chance.random() < 0.15:
            session.look()
    session.look()


def test_what_a_command_takes_back(session: Session) -> None:
    session.run("echo 1 > a.log; echo 1 > b; echo 3 >> src/main.py")
    for n in range(5):
        session.call("write_file", path="b", content=f"{n}\n")
        session.call(
            "run_command", command=f"echo {n} >> src/main.py; git checkout -q b 2>/dev/null; echo {n} > n{n}.log"
        )
        session.call("write_file", path="b", content="new\n")
        # The command takes back what the tool wrote, so that the sandbox has nothing to tell of it.
        session.call("run_command", command=f"echo {n} > b; touch vendor; rm vendor")
    session.look()
    assert "a.log" not in session.work()
    assert session.work()["b"] == File(REGULAR, b"4\n")
    assert session.job.objects.entries(session.job.state.work_tree)["vendor/module"] == MODULE


def test_a_change_that_was_told_but_not_stored_is_not_lost(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.call("run_command", command="echo 1 > a")

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session.job.repository, "amend_tree", fail)
    with pytest.raises(OSError, match="No space"):
        session.call("run_command", command="echo 2 > b")
    monkeypatch.undo()
    session.run("echo 3 > c")
    assert {"a", "b", "c"} <= session.work().keys()


def test_back_to_any_step_and_forth(session: Session) -> None:
    job = session.job
    trees = {}
    for command in (
        "echo 1 > new; echo 1 > x.log",
        "true",
        "rm -r src; mkdir run.txt; chmod -x run.sh",
        "ln -sfn a link",
    ):
        finished = session.call("run_command", command=command)
        trees[finished.seq] = (job.state.snapshot, job.state.work_tree)
    steps = list(trees)
    for seq in (steps[0], steps[3], steps[1], 2, steps[2]):
        operation = roll_back(job, seq)
        full, work = trees.get(seq, (job.state.base_tree, job.state.base_tree))
        assert (job.state.snapshot, job.state.work_tree) == (full, work) == (operation.snapshot, operation.tree)
        assert operation.detail == f"rolled back to step {seq}"
        assert job.workspace.files(full) == session.box.export()
        job.workspace._held = ""
    edits = [event for event in job.recorder.events if isinstance(event, ev.FileEdit) and event.by == "user"]
    assert {edit.path for edit in edits} >= {"new", "src/main.py", "link"}
    assert "x.log" not in {edit.path for edit in edits}
    assert conversation(job.recorder.events).messages[-1].text.startswith("The user put all files back")
    # The agent goes on from there.
    session.run("echo 9 > nine")
    assert "nine" in session.work()


def test_back_without_a_live_sandbox(session: Session) -> None:
    first = session.call("run_command", command="echo 1 > new")
    session.call("run_command", command="rm new; echo 2 > src/main.py")
    session.job.workspace.discard()
    roll_back(session.job, first.seq)
    assert session.job.state.snapshot == first.snapshot
    assert session.box.export() == FILES | {"new": File(REGULAR, b"1\n")}


def test_an_edit_names_the_step_that_made_it(session: Session) -> None:
    finished = session.call("run_command", command="echo 1 > a; echo 2 > b")
    session.call("run_command", command="rm a b")
    edits = [event.seq for event in session.job.recorder.events if isinstance(event, ev.FileEdit)][:2]
    for seq in edits:
        roll_back(session.job, seq)
        assert session.job.state.snapshot == finished.snapshot


def test_what_was_rejected_stays_rejected(session: Session) -> None:
    job = session.job
    first = session.call("write_file", path="new", content="1\n")
    second = session.call("write_file", path="other", content="2\n")

    def reject(path: str) -> int:
        shown = review(job.objects, job.state).files
        (hunk,) = (item.hunk.id for file in shown if file.path == path for item in file.hunks)
        seq = handle(job, cmd.Decide(hunks=(hunk,), action="reject")).seq
        rejections.carry_out(job)
        assert path not in session.work()
        return seq

    early = reject("new")
    third = session.call("write_file", path="third", content="3\n")
    late = reject("other")
    # After the first rejection, before the second.
    operation = roll_back(job, third.seq)
    assert {"third", "other"} <= session.work().keys()
    assert "new" not in session.work()
    assert (operation.decisions, [item.seq for item in job.state.pending_rejections]) == ((late,), [late])
    rejections.carry_out(job)
    assert "other" not in session.work()
    # Before both.
    roll_back(job, second.seq)
    assert {"new", "other"} <= session.work().keys()
    assert [item.seq for item in job.state.pending_rejections] == [early, late]
    rejections.carry_out(job)
    assert not {"new", "other"} & session.work().keys()
    assert not job.state.pending_rejections
    # What was taken back by the user comes back as it does without any roll back.
    roll_back(job, first.seq)
    handle(job, cmd.Undo())
    rejections.carry_out(job)
    assert "new" not in session.work()
    assert fold(job.recorder.events) == job.state


def test_a_step_that_is_none(session: Session) -> None:
    finished = session.call("run_command", command="echo 1 > new")
    count = len(session.job.recorder.events)
    started = next(event.seq for event in session.job.recorder.events if isinstance(event, ev.ToolStarted))
    for seq in (-1, 0, 1, started, finished.seq + 1, 10_000):
        with pytest.raises(ValueError, match="is no step of this session"):
            roll_back(session.job, seq)
    assert len(session.job.recorder.events) == count


def notices(session: Session) -> list[str]:
    events = session.job.recorder.events
    return [event.text for event in events if isinstance(event, ev.Message) and event.kind == "notice"]


def test_a_sandbox_that_died_while_nothing_ran_is_replaced(session: Session) -> None:
    session.call("run_command", command="echo kept > kept")
    box = session.box
    box._channel.kill()
    assert until(lambda: not box.alive)
    finished = session.call("run_command", command="cat kept && echo made > made")
    assert finished.exit_code == 0
    assert "kept" in finished.text
    assert {"kept", "made"} <= session.work().keys()
    assert notices(session) == [REBUILT]


def test_a_call_that_kills_its_sandbox_is_answered_and_not_run_again(session: Session) -> None:
    job = session.job
    session.call("run_command", command="echo kept > kept")
    before = job.state
    call = session.ask("run_command", command="echo lost > lost; echo first; exec sleep 60")
    channel = session.box._channel
    killer = threading.Thread(target=lambda: until(lambda: printed(job, "first")) and channel.kill())
    killer.start()
    run_call(job, call)
    killer.join()
    finished = job.recorder.events[-1]
    assert isinstance(finished, ev.ToolFinished)
    assert (finished.call_id, finished.ok, finished.exit_code) == (call.id, False, None)
    assert finished.text.startswith("the sandbox died during this call (")
    assert "your files are as they were before it" in finished.text
    assert finished.audit is not None
    assert (finished.audit.command, finished.audit.user) == (call.arguments["command"], "agent")  # type: ignore[index]
    assert (finished.audit.ended, finished.audit.exit_code, finished.audit.stdout) == ("sandbox", None, 6)
    assert (job.state.snapshot, job.state.work_tree) == (before.snapshot, before.work_tree)
    assert notices(session) == [REBUILT]
    assert not conversation(job.recorder.events).open_calls
    assert session.run("cat kept; test ! -e lost").exit_code == 0


def printed(job: Job, text: str) -> bool:
    return any(isinstance(event, ev.ToolOutput) and text in event.text for event in list(job.recorder.events))


def test_a_sandbox_that_dies_before_its_files_are_read_takes_the_call_with_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.call("run_command", command="echo kept > kept")
    box = session.box
    changes = box.changes

    def die(**fields: bool) -> Any:
        box._channel.kill()
        return changes(**fields)

    monkeypatch.setattr(box, "changes", die)
    finished = session.call("run_command", command="echo lost > lost")
    assert (finished.ok, finished.exit_code, finished.tree) == (False, None, "")
    assert finished.text.startswith("the sandbox died during this call")
    told = [audit.command for audit in (*finished.earlier, finished.audit) if audit]
    assert told == ["echo lost > lost"]
    assert session.run("test ! -e lost && test -e kept").exit_code == 0


def test_where_no_other_sandbox_can_be_had_the_call_is_tried_again_later(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = session.job
    call = session.ask("run_command", command="echo made > made")
    box = session.box
    run, opened = box.run, job.parts.sandboxes.open

    def die(*words: Any, **fields: Any) -> Any:
        box._channel.kill()
        return run(*words, **fields)

    def refuse(*_: Any, **__: Any) -> Any:
        raise SandboxGone("the engine is starting again")

    monkeypatch.setattr(box, "run", die)
    monkeypatch.setattr(job.parts.sandboxes, "open", refuse)
    died = driver._run(job, "implement", 0)
    assert (died.outcome, died.detail) == ("retry", "the engine is starting again")
    assert [open_call.id for open_call in conversation(job.recorder.events).open_calls] == [call.id]
    monkeypatch.setattr(job.parts.sandboxes, "open", opened)
    with pytest.raises(WaitsForPerson, match="no model here"):  # after the call
        driver._run(job, "implement", 1)
    assert "made" in session.work()


# What changed shortly before a snapshot is looked at again for the next one.
AGED = "python3 -c \"import os, time; ctime = os.stat('src/main.py').st_ctime\nwhile time.time() < ctime + 0.1: pass\""
UNSEEN = (
    "python3 -c \"import mmap, os; m = mmap.mmap(os.open('src/main.py', os.O_RDWR), 0); m[0]; "
    "open('other', 'w').close(); m[:3] = b'ONE'\""
)


def test_what_left_no_trace_is_found_at_the_end(session: Session) -> None:
    job = session.job
    session.call("run_command", command=AGED)
    hidden = session.call("run_command", command=UNSEEN)
    hidden_at_first = session.work()["src/main.py"].data == b"one\ntwo\n"
    session.ask("finish", summary="Done.")
    assert implement.run(job).outcome == "ok"
    assert session.work()["src/main.py"].data == b"ONE\ntwo\n"
    assert job.workspace.files(job.state.snapshot) == session.box.export()
    edits = [event for event in job.recorder.events if isinstance(event, ev.FileEdit) and event.path == "src/main.py"]
    assert [(edit.by, edit.added, edit.removed) for edit in edits] == [(hidden.call_id, 1, 1)]
    operations = [event for event in job.recorder.events if isinstance(event, ev.GitOperation)]
    assert len(operations) == 1 + hidden_at_first
    if session.backend == "bubblewrap":
        assert hidden_at_first


def test_a_stop_looks_at_everything_too(session: Session) -> None:
    job = session.job
    session.call("run_command", command=AGED)
    session.call("run_command", command=UNSEEN)
    session.ask("run_command", command="true")
    job.control.stop = True
    assert driver._run(job, "implement", 0).outcome == "stopped"
    assert session.work()["src/main.py"].data == b"ONE\ntwo\n"


def test_nothing_is_read_again_where_nothing_ran(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session.job.workspace.settle() is None
    session.call("write_file", path="a", content="1\n")
    assert session.box.alive
    assert session.job.workspace.settle() is None
    session.call("run_command", command="true")
    assert session.job.workspace.settle() is not None
    assert session.job.workspace.settle() is None
    session.call("run_command", command="true")
    session.box._channel.kill()
    assert session.job.workspace.settle() is None
