"""The tools that list, read and search: what they tell, and that they never raise for a bad call."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator
from typing import Any

import pytest

from backspace_tui.core.protocols import Result, Sandbox
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import TEXT_LIMIT, ToolError, check_file, shown
from backspace_tui.engine.tools.find import listing
from tests.engine.agent import FILES, Agent


def test_list_files(agent: Agent) -> None:
    listed = agent.call("list_files").text.split("\n")
    assert sorted(listed) == sorted(shown(path) for path in FILES)
    assert agent.call("list_files", path="src").text == "src/main.py"
    assert agent.call("list_files", path="/workspace/src/").text == "src/main.py"
    assert "is not a folder" in agent.refused("list_files", path="nowhere")
    for path in ("..", "/etc", "src/../../etc"):
        assert "outside the workspace" in agent.refused("list_files", path=path)


def test_listed_names_can_be_given_back(agent: Agent) -> None:
    for path in ("caf\udce9", "new\nline"):
        name = shown(path)
        assert name.isprintable()
        assert check_file(name) == path
        assert agent.call("read_file", path=name).ok
        assert agent.call("write_file", path=name, content="changed\n").ok
        assert agent.file(path) == File(REGULAR, b"changed\n")


def test_list_files_counts_what_does_not_fit(agent: Agent) -> None:
    files = [f"many/{number}.txt" for number in range(520)] + [f"a/{n}/{m}" for n in range(3) for m in range(30)]
    agent.box.load(dict.fromkeys([*files, "node_modules/x.js", "a/0/__pycache__/x.pyc"], File(REGULAR, b"")))
    told = agent.call("list_files").text.split("\n")
    assert told[:90] == sorted(path for path in files if path.startswith("a/"))
    assert told[90:] == ["many/ (520 files)", "(list a folder with a number of files for what is in it)"]
    told = agent.call("list_files", path="many").text.split("\n")
    assert len(told) == 501
    assert told[-1].startswith("(20 more;")


def test_list_files_of_a_huge_workspace(agent: Agent) -> None:
    name = "a-rather-long-name-of-a-file-in-a-folder"
    make = f"""
import os
for number in range(60):
    os.makedirs(f"top/f{{number}}/below")
    for more in range(400):
        open(f"top/f{{number}}/below/{name}-{{more}}", "w").close()
"""
    assert agent.box.run(["python3", "-c", make]).exit_code == 0
    try:
        told = TOOLS["list_files"].run(TOOLS["list_files"].validate({}), agent.context).text
    finally:
        agent.box.run(["rm", "-rf", "top"])
    assert len(told) < 5_000
    assert "src/main.py" in told.split("\n")
    assert "top/f7/below/" in told.split("\n")
    assert told.endswith("(there are more files further down; list a folder below)")
    assert "bytes left out" not in told


def test_listing_opens_the_upper_folders_first() -> None:
    paths = ["z.txt", *(f"a/{n}" for n in range(3)), *(f"b/c/{n}" for n in range(4)), "b/d"]
    assert listing(paths, limit=20) == sorted(paths)
    assert listing(paths, limit=6)[:-1] == ["a/0", "a/1", "a/2", "b/c/ (4 files)", "b/d", "z.txt"]
    assert listing(paths, limit=3)[:-1] == ["a/ (3 files)", "b/ (5 files)", "z.txt"]
    assert listing([f"{n}" for n in range(4)], limit=3)[:-1] == ["0", "1", "2"]


def test_read_file(agent: Agent) -> None:
    assert agent.call("read_file", path="src/main.py", start_line=2, end_line=2).text == (
        "src/main.py lines 2-2 of 6\n2\t    return 1\n(4 more lines; read on from start_line 3)"
    )
    assert agent.call("read_file", path="crlf.txt").text == "crlf.txt lines 1-2 of 2 (CRLF)\n1\tone\n2\ttwo"
    assert agent.call("read_file", path="open.txt").text.endswith("2\tlast\n\\ No newline at end of file")
    assert agent.call("read_file", path="empty").text == "empty lines 1-0 of 0"
    assert agent.call("read_file", path="image.bin").text == "image.bin is binary, 2 bytes"
    assert agent.call("read_file", path="link").text.startswith("link lines 1-6 of 6")
    assert agent.call("read_file", path="folder/main.py").ok


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing", "there is no file missing"),
        ("src", "is a folder"),
        ("out/passwd", "leads out of the workspace"),
        ("dangling", "there is no file"),
        ("/etc/passwd", "outside the workspace"),
        ("../etc/passwd", "outside the workspace"),
        (".git/config", "belongs to git"),
        (".", "the workspace itself"),
        ("a\0b", "outside the workspace"),
    ],
)
def test_read_file_refuses(agent: Agent, path: str, why: str) -> None:
    assert why in agent.refused("read_file", path=path)
    assert why in agent.call("read_files", paths=[path]).text


def test_read_file_refuses_lines_that_are_not_there(agent: Agent) -> None:
    assert "has 2 lines" in agent.refused("read_file", path="crlf.txt", start_line=9)
    assert "are not there" in agent.refused("read_file", path="crlf.txt", start_line=2, end_line=1)


def test_a_long_file_is_read_page_by_page(agent: Agent) -> None:
    data = "".join(f"line {number} {'x' * 50}\n" for number in range(1, 1001)).encode()
    agent.box.load({"long": File(REGULAR, data), "wide": File(REGULAR, b"y" * 100_000 + b"\nend\n")})
    seen, at = [], 1
    while at:
        text = agent.call("read_file", path="long", start_line=at).text
        assert len(text) <= TEXT_LIMIT
        header, *body = text.split("\n")
        more = body.pop() if body[-1].startswith("(") else ""
        seen += [line.partition("\t")[2] for line in body]
        at = int(more.rstrip(")").rsplit(" ", 1)[1]) if more else 0
        assert header == f"long lines {len(seen) - len(body) + 1}-{len(seen)} of 1000"
    assert "\n".join([*seen, ""]).encode() == data
    wide = agent.call("read_file", path="wide").text
    assert wide.endswith("[... the rest of this line is left out]\n2\tend")
    assert len(wide) < 2_000


def test_several_long_files_share_the_room(agent: Agent) -> None:
    files = {f"{name}.txt": File(REGULAR, f"{name}\n".encode() * 20_000) for name in "abc"}
    agent.box.load({**files, "short": File(REGULAR, b"all of it\n")})
    text = agent.call("read_files", paths=["a.txt", "short", "b.txt", "missing", "c.txt", "a.txt"]).text
    assert len(text) <= TEXT_LIMIT
    assert "1\tall of it\n\n" in text
    parts = [part for part in text.split("\n\n") if ".txt lines" in part]
    assert [part[:2] for part in parts] == ["a.", "b.", "c."]
    assert all("read on from start_line" in part and 4_000 < len(part) < 6_000 for part in parts)


@pytest.fixture
def huge(agent: Agent) -> Iterator[Agent]:
    """A workspace with files of 50 MB and more, which the checks of each call would be slow with."""
    make = """
with open("huge.txt", "w") as file:
    for number in range(1, 1_000_001):
        file.write(f"{number:7} the quick brown fox jumps over the lazy dog\\n")
    file.write("no end")
with open("huge.bin", "wb") as file:
    file.write(bytes(60_000_000))
with open("wide.txt", "wb") as file:
    file.write(b"x" * 70_000_000)
"""
    assert agent.box.run(["python3", "-c", make]).exit_code == 0
    yield agent
    agent.box.run(["rm", "huge.txt", "huge.bin", "wide.txt"])


def test_a_huge_file_stays_in_the_sandbox(huge: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []
    real = huge.box.read_file

    def read_file(path: str, limit: int) -> bytes:
        moved.append(limit)
        return real(path, limit)

    monkeypatch.setattr(huge.box, "read_file", read_file)

    def call(name: str, **arguments: Any) -> str:
        try:
            return TOOLS[name].run(TOOLS[name].validate(arguments), huge.context).text
        except ToolError as problem:
            return str(problem)

    text = call("read_file", path="huge.txt")
    assert text.startswith("huge.txt lines 1-")
    assert "\n1\t      1 the quick" in text
    assert len(text) <= TEXT_LIMIT
    assert call("read_file", path="huge.txt", start_line=500_000, end_line=500_001).split("\n")[:3] == [
        "huge.txt lines 500000-500001 of 1000001",
        "500000\t 500000 the quick brown fox jumps over the lazy dog",
        "500001\t 500001 the quick brown fox jumps over the lazy dog",
    ]
    end = call("read_file", path="huge.txt", start_line=1_000_000)
    assert end.endswith("\n1000001\tno end\n\\ No newline at end of file")
    assert "has 1000001 lines" in call("read_file", path="huge.txt", start_line=1_000_002)
    assert call("read_file", path="huge.bin") == "huge.bin is binary, 60000000 bytes"
    assert len(call("read_file", path="wide.txt")) < 2_000
    together = call("read_files", paths=["huge.txt", "huge.bin", "crlf.txt"])
    assert "2\ttwo" in together
    assert len(together) <= TEXT_LIMIT
    assert "too large" in call("edit_file", path="huge.txt", old="fox", new="cat")
    assert len(call("search", pattern="fox")) <= TEXT_LIMIT
    assert len(call("search", pattern="xxx", glob="wide.txt")) < 1_000
    assert "exit code 0" in call("run_command", command="cat huge.txt")
    assert max(moved) <= 16 << 20


def test_read_files(agent: Agent) -> None:
    text = agent.call("read_files", paths=["crlf.txt", "missing", "open.txt"]).text
    assert "1\tone" in text
    assert "missing: there is no file" in text
    assert "2\tlast" in text


def test_search(agent: Agent) -> None:
    assert agent.call("search", pattern=r"return \d").text == "src/main.py:2:    return 1\nsrc/main.py:6:    return 1"
    assert agent.call("search", pattern="first|two", glob="*.txt").text == "crlf.txt:2:two\nopen.txt:1:first"
    assert agent.call("search", pattern="nowhere to be found").text == "(no match)"
    assert agent.call("search", pattern="-e").text == "(no match)"
    assert agent.call("search", pattern="two", glob="/workspace/crlf.txt").text == "crlf.txt:2:two"
    assert agent.call("search", pattern="^two$").text == "crlf.txt:2:two"
    assert agent.call("search", pattern="def f", glob="src").text == "src/main.py:1:def f():"
    assert agent.call("search", pattern="def f", glob="./src/**/*.py").text == "src/main.py:1:def f():"
    assert agent.call("search", pattern="def f", glob="*.{txt,py}").text == "src/main.py:1:def f():"
    assert agent.call("search", pattern=r"(?<=def )f").text == "src/main.py:1:def f():"
    for pattern in ("(", "[a", "a{2,1}", "*"):
        assert "the pattern is not valid" in agent.refused("search", pattern=pattern)
    assert "(?=(" not in agent.refused("search", pattern="(?=(")
    assert "error parsing glob" in agent.refused("search", pattern="x", glob="[")
    assert f"{shown('caf' + chr(0xDCE9))}:1:latin" in agent.call("search", pattern="latin").text


def test_a_search_that_would_never_end_is_refused(agent: Agent) -> None:
    agent.box.load({"a.txt": File(REGULAR, b"a" * 60 + b"b\n")})
    for pattern in ("(?=a)(a+)+$", "(?=a)(a|a)+$"):
        assert "give a simpler pattern" in agent.refused("search", pattern=pattern)


def test_tools_bear_programs_that_lie(agent: Agent) -> None:
    class Liar:
        """A sandbox whose programs print what they like."""

        def __init__(self, printed: bytes) -> None:
            self.printed = printed

        def run(self, command: Any, **options: Any) -> Result:
            return Result(0, self.printed, b"")

        def read_file(self, path: str, limit: int) -> bytes:
            raise OSError(errno.EFBIG, "File too large")

    for printed in (
        b"",
        b"\n\n\n",
        b"9" * 5_000,
        b"1 1\n1\nx\n",
        b"a\0" + b"9" * 5_000 + b":x\n",
        b"-1 -1\n0\n8000\n\xff",
    ):
        liar: Any = Liar(printed)
        context = dataclasses.replace(agent.context, box=liar)
        for name, arguments in (("read_file", {"path": "a"}), ("search", {"pattern": "x"}), ("list_files", {})):
            try:
                told = TOOLS[name].run(TOOLS[name].validate(arguments), context).text
            except ToolError as problem:
                told = str(problem)
            assert len(told) <= TEXT_LIMIT
            assert name != "read_file" or "too large to read at once" in told


def test_search_names_how_many_more(agent: Agent) -> None:
    agent.box.load({"a.txt": File(REGULAR, b"hit\n" * 250)})
    assert agent.call("search", pattern="hit").text.endswith("(50 more; narrow the pattern or give a glob)")
    agent.box.load({f"{name}.txt": File(REGULAR, b"hit " + b"y" * 9_000 + b"\n") for name in range(60)})
    told = agent.call("search", pattern="hit").text
    assert len(told) <= TEXT_LIMIT
    assert told.endswith("(30 more in 30 files; narrow the pattern or give a glob)")


class Slow:
    """A sandbox in which searches take too long, and that has no ripgrep."""

    def __init__(self, box: Sandbox, printed: str, *, ripgrep: bool = True) -> None:
        self._box, self._printed, self._ripgrep = box, printed, ripgrep

    def run(self, command: Any, **options: Any) -> Result:
        if command[0] == "rg" and not self._ripgrep:
            return Result(127, b"", b"rg: not found")
        result = self._box.run(["sh", "-c", 'printf "$1"; sleep 60', "sh", self._printed], timeout=0.5)
        assert options["timeout"] is not None
        assert result.timed_out
        return result


@pytest.mark.parametrize("ripgrep", [True, False])
def test_a_search_that_takes_too_long_tells_what_it_found(agent: Agent, ripgrep: bool) -> None:
    search = TOOLS["search"]
    for printed, told in (("", "took longer than"), ("./a\\0001:x\\n", "a:1:x\n")):
        slow: Any = Slow(agent.box, printed, ripgrep=ripgrep)
        context = dataclasses.replace(agent.context, box=slow)
        try:
            text = search.run(search.validate({"pattern": "x"}), context).text
        except ToolError as problem:
            text = str(problem)
        assert told in text
        assert "give a simpler pattern" in text


class Bare:
    """A sandbox without ripgrep."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box

    def run(self, command: Any, **options: Any) -> Result:
        return Result(127, b"", b"") if command[0] == "rg" else self._box.run(command, **options)


@pytest.mark.parametrize(
    ("pattern", "glob", "expected"),
    [
        (r"return \d", "", "src/main.py:2:    return 1\nsrc/main.py:6:    return 1"),
        ("first|two", "*.txt", "crlf.txt:2:two\nopen.txt:1:first"),
        ("def f", "src/*.py", "src/main.py:1:def f():"),
        ("def f", "src/", "src/main.py:1:def f():"),
        ("def f", "**/*.{py,txt}", "src/main.py:1:def f():"),
        ("def f", "[a-m]*.py", "src/main.py:1:def f():"),
        ("def f", "*.txt", "(no match)"),
        ("-e", "", "(no match)"),
    ],
)
def test_search_without_ripgrep(agent: Agent, pattern: str, glob: str, expected: str) -> None:
    bare: Any = Bare(agent.box)
    context = dataclasses.replace(agent.context, box=bare)
    search = TOOLS["search"]
    assert search.run(search.validate({"pattern": pattern, "glob": glob}), context).text == expected
    with pytest.raises(ToolError, match="the pattern is not valid"):
        search.run(search.validate({"pattern": "("}), context)
