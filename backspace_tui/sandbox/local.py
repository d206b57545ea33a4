"""The channel to a supervisor that runs as a child process of ours."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from backspace_tui.core.protocols import SandboxError

END_SECONDS: Final = 10.0


class ProcessChannel:
    """Pipes to a supervisor. ``graceful`` lets it clean up at the end of its input before it is killed."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        pass_fds: Sequence[int] = (),
        graceful: bool = False,
        explain: Callable[[str], str] = lambda text: text,
        folder: str = "",
    ) -> None:
        self._graceful, self._explain, self._folder = graceful, explain, folder
        started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
        # "Die with parent" means the thread that forked, so one of our own forks and lives as long as the child.
        threading.Thread(
            target=self._keep, args=(argv, env, tuple(pass_fds), started), name="sandbox-process", daemon=True
        ).start()
        process = started.get()
        if isinstance(process, OSError):
            raise SandboxError(f"{argv[0]} cannot be started: {process.strerror}")
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin.fileno(), process.stdout.fileno()
        self._kill_once = threading.Lock()
        self._killed = False

    @staticmethod
    def _keep(
        argv: Sequence[str],
        env: Mapping[str, str],
        pass_fds: tuple[int, ...],
        started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError],
    ) -> None:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(env),
                pass_fds=pass_fds,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            started.put(error)
            return
        started.put(process)
        process.wait()

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._input, view) :]

    def receive(self) -> bytes:
        data = os.read(self._output, 256 * 1024)
        if not data and not self._killed:
            assert self._process.stderr is not None
            # Whatever still holds the pipe is about to be killed; its words so far are enough.
            os.set_blocking(self._process.stderr.fileno(), False)
            with contextlib.suppress(OSError):
                if text := (self._process.stderr.read() or b"").decode(errors="replace").strip():
                    raise OSError(self._explain(text.splitlines()[-1][:300]))
        return data

    def kill(self) -> None:
        with self._kill_once:
            if self._killed:
                return
            self._killed = True
            process = self._process
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            if not self._graceful:
                process.kill()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)
