"""Implement: the model's tool loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Audit, SandboxError, SandboxGone, ToolCall
from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.engine import questions, rejections, services
from backspace_tui.engine.audit import audited
from backspace_tui.engine.context import Conversation, conversation
from backspace_tui.engine.fitting import Frame, drafted, shorter
from backspace_tui.engine.job import Job, StageResult, Stopped
from backspace_tui.engine.loops import loop
from backspace_tui.engine.output import CommandOutput
from backspace_tui.engine.stages.analyze import asked, material
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import TEXT_LIMIT, Tool, ToolContext, ToolError, ToolOutcome
from backspace_tui.engine.turns import ask, boundary
from backspace_tui.engine.workspace import Snapshot
from backspace_tui.repository.errors import RepositoryError


def run(job: Job) -> StageResult:
    """Turn after turn until the model finishes; after a crash, from the first call without a result."""
    while True:
        services.tell_lost(job)
        talk = conversation(job.recorder.events)
        for call in talk.open_calls:
            job.check_stop()
            run_call(job, call)
        if talk.open_calls:
            talk = conversation(job.recorder.events)
        if _finished(talk):
            settle(job)
            return StageResult("ok", _closing(job, talk))
        job.check_stop()
        rejections.carry_out(job)
        boundary(job)
        if ended := _circles(job):
            settle(job)
            return StageResult("ok", ended)
        _next_turn(job)


def _next_turn(job: Job) -> None:
    frame = _frame(job)
    draft = drafted(job, frame)
    ask(job, draft.request, draft.heard, lambda: shorter(job, frame))


def _frame(job: Job) -> Frame:
    plan = f"# Plan\n{job.state.plan}" if job.state.plan else ""
    tools = tuple(tool.schema() for tool in TOOLS.values())
    return Frame(job.parts.prompts["implement"], asked(job), material(job), plan, tools)


def _circles(job: Job) -> str:
    """Tell an agent that goes in circles, and the human when that was in vain; returns how the stage ends, if it does.

    A crash between telling the human and the end of the stage tells nobody twice.
    """
    found = loop(job.recorder.events)
    if found is None:
        return ""
    redact = job.parts.redactor.redact
    if found.step == "tell":
        text = redact(clean(found.told))
        job.recorder.emit(ev.Message(role="program", kind="feedback", about="loop", text=text))
        return ""
    if not any(isinstance(event, ev.Message) and event.about == "loop" for event in _since_reply(job)):
        job.recorder.emit(ev.Message(role="program", about="loop", text=redact(clean(found.closing))))
    return f"ended: {found.what}"


def _since_reply(job: Job) -> Iterator[ev.AnyEvent]:
    """The events after the agent's last turn, the newest first."""
    return takewhile(lambda event: not isinstance(event, ev.ModelReplied), reversed(job.recorder.events))


def _finished(talk: Conversation) -> bool:
    """The last turn called ``finish`` or no tool at all, and nobody has said anything since."""
    if talk.last_reply is None or talk.entries[-1].message.role == "user":
        return False
    calls = talk.last_reply.tool_calls
    return not calls or any(TOOLS[call.name].ends_turn for call in calls if call.name in TOOLS and call.arguments)


def _closing(job: Job, talk: Conversation) -> str:
    assert talk.last_reply is not None
    text = talk.last_reply.text
    for call in talk.last_reply.tool_calls:
        if call.name == "finish" and call.arguments:
            text = str(call.arguments.get("summary", text))
    text = job.parts.redactor.redact(clean(text)).strip()
    if text and not _told(job, talk.last_reply.seq):
        job.recorder.emit(ev.Message(role="agent", kind="reply", text=text))
    return text[:200]


def _told(job: Job, turn: int) -> bool:
    return any(
        isinstance(event, ev.Message) and event.kind == "reply" and event.seq > turn for event in job.recorder.events
    )


def run_call(job: Job, call: ToolCall) -> None:
    """Run one tool call, snapshot what it changed, and log its result; a bad call is answered with its error."""
    began = time.monotonic()
    tool = TOOLS.get(call.name)
    shown = job.parts.redactor.redact(clean(title(tool, call)))
    job.recorder.emit(
        ev.ToolStarted(call_id=call.id, tool=call.name, arguments=call.arguments or {}, title=shown.split("\n")[0])
    )
    audits: list[Audit] = []
    taken = None
    try:
        outcome = _run(job, tool, call, audits)
        _check_quit(job)
        if outcome.touched is None or outcome.touched:
            taken = _snapshot(job, outcome)
    except ToolError as problem:
        outcome = ToolOutcome(job.parts.redactor.redact(clean(str(problem))), ok=False)
    except _Died as died:
        outcome = _revived(job, died.gone, audits)
    _check_quit(job)
    tree = snapshot = ""
    edits: list[ev.FileEdit] = []
    if taken is not None and taken.full != job.state.snapshot:
        tree, snapshot = taken.tree, taken.full
        edits = job.workspace.edits(tree, call.id)
    told = [audited(job, audit, "agent") for audit in audits]
    finished = ev.ToolFinished(
        call_id=call.id,
        tool=call.name,
        ok=outcome.ok,
        text=clip(outcome.text, TEXT_LIMIT),
        exit_code=outcome.exit_code,
        seconds=round(time.monotonic() - began, 3),
        tree=tree,
        snapshot=snapshot,
        audit=told[-1] if told else None,
        earlier=tuple(told[:-1]),
    )
    job.recorder.emit_all([*edits, finished])


class _Died(Exception):
    """The sandbox died during the call."""

    def __init__(self, gone: SandboxGone) -> None:
        super().__init__(str(gone))
        self.gone = gone


def _check_quit(job: Job) -> None:
    """A result that the end of the process may have spoilt is not told; the call is made again on resuming."""
    if job.control.quit:
        raise Stopped(quit=True)


def _snapshot(job: Job, outcome: ToolOutcome) -> Snapshot:
    try:
        return job.workspace.snapshot(outcome.touched)
    except SandboxGone as gone:
        raise _Died(gone) from gone


def _revived(job: Job, gone: SandboxGone, audits: list[Audit]) -> ToolOutcome:
    """Answer the call that the sandbox did not survive: run again, it would kill the next one as well.

    Raises:
        SandboxError: no other sandbox can be had.
    """
    _check_quit(job)
    if gone.audit is not None:
        audits.append(gone.audit)
    job.workspace.reopen()
    reason = job.parts.redactor.redact(clean(gone.reason or "nobody knows why"))
    return ToolOutcome(
        f"the sandbox died during this call ({reason}); your files are as they were before it, in another sandbox. "
        "If the call may have caused it, do it in another way.",
        ok=False,
    )


def settle(job: Job) -> None:
    """Look at everything once, for what programs of the agent wrote without a trace; log what that finds.

    Raises:
        SandboxError: the files cannot be read.
    """
    state = job.state
    taken = job.workspace.settle()
    if taken is None or taken.full == state.snapshot:
        return
    edits = job.workspace.edits(taken.tree, _last_program(job))
    found = ev.GitOperation(
        operation="snapshot",
        before=state.work_tree,
        tree=taken.tree,
        snapshot=taken.full,
        detail="what programs wrote through memory that they share with a file",
    )
    job.recorder.emit_all([*edits, found])


def _last_program(job: Job) -> str:
    """The call that most likely did it: the last one that ran a program of the agent's."""
    for event in reversed(job.recorder.events):
        if isinstance(event, ev.ToolFinished) and event.tool in ("run_command", "start_service"):
            return event.call_id
    return ""


def abandon(job: Job) -> None:
    """Answer the calls that a stop left open, so that a follow-up does not run them, and store what was done."""
    for call in conversation(job.recorder.events).open_calls:
        job.recorder.emit(
            ev.ToolFinished(call_id=call.id, tool=call.name, ok=False, text="not run: the user stopped the work")
        )
    try:
        settle(job)
    except (SandboxError, RepositoryError, OSError) as problem:
        text = f"what programs wrote last may be missing: {problem}"
        job.recorder.emit(ev.Message(role="program", text=job.parts.redactor.redact(clean(text))))


def title(tool: Tool[Any] | None, call: ToolCall) -> str:
    """A call in one line; one that is not valid by its name alone."""
    if tool is None or call.arguments is None:
        return call.name
    try:
        return tool.title(tool.validate(call.arguments))
    except ToolError:
        return call.name


def _run(job: Job, tool: Tool[Any] | None, call: ToolCall, audits: list[Audit]) -> ToolOutcome:
    if call.arguments is None:
        raise ToolError(call.problem or "the arguments were not a JSON object")
    if tool is None:
        raise ToolError(f"there is no tool {call.name!r}; there are: {', '.join(TOOLS)}")
    arguments = tool.validate(call.arguments)
    output = CommandOutput(job, call.id)
    context = ToolContext(
        box=job.workspace.box,
        redactor=job.parts.redactor,
        cancel=job.control.cancel,
        output=output,
        ask=lambda question, options: questions.ask(job, question, options, call_id=call.id),
        audits=audits,
    )
    try:
        outcome: ToolOutcome = tool.run(arguments, context)
    except SandboxGone as gone:
        raise _Died(gone) from gone
    finally:
        output.close()
    return outcome
