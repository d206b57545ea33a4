"""How the cost of a function grows with its input, without a clock on the wall: processor time, as a ratio."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_TIMES: Final = 4
_MOST: Final = 10.0
"""Four times the input costs a linear function four times the time, a quadratic one sixteen times."""
_MEASURABLE: Final = 0.002
"""Seconds of processor time below which the clock says nothing."""


def grows_linearly(run: Callable[[T], object], make: Callable[[int], T], size: int) -> None:
    """Fail if ``run(make(4 * size))`` costs much more than four times ``run(make(size))``."""
    small, large = make(size), make(_TIMES * size)
    ratio = _cost(run, large) / max(_MEASURABLE, _cost(run, small))
    assert ratio < _MOST, f"{_TIMES} times the input costs {ratio:.1f} times the time"


def _cost(run: Callable[[T], object], value: T) -> float:
    """The least processor time of three runs, in seconds."""
    gc.collect()
    gc.disable()
    try:
        times = []
        for _ in range(3):
            begun = time.process_time()
            run(value)
            times.append(time.process_time() - begun)
        return min(times)
    finally:
        gc.enable()
