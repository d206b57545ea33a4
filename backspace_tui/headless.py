"""Running a session without a window: follow its log, print it, and end with its exit code."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.attempts import Attempts
from backspace_tui.core.spending import REASON
from backspace_tui.core.state import SessionState, apply
from backspace_tui.core.terminal_text import visible
from backspace_tui.sessions import client
from backspace_tui.sessions.errors import LAST_WORDS, SessionError, storage_error
from backspace_tui.sessions.log import encode
from backspace_tui.sessions.store import is_running

Printer = Callable[[ev.AnyEvent], None]
TOLD = ("analyze", "implement", "critique", "verify", "commit", "push", "pull_request")
"""Stages whose good end says only what their events said."""

KILLED = "the session's process was killed; continue with: backspace-tui resume {name}"


def print_json(event: ev.AnyEvent) -> None:
    """One event as a line of JSON, at once."""
    sys.stdout.buffer.write(encode(event).rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


class Teller:
    """A session's events as lines for a person; deltas and details are left out. It must see all events in order."""

    def __init__(self) -> None:
        self._attempts = Attempts()

    def see(self, event: ev.AnyEvent) -> str:
        """The line of ``event``, or an empty string."""
        told = self._attempts.tell(event)
        return f"model      {told}" if told else describe(event)

    def __call__(self, event: ev.AnyEvent) -> None:
        """Print the line of ``event``."""
        if line := self.see(event):
            print(line, flush=True)


def describe(event: ev.AnyEvent) -> str:
    """An event in one line, or an empty string where it says nothing new to a person.

    What was asked of the models only :class:`Teller` can tell, from the events before.
    """
    match event:
        case ev.SessionStarted():
            models = f"models     {', '.join(event.models)} ({event.models_reason})"
            fork = (
                f"fork       of {visible(event.forked_from)} at step {event.forked_at}\n" if event.forked_from else ""
            )
            return f"session    {event.session}  {visible(event.repository)}\n{fork}{models}"
        case ev.StageStarted() if event.stage != "done":
            return f"stage      {event.stage}" + (f" (attempt {event.attempt})" if event.attempt > 1 else "")
        case ev.StageFinished(stage="prepare", detail=detail, data={"sandbox": sandbox}):
            return f"           {first_line(detail)}\nsandbox    {sandbox}"
        case ev.StageFinished(detail=detail) if detail and (event.outcome != "ok" or event.stage not in TOLD):
            return f"           {first_line(detail)}"
        case ev.Message(kind="plan", text=text):
            return "\n".join(f"plan       {line}" for line in text.splitlines())
        case ev.Message(text=text):
            return "\n".join(f"{event.role:<10} {line}" for line in text.splitlines())
        case ev.ToolStarted(title=title):
            return f"tool       {title}"
        case ev.ToolFinished(ok=False, text=text, exit_code=None):
            return f"           {first_line(text)}"
        case ev.ToolFinished(exit_code=exit_code, audit=audit) if exit_code or (audit is not None and audit.limit):
            limit = f"; it reached a limit: {audit.limit}" if audit is not None and audit.limit else ""
            return f"           exit code {exit_code}{limit}"
        case ev.FileEdit():
            return f"edit       {visible(event.path)}  +{event.added} -{event.removed}"
        case ev.Decision():
            return f"{event.action:<10} {visible(event.path)}  {event.hunk}"
        case ev.Verification(verdict="running" | "baseline" as kind):
            return f"verify     {event.command}" + (
                " (on the base: " + _ended(event) + ")" if kind == "baseline" else ""
            )
        case ev.Verification():
            return f"verdict    {event.verdict}"
        case ev.GitOperation(detail=detail, operation=operation) if detail:
            return f"git        {operation}: {first_line(detail)}"
        case ev.PrCreation():
            return f"request    {event.title}\n{indent(event.body)}\nrequest    {event.url or event.branch}"
        case ev.Question():
            options = f" [{' / '.join(event.options)}]" if event.options else ""
            # A plan has just been printed.
            question = first_line(event.question) if event.about == "plan" else event.question
            return f"question   {question}{options}"
        case ev.Answer(text=text):
            return f"answer     {text}"
        case ev.Paused(reason=reason):
            return f"paused     {reason}"
        case ev.Resumed():
            return "resumed"
        case ev.Error(message=message, retryable=True):
            return f"error      {message} (trying again)"
        case ev.SessionFinished(outcome=outcome, reason=reason) if outcome != "failed":
            return f"{outcome:<10} {reason}".rstrip()
        case _:
            return ""


def first_line(text: str) -> str:
    """The first line of a text."""
    return text.split("\n", 1)[0]


def indent(text: str) -> str:
    """A text under a heading."""
    return "\n".join(f"  | {line}".rstrip() for line in text.splitlines())


def _ended(event: ev.Verification) -> str:
    return "killed" if event.exit_code is None else f"exit code {event.exit_code}"


def follow(directory: Path, printer: Printer, after: int = 0, *, rest: int | None = None) -> SessionState:
    """Print the events with ``seq`` greater than ``after`` until the session's process is gone.

    With ``rest`` also until it waits for a person, at that event or later: a process that serves windows stays.

    Ctrl-C asks the session to quit in an orderly way; a second one leaves it alone.

    Raises:
        KeyboardInterrupt: on the second Ctrl-C.
        SessionError: the log cannot be read.
    """
    state = SessionState()
    with Interrupts(directory):
        for event in client.follow(directory):
            state = apply(state, event)
            if event.seq > after:
                printer(event)
            elif isinstance(printer, Teller):
                printer.see(event)
            if rest is not None and event.seq >= rest and state.status in ("waiting", "paused"):
                break
    return state


class Interrupts:
    """Turns the first Ctrl-C or SIGTERM into the session's Quit.

    One that comes before :meth:`attend` named the session waits until then: a process that has just been started
    must not be left alone.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._count = 0

    def attend(self, directory: Path) -> None:
        """The session in ``directory`` runs now."""
        self._directory = directory
        if self._count:
            self._quit(directory)

    def __enter__(self) -> Interrupts:
        self._previous = {number: signal.signal(number, self._on) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on(self, number: int, _frame: object) -> None:
        self._count += 1
        if self._count > 1:
            raise KeyboardInterrupt
        if self._directory is not None:
            self._quit(self._directory)

    def _quit(self, directory: Path) -> None:
        try:
            with client.Client.connect(directory) as connection:
                connection.send(cmd.Quit())
        except SessionError:
            if not is_running(directory):
                raise KeyboardInterrupt from None


def outcome(directory: Path, state: SessionState) -> int:
    """The exit code of a session whose process is gone; prints the line that goes with a failure to stderr."""
    if state.status not in ("done", "failed", "stopped", "waiting") or (
        state.status == "waiting" and state.error == ""
    ):
        print(f"backspace-tui: {_last_words(directory) or KILLED.format(name=directory.name)}", file=sys.stderr)
        return 1
    if state.status == "failed":
        print(f"backspace-tui: {state.error}", file=sys.stderr)
    if state.status == "waiting":
        print(f"backspace-tui: {state.error}; {_waiting_hint(directory, state)}", file=sys.stderr)
    return state.exit_code


def resting(directory: Path, state: SessionState) -> int:
    """The exit code of a session that waits for a person while its process stays; prints what for to stderr."""
    if state.question is not None:
        what = "waiting for your answer"
    elif state.paused:
        what = f"paused ({state.paused})"
    else:
        what = "waiting for your review"
    print(f"backspace-tui: {what}; {_waiting_hint(directory, state)}", file=sys.stderr)
    return 4


def _last_words(directory: Path) -> str:
    """Why the process ended without a word in the session's log, as far as it can be known."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(65536))
            os.fsync(file.fileno())
        lines = (directory / "engine.log").read_bytes()[-4096:].decode(errors="replace").splitlines()
    except OSError as problem:
        return str(storage_error(problem, directory))
    return lines[-1].removeprefix(LAST_WORDS) if lines and lines[-1].startswith(LAST_WORDS) else ""


def _waiting_hint(directory: Path, state: SessionState) -> str:
    if state.question is not None:
        options = f" (one of: {', '.join(state.question.options)}; or your own words)" if state.question.options else ""
        return f"answer with: backspace-tui resume {directory.name} --answer TEXT{options}"
    if state.paused.startswith(REASON):
        return f"let it spend as much again with: backspace-tui resume {directory.name}"
    if state.stage != "review":
        return f"go on with: backspace-tui resume {directory.name}"
    return f"see its hunks with: backspace-tui review {directory.name}"
