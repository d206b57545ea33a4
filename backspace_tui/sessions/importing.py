"""Sessions from elsewhere: the file that :mod:`backspace_tui.sessions.export.bundle` makes, or somebody else did.

Nothing in it is trusted. Its texts lose their control sequences, its objects are checked by git in a fresh repository
without hooks and settings, and the session is marked as imported, so that it is read and never run.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from backspace_tui import private
from backspace_tui.core import events as ev
from backspace_tui.core.state import fold
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.paths import sessions_dir
from backspace_tui.sessions import store
from backspace_tui.sessions.codec import from_json, plain_json, to_json
from backspace_tui.sessions.errors import SessionError, storage_error
from backspace_tui.sessions.export.bundle import EXPORT_FORMAT, EXPORT_VERSION
from backspace_tui.sessions.git_processes import environment
from backspace_tui.sessions.imported import MARK
from backspace_tui.sessions.log import LOG_NAME, parse

__all__ = ["import_session", "remove_abandoned"]

_UNFINISHED: Final = ".importing-"
_YOUNG: Final = 60.0
"""Seconds."""

MAX_LINE: Final = 32 << 20
MAX_EVENTS: Final = 2_000_000
MAX_LOG: Final = 1 << 30
MAX_PACK: Final = 2 << 30
MAX_OBJECTS: Final = 8 << 30
"""Bytes: of a line, of all events, of the pack, and of all objects unpacked."""

_ID: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")
_OID: Final = re.compile(r"[0-9a-f]{40}")
_REF: Final = re.compile(r"refs/heads/[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")
_AS_IS: Final = frozenset({"path", "to", "paths", "glob", "lines", "arguments", "tool_calls", "content"})
"""What may hold any characters in an honest log as well: it is cleaned wherever it is shown."""


class _Header(msgspec.Struct, frozen=True):
    format: str
    version: int
    events: int
    log: dict[str, Any]
    session: str = ""
    name: str = ""
    refs: dict[str, str] = {}
    shallow: list[str] = []


def import_session(file: Path, root: Path | None = None) -> Path:
    """Make a session of ``file``: all of it, or nothing; its folder.

    It keeps its id, or gets a new one where that is taken.

    Raises:
        SessionError: the file is not an export, is damaged, or is of a newer version; or nothing can be written.
    """
    root = root or sessions_dir()
    try:
        with file.open("rb") as stream:
            private.make_directory(root)
            remove_abandoned(root)
            folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                wanted = _fill(folder, _Reader(stream, file))
                return _placed(folder, wanted, root)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)) == file:
            raise SessionError(f"{visible(os.fspath(file))} cannot be read: {error.strerror}", 2) from error
        raise storage_error(error, root) from error


def remove_abandoned(root: Path) -> None:
    """Remove what imports that were killed left in ``root``; one that is under way holds a lock on its folder."""
    for folder in root.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            # A folder without a lock may also be a moment old.
            if time.time() - folder.stat().st_mtime < _YOUNG:
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


class _Reader:
    """The lines of a file that may hold anything."""

    def __init__(self, stream: IO[bytes], file: Path) -> None:
        self._stream, self._file = stream, file
        self._number = 0

    def line(self) -> bytes:
        """The next line, without its line feed."""
        self._number += 1
        line = self._stream.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise self.bad("is cut off or too long" if line else "is missing: the file is cut off")
        return line[:-1]

    def at_end(self) -> bool:
        return not self._stream.read(1)

    def bad(self, what: str) -> SessionError:
        return SessionError(f"{visible(os.fspath(self._file))} cannot be imported: line {self._number} {what}", 2)


def _fill(folder: Path, reader: _Reader) -> str:
    header = _header(reader)
    events = _log(folder, reader, header)
    pack = _pack(folder, reader)
    _repository(folder, reader, header, pack)
    _named_objects(folder, reader, events)
    if name := _one_line(header.name):
        store.rename(folder, name)
    private.write(folder / MARK, to_json({"session": header.session}) + b"\n")
    return header.session


def _header(reader: _Reader) -> _Header:
    line = reader.line()
    try:
        header: _Header = from_json(line, _Header)
    except ValueError:
        raise reader.bad("is not the header of an exported session") from None
    if header.format != EXPORT_FORMAT:
        raise reader.bad("is not the header of an exported session")
    if header.version != EXPORT_VERSION:
        raise reader.bad(f"says version {header.version}, and this one reads {EXPORT_VERSION}: upgrade backspace-tui")
    if not 0 < header.events <= MAX_EVENTS:
        raise reader.bad("says an impossible number of events")
    if not all(_OID.fullmatch(oid) for oid in (*header.shallow, *header.refs.values())):
        raise reader.bad("names an object by something that is no id")
    if not all(_REF.fullmatch(name) for name in header.refs):
        raise reader.bad("names a branch that cannot be one")
    return header


def _log(folder: Path, reader: _Reader, header: _Header) -> list[ev.AnyEvent]:
    lines = [to_json(header.log)]
    size = 0
    for _ in range(header.events):
        line = reader.line()
        if (size := size + len(line)) > MAX_LOG:
            raise reader.bad("is beyond the size that is imported")
        try:
            lines.append(_harmless(line))
        except ValueError:
            raise reader.bad("is not an event") from None
    data = b"\n".join(lines) + b"\n"
    events, good = parse(data, "its log")
    if good != len(data):
        raise reader.bad("is not a complete event")
    if not isinstance(events[0], ev.SessionStarted):
        raise reader.bad("ends a log that does not begin with the start of a session")
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        raise reader.bad("ends a log whose events are not numbered 1, 2, 3, ...")
    if any(event.time.tzinfo is None for event in events):
        raise reader.bad("ends a log with times that name no time zone")
    descriptor = os.open(folder / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return events


def _harmless(line: bytes) -> bytes:
    """An event's line without control sequences where an honest log has none; the very line, if so. ``ValueError``."""
    try:
        value = json.loads(line, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an event")
    harmless = _cleaned(value)
    return line if harmless == value else to_json(harmless) + line[len(line.rstrip(b" ")) :]


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two with one name, another reader might take the one that was not looked at.
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            if value.isascii() and value.isprintable():
                return value
            # A line of a file that ends so is told of as it is.
            return "\r\n".join(clean(part) for part in value.split("\r\n"))
        case list():
            return [_cleaned(item) for item in value]
        case dict():
            return {
                name if name.isprintable() else clean(name): item if name in _AS_IS else _cleaned(item)
                for name, item in value.items()
            }
        case _:
            return value


def _pack(folder: Path, reader: _Reader) -> Path:
    """The joined pieces of the pack, checked against the last line."""
    path = folder / "pack"
    digest, size = hashlib.sha256(), 0
    with open(path, "wb", opener=private.opener) as file:
        while True:
            try:
                line: Any = plain_json(reader.line())
                kind = line.get("type")
                if kind == "end":
                    break
                if kind != "pack":
                    raise ValueError
                piece = base64.b64decode(line["data"], validate=True)
            except (ValueError, TypeError, AttributeError, KeyError):
                raise reader.bad("is not a piece of a pack") from None
            digest.update(piece)
            if (size := size + len(piece)) > MAX_PACK:
                raise reader.bad("is beyond the size that is imported")
            file.write(piece)
    if (line.get("size"), line.get("sha256")) != (size, digest.hexdigest()):
        raise reader.bad("does not fit the objects before it: the file was changed or damaged")
    if not reader.at_end():
        raise reader.bad("is not the last one")
    return path


def _repository(folder: Path, reader: _Reader, header: _Header, pack: Path) -> None:
    repo_git = folder / "repo.git"
    env = environment(repo_git.absolute())
    _git(env, reader, "init", "--quiet", "--bare", "--template=", "--object-format=sha1")
    for key, value in (("gc.auto", "0"), ("gc.pruneExpire", "never"), ("maintenance.auto", "false")):
        _git(env, reader, "config", key, value)
    if header.shallow:
        private.write(repo_git / "shallow", "".join(f"{oid}\n" for oid in header.shallow).encode("ascii"))
    if pack.stat().st_size:
        with pack.open("rb") as file:
            _git(env, reader, "index-pack", "--strict", "--stdin", f"--max-input-size={MAX_PACK}", stdin=file)
    pack.unlink()
    sizes = _git(env, reader, "cat-file", "--batch-all-objects", "--batch-check=%(objectsize)", "--unordered")
    if sum(map(int, sizes.split())) > MAX_OBJECTS:
        raise reader.bad("ends objects beyond the size that is imported")
    _git(env, reader, "hash-object", "-t", "tree", "-w", "--stdin")
    for name, oid in header.refs.items():
        _git(env, reader, "update-ref", name, oid)
    _git(env, reader, "fsck", "--full", "--strict", "--no-dangling", "--no-progress")


def _git(env: Mapping[str, str], reader: _Reader, *arguments: str, stdin: Any = subprocess.DEVNULL) -> bytes:
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.bigFileThreshold=16m", *arguments]
    try:
        done = subprocess.run(
            command,
            env=dict(env),
            cwd=os.sep,
            stdin=stdin,
            capture_output=True,
            check=False,
            umask=private.UMASK,
        )
    except FileNotFoundError:
        raise SessionError("git is not installed: install it with your package manager") from None
    if done.returncode:
        said = clean(done.stderr).strip().splitlines() or ["it said nothing"]
        raise reader.bad(f"ends objects that git refuses: {said[0][:200]}")
    return done.stdout


def _named_objects(folder: Path, reader: _Reader, events: Sequence[ev.AnyEvent]) -> None:
    """What the session shows must be there."""
    try:
        state = fold(events)
    except Exception as problem:
        raise reader.bad(f"ends a log that makes no sense ({type(problem).__name__})") from None
    env = environment((folder / "repo.git").absolute())
    for oid in {state.base_tree, state.accepted_tree, state.work_tree} - {""}:
        if not _OID.fullmatch(oid):
            raise reader.bad("ends a log that names a tree by something that is no id")
        if _git(env, reader, "cat-file", "-t", oid).strip() != b"tree":
            raise reader.bad(f"ends objects without the tree {oid}")


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())[:200]


def _placed(folder: Path, wanted: str, root: Path) -> Path:
    """Give the finished session its name, at once."""
    folder.chmod(0o700)
    if _ID.fullmatch(wanted):
        target = root / wanted
        # A folder is never put in the place of one that holds anything.
        if not os.path.lexists(target):
            with contextlib.suppress(OSError):
                folder.rename(target)
                return target
    fresh = store.new_session(root)
    folder.rename(fresh)
    return fresh
