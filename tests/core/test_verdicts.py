from __future__ import annotations

import pytest

from backspace_tui.core.events import Verdict
from backspace_tui.core.verdicts import failing_tests, verdict

PYTEST = "FAILED tests/test_a.py::test_one - assert 1 == 2\nFAILED tests/test_a.py::test_two\n2 failed in 0.1s\n"
UNITTEST = "======\nFAIL: test_total (test_cart.CartTest.test_total)\n-----\nFAILED (failures=1)\n"
GO = "--- FAIL: TestTotal (0.00s)\n    --- FAIL: TestTotal/empty (0.00s)\nFAIL\n"
CARGO = "test cart::total ... FAILED\ntest cart::tax ... ok\n"
TAP = "ok 1 - adds\nnot ok 2 - multiplies # time=1ms\n"


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (PYTEST, {"tests/test_a.py::test_one", "tests/test_a.py::test_two"}),
        (UNITTEST, {"test_total (test_cart.CartTest.test_total)"}),
        (GO, {"TestTotal", "TestTotal/empty"}),
        (CARGO, {"cart::total"}),
        (TAP, {"multiplies"}),
        ("make: *** [test] Error 1", set()),
    ],
)
def test_names_of_failing_tests(output: str, names: set[str]) -> None:
    assert failing_tests(output) == names


ONE = "FAILED tests/test_a.py::test_one\n"


@pytest.mark.parametrize(
    ("accepted", "base", "expected"),
    [
        ((0, ""), (0, ""), "passes"),
        ((0, ""), (1, ""), "passes"),
        ((1, ""), (0, ""), "newly fails"),
        ((None, ""), (0, ""), "newly fails"),
        ((1, ""), (1, ""), "fails as before"),
        ((1, ONE), (1, PYTEST), "fails as before"),
        ((1, PYTEST), (1, ONE), "newly fails"),
        ((2, "ImportError"), (1, ONE), "newly fails"),
        ((1, ONE), (2, "ImportError"), "fails as before"),
    ],
)
def test_verdicts(accepted: tuple[int | None, str], base: tuple[int | None, str], expected: Verdict) -> None:
    assert verdict(accepted, base) == expected
