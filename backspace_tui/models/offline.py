"""The offline agent: a deterministic program in the place of a language model, and it says so.

It understands :data:`backspace_tui.models.grammar.GRAMMAR` and works through the same tools as any model. It keeps
nothing between two turns: each time it plays its own earlier turns again from the conversation, whose tool
results drive it, and so goes on properly after a crash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

import msgspec

from backspace_tui.core.protocols import (
    Cancelled,
    CancelToken,
    ChatMessage,
    Estimate,
    ModelObserver,
    ModelReply,
    ModelRequest,
    ToolCall,
)
from backspace_tui.models.exact_edits import plan_rename
from backspace_tui.models.grammar import Create, GrammarError, Rename, Replace, Run, Step, check_prompt, parse, quote

__all__ = ["GrammarError", "OfflineModel", "answer", "check_prompt"]

NAME: Final = "offline"
INTRODUCTION: Final = "I am the offline agent: a program that follows a fixed grammar, not a language model."
_BATCH: Final = 10
_PAGE: Final = 200
_CALLS: Final = 40

Request = tuple[str, dict[str, Any]]
Heard = tuple[list[str], list[str]]
"""What came back after a turn: the results of its calls in order, and what the human said since."""


class _Turn(msgspec.Struct, frozen=True):
    text: str
    calls: tuple[Request, ...]


Calls = Generator[_Turn, Heard, list[str]]


class OfflineModel:
    """Implements :class:`backspace_tui.core.protocols.Model`."""

    @property
    def names(self) -> tuple[str, ...]:
        return (NAME,)

    def estimate(self, request: ModelRequest) -> Estimate:
        """It costs nothing."""
        return Estimate(NAME)

    def complete(self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken) -> ModelReply:
        """Answer one turn. Raises :class:`GrammarError` (a ``RequestRefused``) for a prompt outside the grammar."""
        if cancel.cancelled:
            raise Cancelled
        observer.may_call(Estimate(NAME))
        observer.called(NAME, 1)
        text, calls = answer(request)
        if text:
            observer.streamed("text", text)
        return ModelReply(NAME, text, calls, usd=0.0)


def answer(request: ModelRequest) -> tuple[str, tuple[ToolCall, ...]]:
    """The text and the calls that follow a conversation. Pure."""
    if request.purpose == "critique":
        return f"APPROVE\n{INTRODUCTION} It cannot judge its work; read the diff.", ()
    if request.purpose != "implement":
        steps = parse(_requests(request.messages)[0])
        lines = (f"{number}. {describe(step)}" for number, step in enumerate(steps, 1))
        return f"{INTRODUCTION} My plan:\n\n" + "\n".join(lines), ()
    return _play(request.messages)


def _requests(messages: Sequence[ChatMessage]) -> list[str]:
    """What the human asked for, in order: the opening's request, then follow-ups and steering."""
    said = [request_of(message.text) for message in messages if message.role == "user"]
    return [text for text in said if text is not None] or [""]


def request_of(text: str) -> str | None:
    """The human's words in a user message; ``None`` for one of the program (feedback, review)."""
    if text.startswith(("[feedback] ", "[review] ")):
        return None
    if match := re.match(r"# Request\n(.*?)(?=\n\n# (?:Repository|Plan|Changes|Advice)\b|\Z)", text, re.S):
        return match[1]
    return text


def _play(messages: Sequence[ChatMessage]) -> tuple[str, tuple[ToolCall, ...]]:
    first, turns = _rounds(messages)
    worker = _Worker()
    worker.steps += parse(first[0] if first else "")
    worker.hear(first[1:])
    agent = worker.work()
    turn = next(agent)
    for number, (message, results, said) in enumerate(turns, 1):
        own = _numbered(turn, number)
        if [call.id for call in message.tool_calls] == [call.id for call in own]:
            by_id = dict(results)
            turn = agent.send(([by_id.get(call.id, "") for call in own], said))
        else:
            # Another model's turn: the session was resumed with this one.
            worker.hear(said)
    return turn.text, _numbered(turn, len(turns) + 1)


def _numbered(turn: _Turn, number: int) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(f"{NAME}-{number}-{index}", tool, arguments) for index, (tool, arguments) in enumerate(turn.calls, 1)
    )


Round = tuple[ChatMessage, list[tuple[str, str]], list[str]]


def _rounds(messages: Sequence[ChatMessage]) -> tuple[list[str], list[Round]]:
    """What was said before the first turn, then each turn with its results and what was said after it."""
    first: list[str] = []
    rounds: list[Round] = []
    for message in messages:
        if message.role == "assistant":
            rounds.append((message, [], []))
        elif message.role == "tool" and rounds:
            rounds[-1][1].append((message.tool_call_id, message.text))
        elif message.role == "user" and (said := request_of(message.text)) is not None:
            (rounds[-1][2] if rounds else first).append(said)
    return first, rounds


class _Worker:
    """Carries out one step at a time; each method yields turns and returns what there is to report."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.refused: list[str] = []

    def work(self) -> Generator[_Turn, Heard, None]:
        """Work off all steps, finish, and go on with what is said after that."""
        while True:
            notes: list[str] = []
            while self.steps or self.refused:
                notes += self.refused
                self.refused = []
                if self.steps:
                    notes += yield from self.do(self.steps.pop(0))
            summary = "\n".join([INTRODUCTION, *(f"- {note}" for note in notes or ["nothing was asked for"])])
            _, said = yield _Turn("", (("finish", {"summary": summary}),))
            self.hear(said)

    def hear(self, said: Iterable[str]) -> None:
        for text in said:
            try:
                self.steps += parse(text)
            except GrammarError as problem:
                self.refused.append(f"not done, because {problem.reason}: {text[:80]!r}")

    def do(self, step: Step) -> Calls:
        match step:
            case Replace():
                return (yield from self._replace(step))
            case Rename():
                return (yield from self._rename(step))
            case Create():
                return (yield from self._create(step))
            case Run():
                [result] = yield from self._call([("run_command", {"command": step.command})], describe(step))
                return [f"{describe(step)}: {result.partition(chr(10))[0] or 'no result'}"]

    def _call(self, calls: Sequence[Request], text: str = "") -> Calls:
        results: list[str] = []
        for start in range(0, len(calls), _CALLS):
            part = tuple(calls[start : start + _CALLS])
            heard, said = yield _Turn(text if start == 0 else "", part)
            self.hear(said)
            results += heard + [""] * (len(part) - len(heard))
        return results

    def _replace(self, step: Replace) -> Calls:
        line = max(step.old.replace("\r", "\n").split("\n"), key=len)
        arguments = {"pattern": pattern_of(line)} | ({"glob": step.glob} if step.glob else {})
        report = _Report(describe(step))
        while (found := (yield from self._new_files(arguments, report))) and not report.failed:
            for start in range(0, len(found), _BATCH):
                batch = found[start : start + _BATCH]
                if "\n" in step.old:
                    texts = yield from self._read(batch)
                    # edit_file would also take a place that differs in white space; "replace" means exactly.
                    batch = [path for path, text in zip(batch, texts, strict=True) if text is None or step.old in text]
                edits = [
                    ("edit_file", {"path": path, "old": step.old, "new": step.new, "replace_all": True})
                    for path in batch
                ]
                report.edited(batch, (yield from self._call(edits)))
            if report.complete:
                break
        return report.lines()

    def _rename(self, step: Rename) -> Calls:
        report = _Report(describe(step))
        while found := (yield from self._new_files({"pattern": rf"\b{step.old}\b"}, report)):
            for start in range(0, len(found), _BATCH):
                batch = found[start : start + _BATCH]
                texts = yield from self._read(batch)
                edits: list[Request] = []
                for path, text in zip(batch, texts, strict=True):
                    if text is None:
                        report.problem(path, "it cannot be read as a whole")
                        continue
                    for edit in plan_rename(text, step.old, step.new):
                        arguments = {"path": path, **msgspec.structs.asdict(edit)}
                        edits.append(("edit_file", arguments))
                report.edited([str(arguments["path"]) for _, arguments in edits], (yield from self._call(edits)))
            if report.complete:
                break
        return report.lines()

    def _create(self, step: Create) -> Calls:
        [there] = yield from self._call([("read_file", {"path": step.path, "end_line": 1})], describe(step))
        if not there.startswith("there is no file"):
            return [f"{describe(step)}: not done, because something of that name exists"]
        text = step.text if not step.text or step.text.endswith("\n") else step.text + "\n"
        [result] = yield from self._call([("write_file", {"path": step.path, "content": text})])
        return [f"{describe(step)}: {result.partition(chr(10))[0] or 'no result'}"]

    def _new_files(self, arguments: dict[str, Any], report: _Report) -> Calls:
        """The files with hits that were not seen before."""
        [result] = yield from self._call([("search", arguments)], report.title)
        paths, report.complete = hits(result)
        if not paths and result != "(no match)":
            report.failed = result.partition("\n")[0] or "the search gave no result"
        new = [path for path in paths if path not in report.seen]
        report.seen.update(new)
        return new

    def _read(self, paths: Sequence[str]) -> Generator[_Turn, Heard, list[str | None]]:
        """The whole text of each file (LF line ends), or ``None``."""
        pages: list[dict[int, str]] = [{} for _ in paths]
        totals: list[int | None] = [None] * len(paths)
        ends = [True] * len(paths)
        size = _PAGE
        todo = [(index, 1, size) for index in range(len(paths))]
        while todo:
            results = yield from self._call(
                [("read_file", {"path": paths[index], "start_line": a, "end_line": b}) for index, a, b in todo]
            )
            again: list[tuple[int, int, int]] = []
            for (index, start, stop), result in zip(todo, results, strict=True):
                page = read_page(result)
                if page is None:
                    # Cut in the middle because it is too long: half of it, down to one line.
                    middle = (start + stop) // 2
                    if start < stop and result.count("\n") > 1:
                        again += [(index, start, middle), (index, middle + 1, stop)]
                    continue
                lines, total, end = page
                pages[index].update(zip(range(start, start + len(lines)), lines, strict=False))
                if totals[index] is None:
                    totals[index] = total
                    again += [(index, at, min(at + size - 1, total)) for at in range(start + size, total + 1, size)]
                # A page holds no more characters than a result may have.
                if (reached := start + len(lines)) <= min(stop, total):
                    again.append((index, reached, stop))
                ends[index] = ends[index] and end
            todo = again
        return [_joined(page, total, end) for page, total, end in zip(pages, totals, ends, strict=True)]


def _joined(lines: dict[int, str], total: int | None, end: bool) -> str | None:
    if total is None or set(lines) != set(range(1, total + 1)):
        return None
    text = "\n".join(lines[number] for number in range(1, total + 1))
    return text + "\n" if end and total else text


class _Report:
    """What became of one replacement."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.seen: set[str] = set()
        self.complete = True
        self.failed = ""
        self._changed: dict[str, None] = {}
        self._problems: dict[str, str] = {}

    def edited(self, paths: Sequence[str], results: Sequence[str]) -> None:
        for path, result in zip(paths, results, strict=True):
            if result.startswith("edited "):
                self._changed[path] = None
            else:
                self.problem(path, result.partition("\n")[0] or "no result")

    def problem(self, path: str, why: str) -> None:
        self._problems[path] = why

    def lines(self) -> list[str]:
        if self.failed:
            return [f"{self.title}: not done: {self.failed}"]
        changed = f"changed {len(self._changed)} {'file' if len(self._changed) == 1 else 'files'}"
        result = [f"{self.title}: {changed if self._changed else 'nothing changed'}"]
        result += [f"{path} was left alone: {why}" for path, why in self._problems.items()]
        if not self.complete:
            result.append("more lines match than one search shows: name fewer files with in GLOB, and run it again")
        return result


def describe(step: Step) -> str:
    """A step in one line."""
    match step:
        case Replace(old, new, glob):
            return f"Replace {quote(old)} with {quote(new)}" + (f" in {glob}" if glob else " in all files")
        case Rename(old, new):
            return f"Rename {old} to {new} in all files"
        case Create(path, text):
            return f"Create {path} with {len(text)} characters"
        case Run(command):
            return f"Run {' '.join(command.split())}"


def pattern_of(text: str) -> str:
    """``text`` as a regular expression, in the part of the syntax that ripgrep and grep -P share."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


_HIT: Final = re.compile(r'("(?:[^"\\]|\\.)*"|[^:"\\]+):\d+:')


def hits(result: str) -> tuple[list[str], bool]:
    """The paths of a search result in order, and whether the result is complete."""
    paths: dict[str, None] = {}
    complete = True
    whole = True
    for line in result.split("\n"):
        match = _HIT.match(line)
        if match is None:
            complete = complete and line in ("", "(no match)")
        elif whole:
            # The line after a gap may be the rest of a longer one.
            paths[json.loads(match[1]) if match[1].startswith('"') else match[1]] = None
        whole = match is not None
    return list(paths), complete


_HEADER: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\n]+?) lines (\d+)-(\d+) of (\d+)(?: \(CRLF\))?')


_CUT: Final = re.compile(r" \[\.\.\. the rest of this line is left out\]$", re.M)


def read_page(result: str) -> tuple[list[str], int, bool] | None:
    """The lines of a ``read_file`` result, the file's number of lines, and whether its last line is ended.

    ``None`` where the result is anything but a complete page.
    """
    header, *body = result.split("\n")
    match = _HEADER.fullmatch(header)
    if match is None or _CUT.search(result):
        return None
    first, last, total = (int(number) for number in match.groups())
    ended = True
    if body and body[-1] == "\\ No newline at end of file":
        ended = False
        body.pop()
    elif body and re.fullmatch(r"\(\d+ more lines; .*\)", body[-1]):
        body.pop()
    lines: list[str] = []
    for number, line in enumerate(body, first):
        if not line.startswith(f"{number}\t"):
            return None
        lines.append(line.partition("\t")[2])
    return (lines, total, ended) if len(lines) == max(0, last - first + 1) else None
