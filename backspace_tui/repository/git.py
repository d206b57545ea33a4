"""Git commands through GitPython's :class:`git.cmd.Git`: bytes in, bytes out, in an environment that we chose.

GitPython adds what it is given to the environment of this process; so names that are to be absent are taken out by
``env -u`` in front of the command. Nothing here uses GitPython's index, which cannot read every index there is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

from backspace_tui import private
from backspace_tui.core.git_environment import isolated, of_user
from backspace_tui.core.protocols import Cancelled, CancelToken
from backspace_tui.repository.check import NO_GIT, first_line
from backspace_tui.repository.errors import GitFailed, RepositoryError

# Importing GitPython fails where there is no git; a command that is run says it in a line.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import git
from git.exc import GitCommandNotFound

_CHUNK: Final = 1 << 20
_NO_SPACE: Final = ("No space left on device", "Out of diskspace", "Disk quota exceeded")


class Process:
    """A running git command. Its standard error is drained by a thread, so that it can never block."""

    def __init__(self, runner: Runner, arguments: Sequence[str], stdin: int | IO[bytes]) -> None:
        self._name = _command(arguments)
        self._folder = runner.folder
        try:
            # GitPython's wrapper ends the process when it is collected, so it is held on to.
            self._guard: Any = cast(
                "Any",
                git.cmd.Git(runner.folder).execute(
                    [*_unset(runner.environment), "git", *arguments],
                    istream=stdin,  # type: ignore[arg-type]
                    as_process=True,
                    env=dict(runner.environment),
                    start_new_session=True,
                    umask=runner.umask,
                ),
            )
        except GitCommandNotFound:
            raise RepositoryError(NO_GIT) from None
        except OSError as problem:
            raise RepositoryError(f"git cannot be run: {problem}") from None
        process = cast("subprocess.Popen[bytes]", self._guard.proc)
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdin = process.stdin
        self.stdout: IO[bytes] = process.stdout
        self._said = bytearray()
        # The thread holds neither this object, which would never be collected, nor the stream, which would not close.
        errors = os.dup(process.stderr.fileno())
        process.stderr.close()
        self._drain = threading.Thread(target=_drain, args=(errors, self._said), daemon=True)
        self._drain.start()

    def feed(self, chunks: Sequence[bytes]) -> None:
        """Write and close standard input; a command that stopped reading says why by its exit status."""
        assert self.stdin is not None
        try:
            for chunk in chunks:
                self.stdin.write(chunk)
            self.stdin.close()
        except BrokenPipeError:
            pass

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """End it at once, and let go of its pipes."""
        self.kill()
        self._process.wait()
        self._drain.join()
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def finish(self, ok: Sequence[int] = (0,)) -> tuple[int, bytes]:
        """Wait for the end: its exit status and the rest of its output.

        Raises:
            GitFailed: the status is not one of ``ok``.
            RepositoryError: neither is it, and there is no space left.
        """
        output = b"" if self.stdout.closed else self.stdout.read()
        status = self._process.wait()
        self._drain.join()
        if status not in ok:
            errors = bytes(self._said)
            said = errors.decode("utf-8", "replace")
            if any(words in said for words in _NO_SPACE) or _is_full(self._folder):
                raise RepositoryError(f"no space left on the disk of {self._folder}: free some space, then resume")
            raise GitFailed(f"git {self._name} failed: {first_line(errors)}", status, said)
        return status, output


def _drain(errors: int, said: bytearray) -> None:
    with open(errors, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            said += chunk
            del said[:-_CHUNK]


class Runner:
    """Runs git in one folder and environment, and with one ``umask`` (-1: this process's)."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, umask: int = -1) -> None:
        self.folder = os.fspath(folder)
        self.environment = environment
        self.umask = umask

    @classmethod
    def of_our_own(cls, git_dir: Path) -> Runner:
        """For a bare repository of ours: nothing but the repository itself configures git."""
        return cls(git_dir, isolated(os.environ, git_dir), umask=private.UMASK)

    @classmethod
    def of_user(cls, folder: Path) -> Runner:
        """For the user's checkout at ``folder``: the user's configuration, without hooks."""
        return cls(folder, of_user(os.environ))

    def with_environment(self, extra: Mapping[str, str]) -> Runner:
        """The same with more variables."""
        return Runner(Path(self.folder), {**self.environment, **extra}, umask=self.umask)

    def start(self, *arguments: str, stdin: int | IO[bytes] = subprocess.DEVNULL) -> Process:
        """Start a command."""
        return Process(self, arguments, stdin)

    def run(
        self,
        *arguments: str,
        data: bytes | Sequence[bytes] | None = None,
        ok: Sequence[int] = (0,),
        cancel: CancelToken | None = None,
    ) -> bytes:
        """The standard output of a command; ``data`` is its input, and must not make it answer before its end.

        Raises:
            GitFailed: its exit status is not one of ``ok``.
            Cancelled: ``cancel`` was flipped.
        """
        process = self.start(*arguments, stdin=subprocess.DEVNULL if data is None else subprocess.PIPE)
        with _killed_by(cancel, process):
            feeder = None
            if data is not None:
                chunks = [data] if isinstance(data, bytes) else data
                feeder = threading.Thread(target=process.feed, args=(chunks,), daemon=True)
                feeder.start()
            output = process.finish(ok)[1]
            if feeder is not None:
                feeder.join()
        return output

    def line(self, *arguments: str, ok: Sequence[int] = (0,)) -> str:
        """Its output as one line of text."""
        return os.fsdecode(self.run(*arguments, ok=ok)).removesuffix("\n")


def pipe(
    producer: Runner,
    produce: Sequence[str],
    data: bytes,
    consumer: Runner,
    consume: Sequence[str],
    cancel: CancelToken | None = None,
) -> None:
    """Stream one command's output into another. ``data``, the first one's input, is small.

    Raises:
        GitFailed: either failed; the first one's reason is the telling one.
        Cancelled: ``cancel`` was flipped.
    """
    source = producer.start(*produce, stdin=subprocess.PIPE)
    try:
        target = consumer.start(*consume, stdin=source.stdout)
    except BaseException:
        source.kill()
        raise
    with _killed_by(cancel, source, target):
        source.feed([data])
        # The consumer holds its own copy of the pipe; ours would hide its end from the producer.
        source.stdout.close()
        failure: GitFailed | None = None
        try:
            target.finish()
        except GitFailed as problem:
            failure = problem
        # A producer whose consumer died ends of a closed pipe, which says nothing.
        source.finish(ok=(0, -signal.SIGPIPE) if failure else (0,))
        if failure is not None:
            raise failure


class _killed_by:
    def __init__(self, cancel: CancelToken | None, *processes: Process) -> None:
        self._cancel = cancel
        self._processes = processes
        self._release: Callable[[], None] = lambda: None

    def __enter__(self) -> None:
        if self._cancel is not None:
            self._release = self._cancel.on_cancel(self._kill)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def __exit__(self, kind: object, *_: object) -> None:
        self._release()
        if kind is not None:
            self._kill()
            if self._cancel is not None and self._cancel.cancelled:
                raise Cancelled from None


def _is_full(folder: str) -> bool:
    # Not every command of git says why it could not write.
    try:
        return shutil.disk_usage(folder).free < 4096
    except OSError:
        return False


def _command(arguments: Sequence[str]) -> str:
    words = iter(arguments)
    for word in words:
        if word in ("-c", "-C"):
            next(words)
        else:
            return word
    return ""


def _unset(environment: Mapping[str, str]) -> list[str]:
    # The variables of GitPython mean nothing to git.
    foreign = (name for name in os.environ if name.startswith("GIT_") and not name.startswith("GIT_PYTHON_"))
    names = [name for name in foreign if name not in environment]
    return ["env", *(word for name in names for word in ("-u", name))] if names else []
