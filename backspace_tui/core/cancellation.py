"""What a user stops, and how whoever works hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Cancelled(Exception):
    """The user stopped what was going on."""


class CancelToken(Protocol):
    """A one-way switch that another thread may flip."""

    @property
    def cancelled(self) -> bool: ...

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` once, from the cancelling thread; at once if already cancelled.

        Returns a function that takes the registration back.
        """
        ...
