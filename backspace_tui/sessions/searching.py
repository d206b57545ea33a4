"""Searching sessions: in their names, prompts and repositories, and in everything their logs say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backspace_tui.core.terminal_text import visible
from backspace_tui.sessions.codec import from_json
from backspace_tui.sessions.log import LOG_NAME
from backspace_tui.sessions.store import SessionInfo

_TEXTS: Final = frozenset({
    "text", "prompt", "repository", "title", "arguments", "path", "output", "command", "comment", "question", "options",
    "message", "reason", "detail", "body", "url", "branch", "lines", "tool_calls", "lint",
})  # fmt: skip
"""The fields of events that people read; the others are ids, hashes, times and numbers."""

_CHUNK: Final = 4 << 20
_AROUND: Final = 30


def search(
    sessions: Sequence[SessionInfo], text: str, stop: Callable[[], bool] = lambda: False
) -> Iterator[tuple[SessionInfo, str]]:
    """Those of ``sessions`` that hold ``text``, without regard to case, each with the line where it was found.

    ``stop`` is asked again and again; once it is true the search ends. Logs that cannot be read hold nothing.
    """
    for info in sessions:
        if stop():
            return
        found = mentions(info, text) or in_log(info.directory, text, stop)
        if found:
            yield info, found


def mentions(info: SessionInfo, text: str) -> str:
    """Where the id, name, prompt, repository or pull request of a session holds ``text``; empty where none does."""
    wanted = text.casefold()
    summary = info.summary
    facts = [info.title, info.id, info.repository]
    if summary is not None:
        facts += [summary.prompt, summary.branch, summary.request]
    return next((_around(fact, wanted) for fact in facts if wanted in fact.casefold()), "")


def in_log(directory: Path, text: str, stop: Callable[[], bool] = lambda: False) -> str:
    """The first place in a session's log that holds ``text``; empty where there is none."""
    wanted = text.casefold()
    # As JSON writes it. Lines that hold paths in another encoding escape everything that is not ASCII.
    escaped = msgspec.json.encode(text.encode("utf-8", "replace").decode())[1:-1].decode()
    pattern = re.compile(f"{re.escape(escaped)}|\\\\u", re.IGNORECASE)
    try:
        with (directory / LOG_NAME).open("rb") as file:
            rest = b""
            while chunk := file.read(_CHUNK):
                if stop():
                    return ""
                complete, _, rest = (rest + chunk).rpartition(b"\n")
                if found := _in_lines(complete, pattern, wanted):
                    return found
    except OSError:
        return ""
    return ""


def _in_lines(data: bytes, pattern: re.Pattern[str], wanted: str) -> str:
    text = data.decode("utf-8", "replace")
    at = 0
    while (match := pattern.search(text, at)) is not None:
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.end())
        end = len(text) if end < 0 else end
        if found := _in_event(text[start:end], wanted):
            return found
        at = end
    return ""


def _in_event(line: str, wanted: str) -> str:
    try:
        event: Any = from_json(line, dict[str, Any])
    except ValueError:
        return ""
    for string in _strings(event, shown=False):
        if wanted in string.casefold():
            return _around(string, wanted)
    return ""


def _strings(value: Any, *, shown: bool) -> Iterator[str]:
    if isinstance(value, str):
        if shown:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, shown=shown)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != "settings":
                yield from _strings(item, shown=shown or key in _TEXTS)


def _around(string: str, wanted: str) -> str:
    """The line of ``string`` that holds ``wanted``, cut to its surroundings and cleaned."""
    for line in string.splitlines():
        at = line.casefold().find(wanted)
        if at >= 0:
            start = max(0, at - _AROUND)
            return ("\N{HORIZONTAL ELLIPSIS}" if start else "") + visible(line[start : at + len(wanted) + 2 * _AROUND])
    return visible(string.splitlines()[0][: 2 * _AROUND]) if string.strip() else ""
