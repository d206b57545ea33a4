"""``summary.json`` in a session's directory: what the list shows of it, so that listing does not read whole logs.

The log stays the only truth. A summary is known to be right by the log's length and time of change that it was made
of; one that is missing, stale or damaged is made again from the log, and where it cannot be written it is made each
time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.summary import Summary, summarize
from backspace_tui.sessions.codec import from_json, to_json
from backspace_tui.sessions.log import LOG_NAME, parse

SUMMARY_NAME: Final = "summary.json"

_VERSION: Final = 1
_BLOCK: Final = 512
_MOST: Final = 64 * 1024


class _Kept(msgspec.Struct, frozen=True):
    """The file's content: the summary, and which log it is of."""

    version: int
    log_size: int
    log_time: int
    summary: Summary


_DECODER: Final = msgspec.json.Decoder(_Kept)


def summary_of(directory: str) -> Summary | None:
    """The summary of the session in ``directory``; ``None`` for a log in which nothing was started.

    Raises:
        OSError: there is no log, or it cannot be read.
        SessionError: it is no log, is damaged, or of a newer format.
    """
    found = os.stat(f"{directory}/{LOG_NAME}")
    kept = _read(f"{directory}/{SUMMARY_NAME}")
    if kept is not None and (kept.log_size, kept.log_time) == (found.st_size, found.st_mtime_ns):
        return kept.summary
    with open(f"{directory}/{LOG_NAME}", "rb") as file:
        # The state of the very bytes that are read, or of fewer: then the next reader makes it again.
        found = os.fstat(file.fileno())
        events, _ = parse(file.read(found.st_size), f"{directory}/{LOG_NAME}")
    state = fold(events)
    # Nobody counts hunks here, but as long as the agent changed nothing the number that was counted holds.
    same = kept is not None and kept.summary.work_tree == state.work_tree
    summary = summarize(state, kept.summary.hunks if kept is not None and same else None, disk_size(directory))
    if summary is not None:
        _write(directory, found, summary)
    return summary


def keep(directory: Path, state: SessionState, hunks: int | None) -> None:
    """Write the summary of a session at ``state``, which its process knows to be what the whole log says.

    That it cannot be written is no error.
    """
    folder = os.fspath(directory)
    with contextlib.suppress(OSError):
        summary = summarize(state, hunks, disk_size(folder))
        if summary is not None:
            _write(folder, os.stat(f"{folder}/{LOG_NAME}"), summary)


def disk_size(directory: str) -> int:
    """What the files below ``directory`` take on disk, in bytes; what cannot be read counts nothing."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                if entry.is_dir(follow_symlinks=False):
                    total += disk_size(entry.path)
    return total


def _read(path: str) -> _Kept | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        data = os.read(descriptor, _MOST)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    try:
        kept = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            kept = from_json(data, _Kept)
        except ValueError:
            return None
    return kept if kept.version == _VERSION else None


def _write(directory: str, log: os.stat_result, summary: Summary) -> None:
    data = to_json(_Kept(_VERSION, log.st_size, log.st_mtime_ns, summary)) + b"\n"
    temporary = f"{directory}/.summary-{secrets.token_hex(4)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        os.replace(temporary, f"{directory}/{SUMMARY_NAME}")
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
