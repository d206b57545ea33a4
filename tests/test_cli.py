"""The command line itself: help, lists, the sandbox from a script, the log as JSON, the offline agent."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from backspace_tui.cli import COMMANDS
from backspace_tui.core import events as ev
from tests.program import Program, git, kept, make_repository, processes_of, tree, wait_for

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]
FIXTURES = {"docker": "default_image", "bubblewrap": "bubblewrap"}
OFFLINE = ("--model", "offline", "--sandbox", "bubblewrap")


# Help


def test_the_version(tmp_path: Path) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    done = Program(tmp_path).run("--version")
    assert (done.returncode, done.stdout) == (0, f"backspace-tui {project['version']}\n")


def test_the_help_names_every_command_and_the_grammar(tmp_path: Path) -> None:
    done = Program(tmp_path).run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert (f"\n  {command} " in done.stdout) != command.startswith("_")
    assert "replace TEXT with TEXT [in GLOB]" in done.stdout


@pytest.mark.parametrize("command", [name for name in COMMANDS if not name.startswith("_")])
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    done = Program(tmp_path).run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: backspace-tui {command} ")
    assert "--debug" in done.stdout


def test_the_version_needs_no_heavy_import() -> None:
    script = (
        "import sys\nfrom backspace_tui.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'litellm', 'docker', 'git', 'github', 'textual', 'pygments'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# The offline agent and the log as JSON

FILES: dict[str, str | bytes] = {
    "cart.py": "def total_of(prices):\n    return sum(prices) * 2\n",
    "test_cart.py": "from cart import total_of\n\n\ndef test_total():\n    assert total_of([1, 2]) == 3\n",
    "README.md": "Helo\n",
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_offline_agent_does_a_whole_job(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(FIXTURES[backend])
    repository = make_repository(tmp_path / "repository", FILES)
    kept(repository)
    before = kept(repository)
    program = Program(tmp_path)
    prompt = (
        'replace " * 2" with "" in *.py then rename total_of to total then create docs/note.md with "Renamed."'
        ' then replace Helo with Hello then run "python3 -m compileall -q . && touch made.txt"'
    )
    (tmp_path / "config.toml").write_text(
        "[project]\ntest = \"python3 -c 'import cart; assert cart.total([1, 2]) == 3'\"\n"
    )
    options = ("-p", prompt, "--model", "offline", "--sandbox", backend, "--accept", "verified")
    done = program.run("run", str(repository), *options, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (branch,) = git(repository, "branch", "--list", "--format=%(refname:short)", "backspace/*").split()
    assert {path: content for path, (_, content) in tree(repository, branch).items()} == {
        "cart.py": b"def total(prices):\n    return sum(prices)\n",
        "test_cart.py": str(FILES["test_cart.py"]).replace("total_of", "total").encode(),
        "README.md": b"Hello\n",
        "docs/note.md": b"Renamed.\n",
        "made.txt": b"",
    }
    assert kept(repository) == before
    # What was printed is the log: every event, one a line, without its first line, which is the format's version.
    lines = (program.session / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[0]).keys() & {"seq", "stage"} == set()
    assert done.stdout.splitlines() == [line.rstrip(" ") for line in lines[1:]]
    assert [json.loads(line)["seq"] for line in lines[1:]] == list(range(1, len(lines)))
    assert processes_of(program.session) == []


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_events_are_printed_as_they_happen(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", FILES)
    program = Program(tmp_path)
    prompt = "run 'echo started; sleep 600'"
    child = program.start("run", str(repository), "-p", prompt, *OFFLINE, "--json")
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if json.loads(line)["type"] == "tool_output":
                break
        else:
            pytest.fail("the run ended before its command printed")
        assert b"started" in line
        child.terminate()
        rest = [json.loads(line) for line in child.stdout]
        assert child.wait(60) == 130
        assert (rest[-1]["type"], rest[-1]["outcome"]) == ("session_finished", "stopped")
    finally:
        child.kill()
        child.communicate()
    wait_for(lambda: not processes_of(program.session), "the session's process to be gone")


# Lists


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, bubblewrap: str) -> Program:
    folder = tmp_path_factory.mktemp("listed")
    repository = make_repository(folder / "repository", FILES)
    program = Program(folder)
    for prompt in ("replace Helo with Hello", "run 'printf \x1b[31mred'"):
        assert program.run("run", str(repository), "-p", prompt, *OFFLINE).returncode == 4
    return program


def test_sessions_are_listed(listed: Program) -> None:
    rows = json.loads(listed.run("sessions", "--json").stdout)
    assert sorted(row["id"] for row in rows) == [session.name for session in listed.sessions]
    assert [row["title"] for row in rows][1] == "replace Helo with Hello"
    assert {row["status"] for row in rows} == {"waiting"}
    assert not any(row["running"] for row in rows)
    assert {row["repository"] for row in rows} == {str(listed.data.parent / "repository")}
    text = listed.run("sessions").stdout
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text
    assert "replace Helo with Hello" in text


def test_a_session_is_shown(listed: Program) -> None:
    first = min(listed.sessions, key=lambda session: (session / "events.jsonl").stat().st_mtime_ns)
    text = listed.run("sessions", "show", first.name).stdout
    assert "stage      review" in text
    assert "edit       README.md  +1 -1" in text
    lines = listed.run("sessions", "show", first.name, "--json").stdout.splitlines()
    assert lines == [line.rstrip(" ") for line in (first / "events.jsonl").read_text().splitlines()[1:]]


def test_a_session_is_renamed_and_deleted(tmp_path: Path, bubblewrap: str) -> None:
    repository = make_repository(tmp_path / "repository", FILES)
    program = Program(tmp_path)
    assert program.run("run", str(repository), "-p", "replace Helo with Hello", *OFFLINE).returncode == 4
    name = program.session.name
    assert program.run("sessions", "rename", name).returncode == 2
    assert program.run("sessions", "rename", name, "the greeting").returncode == 0
    (row,) = json.loads(program.run("sessions", "--json").stdout)
    assert (row["id"], row["name"], row["title"]) == (name, "the greeting", "the greeting")
    assert program.run("sessions", "delete", "last").returncode == 0
    assert program.sessions == []
    assert program.run("sessions").stdout == "no sessions yet\n"
    assert json.loads(program.run("sessions", "--json").stdout) == []
    assert kept(repository)["status"] == b""


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_a_running_session_is_listed_and_not_deleted(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", FILES)
    program = Program(tmp_path)
    child = program.start("run", str(repository), "-p", "run 'sleep 600'", *OFFLINE)
    try:
        wait_for(lambda: any(isinstance(event, ev.ToolStarted) for event in program.events()), "the command")
        (row,) = json.loads(program.run("sessions", "--json").stdout)
        assert row["running"] is True
        refused = program.run("sessions", "delete", "last")
        assert refused.returncode in (1, 2)
        assert refused.stderr.startswith("backspace-tui: ")
        assert program.session.exists()
    finally:
        child.terminate()
        assert child.wait(60) == 130
        child.communicate()


# The sandbox from a script


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("exec") / "repository", FILES)


@pytest.fixture(params=BACKENDS)
def execute(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> list[str]:
    """The beginning of ``sandbox exec`` on a repository."""
    request.getfixturevalue(FIXTURES[request.param])
    return [*Program(tmp_path).command("sandbox", "exec", "--repo", str(folder), "--sandbox", request.param)]


def test_exec_passes_output_and_exit_code_through(execute: list[str], folder: Path) -> None:
    before = kept(folder)
    command = [*execute, "--", "sh", "-c", r"cat README.md; printf '\033[31m\377'; echo err >&2; echo x > made; exit 7"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"Helo\n\x1b[31m\xff", b"err\n")
    assert kept(folder) == before


def test_exec_takes_a_shell_line_and_options_of_its_own(execute: list[str]) -> None:
    for words in (["--", "echo one && echo two"], ["--", "sh", "-c", "echo one; echo two"]):
        done = subprocess.run([*execute, *words], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
    done = subprocess.run([*execute, "--", "echo", "--timeout", "--", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "--timeout -- x\n")


def test_exec_ends_at_its_timeout(execute: list[str]) -> None:
    command = [*execute, "--timeout", "0.5", "--", "sh", "-c", "echo begun; sleep 600"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (124, "begun\n")


def test_exec_of_what_is_not_there(execute: list[str]) -> None:
    done = subprocess.run([*execute, "--", "no-such-program"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 127
    assert "no-such-program" in done.stderr


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_prune_says_what_it_removed(tmp_path: Path) -> None:
    done = Program(tmp_path).run("sandbox", "prune")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("removed ")
