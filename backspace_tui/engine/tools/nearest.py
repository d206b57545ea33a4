"""What in a file is most like a text that does not stand in it, and where the two differ."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

SHOWN_LINES: Final = 12
WIDTH: Final = 200
_LOOKED_AT: Final = 200_000
_WORD: Final = re.compile(r"\w{2,40}")

Line = tuple[int, str]


class _Near(NamedTuple):
    score: float
    lines: Sequence[Line]


def difference(lines: Sequence[Line], old: str) -> str:
    """Where the lines that are most like ``old`` differ from it; empty where nothing is like it.

    ``lines`` are numbered and as the model was shown them. Blank lines and outer white space do not count.
    """
    solid = [(number, text) for number, text in lines[:_LOOKED_AT] if text.strip()]
    wanted = [line for line in old.split("\n") if line.strip()][:200]
    if not solid or not wanted:
        return ""
    near = max((_near(solid, wanted, at) for at in _starts(solid, wanted)), default=None, key=lambda one: one.score)
    if near is None or near.score < 0.5:
        return ""
    first, last = near.lines[0][0], near.lines[-1][0]
    where = f"line {first}" if first == last else f"lines {first}-{last}"
    differing = _differing(wanted, near.lines)
    return "\n".join([f"It is most like {where}, where this differs:", *differing]) if differing else ""


def _starts(lines: Sequence[Line], wanted: Sequence[str]) -> list[int]:
    """Where the wanted lines may begin: where most of them, or most words of the longest, stand."""
    places: dict[str, list[int]] = {}
    for at, (_, text) in enumerate(lines):
        places.setdefault(text.strip(), []).append(at)
    votes: Counter[int] = Counter()
    for number, line in enumerate(wanted):
        votes.update(max(0, at - number) for at in places.get(line.strip(), ())[:50])
    if votes:
        return [at for at, _ in votes.most_common(4)]
    longest = max(range(len(wanted)), key=lambda number: len(wanted[number]))
    words = set(_WORD.findall(wanted[longest][:WIDTH]))
    shared = Counter({at: len(words.intersection(_WORD.findall(text[:WIDTH]))) for at, (_, text) in enumerate(lines)})
    return [max(0, at - longest) for at, count in shared.most_common(8) if count]


def _near(lines: Sequence[Line], wanted: Sequence[str], at: int) -> _Near:
    window = lines[at : at + len(wanted)]
    pairs = zip(wanted, window, strict=False)
    ratios = [_ratio(one.strip()[:WIDTH], other.strip()[:WIDTH]) for one, (_, other) in pairs]
    return _Near(sum(ratios) / len(wanted), window)


def _ratio(one: str, other: str) -> float:
    # The quick one, since the real one takes the square of the length for lines of few different characters.
    return 1.0 if one == other else difflib.SequenceMatcher(None, one, other, autojunk=False).quick_ratio()


def _differing(wanted: Sequence[str], lines: Sequence[Line]) -> list[str]:
    texts = [text.strip() for _, text in lines]
    steps = difflib.SequenceMatcher(None, [line.strip() for line in wanted], texts, autojunk=False).get_opcodes()
    shown: list[str] = []
    for tag, start, end, first, last in steps:
        if tag != "equal":
            shown += [f"old:  {line[:WIDTH]}" for line in wanted[start:end]]
            shown += [f"file: {number}\t{text[:WIDTH]}" for number, text in lines[first:last]]
    more = len(shown) - SHOWN_LINES
    return [*shown[:SHOWN_LINES], f"({more} more)"] if more > 0 else shown
