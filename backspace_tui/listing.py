"""The sessions on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from backspace_tui import headless
from backspace_tui.core import events as ev
from backspace_tui.core.terminal_text import clean
from backspace_tui.sessions import store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events


def sessions(action: str, name: str, new_name: str, *, as_json: bool) -> int:
    """``backspace-tui sessions``."""
    match action:
        case "list":
            _list(as_json=as_json)
        case "show":
            _show(store.find(name), as_json=as_json)
        case "rename":
            if not new_name.strip():
                raise SessionError("give the new name: backspace-tui sessions rename ID NAME", 2)
            store.rename(store.find(name), new_name)
        case "delete":
            store.remove(store.find(name))
    return 0


def _list(*, as_json: bool) -> None:
    found = store.list_sessions()
    if as_json:
        rows = [
            {
                "id": item.id, "title": item.title, "name": item.name, "repository": item.repository,
                "status": item.status, "running": item.running, "created": item.created.isoformat(),
                "updated": item.updated.isoformat(), "directory": str(item.directory),
                "forked_from": item.forked_from, "forked_at": item.forked_at,
            }
            for item in found
        ]  # fmt: skip
        print(json.dumps(rows))
        return
    if not found:
        print("no sessions yet")
    for item in found:
        status = "running" if item.running else item.status
        print(f"{item.id}  {status:<8}  {clean(item.name or item.title)[:60]}  {clean(item.repository)}")


def _show(directory: Path, *, as_json: bool) -> None:
    teller = headless.Teller()
    for event in read_events(directory):
        if as_json:
            headless.print_json(event)
        elif line := teller.see(event):
            print(f"{line}  (step {event.seq})" if isinstance(event, ev.FileEdit) else line)
