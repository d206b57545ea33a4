"""What the critique is given: the change, fairly cut, and whether anything reaches what is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core import events as ev
from backspace_tui.core.stages import MAX_REVISIONS
from backspace_tui.engine.reached import Changed, is_test, new_names, reach
from backspace_tui.engine.stages.critique import DIFF_LIMIT, LEAST, fair
from tests.crash import Script, scene
from tests.models.turns import Turn, call, fault, text
from tests.test_control import in_review, work
from tests.test_long_sessions import tokens


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9_000), max_size=40), st.integers(0, 30_000))
def test_a_long_diff_is_cut_fairly(lengths: list[int], limit: int) -> None:
    diffs = [(f"f{number}.py", chr(97 + number % 26) * length) for number, length in enumerate(lengths)]
    cut = fair(diffs, limit)
    assert len(cut) <= limit + 80 * len(diffs) + 100
    assert all(path in cut for path, _ in diffs)
    shown = {path: body for path, _, body in (part.partition("\n") for part in cut.split("--- ")[1:])}
    if "more files changed" in cut:
        return
    whole = [path for path, body in diffs if body in shown[path]]
    # Nothing is cut that is no longer than what another one keeps.
    longest = max((len(body) for path, body in diffs if path in whole), default=0)
    assert all(len(body) >= longest for path, body in diffs if path not in whole)
    if sum(lengths) <= limit:
        assert len(whole) == len(diffs)


def test_a_small_file_is_whole_beside_a_huge_one() -> None:
    cut = fair([("big.py", "+x\n" * 100_000), ("small.py", "+the one line that matters\n")], DIFF_LIMIT)
    assert "+the one line that matters" in cut
    assert "characters left out" in cut
    assert DIFF_LIMIT * 0.9 < len(cut) < DIFF_LIMIT * 1.1


def test_very_many_files_are_named_at_least() -> None:
    cut = fair([(f"f{number}.py", "+x\n" * 2_000) for number in range(1_000)], LEAST * 10)
    assert cut.count("--- f") == 10
    assert "(990 more files changed: f10.py, " in cut


@pytest.mark.parametrize(
    ("path", "before", "after", "names"),
    [
        ("a.py", b"def old(): ...\n", b"def old(): ...\nasync def new(): ...\nclass Shop:\n    def open(self): ...\n"
         b"    def _close(self): ...\n    def __init__(self): ...\n", ["new", "Shop", "open"]),
        ("a.go", b"", b"func Total() int {\nfunc (c *Cart) Add(i Item) {\nfunc hidden() {\ntype Cart struct {\n",
         ["Total", "Add", "Cart"]),
        ("a.rs", b"", b"pub fn total() {}\nfn hidden() {}\npub struct Cart;\n", ["total", "Cart"]),
        ("a.ts", b"", b"export function total() {}\nexport const rate = 1\nexport default class Cart {}\n"
         b"const hidden = 1\nfunction local() {}\n", ["total", "rate", "Cart", "local"]),
        ("A.java", b"", b"public class Cart {\n  public static List<Item> items(int n) {\n  private int hidden() {\n",
         ["Cart", "items"]),
        ("a.rb", b"", b"class Cart\n  def self.total\n  def add(x)\n", ["Cart", "total", "add"]),
        ("a.txt", b"", b"def nothing\n", []),
        ("latin.py", b"", b"# caf\xe9\ndef total(): ...\n", ["total"]),
    ],
)  # fmt: skip
def test_new_public_names_are_found(path: str, before: bytes, after: bytes, names: list[str]) -> None:
    assert new_names(Changed(path, before, after)) == names


def told(new: Mapping[str, bytes], old: Mapping[str, bytes], *changed: str) -> dict[str, str]:
    lines = reach([Changed(path, old.get(path), new[path]) for path in changed], new)
    return dict(line.split(": ", 1) for line in lines)


def test_who_reaches_new_code_is_told() -> None:
    old = {"cart.py": b"def total(): ...\n", "main.py": b"import cart\n"}
    new = {
        "cart.py": b"def total(): return price()\ndef price(): ...\ndef spare(): ...\ndef checked(): ...\n",
        "main.py": b"import cart\nimport tax\ntax.rate()\n",
        "tax.py": b"def rate(): ...\ndef unused_rate(): ...\n",
        "lonely.py": b"x = 1\n",
        "tests/test_cart.py": b"from cart import checked\n",
        "readme.md": b"The rates of the cart.\n",
    }
    assert told(new, old, "cart.py", "tax.py", "main.py", "lonely.py", "tests/test_cart.py") == {
        "tax.py": "mentioned in main.py",
        "lonely.py": "no other file mentions it",
        "price in cart.py": "mentioned in cart.py",
        "spare in cart.py": "nothing mentions it",
        "checked in cart.py": "only in tests: tests/test_cart.py",
        "rate in tax.py": "mentioned in main.py",
        "unused_rate in tax.py": "nothing mentions it",
    }


def test_a_package_goes_by_its_folder() -> None:
    new = {"shop/__init__.py": b"", "main.py": b"import shop\n"}
    assert told(new, {}, "shop/__init__.py") == {"shop/__init__.py": "mentioned in main.py"}


@pytest.mark.parametrize("path", ["tests/a.py", "test_a.py", "src/a.test.ts", "a_test.go", "spec/a.rb", "conftest.py"])
def test_tests_are_known_by_their_names(path: str) -> None:
    assert is_test(path)


@pytest.mark.parametrize("path", ["src/contest.py", "latest.py", "attest/a.py", "testament.py"])
def test_other_files_are_no_tests(path: str) -> None:
    assert not is_test(path)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=3_000), st.sampled_from([".py", ".go", ".rs", ".ts", ".java", ".kt", ".php", ".cs", ".rb"]))
def test_any_bytes_may_stand_in_a_file(data: bytes, suffix: str) -> None:
    reach([Changed("a" + suffix, None, data)], {"a" + suffix: data})


@pytest.mark.parametrize("line", [b"public " + b"a " * 90_000, b"export " + b" " * 190_000, b"func (" * 30_000])
def test_a_hostile_line_does_not_hold_it_up(line: bytes) -> None:
    for suffix in (".py", ".go", ".ts", ".java", ".kt", ".php"):
        assert new_names(Changed("a" + suffix, None, line)) == []


# Whole sessions


def asked(server: Script) -> list[str]:
    """What the critiques were asked."""
    requests = [body["messages"][-1]["content"] for body in server.bodies if not body.get("tools")]
    return [request for request in requests if "# Changes" in request]


def writes(answer: Callable[[str], Turn]) -> Callable[[Mapping[str, Any]], Turn]:
    """Writes round after round, as often as it is sent back; ``answer`` is the critique's."""

    def agent(body: Mapping[str, Any]) -> Turn:
        messages = body["messages"]
        if not body.get("tools"):
            request = messages[-1]["content"]
            return answer(request) if "# Changes" in request else text("1. do it")
        back = sum(message["role"] == "user" and message["content"].startswith("[feedback]") for message in messages)
        if messages[-1]["role"] == "tool":
            return call("finish", summary=f"Round {back}.")
        return call("write_file", path=f"made{back}.py", content=f"def made_{back}():\n    return {back}\n")

    return agent


def test_the_work_is_sent_back_so_often_and_no_more(tmp_path: Path) -> None:
    server = Script(writes(lambda request: text(f"REVISE\nnot good enough ({request.count('--- made') - 1})")))
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(in_review, "the review")
        feedback = [event for event in human.events() if isinstance(event, ev.Message) and event.kind == "feedback"]
        assert len(feedback) == MAX_REVISIONS
        assert sorted(work(human)) == [f"made{number}.py" for number in range(MAX_REVISIONS + 1)]
    requests = asked(server)
    assert len(requests) == MAX_REVISIONS + 1
    assert "# Your earlier feedback" not in requests[0]
    assert "not good enough (0)" in requests[1]
    assert "not good enough (0)" not in requests[2]
    assert "made_0 in made0.py: nothing mentions it" in requests[0]


def test_the_critique_knows_what_the_user_said(tmp_path: Path) -> None:
    server = Script(writes(lambda _: text("APPROVE")), "made_0")
    with scene(tmp_path, server, "process") as human:
        human.start()
        human.until(lambda state: state.stage == "implement", "the agent's work")
        human.say("use British spelling")
        server.gates["made_0"].set()
        human.until(in_review, "the review")
    (request,) = asked(server)
    assert "# What the user said meanwhile\nuse British spelling" in request


@pytest.mark.parametrize("window", [3_000, 0], ids=["known", "unknown"])
def test_a_diff_that_is_too_long_for_the_model_is_cut_until_it_fits(tmp_path: Path, window: int) -> None:
    def agent(body: Mapping[str, Any]) -> Turn:
        messages = body["messages"]
        if not body.get("tools"):
            if tokens(body) > 3_000:
                return fault("context")
            return text("APPROVE") if "# Changes" in messages[-1]["content"] else text("1. do it")
        if messages[-1]["role"] == "tool":
            return call("finish", summary="Done.")
        return call("run_command", command="seq 9000 > big.txt; echo small > small.txt")

    server = Script(agent)
    with scene(tmp_path, server, "process") as human:
        human.env = {**human.env, "CRASH_WINDOW": str(window)}
        human.start()
        human.until(in_review, "the review")
        failed = [event for event in human.events() if isinstance(event, ev.ModelFailed)]
    *refused, last = asked(server)
    # What is known to be too long is not sent at all.
    assert len(failed) == len(refused)
    assert len(failed) == 0 if window else len(failed) >= 2
    assert all(event.kind == "context" for event in failed)
    assert all(len(after) < len(before) for before, after in pairwise([*refused, last]))
    assert len(last) > 3_000
    assert "Mend the total" in last
    assert "+small" in last
