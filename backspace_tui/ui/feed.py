"""From events to the lines of the Thinking and Sandbox panes: the one ``match`` over what happens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from backspace_tui.core import events as ev
from backspace_tui.core.attempts import Attempts
from backspace_tui.core.terminal_text import clean
from backspace_tui.ui.panes.transcript import Entry

LABEL: Final = 7
"""Width of the label before a line of the Thinking pane."""

_LINE: Final = 140
_TOLD: Final = ("verify", "commit", "push", "pull_request")
"""Stages whose result is an event of its own."""

_COMMANDS: Final = frozenset({"run_command", "start_service"})
_VERDICT_STYLES: Final = {"passes": "good", "fails as before": "warn", "newly fails": "bad", "not verified": "warn"}


class Fed(NamedTuple):
    """What some events add. ``stream`` is the text being streamed now; ``None`` leaves it, empty ends it."""

    thinking: list[Entry]
    sandbox: list[Entry]
    stream: Entry | None
    streaming: bool


class Feed:
    """Turns events into lines; remembers only what is open: streamed text, unfinished output lines, calls."""

    def __init__(self) -> None:
        self._text = ""
        self._kind = "text"
        self._titles: dict[str, str] = {}
        self._partial: dict[tuple[str, str], str] = {}
        self._edits: dict[str, list[ev.FileEdit]] = {}
        self._silent: set[str] = set()
        self._attempts = Attempts()

    def feed(self, events: Iterable[ev.AnyEvent]) -> Fed:
        """The lines of ``events``, in order."""
        thinking: list[Entry] = []
        sandbox: list[Entry] = []
        for event in events:
            self._one(event, thinking, sandbox)
        stream = Entry(_tail(self._text), "thought", "…") if self._text.strip() else None
        return Fed(thinking, sandbox, stream, bool(self._text))

    def _one(self, event: ev.AnyEvent, thinking: list[Entry], sandbox: list[Entry]) -> None:
        told = self._attempts.tell(event)
        match event:
            case ev.AgentThinking(void=True):
                self._text = ""
            case ev.AgentThinking():
                if event.kind != self._kind:
                    thinking.extend(self._flush())
                    self._kind = event.kind
                self._text += clean(event.text)
            case ev.ModelReplied():
                self._text = self._text if self._kind == "thinking" else ""
                thinking.extend(self._flush())
                # A plan follows as a message of its own.
                if event.stage != "plan" and (text := clean(event.text).strip()):
                    thinking.append(Entry(text, "thought", "think"))
            case ev.ModelFailed():
                self._text = ""
                thinking.append(_line("fall", told, "warn"))
            case ev.ModelCalled() if told:
                thinking.append(_line("model", told, "accent"))
            case ev.Message():
                thinking.extend(_message(event))
            case ev.Question():
                # A plan has just been shown.
                asked = event.question.partition("\n")[0] if event.about == "plan" else event.question
                options = f" [{' / '.join(event.options)}]" if event.options else ""
                thinking.append(_line("ask", asked + options, "accent"))
            case ev.Answer():
                thinking.append(_line("you", event.text, "user"))
            case ev.Paused():
                reason = "" if event.reason == "user" else f": {event.reason}"
                thinking.append(_line("pause", f"paused{reason}", "warn"))
            case ev.Resumed():
                thinking.append(_line("go on", "resumed", "muted"))
            case ev.Error():
                thinking.append(_line("error", event.message, "bad"))
            case ev.StageStarted() if event.stage != "done":
                attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                thinking.append(Entry(f"── {event.stage}{attempt}", "faint"))
            case ev.StageFinished(outcome="again"):
                pass
            case ev.StageFinished() if event.outcome != "ok" or (event.detail and event.stage not in _TOLD):
                style = {"failed": "bad", "ok": "muted"}.get(event.outcome, "warn")
                words = " ".join(
                    part for part in (event.outcome if event.outcome != "ok" else "", event.detail) if part
                )
                thinking.append(_line("stage", f"{event.stage}: {_first(words)}", style))
            case ev.SessionFinished():
                style = {"done": "good", "failed": "bad"}.get(event.outcome, "muted")
                words = ": ".join(part for part in (event.outcome, event.reason) if part)
                thinking.append(_line("end", words, style))
            case ev.ToolStarted():
                self._tool_started(event, thinking, sandbox)
            case ev.ToolOutput():
                sandbox.extend(self._output(event))
            case ev.FileEdit():
                self._edit(event, thinking)
            case ev.ToolFinished():
                self._tool_finished(event, thinking, sandbox)
            case ev.Decision():
                thinking.append(_line("you", _decided(event), "user"))
            case ev.Verification():
                self._verification(event, thinking, sandbox)
            case ev.GitOperation():
                _git(event, thinking)
            case ev.PrCreation():
                where = event.url or event.branch
                thinking.append(_line("pull", f"{event.title} ({where})", "good"))
            case _:
                pass

    def _flush(self) -> list[Entry]:
        text, self._text = self._text.strip(), ""
        return [Entry(text, "thought", "think")] if text else []

    def _tool_started(self, event: ev.ToolStarted, thinking: list[Entry], sandbox: list[Entry]) -> None:
        title = clean(event.title or event.tool).replace("\n", " ")
        self._titles[event.call_id] = title
        if event.tool in _COMMANDS:
            command = event.arguments.get("command")
            text = clean(command) if isinstance(command, str) else title
            sandbox.append(Entry(f"$ {text}", "user" if event.by == "user" else "strong"))
        if event.by == "user":
            thinking.append(_line("you", "a shell in the sandbox" if event.tool == "shell" else title, "user"))
        elif event.tool not in _SILENT:
            thinking.append(_titled(title, event.tool))

    def _edit(self, event: ev.FileEdit, thinking: list[Entry]) -> None:
        label = "edit" if event.by not in ("rejection", "undo", "user") else {"user": "yours"}.get(event.by, "back")
        counts = f"  +{event.added} -{event.removed}" if event.added or event.removed else ""
        thinking.append(_line(label, f"{event.path}{counts}", "text"))

    def _output(self, event: ev.ToolOutput) -> list[Entry]:
        """Complete lines; a last one without its end waits for it."""
        key = (event.call_id, event.stream)
        *lines, rest = (self._partial.get(key, "") + clean(event.text)).split("\n")
        self._partial[key] = rest
        style = "text" if event.stream == "stdout" else "warn"
        return [Entry(line, style) for line in lines]

    def _tool_finished(self, event: ev.ToolFinished, thinking: list[Entry], sandbox: list[Entry]) -> None:
        for stream, style in (("stdout", "text"), ("stderr", "warn")):
            if rest := self._partial.pop((event.call_id, stream), ""):
                sandbox.append(Entry(rest, style))
        title = self._titles.pop(event.call_id, event.tool)
        if event.tool in _COMMANDS:
            if event.exit_code == 0:
                sandbox.append(Entry(f"exit 0  {event.seconds:.1f} s", "good"))
            else:
                code = "ended" if event.exit_code is None else f"exit {event.exit_code}"
                sandbox.append(Entry(f"{code}  {event.seconds:.1f} s", "bad"))
        elif not event.ok:
            thinking.append(_line("fail", f"{title}: {_first(event.text)}", "warn"))

    def _verification(self, event: ev.Verification, thinking: list[Entry], sandbox: list[Entry]) -> None:
        match event.verdict:
            case "running":
                thinking.append(_line("verify", "the accepted tree alone, in a fresh sandbox", "muted"))
                sandbox.append(Entry(f"$ {clean(event.command)}   (accepted tree alone)", "strong"))
            case "baseline":
                word = "passes" if event.exit_code == 0 else "fails"
                thinking.append(_line("verify", f"the base {word} its tests", "muted"))
            case verdict:
                style = _VERDICT_STYLES[verdict]
                thinking.append(_line("verify", verdict, style))
                sandbox.extend(Entry(line, "text") for line in clean(event.output).rstrip("\n").split("\n") if line)
                code = "" if event.exit_code is None else f"  exit {event.exit_code}"
                sandbox.append(Entry(f"{verdict}{code}", style))


_SILENT: Final = frozenset({"write_file", "write_files", "edit_file", "move_file", "delete_file", "ask_user", "finish"})
"""Their effect is told by the edits, the question or the closing words that follow."""


def _decided(event: ev.Decision) -> str:
    part = {"/": "a block of ", ":": "lines of "}.get(event.part[:1], "")
    comment = f': "{event.comment}"' if event.comment else ""
    return f"{event.action} {part}{event.path}{comment}"


def _message(event: ev.Message) -> list[Entry]:
    text = clean(event.text).strip()
    if event.about == "tests":
        return [Entry("sent the tests' failing output", "user", "you")]
    if event.about == "redo" or not text:  # its decision says it all
        return []
    match event.kind:
        case "prompt" | "steer":
            return [Entry(text, "user", "you")]
        case "plan":
            return [Entry(text, "text", "plan")]
        case "reply":
            return [Entry(text, "text", "says")]
        case _ if event.about == "loop":
            return [Entry(text, "warn", "loop")]
        case "feedback":
            return [Entry(text, "warn", "review")]
        case _:
            return [Entry(text, "muted", "note")]


def _git(event: ev.GitOperation, thinking: list[Entry]) -> None:
    style = "muted" if event.ok else "bad"
    match event.operation:
        case "base":
            text = event.detail or f"starts from {event.branch or event.commit[:10]}"
            thinking.append(_line("base", text, "warn" if event.detail else style))
        case "commit":
            thinking.append(_line("commit", f"{event.commit[:10]} on {event.branch}", style))
        case "push":
            thinking.append(_line("push", event.detail or event.branch, style))
        case "apply":
            thinking.append(_line("apply", event.detail, style))
        case "rejected":
            thinking.append(_line("back", "rejected hunks taken out of the agent's files", style))
        case _ if not event.ok:
            thinking.append(_line("git", event.detail, style))
        case _:
            pass


def _titled(title: str, tool: str) -> Entry:
    """``read src/cart.py`` as a label and the rest."""
    word, _, rest = title.partition(" ")
    if rest and len(word) < LABEL:
        return Entry(rest, "text", word)
    return Entry(title, "text", tool.partition("_")[0][: LABEL - 1])


def _line(label: str, text: str, style: str) -> Entry:
    return Entry(" ".join(clean(text).split()), style, label)


def _first(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= _LINE else f"{line[:_LINE]} ..."


def _tail(text: str) -> str:
    """The end of a long streamed text: it is broken anew for every piece that arrives."""
    return text if len(text) < 4000 else "… " + text[-4000:]
