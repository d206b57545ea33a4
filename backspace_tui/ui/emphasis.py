"""Which words differ between two lines that stand for each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import accumulate
from typing import Final

from backspace_tui.ui.raw_lines import shown_part

MAX_LENGTH: Final = 400
_MAX_PAIRS: Final = 20_000
_MAX_COMPARED: Final = 100
_LEAST_ALIKE: Final = 0.4
_TOKEN: Final = re.compile(r"\w+|\s+|.", re.DOTALL)

Ranges = tuple[tuple[int, int], ...]


@lru_cache(maxsize=2048)
def changed_words(old: str, new: str) -> tuple[Ranges, Ranges]:
    """The columns that differ on either side, as (start, end); none where the lines are long or hardly alike."""
    if max(len(old), len(new)) > MAX_LENGTH or old == new:
        return (), ()
    first, second = _TOKEN.findall(old), _TOKEN.findall(new)
    head = _alike(first, second)
    tail = _alike(first[head:][::-1], second[head:][::-1])
    left, right = first[head : len(first) - tail], second[head : len(second) - tail]
    if len(left) * len(right) > _MAX_PAIRS:
        return (), ()
    indent = len(first[0]) if head and first[0].isspace() else 0  # it makes no two lines alike
    same = _length(first[:head]) + _length(first[len(first) - tail :]) - indent
    changes: list[tuple[int, int, int, int]] = []
    for _, start, end, begin, stop in _differences(left, right):
        if changes and _length(left[changes[-1][1] : start]) <= 1:  # a dot or a blank alone is no island
            start, begin = changes[-1][0], changes[-1][2]
            changes.pop()
        elif changes:
            same += _length(left[changes[-1][1] : start])
        changes.append((start, end, begin, stop))
    if 2 * same < _LEAST_ALIKE * (len(old) + len(new) - 2 * indent):
        return (), ()
    removed = _columns(first, [(head + start, head + end) for start, end, _, _ in changes])
    return removed, _columns(second, [(head + begin, head + stop) for _, _, begin, stop in changes])


def mate(lines: Sequence[tuple[str, bytes]], old: range, new: range, position: int) -> int:
    """The position of the line that the one at ``position`` became or was; -1 where there is none.

    ``old`` and ``new`` are the positions of deletions and of the additions in their place. As many of both became each
    other in order; of fewer or more each becomes the next one that is like it, unless there are too many to compare.
    """
    this, that = (old, new) if position in old else (new, old)
    inside = position - this.start
    if len(old) == len(new) or len(old) * len(new) > _MAX_COMPARED:
        return that[inside] if inside < len(that) else -1
    found = _mates(*(tuple(line for _, line in lines[side.start : side.stop]) for side in (old, new)))
    if this is old:
        return new[found[inside]] if found[inside] >= 0 else -1
    return old[found.index(inside)] if inside in found else -1


@lru_cache(maxsize=256)
def _mates(old: tuple[bytes, ...], new: tuple[bytes, ...]) -> tuple[int, ...]:
    """For each old line the index of the new one, or -1."""
    texts = [shown_part(line) for line in new]
    found: list[int] = []
    free = 0
    for line in old:
        text = shown_part(line)
        near = (at for at in range(free, len(new)) if text == texts[at] or any(changed_words(text, texts[at])))
        found.append(next(near, -1))
        free = max(free, found[-1] + 1)
    return tuple(found)


def _differences(left: list[str], right: list[str]) -> Iterator[tuple[str, int, int, int, int]]:
    found = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    return (opcode for opcode in found if opcode[0] != "equal")


def _columns(tokens: list[str], spans: list[tuple[int, int]]) -> Ranges:
    starts = list(accumulate(map(len, tokens), initial=0))
    return tuple((starts[start], starts[end]) for start, end in spans if start < end)


def _alike(first: list[str], second: list[str]) -> int:
    """How many tokens are the same from the first on."""
    pairs = zip(first, second, strict=False)
    return next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _length(tokens: list[str]) -> int:
    return sum(map(len, tokens))
