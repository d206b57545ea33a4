"""The stream of frames to and from a supervisor: requests go out, each gets its replies, and an end reaches all."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from backspace_tui.core.protocols import SandboxError, SandboxGone
from backspace_tui.sandbox.wire import Header, Parser, ProtocolError, encode

HELLO_SECONDS: Final = 30.0
JOIN_SECONDS: Final = 5.0

Frame = tuple[Header, bytes]


class Channel(Protocol):
    """Bytes to and from a supervisor."""

    def send(self, data: bytes) -> None:
        """Write all of ``data``; raises :class:`OSError` when the other end is gone."""
        ...

    def receive(self) -> bytes:
        """The next bytes; empty at the end."""
        ...

    def kill(self) -> None:
        """End the other end and all that it runs, and remove what was made for it; may be called twice."""
        ...


class Connection:
    """A supervisor's other end. Thread-safe."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sending = threading.Lock()
        self._replies: dict[int, queue.SimpleQueue[Frame | None]] = {}
        self._replies_lock = threading.Lock()
        self._next = 1
        self._gone = ""
        self._outlived = False
        self._closed = False
        self._afterwards: list[Callable[[], None]] = []
        self._hello = threading.Event()
        self._start_reading()

    def _start_reading(self) -> None:
        self._reader = threading.Thread(target=self._read, args=(self._channel,), name="sandbox-reader", daemon=True)
        self._reader.start()
        if not self._hello.wait(HELLO_SECONDS) or self._gone:
            reason = self._gone or "its supervisor does not answer"
            self._kill(reason)
            raise SandboxError(f"the sandbox did not start: {reason}")

    def _connect_again(self, reopen: Callable[[], Channel]) -> None:
        """End the supervisor, if it is there still, and start another."""
        self._kill("it is started again")
        if self._closed:
            raise self._gone_error()
        channel = reopen()
        with self._replies_lock:
            if not self._closed:
                self._channel, self._gone, self._outlived = channel, "", False
                self._hello.clear()
        if self._channel is not channel:
            channel.kill()
            raise self._gone_error()
        self._start_reading()

    def _kill(self, reason: str) -> None:
        self._end(reason)
        self._channel.kill()
        if threading.current_thread() is not self._reader:
            self._reader.join(JOIN_SECONDS)

    def close(self) -> None:
        """End every process and remove all that was made; from any thread, as often as you like."""
        with self._replies_lock:
            self._closed = True
        self._kill("it was closed")
        for callback in self._afterwards:
            callback()

    def when_closed(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` at every :meth:`close`, once nothing runs any more."""
        self._afterwards.append(callback)

    def _read(self, channel: Channel) -> None:
        parser = Parser()
        try:
            while data := channel.receive():
                for header, payload in parser.feed(data):
                    if channel is self._channel:
                        self._deliver(header, payload)
            reason = "it ended"
        except (OSError, ProtocolError, ValueError) as error:
            reason = str(error) or type(error).__name__
        if channel is self._channel:
            self._end(reason)

    def _deliver(self, header: Header, payload: bytes) -> None:
        if header.get("event") == "hello":
            self._hello.set()
            return
        if header.get("event") == "gone":
            self._outlived = True
            self._end("it reached its greatest age")
            return
        with self._replies_lock:
            waiting = self._replies.get(header.get("id", 0))
        if waiting is not None:
            waiting.put((header, payload))

    def _end(self, reason: str) -> None:
        with self._replies_lock:
            self._gone = self._gone or reason
            for waiting in self._replies.values():
                waiting.put(None)
        self._hello.set()

    def _gone_error(self) -> SandboxGone:
        return SandboxGone(
            f"the sandbox is gone ({self._gone}); its last snapshot can be loaded into another", self._gone
        )

    def _send(self, header: Header, payload: bytes = b"") -> None:
        try:
            with self._sending:
                self._channel.send(encode(header, payload))
        except (OSError, ValueError) as error:
            self._end(str(error) or "its channel closed")
            raise self._gone_error() from error

    @contextlib.contextmanager
    def _request(self) -> Iterator[tuple[int, queue.SimpleQueue[Frame | None]]]:
        replies: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        with self._replies_lock:
            if self._gone:
                raise self._gone_error()
            number = self._next
            self._next += 1
            self._replies[number] = replies
        try:
            yield number, replies
        finally:
            with self._replies_lock:
                del self._replies[number]

    @contextlib.contextmanager
    def _interrupt_unless_done(self, number: int) -> Iterator[None]:
        """Where the caller's own code fails or a signal comes, the other side must not go on."""
        try:
            yield
        except SandboxError:
            raise
        except BaseException:
            with contextlib.suppress(SandboxError):
                self._send({"op": "interrupt", "id": number})
            raise

    def _take(self, replies: queue.SimpleQueue[Frame | None], deadline: float) -> Frame:
        try:
            frame = replies.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self._end("its supervisor does not answer")
            self._channel.kill()
            raise self._gone_error() from None
        if frame is None:
            raise self._gone_error()
        return frame
