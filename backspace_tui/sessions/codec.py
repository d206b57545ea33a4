"""JSON that can carry every path: strings with lone surrogates travel as JSON's own ``\\udcXX`` escapes.

msgspec is strict about UTF-8 in both directions, which is right for nearly every line and fast; the standard
library's decoder takes over for the few that hold a path that is not UTF-8.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(value: Any) -> bytes:
    """``value`` (plain data or structs) as one line of JSON without a line feed."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(_plain(value), separators=(",", ":")).encode("ascii")


def from_json(data: bytes | str, kind: type[T] | Any) -> T:
    """The value of type ``kind`` in ``data``.

    Raises:
        ValueError: no JSON, or not of that type (:class:`msgspec.ValidationError`, a subclass).
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.convert(plain_json(data), type=kind)


def plain_json(data: bytes | str) -> Any:
    """JSON as plain data, lone surrogates included. Raises ``ValueError``."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _plain(value: Any) -> Any:
    """Plain data for the standard library's encoder, with ``null`` for what JSON has no number for, as msgspec does."""

    def finite(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: finite(inner) for key, inner in item.items()}
        if isinstance(item, list | tuple):
            return [finite(inner) for inner in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return finite(msgspec.to_builtins(value, str_keys=True))
