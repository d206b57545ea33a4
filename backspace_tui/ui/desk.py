"""What the window knows of its session: plain data, fed by the log, asked by the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import clean
from backspace_tui.ui.present import Place, places

if TYPE_CHECKING:
    from backspace_tui.sessions.review import Review, ReviewFile

_KEPT: Final = 4000
_SENTENCE: Final = 160


class Call(msgspec.Struct):
    """One tool call, for the question why: what was thought before it, what it was, what came of it."""

    title: str
    tool: str
    arguments: dict[str, Any]
    thought: str
    seq: int
    result: str = ""


class Desk:
    """The session's state, its review, and the decisions that are under way.

    A decision is under way from the key press until the log says what became of it; until then its hunk shows as
    deciding and is skipped by everything that looks for the next one.
    """

    def __init__(self) -> None:
        self.state = SessionState()
        self.review: Review | None = None
        self.review_seq = 0
        self.work_tree = ""
        self.places: list[Place] = []
        self._busy: dict[str, int | None] = {}
        self._thoughts: dict[str, str] = {}
        self._thinking: list[str] = []
        self.calls: dict[str, Call] = {}
        self._edits: dict[int, str] = {}

    # The log

    def take(self, events: Iterable[ev.AnyEvent], state: SessionState) -> None:
        """These events happened, and ``state`` is what they lead to."""
        self.state = state
        for event in events:
            match event:
                case ev.AgentThinking(void=True):
                    self._thinking.clear()
                case ev.AgentThinking():
                    self._thinking.append(event.text)
                case ev.ModelReplied():
                    thought = event.text or "".join(self._thinking)
                    self._thinking.clear()
                    for call in event.tool_calls:
                        self._thoughts[call.id] = thought
                case ev.ToolStarted():
                    thought = self._thoughts.pop(event.call_id, "")
                    self.calls[event.call_id] = Call(event.title, event.tool, event.arguments, thought, event.seq)
                case ev.ToolFinished():
                    if (found := self.calls.get(event.call_id)) is not None:
                        found.result = event.text[:_KEPT]
                case ev.FileEdit():
                    self._edits[event.seq] = event.by
                case _:
                    pass

    def call_of(self, edit: int) -> Call | None:
        """The tool call that made the edit with this ``seq``."""
        return self.calls.get(self._edits.get(edit, ""))

    def thought_of(self, edit: int) -> str:
        """One sentence of what was thought before that edit, or empty."""
        call = self.call_of(edit)
        return sentence(call.thought) if call is not None else ""

    def rewind(self, state: SessionState) -> None:
        """Replay shows another point of time: what was computed later is void."""
        self.state = state
        self.review_seq = 0

    # The review

    def take_review(self, review: Review, seq: int, work_tree: str) -> bool:
        """A review was computed; ``False`` when a newer one is there already."""
        if seq < self.review_seq:
            return False
        self.review, self.review_seq, self.work_tree = review, seq, work_tree
        self.places = places(review)
        self._busy = {hunk: caused for hunk, caused in self._busy.items() if caused is None or caused > seq}
        return True

    def file(self, path: str) -> ReviewFile | None:
        """The file under review at ``path``."""
        if self.review is None:
            return None
        return next((file for file in self.review.files if file.path == path), None)

    def changed_paths(self) -> list[str]:
        """The paths under review, in order."""
        return [file.path for file in self.review.files] if self.review is not None else []

    def open_hunks(self, path: str) -> list[str]:
        """The ids of the hunks of ``path`` that wait for a decision, and for none under way."""
        return [place.id for place in self.places if place.path == path and self._is_open(place)]

    def next_open(self, path: str, hunk: str) -> Place | None:
        """The next hunk after this one that waits for a decision, around the end."""
        at = next((n for n, place in enumerate(self.places) if (place.path, place.id) == (path, hunk)), -1)
        if at < 0:
            at = next((n for n, place in enumerate(self.places) if place.path >= path), len(self.places)) - 1
        around = self.places[at + 1 :] + self.places[: max(at, 0)]
        return next((place for place in around if self._is_open(place) and place.id != hunk), None)

    def state_of(self, path: str, hunk: str) -> str:
        """The hunk's state in the newest review, or empty."""
        return next((place.state for place in self.places if (place.path, place.id) == (path, hunk)), "")

    def _is_open(self, place: Place) -> bool:
        return place.undecided and place.id not in self._busy

    # Decisions under way

    @property
    def busy(self) -> frozenset[str]:
        """The ids of hunks whose decision is under way."""
        return frozenset(self._busy)

    def sent(self, hunks: Sequence[str]) -> None:
        """A decision about ``hunks`` is on its way."""
        self._busy.update(dict.fromkeys(hunks))

    def replied(self, hunks: Sequence[str], seq: int, error: str) -> None:
        """It was carried out as the event ``seq``, or refused."""
        for hunk in hunks:
            if hunk not in self._busy:
                continue
            if error or seq <= self.review_seq:
                del self._busy[hunk]
            else:
                self._busy[hunk] = seq


def sentence(text: str) -> str:
    """The first sentence of ``text``, on one line."""
    line = " ".join(clean(text).split())
    end = line.find(". ")
    line = line[: end + 1] if 0 < end < _SENTENCE else line
    return line if len(line) <= _SENTENCE else line[: _SENTENCE - 2].rstrip() + " …"
