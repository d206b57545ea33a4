"""What the models cost over all sessions, for each model and each repository."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import date, datetime

import msgspec
from msgspec.structs import replace

from backspace_tui import paths
from backspace_tui.core.spending import money
from backspace_tui.core.terminal_text import visible
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.ledger import LEDGER_NAME, Entry, read


class Sum(msgspec.Struct, frozen=True):
    """What several calls cost together. ``failed`` of ``calls`` were not answered; ``usd`` leaves out ``unpriced``."""

    calls: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    usd: float = 0.0
    unpriced: int = 0


def total(entries: Iterable[Entry]) -> Sum:
    """The sum of all ``entries``."""
    result = Sum()
    for entry in entries:
        result = replace(
            result,
            calls=result.calls + 1,
            failed=result.failed + (not entry.answered),
            tokens_in=result.tokens_in + entry.tokens_in,
            tokens_out=result.tokens_out + entry.tokens_out,
            tokens_cached=result.tokens_cached + entry.tokens_cached,
            usd=result.usd + (entry.usd or 0.0),
            unpriced=result.unpriced + (entry.usd is None),
        )
    return result


def grouped(entries: Iterable[Entry], key: Callable[[Entry], str]) -> list[tuple[str, Sum]]:
    """A sum for each value of ``key``, the dearest first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    sums = [(name, total(members)) for name, members in groups.items()]
    return sorted(sums, key=lambda item: (-item[1].usd, -item[1].tokens_in - item[1].tokens_out, item[0]))


def since(text: str) -> datetime:
    """The moment that a day (from its beginning, local time) or a time names.

    Raises:
        SessionError: it is neither (exit code 2).
    """
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        raise SessionError(f"--since takes a day such as {date.today().isoformat()}, not {text!r}", 2) from None
    return named if named.tzinfo is not None else named.astimezone()


def run(*, after: str, as_json: bool) -> int:
    """``backspace-tui costs``."""
    start = since(after) if after else None
    entries = [entry for entry in read(paths.data_dir() / LEDGER_NAME) if start is None or entry.time >= start]
    models = grouped(entries, lambda entry: entry.model)
    repositories = grouped(entries, lambda entry: entry.repository)
    if as_json:
        shown = {
            "since": start.isoformat() if start else None,
            "total": msgspec.to_builtins(total(entries)),
            "models": [{"model": name, **msgspec.to_builtins(group)} for name, group in models],
            "repositories": [{"repository": name, **msgspec.to_builtins(group)} for name, group in repositories],
        }
        print(json.dumps(shown))
    elif not entries:
        print("no model has cost anything" + (f" since {after}" if after else " yet"))
    else:
        _print(models, repositories, total(entries))
    return 0


def _print(models: list[tuple[str, Sum]], repositories: list[tuple[str, Sum]], everything: Sum) -> None:
    head = ("calls", "tokens in", "cached", "tokens out", "dollars", "unpriced")
    sections = [
        ("model", [(visible(name), _cells(group)) for name, group in models]),
        ("repository", [(visible(name), _cells(group)) for name, group in repositories]),
        ("", [("total", _cells(everything))]),
    ]
    rows = [row for _, section in sections for row in section]
    first = max(len(name) for name in ("repository", *(name for name, _ in rows)))
    widths = [max(len(cells[n]) for cells in (head, *(cells for _, cells in rows))) for n in range(len(head))]

    def line(name: str, cells: tuple[str, ...]) -> str:
        return f"{name:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))

    for title, section in sections:
        if title:
            print(line(title, head))
        for name, cells in section:
            print(line(name, cells))
        if title:
            print()


def _cells(group: Sum) -> tuple[str, ...]:
    calls = f"{group.calls:,}" + (f" ({group.failed:,} failed)" if group.failed else "")
    tokens = (f"{group.tokens_in:,}", f"{group.tokens_cached:,}", f"{group.tokens_out:,}")
    return calls, *tokens, money(group.usd), f"{group.unpriced:,}"
