"""Sandboxes over whole sessions: services, what the log keeps of commands, limits, and what ends with the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import SandboxSettings, Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.engine.workspace import REBUILT
from backspace_tui.sandbox.leftovers import owner_labels
from backspace_tui.sessions import client
from tests.crash import HOST, Human, Script, _environment, kill_container, resources, scene, steps
from tests.models.turns import call
from tests.program import Program, make_repository, wait_for

pytestmark = pytest.mark.docker
SLIM = Settings(sandbox=SandboxSettings(image="slim"))
SERVE = "exec python3 -m http.server 8123 --bind 127.0.0.1"
FETCH = (
    'i=0; while [ $i -lt 100 ]; do python3 -c "import urllib.request as u;'
    "print(u.urlopen('http://127.0.0.1:8123/cart.py').status)\" 2>/dev/null && exit 0;"
    " sleep 0.1; i=$((i+1)); done; echo nobody answers; exit 1"
)
ONCE = FETCH.replace("-lt 100", "-lt 1")
WRITE = call("write_file", path="cart.py", content="def total(items):\n    return sum(p * q for p, q in items)\n")


def finished(events: list[ev.AnyEvent], tool: str) -> list[ev.ToolFinished]:
    return [event for event in events if isinstance(event, ev.ToolFinished) and event.tool == tool]


def in_review(human: Human) -> None:
    human.until(lambda state: state.stage == "review" and state.stage_open, "the review")


def heard(server: Script) -> list[str]:
    """What the model was told by others than itself, in its last turn as the agent."""
    body = [request.body for request in server.requests if request.body.get("tools")][-1]
    return [message["content"] for message in body["messages"] if message["role"] == "user"]


def test_a_server_under_test_answers_and_a_crash_is_told(default_image: str, tmp_path: Path) -> None:
    turns = (
        call("start_service", name="web", command=SERVE),
        call("run_command", command=FETCH),
        call("list_processes"),
        call("run_command", command=ONCE + " # after the crash"),
        call("list_processes"),
        call("start_service", name="web", command=SERVE),
        call("run_command", command=FETCH + " # again"),
        call("stop_service", name="web"),
        call("run_command", command=ONCE + " # stopped"),
    )
    server = Script(steps(*turns), "after the crash")
    with scene(tmp_path, server, "docker", settings=SLIM) as human:
        human.start()
        wait_for(lambda: finished(human.events(), "list_processes"), "the service to be listed")
        human.kill()
        wait_for(lambda: not resources(human.directory.name), "the sandbox to be gone")
        server.gates["after the crash"].set()
        in_review(human)
        events = human.events()
    commands, listings = finished(events, "run_command"), finished(events, "list_processes")
    assert [event.exit_code for event in commands] == [0, 1, 0, 1]
    assert commands[0].text.endswith("200")
    assert listings[0].text.startswith("web: running")
    assert listings[1].text == "(no services)"
    told = [event for event in events if isinstance(event, ev.Message) and event.about == "services"]
    assert len(told) == 1  # not again after the service was stopped by the agent itself
    assert told[0].text.startswith("The service web is gone: the sandbox was started anew")
    assert sum("web is gone" in words for words in heard(server)) == 1
    started, stopped = finished(events, "start_service")[-1].audit, finished(events, "stop_service")[0].audit
    assert started is not None
    assert stopped is not None
    assert (started.command, started.user, started.exit_code) == (SERVE, "agent", None)
    assert stopped.started == started.started
    assert stopped.stdout > 0


def test_every_command_is_in_the_log(default_image: str, tmp_path: Path) -> None:
    turns = (
        call("list_files") + call("search", pattern="price") + call("read_file", path="cart.py"),
        WRITE + call("run_command", command="head -c 700000 /dev/zero | tr '\\0' x; exit 4"),
        call("run_command", command="sleep 60", timeout=0.3),
    )
    server = Script(steps(*turns))
    settings = Settings(sandbox=SandboxSettings(image="slim", max_sandboxes=1))
    with scene(tmp_path, server, "docker", settings=settings, headless=True, accept="all") as human:
        # Its agent's sandbox lives while it verifies: with one session allowed it must not wait for itself.
        human.env = {**human.env, "BACKSPACE_TUI_DATA_DIR": str(tmp_path / "data")}
        human.start()
        state = human.ended()
        events = human.events()
    assert state.status == "done", state.error
    audits = {event.tool: event.audit for event in events if isinstance(event, ev.ToolFinished)}
    assert audits["read_file"] is None
    for tool in ("list_files", "search"):
        found = audits[tool]
        assert found is not None
        assert (found.user, found.uid) == ("agent", 1000)
    (searched,) = finished(events, "search")
    # The slim image has no rg: both commands of the search stand in the log.
    assert [audit.command.split()[0] for audit in searched.earlier] == ["rg"]
    assert audits["search"] is not None
    assert audits["search"].command.startswith("grep ")
    first, second = (event.audit for event in finished(events, "run_command"))
    assert first is not None
    assert second is not None
    assert (first.exit_code, first.stdout, first.stderr, first.uid, first.ended) == (4, 700_000, 0, 1000, "")
    assert (second.exit_code, second.signal, second.ended, second.limit) == (None, 9, "timeout", "timeout (0.3 s)")
    for audit in (first, second):
        assert audit.started is not None
        assert None not in (audit.memory, audit.processes, audit.cpu, audit.seconds)
    verified = [event for event in events if isinstance(event, ev.Verification) and event.verdict != "running"]
    assert [event.verdict for event in verified] == ["baseline", "passes"]
    for event in verified:
        assert event.audit is not None
        assert (event.audit.user, event.audit.uid, event.audit.command) == ("verifier", 1000, event.command)
        assert event.audit.exit_code == event.exit_code


def test_limits_reach_the_model_and_the_verdict(default_image: str, tmp_path: Path) -> None:
    hog = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test(self):\n        import time; time.sleep(60)\n"
    bomb = "python3 -c 'bytearray(3 << 30)'"
    turns = (
        call("run_command", command=bomb),
        call("run_command", command="dd if=/dev/zero of=f bs=1M; rm f; exit 1"),
        call("run_command", command="yes | head -c 3000000"),
        WRITE,
    )
    sandbox = SandboxSettings(image="slim", profile="strict", timeout=2.0)
    with scene(
        tmp_path, Script(steps(*turns)), "docker", settings=Settings(sandbox=sandbox), headless=True, accept="all",
        files={"cart.py": "x = 1\n", "tests/test_hog.py": hog},
    ) as human:  # fmt: skip
        human.start()
        human.ended()
        events = human.events()
    memory, disk, output = (event.text for event in finished(events, "run_command"))
    assert "the user can raise [sandbox] memory (now 512m)" in memory
    assert "the user can raise [sandbox] workspace (now 200m" in disk
    assert "bytes of its output are left out; send long output to a file" in output
    baseline = next(event for event in events if isinstance(event, ev.Verification))
    assert baseline.verdict == "baseline"
    assert "raise [sandbox] timeout (now 2)" in baseline.output


def notices(events: list[ev.AnyEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, ev.Message) and event.kind == "notice"]


def test_a_sandbox_that_grew_too_old_is_replaced(default_image: str, tmp_path: Path) -> None:
    turns = (
        call("write_file", path="kept.txt", content="kept\n"),
        call("run_command", command="sleep 60"),
        call("run_command", command="cat kept.txt"),
    )
    settings = Settings(sandbox=SandboxSettings(image="slim", max_age="6s"))
    with scene(tmp_path, Script(steps(*turns)), "docker", settings=settings) as human:
        human.start()
        in_review(human)
        events = human.events()
    assert not [event for event in events if isinstance(event, ev.Error)]
    old, new = finished(events, "run_command")
    assert "died during this call (it reached its greatest age, [sandbox] max_age (now 6s))" in old.text
    assert new.text == "exit code 0\nkept"
    assert notices(events).count(REBUILT) == 1


def test_a_call_that_takes_its_sandbox_along_is_answered(default_image: str, tmp_path: Path) -> None:
    turns = (
        call("start_service", name="web", command=SERVE),
        call("run_command", command="echo kept > kept.txt"),
        call("run_command", command="echo lost > lost.txt; echo began; sleep 60"),
        call("run_command", command="cat kept.txt; test ! -e lost.txt"),
    )
    with scene(tmp_path, Script(steps(*turns)), "docker", settings=SLIM) as human:
        human.start()
        wait_for(lambda: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        kill_container(human.directory.name)
        in_review(human)
        events = human.events()
    assert not [event for event in events if isinstance(event, ev.Error)]
    _, died, after = finished(events, "run_command")
    assert (died.ok, died.exit_code, died.tree) == (False, None, "")
    assert died.text.startswith("the sandbox died during this call (it ended); your files are as they were before it")
    assert died.audit is not None
    assert (died.audit.ended, died.audit.user, died.audit.stdout) == ("sandbox", "agent", 6)
    assert after.text == "exit code 0\nkept"
    assert notices(events).count(REBUILT) == 1
    assert [event.text for event in events if isinstance(event, ev.Message) and event.about == "services"]


def test_nobody_there_ends_the_process_and_its_sandbox(default_image: str, tmp_path: Path) -> None:
    with scene(tmp_path, Script(steps(WRITE)), "docker", settings=SLIM) as human:
        request = cmd.HostRequest(directory=str(human.directory), started=human.started, idle_timeout=0.5)
        with _environment(human.env):
            client.launch(request, argv=HOST)
        state = human.ended()
        assert resources(human.directory.name) == []
    assert (state.status, state.stage) == ("waiting", "review")
    assert "nobody was there" in state.error


def test_a_repository_that_is_too_large_is_refused_before_the_copy(tmp_path: Path) -> None:
    folder = make_repository(tmp_path / "repository", {"a.txt": "a\n", "large.bin": bytes(2 * 1024 * 1024 + 1)})
    program = Program(tmp_path, BACKSPACE_TUI_SANDBOX_REPOSITORY="2m")
    done = program.run("run", str(folder), "-p", "create x with y", "--model", "offline")
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].startswith(
        "backspace-tui: the repository holds 2.1 MB, more than [sandbox] repository = 2m: raise it"
    )
    assert sum((path.stat().st_size for path in program.session.rglob("*") if path.is_file()), 0) < 1024 * 1024
    refused = program.run("sandbox", "exec", "--repo", str(folder), "--", "true")
    assert refused.returncode == 1
    assert "holds 2.1 MB, more than [sandbox] repository = 2m" in refused.stderr


def test_a_full_engine_is_said_in_one_line(default_image: str, tmp_path: Path) -> None:
    """Another session of the same user holds the only place."""
    from backspace_tui.sandbox import engine

    program = Program(tmp_path, BACKSPACE_TUI_SANDBOX_MAX_SANDBOXES="1")
    labels: dict[str, Any] = {}
    with _environment({**program.env}):
        labels = owner_labels("other", "agent")
    connection = engine.connect()
    holder = connection.api.create_container(default_image, ["true"], labels=labels)["Id"]
    try:
        folder = make_repository(tmp_path / "repository")
        done = program.run("run", str(folder), "-p", "create x with y", "--model", "offline")
    finally:
        connection.api.remove_container(holder, force=True)
        connection.close()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "backspace-tui: 1 session holds a sandbox already, and [sandbox] max_sandboxes = 1: end one"
    )
