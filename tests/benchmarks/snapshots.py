"""What a snapshot after a one-line edit costs in a workspace of 20,000 files, against a `find` over it.

Run: python -m tests.benchmarks.snapshots [--backend docker] [--files N] [--runs N]. Both go through the same sandbox
and take turns; the `find` leaves .git alone, as the snapshot does. Prints rows for the table in CONTRIBUTING.md; exit
code 1 where the whole snapshot's ratio is above the limit. A last row tells how long a dead sandbox takes until it
holds its last snapshot of 500 files again (at most two seconds are meant).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import SandboxSpec
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.engine.recorder import Recorder
from backspace_tui.engine.workspace import Workspace
from backspace_tui.repository.bare import BareRepository
from backspace_tui.sandbox.factory import Factory
from backspace_tui.sessions.objects import Objects

LIMIT = 2.0
FIND = "find . -name .git -prune -o -print > /dev/null"


class Events:
    """A log in memory."""

    def __init__(self) -> None:
        self.events: list[ev.AnyEvent] = []

    def append(self, event: ev.AnyEvent) -> ev.AnyEvent:
        self.events.append(replace(event, seq=len(self.events) + 1))
        return self.events[-1]

    def extend(self, events: Iterable[ev.AnyEvent]) -> list[ev.AnyEvent]:
        return [self.append(event) for event in events]


def sources(count: int) -> dict[str, File]:
    """Small files in 200 folders of a few folders each."""
    return {
        f"src/d{n % 200}/s{n % 7}/module_{n}.py": File(REGULAR, b"x = %d\n" % n * (n % 50 + 1)) for n in range(count)
    }


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def rebuilding(backend: str, runs: int) -> list[float]:
    """Seconds from the death of a sandbox to its last snapshot in a new one."""
    found = []
    with Factory(SandboxSpec(backend=backend)).open(sources(500), session="benchmark", purpose="agent") as box:
        for _ in range(runs):
            box._channel.kill()
            found.append(seconds(box.rebuild))
            assert len(box.export()) == 500
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="docker")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    times: dict[str, list[float]] = {
        "find": [], "find with .git": [], "command": [], "changes()": [], "snapshot": [], "export()": [],
    }  # fmt: skip
    files = sources(options.files)
    with tempfile.TemporaryDirectory() as name:
        repository = BareRepository.create(Path(name, "repo.git"))
        tree = repository.write_tree(files)
        objects, recorder = Objects(repository.path), Recorder(Events())
        recorder.emit(ev.GitOperation(operation="base", commit=tree, tree=tree))
        workspace = Workspace("benchmark", Factory(SandboxSpec(backend=options.backend)), repository, objects, recorder)
        box = workspace.box
        target = next(iter(files))

        def edit() -> None:
            assert box.run(["sh", "-c", 'echo "# edited" >> "$0"', target]).exit_code == 0

        def snapshot() -> None:
            taken = workspace.snapshot(None)
            assert taken.full != recorder.state.snapshot
            edits = workspace.edits(taken.tree, "call")
            assert [edit.path for edit in edits] == [target]
            recorder.emit(
                ev.ToolFinished(call_id="call", tool="t", ok=True, text="", tree=taken.tree, snapshot=taken.full)
            )

        def changes() -> None:
            assert box.changes().keys() == {target}

        try:
            for number in range(options.runs + 1):
                edit()
                taken = {
                    "find": seconds(lambda: box.run(FIND)),
                    "find with .git": seconds(lambda: box.run("find . > /dev/null")),
                    "command": seconds(lambda: box.run(["true"])),
                    "snapshot": seconds(snapshot),
                }
                # The engine is not to miss what is told here; so the file goes back to what it held before.
                before = box.read_file(target)
                edit()
                taken["changes()"] = seconds(changes)
                box.write_file(target, before)
                box.changes()
                if number % 5 == 1:
                    times["export()"].append(seconds(box.export))
                if number:
                    for kind, value in taken.items():
                        times[kind].append(value)
        finally:
            workspace.close()
            objects.close()
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    for kind, values in times.items():
        print(
            f"| {kind}, {options.files} files, {options.backend} | {medians[kind] * 1000:.1f} ms "
            f"(min {min(values) * 1000:.1f}) | {medians[kind] / medians['find']:.2f} |"
        )
    rebuilt = rebuilding(options.backend, 7)
    print(f"| rebuild, 500 files, {options.backend} | {statistics.median(rebuilt):.2f} s (max {max(rebuilt):.2f}) | |")
    return int(medians["snapshot"] / medians["find"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
