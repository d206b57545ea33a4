"""How fast the review is, against the least that the same text needs, and against textual-diff-view.

Run: python -m tests.benchmarks.review [--runs N] [--sizes 1k,10k,100k,files]. Prints a Markdown table of medians and
which target is met; exit code 1 where one is not. ``start`` is opening from the start of the process, ``open`` the same
in a process that has shown another review before, both until the first page is there to read; ``whole`` is ``open``
until all hunks can be decided. The floor is a bare ScrollView with the same text, plus a bare ``git diff`` where a diff
is made. Rows for textual-diff-view need it installed (dependency group ``benchmark``).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.review_case import ACCEPTING, BEGAN, FACTS, STARTING, USING, git

SIZES = {"1k": (1_000, 1), "10k": (10_000, 1), "100k": (100_000, 1), "files": (100_000, 1_000)}
WIDGET_SIZES = ("1k", "10k")
KEYS = ("start", "open", "whole", "page", "end", "search")
Medians = dict[tuple[str, str, str], float]
"""Seconds by program, size and what was done."""


@contextlib.contextmanager
def session(folder: Path, changed: int, files: int) -> Iterator[Path]:
    """A session and the process that carries out its commands."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.benchmarks.review_session", str(folder), str(changed), str(files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        try:
            if host.stdout.readline() != b"ready\n":
                raise SystemExit("the session was not made")
            yield folder
        finally:
            host.terminate()


def case(kind: str, folder: Path, warm: Path, mode: str = USING) -> dict[str, float]:
    """The seconds of one run in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.review_case", kind, str(folder), str(warm), mode]
    # More frames a second than a screen shows, since waiting for the next one is nobody's work.
    env = os.environ | {"TEXTUAL_FPS": "1000", BEGAN: repr(time.time())}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=env).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def bare(folder: Path) -> float:
    """The least that accepting needs: one ``git hash-object -w`` and one ``git diff`` of the file."""
    facts = json.loads((folder / FACTS).read_text())
    data = git(facts, "cat-file", "blob", facts["new"]) + b"# %d\n" % time.perf_counter_ns()
    began = time.perf_counter()
    oid = git(facts, "hash-object", "-w", "--stdin", data=data).decode().strip()
    git(facts, "diff", facts["old"], oid)
    return time.perf_counter() - began


def measure(sizes: Sequence[str], runs: int, widget: bool) -> Medians:
    times: dict[tuple[str, str, str], list[float]] = {}

    def note(kind: str, size: str, found: dict[str, float]) -> None:
        for what, seconds in found.items():
            times.setdefault((kind, size, what), []).append(seconds)

    with tempfile.TemporaryDirectory(prefix="review-") as name, contextlib.ExitStack() as stack:
        root = Path(name)
        os.environ |= {"HOME": name, "BACKSPACE_TUI_DATA_DIR": str(root / "data")}
        warm = stack.enter_context(session(root / "warm", 50, 1))
        folders = {size: stack.enter_context(session(root / size, *SIZES[size])) for size in sizes}
        for _ in range(runs):
            # All take turns, so that they see the same load.
            for size, folder in folders.items():
                note("floor", size, case("floor", folder, warm))
                note("ours", size, case("ours", folder, warm))
                note("floor", size, case("floor", folder, warm, STARTING))
                note("ours", size, case("ours", folder, warm, STARTING))
                if size == "10k":
                    note("floor", size, {"accept": bare(folder)})
        if "10k" in folders:
            for _ in range(max(1, runs // 2)):
                note("ours", "10k", case("ours", folders["10k"], warm, ACCEPTING))
                note("floor", "10k", {"accept": statistics.median(bare(folders["10k"]) for _ in range(5))})
        for size in WIDGET_SIZES if widget else ():
            if size in folders:
                note("widget", size, case("widget", folders[size], warm))
    return {key: statistics.median(found) for key, found in times.items()}


def table(medians: Medians, sizes: Sequence[str]) -> Iterator[str]:
    yield "| | lines | ours | floor | ratio | textual-diff-view |"
    yield "|---|---|---|---|---|---|"
    for what in (*KEYS, "accept", "carried out"):
        for size in sizes:
            mine = medians.get(("ours", size, what))
            if mine is None:
                continue
            least = medians.get(("floor", size, "open" if what == "whole" else what))
            other = medians.get(("widget", size, what))
            shown = "1,000 files" if size == "files" else size
            ratio = "" if least is None else f"{mine / least:.2f}"
            yield f"| {what} | {shown} | {_ms(mine)} | {_ms(least)} | {ratio} | {_ms(other)} |"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:,.1f} ms"


def targets(medians: Medians) -> Iterator[tuple[str, float, bool]]:
    """Each target with its ratio, and whether it is met."""
    for text, above, below, limit, least in (
        (
            "start and open 100k: at most 1.5 times the floor",
            ("ours", "100k", "start"),
            ("floor", "100k", "start"),
            1.5,
            False,
        ),
        (
            "open 100k in a warm process: at most 1.5 times the floor",
            ("ours", "100k", "open"),
            ("floor", "100k", "open"),
            1.5,
            False,
        ),
        (
            "open 10k: textual-diff-view takes at least 50 times as long",
            ("widget", "10k", "open"),
            ("ours", "10k", "open"),
            50,
            True,
        ),
        ("page at 100k: under 1.5 times 1k", ("ours", "100k", "page"), ("ours", "1k", "page"), 1.5, False),
        ("accept at 10k: under 3 times git", ("ours", "10k", "accept"), ("floor", "10k", "accept"), 3, False),
    ):
        if above in medians and below in medians:
            ratio = medians[above] / medians[below]
            yield text, ratio, ratio >= limit if least else ratio <= limit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--no-widget", action="store_true", help="leave textual-diff-view out: it takes minutes")
    options = parser.parse_args()
    sizes = [size for size in SIZES if size in options.sizes.split(",")]
    installed = importlib.util.find_spec("textual_diff_view") is not None
    medians = measure(sizes, options.runs, installed and not options.no_widget)
    print("\n".join(table(medians, sizes)), end="\n\n")
    met = True
    for text, ratio, good in targets(medians):
        met = met and good
        print(f"- {text}: {ratio:.2f}, {'met' if good else 'MISSED'}")
    if not installed:
        print("- textual-diff-view is not installed: not compared")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
