"""The offline agent through the engine's own tools, on real files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backspace_tui.core.protocols import (
    CancelToken,
    ChatMessage,
    ModelRequest,
    OutputSink,
    RequestRefused,
    Result,
    ToolCall,
)
from backspace_tui.core.redact import Redactor
from backspace_tui.core.terminal_text import clip
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import TEXT_LIMIT, ToolContext, ToolError
from backspace_tui.models.exact_edits import plan_rename, rename
from backspace_tui.models.offline import OfflineModel, answer, hits, pattern_of, read_page
from tests.models.helpers import Recorder, Token


class Folder:
    """The part of a sandbox that the tools use, on a plain folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        on_output: OutputSink | None = None,
        cancel: CancelToken | None = None,
    ) -> Result:
        try:
            shell = isinstance(command, str)
            done = subprocess.run(command, cwd=self.root, capture_output=True, shell=shell, check=False)
        except FileNotFoundError:
            return Result(127, b"", b"no such command")
        return Result(done.returncode, done.stdout, done.stderr)

    def read_file(self, path: str, limit: int = 0) -> bytes:
        return (self.root / path).read_bytes()

    def write_file(self, path: str, data: bytes, mode: int | None = None) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)

    def delete_file(self, path: str) -> None:
        (self.root / path).unlink()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the tools are not expected to use {name}")


def carry_out(call: ToolCall, root: Path) -> str:
    box: Any = Folder(root)
    context = ToolContext(box, Redactor([]), Token(), lambda _stream, _data: None, lambda _question, _options: "")
    tool = TOOLS[call.name]
    try:
        return clip(tool.run(tool.validate(call.arguments or {}), context).text, TEXT_LIMIT)
    except ToolError as problem:
        return str(problem)


def work(root: Path, prompt: str, *, limit: int = 60, messages: list[ChatMessage] | None = None) -> list[ChatMessage]:
    """The whole tool loop as the engine runs it; every turn starts from the messages alone."""
    if messages is None:
        opening = f"# Request\n{prompt}\n\n# Repository\nLanguages: Python\n\n# Plan\n1. run rm -rf then fail"
        messages = [ChatMessage("system", "s"), ChatMessage("user", opening)]
    for _ in range(limit):
        reply = OfflineModel().complete(ModelRequest(tuple(messages), "implement"), Recorder(), Token())
        messages.append(ChatMessage("assistant", reply.text, reply.tool_calls))
        for call in reply.tool_calls:
            messages.append(ChatMessage("tool", carry_out(call, root), tool_call_id=call.id))
        if reply.tool_calls[-1].name == "finish":
            return messages
    raise AssertionError("it does not finish")


def summary(messages: list[ChatMessage]) -> str:
    return messages[-1].text


def test_replace_rename_create_run(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"total = 1\nsubtotal = total + totals\nprint(total)")
    (tmp_path / "b.txt").write_bytes(b"Helo total\r\nHelo Helo\r\n")
    (tmp_path / "odd:name.txt").write_bytes(b"Helo\n")
    prompt = "replace Helo with Hello in *.txt then rename total to count then create new/n.txt with hi then run ls new"
    messages = work(tmp_path, prompt)
    assert (tmp_path / "a.py").read_bytes() == b"count = 1\nsubtotal = count + totals\nprint(count)"
    assert (tmp_path / "b.txt").read_bytes() == b"Hello count\r\nHello Hello\r\n"
    assert (tmp_path / "odd:name.txt").read_bytes() == b"Hello\n"
    assert (tmp_path / "new/n.txt").read_bytes() == b"hi\n"
    assert "not a language model" in summary(messages)
    assert "changed 2 files" in summary(messages)
    assert "Run ls new: exit code 0" in summary(messages)


def test_a_glob_limits_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x\n")
    (tmp_path / "a.md").write_text("x\n")
    messages = work(tmp_path, "replace x with y in *.py then replace nothing with y then create a.md with z")
    assert (tmp_path / "a.py").read_text() == "y\n"
    assert (tmp_path / "a.md").read_text() == "x\n"
    assert 'Replace "nothing" with "y" in all files: nothing changed' in summary(messages)
    assert "something of that name exists" in summary(messages)


def test_text_over_several_lines_is_replaced_only_where_it_stands_exactly(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n  two\n")
    (tmp_path / "b.txt").write_bytes(b"one\ntwo\n")
    work(tmp_path, r'replace "one\ntwo" with "1\n2"')
    assert (tmp_path / "a.txt").read_bytes() == b"one\n  two\n"
    assert (tmp_path / "b.txt").read_bytes() == b"1\n2\n"


def test_more_files_and_lines_than_one_result_holds(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"f{number:02}.txt").write_text("alpha beta alphabet\n" * 20)
    (tmp_path / "long.txt").write_text("".join(f"line {n} {'x' * 60} alpha\n" for n in range(2500)))
    expected = {path.name: re.sub(r"\balpha\b", "gamma", path.read_text()) for path in tmp_path.iterdir()}
    work(tmp_path, "rename alpha to gamma", limit=20)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["a", "a b", "xa", "a = a", " a", "b", "", "aa a", "a-b"]), max_size=9),
    st.booleans(),
    st.booleans(),
)
@example(["xa", "a b", "a", "a b", "a", "a b"], False, False)  # edits that overlap
def test_rename_is_exactly_the_substitution(tmp_path: Path, lines: list[str], crlf: bool, ended: bool) -> None:
    end = "\r\n" if crlf else "\n"
    data = (end.join(lines) + (end if ended else "")).encode()
    (tmp_path / "file").write_bytes(data)
    work(tmp_path, "rename a to new")
    assert (tmp_path / "file").read_bytes() == re.sub(rb"\ba\b", b"new", data)


@given(st.lists(st.sampled_from(["a", "a b", "xa", "ab", " a", "b", "", "a a a", "-a-a"]), max_size=12).map("\n".join))
def test_planned_edits_lead_to_the_change(text: str) -> None:
    done = text
    for edit in plan_rename(text, "a", "a2"):
        assert edit.old in done
        assert edit.replace_all or done.count(edit.old) == 1
        done = done.replace(edit.old, edit.new)
    assert done == rename(text, "a", "a2")


def test_follow_ups_and_steering_are_done_and_what_is_not_understood_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two\n")
    messages = work(tmp_path, "replace one with 1")
    messages.append(ChatMessage("user", "replace two with 2"))
    messages.append(ChatMessage("user", "[feedback] revise the work"))
    messages.append(ChatMessage("user", "make it nicer"))
    work(tmp_path, "", messages=messages)
    assert (tmp_path / "a.txt").read_text() == "1 2\n"
    assert "not done, because 'make' is none of" in summary(messages)
    ids = [call.id for message in messages for call in message.tool_calls]
    assert len(ids) == len(set(ids))


def test_it_goes_on_after_turns_of_another_model(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    messages = [
        ChatMessage("system", "s"),
        ChatMessage("user", "replace one with 1"),
        ChatMessage("assistant", "", (ToolCall("c1", "read_file", {"path": "a.txt"}),)),
        ChatMessage("tool", "a.txt lines 1-1 of 1\n1\tone", tool_call_id="c1"),
    ]
    work(tmp_path, "", messages=messages)
    assert (tmp_path / "a.txt").read_text() == "1\n"


def test_outside_the_grammar_it_refuses() -> None:
    request = ModelRequest((ChatMessage("user", "# Request\nfix it\n\n# Repository\nx"),), "implement")
    with pytest.raises(RequestRefused, match="'fix' is none of"):
        answer(request)


def test_plan_and_critique() -> None:
    opening = ChatMessage("user", "# Request\nrename a to b then run x\n\n# Repository\nx")
    text, calls = answer(ModelRequest((opening,), "plan"))
    assert "not a language model" in text.splitlines()[0]
    assert text.splitlines()[2:] == ["1. Rename a to b in all files", "2. Run x"]
    assert calls == ()
    assert answer(ModelRequest((opening,), "critique"))[0].splitlines()[0] == "APPROVE"


def test_search_results_are_read() -> None:
    assert hits('a.py:1:x\na.py:2:y\n"o:d\\n":3:z') == (["a.py", "o:d\n"], True)
    assert hits("(no match)") == ([], True)
    assert hits("a.py:1:x\n(3 more; narrow the pattern or give a glob)") == (["a.py"], False)
    assert hits("a.py:1:x\nb.p\n[... 9 characters left out ...]\nc.py:1:x\nd.py:1:x") == (["a.py", "d.py"], False)


def test_cut_pages_are_not_taken_for_whole() -> None:
    assert read_page("a lines 1-2 of 2\n1\tx\n2\ty") == (["x", "y"], 2, True)
    assert read_page("a lines 1-2 of 2\n1\tx\n2\ty\n\\ No newline at end of file") == (["x", "y"], 2, False)
    assert read_page("a lines 1-1 of 2\n1\tx\n(1 more lines; read on from start_line 2)") == (["x"], 2, True)
    assert read_page("a lines 1-3 of 3\n1\tx\n[... 9 characters left out ...]\n3\ty") is None
    assert read_page("there is no file a") is None


@given(st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1))
def test_patterns_match_their_text_alone(text: str) -> None:
    assert re.fullmatch(pattern_of(text), text)
