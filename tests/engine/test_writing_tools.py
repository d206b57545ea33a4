"""The tools that write, edit, move and delete: what they do, what they say, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backspace_tui.core.trees import EXECUTABLE, REGULAR, File
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import ToolError, shown
from tests.engine.agent import FILES, Agent


def test_write_file(agent: Agent) -> None:
    assert agent.call("write_file", path="a/b/c.txt", content="new\n").text == "wrote a/b/c.txt, 4 bytes"
    assert agent.file("a/b/c.txt") == File(REGULAR, b"new\n")
    agent.call("write_file", path="run.sh", content="#!/bin/sh\n")
    assert agent.file("run.sh") == File(EXECUTABLE, b"#!/bin/sh\n")
    agent.call("write_file", path="/workspace/./src//main.py", content="")
    assert agent.file("src/main.py") == File(REGULAR, b"")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("src", "Is a directory"),
        ("crlf.txt/below", "Not a directory"),
        ("link", "is a symbolic link"),
        ("out/x", "symbolic link"),
        ("folder/new.py", "symbolic link"),
        ("../x", "outside the workspace"),
        ("/tmp/x", "outside the workspace"),
        ("src/.git/hooks/x", "belongs to git"),
        (".GIT/x", "belongs to git"),
        ("x" * 300, "cannot write"),
    ],
)
def test_write_file_refuses(agent: Agent, path: str, why: str) -> None:
    before = agent.box.export()
    assert why in agent.refused("write_file", path=path, content="x")
    assert agent.box.export() == before


def test_write_file_of_many_bytes(agent: Agent) -> None:
    content = "line of text\n" * 1_000_000
    assert agent.call("write_file", path="big.txt", content=content).text == "wrote big.txt, 13000000 bytes"
    assert agent.file("big.txt") == File(REGULAR, content.encode())


def test_text_that_cannot_be_encoded_is_refused(agent: Agent) -> None:
    assert "unpaired surrogate" in agent.refused("write_file", path="a", content="x\ud800")
    assert "unpaired surrogate" in agent.refused("edit_file", path="open.txt", old="first", new="\udfff")
    assert "unpaired surrogate" in agent.refused("edit_file", path="open.txt", old="\udfff", new="first")


def test_write_files(agent: Agent) -> None:
    files = [{"path": "a", "content": "1"}, {"path": "b/c", "content": "2"}]
    assert agent.call("write_files", files=files).text == "wrote a, b/c"
    assert (agent.file("a"), agent.file("b/c")) == (File(REGULAR, b"1"), File(REGULAR, b"2"))


def test_write_files_tells_what_it_wrote_before_it_failed(agent: Agent) -> None:
    files = [{"path": "a", "content": "1"}, {"path": "src", "content": "2"}, {"path": "b", "content": "3"}]
    outcome = agent.call("write_files", files=files)
    assert not outcome.ok
    assert outcome.text == "cannot write src: Is a directory; wrote a before that"
    assert outcome.touched == {"a": b"1"}
    files = [{"path": "c", "content": "1"}, {"path": "..", "content": ""}]
    assert "outside" in agent.refused("write_files", files=files)
    assert agent.file("c") is None


def test_edit_file(agent: Agent) -> None:
    assert agent.call("edit_file", path="crlf.txt", old="one\ntwo", new="one\n2\nthree").ok
    assert agent.file("crlf.txt") == File(REGULAR, b"one\r\n2\r\nthree\r\n")
    assert agent.call("edit_file", path="open.txt", old="last", new="end").ok
    assert agent.file("open.txt") == File(REGULAR, b"first\nend")
    assert agent.call("edit_file", path="run.sh", old="ran", new="walked").ok
    assert agent.file("run.sh") == File(EXECUTABLE, b"#!/bin/sh\necho walked\n")
    assert agent.call("edit_file", path="src/main.py", old="return 1", new="return 2", replace_all=True).ok
    assert agent.file("src/main.py") == File(REGULAR, FILES["src/main.py"].data.replace(b"1", b"2"))
    assert agent.call("edit_file", path=shown("caf\udce9"), old="latin", new="LATIN").ok
    assert agent.file("caf\udce9") == File(REGULAR, b"LATIN \xe9\n")


@pytest.mark.parametrize(
    ("path", "old", "why"),
    [
        ("src/main.py", "return 1", "stands 2 times in src/main.py (lines 2, 6)"),
        ("src/main.py", "return 3", "does not stand in src/main.py. It is most like line 2, where this differs:\n"),
        ("src/main.py", "return 3", "old:  return 3\nfile: 2\t    return 1\nNothing was changed"),
        ("src/main.py", "quite another thing", "does not stand in src/main.py\nNothing was changed"),
        ("src/main.py", "", "must not be empty"),
        ("src/main.py", "x", "nothing to change"),
        ("link", "def f", "is a symbolic link"),
        ("out/passwd", "root", "leads out of the workspace"),
        ("missing", "a", "there is no file"),
    ],
)
def test_edit_file_refuses(agent: Agent, path: str, old: str, why: str) -> None:
    before = agent.box.export()
    assert why in agent.refused("edit_file", path=path, old=old, new="x")
    assert agent.box.export() == before


def test_move_file(agent: Agent) -> None:
    assert agent.call("move_file", path="run.sh", to="bin/tools/run").ok
    assert (agent.file("run.sh"), agent.file("bin/tools/run")) == (None, FILES["run.sh"])
    assert agent.call("move_file", path="link", to="moved").ok
    assert agent.file("moved") == FILES["link"]
    assert agent.call("move_file", path="src", to="lib").ok
    assert agent.file("lib/main.py") == FILES["src/main.py"]


@pytest.fixture
def odd(agent: Agent) -> Iterator[Agent]:
    """A workspace with what is neither a file nor a folder, and a file that may not be read."""
    assert agent.box.run("mkfifo pipe && ln -s loop loop && echo two >secret && chmod 0 secret").exit_code == 0
    yield agent
    agent.box.run("rm -f pipe loop secret")


def test_pipes_loops_and_locked_files(odd: Agent) -> None:
    def call(name: str, **arguments: Any) -> str:
        tool = TOOLS[name]
        try:
            return tool.run(tool.validate(arguments), odd.context).text
        except ToolError as problem:
            return f"refused: {problem}"

    assert call("read_file", path="pipe").startswith("refused: cannot read pipe")
    assert call("read_file", path="loop").startswith("refused: cannot read loop")
    assert call("read_file", path="secret").startswith("refused: cannot read secret: Permission denied")
    assert call("edit_file", path="pipe", old="a", new="b").startswith("refused: cannot read pipe")
    assert "pipe" not in call("list_files").split("\n")
    assert call("search", pattern="^two$") == "crlf.txt:2:two"
    assert call("read_files", paths=["pipe", "crlf.txt"]).startswith("pipe: cannot read pipe")
    assert call("delete_file", path="loop") == "deleted loop"


def test_a_binary_file_is_edited_byte_for_byte(agent: Agent) -> None:
    data = bytes(range(256)) + b"name = 1\r\n" + bytes(range(255, -1, -1))
    agent.box.load({"data": File(REGULAR, data)})
    assert agent.call("edit_file", path="data", old="name = 1", new="name = 2").ok
    assert agent.file("data") == File(REGULAR, data.replace(b"name = 1", b"name = 2"))
    assert "does not stand" in agent.refused("edit_file", path="data", old="name = 3", new="name = 4")
    assert agent.call("search", pattern="name").text == "(no match)"


def test_nothing_is_moved_through_a_link(agent: Agent) -> None:
    before = agent.box.export()
    for path, to in (
        ("open.txt", "folder/x"),
        ("open.txt", "out/x"),
        ("out/passwd", "x"),
        ("open.txt", "dangling/x/y"),
    ):
        assert "is a symbolic link" in agent.refused("move_file", path=path, to=to)
    for to in ("src", "src/x", "src/a/b"):
        assert "inside it" in agent.refused("move_file", path="src", to=to)
    assert agent.box.export() == before
    assert agent.call("list_files", path="src").text == "src/main.py"


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("missing", "x"),
        ("open.txt", "crlf.txt"),
        ("open.txt", "dangling"),
        ("open.txt", "src"),
        ("open.txt", "empty/x"),
    ],
)
def test_move_file_refuses(agent: Agent, path: str, to: str) -> None:
    before = agent.box.export()
    assert "cannot move" in agent.refused("move_file", path=path, to=to)
    assert agent.box.export() == before


def test_names_that_look_like_options_are_names(agent: Agent) -> None:
    assert agent.call("write_file", path="-rf", content="x").ok
    assert agent.call("read_file", path="-rf").ok
    assert agent.call("list_files", path="-rf").text == "-rf"
    assert agent.call("move_file", path="-rf", to="--help").ok
    assert agent.call("delete_file", path="--help").ok
    assert agent.box.export() == FILES


def test_delete_file(agent: Agent) -> None:
    assert agent.call("delete_file", path="src/main.py").ok
    assert agent.call("delete_file", path="dangling").ok
    assert agent.call("delete_file", path="out").ok
    assert {"src/main.py", "dangling", "out"} & agent.box.export().keys() == set()
    assert "cannot delete" in agent.refused("delete_file", path="missing")
    agent.call("write_file", path="d/x", content="")
    assert "Is a directory; use run_command with rm -r" in agent.refused("delete_file", path="d")
