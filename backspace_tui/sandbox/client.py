"""The client of a supervisor: a sandbox over any channel, whatever isolates the other end."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from backspace_tui.core.protocols import (
    CancelToken,
    OutputSink,
    Result,
    SandboxError,
    SandboxGone,
    Service,
)
from backspace_tui.core.trees import File
from backspace_tui.sandbox.limits import DEFAULT_TIMEOUT, Limits
from backspace_tui.sandbox.transfer import check, pack, unpack
from backspace_tui.sandbox.wire import CHUNK, Header, Parser, ProtocolError, encode

HELLO_SECONDS: Final = 30.0
GRACE_SECONDS: Final = 20.0  # the supervisor is late by this much: it is beyond help
FILE_SECONDS: Final = 300.0
MAX_READ: Final = 64 * 1024 * 1024

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


class SupervisedSandbox:
    """A :class:`backspace_tui.core.protocols.Sandbox` over a supervisor; a context manager as well."""

    def __init__(self, channel: Channel, label: str, limits: Limits) -> None:
        self._channel = channel
        self._label = label
        self.limits = limits
        self._snapshot: dict[str, File] = {}
        self._one_at_a_time = threading.RLock()
        self._sending = threading.Lock()
        self._replies: dict[int, queue.SimpleQueue[Frame | None]] = {}
        self._replies_lock = threading.Lock()
        self._next = 1
        self._gone = ""
        self._hello = threading.Event()
        self._reader = threading.Thread(target=self._read, name="sandbox-reader", daemon=True)
        self._reader.start()
        if not self._hello.wait(HELLO_SECONDS) or self._gone:
            reason = self._gone or "its supervisor does not answer"
            self.close()
            raise SandboxError(f"the sandbox did not start: {reason}")

    # The stream

    def _read(self) -> None:
        parser = Parser()
        try:
            while data := self._channel.receive():
                for header, payload in parser.feed(data):
                    self._deliver(header, payload)
            self._end("it ended")
        except (OSError, ProtocolError, ValueError) as error:
            self._end(str(error) or type(error).__name__)

    def _deliver(self, header: Header, payload: bytes) -> None:
        if header.get("event") == "hello":
            self._hello.set()
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
        return SandboxGone(f"the sandbox is gone ({self._gone}); its last snapshot can be loaded into another")

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

    def _call(self, operation: str, pieces: Iterator[bytes] | None = None, **fields: Any) -> tuple[Header, list[bytes]]:
        """A file operation: its final header and the data before it."""
        data: list[bytes] = []
        with self._one_at_a_time, self._request() as (number, replies), self._interrupt_unless_done(number):
            self._send({"op": operation, "id": number, "stream": pieces is not None, **fields})
            for piece in pieces or ():
                for start in range(0, len(piece), CHUNK):
                    self._send({"op": "data", "id": number}, piece[start : start + CHUNK])
            if pieces is not None:
                self._send({"op": "data", "id": number, "last": True})
            deadline = time.monotonic() + FILE_SECONDS
            while True:
                header, payload = self._take(replies, deadline)
                if header.get("event") == "data":
                    data.append(payload)
                elif header.get("event") == "done":
                    break
        if "error" in header:
            raise self._as_error(header)
        return header, data

    def _as_error(self, header: Header) -> Exception:
        found = header["error"]
        number, text, path = found.get("errno"), str(found.get("text")), found.get("path")
        if number in (errno.ENOSPC, errno.EDQUOT):
            full = header.get("full") or ["workspace"]
            return SandboxError(f"no space left in the sandbox; raise {self.limits.setting_for(full[0])}")
        if number == errno.EFBIG:
            return SandboxError(
                f"{text}; raise {self.limits.setting_for('workspace')}" if not path else f"{text}: {path}"
            )
        if number is not None:
            return OSError(number, text, path)  # Python makes FileNotFoundError and its kin of it
        if found.get("kind") == "ValueError":
            return ValueError(text)
        return SandboxError(f"the sandbox refused: {text}")

    # core.protocols.Sandbox

    @property
    def label(self) -> str:
        """What stands on the status line."""
        return self._label

    @property
    def alive(self) -> bool:
        """Whether the sandbox still answers, as far as is known."""
        return not self._gone

    def load(self, files: Mapping[str, File], *, tag: str = "") -> None:
        """Make the workspace hold exactly ``files``, and a throwaway ``.git`` with ``tag`` where git is installed.

        Raises:
            SandboxError: the files do not fit, or a path cannot be laid out.
        """
        snapshot = dict(files)
        check(snapshot)
        size = sum(len(file.data) for file in snapshot.values())
        if size > self.limits.workspace:
            raise SandboxError(
                f"the repository holds {size // 2**20} MiB; raise {self.limits.setting_for('workspace')}"
            )
        self._call("load", pack(snapshot), git=True, tag=tag)
        self._snapshot = snapshot

    def export(self) -> dict[str, File]:
        """Every regular file and symbolic link outside ``.git``, validated; anything else is left out."""
        cap, files = self.limits.workspace, self.limits.inodes
        _, data = self._call("export", max_bytes=cap, max_files=files)
        self._snapshot = unpack(data, max_bytes=cap, max_files=files)
        return dict(self._snapshot)

    def rebuild(self) -> None:
        """Empty the workspace and load the last snapshot: what was last loaded or exported."""
        self._call("prepare")
        self.load(self._snapshot)

    def read_file(self, path: str) -> bytes:
        """The content of a regular file, at most 64 MiB; a link is followed inside the workspace alone."""
        return b"".join(self._call("read", path=path, max_bytes=MAX_READ)[1])

    def write_file(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Create or replace a file, with its folders; never through a symbolic link (PermissionError)."""
        self._call("write", iter([data]), path=path, mode=mode)

    def delete_file(self, path: str) -> None:
        """Remove a file or link, and folders that became empty."""
        self._call("delete", path=path)

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        on_output: OutputSink | None = None,
        cancel: CancelToken | None = None,
        cwd: str = "",
        cap: int | None = -1,
    ) -> Result:
        """Run a shell line or an argument list and kill whatever it leaves behind, services excepted.

        ``timeout`` is in seconds (default 120). ``cap`` is the number of bytes kept of each stream; with ``None``
        nothing is kept and everything goes to ``on_output``.

        Raises:
            SandboxGone: the sandbox ended meanwhile.
        """
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        fields: Header = {"timeout": seconds, "cwd": cwd, "cap": self.limits.output if cap == -1 else cap}
        if isinstance(command, str):
            fields["line"] = command
        elif command:
            fields["argv"] = [os.fsdecode(word) for word in command]
        else:
            raise ValueError("an empty command")
        kept: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        dropped = 0

        def take(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            if cap is not None:
                kept[stream].append(data)
            if on_output is not None:
                on_output(stream, data)

        with self._one_at_a_time, self._request() as (number, replies), self._interrupt_unless_done(number):
            self._send({"op": "run", "id": number, **fields})
            forget = self._interrupt_on(cancel, number)
            try:
                deadline = time.monotonic() + seconds + GRACE_SECONDS
                while True:
                    header, payload = self._take(replies, deadline)
                    stream: Literal["stdout", "stderr"] = "stderr" if header.get("stream") == "stderr" else "stdout"
                    match header.get("event"):
                        case "output":
                            take(stream, payload)
                        case "gap":
                            dropped += header["dropped"]
                            take(stream, b"\n[... %d bytes left out ...]\n" % header["dropped"])
                        case "done":
                            break
            finally:
                forget()
        if "error" in header:
            raise self._run_error(header)
        timed_out = bool(header["timed_out"])
        exit_code: int | None = header["exit_code"]
        return Result(
            exit_code=exit_code,
            stdout=b"".join(kept["stdout"]),
            stderr=b"".join(kept["stderr"]),
            timed_out=timed_out,
            duration=float(header["seconds"]),
            cancelled=bool(header["interrupted"]),
            dropped=dropped,
            limit=self._limit(header, timed_out, exit_code, seconds),
        )

    def _run_error(self, header: Header) -> Exception:
        found = header["error"]
        if found.get("errno") == errno.EAGAIN:
            return SandboxError(f"no process could be started; raise {self.limits.setting_for('pids')}")
        return SandboxError(f"the command could not be started: {found.get('text')}")

    def _limit(self, header: Header, timed_out: bool, exit_code: int | None, seconds: float) -> str:
        if timed_out:
            return f"timeout ({seconds:g} s)"
        if exit_code == 0:
            return ""
        for name in (*header.get("hit", ()), *header.get("full", ())):
            return self.limits.setting_for(name)
        return ""

    def _interrupt_on(self, cancel: CancelToken | None, number: int) -> Callable[[], None]:
        if cancel is None:
            return lambda: None

        def interrupt() -> None:
            with contextlib.suppress(SandboxError):
                self._send({"op": "interrupt", "id": number})

        return cancel.on_cancel(interrupt)

    def start_service(self, name: str, command: str) -> None:
        """Start a named background command that outlives later commands; raises ValueError where it runs."""
        self._call("start_service", name=name, command=command)

    def list_processes(self) -> list[Service]:
        """The services, running or ended."""
        header, _ = self._call("list_services")
        return [_service(found) for found in header["services"]]

    def stop_service(self, name: str) -> None:
        """Kill a service with all that it started; raises KeyError where there is none of that name."""
        if all(service.name != name for service in self.list_processes()):
            raise KeyError(name)
        self._call("stop_service", name=name)

    def ping(self) -> None:
        """Raises SandboxGone where nobody answers."""
        self._call("ping")

    def close(self) -> None:
        """End every process and remove all that was made; from any thread, as often as you like."""
        self._end("it was closed")
        self._channel.kill()
        if threading.current_thread() is not self._reader:
            self._reader.join(5)

    def __enter__(self) -> SupervisedSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _service(found: Mapping[str, Any]) -> Service:
    return Service(
        name=found["name"],
        command=found["command"],
        running=found["running"],
        exit_code=found["exit_code"],
        output=os.fsencode(found["output"]),
    )
