"""How fast a session's log is: append, fold, seek, and the way to the pane. Run: python -m tests.benchmarks.sessions

Prints rows for the table in CONTRIBUTING.md, and fails when one misses its target. The long log is made from the
recorded sessions of tests/sessions/formats: their events in their order, over and over, on hundreds of paths.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.state import fold
from backspace_tui.sessions.log import FORMAT, LOG_NAME, EventLog, encode, parse, read_events
from backspace_tui.sessions.timeline import Timeline
from backspace_tui.ui.launch import Launch
from tests.sessions.formats.stored import SESSIONS, unpack
from tests.ui.windows import Window, opened

EVENTS = 100_000
PATHS = 400
FRAME = 1 / 60
APPENDS = 300
DELTA = "the quantity is left out of the sum "


def long_log(size: int) -> list[ev.AnyEvent]:
    """A session of ``size`` events: the recorded ones again and again, each time on other paths."""
    recorded = [read_events(folder) for folder in SESSIONS]
    found: list[ev.AnyEvent] = []
    time_of_all = recorded[0][0].time
    for number in count():
        source = recorded[number % len(recorded)]
        offset = len(found)
        for event in source[1 if found else 0 :]:
            if len(found) == size:
                return found
            time_of_all += timedelta(milliseconds=50)
            event = replace(event, seq=len(found) + 1, time=time_of_all)
            match event:
                case ev.FileEdit(path=path):
                    event = replace(event, path=f"part_{number % PATHS:03}/{path}")
                case ev.Decision(path=path):
                    voids = tuple(seq + offset for seq in event.voids)
                    event = replace(event, path=f"part_{number % PATHS:03}/{path}", voids=voids)
                    event = replace(event, group=event.group + offset, undoes=event.undoes and event.undoes + offset)
                case ev.GitOperation(decisions=decisions, overtaken=overtaken):
                    moved = tuple(seq + offset for seq in decisions), tuple(seq + offset for seq in overtaken)
                    event = replace(event, decisions=moved[0], overtaken=moved[1])
                case _:
                    pass
            found.append(event)
    raise AssertionError


def written(events: Sequence[ev.AnyEvent], directory: Path) -> bytes:
    """Write them as a log and return its bytes."""
    data = b"".join([json.dumps(FORMAT, separators=(",", ":")).encode(), b"\n", *(encode(e) + b"\n" for e in events)])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / LOG_NAME).write_bytes(data)
    return data


def taken(work: Callable[[], object]) -> float:
    """Seconds, with the garbage of earlier measurements out of the way."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Table:
    """Rows with a ratio and its target."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        print("| what | measured | held against | ratio | target |\n|---|---|---|---|---|", flush=True)

    def row(self, what: str, ours: str, theirs: str, ratio: float, target: float) -> None:
        missed = ratio > target
        if missed:
            self.missed.append(what)
        verdict = f"{target:.3g}{': missed' if missed else ''}"
        print(f"| {what} | {ours} | {theirs} | {ratio:.3f} | {verdict} |", flush=True)


def append(table: Table, folder: Path, runs: int) -> None:
    """One durable event through the log, against write and fsync of the same bytes in the same folder."""
    ours, bare = [], []
    event = ev.Message(role="user", text=DELTA, kind="steer")
    with EventLog.open(folder) as log:
        descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        for number in range(runs + 20):
            began = time.perf_counter()
            stored = log.append(event)
            between = time.perf_counter()
            data = encode(stored) + b"\n"
            after = time.perf_counter()
            os.write(descriptor, data)
            os.fsync(descriptor)
            end = time.perf_counter()
            if number >= 20:
                ours.append(between - began)
                bare.append(end - after)
        os.close(descriptor)
    mine, least = statistics.median(ours), statistics.median(bare)
    table.row(
        "append a decision, durable", f"{mine * 1e3:.3f} ms", f"write and fsync {least * 1e3:.3f} ms", mine / least, 1.5
    )


def folding(table: Table, data: bytes, runs: int) -> None:
    """The state of a log's bytes, against ``json.loads`` of its lines."""
    lines = data.splitlines()
    ours, theirs = [], []
    for number in range(runs + 1):
        mine = taken(lambda: fold(parse(data)[0]))
        least = taken(lambda: [json.loads(line) for line in lines])
        if number:
            ours.append(mine)
            theirs.append(least)
    mine, least = statistics.median(ours), statistics.median(theirs)
    table.row(
        f"read and fold {EVENTS:,} events ({len(data) / 1e6:.0f} MB)",
        f"{mine * 1e3:.0f} ms",
        f"`json.loads` of the lines {least * 1e3:.0f} ms",
        mine / least,
        2,
    )


def seeking(table: Table, events: Sequence[ev.AnyEvent], runs: int) -> None:
    """A state anywhere, against the fold of all; the first one after the timeline was made, and any later one."""
    whole = statistics.median(taken(lambda: fold(events)) for _ in range(runs))
    chance = random.Random(1)
    made = statistics.median(taken(lambda: Timeline(events)) for _ in range(runs))
    cold = []
    for index in (len(events) - 1, *(chance.randrange(len(events)) for _ in range(runs))):
        timeline = Timeline(events)
        began = time.perf_counter()
        timeline.state_at(index)
        cold.append(time.perf_counter() - began)
    warm = []
    timeline = Timeline(events)
    for index in [chance.randrange(len(events)) for _ in range(1000)]:
        began = time.perf_counter()
        timeline.state_at(index)
        warm.append(time.perf_counter() - began)
    for what, found in (("the first seek", cold), ("any seek", warm)):
        for name, value in (("median", statistics.median(found)), ("worst", max(found))):
            table.row(
                f"{what}, {name} of {len(found)}",
                f"{value * 1e3:.2f} ms",
                f"fold of all {whole * 1e3:.0f} ms",
                value / whole,
                1 / 20,
            )
    against = f"fold of all {whole * 1e3:.0f} ms"
    print(f"| making the timeline (in the background) | {made * 1e3:.0f} ms | {against} | {made / whole:.2f} | |")


@contextmanager
def watched(window: Window) -> Iterator[list[tuple[str, float]]]:
    """Every line of the Sandbox pane as it is drawn, with the time."""
    pane = window.workspace.sandbox
    drawn: list[tuple[str, float]] = []
    draw = pane.draw

    def noted(index: int) -> object:
        found = draw(index)
        drawn.append(("".join(segment.text for segment in found.segments), time.perf_counter()))
        return found

    pane.draw = noted  # type: ignore[assignment,method-assign]
    try:
        yield drawn
    finally:
        del pane.draw


async def to_the_pane(table: Table, directory: Path, runs: int) -> None:
    """From the append of a command's output to the drawing of its line in a window that follows the log."""
    chance = random.Random(2)
    launch = Launch(repository="/", title="speed", session=os.fspath(directory))
    late: list[float] = []
    with EventLog.open(directory) as log:
        async with opened(launch) as window:
            await window.until(lambda: window.workspace._caught_up, "the log")
            with watched(window) as drawn:
                for number in range(runs):
                    # Anywhere in the rhythm of whoever looks for news.
                    await asyncio.sleep(0.1 + chance.random() / 10)
                    line = f"line {number} of the output"
                    drawn.clear()
                    began = time.perf_counter()
                    log.append(ev.ToolOutput(call_id="c", stream="stdout", text=f"{line}\n"))
                    await window.until(lambda line=line: any(line in text for text, _ in drawn), line)  # type: ignore[misc]
                    late.append(next(when for text, when in drawn if line in text) - began)
    late.sort()
    for name, value in (("median", statistics.median(late)), ("95 %", late[int(len(late) * 0.95)])):
        table.row(
            f"from append to the pane, {name} of {runs}",
            f"{value * 1e3:.1f} ms",
            f"a frame {FRAME * 1e3:.1f} ms",
            value / FRAME,
            2,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    table = Table()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "append").mkdir()
        append(table, folder / "append", APPENDS)
        long = folder / "long"
        events = long_log(EVENTS)
        data = written(events, long)
        folding(table, data, runs)
        seeking(table, parse(data)[0], runs)
        del events, data
        short = unpack(SESSIONS[0], folder / "short")
        asyncio.run(to_the_pane(table, short, 100))
    for what in table.missed:
        print(f"missed: {what}", file=sys.stderr)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
