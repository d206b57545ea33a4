"""What a test run on the accepted tree says when it is held against the run on the base."""

from __future__ import annotations

import re
from typing import Final

from backspace_tui.core.events import Verdict

# The names of failing tests as pytest, unittest, go test, cargo test, and node's TAP and spec reporters print them.
_FAILURES: Final = (
    re.compile(r"^(?:FAILED|ERROR) (\S+?::\S+|\S+\.py)(?: - .*)?$", re.M),
    re.compile(r"^(?:FAIL|ERROR): (\S+ \(.+?\))", re.M),
    re.compile(r"^\s*--- FAIL: (\S+)", re.M),
    re.compile(r"^test (\S+) \.\.\. FAILED$", re.M),
    re.compile(r"^\s*not ok \d+ (?:- )?(.+?)(?: # .*)?$", re.M),
)


def failing_tests(output: str) -> frozenset[str]:
    """The names of the failing tests that the output of a common test runner lists; empty when none is recognised."""
    return frozenset(match for pattern in _FAILURES for match in pattern.findall(output))


def verdict(accepted: tuple[int | None, str], base: tuple[int | None, str]) -> Verdict:
    """Compare the runs on the accepted tree and on the base, each an exit code (``None``: killed) and an output.

    A failure that the base does not have is ``newly fails`` even where the base fails in other tests. Where the
    runner's output names no test, the exit codes alone decide.
    """
    if accepted[0] == 0:
        return "passes"
    if base[0] == 0:
        return "newly fails"
    now, before = failing_tests(accepted[1]), failing_tests(base[1])
    if now and before:
        return "fails as before" if now <= before else "newly fails"
    # Naming tests on one side only means that the other run broke before it got to them.
    if before and not now:
        return "newly fails"
    return "fails as before"
