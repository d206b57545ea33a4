"""The process of a session: takes the lock, opens the log and the socket, and runs the workflow to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Audit
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.audit import audited
from backspace_tui.engine.driver import drive
from backspace_tui.engine.job import Control, Job, Parts
from backspace_tui.engine.masking import masked
from backspace_tui.engine.recorder import Recorder
from backspace_tui.engine.server import Server, handle
from backspace_tui.engine.workspace import Workspace
from backspace_tui.repository.bare import BareRepository
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.sessions import summaries
from backspace_tui.sessions.errors import LAST_WORDS, SessionError, storage_error
from backspace_tui.sessions.ledger import Ledger
from backspace_tui.sessions.log import EventLog
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from backspace_tui.sessions.store import Lock, socket_path

MakeParts = Callable[[ev.SessionStarted], Parts]

NO_MODELS: Final = (("offline",), ("scripted",))
"""What stands where a session has no language model, and so no costs."""


def run(
    request: cmd.HostRequest,
    make_parts: MakeParts,
    ready: Callable[[cmd.HostReady], None],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Be the one process of the session that ``request`` names, until it ends; returns the exit code.

    ``make_parts`` gets the first event and makes model, sandboxes and forge. ``ready`` is called once, when the
    socket stands, or with the error. ``clock`` tells the time of the events and of the budget; it may jump.
    """
    directory = Path(request.directory)
    try:
        lock = Lock(directory)
        lock.acquire()
        # A new session that cannot be leaves no log.
        parts = make_parts(request.started) if request.started is not None else None
        log = EventLog.open(directory, clock)
        started = _first_event(log, request, parts)
        parts = parts or make_parts(started)
        job = _job(directory, request, started, log, parts, clock)
        server = Server(job, socket_path(directory))
    except (SessionError, RepositoryError) as problem:
        exit_code = getattr(problem, "exit_code", 1)
        ready(cmd.HostReady(error=str(problem), exit_code=exit_code))
        return exit_code
    except OSError as problem:
        told = storage_error(problem, Path(os.fsdecode(problem.filename or directory)))
        ready(cmd.HostReady(error=str(told), exit_code=told.exit_code))
        return told.exit_code
    _handle_signals(job)
    try:
        for command in request.commands:
            if error := handle(job, command, driven=False).error:
                ready(cmd.HostReady(error=error, exit_code=1))
                return 1
        ready(cmd.HostReady(pid=os.getpid()))
        return drive(job)
    except SessionError as problem:
        # The log itself cannot be written: nothing more can be promised, what was logged stands.
        _say_in_log(str(problem))
        return problem.exit_code
    finally:
        job.workspace.close()
        server.close()
        _summarize(job)
        job.objects.close()
        job.repository.close()
        log.close()
        lock.release()


def _summarize(job: Job) -> None:
    """Leave behind what lists of sessions show; whoever finds it missing makes it of the log."""
    try:
        hunks = review(job.objects, job.state).total if job.state.base_tree else None
    except SessionError:
        hunks = None
    summaries.keep(job.directory, job.state, hunks)


def _say_in_log(text: str) -> None:
    """Write why the process ends to engine.log, as far as the disk takes it."""
    with contextlib.suppress(OSError):
        print(f"{LAST_WORDS}{text}", file=sys.stderr, flush=True)


def _first_event(log: EventLog, request: cmd.HostRequest, parts: Parts | None) -> ev.SessionStarted:
    if log.events:
        first = log.events[0]
        if isinstance(first, ev.SessionStarted):
            return first
        raise SessionError("this session's log does not begin with session_started; it cannot go on")
    if request.started is None or parts is None:
        raise SessionError("this session never began; start a new one")
    stored = log.append(masked(request.started, parts.redactor.redact))
    assert isinstance(stored, ev.SessionStarted)
    return stored


def _job(
    directory: Path,
    request: cmd.HostRequest,
    started: ev.SessionStarted,
    log: EventLog,
    parts: Parts,
    clock: Callable[[], datetime],
) -> Job:
    recorder = Recorder(log, parts.redactor.redact)
    parts.progress.listener = lambda line: _notice(recorder, parts, line)
    git_dir = directory / "repo.git"
    repository = BareRepository.open(git_dir) if git_dir.exists() else BareRepository.create(git_dir)
    objects = Objects(git_dir)
    control = Control(stop=recorder.state.stopping)
    job = Job(
        directory=directory,
        recorder=recorder,
        repository=repository,
        objects=objects,
        workspace=Workspace(started.session, parts.sandboxes, repository, objects, recorder, lambda: control.cancel),
        parts=parts,
        control=control,
        exit_when_waiting=request.exit_when_waiting,
        idle_timeout=request.idle_timeout,
        ledger=_ledger(directory, started, log),
        now=clock,
    )
    parts.progress.auditor = lambda audit: _tell(job, audit)
    return job


def _ledger(directory: Path, started: ev.SessionStarted, log: EventLog) -> Ledger | None:
    if started.models in NO_MODELS:
        return None
    ledger = Ledger.beside(directory, started)
    ledger.catch_up(log.events)
    return ledger


def _notice(recorder: Recorder, parts: Parts, line: str) -> None:
    recorder.emit(ev.Message(role="program", text=parts.redactor.redact(clean(line))))


def _tell(job: Job, audit: Audit) -> None:
    how = f"exit code {audit.exit_code}" if audit.exit_code is not None else audit.ended or "killed"
    text = f"{how} after {audit.seconds or 0:.1f} s"
    job.recorder.emit(ev.Message(role="program", text=text, audit=audited(job, audit, "setup")))


def _handle_signals(job: Job) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        # Not here: the interrupted code may hold the very lock that stopping needs.
        threading.Thread(target=handle, args=(job, cmd.Quit()), daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def announce(message: cmd.HostReady) -> None:
    """Print the one line that the launcher waits for, and let go of its pipe."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
