"""Playing a session's log: what is marked on its time line, how fast it goes, and where a text is in it.

Everything counts events by their index from 0.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from backspace_tui.core import events as ev

Kind = Literal["stage", "edit", "command", "failure", "decision"]

KINDS: Final[tuple[Kind, ...]] = ("stage", "edit", "command", "failure", "decision")
SPEEDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LONGEST: Final = 2.0
"""Seconds that a pause between two events takes at most, before it is divided by the speed."""

_RISING: Final[Sequence[Kind]] = ("stage", "command", "edit", "decision", "failure")
"""The kinds by what stands out more, where marks share a column: the last one shows."""

_COMMANDS: Final = frozenset({"run_command", "start_service", "shell"})
_FAILED: Final = frozenset({"newly fails", "fails as before"})
_TAIL: Final = 200
"""Characters before a streamed piece in which a match that ends in the piece may begin."""


class Mark(NamedTuple):
    """Something worth finding on the time line, at the event with this index."""

    at: int
    kind: Kind


def kinds_of(event: ev.AnyEvent) -> tuple[Kind, ...]:
    """What an event is marked as: nothing, one kind, or a command and the failure that it ended in."""
    match event:
        case ev.StageStarted():
            return ("stage",)
        case ev.FileEdit():
            return ("edit",)
        case ev.ToolFinished():
            failed = not event.ok or event.exit_code not in (None, 0)
            command: tuple[Kind, ...] = ("command",) if event.tool in _COMMANDS else ()
            return (*command, "failure") if failed else command
        case ev.Verification() if event.verdict != "running":
            return ("command", "failure") if event.verdict in _FAILED else ("command",)
        case ev.Error() | ev.ModelFailed() | ev.StageFinished(outcome="failed") | ev.GitOperation(ok=False):
            return ("failure",)
        case ev.SessionFinished(outcome="failed"):
            return ("failure",)
        case ev.Decision() | ev.Answer():
            return ("decision",)
        case _:
            return ()


def marks(events: Iterable[ev.AnyEvent]) -> list[Mark]:
    """The marks of a log, in order; one event may have two.

    Edits are marked where their call ends, which is where the files are as they were edited.
    """
    found: list[Mark] = []
    edit = -1
    for index, event in enumerate(events):
        if isinstance(event, ev.FileEdit):
            edit = index
            continue
        if edit >= 0 and _settles(event):
            found.append(Mark(index, "edit"))
            edit = -1
        found += [Mark(index, kind) for kind in kinds_of(event)]
    if edit >= 0:
        found.append(Mark(edit, "edit"))
    return sorted(found, key=lambda mark: mark.at)


def path_at(events: Sequence[ev.AnyEvent], index: int) -> str:
    """The path that the mark at ``index`` is about: of its decision or of its first edit; empty where there is none."""
    event, path = events[index], ""
    if isinstance(event, ev.Decision):
        return event.path
    for at in range(index, -1, -1):
        event = events[at]
        if isinstance(event, ev.FileEdit):
            path = event.path
        elif path or isinstance(event, ev.ToolStarted) or (at < index and _settles(event)):
            break
    return path


def _settles(event: ev.AnyEvent) -> bool:
    return isinstance(event, ev.ToolFinished) or (isinstance(event, ev.GitOperation) and bool(event.tree))


class Marks:
    """The marks of a log, for jumping from one to the next."""

    def __init__(self, found: Sequence[Mark]) -> None:
        self.all = found
        self._places: dict[Kind | Literal[""], list[int]] = {
            kind: [mark.at for mark in found if mark.kind == kind] for kind in KINDS
        }
        self._places[""] = sorted({mark.at for mark in found})

    def next(self, index: int, kind: Kind | Literal[""], direction: int) -> int | None:
        """The next mark of ``kind`` (empty: of any) after ``index``, or with direction -1 before it."""
        places = self._places[kind]
        at = bisect_right(places, index) if direction > 0 else bisect_left(places, index) - 1
        return places[at] if 0 <= at < len(places) else None

    def bar(self, total: int, columns: int) -> list[Kind | Literal[""]]:
        """The kind that each of the columns shows of ``total`` events; empty where there is no mark."""
        cells: list[Kind | Literal[""]] = [""] * columns
        for kind in _RISING:
            for index in self._places[kind]:
                cells[column_of(index, total, columns)] = kind
        return cells


def column_of(index: int, total: int, columns: int) -> int:
    """The column of a bar that shows the event at ``index`` of ``total``; the last event is in the last column."""
    return max(0, min(index, total - 1)) * (columns - 1) // max(1, total - 1)


def index_at(column: int, total: int, columns: int) -> int:
    """The first event that :func:`column_of` puts into ``column``, or where there is none the next one."""
    column = max(0, min(column, columns - 1))
    return min(total - 1, -(-column * (total - 1) // max(1, columns - 1)))


def moments(times: Sequence[datetime]) -> list[float]:
    """When each event is played at speed 1, in seconds from the first.

    Pauses longer than :data:`LONGEST` are cut to that; a clock that was set back takes no time.
    """
    at = [0.0] if times else []
    for before, after in pairwise(times):
        gap = (after - before).total_seconds()
        at.append(at[-1] + min(max(gap, 0.0), LONGEST))
    return at


def playing_at(played: Sequence[float], start: int, seconds: float, speed: float) -> int:
    """The event that is shown ``seconds`` after playing began at the event ``start``."""
    return max(start, bisect_right(played, played[start] + seconds * speed) - 1)


def until_next(played: Sequence[float], start: int, index: int, seconds: float, speed: float) -> float:
    """Seconds until the event after ``index``, ``seconds`` after playing began at ``start``; 0 where it is due."""
    if index + 1 >= len(played):
        return 0.0
    return max(0.0, (played[index + 1] - played[start]) / speed - seconds)


def faster(speed: float, direction: int) -> float:
    """The next speed up, or with direction -1 down; the fastest and the slowest stay."""
    at = bisect_left(SPEEDS, speed) + direction
    return SPEEDS[max(0, min(at, len(SPEEDS) - 1))]


def index_of(events: Sequence[ev.AnyEvent], seq: int) -> int:
    """The index of the event with this ``seq``, or where there is none of the last one before it; at least 0."""
    return max(0, bisect_right(events, seq, key=lambda event: event.seq) - 1)


class Texts:
    """What can be searched of a log: everything that the panes tell of it, and what was told to the tools.

    A text that came in pieces is found where its last piece came; what a model streamed is found once, in its reply.
    """

    def __init__(self, events: Sequence[ev.AnyEvent]) -> None:
        self._texts = ["\n".join(_strings(event)).casefold() for event in events]
        self._before: dict[int, str] = {}
        streamed: list[int] = []
        tails: dict[tuple[str, str], str] = {}
        for index, event in enumerate(events):
            match event:
                case ev.AgentThinking(void=True):
                    tails.pop(("", "text"), None)
                    tails.pop(("", "thinking"), None)
                    streamed.clear()
                case ev.AgentThinking():
                    self._piece(index, ("", event.kind), tails)
                    if event.kind == "text":
                        streamed.append(index)
                case ev.ToolOutput():
                    self._piece(index, (event.call_id, event.stream), tails)
                case ev.ModelReplied():
                    for piece in streamed:
                        self._texts[piece] = ""
                    streamed.clear()
                    tails.pop(("", "text"), None)
                    tails.pop(("", "thinking"), None)
                case ev.ToolFinished():
                    tails.pop((event.call_id, "stdout"), None)
                    tails.pop((event.call_id, "stderr"), None)
                case _:
                    pass

    def _piece(self, index: int, stream: tuple[str, str], tails: dict[tuple[str, str], str]) -> None:
        if before := tails.get(stream, ""):
            self._before[index] = before
        tails[stream] = (before + self._texts[index])[-_TAIL:]

    def find(self, text: str, start: int, direction: int) -> int | None:
        """The first event from ``start`` on (inclusive, around the end) that holds ``text``, in any case."""
        wanted, count = text.casefold(), len(self._texts)
        if not wanted:
            return None
        for offset in range(count):
            index = (start + direction * offset) % count
            whole = self._texts[index]
            if whole and (before := self._before.get(index)) and len(wanted) > 1:
                whole = before[-(len(wanted) - 1) :] + whole
            if wanted in whole:
                return index
        return None


def _strings(event: ev.AnyEvent) -> Iterable[str]:
    match event:
        case ev.SessionStarted():
            return (event.prompt, event.repository)
        case ev.SessionFinished() | ev.Paused():
            return (event.reason,)
        case ev.StageStarted():
            return (event.stage,)
        case ev.StageFinished():
            return (event.detail,)
        case ev.Message() | ev.AgentThinking() | ev.ToolOutput() | ev.ModelReplied() | ev.Answer():
            return (event.text,)
        case ev.Question():
            return (event.question, *event.options)
        case ev.Error():
            return (event.message,)
        case ev.ModelFailed():
            return (event.model, event.reason)
        case ev.ToolStarted():
            return (event.title, *_values(event.arguments))
        case ev.ToolFinished():
            return () if event.ok or event.tool in _COMMANDS else (event.text,)
        case ev.FileEdit():
            return (event.path,)
        case ev.Decision():
            return (event.action, event.path, event.comment)
        case ev.Verification():
            return (event.verdict, event.command, event.output)
        case ev.GitOperation():
            return (event.operation, event.detail, event.branch, event.commit)
        case ev.PrCreation():
            return (event.title, event.body, event.url, event.branch)
        case _:
            return ()


def _values(value: Any) -> list[str]:
    """The texts in a tool's arguments."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _values(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _values(item)]
    return []
