"""A session's log: ``events.jsonl``, append-only, one writer, any number of readers.

The first line names the format, every other line is one event. A line counts only when it is complete, so a writer
that dies in the middle of one loses that line and no other. Events that belong together are written at once, and all
but the last of them end in a space: they count only with the last.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.stages import STAGES
from backspace_tui.sessions.codec import from_json, plain_json, to_json
from backspace_tui.sessions.errors import SessionError, storage_error
from backspace_tui.sessions.past import Past

__all__ = [
    "FORMAT",
    "LOG_NAME",
    "EventLog",
    "LogTail",
    "SessionError",
    "decode",
    "encode",
    "parse",
    "read_events",
    "read_log",
]

FORMAT: Final[dict[str, Any]] = {"format": "backspace-tui-session", "version": ev.SCHEMA_VERSION}
"""The first line of every log."""

LOG_NAME: Final = "events.jsonl"

_HEADER: Final = to_json(FORMAT) + b"\n"

_MORE: Final = b" "

# A power failure may cost these lines; losing one costs no decision and no work that was paid for.
_NOT_SYNCED: Final = (ev.AgentThinking, ev.ToolOutput, ev.ToolStarted, ev.ModelCalled, ev.ModelFailed, ev.FileEdit)

_DECODER: Final = msgspec.json.Decoder(ev.AnyEvent)


def encode(event: ev.AnyEvent) -> bytes:
    """``event`` as one line of JSON, without its line feed."""
    if isinstance(event, ev.Unknown) and event.raw:
        return to_json(event.raw)
    return to_json(event)


def decode(line: bytes) -> ev.AnyEvent:
    """The event in ``line``; what this version does not know comes back as :class:`~backspace_tui.core.events.Unknown`.

    Raises:
        ValueError: the line is not a JSON object with a type and a sequence number.
    """
    try:
        event: ev.AnyEvent = _DECODER.decode(line)
    except msgspec.ValidationError:
        return _unknown(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            event = from_json(line, ev.AnyEvent)
        except msgspec.ValidationError:
            return _unknown(line)
    return _unknown(line) if isinstance(event, ev.Unknown) else event


def _unknown(line: bytes) -> ev.Unknown:
    try:
        raw: dict[str, Any] = from_json(line, dict[str, Any])
    except msgspec.ValidationError as error:
        raise ValueError("not an event") from error
    seq, kind = raw.get("seq"), raw.get("type")
    if not isinstance(seq, int) or not isinstance(kind, str):
        raise ValueError("not an event")
    attempt, stage = raw.get("attempt"), raw.get("stage")
    try:
        time = msgspec.convert(raw.get("time"), type=datetime)
    except msgspec.ValidationError:
        time = ev.EPOCH
    return ev.Unknown(
        seq=seq,
        time=time if time.tzinfo else time.replace(tzinfo=UTC),
        stage=stage if stage in STAGES else "prepare",
        attempt=attempt if isinstance(attempt, int) else 1,
        raw=raw,
    )


class _BadHeader(ValueError):
    """The first line is complete and not ours."""


def _check_header(line: bytes) -> None:
    """Raises SessionError for a newer format, _BadHeader for something else."""
    try:
        header = plain_json(line)
    except ValueError as error:
        raise _BadHeader("not a session log") from error
    version = header.get("version") if isinstance(header, dict) else None
    if not isinstance(header, dict) or header.get("format") != FORMAT["format"] or not isinstance(version, int):
        raise _BadHeader("not a session log")
    if version > ev.SCHEMA_VERSION:
        raise SessionError(
            f"the session was written by a newer backspace-tui (log format {version}, known: {ev.SCHEMA_VERSION}):"
            " upgrade backspace-tui to open it"
        )


def _parse_whole(data: bytes, *, header: bool) -> list[ev.AnyEvent] | None:
    """The events of a log in which every line is a plain and known one, at several times the speed; else ``None``."""
    *lines, _ = data.split(b"\n")
    if not lines or lines[-1].endswith(_MORE) or (header and lines[0] != _HEADER[:-1]):
        return None
    read = _DECODER.decode
    try:
        events: list[ev.AnyEvent] = [read(line) for line in (lines[1:] if header else lines)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if any(type(event) is ev.Unknown or event.seq < 1 for event in events) else events


def parse(data: bytes, name: str = LOG_NAME, *, header: bool = True, before: int = 0) -> tuple[list[ev.AnyEvent], int]:
    """The events at the start of ``data`` and the length in bytes of the part that holds them.

    ``name`` is the file's, for people, and ``before`` how many of its lines stand in front of ``data``.

    What follows the last good line and holds no good line itself is a torn tail: not part of that length. Neither are
    events whose companions are missing.

    Raises:
        SessionError: not a session log, a newer format, or damage in front of good lines.
    """
    if (whole := _parse_whole(data, header=header)) is not None:
        return whole, data.rfind(b"\n") + 1
    events: list[ev.AnyEvent] = []
    good = position = complete = 0
    bad_line = 0
    number = 0
    while (end := data.find(b"\n", position)) >= 0:
        line = data[position:end]
        position = end + 1
        number += 1
        try:
            if header and number == 1:
                _check_header(line)
            else:
                event = decode(line)
                if event.seq < 1:
                    raise ValueError("not an event")
                events.append(event)
        except _BadHeader:
            # A power failure leaves the beginning of the line and zeros.
            if not _HEADER.startswith(line.rstrip(b"\0")):
                raise SessionError(f"{name} is not the log of a session") from None
            bad_line = bad_line or number
        except ValueError:
            bad_line = bad_line or number
        else:
            if bad_line:
                raise _damaged(name, before + bad_line)
            if not line.endswith(_MORE):
                good, complete = position, len(events)
    return events[:complete], good


def _damaged(name: str, line: int) -> SessionError:
    ways = "restore it from a backup"
    if line > 1:
        file = shlex.quote(name)
        ways += f", or go on from what stands before it: cp {file} {file}.bad && head -n {line - 1} {file}.bad > {file}"
    return SessionError(f"{name} is damaged at line {line}: {ways}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise storage_error(error, path) from error


def read_log(directory: Path) -> bytes:
    """The bytes of a session's log.

    Raises:
        SessionError: there is none, or it cannot be read.
    """
    path = directory / LOG_NAME
    if not path.is_file():
        raise SessionError(f"{directory} holds no session: it has no {LOG_NAME}", 2)
    return _read(path)


def read_events(directory: Path) -> list[ev.AnyEvent]:
    """All events of a session, without touching it; a torn last line is left out.

    Raises:
        SessionError: there is no log, or it cannot be read.
    """
    return parse(read_log(directory), str(directory / LOG_NAME))[0]


class EventLog:
    """The single writer of a session's log. The caller holds the session's lock. Safe to use from several threads."""

    def __init__(
        self,
        path: Path,
        descriptor: int,
        events: list[ev.AnyEvent],
        size: int,
        clock: Callable[[], datetime],
    ) -> None:
        self.path = path
        self._descriptor = descriptor
        self._events = events
        self._size = size
        self._torn = False
        self._seq = max((event.seq for event in events), default=0)
        self._clock = clock
        self._mutex = threading.Lock()

    @classmethod
    def open(cls, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> EventLog:
        """Open the log of ``directory`` for writing, or begin it; what a crash tore at its end is cut off.

        Raises:
            SessionError: it cannot be written, is damaged, or is of a newer format.
        """
        path = directory / LOG_NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, path) from error
        try:
            events, size = parse(_read(path), str(path))
            log = cls(path, descriptor, events, size, clock)
            os.ftruncate(descriptor, size)
            if size == 0:
                log._write(_HEADER, durable=True)
                _sync_directory(directory)
        except OSError as error:
            os.close(descriptor)
            raise storage_error(error, path) from error
        except BaseException:
            os.close(descriptor)
            raise
        return log

    @property
    def events(self) -> Sequence[ev.AnyEvent]:
        """Every event so far, oldest first; later ones do not join it. Costs nothing, however long the log is."""
        with self._mutex:
            return Past(self._events, len(self._events))

    @property
    def last_seq(self) -> int:
        """The ``seq`` of the newest event, 0 in an empty log."""
        return self._seq

    def append(self, event: ev.AnyEvent) -> ev.AnyEvent:
        """Write ``event`` with its ``seq`` and ``time`` set, and return it so.

        Raises:
            SessionError: it could not be written (disk full); the log is as it was before.
        """
        return self.extend((event,))[0]

    def extend(self, events: Iterable[ev.AnyEvent]) -> list[ev.AnyEvent]:
        """Write several events with one write (and one sync at most): all of them or none, as for :meth:`append`."""
        with self._mutex:
            now = self._clock()
            numbered = [_stamped(event, self._seq + n, now) for n, event in enumerate(events, 1)]
            data = (_MORE + b"\n").join(encode(event) for event in numbered) + b"\n"
            self._write(data, durable=not all(isinstance(event, _NOT_SYNCED) for event in numbered))
            self._events.extend(numbered)
            self._seq += len(numbered)
            return numbered

    def _write(self, data: bytes, *, durable: bool) -> None:
        if self._descriptor < 0:
            raise SessionError(f"{self.path} is closed")
        try:
            if self._torn:
                self._cut()
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            # Shrinking needs no space; should it fail all the same, the next write tries again.
            self._torn = True
            with contextlib.suppress(OSError):
                self._cut()
            raise storage_error(error, self.path) from error
        self._size += len(data)

    def _cut(self) -> None:
        os.ftruncate(self._descriptor, self._size)
        self._torn = False

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._mutex:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stamped(event: ev.AnyEvent, seq: int, time: datetime) -> ev.AnyEvent:
    if isinstance(event, ev.Unknown) and event.raw:
        raw = {**event.raw, "seq": seq, "time": msgspec.to_builtins(time)}
        return replace(event, seq=seq, time=time, raw=raw)
    return replace(event, seq=seq, time=time)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LogTail:
    """Reads a growing log piece by piece. One reader, one thread."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOG_NAME
        self._offset = self._lines = 0
        self._seen = (-1, -1)

    def read(self) -> Sequence[ev.AnyEvent]:
        """The events that were completed since the last call; an empty list costs one ``stat``.

        Raises:
            SessionError: as :func:`parse`.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(error, self._path) from error
        size = found.st_size
        # The time as well: a repaired log may be as long as the torn one was.
        seen = (size, found.st_mtime_ns)
        if seen == self._seen:
            return []
        # A writer that repairs its log cuts behind a complete line, so reading goes on from there.
        self._offset = min(self._offset, size)
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError as error:
            raise storage_error(error, self._path) from error
        events, length = parse(data, str(self._path), header=self._offset == 0, before=self._lines)
        self._seen = seen
        self._offset += length
        self._lines += data.count(b"\n", 0, length)
        return events
