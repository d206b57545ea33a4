"""``backspace-tui sandbox``: the image, one command, a session's shell, and leftovers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

from backspace_tui import config
from backspace_tui.sessions.errors import SessionError

KILLED = 137  # as a shell has it


def run(options: argparse.Namespace) -> int:
    """Carry out the action; returns the exit code (of the command or shell, for ``exec`` and ``shell``)."""
    match options.action:
        case "build":
            return _build("slim" if options.slim else "default")
        case "exec":
            return _exec(options)
        case "shell":
            return _shell(options.session)
        case _:
            return _prune()


def _build(kind: Literal["default", "slim"]) -> int:
    from backspace_tui.sandbox import images

    image = images.build(kind, progress=lambda line: print(line, flush=True))
    print(f"ready: {image}")
    return 0


def _exec(options: argparse.Namespace) -> int:
    from backspace_tui.sandbox import exec_command

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise SessionError("name the command after --, such as: sandbox exec --repo . -- make test", 2)
    directory = Path(options.repo)
    if not directory.is_dir():
        raise SessionError(f"{options.repo} is not a folder", 2)
    if options.timeout is not None and options.timeout <= 0:
        raise SessionError("--timeout takes seconds, more than 0", 2)
    settings = config.load().sandbox
    return exec_command(
        directory,
        command,
        options.timeout,
        options.sandbox,
        options.profile,
        repository=settings.repository,
        max_sandboxes=settings.max_sandboxes,
    )


def _shell(name: str) -> int:
    from backspace_tui.sessions import shell, store

    ended = shell.visit(store.find(name), stdin=sys.stdin.fileno(), stdout=sys.stdout.fileno())
    print(shell.outcome(ended), file=sys.stderr)
    return KILLED if ended.exit_code is None else ended.exit_code


def _prune() -> int:
    from backspace_tui.sandbox import prune
    from backspace_tui.sandbox.setup import prune_images

    count = prune() + prune_images()
    print(f"removed {count} leftover{'s' if count != 1 else ''}", file=sys.stderr)
    return 0
