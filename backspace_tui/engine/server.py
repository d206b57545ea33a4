"""The session's socket: windows and scripts send commands, each is answered with what it caused."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import msgspec

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine import review
from backspace_tui.engine.job import Job, WorkCommand
from backspace_tui.sessions.errors import SessionError

MAX_LINE = 4 * 1024 * 1024
AGENT_STAGES = ("prepare", "analyze", "plan", "implement", "critique")
RESTING = ("review", "done")


def handle(job: Job, command: cmd.AnyCommand) -> cmd.Reply:
    """Carry out one command; never raises for what the user can get wrong."""
    try:
        return cmd.Reply(seq=_handle(job, command))
    except review.DecisionRefused as problem:
        return cmd.Reply(error=clean(str(problem)))
    except SessionError as problem:
        return cmd.Reply(error=str(problem))


def _handle(job: Job, command: cmd.AnyCommand) -> int:
    recorder = job.recorder
    match command:
        case cmd.Decide():
            return review.decide(job, command)
        case cmd.Undo():
            return review.undo(job)
        case cmd.Ping():
            return recorder.state.last_seq
        case cmd.Say(text=text):
            return _say(job, command, text)
        case cmd.Answer(text=text):
            with recorder.changed:
                question = recorder.state.question
                if question is None:
                    raise review.DecisionRefused("nothing is being asked")
                return recorder.emit(ev.Answer(question=question.seq, text=job.parts.redactor.redact(clean(text)))).seq
        case cmd.Pause():
            with recorder.changed:
                if recorder.state.paused or recorder.state.stage not in AGENT_STAGES:
                    raise review.DecisionRefused("the agent is not working, so there is nothing to pause")
                return recorder.emit(ev.Paused()).seq
        case cmd.Resume():
            with recorder.changed:
                if not recorder.state.paused:
                    raise review.DecisionRefused("the session is not paused")
                return recorder.emit(ev.Resumed()).seq
        case cmd.Stop():
            return _stop(job, quit=recorder.state.stage not in AGENT_STAGES)
        case cmd.Quit():
            return _stop(job, quit=True)
        case cmd.Verify() | cmd.Publish():
            return _work(job, command)


def _say(job: Job, command: cmd.Say, text: str) -> int:
    if not text.strip():
        raise review.DecisionRefused("say something")
    with job.recorder.changed:
        if job.recorder.state.stage in RESTING:
            return _work(job, command)
        message = ev.Message(role="user", kind="steer", text=job.parts.redactor.redact(clean(text)))
        return job.recorder.emit(message).seq


def _stop(job: Job, *, quit: bool) -> int:
    with job.recorder.changed:
        job.control.stop = not quit
        job.control.quit = job.control.quit or quit
        cancel = job.control.cancel
        seq = job.recorder.state.last_seq
        job.recorder.changed.notify_all()
    cancel.cancel()
    return seq


def _work(job: Job, command: WorkCommand) -> int:
    with job.recorder.changed:
        state = job.recorder.state
        if not isinstance(command, cmd.Say):
            if not state.base_tree or state.accepted_tree == state.base_tree:
                raise review.DecisionRefused("nothing is accepted yet; accept a hunk first")
            if state.stage in AGENT_STAGES:
                raise review.DecisionRefused("the agent is still working; wait for it, or stop it first")
            if state.stage not in RESTING:
                raise review.DecisionRefused(f"{state.stage} is under way already")
        job.control.work.append(command)
        job.recorder.changed.notify_all()
        return state.last_seq


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
        threading.Thread(target=self._accept, name="socket", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._path.unlink(missing_ok=True)
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
                    stream.write(cmd.encode(self._answer(line)))
                    stream.flush()
        except OSError:
            pass
        finally:
            self._count(-1)

    def _answer(self, line: bytes) -> cmd.Reply:
        try:
            command = cmd.decode_command(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            return cmd.Reply(error=f"not a command: {problem}")
        return handle(self._job, command)

    def _count(self, change: int) -> None:
        with self._job.recorder.changed:
            self._job.control.windows += change
            self._job.recorder.changed.notify_all()
