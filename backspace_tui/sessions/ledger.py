"""What the models cost over all sessions: ``ledger.jsonl`` in the data directory, one line for each call that cost.

Sessions may be deleted, the ledger stays. Every session's process appends to it. A line is known by its session and
the ``seq`` of its event, so that one that was written twice counts once, and one that is missing (its process died
between log and ledger) is written when the session goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.sessions.codec import from_json, to_json
from backspace_tui.sessions.errors import storage_error

LEDGER_NAME: Final = "ledger.jsonl"


class Entry(msgspec.Struct, frozen=True):
    """One call of a model: tokens, US dollars (``None``: the price is not known), and whether it was answered.

    ``tokens_cached`` of ``tokens_in`` came from the provider's cache. ``repository`` is a path or a URL.
    """

    session: str
    seq: int
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    repository: str
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    usd: float | None = None
    answered: bool = True


def entry(started: ev.SessionStarted, event: ev.AnyEvent) -> Entry | None:
    """What ``event`` is in the ledger: a reply, or a failed call that cost all the same; else ``None``.

    What came with a fork stands there already, as its source's.
    """
    if event.seq <= started.forked_at:
        return None
    match event:
        case ev.ModelReplied():
            cached = event.tokens_cached
        case ev.ModelFailed() if event.tokens_in or event.tokens_out or event.usd:
            cached = 0
        case _:
            return None
    return Entry(
        session=started.session,
        seq=event.seq,
        time=event.time,
        repository=started.repository,
        model=event.model,
        tokens_in=event.tokens_in,
        tokens_out=event.tokens_out,
        tokens_cached=cached,
        usd=event.usd,
        answered=isinstance(event, ev.ModelReplied),
    )


def read(path: Path) -> list[Entry]:
    """The calls in the ledger, each once, as they were written; lines that cannot be read are left out.

    Raises:
        SessionError: the file cannot be read; that there is none is no error.
    """
    found: dict[tuple[str, int], Entry] = {}
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, path) from error
    for line in data.split(b"\n"):
        # A line without its end is still being written, or will never be.
        with contextlib.suppress(ValueError):
            item: Entry = from_json(line, Entry)
            found.setdefault((item.session, item.seq), item)
    return list(found.values())


class Ledger:
    """One session's hand in the ledger. That it cannot be written never ends a session: its own log has it all."""

    def __init__(self, path: Path, started: ev.SessionStarted) -> None:
        self._path = path
        self._started = started

    @classmethod
    def beside(cls, directory: Path, started: ev.SessionStarted) -> Ledger:
        """The ledger of the data directory that holds the session ``directory``."""
        return cls(directory.parent.parent / LEDGER_NAME, started)

    def add(self, event: ev.AnyEvent) -> None:
        """Write down what ``event`` cost, if anything."""
        self.add_all((event,))

    def catch_up(self, events: Iterable[ev.AnyEvent]) -> None:
        """Write down those of the session's ``events`` that are missing."""
        costly = [event for event in events if entry(self._started, event) is not None]
        if not costly:
            return
        with _saying(self._path):
            there = {item.seq for item in read(self._path) if item.session == self._started.session}
            self.add_all(event for event in costly if event.seq not in there)

    def add_all(self, events: Iterable[ev.AnyEvent]) -> None:
        """Write down what ``events`` cost, all with one write."""
        entries = [item for event in events if (item := entry(self._started, event)) is not None]
        if entries:
            with _saying(self._path):
                _append(self._path, b"".join(to_json(item) + b"\n" for item in entries))


@contextlib.contextmanager
def _saying(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as problem:
        print(f"the ledger {path} could not be written: {problem}", file=sys.stderr, flush=True)


def _append(path: Path, data: bytes) -> None:
    """Append whole lines, or nothing; a torn last line of somebody who died is ended first."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
