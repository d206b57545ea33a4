"""Sizes and times as settings write them: ``512m``, ``24h``."""

from __future__ import annotations

import re
from typing import Final

MIB: Final = 1024 * 1024
_SIZES: Final = {"": 1, "b": 1, "k": 1024, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB}
_TIMES: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int:
    """Bytes of a size as docker writes it: ``512m``, ``2g``, ``1.5g``, ``1048576``.

    Raises:
        ValueError: it is no positive size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(match[1]) * _SIZES[match[2]]) if match else 0
    if size <= 0:
        raise ValueError(f"{text!r} is no size; write it like 512m or 2g")
    return size


def show_size(size: int) -> str:
    """A size as docker writes it."""
    for unit in ("g", "m", "k"):
        if size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return str(size)


def show_megabytes(size: int) -> str:
    """A size for people, never rounded down: ``312 MB``, ``100.1 MB``."""
    tenths = -(-size * 10 // MIB)
    return f"{tenths / 10:.1f} MB" if tenths % 10 and tenths < 10_000 else f"{-(-tenths // 10)} MB"


def parse_time(text: str) -> float:
    """Seconds of a time: ``90s``, ``30m``, ``24h``, ``7d``.

    Raises:
        ValueError: it is no positive time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    seconds = float(match[1]) * _TIMES[match[2]] if match else 0.0
    if seconds <= 0:
        raise ValueError(f"{text!r} is no time; write it like 90m or 24h")
    return seconds


def show_time(seconds: float) -> str:
    """A time as settings write it."""
    for unit in ("d", "h", "m"):
        if seconds % _TIMES[unit] == 0 and (unit != "d" or seconds > _TIMES["d"]):
            return f"{seconds // _TIMES[unit]:g}{unit}"
    return f"{seconds:g}s"
