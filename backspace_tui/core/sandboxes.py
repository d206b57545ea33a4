"""The Sandbox protocol: where the agent's files are and its commands run, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from backspace_tui.core.cancellation import CancelToken
from backspace_tui.core.trees import File


class Audit(msgspec.Struct, frozen=True):
    """What there is to know of one command in a sandbox, for the log.

    ``command`` is the shell line, or the argument list quoted as a shell would read it; ``user`` is whoever wanted it
    (``agent``, ``verifier``, ``setup`` or ``user``), ``uid`` the account inside. ``started`` is UTC by the sandbox's
    clock. ``exit_code`` is as in :class:`Result`, ``signal`` the one that ended it, ``ended`` says who: the command
    itself (empty), ``timeout``, ``cancelled``, or ``sandbox``, which died under it. ``stdout`` and ``stderr`` count the
    bytes it printed, also those that nobody kept; for a service ``stdout`` counts both.

    Of all processes together: ``memory`` is the greatest number of bytes (files in the sandbox's memory included),
    ``processes`` the most processes and threads at once, ``cpu`` seconds. Without a control group (bubblewrap, plain
    process) ``memory`` is that of the largest one. Each is ``None`` where it cannot be known.
    """

    command: str
    user: str = ""
    uid: int | None = None
    started: datetime | None = None
    seconds: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    ended: Literal["", "timeout", "cancelled", "sandbox"] = ""
    limit: str = ""
    stdout: int = 0
    stderr: int = 0
    memory: int | None = None
    processes: int | None = None
    cpu: float | None = None


class Result(msgspec.Struct, frozen=True):
    """How a command ended.

    ``exit_code`` is ``None`` when it was killed (``timed_out`` or ``cancelled``), and ``128 + n`` after signal
    ``n``. ``stdout`` and ``stderr`` are raw and capped; ``dropped`` counts the bytes left out of each stream's
    middle, where a line names the gap. ``limit`` names the setting to raise when a limit ended the command or a
    process of it. ``duration`` is in seconds. ``audit`` is what the log keeps, without a ``user``.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    duration: float = 0.0
    cancelled: bool = False
    dropped: int = 0
    limit: str = ""
    audit: Audit | None = None


class SandboxError(Exception):
    """The sandbox could not do what was asked; the text is one line that says what to do."""


class SandboxGone(SandboxError):
    """The sandbox died (engine restart, kill, crash): open another and load the last snapshot.

    ``reason`` is what is known of why, in a few words; ``audit`` what is known of the command that ran then, if any.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.audit: Audit | None = None


class Service(msgspec.Struct, frozen=True):
    """A background command; ``output`` is the raw end of what it printed, both streams.

    ``audit`` is what the log keeps of it so far, without a ``user``.
    """

    name: str
    command: str
    running: bool
    exit_code: int | None = None
    output: bytes = b""
    audit: Audit | None = None


OutputSink = Callable[[Literal["stdout", "stderr"], bytes], None]


class Shell(Protocol):
    """An interactive shell in a sandbox: one thread reads, others may type, resize and end it."""

    @property
    def result(self) -> Result | None:
        """How it ended; there when :meth:`read` returned nothing."""
        ...

    def read(self) -> bytes:
        """The next raw output; empty when the shell and all that it started have ended.

        Raises:
            SandboxGone: the sandbox ended meanwhile.
            SandboxError: the shell could not be started.
        """
        ...

    def ready(self, timeout: float) -> bool:
        """Whether it takes input, or ended; waits up to ``timeout`` seconds for that. Ask before each writing."""
        ...

    def write(self, data: bytes) -> None:
        """Type ``data``, also where what runs there takes nothing. Nothing happens after the end."""
        ...

    def resize(self, rows: int, cols: int) -> None:
        """The window has another size now."""
        ...

    def end(self) -> None:
        """Kill it with all that it started; reading then gives what it still printed."""
        ...


class Sandbox(Protocol):
    """A running workspace that holds the agent's files. One command runs at a time; paths are relative to it."""

    @property
    def label(self) -> str:
        """What stands on the status line, such as ``docker, no net`` or ``bubblewrap, reduced isolation``."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it still answers, as far as is known."""
        ...

    def load(self, files: Mapping[str, File]) -> None:
        """Make the workspace hold exactly ``files`` (and a throwaway ``.git`` where git is installed)."""
        ...

    def export(self) -> dict[str, File]:
        """Every regular file and symbolic link outside ``.git``, validated; anything else is left out."""
        ...

    def changes(self, *, thorough: bool = False) -> dict[str, File | None]:
        """What differs from the last load, export or changes (``None``: no longer there), validated as by export.

        Not found, unless ``thorough``, is what a program wrote without a trace; then everything is read.
        """
        ...

    def apply(self, files: Mapping[str, File | None]) -> None:
        """Make these paths hold these files (``None``: nothing), whatever stands there now; all others stay.

        The next :meth:`changes` tells of it as of any other change.
        """
        ...

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        on_output: OutputSink | None = None,
        cancel: CancelToken | None = None,
    ) -> Result:
        """Run a shell line or an argument list in the workspace and kill whatever it leaves behind.

        ``timeout`` is in seconds (default 120). ``on_output`` is called from the calling thread.
        """
        ...

    def shell(self, rows: int, cols: int, *, term: str = "") -> AbstractContextManager[Shell]:
        """An interactive shell on a terminal of that size; leaving the block ends it and all that it left behind.

        ``term`` names the kind of the terminal (``TERM``). Nothing else runs meanwhile but services.
        """
        ...

    def read_file(self, path: str, limit: int = ...) -> bytes:
        """The content of a regular file; never follows a link out of the workspace.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError: as for :func:`open`.
            OSError: with ``EFBIG``, where it holds more than ``limit`` bytes.
        """
        ...

    def write_file(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Create or replace a file, with its folders; ``mode`` (a git mode) defaults to the present one or 100644."""
        ...

    def delete_file(self, path: str) -> None:
        """Remove a file or link, and folders that became empty."""
        ...

    def start_service(self, name: str, command: str) -> Service:
        """Start a background command that outlives later commands, until stopped or :meth:`close`.

        Raises:
            ValueError: a service of that name is running.
        """
        ...

    def list_processes(self) -> list[Service]:
        """The services, running or ended."""
        ...

    def stop_service(self, name: str) -> Service:
        """Kill a service with all that it started, and tell how it was.

        Raises:
            KeyError: there is none of that name.
        """
        ...

    def close(self) -> None:
        """End every process and remove all that was made; may be called twice, and from another thread."""
        ...


class SandboxSpec(msgspec.Struct, frozen=True):
    """What a session wants of its sandboxes. Sizes are docker's: ``512m``, ``2g``.

    An empty ``home`` is the profile's. ``network`` is ``none`` or ``setup``, which lets the setup reach it;
    ``dockerfile`` is a path in the repository, ``name`` the repository's, for whoever lists the engine's images.
    ``repository`` is the most that the files may hold that are copied in at first, ``max_sandboxes`` how many sessions
    of the user may hold sandboxes at once, ``max_age`` (``24h``) how long a sandbox may live.
    """

    backend: str = "docker"
    image: str = ""
    memory: str = "2g"
    cpus: float = 2.0
    pids: int = 512
    workspace: str = "1g"
    home: str = ""
    network: str = "none"
    dockerfile: str = ""
    profile: str = "default"
    repository: str = "100m"
    max_sandboxes: int = 5
    max_age: str = "24h"
    timeout: float = 900.0
    setup: tuple[str, ...] = ()
    setup_root: tuple[str, ...] = ()
    name: str = ""


class SandboxFactory(Protocol):
    """Opens sandboxes for a session: the agent's, and a fresh one for each verification."""

    def setup_key(self, files: Mapping[str, File]) -> str:
        """What the setup of ``files`` depends on: equal keys, equal results. Empty where nothing is set up."""
        ...

    def open(
        self,
        files: Mapping[str, File],
        *,
        session: str,
        purpose: str,
        tag: str = "",
        setup: Callable[[], Mapping[str, File]] | None = None,
        cancel: CancelToken | None = None,
    ) -> Sandbox:
        """A started sandbox that holds ``files``; ``purpose`` is ``agent`` or ``verify``.

        ``tag`` is a tag for the throwaway repository, since version numbers are often made from the nearest one.

        Raises:
            SandboxError: no engine, no image, engine full: with the one thing to do.
        """
        ...
