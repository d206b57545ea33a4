"""Where sessions live: making, listing, finding, locking and removing their directories."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui import private
from backspace_tui.core import events as ev
from backspace_tui.core.summary import Summary
from backspace_tui.paths import sessions_dir
from backspace_tui.sessions.errors import SessionError, storage_error
from backspace_tui.sessions.log import LOG_NAME
from backspace_tui.sessions.summaries import summary_of

__all__ = [
    "Lock", "SessionError", "SessionInfo", "find", "info", "is_running", "list_sessions", "new_session", "remove",
    "rename", "socket_path",
]  # fmt: skip

SOCKET_ROOT = Path("/tmp")  # noqa: S108 - the directory made inside is checked for its owner
"""Where sockets go whose path would be too long; not XDG_RUNTIME_DIR, which is removed at logout."""

_MAX_SOCKET_PATH: Final = 100
_TITLE_LENGTH: Final = 80


class SessionInfo(msgspec.Struct, frozen=True):
    """One line of the list of sessions.

    ``title`` is the name the user gave, or the first line of the prompt. ``status`` is the folded state's, or
    ``interrupted`` (it worked when its process died) or ``broken`` (its log cannot be read; ``title`` says why, and
    there is no ``summary``). A fork was created when it was made.
    """

    id: str
    directory: Path
    title: str
    name: str
    repository: str
    status: str
    created: datetime
    updated: datetime
    running: bool
    forked_from: str = ""
    forked_at: int = 0
    summary: Summary | None = None


def new_session(root: Path | None = None) -> Path:
    """A new, empty session directory (mode 0700), named by the time (UTC) and a random part.

    Raises:
        SessionError: it cannot be made (read-only, full disk).
    """
    root = root or sessions_dir()
    try:
        private.make_directory(root)
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for _ in range(64):
            directory = root / f"{stamp}-{secrets.token_hex(2)}"
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return directory
    except OSError as error:
        raise storage_error(error, root) from error
    raise SessionError(f"cannot find a free name for a session in {root}: try again in a minute")


def _directories(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [Path(entry.path) for entry in entries if entry.name[0] != "." and entry.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, root) from error


def list_sessions(root: Path | None = None) -> list[SessionInfo]:
    """All sessions, newest first. One that cannot be read is listed as ``broken``.

    Raises:
        SessionError: the directory of sessions itself cannot be read.
    """
    sessions = [info(directory) for directory in _directories(root or sessions_dir())]
    return sorted(sessions, key=lambda item: (item.created, item.id), reverse=True)


def info(directory: Path) -> SessionInfo:
    """What the list shows of one session. Never raises for a broken one."""
    running = False
    name = ""
    folder = os.fspath(directory)
    try:
        running = is_running(folder)
        name = _name(folder)
        summary = summary_of(folder)
    except SessionError as error:
        return _broken(directory, name, str(error).removeprefix(f"{directory / LOG_NAME} "), running)
    except OSError as error:
        return _broken(directory, name, f"{LOG_NAME}: {error.strerror}", running)
    if summary is None:
        return _broken(directory, name, "(nothing was started)", running)
    status: str = summary.status
    if not running and status in ("new", "running", "paused"):
        status = "interrupted"
    return SessionInfo(
        id=directory.name,
        directory=directory,
        title=name or _line(summary.prompt) or "(no prompt)",
        name=name,
        repository=_line(summary.repository, 4096),
        status=status,
        created=summary.created,
        updated=summary.updated,
        running=running,
        summary=summary,
        forked_from=_line(summary.forked_from),
        forked_at=summary.forked_at,
    )


def _broken(directory: Path, name: str, reason: str, running: bool) -> SessionInfo:
    try:
        when = datetime.fromtimestamp(directory.stat().st_mtime, UTC)
    except OSError:
        when = ev.EPOCH
    status = "new" if running else "broken"
    return SessionInfo(directory.name, directory, name or _line(reason), name, "", status, when, when, running)


def _line(text: str, length: int = _TITLE_LENGTH) -> str:
    """The first line of ``text``, printable and short: logs may have been imported from anywhere."""
    if len(text) <= length and text.isprintable():
        return text.strip()
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    if not first.isprintable():
        first = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in first)
    return first if len(first) <= length else first[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _created(directory: Path) -> datetime:
    return info(directory).created


def find(name: str, root: Path | None = None) -> Path:
    """The session with id ``name``, the only one whose id or given name begins so, or the newest (``last``).

    Raises:
        SessionError: none or several (exit code 2).
    """
    root = root or sessions_dir()
    directories = _directories(root)
    hint = "backspace-tui sessions lists them"
    if name == "last":
        if not directories:
            raise SessionError("there is no session yet: start one with backspace-tui run", 2)
        # Ids begin with their minute, so only those of the newest minute need a look inside.
        minute = max(directory.name[:13] for directory in directories)
        return max((d for d in directories if d.name[:13] == minute), key=lambda d: (_created(d), d.name))
    exact = [directory for directory in directories if directory.name == name]
    if exact:
        return exact[0]
    matches = [directory for directory in directories if name and directory.name.startswith(name)]
    matches = matches or [directory for directory in directories if name and _name(directory) == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        some = ", ".join(sorted((directory.name for directory in matches), reverse=True)[:4])
        raise SessionError(f"{_line(name)!r} could be {len(matches)} sessions ({some}): give more of the id", 2)
    raise SessionError(f"there is no session {_line(name)!r}: {hint}", 2)


def _name(directory: Path | str) -> str:
    # Listing a thousand sessions asks a thousand times, mostly in vain.
    try:
        descriptor = os.open(f"{directory}/name", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _line(os.read(descriptor, 4096).decode("utf-8", "replace"))
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def rename(directory: Path, name: str) -> None:
    """Give the session a name of the user's; an empty one goes back to the prompt's first line.

    Raises:
        SessionError: it cannot be written.
    """
    temporary = directory / f".name-{secrets.token_hex(4)}"
    try:
        private.write(temporary, _line(name).encode("utf-8", "replace"))
        temporary.replace(directory / "name")
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise storage_error(error, directory) from error


def remove(directory: Path) -> None:
    """Delete a session and its socket.

    Raises:
        SessionError: its process runs, or it cannot be deleted.
    """
    with Lock(directory):
        socket_file = socket_path(directory)
        # Renamed first: a half deleted session is never listed.
        doomed = directory.with_name(f".deleted-{directory.name}-{secrets.token_hex(4)}")
        try:
            directory.rename(doomed)
            shutil.rmtree(doomed)
            socket_file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, directory) from error


class Lock:
    """The right to write a session: an ``flock`` on its file ``lock``, which holds the owner's process id.

    The operating system gives it back when the process ends, however it ends.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor = -1

    def acquire(self, patience: float = 0.5) -> None:
        """Take the lock, or give up after ``patience`` seconds (:func:`is_running` holds it for an instant).

        Raises:
            SessionError: another process has it, or the file cannot be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, self._path) from error
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise SessionError(self._taken()) from None
                time.sleep(0.01)
            except OSError as error:
                os.close(descriptor)
                raise storage_error(error, self._path) from error
        self._descriptor = descriptor

    def _taken(self) -> str:
        name = self._path.parent.name
        return f"session {name} is running (process {holder(self._path.parent) or '?'}): backspace-tui attach {name}"

    def release(self) -> None:
        """Give it back; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(directory: Path) -> int:
    """The process id that last took the session's lock, 0 when unknown; it says nothing of whether it still runs."""
    try:
        return int((directory / "lock").read_bytes() or b"0")
    except (OSError, ValueError):
        return 0


def is_running(directory: Path | str) -> bool:
    """Whether a process holds the session's lock."""
    path = f"{directory}/lock"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, Path(path)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise storage_error(error, Path(path)) from error
    finally:
        os.close(descriptor)
    return False


def socket_path(directory: Path) -> Path:
    """Where the session's socket is: in its directory, or under ``/tmp`` when that path is too long for a socket.

    Raises:
        SessionError: the directory under ``/tmp`` belongs to somebody else.
    """
    real = Path(os.path.realpath(directory))
    path = real / "socket"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    private = SOCKET_ROOT / f"backspace-tui-{os.geteuid()}"
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
    except OSError as error:
        raise storage_error(error, private) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SessionError(
            f"{private} is not a private directory of yours: remove it, or set BACKSPACE_TUI_DATA_DIR to a shorter path"
        )
    return private / (hashlib.sha256(os.fsencode(real)).hexdigest()[:32] + ".socket")
