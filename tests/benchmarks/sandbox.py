"""What a sandbox costs, as ratios within one run. Run: python -m tests.benchmarks.sandbox [--runs N]

Needs a Docker Engine. Prints rows for the table in CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable

from backspace_tui.core.protocols import SandboxSpec
from backspace_tui.core.terminal_text import Cleaner
from backspace_tui.engine.output import LOGGED_OUTPUT
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.factory import Factory

HOSTILE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                if os.fork() == 0:
                    time.sleep(0.05)
                else:
                    os._exit(0)
        os._exit(0)
print("ready", flush=True)
time.sleep(600)
"""
BOMB = "(b(){ b|b& };b) & while :; do :; done"
COUNT = ["python3", "-c", "import os; print(sum(name.isdigit() for name in os.listdir('/proc')))"]


def milliseconds(action: Callable[[], object]) -> float:
    """The wall time of one call."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> tuple[list[float], list[float]]:
    """``runs`` times of each, one after the other so that both meet the same load; the first of each warms up."""
    pairs = [(milliseconds(ours), milliseconds(theirs)) for _ in range(runs + 1)][1:]
    return [mine for mine, _ in pairs], [other for _, other in pairs]


def row(name: str, ours: list[float], against: str, theirs: list[float]) -> str:
    """A row with medians, smallest values and the ratio of each."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return (
        f"| {name} | {mine:.2f} ms (min {min(ours):.2f}) | {against} {other:.2f} ms (min {min(theirs):.2f}) "
        f"| {mine / other:.2f} (of the smallest {min(ours) / min(theirs):.2f}) |"
    )


def command_row(factory: Factory, runs: int) -> str:
    """A command through the sandbox against the same one without."""
    box = factory.open({}, session="benchmark", purpose="agent")
    try:
        ours, theirs = in_turns(
            lambda: box.run(["sh", "-c", ":"]), lambda: subprocess.run(["/bin/sh", "-c", ":"], check=True), runs
        )
    finally:
        box.close()
    return row("a command through the sandbox", ours, "`sh -c :`", theirs)


def ready_row(factory: Factory, runs: int) -> str:
    """A session that can run commands against a container of the same image that runs one."""
    image = factory.image_id()
    boxes: list[SupervisedSandbox] = []

    def ready() -> None:
        boxes.append(factory.open({}, session="benchmark", purpose="agent"))
        boxes[-1].run("true")

    def container() -> None:
        subprocess.run(["docker", "run", "--rm", "--network", "none", "--entrypoint", "true", image], check=True)
        boxes.pop().close()

    ours, theirs = in_turns(ready, container, runs)
    return row("a ready session and its first command", ours, "`docker run --rm --network none IMAGE true`", theirs)


def kill_times(factory: Factory, command: list[str] | str, wait: float, runs: int) -> list[float]:
    """Milliseconds from the end of a command's time until everything is dead, with the proof that it is."""
    times = []
    box = factory.open({}, session="benchmark", purpose="agent")
    try:
        alone = int(box.run(COUNT).stdout)
        for _ in range(runs):
            began = time.perf_counter()
            result = box.run(command, timeout=wait)
            times.append((time.perf_counter() - began - wait) * 1000)
            assert result.timed_out
            assert int(box.run(COUNT).stdout) == alone, "something survived"
    finally:
        box.close()
    return times


def kill_row(name: str, times: list[float], limit: float) -> str:
    """A row with an absolute limit."""
    return f"| {name} | {statistics.median(times):.1f} ms (max {max(times):.1f}) | limit {limit:.0f} ms | |"


def flood_row(factory: Factory, seconds: float) -> str:
    """What ``yes`` leaves in a log while it runs."""
    cleaner, logged, produced = Cleaner(), 0, 0

    def take(_stream: str, data: bytes) -> None:
        nonlocal logged, produced
        produced += len(data)
        logged = min(LOGGED_OUTPUT, logged + len(cleaner.feed(data)))

    box = factory.open({}, session="benchmark", purpose="agent")
    try:
        result = box.run("yes", timeout=seconds, on_output=take)
    finally:
        box.close()
    assert result.audit is not None
    return (
        f"| `yes` for {seconds:g} s | {result.audit.stdout / 1e6:.0f} MB made, {produced / 1e6:.2f} MB left the "
        f"sandbox, {logged / 1e3:.0f} kB logged | cap {LOGGED_OUTPUT / 1e3:.0f} kB | |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    default = Factory(SandboxSpec(image="slim"))
    strict = Factory(SandboxSpec(image="slim", profile="strict"))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cpus")
    print(command_row(default, runs * 20))
    print(ready_row(default, runs))
    hostile = ["python3", "-c", HOSTILE]
    print(kill_row("kill of a hostile tree", kill_times(default, hostile, 1.0, max(3, runs // 3)), 50))
    print(kill_row("kill of a fork bomb, 0.5 cpu", kill_times(strict, BOMB, 1.0, max(3, runs // 3)), 1000))
    print(flood_row(default, 5.0))


if __name__ == "__main__":
    main()
