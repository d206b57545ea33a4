"""A session to measure: its texts, its directory, and a process that carries out its commands with the real engine.

Run by the benchmark: python -m tests.benchmarks.review_session FOLDER CHANGED FILES
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
from pathlib import Path

from backspace_tui.core import commands as cmd
from backspace_tui.engine.server import handle
from backspace_tui.sessions.store import Lock, socket_path
from tests.benchmarks.review_case import FACTS, NEEDLE
from tests.review.scene import Scene


def texts(changed: int, seed: int) -> tuple[str, str]:
    """Two versions of a file that differ in about ``changed`` lines, ten a hunk; the last hunk holds the needle."""
    chance = random.Random(seed)
    old: list[str] = []
    new: list[str] = []
    count = number = 0
    while count < changed:
        for _ in range(chance.randint(8, 30)):
            number += 1
            line = f"    value_{number} = compute({number}, other={number % 7})\n"
            old.append(line)
            new.append(line)
        for _ in range(chance.randint(2, 10)):
            number += 1
            kind = chance.random()
            if kind < 0.9:
                old.append(f"    value_{number} = compute({number})\n")
            if kind < 0.7 or kind >= 0.9:
                new.append(f"    value_{number} = compute({number}, now={seed})\n")
            count += 2 if kind < 0.7 else 1
    new.append(f"    {NEEDLE} = {seed}\n")
    return "".join(old), "".join(new)


def names(files: int) -> list[str]:
    """The paths of that many files."""
    return [f"package/part_{number // 50:02}/module_{number:04}.py" for number in range(files)]


def make(folder: Path, changed: int, files: int) -> Scene:
    """A session whose agent changed ``changed`` lines in ``files`` files; what there is to know stands in FACTS."""
    both = {path: texts(changed // files, number) for number, path in enumerate(names(files))}
    scene = Scene(folder, {path: old.encode() for path, (old, _) in both.items()})
    scene.agent({path: new.encode() for path, (_, new) in both.items()})
    state, objects = scene.state, scene.store.objects
    path = next(iter(both))
    facts = {
        "directory": str(scene.directory),
        "path": path,
        "base": state.base_tree,
        "work": state.work_tree,
        "old": objects.entries(state.base_tree)[path].oid,
        "new": objects.entries(state.work_tree)[path].oid,
        "first": next(line for line in both[path][1].splitlines() if "now=" in line).strip(),
    }
    (folder / FACTS).write_text(json.dumps(facts))
    return scene


def serve(scene: Scene) -> None:
    """Carry out commands for one window after the other, as the session's process does, until standard input ends."""
    lock = Lock(scene.directory)
    lock.acquire()
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.fspath(socket_path(scene.directory)))
    server.listen()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                stream.write(cmd.encode(handle(scene.job, cmd.decode_command(line), driven=False)))
                stream.flush()


if __name__ == "__main__":
    serve(make(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
