"""Every tool against a real sandbox: what it does, what it says, and that it never raises for a bad call."""

from __future__ import annotations

import base64
import dataclasses
import errno
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from backspace_tui.core.protocols import Result, Sandbox, SandboxSpec
from backspace_tui.core.redact import Redactor
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.engine.cancel import Cancel
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import TEXT_LIMIT, ToolContext, ToolError, ToolOutcome, check_file, shown
from backspace_tui.engine.tools.find import listing
from backspace_tui.sandbox.factory import Factory

SECRET = "hunter2-hunter2-hunter2"
FILES = {
    "src/main.py": File(REGULAR, b"def f():\n    return 1\n\n\ndef g():\n    return 1\n"),
    "crlf.txt": File(REGULAR, b"one\r\ntwo\r\n"),
    "open.txt": File(REGULAR, b"first\nlast"),
    "run.sh": File(EXECUTABLE, b"#!/bin/sh\necho ran\n"),
    "image.bin": File(REGULAR, b"\x00\x01"),
    "empty": File(REGULAR, b""),
    "link": File(SYMLINK, b"src/main.py"),
    "folder": File(SYMLINK, b"src"),
    "out": File(SYMLINK, b"/etc"),
    "dangling": File(SYMLINK, b"nothing"),
    "caf\udce9": File(REGULAR, b"latin \xe9\n"),
    "new\nline": File(REGULAR, b"odd\n"),
    ".env": File(REGULAR, b"PASSWORD=" + SECRET.encode() + b"\nPORT=80\n"),
}
BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """One sandbox for the module; each test loads its files anew."""
    request.getfixturevalue("default_image" if request.param == "docker" else "bubblewrap")
    box = Factory(SandboxSpec(backend=request.param)).open({}, session="tools", purpose="agent")
    yield box
    box.close()


class Agent:
    """Calls tools as the engine does, and checks that each tells the truth about what it changed."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.output: list[bytes] = []
        self.questions: list[tuple[str, tuple[str, ...]]] = []
        self.context = ToolContext(
            box=box,
            redactor=Redactor([SECRET], salt=b"salt"),
            cancel=Cancel(),
            output=lambda stream, data: self.output.append(data),
            ask=self._ask,
        )

    def _ask(self, question: str, options: tuple[str, ...]) -> str:
        self.questions.append((question, options))
        return "blue"

    def call(self, name: str, /, **arguments: Any) -> ToolOutcome:
        tool = TOOLS[name]
        before = self.box.export()
        try:
            outcome = tool.run(tool.validate(arguments), self.context)
        except ToolError as problem:
            outcome = ToolOutcome(str(problem), ok=False)
        after = self.box.export()
        if outcome.touched is not None:
            for path, data in outcome.touched.items():
                assert (after[path].data if path in after else None) == data
            others = (before.keys() | after.keys()) - outcome.touched.keys()
            assert {path for path in others if before.get(path) != after.get(path)} == set()
        return outcome

    def refused(self, name: str, /, **arguments: Any) -> str:
        outcome = self.call(name, **arguments)
        assert not outcome.ok
        return outcome.text

    def file(self, path: str) -> File | None:
        return self.box.export().get(path)


@pytest.fixture
def agent(sandbox: Sandbox) -> Agent:
    sandbox.load(FILES)
    return Agent(sandbox)


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


def test_run_command(agent: Agent) -> None:
    outcome = agent.call("run_command", command="pwd; echo err >&2; echo made > made.txt; exit 3")
    assert (outcome.ok, outcome.exit_code, outcome.touched) == (False, 3, None)
    assert outcome.text == "exit code 3\n/workspace\nstderr:\nerr"
    assert agent.file("made.txt") == File(REGULAR, b"made\n")
    assert b"".join(agent.output).startswith(b"/workspace\n")
    late = agent.call("run_command", command="echo before; sleep 60", timeout=0.3)
    assert late.exit_code is None
    assert "timed out" in late.text
    assert "before" in late.text
    long = agent.call("run_command", command="seq 1 100000").text
    assert len(long) < 20_000
    assert "characters left out" in long
    assert "\x1b" not in agent.call("run_command", command=r"printf '\033[31mred\033[0m'").text


def test_both_streams_of_a_command_are_told_head_and_tail(agent: Agent) -> None:
    text = agent.call("run_command", command="seq 1 9999; seq 10000 19999 >&2").text
    assert len(text) <= TEXT_LIMIT
    out, errors = text.split("\nstderr:\n")
    assert (out.startswith("exit code 0\n1\n2\n"), out.endswith("\n9999")) == (True, True)
    assert (errors.startswith("10000\n"), errors.endswith("\n19999")) == (True, True)
    assert abs(len(out) - len(errors)) < 100
    text = agent.call("run_command", command="seq 1 9999; echo short >&2").text
    assert text.endswith("\n9999\nstderr:\nshort")
    assert len(text) > TEXT_LIMIT - 100


def test_a_secret_at_a_cut_is_not_shown_in_part(agent: Agent) -> None:
    for before in range(7_860, 8_100, 19):
        command = (
            f"head -c {before} /dev/zero | tr '\\0' a; printf ' %s ' {SECRET}; head -c 20000 /dev/zero | tr '\\0' b"
        )
        text = TOOLS["run_command"].run(TOOLS["run_command"].validate({"command": command}), agent.context).text
        assert SECRET[:8] not in text
        assert SECRET[-8:] not in text


def test_run_command_has_no_network_and_ends_what_it_started(agent: Agent) -> None:
    connect = "import socket; socket.create_connection(('1.1.1.1', 53), 3)"
    assert agent.call("run_command", command=f'python3 -c "{connect}"').exit_code == 1
    agent.call("run_command", command="sleep 321 & echo started")
    assert agent.call("run_command", command="pgrep -f 'sleep 32[1]' || echo none").text.endswith("none")


def test_services(agent: Agent) -> None:
    assert agent.call("list_processes").text == "(no services)"
    assert agent.call("start_service", name="web", command="echo up > up.txt; echo ready; exec sleep 600").ok
    waiting = "until [ -e up.txt ]; do :; done"
    assert agent.call("run_command", command=waiting, timeout=20).ok
    assert "is running" in agent.refused("start_service", name="web", command="sleep 1")
    listed = agent.call("list_processes").text
    assert listed.startswith("web: running")
    assert agent.call("stop_service", name="web").text == "stopped web"
    assert agent.file("up.txt") == File(REGULAR, b"up\n")
    assert "there is no service 'other'" in agent.refused("stop_service", name="other")
    assert "name" in agent.refused("start_service", name="a b", command="x")


def test_ask_user_and_finish(agent: Agent) -> None:
    assert agent.call("ask_user", question="Which?", options=["red", "blue"]).text == "blue"
    assert agent.questions == [("Which?", ("red", "blue"))]
    assert agent.call("finish", summary="Done.").text == "Done."
    assert [name for name, tool in TOOLS.items() if tool.ends_turn] == ["finish"]


def test_secrets_are_masked_and_put_back(agent: Agent) -> None:
    text = agent.call("read_file", path=".env").text
    assert SECRET not in text
    masked = text.split("PASSWORD=")[1].split("\n")[0]
    for shown_text in (
        agent.call("run_command", command="cat .env").text,
        agent.call("search", pattern="PASSWORD").text,
        agent.call("read_files", paths=[".env"]).text,
    ):
        assert SECRET not in shown_text
        assert masked in shown_text
    agent.call("edit_file", path=".env", old=f"PASSWORD={masked}\nPORT=80", new=f"PORT=81\nPASSWORD={masked}")
    assert agent.file(".env") == File(REGULAR, f"PORT=81\nPASSWORD={SECRET}\n".encode())
    agent.call("write_file", path="copy", content=f"key={masked}\n")
    assert agent.file("copy") == File(REGULAR, f"key={SECRET}\n".encode())


def test_a_private_key_stands_as_one_line_and_is_put_back(agent: Agent) -> None:
    body = [base64.b64encode(bytes([number] * 48)).decode() for number in range(20)]
    key = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----"])
    agent.box.load({"config.py": File(REGULAR, f'A = 1\nKEY = """{key}"""\nB = 2\n'.encode())})
    text = agent.call("read_file", path="config.py").text
    assert not any(line in text for line in body)
    header, first, masked, last = text.split("\n")
    assert (header, first, last) == ("config.py lines 1-24 of 24", "1\tA = 1", "24\tB = 2")
    assert agent.call("read_file", path="config.py", start_line=10).text.split("\n")[1:] == ["24\tB = 2"]
    assert body[3] not in agent.call("search", pattern=body[3][:20]).text
    assert body[3] not in agent.refused("edit_file", path="config.py", old=f"{masked}\nC = 2", new="")
    line = masked.partition("\t")[2]
    assert agent.call("edit_file", path="config.py", old=f"A = 1\n{line}", new=f"A = 2\n{line}").ok
    assert agent.file("config.py") == File(REGULAR, f'A = 2\nKEY = """{key}"""\nB = 2\n'.encode())


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_bad_call_names_what_is_wrong(name: str) -> None:
    tool = TOOLS[name]
    schema = tool.schema()
    assert schema.parameters["type"] == "object"
    assert schema.parameters["additionalProperties"] is False
    with pytest.raises(ToolError, match="has no argument 'surprise'"):
        tool.validate({"surprise": 1})
    for required in schema.parameters.get("required", []):
        with pytest.raises(ToolError, match=f"missing required field `{required}`"):
            tool.validate({key: "x" for key in schema.parameters["required"] if key != required})
        with pytest.raises(ToolError, match=r"Expected"):
            tool.validate({**dict.fromkeys(schema.parameters["required"], "x"), required: 1.5})


def test_what_models_write_for_left_out_and_for_numbers_is_taken() -> None:
    read = TOOLS["read_file"].validate({"path": "a", "start_line": "3", "end_line": None})
    assert (read.start_line, read.end_line) == (3, None)
    assert TOOLS["edit_file"].validate({"path": "a", "old": "b", "new": "c", "replace_all": "true"}).replace_all is True
    assert TOOLS["run_command"].validate({"command": "true", "timeout": None}).timeout == 120
    with pytest.raises(ToolError, match="path"):
        TOOLS["read_file"].validate({"path": None})


def test_the_schemas_are_short() -> None:
    schemas = [msgspec.structs.asdict(tool.schema()) for tool in TOOLS.values()]
    assert len(json.dumps(schemas, separators=(",", ":"))) < 4_500


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ToolError, match="timeout"):
        TOOLS["run_command"].validate({"command": "true", "timeout": 1e9})
    with pytest.raises(ToolError, match="start_line"):
        TOOLS["read_file"].validate({"path": "a", "start_line": 0})
