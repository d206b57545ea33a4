"""A session as a report in Markdown. What others wrote stands in it as text that cannot become anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.core.request_text import code, quote
from backspace_tui.core.spending import money
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.sessions.export.diffs import tree_diff
from backspace_tui.sessions.objects import Objects

_HEAD: Final = 10
_TAIL: Final = 40
"""Lines of an output that are kept."""
_MAX_LINE: Final = 400


def markdown(name: str, events: Sequence[ev.AnyEvent], objects: Objects, redactor: Redactor) -> str:
    """The report of the session called ``name``.

    Raises:
        SessionError: its repository cannot be read.
    """
    state = fold(events)
    diff = tree_diff(objects, state.base_tree, state.accepted_tree, redactor) if state.base_tree else ""
    parts = [f"# Session {code(clean(name))}", _facts(state, events)]
    prompts = [event.text for event in events if isinstance(event, ev.Message) and event.kind == "prompt"]
    if state.started is not None and state.started.prompt not in prompts:
        prompts.insert(0, state.started.prompt)
    parts.append("## Request\n\n" + "\n\n".join(quote(clean(prompt)) for prompt in prompts))
    if state.plan:
        parts.append(f"## Plan\n\n{quote(clean(state.plan))}")
    parts.append("## What was done\n\n" + ("\n\n".join(_done(events)) or "Nothing yet."))
    if talk := "\n".join(_questions(events)):
        parts.append(f"## Questions\n\n{talk}")
    if decisions := "\n".join(_decisions(events)):
        parts.append(f"## Decisions\n\n{decisions}")
    parts.append("## Accepted changes\n\n" + (fenced(diff, "diff") if diff else "Nothing is accepted."))
    parts.append(f"## Verification\n\n{_verification(state)}")
    parts.append(f"## Cost\n\n{_cost(state)}")
    if state.request is not None:
        parts.append(f"## Pull request\n\n{_request(state.request)}")
    return redactor.redact("\n\n".join(parts) + "\n")


def fenced(text: str, language: str = "") -> str:
    """A code block that ``text`` cannot end, whatever it holds."""
    text = clean(text).rstrip("\n")
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def shortened(text: str) -> str:
    """An output with its beginning and its end."""
    lines = [line if len(line) <= _MAX_LINE else line[:_MAX_LINE] + " ..." for line in text.rstrip("\n").split("\n")]
    if len(lines) > _HEAD + _TAIL + 1:
        left_out = len(lines) - _HEAD - _TAIL
        lines = [*lines[:_HEAD], f"... {left_out} lines left out ...", *lines[-_TAIL:]]
    return "\n".join(lines)


def _facts(state: SessionState, events: Sequence[ev.AnyEvent]) -> str:
    started = state.started
    rows = [f"- status: {state.status}", f"- from {_when(events[0].time)} to {_when(events[-1].time)}"]
    if started is not None:
        rows.insert(0, f"- repository: {code(visible(started.repository))}")
        rows.append(f"- models: {', '.join(code(clean(name)) for name in started.models) or 'none'}")
        rows.append(f"- sandbox: {code(clean(started.sandbox))}")
    if state.base_commit:
        branch = f" on {code(visible(state.base_branch))}" if state.base_branch else ""
        rows.append(f"- base: {code(clean(state.base_commit[:10]))}{branch}")
    if state.commit:
        rows.append(f"- commit: {code(clean(state.commit[:10]))} on {code(visible(state.branch))}")
    return "\n".join(rows)


def _when(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")


def _done(events: Sequence[ev.AnyEvent]) -> Iterator[str]:
    """The work, oldest first: stages, the agent's words, tools and commands, edits, faults."""
    commands: dict[str, str] = {}
    outputs: dict[str, list[str]] = {}
    for event in events:
        match event:
            case ev.StageStarted():
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                yield f"### {event.stage}{again}"
            case ev.ModelReplied(text=text) if text.strip():
                yield quote(clean(text))
            case ev.ToolStarted(title=title, by=by, call_id=call):
                commands[call] = str(event.arguments.get("command", "")) if event.tool == "run_command" else ""
                if not commands[call]:
                    yield f"- {'you: ' if by == 'user' else ''}{code(visible(title))}"
            case ev.ToolOutput(call_id=call, text=text):
                outputs.setdefault(call, []).append(text)
            case ev.ToolFinished(call_id=call) if commands.get(call):
                yield _command(commands[call], event, "".join(outputs.pop(call, [event.text])))
            case ev.ToolFinished(ok=False, text=text):
                yield fenced(shortened(text))
            case ev.FileEdit(path=path, added=added, removed=removed):
                yield f"- edited {code(visible(path))} (+{added} -{removed})"
            case ev.Message(kind="notice", text=text):
                yield f"- {code(clean(text))}"
            case ev.Message(kind=kind, role=role, text=text) if kind not in ("prompt", "plan", "compacted"):
                yield f"{role}:\n\n{quote(clean(text))}"
            case ev.ModelFailed(model=model, reason=reason):
                yield f"- {code(clean(model))} failed: {code(clean(reason))}"
            case ev.Error(message=message):
                yield f"- error: {code(clean(message))}"
            case ev.GitOperation(operation=operation, detail=detail) if detail:
                yield f"- {operation}: {code(clean(detail))}"
            case _:
                pass


def _command(command: str, event: ev.ToolFinished, output: str) -> str:
    ended = "killed" if event.exit_code is None else f"exit code {event.exit_code}"
    who = "You ran" if event.by == "user" else "Ran"
    shown = f"\n\n{fenced(shortened(output))}" if output.strip() else ""
    return f"{who} {code(visible(command))}: {ended}{shown}"


def _questions(events: Sequence[ev.AnyEvent]) -> Iterator[str]:
    for event in events:
        if isinstance(event, ev.Question):
            options = f" [{' / '.join(event.options)}]" if event.options else ""
            yield quote(clean(event.question + options)) + "\n"
        elif isinstance(event, ev.Answer):
            yield f"Answer: {code(clean(event.text))}\n"


def _decisions(events: Sequence[ev.AnyEvent]) -> Iterator[str]:
    for event in events:
        if isinstance(event, ev.Decision):
            comment = f": {code(clean(event.comment))}" if event.comment else ""
            yield f"- {event.action} {code(visible(event.path))} {code(clean(event.hunk + event.part))}{comment}"


def _verification(state: SessionState) -> str:
    verdict = state.verdict
    if verdict is None:
        return "What is accepted now was not verified."
    ended = "" if verdict.exit_code is None else f", exit code {verdict.exit_code}"
    how = f" ({code(visible(verdict.command))}{ended})" if verdict.command else ""
    shown = f"\n\n{fenced(shortened(verdict.output))}" if verdict.output.strip() else ""
    return f"{verdict.verdict}{how}{shown}"


def _cost(state: SessionState) -> str:
    unpriced = f"; {state.unpriced} calls without a known price" if state.unpriced else ""
    return f"{money(state.usd)} for {state.tokens:,} tokens in {state.turns} turns{unpriced}"


def _request(request: ev.PrCreation) -> str:
    where = clean(request.url or request.branch)
    return f"{code(clean(request.title))}: {code(where)}\n\n{fenced(request.body)}"
