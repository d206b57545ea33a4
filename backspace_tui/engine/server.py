"""The session's socket: windows and scripts send commands, each is answered with what it caused."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.stages import AGENT_STAGES, RESTING
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine import applying, editing, review, rollback, user_commands
from backspace_tui.engine.job import Job, WorkCommand
from backspace_tui.engine.talk import kind_of_message
from backspace_tui.engine.visit import Visit
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.sessions.errors import SessionError

MAX_LINE = 4 * 1024 * 1024
PATIENCE = 30.0
"""Seconds until the workflow must have taken up what was asked of it."""


def handle(job: Job, command: cmd.AnyCommand, *, driven: bool = True) -> cmd.Reply:
    """Carry out one command; never raises for what the user can get wrong.

    What is answered without an error stands in the log. ``driven`` tells whether the workflow runs already.
    """
    try:
        return cmd.Reply(seq=_handle(job, command, driven))
    except review.DecisionRefused as problem:
        return cmd.Reply(error=clean(str(problem)))
    except (SessionError, RepositoryError) as problem:
        return cmd.Reply(error=clean(str(problem)))
    except Exception as problem:
        traceback.print_exc()
        log = job.directory / "engine.log"
        return cmd.Reply(error=clean(f"unexpected {type(problem).__name__}: {problem} (see {log})"))


def _handle(job: Job, command: cmd.AnyCommand, driven: bool) -> int:
    recorder = job.recorder
    match command:
        case cmd.Decide():
            return review.decide(job, command)
        case cmd.Edit():
            return editing.edit(job, command)
        case cmd.Undo():
            return review.undo(job)
        case cmd.Ping():
            return recorder.state.last_seq
        case cmd.Say(text=text, about=about):
            return _say(job, text, about)
        case cmd.Answer(text=text, question=wanted):
            return _answer(job, text, wanted)
        case cmd.Pause():
            with recorder.changed:
                if recorder.state.paused or job.recorder.state.stage_now not in AGENT_STAGES:
                    raise review.DecisionRefused("the agent is not working, so there is nothing to pause")
                return recorder.emit(ev.Paused()).seq
        case cmd.Resume():
            with recorder.changed:
                if not recorder.state.paused:
                    raise review.DecisionRefused("the session is not paused")
                if recorder.state.paused == user_commands.IN_SHELL and job.control.visit is not None:
                    raise review.DecisionRefused("you are in the sandbox's shell; leave it first")
                return recorder.emit(ev.Resumed()).seq
        case cmd.Stop():
            return _stop(job, quit=False)
        case cmd.Quit():
            return _stop(job, quit=True)
        case cmd.RunForUser(command=line):
            return user_commands.ask_run(job, line, driven=driven)
        case cmd.RollBack(seq=step):
            return rollback.ask(job, step, driven=driven)
        case cmd.Apply(uncommitted=uncommitted):
            with job.review_lock:
                done = applying.apply(job.directory, recorder.events, uncommitted=uncommitted)
                return recorder.emit(done).seq
        case cmd.Shell():
            raise review.DecisionRefused("a shell needs a window of its own: backspace-tui sandbox shell SESSION")
        case cmd.Verify() | cmd.Publish():
            return _work(job, command, driven)


def _say(job: Job, text: str, about: Literal["", "tests"]) -> int:
    if not text.strip():
        raise review.DecisionRefused("say something")
    with job.recorder.changed:
        kind = kind_of_message(job, text)
        text = job.parts.redactor.redact(clean(text))
        return job.recorder.emit(ev.Message(role="user", kind=kind, text=text, about=about)).seq


def _answer(job: Job, text: str, wanted: int) -> int:
    if not text.strip():
        raise review.DecisionRefused("the answer is empty")
    with job.recorder.changed:
        question = job.recorder.state.question
        if question is None:
            raise review.DecisionRefused("nothing is being asked")
        if wanted not in (0, question.seq):
            raise review.DecisionRefused("that question is answered already; another one is open")
        return job.recorder.emit(ev.Answer(question=question.seq, text=job.parts.redactor.redact(clean(text)))).seq


def _stop(job: Job, *, quit: bool) -> int:
    if not quit and user_commands.stop(job, everything=False):
        return job.state.last_seq
    with job.recorder.changed:
        quit = quit or job.recorder.state.stage_now not in AGENT_STAGES
        if not quit and not job.recorder.state.stopping:
            job.recorder.emit(ev.StopAsked())
        job.control.stop = not quit
        job.control.quit = job.control.quit or quit
        cancel = job.control.cancel
        seq = job.recorder.state.last_seq
        job.recorder.changed.notify_all()
    cancel.cancel()
    if quit:
        user_commands.stop(job, everything=True)
    return seq


def _work(job: Job, command: WorkCommand, driven: bool) -> int:
    recorder = job.recorder
    with recorder.changed:
        state, stage = recorder.state, job.recorder.state.stage_now
        if not state.base_tree or state.accepted_tree == state.base_tree:
            raise review.DecisionRefused("nothing is accepted yet; accept a hunk first")
        if stage in AGENT_STAGES or state.unheard is not None:
            raise review.DecisionRefused("the agent is still working; wait for it, or stop it first")
        if stage not in RESTING or job.control.work:
            raise review.DecisionRefused(f"{stage} is under way already")
        job.control.work.append(command)
        recorder.changed.notify_all()
        if not driven:
            return state.last_seq
        # The event that it causes is the end of the review.
        asked = state.last_seq
        if not recorder.changed.wait_for(lambda: bool(_taken_up(recorder.events, asked)), PATIENCE):
            raise review.DecisionRefused("the session's process is ending; ask again when it has been resumed")
        taken = _taken_up(recorder.events, asked)
        assert taken is not None
        if taken.outcome != "ok":
            raise review.DecisionRefused("the agent was asked for more first; wait for it, then ask again")
        return taken.seq


def _taken_up(events: Sequence[ev.AnyEvent], asked: int) -> ev.StageFinished | None:
    """The end of the review that came after the event ``asked``."""
    for event in reversed(events):
        if event.seq <= asked:
            break
        if isinstance(event, ev.StageFinished) and event.stage == "review":
            return event
    return None


class Server:
    """Listens on the session's socket until closed; one thread for each window."""

    def __init__(self, job: Job, path: Path) -> None:
        self._job = job
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(mask)
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, name="socket", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._path.unlink(missing_ok=True)
        # Closed alone, a socket that a thread waits at keeps it waiting, or lets it serve what gets the same number.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(1.0)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="window", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._count(1)
        try:
            with connection, connection.makefile("rwb") as stream:
                while line := stream.readline(MAX_LINE):
                    reply, visit = self._answer(line, connection)
                    stream.write(cmd.encode(reply))
                    stream.flush()
                    if visit is not None:
                        user_commands.host(self._job, visit, stream)
                        return
        except OSError:
            pass
        finally:
            self._count(-1)

    def _answer(self, line: bytes, connection: socket.socket) -> tuple[cmd.Reply, Visit | None]:
        """The reply, and the visit that the connection is for from then on."""
        try:
            command = cmd.decode_command(line)
            if isinstance(command, cmd.Shell):
                visit = user_commands.ask_shell(self._job, command, connection)
                return cmd.Reply(seq=self._job.state.last_seq), visit
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            return cmd.Reply(error=f"not a command: {problem}"), None
        except review.DecisionRefused as problem:
            return cmd.Reply(error=str(problem)), None
        return handle(self._job, command), None

    def _count(self, change: int) -> None:
        with self._job.recorder.changed:
            self._job.control.windows += change
            self._job.recorder.changed.notify_all()
