"""Edits that rename a whole word in a text through a tool that replaces substrings. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """One call of ``edit_file``."""

    old: str
    new: str
    replace_all: bool


def rename(text: str, old: str, new: str) -> str:
    """``text`` with ``old`` replaced wherever it stands as a whole word."""
    return _word(old).sub(new, text)


@lru_cache(maxsize=128)
def plan_rename(text: str, old: str, new: str) -> tuple[Edit, ...]:
    """Edits that, done in order, make ``rename(text, old, new)`` of ``text``.

    The word alone where it stands nowhere inside another word; else the word with the characters around it; else
    lines, with as many neighbours as it takes. No edit ends in a line break if it can be helped, so that the kind
    of line end does not matter.
    """
    target = rename(text, old, new)
    edits: list[Edit] = []

    def edit(before: str, after: str, current: str) -> str:
        edits.append(Edit(before, after, _repeated(current, before)))
        return current.replace(before, after)

    if text == target:
        return ()
    if text.replace(old, new) == target:
        edit(old, new, text)
        return tuple(edits)
    current = text
    while found := _inner(current, old):
        # Both neighbours are no word characters, so this is a whole word wherever it stands.
        current = edit(found[0], found[0][0] + new + found[0][-1], current)
    _by_lines(current, target, edits)
    return tuple(edits)


def _word(old: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(old)}(?!\w)")


def _inner(text: str, old: str) -> re.Match[str] | None:
    return re.search(rf"[^\w]{re.escape(old)}[^\w\n]", text)


def _by_lines(text: str, wanted: str, edits: list[Edit]) -> None:
    current, target = text.split("\n"), wanted.split("\n")
    for index in sorted(range(len(current)), key=lambda index: -len(current[index])):
        around = 0
        while current[index] != target[index]:
            block = slice(max(0, index - around), index + around + 1)
            old, new = "\n".join(current[block]), "\n".join(target[block])
            whole = "\n".join(current)
            result = whole.replace(old, new).split("\n")
            if result[index] == target[index] and _towards(current, result, target):
                edits.append(Edit(old, new, _repeated(whole, old)))
                current = result
            # The whole text stands in itself once, so this ends.
            around += 1


def _repeated(text: str, part: str) -> bool:
    """Whether ``part`` stands in more than one place, overlapping ones too, as the tool counts them."""
    return text.find(part, text.find(part) + 1) >= 0


def _towards(current: list[str], result: list[str], target: list[str]) -> bool:
    """Whether every line is as it was, or as it shall be."""
    return all(new in (old, wanted) for old, new, wanted in zip(current, result, target, strict=True))
