from __future__ import annotations

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ToolCall
from backspace_tui.core.state import SessionState
from backspace_tui.sessions.failing import MOST, failing, newest, numbers
from backspace_tui.sessions.why import KEPT, Why, why

# Why


def call(number: int, thought: str, *, streamed: bool = False, text: str = "done") -> list[ev.AnyEvent]:
    """A turn that edits ``a`` with a call that has the same id in every turn."""
    seq = number * 10
    thinking = ev.AgentThinking(text=thought, seq=seq)
    calls = (ToolCall("call_1", "edit_file", {"n": number}),)
    return [
        ev.AgentThinking(text="void ", seq=seq),
        ev.AgentThinking(void=True, seq=seq),
        thinking,
        ev.ModelReplied(model="m", text="" if streamed else thought, tool_calls=calls, seq=seq),
        ev.ToolStarted(call_id="call_1", tool="edit_file", arguments={"n": number}, title=f"edit {number}", seq=seq),
        ev.FileEdit(path="a", added=1, removed=0, tree="", by="call_1", seq=seq + 1),
        ev.ToolFinished(call_id="call_1", tool="edit_file", ok=True, text=text, seq=seq + 2),
    ]


def test_the_call_of_an_edit_is_the_one_before_it_though_ids_come_again() -> None:
    events = [*call(1, "first", streamed=True), *call(2, "second")]
    assert why(events, 11) == Why("first", "edit 1", "edit_file", {"n": 1}, "done")
    assert why(events, 21) == Why("second", "edit 2", "edit_file", {"n": 2}, "done")


def test_nobody_stands_behind_other_edits() -> None:
    by_user = ev.FileEdit(path="a", added=1, removed=0, tree="", by="user", seq=30)
    assert why([*call(1, "first"), by_user], 30) is None
    assert why(call(1, "first"), 99) is None


def test_a_long_result_keeps_its_ends() -> None:
    found = why(call(1, "x", text="head" + "." * 2 * KEPT + "tail"), 11)
    assert found is not None
    assert found.result.startswith("head")
    assert found.result.endswith("tail")
    assert "characters left out" in found.result
    assert len(found.result) < KEPT + 100


# What a failing run names

PYTEST = """\
=================================== FAILURES ===================================
________________________________ test_quantity _________________________________

>       assert total([Item('a', 2.0, 3)]) == 6.0
E       AssertionError: assert 2.0 == 6.0
E        +  where 2.0 = total([...])

tests/test_cart.py:9: AssertionError
__________________________________ test_rate ___________________________________
tests/test_cart.py:12: in test_rate
    rate()
shop/tax.py:5: in rate
    return RATES[x]
E   KeyError: 'x'
=========================== short test summary info ============================
FAILED tests/test_cart.py::test_quantity - assert 2.0 == 6.0
"""
TRACEBACK = """\
Traceback (most recent call last):
  File "/workspace/shop/cart.py", line 3, in <module>
    from shop import tax
ImportError: cannot import name 'tax'
Ran 0 tests
"""


def named(output: str, *paths: str) -> dict[str, tuple[str, ...]]:
    return failing(ev.Verification(tree="t", verdict="newly fails", output=output), paths)


def test_lines_of_pytest_go_to_the_paths_they_name() -> None:
    found = named(PYTEST, "tests/test_cart.py", "shop/tax.py", "shop/cart.py")
    assert found == {
        "tests/test_cart.py": (
            "E       AssertionError: assert 2.0 == 6.0",
            "E        +  where 2.0 = total([...])",
            "tests/test_cart.py:9: AssertionError",
            "tests/test_cart.py:12: in test_rate",
            "E   KeyError: 'x'",
            "FAILED tests/test_cart.py::test_quantity - assert 2.0 == 6.0",
        ),
        "shop/tax.py": ("shop/tax.py:5: in rate", "E   KeyError: 'x'"),
    }
    assert numbers(found["tests/test_cart.py"], "tests/test_cart.py") == {9, 12}


def test_tracebacks_name_files_below_the_workspace() -> None:
    found = named(TRACEBACK, "shop/cart.py", "cart.py")
    assert found == {
        "shop/cart.py": (
            '  File "/workspace/shop/cart.py", line 3, in <module>',
            "ImportError: cannot import name 'tax'",
        )
    }
    assert numbers(found["shop/cart.py"], "shop/cart.py") == {3}


@pytest.mark.parametrize(
    "line",
    [
        "other/shop/tax.py:3: bad",
        "shop/tax.pyc",
        "shop/tax.py.orig:1: bad",
        "/elsewhere/shop/tax.py:3: bad",
        "xshop/tax.py",
    ],
)
def test_another_path_is_another(line: str) -> None:
    assert named(line, "shop/tax.py") == {}


@pytest.mark.parametrize(
    "line", ["shop/tax.py", "./shop/tax.py:3: bad", "at shop/tax.py:3:5", "(shop/tax.py:3:5)", "shop/tax.py."]
)
def test_these_name_it(line: str) -> None:
    assert named(line, "shop/tax.py") == {"shop/tax.py": (line,)}


def test_a_path_with_blanks_and_signs() -> None:
    assert named("a (b)+/c d.py:1: bad", "a (b)+/c d.py") == {"a (b)+/c d.py": ("a (b)+/c d.py:1: bad",)}


def test_there_is_an_end_to_it() -> None:
    output = "".join(f"a.py:{number}: bad\n" for number in range(1000)) + "a.py:7: " + "x" * 100_000
    (lines,) = named(output, "a.py").values()
    assert len(lines) == MOST
    (line,) = named("a.py:7: " + "x" * 100_000, "a.py")["a.py"]
    assert len(line) == 300


def test_a_run_that_passes_names_nothing() -> None:
    passes = ev.Verification(tree="t", verdict="passes", output=PYTEST)
    assert failing(passes, ["shop/tax.py"]) == {}
    assert failing(None, ["shop/tax.py"]) == {}


def test_the_verdict_of_what_is_accepted_comes_before_newer_ones() -> None:
    old = ev.Verification(tree="a", verdict="passes", seq=3)
    new = ev.Verification(tree="b", verdict="newly fails", seq=5)
    assert newest(SessionState()) is None
    assert newest(SessionState(accepted_tree="a", verdicts={"b": new, "a": old})) is old
    assert newest(SessionState(accepted_tree="c", verdicts={"b": new, "a": old})) is new
