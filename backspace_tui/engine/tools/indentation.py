"""How lines are indented that were written for another indentation than the file's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import gcd


def indent_of(line: str) -> str:
    """The spaces and tabs that a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


class Indentation:
    """From the indentation of given lines to that of the file's, as far as matching lines tell.

    ``pairs`` holds the indentation of each given line and of the file's line that it stands for, ``fresh`` the lines to
    be indented, ``near`` the file's lines around the place.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]], fresh: Sequence[str], near: Sequence[str]) -> None:
        self._pairs = list(dict.fromkeys(pairs))
        self._known: dict[str, set[str]] = {}
        for given, actual in pairs:
            self._known.setdefault(given, set()).add(actual)
        self._given = {indent_of(line) for line in fresh if line.strip()} | set(self._known)
        self._step = _step(near)

    def of(self, indent: str) -> str | None:
        """What stands for ``indent`` in the file; ``None`` where that cannot be told."""
        if all(given == actual for given, actual in self._pairs):
            return indent
        if indent in self._known:
            found = self._known[indent]
            return next(iter(found)) if len(found) == 1 else None
        given, actual = ("".join(part) for part in (self._given, [actual for _, actual in self._pairs]))
        if _made_of(given, " ") and _made_of(actual, "\t"):
            return self._tabs(indent)
        if _made_of(given, "\t") and _made_of(actual, " ") and self._step:
            return _scaled(indent, self._pairs, 1, self._step, " " * self._step)
        return self._shifted(indent)

    def _shifted(self, indent: str) -> str | None:
        """The same difference as the matching lines have, where that is a likely depth."""
        given, actual = self._pairs[0]
        if actual.endswith(given):
            more = actual[: len(actual) - len(given)]
            same = all(actual == more + given for given, actual in self._pairs)
            found = more + indent
        else:
            less = given[: len(given) - len(actual)]
            same = all(given == less + actual for given, actual in self._pairs) and indent.startswith(less)
            found = indent[len(less) :]
        mixed = " " in found and "\t" in found
        odd = "\t" not in found and self._step and len(found) % self._step
        return found if same and not mixed and not odd else None

    def _tabs(self, indent: str) -> str | None:
        """Tabs for spaces: as many to a tab as make the depths the same, or as all that fit agree on."""
        results: list[str] = []
        for unit in self._units():
            found = _scaled(indent, self._pairs, unit, 1, "\t")
            if found is None:
                continue
            if unit == self._units()[0] and _scaled("", self._pairs, unit, 1, "\t") == "":
                return found
            results.append(found)
        return results[0] if len(set(results)) == 1 else None

    def _units(self) -> list[int]:
        """How many spaces one level may have, the most likely first."""
        widths = [len(indent) for indent in self._given if indent]
        common = gcd(*widths)
        # From no indentation the first step is one level, where it is no wider than levels mostly are.
        others = () if "" in self._known and common <= 4 else (4, 2, 8)
        return [unit for unit in dict.fromkeys((common, *others)) if all(width % unit == 0 for width in widths)]


def _made_of(indents: str, char: str) -> bool:
    return bool(indents) and not indents.strip(char)


def _scaled(indent: str, pairs: Sequence[tuple[str, str]], unit: int, actual_unit: int, to: str) -> str | None:
    """``indent`` in levels of ``unit`` characters, ``to`` for each, and as much deeper as the matching lines are."""
    if any(len(actual) % actual_unit for _, actual in pairs):
        return None
    offsets = {len(actual) // actual_unit - len(given) // unit for given, actual in pairs}
    level = len(indent) // unit + next(iter(offsets))
    return to * level if len(offsets) == 1 and level >= 0 else None


def _step(lines: Sequence[str]) -> int:
    """By how many spaces the lines mostly go deeper; 0 where none do."""
    widths: Iterator[int] = (len(indent) for line in lines if line.strip() and "\t" not in (indent := indent_of(line)))
    steps: Counter[int] = Counter(deeper - width for width, deeper in pairwise(widths) if deeper > width)
    return steps.most_common(1)[0][0] if steps else 0
