"""A window's side of a session's process: start it, talk to it, follow its log."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.codec import from_json, to_json
from backspace_tui.sessions.errors import SessionError, storage_error
from backspace_tui.sessions.imported import refuse_imported
from backspace_tui.sessions.log import LogTail
from backspace_tui.sessions.store import is_running, socket_path

__all__ = ["HOST", "Client", "SessionError", "ensure_running", "follow", "launch", "read_request"]

# -P: the working directory is the session's, and an imported session may hold a json.py.
HOST: Final = (sys.executable, "-P", "-m", "backspace_tui", "_host")
"""The command line of a session's process."""

_LIVENESS: Final = 0.25
_MAX_LINE: Final = 1 << 20


def read_request(data: bytes) -> cmd.HostRequest:
    """What :func:`launch` wrote to the process's standard input. Raises ``ValueError``."""
    request: cmd.HostRequest = from_json(data, cmd.HostRequest)
    return request


def launch(request: cmd.HostRequest, timeout: float = 30.0, argv: Sequence[str] = HOST) -> cmd.HostReady:
    """Start the session's process, detached from this terminal, and wait until its socket stands.

    It runs in a session of its own (no hangup reaches it) in the session's directory; what it writes to standard
    error is appended to ``engine.log`` there. After its one line on standard output that pipe is closed.

    Raises:
        SessionError: it could not start, with its own reason and exit code.
    """
    directory = Path(request.directory)
    refuse_imported(directory)
    log = directory / "engine.log"
    try:
        with contextlib.ExitStack() as stack:
            document = stack.enter_context(tempfile.TemporaryFile())
            document.write(to_json(request))
            document.seek(0)
            errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, errors)
            log_start = os.fstat(errors).st_size
            process = subprocess.Popen(
                list(argv),
                stdin=document,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=directory,
                start_new_session=True,
                bufsize=0,
            )
    except OSError as error:
        raise storage_error(error, directory) from error
    assert process.stdout is not None
    try:
        with process.stdout as pipe:
            line = _first_line(pipe.fileno(), time.monotonic() + timeout)
    except BaseException:
        # Interrupted: nobody would know of it.
        process.terminate()
        raise
    try:
        ready: cmd.HostReady = from_json(line, cmd.HostReady)
        if ready.error:
            # So that the caller may remove the session at once.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
            raise SessionError(ready.error, ready.exit_code or 1)
    except ValueError:
        ended = _end(process)
        reason = _last_line(log, log_start) or f"it said nothing ({ended})"
        raise SessionError(f"the session's process did not start: {reason} (see {log})") from None
    finally:
        # Waits for the child as long as this process lives; afterwards init does.
        threading.Thread(target=process.wait, name="reap-session", daemon=True).start()
    return ready


def _first_line(descriptor: int, deadline: float) -> bytes:
    """What comes up to the first line feed, or less when the pipe is closed or the time is over."""
    data = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while b"\n" not in data and len(data) < _MAX_LINE:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            break
        chunk = os.read(descriptor, 65536)
        if not chunk:
            break
        data += chunk
    return data.partition(b"\n")[0]


def _end(process: subprocess.Popen[bytes]) -> str:
    """End a process that did not come up; how it ended, in words."""
    try:
        code = process.wait(1.0)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "no answer in time"
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"


def _last_line(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(start)
            text = file.read()[-65536:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(char for char in lines[-1][:300] if char.isprintable()) if lines else ""


class Client:
    """A connection to the socket of a running session."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self._mutex = threading.Lock()

    @classmethod
    def connect(cls, directory: Path, timeout: float = 5.0) -> Client:
        """Connect to the session in ``directory``, waiting up to ``timeout`` seconds for its socket.

        Raises:
            SessionError: it does not run, or does not answer.
        """
        path = socket_path(directory)
        deadline = time.monotonic() + timeout
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(max(deadline - time.monotonic(), 0.05))
                connection.connect(os.fspath(path))
            except OSError:
                connection.close()
                if not is_running(directory):
                    name = directory.name
                    raise SessionError(f"session {name} is not running: backspace-tui resume {name}") from None
                if time.monotonic() >= deadline:
                    raise SessionError(
                        f"session {directory.name} does not answer: see {directory / 'engine.log'}"
                    ) from None
                time.sleep(0.02)
            else:
                return cls(connection)

    def send(self, command: cmd.AnyCommand, timeout: float = 60.0) -> cmd.Reply:
        """Send ``command`` and wait for its reply, up to ``timeout`` seconds.

        Raises:
            SessionError: the session's process went away or does not answer; the connection is closed then.
        """
        with self._mutex:
            try:
                self._connection.settimeout(timeout)
                self._connection.sendall(to_json(command) + b"\n")
                while b"\n" not in self._received:
                    if len(self._received) > _MAX_LINE:
                        raise OSError("reply too long")
                    chunk = self._connection.recv(65536)
                    if not chunk:
                        raise OSError("closed")
                    self._received += chunk
                line, _, self._received = self._received.partition(b"\n")
                return cmd.decode_reply(line)
            except TimeoutError:
                self._connection.close()
                raise SessionError(f"the session's process did not answer within {timeout:g} s") from None
            except (OSError, msgspec.DecodeError):
                self._connection.close()
                raise SessionError("the session's process went away: resume the session") from None

    def detach(self) -> tuple[socket.socket, bytes]:
        """The connection itself, for what comes after the replies, and what of that has arrived; it is the caller's."""
        self._connection.settimeout(None)
        return self._connection, self._received

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ensure_running(
    directory: Path,
    *,
    exit_when_waiting: bool = False,
    commands: Sequence[cmd.AnyCommand] = (),
    timeout: float = 30.0,
    argv: Sequence[str] = HOST,
) -> None:
    """Start the process of an existing session unless it runs; ``commands`` reach it either way.

    A process that starts carries them out before it goes on; one that runs gets them over its socket.

    Raises:
        SessionError: it does not start, or refuses a command.
    """
    deadline = time.monotonic() + timeout
    while True:
        if is_running(directory):
            if not commands:
                return
            try:
                with Client.connect(directory, max(deadline - time.monotonic(), 0.1)) as client:
                    for command in commands:
                        if error := client.send(command).error:
                            raise SessionError(error)
                return
            except SessionError:
                # It may have ended between the question and the call: start it then.
                if is_running(directory) or time.monotonic() >= deadline:
                    raise
        request = cmd.HostRequest(
            directory=os.fspath(directory), commands=tuple(commands), exit_when_waiting=exit_when_waiting
        )
        try:
            launch(request, max(deadline - time.monotonic(), 0.1), argv)
            return
        except SessionError:
            # Another window was faster.
            if not is_running(directory) or time.monotonic() >= deadline:
                raise


def follow(
    directory: Path, stop: Callable[[], bool] = lambda: False, poll: float = 0.03, *, forever: bool = False
) -> Iterator[ev.AnyEvent]:
    """The session's events, the old ones first, then each as it is written.

    Ends when ``stop()`` is true, or when the session's process is gone and everything it wrote was yielded; with
    ``forever`` only ``stop()`` ends it, and a process that is started again is followed too.

    Raises:
        SessionError: the log cannot be read.
    """
    tail = LogTail(directory)
    finished = False
    probe_at = 0.0
    while not stop():
        # Asked before reading: whatever it wrote before it ended is read below.
        gone = False
        if not forever and (finished or time.monotonic() >= probe_at):
            probe_at = time.monotonic() + _LIVENESS
            gone = not is_running(directory)
        batch = tail.read()
        for event in batch:
            finished = isinstance(event, ev.SessionFinished)
            yield event
            if stop():
                return
        if gone:
            return
        if not batch:
            time.sleep(poll)
