"""The sessions on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec

from backspace_tui import headless
from backspace_tui.core import events as ev
from backspace_tui.core.terminal_text import clean
from backspace_tui.sessions import searching, store, table
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events


def sessions(action: str, name: str, new_name: str, *, as_json: bool) -> int:
    """``backspace-tui sessions ACTION``."""
    match action:
        case "show":
            _show(store.find(name), as_json=as_json)
        case "rename":
            if not new_name.strip():
                raise SessionError("give the new name: backspace-tui sessions rename ID NAME", 2)
            store.rename(store.find(name), new_name)
        case "delete":
            store.remove(store.find(name))
    return 0


def listed(*, search: str, as_json: bool) -> int:
    """``backspace-tui sessions``: one line for each, as wide as the terminal, or all that is known as JSON."""
    everything = store.list_sessions()
    found = [(item, "") for item in everything]
    if search:
        found = list(searching.search(everything, search))
    if as_json:
        print(json.dumps([_as_json(item, where) for item, where in found]))
        return 0
    if not found:
        print(f"no session holds {clean(search)!r}" if search and everything else "no sessions yet")
        return 0
    rows = [table.row(item) for item, _ in found]
    in_terminal = sys.stdout.isatty()
    columns = table.fit(rows, shutil.get_terminal_size().columns if in_terminal else None, header=in_terminal)
    if in_terminal:
        print(columns.line(table.HEADER))
    for cells, (_, where) in zip(rows, found, strict=True):
        print(columns.line(cells))
        if where and where not in cells:
            print(f"    {where}")
    return 0


def _as_json(item: store.SessionInfo, where: str) -> dict[str, Any]:
    facts = {
        "id": item.id, "title": item.title, "name": item.name, "repository": item.repository,
        "status": item.status, "running": item.running, "created": item.created.isoformat(),
        "updated": item.updated.isoformat(), "directory": str(item.directory),
        "forked_from": item.forked_from, "forked_at": item.forked_at,
    }  # fmt: skip
    if item.summary is not None:
        more = msgspec.to_builtins(item.summary)
        facts |= {name: value for name, value in more.items() if name not in facts}
    if where:
        facts["found"] = where
    return facts


def _show(directory: Path, *, as_json: bool) -> None:
    teller = headless.Teller()
    for event in read_events(directory):
        if as_json:
            headless.print_json(event)
        elif line := teller.see(event):
            print(f"{line}  (step {event.seq})" if isinstance(event, ev.FileEdit) else line)
