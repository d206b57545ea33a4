"""The client of a supervisor: a sandbox over any channel, whatever isolates the other end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from backspace_tui.core.protocols import (
    CancelToken,
    OutputSink,
    Result,
    SandboxError,
    SandboxGone,
    Service,
)
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sandbox import answers
from backspace_tui.sandbox.connection import Channel, Connection
from backspace_tui.sandbox.kept import Difference, Increment, Kept
from backspace_tui.sandbox.limits import DEFAULT_TIMEOUT, Limits
from backspace_tui.sandbox.shell import Shell
from backspace_tui.sandbox.transfer import check, pack, unpack
from backspace_tui.sandbox.wire import CHUNK, Header

GRACE_SECONDS: Final = 20.0  # the supervisor is late by this much: it is beyond help
FILE_SECONDS: Final = 300.0
MAX_READ: Final = 64 * 1024 * 1024
_EMPTY: Final = File(REGULAR, b"")


class SupervisedSandbox(Connection):
    """A :class:`backspace_tui.core.protocols.Sandbox` over a supervisor; a context manager as well.

    ``reopen`` starts another supervisor, as the first one was, for :meth:`rebuild`.
    """

    def __init__(
        self, channel: Channel, label: str, limits: Limits, reopen: Callable[[], Channel] | None = None
    ) -> None:
        super().__init__(channel)
        self._label = label
        self.limits = limits
        self._reopen = reopen
        self._kept = Kept({})
        self._token: str | None = None
        self._tag = ""
        self._one_at_a_time = threading.RLock()

    def _gone_error(self) -> SandboxGone:
        if self._outlived:
            setting = self.limits.setting_for("age")
            reason = f"it reached its greatest age, {setting}"
            text = f"the sandbox reached its greatest age, {setting}; its last snapshot goes into another"
            return SandboxGone(text, reason)
        return super()._gone_error()

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
            raise answers.problem(header, self.limits)
        return header, data

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
        header, _ = self._call("load", pack(snapshot), git=True, tag=tag)
        self._kept, self._token, self._tag = Kept(snapshot), header["token"], tag

    def export(self) -> dict[str, File]:
        """Every regular file and symbolic link outside ``.git``, validated; anything else is left out."""
        header, found = self._look("export")
        self._kept, self._token = Kept(found.files), header["token"]
        return dict(self._kept.files)

    def changes(self, *, thorough: bool = False) -> dict[str, File | None]:
        """What differs from the last load, export or changes (``None``: no longer there), validated as by export.

        It costs what changed, and a walk. Everything is read again while services run and once after they ran, and with
        ``thorough``. Otherwise not found is what a program wrote through a shared mapping that it had only read before.
        """
        header, found = self._look("changes", base=None if thorough else self._token)
        difference = self._kept.difference_to(found.files) if header["whole"] else self._kept.difference(found)
        size, count = self._kept.size_with(difference)
        if size > self.limits.workspace:
            raise SandboxError(
                "the workspace holds more bytes than a snapshot may have; raise " + self.limits.setting_for("workspace")
            )
        if count > self.limits.inodes:
            raise SandboxError("the workspace holds too many files for a snapshot; delete generated ones")
        self._kept.apply(difference)
        self._token = header["token"]
        return difference

    def _look(self, operation: str, **fields: Any) -> tuple[Header, Increment]:
        cap, files = self.limits.workspace, self.limits.inodes
        header, data = self._call(operation, max_bytes=cap, max_files=files, **fields)
        return header, unpack(data, max_bytes=cap, max_files=files)

    def apply(self, files: Mapping[str, File | None]) -> None:
        """Make these paths hold these files (``None``: nothing), whatever stands there now; all others stay.

        The next :meth:`changes` tells of it as of any other change.

        Raises:
            SandboxError: the files do not fit, or a path cannot be laid out.
        """
        wanted = {path: file for path, file in files.items() if file is not None}
        gone = [path for path in files if path not in wanted]
        check(wanted)
        for path in gone:
            check({path: _EMPTY})
        self._call("apply", pack(wanted), gone=gone)

    def restore(self, files: Mapping[str, File]) -> None:
        """Make the workspace hold exactly ``files``, moving only what differs; it counts as the last snapshot.

        The throwaway ``.git`` and services stay as they are.

        Raises:
            SandboxError: the files do not fit, or a path cannot be laid out.
        """
        self.changes()
        difference: Difference = self._kept.difference_to(files)
        self.apply(difference)
        self._kept.apply(difference)

    def rebuild(self) -> None:
        """Start afresh with the last snapshot: what was last loaded, exported or told as changed. Services end.

        Also after the sandbox died. Raises SandboxError where it cannot be started again, or was closed.
        """
        with self._one_at_a_time:
            kept, tag = self._kept.files, self._tag
            if self._reopen is None:
                self._call("prepare")
            else:
                self._connect_again(self._reopen)
            self.load(kept, tag=tag)

    def read_file(self, path: str, limit: int = MAX_READ) -> bytes:
        """The content of a regular file, at most 64 MiB; a link is followed inside the workspace alone."""
        return b"".join(self._call("read", path=path, max_bytes=min(limit, MAX_READ))[1])

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
            SandboxGone: the sandbox ended meanwhile; its ``audit`` is what is known of the command.
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
        printed = {"stdout": 0, "stderr": 0}
        started, began = datetime.now(UTC), time.monotonic()
        said: set[str] = set()
        dropped = 0

        def take(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            if stream == "stderr":
                said.update(answers.told_limits(data))
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
                            printed[stream] += len(payload)
                            take(stream, payload)
                        case "gap":
                            dropped += header["dropped"]
                            printed[stream] += header["dropped"]
                            take(stream, b"\n[... %d bytes left out ...]\n" % header["dropped"])
                        case "done":
                            break
            except SandboxGone as gone:
                gone.audit = answers.unfinished(command, started, time.monotonic() - began, printed)
                raise
            finally:
                forget()
        if "error" in header:
            raise answers.start_problem(header, self.limits)
        limit = answers.limit_met(header, said, seconds, self.limits)
        return Result(
            exit_code=header["exit_code"],
            stdout=b"".join(kept["stdout"]),
            stderr=b"".join(kept["stderr"]),
            timed_out=bool(header["timed_out"]),
            duration=float(header["seconds"]),
            cancelled=bool(header["interrupted"]),
            dropped=dropped,
            limit=limit,
            audit=answers.audit(header, command, limit),
        )

    @contextlib.contextmanager
    def shell(self, rows: int, cols: int, *, term: str = "") -> Iterator[Shell]:
        """An interactive shell on a terminal of that size, as the user of the sandbox; leaving the block ends it.

        Nothing else runs meanwhile but services. ``term`` is the kind of the terminal, where the image knows it. There
        is no timeout. What it leaves behind is killed, services excepted.

        Raises:
            SandboxGone: there is no sandbox any more.
        """
        with self._one_at_a_time, self._request() as (number, replies), self._interrupt_unless_done(number):
            opened = Shell(number, replies, self._send, self._take, self._shell_result, GRACE_SECONDS)
            self._send({"op": "shell", "id": number, "rows": rows, "cols": cols, "term": term})
            yield opened
            opened.end()
            while opened.read():
                pass

    def _shell_result(self, header: Header) -> Result:
        if "error" in header:
            raise answers.start_problem(header, self.limits)
        limit = answers.limit_met(header, set(), 0.0, self.limits)
        return Result(
            exit_code=header["exit_code"],
            stdout=b"",
            stderr=b"",
            duration=float(header["seconds"]),
            cancelled=bool(header["interrupted"]),
            limit=limit,
            audit=answers.audit(header, "shell", limit),
        )

    def _interrupt_on(self, cancel: CancelToken | None, number: int) -> Callable[[], None]:
        if cancel is None:
            return lambda: None

        def interrupt() -> None:
            with contextlib.suppress(SandboxError):
                self._send({"op": "interrupt", "id": number})

        return cancel.on_cancel(interrupt)

    def start_service(self, name: str, command: str) -> Service:
        """Start a named background command that outlives later commands; raises ValueError where it runs."""
        header, _ = self._call("start_service", name=name, command=command)
        return answers.service(header["service"])

    def list_processes(self) -> list[Service]:
        """The services, running or ended."""
        header, _ = self._call("list_services")
        return [answers.service(found) for found in header["services"]]

    def stop_service(self, name: str) -> Service:
        """Kill a service with all that it started, and tell how it was.

        Raises:
            KeyError: there is none of that name.
        """
        if all(service.name != name for service in self.list_processes()):
            raise KeyError(name)
        header, _ = self._call("stop_service", name=name)
        return answers.service(header["service"])

    def ping(self) -> None:
        """Raises SandboxGone where nobody answers."""
        self._call("ping")

    def __enter__(self) -> SupervisedSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
