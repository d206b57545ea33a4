"""The one writer of a session: appends events to the log, folds them, and wakes who waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, apply, fold
from backspace_tui.engine.masking import masked

COALESCE_SECONDS: Final = 0.05

_E = TypeVar("_E", bound=ev.Event)


class Log(Protocol):
    """What the recorder needs of the session's log."""

    @property
    def events(self) -> Sequence[ev.AnyEvent]: ...

    def append(self, event: ev.AnyEvent) -> ev.AnyEvent: ...

    def extend(self, events: Iterable[ev.AnyEvent]) -> list[ev.AnyEvent]: ...


class Recorder:
    """The log and its fold, shared by the workflow's thread and the socket's.

    ``changed`` is notified after every event; hold it to read several things consistently. ``redact`` masks the
    secrets of all texts before they are written.
    """

    def __init__(self, log: Log, redact: Callable[[str], str] = str) -> None:
        self._log = log
        self._redact = redact
        self.changed = threading.Condition(threading.RLock())
        self._state = fold(log.events)
        self._pending: list[ev.AgentThinking | ev.ToolOutput] = []
        self._timer: threading.Timer | None = None
        self._failure: BaseException | None = None
        self._past: tuple[int, SessionState] | None = None

    @property
    def state(self) -> SessionState:
        return self._state

    def state_at(self, seq: int) -> SessionState:
        """The state after the event ``seq``; the last one asked for is kept."""
        with self.changed:
            if self._past is None or self._past[0] != seq:
                self._past = (seq, fold(self._log.events[:seq]))
            return self._past[1]

    @property
    def events(self) -> Sequence[ev.AnyEvent]:
        """All events so far; later ones do not join them."""
        with self.changed:
            return self._log.events

    def emit(self, event: _E) -> _E:
        """Append ``event`` under the present stage and attempt; what was streamed before it goes first.

        Raises what the log raises when it cannot be written (a full disk).
        """
        with self.changed:
            self._flush()
            return self._append(event)

    def emit_all(self, events: Sequence[ev.AnyEvent]) -> int:
        """Append ``events`` as one: a crash leaves all of them or none. Returns the last one's ``seq``."""
        with self.changed:
            self._flush()
            placed = [self._placed(event) for event in events]
            self._state = fold(self._log.extend(placed), self._state)
            self.changed.notify_all()
            return self._state.last_seq

    def enter(self, stage_started: ev.StageStarted) -> None:
        """Append a stage's start, which alone carries its own stage and attempt."""
        with self.changed:
            self._flush()
            self._store(stage_started)

    def stream(self, piece: ev.AgentThinking | ev.ToolOutput) -> None:
        """Append a delta, joined with its neighbours of the same kind for about 50 ms."""
        with self.changed:
            if self._failure is not None:
                raise self._failure
            last = self._pending[-1] if self._pending else None
            match last, piece:
                case ev.AgentThinking(), ev.AgentThinking() if last.kind == piece.kind and not piece.void:
                    self._pending[-1] = replace(last, text=last.text + piece.text)
                case ev.ToolOutput(), ev.ToolOutput() if (last.call_id, last.stream) == (piece.call_id, piece.stream):
                    self._pending[-1] = replace(last, text=last.text + piece.text)
                case _:
                    self._pending.append(piece)
            if self._timer is None:
                self._timer = threading.Timer(COALESCE_SECONDS, self._flush_later)
                self._timer.daemon = True
                self._timer.start()

    def wait_until(self, condition: Callable[[SessionState], bool], timeout: float | None = None) -> bool:
        """Block until the state fulfils ``condition``; returns whether it does."""
        with self.changed:
            return self.changed.wait_for(lambda: condition(self._state), timeout)

    def _flush_later(self) -> None:
        with self.changed:
            try:
                self._flush()
            except Exception as problem:
                # The workflow's thread meets it at its next delta or event.
                self._failure = problem

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._failure is not None:
            raise self._failure
        pending, self._pending = self._pending, []
        for piece in pending:
            self._append(piece)

    def _append(self, event: _E) -> _E:
        return self._store(self._placed(event))

    def _placed(self, event: _E) -> _E:
        placed = replace(event, stage=self._state.stage, attempt=max(1, self._state.attempt))
        return masked(placed, self._redact)

    def _store(self, event: _E) -> _E:
        stored = self._log.append(event)  # type: ignore[arg-type]
        self._state = apply(self._state, stored)
        self.changed.notify_all()
        return stored  # type: ignore[return-value]
