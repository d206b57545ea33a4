"""Every tool against a real sandbox: what it does, what it says, and that it never raises for a bad call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backspace_tui.core.protocols import Sandbox, SandboxSpec
from backspace_tui.core.redact import Redactor
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.engine.cancel import Cancel
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import ToolContext, ToolError, ToolOutcome, check_file, shown
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


def test_list_files_names_how_many_more(agent: Agent) -> None:
    agent.box.load({f"many/{number}.txt": File(REGULAR, b"") for number in range(520)})
    assert agent.call("list_files").text.endswith("(20 more; list a folder below)")


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
    assert "the search failed" in agent.refused("search", pattern="(")
    assert f"{shown('caf' + chr(0xDCE9))}:1:latin" in agent.call("search", pattern="latin").text


def test_search_names_how_many_more(agent: Agent) -> None:
    agent.box.load({"a.txt": File(REGULAR, b"hit\n" * 250)})
    assert agent.call("search", pattern="hit").text.endswith("(50 more; narrow the pattern or give a glob)")


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
        ("src/main.py", "return 3", "does not stand in src/main.py"),
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
    assert "Is a directory" in agent.refused("delete_file", path="d")


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


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ToolError, match="timeout"):
        TOOLS["run_command"].validate({"command": "true", "timeout": 1e9})
    with pytest.raises(ToolError, match="start_line"):
        TOOLS["read_file"].validate({"path": "a", "start_line": 0})
