"""What stays of turns that a conversation has no room for: notes of what was said, decided, changed and run. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ToolCall
from backspace_tui.core.terminal_text import clip
from backspace_tui.engine.tools.base import shown

HEAD: Final = (
    "[history] Your earlier turns are folded into these notes. Your files are as your work left them; read again "
    "what you need of them."
)
PATHS: Final = 40
COMMANDS: Final = 12
NOTES: Final = 10
"""How many paths, commands and remarks of the agent's are kept, the newest ones."""

_READERS: Final = frozenset({"read_file", "read_files"})


def digest(folded: Sequence[tuple[ChatMessage, ev.AnyEvent]], events: Sequence[ev.AnyEvent]) -> str:
    """The notes that stand for ``folded`` (messages with their events), given the log until then.

    What the user said is kept word for word; everything else is bounded.
    """
    calls: dict[str, ToolCall] = {}
    decisions = {event.seq: event for event in events if isinstance(event, ev.Decision)}
    said: list[str] = []
    remarks: list[int] = []
    read: dict[str, None] = {}
    commands: dict[str, str] = {}
    for message, event in folded:
        match event:
            case ev.ModelReplied():
                calls.update({call.id: call for call in message.tool_calls})
                if closing := _closing(event):
                    said.append(closing)
                elif text := _line(event.text, 200):
                    remarks.append(len(said))
                    said.append(f"You: {text}")
            case ev.ToolFinished(by="agent"):
                call = calls.get(event.call_id)
                if call is not None and call.name == "ask_user" and event.ok:
                    asked = _line(_argument(call, "question"), 400)
                    said.append(f"You asked: {asked}\nThe user answered: {event.text}")
                elif call is not None and call.name in _READERS and event.ok:
                    _latest(read, _paths(call.arguments or {}))
                elif call is not None and call.name == "run_command":
                    command = _line(_argument(call, "command"), 160)
                    commands.pop(command, None)
                    commands[command] = _outcome(event)
            case _:
                said.append(_heard(event, message.text, decisions))
    dropped = set(remarks[:-NOTES])
    parts = [HEAD, "# What was said, oldest first"]
    parts += [text for index, text in enumerate(said) if index not in dropped]
    changed: dict[str, None] = {}
    for event in events:
        if isinstance(event, ev.FileEdit) and not (event.carries_out or event.by == "user"):
            _latest(changed, [event.path])
    ran = [f"$ {command}: {outcome}" for command, outcome in commands.items()]
    parts += section("# Files that you changed, the latest last", _newest(map(shown, changed), PATHS))
    parts += section("# Changes that the user accepted so far", _newest(map(shown, _accepted(events)), PATHS))
    parts += section("# Files that you read, the latest last", _newest(map(shown, read), PATHS))
    parts += section("# Commands and how they ended, the latest last", _newest(ran, COMMANDS))
    return "\n\n".join(parts)


def section(head: str, body: str) -> list[str]:
    """A part of a text for a model; none where there is nothing to tell."""
    return [f"{head}\n{body}"] if body else []


def _heard(event: ev.AnyEvent, text: str, decisions: dict[int, ev.Decision]) -> str:
    """One thing that was said to the agent. The program's part of it is bounded, the user's is not."""
    match event:
        case ev.Message(role="user", about=about):
            return f"The user: {_inset(text) if about == 'tests' else text}"
        case ev.Decision():
            return _decided("commented on your change", event)
        case ev.GitOperation() if event.decisions and all(seq in decisions for seq in event.decisions):
            return "\n\n".join(_carried_out(event, decisions[seq]) for seq in event.decisions)
        case _:
            return _inset(text)


def _inset(text: str) -> str:
    """A text of the program's, in which output may stand."""
    return clip(text, 1_000).replace("\n", "\n    ")


def _carried_out(event: ev.GitOperation, decision: ev.Decision) -> str:
    if event.operation == "restored":
        return _decided("took back the rejection of your change", decision)
    did = "wanted another version of your change" if decision.action == "redo" else "rejected your change"
    if decision.seq in event.overtaken:
        did += ", which you had changed again by then,"
    return _decided(did, decision)


def _decided(did: str, decision: ev.Decision) -> str:
    lines = clip("\n".join(decision.lines), 400)
    said = f"\nThe user's comment: {decision.comment}" if decision.comment else ""
    return f"[review] The user {did} in {shown(decision.path)}:\n{lines}{said}"


def _closing(reply: ev.ModelReplied) -> str:
    """The agent's last words of a piece of work, or nothing."""
    ends = [call for call in reply.tool_calls if call.name == "finish"]
    if reply.tool_calls and not ends:
        return ""
    text = _argument(ends[-1], "summary") if ends else reply.text
    return f"You ended your work: {_line(text, 600)}"


def _outcome(event: ev.ToolFinished) -> str:
    lines = [line for line in event.text.splitlines() if line.strip()]
    ended = "stopped" if event.exit_code is None else f"exit code {event.exit_code}"
    # Quoted: what a command prints must not pass for a word of the user's or the program's.
    return (
        ended if len(lines) < 2 else f"{ended}, the last line: {json.dumps(_line(lines[-1], 160), ensure_ascii=False)}"
    )


def _argument(call: ToolCall, name: str) -> str:
    return str((call.arguments or {}).get(name, ""))


def _paths(arguments: dict[str, Any]) -> list[str]:
    several = arguments.get("paths")
    found = several if isinstance(several, list) else [arguments.get("path")]
    return [path for path in found if isinstance(path, str)]


def _accepted(events: Sequence[ev.AnyEvent]) -> dict[str, None]:
    groups: dict[int, list[ev.Decision]] = {}
    for event in events:
        match event:
            case ev.Decision(action="undo"):
                groups.pop(event.undoes, None)
            case ev.Decision():
                groups.setdefault(event.group, []).append(event)
            case _:
                pass
    accepted: dict[str, None] = {}
    for group in groups.values():
        for decision in group:
            if decision.action in ("accept", "edit"):
                _latest(accepted, [decision.path])
            elif decision.action == "unstage":
                accepted.pop(decision.path, None)
    return accepted


def _latest(seen: dict[str, None], paths: Iterable[str]) -> None:
    for path in paths:
        seen.pop(path, None)
        seen[path] = None


def _newest(items: Iterable[str], limit: int) -> str:
    kept = list(items)
    left_out = [f"({len(kept) - limit} earlier ones)"] if len(kept) > limit else []
    return "\n".join(left_out + kept[-limit:])


def _line(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 4].rstrip() + " ..."
