"""A session whose agent and human are the test: a real log and a real repository, without model, sandbox or process."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

from backspace_tui import cli
from backspace_tui.config import Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ToolCall
from backspace_tui.core.redact import Redactor
from backspace_tui.core.state import SessionState
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.engine import rejections
from backspace_tui.engine.job import Control, Job, Parts
from backspace_tui.engine.recorder import Recorder
from backspace_tui.engine.server import handle
from backspace_tui.engine.workspace import Workspace
from backspace_tui.repository.bare import BareRepository
from backspace_tui.sessions import client
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import EventLog
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk, review
from tests.program import Program

Content = bytes | File
Which = Literal["base", "accepted", "work"]
Action = Literal["accept", "reject", "unstage", "review", "unreview", "comment", "redo"]
SESSION = "20260102-030405-abcd"


class Refused(Exception):
    """The session refused a command; the text is its one line."""


class Store(NamedTuple):
    """A repository that several scenes may share: object ids name content, so they do not meet."""

    repository: BareRepository
    objects: Objects

    @classmethod
    def make(cls, folder: Path) -> Store:
        return cls(BareRepository.create(folder / "repo.git"), Objects(folder / "repo.git"))


class _Absent:
    """A part of the outside that no review may use."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the review used the outside: {name}")


class Scene:
    """One session. Its agent edits with :meth:`agent`, its human does everything else."""

    def __init__(self, folder: Path, base: Mapping[str, Content], store: Store | None = None) -> None:
        self.folder = folder
        self.directory = folder / "data" / "sessions" / SESSION
        self.directory.mkdir(parents=True)
        self.shared = store is not None
        if store is not None:
            (self.directory / "repo.git").symlink_to(store.repository.path, target_is_directory=True)
        self.store = store or Store.make(self.directory)
        self.calls = 0
        self.job = self._open()
        tree = self.store.repository.write_tree({path: as_file(content) for path, content in base.items()})
        commit = self.store.repository.commit(tree, [], "base", "Uma", "uma@example.com", self.job.state.last_time)
        self._emit(ev.GitOperation(operation="base", commit=commit, tree=tree, branch="main"))
        self._emit(ev.StageStarted(stage="implement"))

    def _open(self) -> Job:
        self._log = EventLog.open(self.directory)
        if not self._log.events:
            self._log.append(
                ev.SessionStarted(
                    session=SESSION,
                    repository=str(self.folder),
                    prompt="replace one with two",
                    version="0",
                    models=("offline",),
                    sandbox="process",
                )
            )
        recorder, absent = Recorder(self._log), _Absent()
        parts: Any = Parts(
            model=absent,
            sandboxes=absent,
            forge=lambda _remote, _source: absent,
            prompts={},
            settings=Settings(),
            redactor=Redactor([], salt=b"scene"),
        )
        repository, objects = self.store
        return Job(
            directory=self.directory,
            recorder=recorder,
            repository=repository,
            objects=objects,
            workspace=Workspace(SESSION, absent, repository, objects, recorder),
            parts=parts,
            control=Control(),
            exit_when_waiting=True,
            idle_timeout=1.0,
        )

    def close(self) -> None:
        self._log.close()
        if not self.shared:
            self.store.objects.close()
            self.store.repository.close()

    def _emit(self, event: Any) -> None:
        if isinstance(event, ev.StageStarted):
            self.job.recorder.enter(event)
        else:
            self.job.recorder.emit(event)

    # The agent

    def agent(self, changes: Mapping[str, Content | None]) -> None:
        """The agent's next turn, with one call that leaves these paths so (``None``: removed).

        Bytes keep the mode of the plain file that is there.
        """
        self.calls += 1
        call = f"call-{self.calls}"
        present = self.tree("work")
        files = {path: None if new is None else as_file(new, present.get(path)) for path, new in changes.items()}
        for event in (
            ev.ModelCalled(model="test", heard=self.state.last_seq),
            ev.ModelReplied(model="test", text="So.", tool_calls=(ToolCall(call, "write_files", {}),)),
            ev.ToolStarted(call_id=call, tool="write_files", title="write files"),
        ):
            self._emit(event)
        taken = self.job.workspace.put(files)
        tree = snapshot = ""
        edits: list[ev.FileEdit] = []
        if taken.full != self.state.snapshot:
            tree, snapshot = taken.tree, taken.full
            edits = self.job.workspace.edits(tree, call)
        finished = ev.ToolFinished(call_id=call, tool="write_files", ok=True, text="done", tree=tree, snapshot=snapshot)
        self.job.recorder.emit_all([*edits, finished])

    def boundary(self) -> None:
        """The agent's turn boundary: what was rejected leaves its files, what was restored comes back."""
        rejections.carry_out(self.job)

    # The human

    def decide(self, action: Action, *units: str, comment: str = "", protected: bool = False) -> None:
        """One decision about these units, as one group. Raises :class:`Refused`."""
        self.do(cmd.Decide(hunks=units, action=action, comment=comment, accept_protected=protected))

    def edit(self, hunk: str, result: bytes) -> None:
        """Accept a hunk with ``result`` in place of its new side. Raises :class:`Refused`."""
        self.do(cmd.Edit(hunk=hunk, result=result))

    def undo(self) -> None:
        """Take back the last decision. Raises :class:`Refused`."""
        self.do(cmd.Undo())

    def do(self, command: cmd.AnyCommand) -> None:
        """One command as the session's socket carries it out. Raises :class:`Refused`."""
        error = handle(self.job, command, driven=False).error
        assert not error.startswith("unexpected "), error
        if error:
            assert "\n" not in error
            raise Refused(error)

    def command(self, *options: str, expect: int = 0) -> Any:
        """``backspace-tui review --json`` with these options, in this process: what it prints, read again.

        The session's process is stood in for by this job, which takes decisions and nothing else.
        """
        out, err = io.StringIO(), io.StringIO()
        environment = {"BACKSPACE_TUI_DATA_DIR": str(self.folder / "data")}
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(client, "launch", self._launched),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main(["review", SESSION, "--json", *options])
        self.said = err.getvalue()
        assert code == expect, self.said
        return json.loads(out.getvalue()) if out.getvalue() else None

    def _launched(self, request: cmd.HostRequest, *_: Any) -> cmd.HostReady:
        for command in request.commands:
            if isinstance(command, cmd.Quit):
                continue
            try:
                self.do(command)
            except Refused as problem:
                raise SessionError(str(problem)) from None
        return cmd.HostReady(pid=os.getpid())

    def program(self, *options: str, expect: int = 0) -> Any:
        """The same with the program itself, which starts the session's process for the decisions."""
        self._log.close()
        done = Program(self.folder).run("review", SESSION, "--json", *options)
        assert done.returncode == expect, done.stderr
        self.said = done.stderr
        self.job = self._open()
        return json.loads(done.stdout) if done.stdout else None

    # What there is

    @property
    def state(self) -> SessionState:
        return self.job.state

    @property
    def events(self) -> Sequence[ev.AnyEvent]:
        return self.job.recorder.events

    @property
    def review(self) -> Review:
        """The review as the window would show it now."""
        return review(self.store.objects, self.state)

    def tree(self, which: Which) -> dict[str, File]:
        """Every path of B, A or W with its content."""
        state = self.state
        return self.job.workspace.files(
            {"base": state.base_tree, "accepted": state.accepted_tree, "work": state.work_tree}[which]
        )

    def accepted(self, path: str) -> bytes | None:
        """What A holds at ``path``."""
        return self._data("accepted", path)

    def work(self, path: str) -> bytes | None:
        """What W holds at ``path``."""
        return self._data("work", path)

    def mode(self, path: str, which: Which = "accepted") -> int | None:
        """The git mode of ``path``, ``None`` where it is absent."""
        file = self.tree(which).get(path)
        return None if file is None else file.mode

    def _data(self, which: Which, path: str) -> bytes | None:
        file = self.tree(which).get(path)
        return None if file is None else file.data

    def file(self, path: str) -> ReviewFile:
        """One path of the review."""
        (found,) = (file for file in self.review.files if file.path == path)
        return found

    def items(self, path: str | None = None) -> list[ReviewHunk]:
        """All hunks, of one path or of all."""
        return [item for file in self.review.files if path in (None, file.path) for item in file.hunks]

    def open(self, path: str | None = None) -> list[ReviewHunk]:
        """The hunks that are still to be decided, in order."""
        return [item for item in self.items(path) if item.open]

    def of(self, state: str, path: str | None = None) -> list[ReviewHunk]:
        """The hunks in this state."""
        return [item for item in self.items(path) if item.state == state]

    def only(self, path: str | None = None) -> str:
        """The id of the one open hunk."""
        (item,) = self.open(path)
        return item.hunk.id

    def states(self, path: str | None = None) -> list[str]:
        """The states of all hunks, in order."""
        return [item.state for item in self.items(path)]

    def unit(self, *lines: str | bytes, path: str | None = None, accepted: bool = False) -> str:
        """The unit of just these changed lines of one hunk (``"+new"``, ``"-old"``), each of which is there once."""
        wanted = [line.encode() if isinstance(line, str) else line for line in lines]
        for item in self.of("accepted", path) if accepted else self.open(path):
            shown = [sign.encode() + text for sign, text in item.hunk.lines]
            if all(line in shown for line in wanted):
                assert all(shown.count(line) == 1 for line in wanted), "ambiguous lines"
                return f"{item.hunk.id}:{','.join(str(shown.index(line) + 1) for line in wanted)}"
        raise AssertionError(f"no hunk holds {wanted}")


def as_file(content: Content, present: File | None = None) -> File:
    """Bytes as a file, with the mode of the plain one that is there."""
    if isinstance(content, File):
        return content
    keeps = present is not None and present.mode in (REGULAR, EXECUTABLE)
    return File(present.mode if present is not None and keeps else REGULAR, content)


def executable(data: bytes) -> File:
    return File(EXECUTABLE, data)


def symlink(target: bytes) -> File:
    return File(SYMLINK, target)


def lines(*items: object) -> bytes:
    """One line each, as ``printf '%s\\n'`` would write them."""
    return b"".join(str(item).encode() + b"\n" for item in items)


@contextlib.contextmanager
def scene(folder: Path, base: Mapping[str, Content], store: Store | None = None) -> Iterator[Scene]:
    """A scene that is closed at the end."""
    made = Scene(folder, base, store)
    try:
        yield made
    finally:
        made.close()
