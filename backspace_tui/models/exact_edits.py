"""Edits that turn one text into another through a tool that replaces substrings. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """One call of ``edit_file``."""

    old: str
    new: str
    replace_all: bool


def plan_edits(text: str, change: Callable[[str], str]) -> list[Edit]:
    """Edits that, done in order, make ``change(text)`` of ``text``.

    ``change`` must work line by line: it keeps the number of lines, and what becomes of a line depends on that
    line alone. Each edit is one line where that is enough, so that line ends do not matter to it; where the line's
    text also stands inside other lines that must stay, lines around it are added.
    """
    edits: list[Edit] = []
    current, target = text.split("\n"), change(text).split("\n")
    if len(current) != len(target):
        raise ValueError("the change does not keep the lines")
    order = sorted(range(len(current)), key=lambda index: -len(current[index]))
    for index in order:
        if current[index] == target[index]:
            continue
        for around in range(len(current)):
            first, last = max(0, index - around), min(len(current), index + around + 1)
            block = slice(first, last)
            old, new = "\n".join(current[block]), "\n".join(target[block])
            whole = "\n".join(current)
            result = whole.replace(old, new).split("\n")
            if result[index] == target[index] and _towards(current, result, target):
                edits.append(Edit(old, new, whole.count(old) > 1))
                current = result
                break
    if current != target:
        raise ValueError("no edits lead there")
    return edits


def _towards(current: list[str], result: list[str], target: list[str]) -> bool:
    """Whether every line is as it was, or as it shall be."""
    return all(new in (old, wanted) for old, new, wanted in zip(current, result, target, strict=True))
