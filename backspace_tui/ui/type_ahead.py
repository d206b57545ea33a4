"""What is typed faster than it is handled means what it would have meant key by key.

Textual looks up what a key is bound to when its event has bubbled up from the widget to the application. By then a key
that came after it may have moved the focus, or have gone to the widget that the first one was about to leave.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.timer import Timer
from textual.widgets import Input

Typed = events.Key | events.Paste

_ROUNDS: Final = 3
"""Passes of a mark from what has the focus up to the application, each after all messages that were there before it:
with the first the key is handled, with the second what it asked of the widget (a line was entered, say), with the
third what follows from that (a screen that opened or closed has its focus)."""

_LONGEST: Final = 1.0
"""Seconds after which a mark counts as lost: with a widget that was removed."""


class TypeAhead:
    """Lets one key through at a time, in the order typed; text for a line goes through at once."""

    def __init__(self, app: App[int]) -> None:
        self._app = app
        self._waiting: deque[Typed] = deque()
        self._next: Typed | None = None
        self._under_way: Timer | None = None

    def holds(self, event: Typed) -> bool:
        """Whether an earlier key is under way; then ``event`` is kept, and handled after it."""
        if event is self._next or not (self._under_way or self._waiting):
            return False
        self._waiting.append(event)
        return True

    def follow(self, event: Typed) -> None:
        """``event`` was handed to what has the focus: hold all others until it has been dealt with."""
        text = isinstance(event, events.Paste) or event.is_printable
        if text and event.is_forwarded and isinstance(self._app.focused, Input):
            return  # lines keep the order of text themselves
        self._under_way = self._app.set_timer(_LONGEST, self._done)
        self._pass(_ROUNDS, self._under_way)

    def _pass(self, rounds: int, mark: Timer) -> None:
        if mark is not self._under_way:
            return
        if not rounds or not self._app.screen_stack:
            self._done()
            return
        start: DOMNode = self._app.focused or self._app.screen
        way = iter(start.ancestors_with_self)

        def step() -> None:
            for node in way:
                if node.call_later(step):
                    return
            self._pass(rounds - 1, mark)

        step()

    def _done(self) -> None:
        if self._under_way is not None:
            self._under_way.stop()
        self._under_way = None
        if self._waiting:
            self._app.call_next(self._go_on)

    async def _go_on(self) -> None:
        while self._waiting and not self._under_way:
            self._next = self._waiting.popleft()
            await self._app.on_event(self._next)
