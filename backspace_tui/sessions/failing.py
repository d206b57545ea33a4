"""What a failing test run says of each path under review."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import clean

MOST: Final = 12
"""Lines of output for one path."""

FAILURES: Final = frozenset({"newly fails", "fails as before"})
_SENT: Final = 6000
"""Characters of output that the agent is sent."""
_AROUND: Final = 8
_WIDTH: Final = 300
_ERROR: Final = re.compile(r"E\s|E$|\s*(?:[\w.]+\.)?\w*(?:Error|Exception|Failure|Warning)\b[:\s]|(?:error|panic)\b")
_RULE: Final = re.compile(r"[=_\-*]{3}|(?:_ ){3}")
_TAIL: Final = r"(?![\w/-])(?!\.\w)"


def failing(verification: ev.Verification | None, paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The lines of a failing run's output that name each path, with the error lines beside them, in their order.

    A path is named by all of it, alone or below ``/workspace``. At most twelve lines a path; a path that is not
    named is not in the result, and a run that passed names none.
    """
    if verification is None or verification.verdict not in FAILURES:
        return {}
    output = clean(verification.output)
    lines = output.split("\n")
    found = {}
    for path in paths:
        shown = clean(path)
        if shown and shown in output and (named := _lines(lines, shown)):
            found[path] = named
    return found


def newest(state: SessionState) -> ev.Verification | None:
    """The verdict on what is accepted now, else the last one there is: then its ``tree`` is another."""
    return state.verdict or max(state.verdicts.values(), key=lambda verdict: verdict.seq, default=None)


def request(verification: ev.Verification) -> str:
    """What the agent is told of tests that fail with what is accepted."""
    output = clean(verification.output).strip("\n")
    if len(output) > _SENT:
        output = "...\n" + output[-_SENT:].partition("\n")[2]
    code = "" if verification.exit_code is None else f", exit {verification.exit_code}"
    # Quoted line by line, so that nothing in it can pass for the user's own words.
    output = "\n".join(f"> {line}" for line in output.split("\n"))
    return (
        "The tests fail on what I have accepted of your changes. Find out why, and mend it.\n\n"
        f"$ {clean(verification.command)}   ({verification.verdict}{code})\n{output}"
    )


def numbers(lines: Iterable[str], path: str) -> frozenset[int]:
    """The numbers of lines of ``path`` that these lines of output name."""
    spelled = re.escape(clean(path))
    pattern = re.compile(rf'{spelled}(?::|", line |\()(\d{{1,9}})')
    return frozenset(int(number) for line in lines for number in pattern.findall(line))


def _lines(lines: list[str], path: str) -> tuple[str, ...]:
    pattern = re.compile(rf"(?:^|/workspace/|[^\w/.-]|(?:^|[^\w/.-])\./){re.escape(path)}{_TAIL}")
    wanted: set[int] = set()
    texts: set[str] = set()
    for index, line in enumerate(lines):
        if path not in line or not pattern.search(line):
            continue
        for near in (*_errors_before(lines, index), index, *_errors_after(lines, index, path)):
            text = lines[near].strip()
            if near == index and text in texts:
                break
            if near not in wanted and len(wanted) < MOST:
                wanted.add(near)
                texts.add(text)
        if len(wanted) >= MOST:
            break
    return tuple(lines[index].rstrip()[:_WIDTH] for index in sorted(wanted))


def _errors_before(lines: list[str], index: int) -> list[int]:
    """The error lines right above, as pytest prints them before the place; blank lines between do not count."""
    found: list[int] = []
    for near in range(index - 1, max(-1, index - 1 - _AROUND), -1):
        if lines[near].startswith("E") and _ERROR.match(lines[near]):
            found.append(near)
        elif lines[near].strip():
            break
    return found[::-1]


def _errors_after(lines: list[str], index: int, path: str) -> list[int]:
    """The error lines of the traceback that goes on here."""
    found: list[int] = []
    for near in range(index + 1, min(len(lines), index + 1 + _AROUND)):
        line = lines[near]
        error = bool(_ERROR.match(line))
        if not line.strip() or _RULE.match(line) or path in line or (found and not error):
            break
        if error:
            found.append(near)
    return found
