"""Sandboxes for scripts and for the command line: a directory goes in, results come out."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.core.sizes import parse_size, show_megabytes
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.factory import Factory
from backspace_tui.sandbox.limits import Limits, adjust, limits_of
from backspace_tui.sandbox.transfer import acceptable

TIMED_OUT = 124  # as timeout(1) has it


def read_directory(directory: str | os.PathLike[str], max_bytes: int, setting: str = "the limit") -> dict[str, File]:
    """The regular files and links below a directory, without any ``.git``.

    Raises:
        SandboxError: not a directory, or more than ``max_bytes`` in it; ``setting`` says whose limit that is. Nothing
            was read then.
    """
    root = os.fspath(directory)
    if not os.path.isdir(root):
        raise SandboxError(f"{root} is not a directory")
    found: list[tuple[str, str, os.stat_result]] = []
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = sorted(name for name in folders if name not in links and acceptable(name))
        for name in sorted([*names, *links]):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, root)
            state = os.lstat(path)
            if acceptable(inside):
                found.append((inside, path, state))
    size = sum(state.st_size for _, _, state in found if stat.S_ISREG(state.st_mode))
    if size > max_bytes:
        raise SandboxError(f"{root} holds {show_megabytes(size)}, more than {setting}: raise it, or take files out")
    files: dict[str, File] = {}
    for inside, path, state in found:
        if stat.S_ISLNK(state.st_mode):
            files[inside] = File(SYMLINK, os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(state.st_mode):
            mode = EXECUTABLE if state.st_mode & 0o100 else REGULAR
            files[inside] = File(mode, Path(path).read_bytes())
    return files


def open_sandbox(
    directory: str | os.PathLike[str],
    backend: str = "docker",
    profile: str = "default",
    *,
    image: str = "",
    repository: str = SandboxSpec().repository,
    max_sandboxes: int = SandboxSpec().max_sandboxes,
    **limits: Any,
) -> SupervisedSandbox:
    """A sandbox that holds a copy of ``directory``; a context manager. Nothing is ever written back.

    A directory of more than ``repository`` is refused, and so is a sandbox where ``max_sandboxes`` sessions or
    programs of this user hold some already. ``limits`` are fields of
    :class:`backspace_tui.sandbox.limits.Limits` (``memory="512m"``, ``pids=100``).

    Raises:
        SandboxError: the sandbox cannot be had; the text says what to do.
        TypeError: a limit that does not exist.
    """
    spec = SandboxSpec(
        backend=backend, profile=profile, image=image, repository=repository, max_sandboxes=max_sandboxes
    )
    wanted = adjust(limits_of(spec), limits)
    files = _read(directory, repository, wanted)
    sandbox = Factory(spec).start(wanted, "", "library")
    try:
        sandbox.load(files)
    except BaseException:
        sandbox.close()
        raise
    return sandbox


def _read(directory: str | os.PathLike[str], repository: str, limits: Limits) -> dict[str, File]:
    try:
        most = parse_size(repository)
    except ValueError as problem:
        raise SandboxError(f"[sandbox] repository = {problem}") from None
    if limits.workspace < most:
        return read_directory(directory, limits.workspace, limits.setting_for("workspace"))
    return read_directory(directory, most, f"[sandbox] repository = {repository}")


def exec_command(
    directory: str | os.PathLike[str],
    command: list[str],
    timeout: float | None = None,
    backend: str = "docker",
    profile: str = "default",
    image: str = "",
    repository: str = SandboxSpec().repository,
    max_sandboxes: int = SandboxSpec().max_sandboxes,
) -> int:
    """Run one command on a copy of ``directory``; its raw output goes to our own standard streams as it comes.

    Returns its exit code, or 124 where ``timeout`` (seconds) ended it. One word with spaces is a shell line.

    Raises:
        SandboxError: the sandbox cannot be had.
    """
    line: str | list[str] = command[0] if len(command) == 1 and " " in command[0] else command
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}

    def show(stream: str, data: bytes) -> None:
        streams[stream].write(data)
        streams[stream].flush()

    with open_sandbox(
        directory, backend, profile, image=image, repository=repository, max_sandboxes=max_sandboxes
    ) as sandbox:
        result = sandbox.run(line, timeout=timeout, on_output=show, cap=None)
    if result.limit:
        what = result.limit.removeprefix("none: ") if result.limit.startswith("none: ") else f"raise {result.limit}"
        print(f"backspace-tui: the command hit a limit; {what}", file=sys.stderr)
    return TIMED_OUT if result.timed_out or result.exit_code is None else result.exit_code
