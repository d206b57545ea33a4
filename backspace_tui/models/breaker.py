"""Circuit breakers: which models of a chain are asked first, and for how long a failing one is spared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST: Final = 600.0
"""Seconds that a model is spared at most, unless its provider named a longer time."""


class Breakers:
    """One breaker for each model of a chain, by its position.

    A breaker is closed (the model is asked as usual), open (asked only after all others) or half-open: its time is
    over, and one request decides whether it closes, or opens again for twice as long.
    """

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._until: dict[int, float] = {}
        self._openings: dict[int, int] = {}

    def order(self) -> list[int]:
        """Positions in order of preference, those whose breaker is open last."""
        now = self._clock()
        return sorted(range(self._count), key=lambda position: (self._until.get(position, 0.0) > now, position))

    def half_open(self, position: int) -> bool:
        """Whether the model failed before, and is due for another chance."""
        return position in self._until and self._until[position] <= self._clock()

    def open(self, position: int, seconds: float, told: float = 0.0) -> None:
        """Spare the model for ``seconds``, doubled each time, and no less than its provider ``told``."""
        openings = self._openings.get(position, 0)
        self._openings[position] = openings + 1
        grown = min(LONGEST, seconds * 2.0 ** min(openings, 16))
        self._until[position] = self._clock() + max(grown, told)

    def close(self, position: int) -> None:
        """The model answered."""
        self._until.pop(position, None)
        self._openings.pop(position, None)
