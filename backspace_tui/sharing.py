"""``backspace-tui sessions export`` and ``import``: a session as a file, and a file as a session."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.core.terminal_text import visible
from backspace_tui.sessions import store
from backspace_tui.sessions.errors import SessionError, storage_error
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects

FORMATS: Final = {"markdown": "md", "html": "html", "cast": "cast", "jsonl": "jsonl"}
"""The formats, and how the names of their files end."""


def export(name: str, kind: str, output: str, *, force: bool) -> int:
    """Write the session as ``kind`` into the file ``output`` (``-``: standard output; empty: named by its id, here).

    Raises:
        SessionError: it cannot be read or written, or the file is there and not ``force``.
    """
    directory = store.find(name)
    chunks = _chunks(directory, kind)
    if output == "-":
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return 0
    target = Path(output or f"{directory.name}.{FORMATS[kind]}")
    _write(target, chunks, force=force)
    print(visible(os.fspath(target)))
    return 0


def import_(file: str) -> int:
    """Make a session of the file, and print its id.

    Raises:
        SessionError: the file is no export, or was damaged.
    """
    from backspace_tui.sessions.importing import import_session

    print(import_session(Path(file)).name)
    return 0


def _chunks(directory: Path, kind: str) -> Iterator[bytes]:
    events = read_events(directory)
    redactor = _redactor(directory, events)
    if kind == "jsonl":
        from backspace_tui.sessions.export.bundle import export_lines

        yield from export_lines(directory, redactor.redact)
        return
    if not events:
        raise SessionError(f"session {directory.name} has no event yet: there is nothing to export")
    name = store.info(directory).title
    with Objects(directory / "repo.git") as objects:
        if kind == "cast":
            from backspace_tui.headless import Teller
            from backspace_tui.sessions.export.cast import cast

            yield from (_encoded(line) for line in cast(name, events, Teller().see, redactor))
        elif kind == "html":
            from backspace_tui.sessions.export.html import html

            yield _encoded(html(directory.name, name, events, objects, redactor))
        else:
            from backspace_tui.sessions.export.markdown import markdown

            yield _encoded(markdown(directory.name, events, objects, redactor))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _redactor(directory: Path, events: Sequence[ev.AnyEvent]) -> Redactor:
    """Masks as the session itself does, and whatever is secret in this environment."""
    from backspace_tui.config import secrets as known

    first = events[0] if events else None
    salt = (first.masks or first.session) if isinstance(first, ev.SessionStarted) else directory.name
    return Redactor(known(), salt=salt.encode())


def _write(target: Path, chunks: Iterable[bytes], *, force: bool) -> None:
    """All of it under its name, for its owner alone, or nothing."""
    shown = visible(os.fspath(target))
    if target.is_dir():
        raise SessionError(f"{shown} is a folder: give the name of a file", 2)
    if not force and os.path.lexists(target):
        raise SessionError(f"{shown} is there already: --force replaces it, -o names another file", 2)
    temporary = target.with_name(f".{target.name[:100]}-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            if force:
                temporary.replace(target)
            else:
                # Unlike a rename it never replaces what has come meanwhile.
                os.link(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    except FileExistsError:
        raise SessionError(f"{shown} is there already: --force replaces it, -o names another file", 2) from None
    except FileNotFoundError:
        raise SessionError(f"{shown} cannot be written: its folder does not exist", 2) from None
    except PermissionError:
        raise SessionError(f"{shown} cannot be written: choose another place with -o", 2) from None
    except OSError as error:
        raise storage_error(error, target) from error
