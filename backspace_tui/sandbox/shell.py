"""The near end of an interactive shell in a sandbox."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from backspace_tui.core.protocols import Result, SandboxError
from backspace_tui.sandbox.wire import Header

WINDOW: Final = 256 * 1024
"""Bytes of input that the other side may not have taken yet."""
PIECE: Final = 32 * 1024
SLICE: Final = 1.0
"""Seconds after which a reader looks whether the shell is to end by now."""

Frame = tuple[Header, bytes]
Replies = queue.SimpleQueue[Frame | None]


class Shell:
    """A :class:`backspace_tui.core.protocols.Shell`: one thread reads, others may write, resize and end it.

    ``send`` takes a request's header and payload, ``take`` waits for the next of ``replies`` until a deadline,
    ``finish`` makes the result of the last one. ``grace`` is the time in seconds that an end may take.
    """

    def __init__(
        self,
        number: int,
        replies: Replies,
        send: Callable[[Header, bytes], None],
        take: Callable[[Replies, float], Frame],
        finish: Callable[[Header], Result],
        grace: float,
    ) -> None:
        self._number, self._replies, self._grace = number, replies, grace
        self._send, self._take, self._finish = send, take, finish
        self._changed = threading.Condition()
        self._untaken = 0
        self._unacknowledged = 0
        self._over = False
        self._deadline: float | None = None
        self.result: Result | None = None

    def read(self) -> bytes:
        """The next output; empty when the shell and all that it started have ended.

        Raises:
            SandboxGone: the sandbox ended meanwhile.
            SandboxError: the shell could not be started.
        """
        try:
            return self._read()
        except BaseException:
            self._close()
            raise

    def _read(self) -> bytes:
        if self._over:
            return b""
        if self._unacknowledged:
            count, self._unacknowledged = self._unacknowledged, 0
            self._request("took", bytes=count)
        while True:
            header, payload = self._next()
            match header.get("event"):
                case "output" if payload:
                    self._unacknowledged = len(payload)
                    return payload
                case "taken":
                    with self._changed:
                        self._untaken -= header["bytes"]
                        self._changed.notify_all()
                case "done":
                    self._close()
                    self.result = self._finish(header)
                    return b""

    def _next(self) -> Frame:
        while True:
            if self._deadline is None:
                try:
                    frame = self._replies.get(timeout=SLICE)
                except queue.Empty:
                    continue
                if frame is not None:
                    return frame
                self._replies.put(None)
            return self._take(self._replies, self._deadline or time.monotonic())

    def ready(self, timeout: float) -> bool:
        """Whether it takes input, or ended; waits up to ``timeout`` seconds for that."""
        with self._changed:
            return self._changed.wait_for(lambda: self._over or self._untaken < WINDOW, timeout)

    def write(self, data: bytes) -> None:
        """Type ``data``, also where what runs there takes nothing. Nothing happens after the end."""
        with self._changed:
            if self._over:
                return
            self._untaken += len(data)
        for start in range(0, len(data), PIECE):
            with contextlib.suppress(SandboxError):
                self._request("type", data[start : start + PIECE])

    def resize(self, rows: int, cols: int) -> None:
        """The window has another size now."""
        with contextlib.suppress(SandboxError):
            self._request("resize", rows=rows, cols=cols)

    def end(self) -> None:
        """Kill it with all that it started; reading then gives what it still printed."""
        with self._changed:
            if self._over:
                return
            self._deadline = self._deadline or time.monotonic() + self._grace
        with contextlib.suppress(SandboxError):
            self._request("interrupt")

    def _request(self, operation: str, payload: bytes = b"", **fields: int) -> None:
        self._send({"op": operation, "id": self._number, **fields}, payload)

    def _close(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
