"""The right bytes, worked out naively from what git prints and rule R. Nothing here is the program's own code.

Lines are named as in a hunk: by the number of the hunk in the diff and by the line's position in it, both from 1.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

Chosen = Callable[[int, int], bool]


class Line(NamedTuple):
    """One line of a diff: its sign, its hunk and its position there."""

    sign: str
    hunk: int
    position: int


def git_diff(repository: Path, old: bytes, new: bytes) -> bytes:
    """The body of what ``git diff`` prints for two contents: three lines of context, histogram, everything text."""
    names = [_store(repository, data) for data in (old, new)]
    return _git(repository, "diff", "--no-color", "--text", "-U3", "--histogram", "--full-index", *names)


def read(diff: bytes) -> list[tuple[int, list[Line]]]:
    """The hunks of a diff: the number of the first old line from 0, and the lines."""
    found: list[tuple[int, list[Line]]] = []
    left_old = left_new = 0
    for raw in diff.split(b"\n"):
        if left_old or left_new:
            sign = raw[:1].decode() or " "
            if sign == "\\":
                continue
            left_old -= sign in " -"
            left_new -= sign in " +"
            found[-1][1].append(Line(sign, len(found), len(found[-1][1]) + 1))
        elif raw.startswith(b"@@ "):
            old, new = (part[1:].split(b",") for part in raw.split(b" ")[1:3])
            left_old, left_new = (int(part[1]) if len(part) > 1 else 1 for part in (old, new))
            found.append((int(old[0]) - (1 if left_old else 0), []))
    return found


def stage(old: bytes, new: bytes, diff: bytes, chosen: Chosen) -> bytes:
    """``old`` with the chosen lines of ``diff``, by rule R."""
    before, after = _lines(old), _lines(new)
    out: list[bytes] = []
    at_old = at_new = 0
    for start, shown in read(diff):
        while at_old < start:
            out.append(before[at_old])
            at_old += 1
            at_new += 1
        index = 0
        while index < len(shown):
            if shown[index].sign == " ":
                out.append(before[at_old])
                at_old, at_new, index = at_old + 1, at_new + 1, index + 1
                continue
            deleted: list[tuple[bytes, bool]] = []
            added: list[tuple[bytes, bool]] = []
            while index < len(shown) and shown[index].sign != " ":
                line = shown[index]
                if line.sign == "-":
                    deleted.append((before[at_old], chosen(line.hunk, line.position)))
                    at_old += 1
                else:
                    added.append((after[at_new], chosen(line.hunk, line.position)))
                    at_new += 1
                index += 1
            out += _block(deleted, added)
    out += before[at_old:]
    return _joined(out, old, new)


def _block(deleted: list[tuple[bytes, bool]], added: list[tuple[bytes, bool]]) -> list[bytes]:
    """Kept deletions in order; the i-th run of chosen additions stands where the i-th run of chosen deletions was."""
    runs = _runs(added)
    gaps = len(_runs(deleted))
    out: list[bytes] = []
    filled = 0
    for index, (line, taken) in enumerate(deleted):
        if not taken:
            out.append(line)
        elif index + 1 == len(deleted) or not deleted[index + 1][1]:
            filled += 1
            here = runs[filled - 1 :] if filled == gaps else runs[filled - 1 : filled]
            out += [new for run in here for new in run]
    return out if gaps else out + [new for run in runs for new in run]


def _runs(items: Iterable[tuple[bytes, bool]]) -> list[list[bytes]]:
    runs: list[list[bytes]] = []
    inside = False
    for line, taken in items:
        if taken and not inside:
            runs.append([])
        if taken:
            runs[-1].append(line)
        inside = taken
    return runs


def _joined(out: list[bytes], old: bytes, new: bytes) -> bytes:
    end = _ending(old) or _ending(new) or b"\n"
    return b"".join(
        line if line.endswith(b"\n") or index == len(out) - 1 else line + end for index, line in enumerate(out)
    )


def _ending(data: bytes) -> bytes:
    lines = data.split(b"\n")[:-1]
    windows = sum(line.endswith(b"\r") for line in lines)
    if 2 * windows == len(lines):
        return b""
    return b"\r\n" if 2 * windows > len(lines) else b"\n"


def _lines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _store(repository: Path, data: bytes) -> str:
    return _git(repository, "hash-object", "-w", "--stdin", "--no-filters", data=data).decode().strip()


def _git(repository: Path, *arguments: str, data: bytes = b"") -> bytes:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_DIR": str(repository), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *arguments], input=data, env=env, check=True, capture_output=True).stdout
