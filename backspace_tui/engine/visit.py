"""One window in the sandbox's shell: its connection carries frames both ways from the reply on."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Final, Protocol

import msgspec

from backspace_tui.core import frames
from backspace_tui.core.protocols import Shell

PIECE: Final = 64 * 1024
LOOK: Final = 0.25
"""Seconds between two looks at whether a window that takes or gives nothing is still there."""
FAREWELL: Final = 2.0
"""Seconds in which a window that is told of the end must take that."""


class Stream(Protocol):
    """What is read of the connection."""

    def read1(self, size: int, /) -> bytes: ...


class Visit:
    """The window's thread feeds it, the workflow's opens the shell in it and sends what that prints."""

    def __init__(self, connection: socket.socket, rows: int, cols: int, term: str) -> None:
        self.rows, self.cols, self.term = rows, cols, term
        self._connection = connection
        self._shell: Shell | None = None
        self._gone = self._broken = self._opened = False
        self._changing = threading.RLock()
        self._sending = threading.Lock()

    @property
    def gone(self) -> bool:
        """Whether the window left, or is to leave."""
        return self._gone

    # The window's thread

    def serve(self, stream: Stream) -> None:
        """Read the window's frames until it goes; then the shell ends."""
        parser = frames.Parser()
        try:
            while data := stream.read1(PIECE):
                for kind, payload in parser.feed(data):
                    self._take(kind, payload)
        except (OSError, ValueError):
            pass
        finally:
            self.hang_up()

    def _take(self, kind: bytes, payload: bytes) -> None:
        shell = self._shell
        if kind == frames.SIZE:
            size = msgspec.json.decode(payload, type=frames.Size)
            with self._changing:
                self.rows, self.cols = size.rows, size.cols
            if shell is not None:
                shell.resize(size.rows, size.cols)
        elif kind == frames.DATA and shell is not None:
            # A window that is gone is met by reading, which nobody does while the shell takes nothing.
            while not shell.ready(LOOK):
                if self._left():
                    raise OSError("the window is gone")
            shell.write(payload)

    def _left(self) -> bool:
        poll = select.poll()
        poll.register(self._connection, 0)
        return self._gone or bool(poll.poll(0))

    def note(self, text: str) -> None:
        """A line for the user, unless the shell is open."""
        with self._changing:
            if self._opened:
                return
            self._send(frames.NOTE, text.encode("utf-8", "replace"))

    # The workflow's thread

    def open(self, shell: Shell) -> None:
        """From now on the window is in ``shell``; one that left meanwhile ends it."""
        with self._changing:
            self._shell, self._opened = shell, True
            rows, cols = self.rows, self.cols
        shell.resize(rows, cols)
        self._send(frames.OPENED)
        if self._gone:
            shell.end()

    def show(self, data: bytes) -> None:
        """What the terminal printed; waits for a slow window, and drops it where that left."""
        self._send(frames.DATA, data)

    def tell_end(self, ended: frames.Ended) -> None:
        """The last word to the window."""
        self._shell = None
        self._send(frames.ENDED, msgspec.json.encode(ended), time.monotonic() + FAREWELL)
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    # Any thread

    def hang_up(self) -> None:
        """End the shell; also one that is about to open."""
        with self._changing:
            self._gone = True
            shell = self._shell
        if shell is not None:
            shell.end()

    def _send(self, kind: bytes, payload: bytes = b"", deadline: float | None = None) -> None:
        view = memoryview(frames.encode(kind, payload))
        with self._sending:
            while view and not self._broken:
                try:
                    view = view[self._connection.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    self._broken = time.monotonic() >= deadline if deadline else self._gone
                    poll = select.poll()
                    poll.register(self._connection, select.POLLOUT)
                    poll.poll(LOOK * 1000)
                except (OSError, ValueError):  # closed here or there
                    self._broken = True
        if self._broken and not self._gone:
            self.hang_up()
