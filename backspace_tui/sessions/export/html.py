"""A session as one HTML file, to step through in a browser: no network, nothing from the session is ever markup.

The session's texts stand in the page as JSON, from which the page's own script makes text nodes. The page's policy
allows that script and that style by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.core.state import fold
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.core.trees import FileChange
from backspace_tui.sessions.export.bundle import masked_value
from backspace_tui.sessions.export.diffs import counts, file_diff
from backspace_tui.sessions.objects import Objects

_MAX_TEXT: Final = 20_000
"""Characters of one text that are kept, half of them from its end."""
_MAX_DIFF: Final = 200_000
_MAX_DIFFS: Final = 40_000_000
"""Characters of one diff that are kept, and of all together: a browser has to hold them."""

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1 id="title"></h1><span>{title}</span></header>
<main>
<section id="files"><h2>Files</h2><div class="body"></div></section>
<section id="changes"><h2>Diff</h2><div class="body diff"></div></section>
<section id="thinking"><h2>Thinking</h2><div class="body"></div></section>
<section id="output"><h2>Output</h2><div class="body"></div></section>
</main>
<footer>
<button class="key" id="previous">Previous</button><button class="key" id="play">Play</button>
<button class="key" id="next">Next</button>
<input id="steps" type="range" min="0" value="0" aria-label="step"><span id="where"></span>
</footer>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def html(name: str, title: str, events: Sequence[ev.AnyEvent], objects: Objects, redactor: Redactor) -> str:
    """The page of the session called ``name``.

    Raises:
        SessionError: its repository cannot be read.
    """
    style, script = (Path(__file__).with_name(file).read_text("utf-8") for file in ("page.css", "page.js"))
    story = _Story(objects, redactor, fold(events).base_tree)
    for event in events:
        story.take(event)
    data = masked_value(story.data(), redactor.redact)
    heading = redactor.redact(clean(f"{name}  {title}"))
    return _PAGE.format(
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; "
        "form-action 'none'",
        title=escape(heading),
        style=style,
        script=script,
        data=as_json(data),
    )


def as_json(value: Any) -> str:
    """``value`` as JSON that can stand in a script element: nothing in it ends or opens one."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


class _Story:
    """What the page shows after each step; entries name the first step that shows them."""

    def __init__(self, objects: Objects, redactor: Redactor, base: str) -> None:
        self._objects, self._redactor = objects, redactor
        self._tree = base
        self._before = objects.entries(base) if base else {}
        self._room = _MAX_DIFFS
        self._steps: list[tuple[int, str, str, str]] = []
        self._thinking: list[tuple[int, str, str, str]] = []
        self._output: list[tuple[int, str, str, str]] = []
        self._edits: list[tuple[int, list[tuple[str, int]]]] = []
        self._diffs: list[tuple[int, int, str]] = []
        self._known: dict[FileChange, int] = {}
        self._outputs: dict[str, list[str]] = {}
        self._thoughts: list[str] = []

    def data(self) -> dict[str, Any]:
        """All of it, as the page's script reads it."""
        return {
            "steps": self._steps,
            "thinking": self._thinking,
            "output": self._output,
            "edits": self._edits,
            "diffs": self._diffs,
        }

    def take(self, event: ev.AnyEvent) -> None:
        """Take the next event."""
        match event:
            case ev.AgentThinking(kind="thinking", text=text, void=void):
                self._thoughts = [] if void else [*self._thoughts, text]
            case ev.ToolOutput(call_id=call, text=text):
                self._outputs.setdefault(call, []).append(text)
            case _:
                self._step(event)

    def _step(self, event: ev.AnyEvent) -> None:
        title = self._told(event, len(self._steps))
        tree = event.tree if isinstance(event, ev.ToolFinished | ev.FileEdit) else ""
        if isinstance(event, ev.GitOperation) and event.ok and event.operation in ("snapshot", "rejected", "restored"):
            tree = event.tree
        changed = self._changed(tree) if tree and tree != self._tree else []
        if not title and not changed:
            return
        if changed:
            self._edits.append((len(self._steps), changed))
        time = event.time.strftime("%Y-%m-%d %H:%M:%S")
        self._steps.append((event.seq, time, event.stage, title.split("\n", 1)[0][:300]))

    def _changed(self, tree: str) -> list[tuple[str, int]]:
        """The paths that moved, each with its diff from the base; -1: it is as in the base again."""
        found = []
        for change in self._objects.changes(self._tree, tree):
            whole = FileChange(change.path, self._before.get(change.path), change.new)
            found.append((visible(change.path), -1 if whole.old == whole.new else self._diff(whole)))
        self._tree = tree
        return found

    def _diff(self, change: FileChange) -> int:
        if change not in self._known:
            text = file_diff(self._objects, change, self._redactor)
            shown = _cut(text, _MAX_DIFF)
            self._room -= len(shown)
            self._known[change] = len(self._diffs)
            self._diffs.append((*counts(text), shown if self._room > 0 else "left out: the page would be too large"))
        return self._known[change]

    def _think(self, step: int, label: str, text: str, style: str = "") -> str:
        shown = _cut(clean(text).strip("\n"))
        if shown:
            self._thinking.append((step, label, shown, style))
        return f"{label}: {shown}" if shown else ""

    def _told(self, event: ev.AnyEvent, step: int) -> str:
        """Put what an event says where it belongs; its title, empty for one that says nothing."""
        match event:
            case ev.SessionStarted(prompt=prompt):
                return self._think(step, "request", prompt)
            case ev.StageStarted(stage=stage):
                return self._think(step, "stage", stage, "m")
            case ev.StageFinished(stage=stage, detail=detail, outcome=outcome) if detail or outcome != "ok":
                return self._think(step, stage, f"{outcome}  {detail}", "m")
            case ev.Message(role=role, kind=kind, text=text):
                return self._think(step, kind if role != "user" else "you", text)
            case ev.Question(question=question, options=options):
                return self._think(step, "question", "\n".join((question, *options)))
            case ev.Answer(text=text):
                return self._think(step, "answer", text)
            case ev.ModelReplied(text=text, model=model):
                thoughts, self._thoughts = "".join(self._thoughts), []
                self._think(step, "thinks", thoughts, "m")
                return self._think(step, "says", text) or f"turn of {clean(model)}"
            case ev.ModelFailed(model=model, reason=reason):
                return self._think(step, "failed", f"{model}: {reason}", "bad")
            case ev.ToolStarted(title=title):
                if event.tool == "run_command":
                    self._output.append((step, "$", _cut(clean(str(event.arguments.get("command", title)))), ""))
                return self._think(step, "you" if event.by == "user" else "tool", title)
            case ev.ToolFinished():
                return self._finished(event, step)
            case ev.FileEdit(path=path, added=added, removed=removed):
                return self._think(step, "edit", f"{visible(path)}  +{added} -{removed}")
            case ev.Decision(action=action, path=path, comment=comment):
                return self._think(step, action, f"{visible(path)}  {event.hunk}{event.part}  {comment}")
            case ev.Verification(verdict="running", command=command):
                self._output.append((step, "$", clean(command), ""))
                return f"verify: {clean(command)}"
            case ev.Verification(verdict=verdict, output=output):
                self._output.append((step, verdict, _cut(clean(output)), "" if verdict == "passes" else "bad"))
                return self._think(step, "tests", verdict)
            case ev.GitOperation(operation=operation, detail=detail):
                return self._think(step, operation, detail, "m" if event.ok else "bad")
            case ev.PrCreation(title=title, url=url, branch=branch):
                return self._think(step, "request", f"{title}\n{url or branch}")
            case ev.Paused(reason=reason):
                return self._think(step, "paused", reason, "m")
            case ev.Resumed():
                return self._think(step, "resumed", "the agent goes on", "m")
            case ev.Error(message=message):
                return self._think(step, "error", message, "bad")
            case ev.SessionFinished(outcome=outcome, reason=reason):
                return self._think(step, outcome, reason or "the session's process ended", "m")
            case _:
                return ""

    def _finished(self, event: ev.ToolFinished, step: int) -> str:
        output = "".join(self._outputs.pop(event.call_id, []))
        if event.tool == "run_command":
            code = "killed" if event.exit_code is None else f"exit code {event.exit_code}"
            self._output.append((step, "", _cut(clean(output or event.text)), ""))
            self._output.append((step, "", code, "m" if event.exit_code == 0 else "bad"))
            return code
        return f"{event.tool}: done" if event.ok else self._think(step, "failed", event.text, "bad")


def _cut(text: str, most: int = _MAX_TEXT) -> str:
    """A text with its beginning and its end."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n... {len(text) - most} characters left out ...\n{text[-(most // 2) :]}"
