"""Units of decision: a hunk, some of its change blocks, or single lines, each named by one string.

``ID`` is a whole hunk, ``ID/2`` its second change block (``ID/1-2,4`` several), ``ID:3-5,8`` lines by their position
in the hunk's ``lines``. Everything counts from 1. Only hunks of kind ``text`` have parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from backspace_tui.core.hunks import Hunk

_NAME: Final = re.compile(r"([0-9a-f]+(?:-[0-9]+)?)(|[:/][0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)")


class Unit(NamedTuple):
    """``part`` is empty for the whole hunk, else its ``/...`` or ``:...``."""

    hunk: str
    part: str


def parse(name: str) -> Unit:
    """The unit that ``name`` names; whether it exists is another question.

    Raises:
        ValueError: it is no unit's name; the text is one line.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name[:80]!r} names no unit: give a hunk's ID, blocks as ID/2 or lines as ID:3-5,8")
    return Unit(found[1], found[2])


def stem(hunk: str) -> str:
    """What the ids of all hunks with the same path and lines begin with."""
    return hunk.partition("-")[0]


def blocks(hunk: Hunk) -> tuple[range, ...]:
    """The positions of each change block, a maximal run of changed lines."""
    found: list[range] = []
    for position, (sign, _) in enumerate(hunk.lines, start=1):
        if sign == " ":
            continue
        if found and found[-1].stop == position:
            found[-1] = range(found[-1].start, position + 1)
        else:
            found.append(range(position, position + 1))
    return tuple(found)


def changed(hunk: Hunk) -> frozenset[int]:
    """The positions of all changed lines of a ``text`` hunk."""
    return frozenset(position for position, (sign, _) in enumerate(hunk.lines, start=1) if sign != " ")


def positions(hunk: Hunk, part: str) -> frozenset[int]:
    """The positions of the changed lines that ``part`` names; empty for a hunk of another kind than ``text``.

    Raises:
        ValueError: the hunk has no such part; the text is one line.
    """
    if hunk.kind != "text":
        if part:
            raise ValueError(f"hunk {hunk.id} ({hunk.kind}) is taken or left as a whole: name it without {part}")
        return frozenset()
    if not part:
        return changed(hunk)
    if part[0] == "/":
        offered = blocks(hunk)
        numbers = _numbers(part[1:], len(offered), f"hunk {hunk.id} has {len(offered)} change blocks, not {part}")
        return frozenset(position for number in numbers for position in offered[number - 1])
    numbers = _numbers(part[1:], len(hunk.lines), f"hunk {hunk.id} has {len(hunk.lines)} lines, not {part}")
    named = frozenset(number for number in numbers if hunk.lines[number - 1][0] != " ")
    if not named:
        raise ValueError(f"hunk {hunk.id} has no changed line at {part}: it names context alone")
    return named


def chosen(hunk: Hunk, named: Iterable[int]) -> tuple[frozenset[int], frozenset[int]]:
    """The old line numbers of the named deletions and the new ones of the named additions, for ``stage``."""
    wanted = frozenset(named)
    deletions: set[int] = set()
    additions: set[int] = set()
    old, new = hunk.old_start, hunk.new_start
    for position, (sign, _) in enumerate(hunk.lines, start=1):
        if position in wanted and sign == "-":
            deletions.add(old)
        elif position in wanted and sign == "+":
            additions.add(new)
        old += sign != "+"
        new += sign != "-"
    return frozenset(deletions), frozenset(additions)


def at(hunk: Hunk, deletions: frozenset[int], additions: frozenset[int]) -> frozenset[int]:
    """The positions of these lines in the hunk; lines of other hunks are left out. The inverse of :func:`chosen`."""
    if deletions.isdisjoint(hunk.deletions) and additions.isdisjoint(hunk.additions):
        return frozenset()
    found: set[int] = set()
    old, new = hunk.old_start, hunk.new_start
    for position, (sign, _) in enumerate(hunk.lines, start=1):
        if (sign == "-" and old in deletions) or (sign == "+" and new in additions):
            found.add(position)
        old += sign != "+"
        new += sign != "-"
    return frozenset(found)


def shown_lines(hunk: Hunk, named: Iterable[int] | None = None) -> tuple[str, ...]:
    """The changed lines, or those at these positions, as text with their sign: what a decision's event keeps."""
    wanted = None if named is None or hunk.kind != "text" else frozenset(named)
    return tuple(
        sign + line.decode("utf-8", "replace")
        for position, (sign, line) in enumerate(hunk.lines, start=1)
        if sign != " " and (wanted is None or position in wanted)
    )


def part_of(hunk: Hunk, named: Iterable[int]) -> str:
    """The shortest spelling of these positions: empty where they are the whole hunk, blocks where they are blocks."""
    wanted = frozenset(named)
    if hunk.kind != "text" or wanted == changed(hunk):
        return ""
    whole = {number: len(block) for number, block in enumerate(blocks(hunk), start=1) if wanted.issuperset(block)}
    if sum(whole.values()) == len(wanted):
        return "/" + _spell(list(whole))
    return ":" + _spell(sorted(wanted))


def _numbers(text: str, greatest: int, refusal: str) -> list[int]:
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        start, end = int(first), int(last or first)
        if not 1 <= start <= end <= greatest:
            raise ValueError(refusal)
        found.extend(range(start, end + 1))
    return found


def _spell(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] + 1 == number:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
