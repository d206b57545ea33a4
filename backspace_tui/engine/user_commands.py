"""The user in the agent's sandbox: a command, or a shell. The workflow's thread runs them between the agent's steps."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.frames import Ended
from backspace_tui.core.protocols import Result, SandboxError
from backspace_tui.core.stages import RESTING
from backspace_tui.core.terminal_text import clean, clip, visible
from backspace_tui.engine.audit import audited
from backspace_tui.engine.cancel import Cancel
from backspace_tui.engine.job import Job
from backspace_tui.engine.output import CommandOutput
from backspace_tui.engine.rollback import RollBack, carry_out
from backspace_tui.engine.talk import DecisionRefused
from backspace_tui.engine.visit import Stream, Visit

IN_SHELL: Final = "you are in the sandbox's shell"
WAITS: Final = "your command runs "
NEVER_RAN: Final = "your command did not run, since the session's process ended before; give it again: "
SOON: Final = 0.3
"""Seconds after which it is said that a command waits."""
TOLD_PATHS: Final = 20
TOLD_COMMAND: Final = 1_000


@dataclass
class Asked:
    """A command that waits for its turn; ``started`` is the ``seq`` of its first event, once there."""

    command: str
    started: int = 0


Request = Asked | RollBack | Visit


# The socket's threads


def ask_run(job: Job, command: str, *, driven: bool) -> int:
    """Have ``command`` run at the next turn boundary; returns the ``seq`` of its start, or of what says that it waits.

    Raises:
        DecisionRefused: there is nothing to run.
    """
    if not command.strip():
        raise DecisionRefused("name the command to run")
    asked, changed = Asked(command), job.recorder.changed
    with changed:
        job.control.user.append(asked)
        changed.notify_all()
        if driven and not changed.wait_for(lambda: asked.started > 0, SOON):
            line = f"{WAITS}{_when(job)}: {job.parts.redactor.redact(clean(command))}"
            return job.recorder.emit(ev.Message(role="program", text=line)).seq
        return asked.started or job.state.last_seq


def ask_shell(job: Job, command: cmd.Shell, connection: socket.socket) -> Visit:
    """A shell for the window at the other end of ``connection``, still to be opened with :func:`host`.

    Raises:
        DecisionRefused: there is one already, or the session is ending.
    """
    visit = Visit(connection, command.rows, command.cols, command.term)
    with job.recorder.changed:
        if job.control.visit is not None:
            raise DecisionRefused("another window is in the sandbox's shell; leave it there first")
        if job.control.quit:
            raise DecisionRefused("the session is ending; resume it, then open the shell")
        job.control.visit = visit
    return visit


def host(job: Job, visit: Visit, stream: Stream) -> None:
    """Once the window has its reply: open the shell as soon as it can be, and serve the window until it leaves."""
    changed = job.recorder.changed
    try:
        with changed:
            job.control.user.append(visit)
            changed.notify_all()
            waits = not changed.wait_for(lambda: visit not in job.control.user, SOON)
            when = _when(job)
        if waits:
            visit.note(f"the shell opens {when}; Ctrl-C gives up")
        visit.serve(stream)
    finally:
        _withdraw(job, visit)


def _when(job: Job) -> str:
    stage = job.state.stage_now
    if job.control.visit is not None and job.control.visit not in job.control.user:
        return "when you have left the shell"
    return "as soon as it can" if stage in RESTING else f"when the agent's present step ({stage}) has ended"


def _withdraw(job: Job, visit: Visit) -> None:
    """The window left; a shell that was not opened yet never is."""
    with job.recorder.changed:
        if visit in job.control.user:
            job.control.user.remove(visit)
            job.control.visit = None


def stop(job: Job, *, everything: bool) -> bool:
    """End the user's command, if one runs, and with ``everything`` the shell; returns whether a command was ended."""
    with job.recorder.changed:
        running, visit = job.control.user_cancel, job.control.visit
    if running is not None:
        running.cancel()
    if everything and visit is not None:
        visit.hang_up()
    return running is not None


# The workflow's thread


def serve(job: Job, *, pause: bool = False) -> None:
    """Do what the user asked for. ``pause`` tells that the agent would go on now: with a shell it is paused."""
    while (asked := _next(job)) is not None:
        match asked:
            case Visit():
                with _paused(job) if pause else contextlib.nullcontext():
                    _shell(job, asked)
            case RollBack():
                carry_out(job, asked)
            case Asked():
                _run(job, asked)


def recover(job: Job) -> None:
    """Close what the death of an earlier process left open, and say what it did not come to."""
    for line in forgotten(job.recorder.events):
        job.recorder.emit(ev.Message(role="program", text=line))
    finished = {event.call_id for event in job.recorder.events if isinstance(event, ev.ToolFinished)}
    for event in job.recorder.events:
        if isinstance(event, ev.ToolStarted) and event.by == "user" and event.call_id not in finished:
            what = "shell" if event.tool == "shell" else "command"
            text = f"your {what} died with the session's process; what it changed is lost"
            closed = ev.ToolFinished(call_id=event.call_id, tool=event.tool, ok=False, text="", by="user")
            job.recorder.emit_all([ev.Message(role="program", text=text), closed])
    _end_pause(job)


def forgotten(events: Iterable[ev.AnyEvent]) -> list[str]:
    """A line for each command that was told to wait and never began, unless that was said already."""
    waiting: list[str] = []
    for event in events:
        match event:
            case ev.Message(role="program", text=text) if text.startswith(WAITS):
                waiting.append(text.removeprefix(WAITS).partition(": ")[2])
            case ev.Message(role="program", text=text) if text.startswith(NEVER_RAN):
                _discard(waiting, text.removeprefix(NEVER_RAN))
            case ev.ToolStarted(by="user", tool="run_command", arguments=arguments):
                _discard(waiting, str(arguments.get("command")))
            case _:
                pass
    return [NEVER_RAN + command for command in waiting]


def _discard(commands: list[str], command: str) -> None:
    if command in commands:
        commands.remove(command)


def _end_pause(job: Job) -> None:
    if job.state.paused == IN_SHELL:
        job.recorder.emit(ev.Resumed())


def _next(job: Job) -> Request | None:
    with job.recorder.changed:
        return job.control.user.pop(0) if job.control.user and not job.control.quit else None


@contextlib.contextmanager
def _paused(job: Job) -> Iterator[None]:
    if job.state.paused:
        yield
        return
    job.recorder.emit(ev.Paused(reason=IN_SHELL))
    try:
        yield
    finally:
        _end_pause(job)


def _shell(job: Job, visit: Visit) -> None:
    if visit.gone:
        with job.recorder.changed:
            job.control.visit = None
        return
    call_id, ended = (
        _start(job, "shell", "shell", {}),
        Ended(error="the shell ended unexpectedly; see the session's log"),
    )
    try:
        ended = _visited(job, visit, call_id)
    finally:
        with job.recorder.changed:
            job.control.visit = None
        visit.tell_end(ended)


def _visited(job: Job, visit: Visit, call_id: str) -> Ended:
    began = time.monotonic()
    result: Result | None = None
    try:
        if not job.workspace.live:
            visit.note("starting the sandbox; Ctrl-C gives up")
        with job.workspace.box.shell(visit.rows, visit.cols, term=visit.term) as shell:
            visit.open(shell)
            while data := shell.read():
                visit.show(data)
            result = shell.result
        changed = _snapshot(job)
    except SandboxError as problem:
        return Ended(error=_lost(job, problem, call_id, "shell", began, result))
    paths = _paths(changed)
    told = f"[user] worked in a shell in your sandbox; changed: {_listed(paths)}" if paths else ""
    _finish(job, changed, call_id, "shell", told, result, began)
    shown = tuple(paths[:TOLD_PATHS])
    return Ended(result.exit_code, result.limit, shown, len(paths)) if result else Ended()


def _run(job: Job, asked: Asked) -> None:
    began = time.monotonic()
    shown = job.parts.redactor.redact(clean(asked.command))
    call_id = _start(job, "run_command", f"$ {shown}".split("\n")[0], {"command": shown}, asked)
    output, result = CommandOutput(job, call_id), None
    cancel = Cancel()
    with job.recorder.changed:
        job.control.user_cancel = cancel
    try:
        timeout = job.parts.settings.sandbox.timeout
        result = job.workspace.box.run(asked.command, timeout=timeout, on_output=output, cancel=cancel)
        output.close()
        changed = _snapshot(job)
    except SandboxError as problem:
        output.close()
        _lost(job, problem, call_id, "run_command", began, result)
        return
    finally:
        with job.recorder.changed:
            job.control.user_cancel = None
    paths = _paths(changed)
    told = f"[user] ran: {clip(shown, TOLD_COMMAND)} ({_how(result)})"
    if paths:
        told += f"; changed: {_listed(paths)}"
    _finish(job, changed, call_id, "run_command", told, result, began)


def _start(job: Job, tool: str, title: str, arguments: dict[str, str], asked: Asked | None = None) -> str:
    with job.recorder.changed:
        call_id = f"user-{job.state.last_seq + 1}"
        started = job.recorder.emit(
            ev.ToolStarted(call_id=call_id, tool=tool, title=title, arguments=dict(arguments), by="user")
        )
        if asked is not None:
            asked.started = started.seq
            job.recorder.changed.notify_all()
        return call_id


def _snapshot(job: Job) -> list[ev.FileEdit | ev.GitOperation]:
    """What happened to the files, as events."""
    taken, state = job.workspace.snapshot(None), job.state
    if taken.full == state.snapshot:
        return []
    operation = ev.GitOperation(
        operation="snapshot", before=state.work_tree, tree=taken.tree, snapshot=taken.full, detail="user"
    )
    return [*job.workspace.edits(taken.tree, "user"), operation]


def _paths(events: Sequence[ev.AnyEvent]) -> list[str]:
    return [visible(event.path) for event in events if isinstance(event, ev.FileEdit)]


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - TOLD_PATHS} more" if len(paths) > TOLD_PATHS else ""
    return ", ".join(paths[:TOLD_PATHS]) + more


def _how(result: Result) -> str:
    if result.timed_out or result.cancelled:
        return "timed out" if result.timed_out else "stopped by the user"
    return f"exit code {result.exit_code}"


def _finish(
    job: Job,
    changed: Sequence[ev.AnyEvent],
    call_id: str,
    tool: Literal["shell", "run_command"],
    told: str,
    result: Result | None,
    began: float,
    *,
    ok: bool = True,
) -> None:
    finished = ev.ToolFinished(
        call_id=call_id,
        tool=tool,
        ok=ok and result is not None and (tool == "shell" or result.exit_code == 0),
        text=job.parts.redactor.redact(clean(told)),
        exit_code=result.exit_code if result is not None else None,
        seconds=round(time.monotonic() - began, 3),
        audit=audited(job, result.audit, "user") if result is not None and result.audit is not None else None,
        by="user",
    )
    job.recorder.emit_all([*changed, finished])


def _lost(
    job: Job,
    problem: SandboxError,
    call_id: str,
    tool: Literal["shell", "run_command"],
    began: float,
    result: Result | None,
) -> str:
    """The sandbox is of no use any more: the next one holds the last snapshot."""
    line = job.parts.redactor.redact(clean(str(problem)))
    job.workspace.discard()
    notice = ev.Message(role="program", text=f"{'the shell' if tool == 'shell' else 'your command'} was ended: {line}")
    _finish(job, [notice], call_id, tool, "", result, began, ok=False)
    return line
