"""How long listing many sessions takes, against reading one small file of each.

Run: python -m tests.benchmarks.sessions_list [--sessions N] [--runs N]. Prints a row for the table in
CONTRIBUTING.md; exit code 1 where the ratio is above the limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backspace_tui.core import events as ev
from backspace_tui.sessions.log import EventLog
from backspace_tui.sessions.store import list_sessions

LIMIT = 3.0


def make(root: Path, count: int) -> None:
    """Sessions that rest in their review, each with a log of some hundred events, a lock and a socket's file."""
    start = datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
    for number in range(count):
        directory = root / f"20260102-150405-{number:04x}"
        directory.mkdir()
        began = start + timedelta(minutes=number)
        with EventLog.open(directory, lambda began=began: began) as log:  # type: ignore[misc]
            prompt = f"Fix bug {number} of the shop, and add a test that fails without the change."
            first = ev.SessionStarted(session=directory.name, repository="/home/me/shop", prompt=prompt, version="1")
            output = [ev.ToolOutput(call_id="c", stream="stdout", text="ok " * 100) for _ in range(100)]
            log.extend([first, ev.StageStarted(stage="implement"), *output, ev.StageStarted(stage="review")])
        (directory / "lock").write_text("1\n")


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make(root, options.sessions)
        first = seconds(lambda: list_sessions(root))
        files = [directory / "summary.json" for directory in root.iterdir()]

        def floor() -> list[bytes]:
            return [file.read_bytes() for file in files]

        ours, bare = [], []
        for number in range(options.runs + 1):
            # In turns, so that both see the same load; the first ones only warm the caches.
            mine, least = seconds(lambda: list_sessions(root)), seconds(floor)
            if number:
                ours.append(mine)
                bare.append(least)
    mine, least = statistics.median(ours) * 1000, statistics.median(bare) * 1000
    print(
        f"| the list of {options.sessions:,} sessions | {mine:.1f} ms (min {min(ours) * 1000:.1f}; {first * 1000:.0f} "
        f"without summaries) | reading a small file of each {least:.1f} ms (min {min(bare) * 1000:.1f}) "
        f"| {mine / least:.2f} | {LIMIT:g} |"
    )
    return int(mine / least > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
