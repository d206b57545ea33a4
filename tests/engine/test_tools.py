"""Commands, services, questions and secrets through the tools, and calls that are not valid."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from backspace_tui.core.trees import REGULAR, File
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import TEXT_LIMIT, ToolError
from tests.engine.agent import SECRET, Agent


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
