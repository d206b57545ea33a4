"""The window's end of a shell in the agent's sandbox: a real terminal, lent to it for as long as it runs."""

from __future__ import annotations

import contextlib
import locale
import os
import select
import signal
import socket
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from backspace_tui.core import commands as cmd
from backspace_tui.core import frames
from backspace_tui.core.terminal_filter import MAIN_SCREEN, RESTORE, TerminalFilter
from backspace_tui.core.terminal_text import clean
from backspace_tui.sessions.client import Client, ensure_running
from backspace_tui.sessions.errors import SessionError

PIECE: Final = 64 * 1024
MOST_UNSENT: Final = 256 * 1024
"""Bytes typed (or pasted) that the session has not taken: then the terminal keeps the rest."""
LOOK: Final = 0.25
"""Seconds between two looks at the terminal's size, where no signal tells of it."""
GIVES_UP: Final = (b"\x03", b"\x04", b"\x1c")
"""Ctrl-C, Ctrl-D and Ctrl-\\ before the shell is open."""
SHOWN_PATHS: Final = 5


def run_shell(directory: Path, *, stdin: int, stdout: int) -> str:
    """Be in the shell of the session in ``directory`` until it ends; returns one line about how it ended.

    ``stdin`` and ``stdout`` are descriptors of the terminal, which nobody else uses meanwhile. It is given back as it
    was found, whatever happens.

    Raises:
        SessionError: no shell could be had, or it was lost; one line that says why.
    """
    return outcome(visit(directory, stdin=stdin, stdout=stdout))


def outcome(ended: frames.Ended) -> str:
    """How the shell ended, in one line."""
    how = "was killed" if ended.exit_code is None else f"ended with exit code {ended.exit_code}"
    limit = f" at a limit of the sandbox; the user can raise {ended.limit}" if ended.limit else ""
    paths = [clean(path) for path in ended.changed[:SHOWN_PATHS]]
    more = f" and {ended.count - len(paths)} more" if ended.count > len(paths) else ""
    changed = f"you changed {', '.join(paths)}{more}" if paths else "nothing changed"
    return f"the shell {how}{limit}: {changed}"


def visit(directory: Path, *, stdin: int, stdout: int) -> frames.Ended:
    """As :func:`run_shell`, with what the session told of the end."""
    if not (os.isatty(stdin) and os.isatty(stdout)):
        raise SessionError("a shell needs a terminal; 'backspace-tui sandbox exec' runs one command without", 2)
    ensure_running(directory)
    with Client.connect(directory) as client:
        size = _size(stdout)
        reply = client.send(cmd.Shell(rows=size.rows, cols=size.cols, term=os.environ.get("TERM", "")))
        if reply.error:
            raise SessionError(reply.error)
        connection, received = client.detach()
        with _lent(stdin, stdout) as lent:
            ended = _Relay(connection, stdin, stdout, size, lent).run(received)
    if ended.error:
        raise SessionError(f"the shell is over: {clean(ended.error)}")
    return ended


def _size(descriptor: int) -> frames.Size:
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        return frames.Size(24, 80)
    return frames.Size(found.lines or 24, found.columns or 80)


class _Lent:
    """What of the terminal has to be put back, and the pipe that signals wake us through."""

    def __init__(self, wake: int) -> None:
        self.wake = wake
        self.filter = TerminalFilter(utf8=locale.getpreferredencoding(False).lower() in ("utf-8", "utf8"))
        self.opened = False
        self.signalled = 0


@contextlib.contextmanager
def _lent(stdin: int, stdout: int) -> Iterator[_Lent]:
    """The terminal in raw mode; afterwards its modes, signal handlers and screen are as they were."""
    attributes = termios.tcgetattr(stdin)
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    lent = _Lent(wake)
    handlers = _handle_signals(lent, waker)
    try:
        # What was typed before is for the shell as well.
        tty.setraw(stdin, termios.TCSADRAIN)
        yield lent
    finally:
        with contextlib.suppress(OSError):
            if lent.opened:
                _write(stdout, (MAIN_SCREEN if lent.filter.alternate else b"") + RESTORE)
        with contextlib.suppress(termios.error):
            # Answers of the terminal to what was asked inside are nobody's any more.
            termios.tcsetattr(stdin, termios.TCSAFLUSH, attributes)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.close(wake)
        os.close(waker)
        if lent.signalled:
            os.kill(os.getpid(), lent.signalled)


def _handle_signals(lent: _Lent, waker: int) -> dict[int, Any]:
    """The handlers as they were. Only the main thread may set any; elsewhere the size is looked at now and then."""
    if threading.current_thread() is not threading.main_thread():
        return {}

    def end(number: int, _frame: FrameType | None) -> None:
        lent.signalled = number
        wake(number, None)

    def wake(_number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(waker, b"!")

    wanted: dict[int, Any] = {signal.SIGWINCH: wake, signal.SIGTERM: end, signal.SIGHUP: end, signal.SIGINT: end}
    # The key for it goes inside; from elsewhere it would leave the terminal raw.
    wanted[signal.SIGTSTP] = signal.SIG_IGN
    return {number: signal.signal(number, handler) for number, handler in wanted.items()}


class _Relay:
    """Bytes between the terminal and the session, until one of them has enough."""

    def __init__(self, connection: socket.socket, stdin: int, stdout: int, size: frames.Size, lent: _Lent) -> None:
        self._connection, self._stdin, self._stdout, self._size, self._lent = connection, stdin, stdout, size, lent
        self._unsent = bytearray()
        self._parser = frames.Parser()
        self._early = bytearray()

    def run(self, received: bytes) -> frames.Ended:
        self._connection.setblocking(False)
        ended = self._take(received)
        while ended is None:
            ended = self._step()
        return ended

    def _step(self) -> frames.Ended | None:
        if self._lent.signalled:
            raise SessionError("the window was ended, and the shell with it")
        readable, _, _ = select.select(*self._wanted(), [], LOOK)
        if self._lent.wake in readable:
            os.read(self._lent.wake, 4096)
        self._follow_size()
        if self._stdin in readable:
            self._type()
        self._send()
        if self._connection not in readable:
            return None
        try:
            data = self._connection.recv(PIECE)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            raise SessionError("the session's process went away, and the shell with it: resume the session")
        try:
            return self._take(data)
        except ValueError:
            raise SessionError("the session's process is of another version: quit and resume the session") from None

    def _wanted(self) -> tuple[list[Any], list[Any]]:
        reading: list[Any] = [self._connection, self._lent.wake]
        if len(self._unsent) + len(self._early) < MOST_UNSENT:
            reading.append(self._stdin)
        return reading, [self._connection] if self._unsent else []

    def _follow_size(self) -> None:
        size = _size(self._stdout)
        if size != self._size:
            self._size = size
            self._unsent += frames.encode(frames.SIZE, msgspec.json.encode(size))

    def _type(self) -> None:
        try:
            data = os.read(self._stdin, PIECE)
        except OSError:
            data = b""
        if not data:
            raise SessionError("the terminal is gone, and the shell with it")
        if self._lent.opened:
            self._unsent += frames.encode(frames.DATA, data)
        elif any(key in data for key in GIVES_UP):
            raise SessionError("you gave up waiting for the shell")
        else:
            self._early += data

    def _send(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # what it still said is read, then its end is met

    def _take(self, data: bytes) -> frames.Ended | None:
        for kind, payload in self._parser.feed(data):
            if kind == frames.ENDED:
                return msgspec.json.decode(payload, type=frames.Ended)
            if kind == frames.DATA:
                _write(self._stdout, self._lent.filter.feed(payload))
            elif kind == frames.NOTE:
                _write(self._stdout, clean(payload).replace("\n", " ").encode() + b"\r\n")
            elif kind == frames.OPENED:
                self._lent.opened = True
                self._unsent += frames.encode(frames.DATA, bytes(self._early)) if self._early else b""
                self._early.clear()
        return None


def _write(descriptor: int, data: bytes) -> None:
    """All of ``data``, also to a terminal that somebody made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
