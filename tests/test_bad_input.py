"""Whatever is wrong gets one clear line on stderr and its exit code, and leaves nothing half made behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from backspace_tui.sandbox.bubblewrap import bwrap_path
from tests.models.openai_server import refused_url
from tests.program import Program, git, make_repository

CREATE = ("-p", "create x with y", "--model", "offline", "--sandbox", "bubblewrap")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    make_repository(tmp_path / "good", {"a.txt": "hello\n"})
    return program


def refused(program: Program, *arguments: str, code: int = 2, sessions: int = 0) -> str:
    """The one line that a command is refused with."""
    done = program.run(*arguments, timeout=60)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("backspace-tui: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert len(program.sessions) == sessions
    if not sessions:
        assert done.stdout == ""
    return done.stderr.removeprefix("backspace-tui: ").rstrip("\n")


# Repositories


def _plain(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _bare(folder: Path) -> Path:
    git(folder.parent, "init", "-q", "--bare", folder.name)
    return folder


def _without_commit(folder: Path) -> Path:
    git(folder.parent, "init", "-q", folder.name)
    return folder


def _file(folder: Path) -> Path:
    folder.write_text("")
    return folder


def _inside_git(folder: Path) -> Path:
    return folder.parent / "good" / ".git"


def _damaged(folder: Path) -> Path:
    make_repository(folder)
    for path in (folder / ".git" / "objects").glob("??/*"):
        path.unlink()
    return folder


def _sha256(folder: Path) -> Path:
    git(folder.parent, "init", "-q", "--object-format=sha256", folder.name)
    (folder / "a").write_text("")
    git(folder, "add", "a")
    git(folder, "commit", "-q", "-m", "first")
    return folder


REPOSITORIES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "plain folder": (_plain, "is not a git repository: run `git init` there and commit, or give another path"),
    "bare": (_bare, "is a bare repository: clone it and give the clone"),
    "no commit": (_without_commit, "has no commit yet: make a first commit"),
    "file": (_file, "is a file: give the folder of a git repository"),
    "nothing": (lambda folder: folder, "does not exist: give the path or URL of a git repository"),
    "inside .git": (_inside_git, "is inside a .git folder: give the checkout itself"),
    "damaged": (_damaged, "git fsck"),
    "sha-256": (_sha256, "SHA-256"),
}


@pytest.mark.parametrize("kind", REPOSITORIES)
def test_repositories_that_cannot_be_worked_on(kind: str, program: Program, tmp_path: Path) -> None:
    make, why = REPOSITORIES[kind]
    path = make(tmp_path / "given")
    assert why in refused(program, "run", str(path), *CREATE)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/x.git", "uses ftp://; use https://, ssh://, git:// or file://"),
        ("ext::sh -c 'touch /tmp/pwned'", "is not an address that is fetched from"),
        (
            "https://user:secret-word@127.0.0.1:1/x.git",
            "give https://127.0.0.1:1/x.git and let git's credential helper",
        ),
        ("https://ghp_secret-word@127.0.0.1:1/x.git", "give https://127.0.0.1:1/x.git and let git's credential helper"),
        ("", "no repository given"),
    ],
)
def test_addresses_that_are_not_fetched_from(program: Program, url: str, why: str) -> None:
    said = refused(program, "run", url, *CREATE)
    assert why in said
    assert "secret-word" not in said


def test_an_address_that_does_not_answer(program: Program) -> None:
    url = refused_url().replace("/v1", "/x.git")
    said = refused(program, "run", url, *CREATE, code=1, sessions=1)
    assert said.startswith(f"{url} cannot be fetched: Failed to connect to 127.0.0.1")
    assert said.endswith("check the address, the network and your access")
    assert "failed" in program.run("sessions").stdout


# Models and prompts


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--model", "nonsense"), "unknown model 'nonsense': name it PROVIDER/MODEL"),
        (("--model", "what/ever"), "unknown model 'what/ever'"),
        (("--model", "openai/gpt-4"), "openai/gpt-4 needs a key: set OPENAI_API_KEY"),
        (("--model", "offline", "--sandbox", "vm"), "invalid choice: 'vm'"),
        (("--model", "offline", "--accept", "some"), "invalid choice: 'some'"),
        (("--model", "offline", "--pull-request"), "--pull-request needs --accept all or verified"),
        (("--model", "offline", "--colour"), "unrecognized arguments: --colour"),
        (("--model", "offline", "-p"), "argument -p/--prompt: expected one argument"),
    ],
)
def test_options_that_cannot_be_followed(program: Program, tmp_path: Path, options: tuple[str, ...], why: str) -> None:
    assert why in refused(program, "run", str(tmp_path / "good"), "-p", "x", *options)


def test_an_empty_prompt(program: Program, tmp_path: Path) -> None:
    assert "the prompt is empty" in refused(program, "run", str(tmp_path / "good"), "-p", " ", "--model", "offline")


def test_what_the_offline_agent_does_not_understand(program: Program, tmp_path: Path) -> None:
    done = program.run("run", str(tmp_path / "good"), "-p", "make it better", "--model", "offline")
    assert (done.returncode, done.stdout) == (2, "")
    first, *rest = done.stderr.splitlines()
    assert first == "backspace-tui: the offline agent cannot do this: 'make' is none of replace, rename, create, run"
    assert "  replace TEXT with TEXT [in GLOB]" in "\n".join(rest)
    assert "set up a language model: export ANTHROPIC_API_KEY" in rest[-1]
    assert program.sessions == []


def test_an_address_without_a_model_behind_it(program: Program, tmp_path: Path) -> None:
    program.env |= {"OPENAI_API_KEY": "sk-secret-word-0123", "OPENAI_BASE_URL": refused_url()}
    options = ("-p", "x", "--model", "openai/test", "--sandbox", "bubblewrap")
    said = refused(program, "run", str(tmp_path / "good"), *options, code=4, sessions=1)
    assert said.startswith("models: no model answered: openai/test:")
    for path in program.session.glob("*"):
        assert not path.is_file() or b"secret-word" not in path.read_bytes()


# Settings


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[sandbox]\nmemry = "1g"\n', "sandbox: unknown key memry; did you mean memory?"),
        ("[sandbox\n", "not valid TOML: Expected ']'"),
        ('[sandbox]\nbackend = "vm"\n', 'sandbox: backend must be "docker" or "bubblewrap"'),
        ('[colours]\na = "b"\n', "unknown"),
        ("[budget]\nusd = -1\n", "budget: usd must be"),
        ('[[models]]\napi_base = "x"\n', "name is missing"),
    ],
)
def test_settings_that_are_wrong(program: Program, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    said = refused(program, "run", str(tmp_path / "good"), *CREATE)
    assert said.startswith(str(tmp_path / "config.toml"))
    assert why in said


def test_settings_that_are_not_there(program: Program, tmp_path: Path) -> None:
    (tmp_path / "config.toml").unlink()
    assert "there is no such file" in refused(program, "run", str(tmp_path / "good"), *CREATE)


# Sandboxes


def test_no_engine(program: Program, tmp_path: Path) -> None:
    program.env["DOCKER_HOST"] = f"unix://{tmp_path}/no.sock"
    options = ("-p", "create x with y", "--model", "offline")
    said = refused(program, "run", str(tmp_path / "good"), *options, code=1, sessions=1)
    assert said.startswith("the Docker Engine is not running")
    assert ": " in said
    assert git(tmp_path / "good", "branch", "--list", "backspace/*") == ""
    for command in (("prune",), ("exec", "--repo", str(tmp_path / "good"), "--", "ls")):
        assert refused(program, "sandbox", *command, code=1, sessions=1) == said


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_bubblewrap_is_labelled(program: Program, tmp_path: Path) -> None:
    done = program.run("run", str(tmp_path / "good"), *CREATE)
    assert done.returncode == 4
    assert "sandbox    bubblewrap, reduced isolation\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "build|exec|shell|prune"),
        (("exec", "--repo", "."), "name the command after --"),
        (("exec", "--repo", "nowhere", "--", "ls"), "nowhere is not a folder"),
        (("exec", "--repo", ".", "--timeout", "0", "--", "ls"), "--timeout takes seconds"),
        (("exec", "--repo", ".", "--timeout", "soon", "--", "ls"), "invalid float value"),
    ],
)
def test_sandbox_commands_that_are_wrong(program: Program, arguments: tuple[str, ...], why: str) -> None:
    assert why in refused(program, "sandbox", *arguments)


# Data directories


def in_a_namespace(program: Program, *mount: str) -> None:
    """Let the program run where ``mount`` (bubblewrap's options) is done to its data directory."""
    program.data.mkdir()
    program.prefix = (bwrap_path(), "--dev-bind", "/", "/", *mount, str(program.data), "--")


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_a_data_directory_that_is_read_only(program: Program, tmp_path: Path) -> None:
    in_a_namespace(program, "--ro-bind", str(program.data))
    said = refused(program, "run", str(tmp_path / "good"), *CREATE, code=1)
    assert "Read-only file system" in said
    assert said.endswith("make it writable or set BACKSPACE_TUI_DATA_DIR to another folder")


def test_a_data_directory_below_a_file(program: Program, tmp_path: Path) -> None:
    program.env["BACKSPACE_TUI_DATA_DIR"] = str(tmp_path / "config.toml" / "data")
    assert "Not a directory" in refused(program, "run", str(tmp_path / "good"), *CREATE, code=1)
    assert "Not a directory" in refused(program, "sessions", code=1)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize("size", [1, 8192, 20_000, 28_000, 33_000, 37_000, 41_000])
def test_a_full_disk(program: Program, tmp_path: Path, size: int) -> None:
    in_a_namespace(program, "--size", str(size), "--tmpfs")
    done = program.run("run", str(tmp_path / "good"), *CREATE, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("backspace-tui: no space left on the disk of ")
    assert ": free some space, then resume" in line


# Sessions


@pytest.mark.parametrize(
    "command",
    [("review",), ("resume",), ("sessions", "show"), ("sessions", "delete"), ("sessions", "rename")],
    ids=" ".join,
)
def test_sessions_that_are_not_there(program: Program, command: tuple[str, ...]) -> None:
    last = ("name",) if command[-1] == "rename" else ()
    for name in ("nope", "last", "../..", ""):
        assert "session" in refused(program, *command, name, *last)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_a_beginning_that_two_sessions_share(program: Program, tmp_path: Path) -> None:
    for _ in range(2):
        assert program.run("run", str(tmp_path / "good"), *CREATE).returncode == 4
    said = refused(program, "review", program.sessions[0].name[:4], sessions=2)
    assert all(session.name in said for session in program.sessions)


# Terminals


def spawn(program: Program, *arguments: str, size: tuple[int, int] = (24, 80), **env: str | None) -> pexpect.spawn[str]:
    """Run in a terminal of ``size`` (rows, columns) until it ends."""
    environment = {name: value for name, value in {**program.env, **env}.items() if value is not None}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "backspace_tui", *arguments],
        env=environment,
        dimensions=size,
        timeout=60,
        encoding="utf-8",
    )
    child.expect(pexpect.EOF)
    child.wait()
    return child


@pytest.mark.parametrize(
    ("size", "term", "why"),
    [
        ((5, 20), "xterm-256color", "the terminal is 20x5; make it at least 40x10"),
        ((24, 80), None, "TERM is not set to a terminal that can draw"),
        ((24, 80), "dumb", "TERM is not set to a terminal that can draw"),
        ((24, 80), "", "TERM is not set to a terminal that can draw"),
    ],
)
@pytest.mark.parametrize("command", [(), ("replay", "last"), ("demo",)], ids=["workspace", "replay", "demo"])
def test_terminals_that_cannot_be_drawn_on(
    program: Program, tmp_path: Path, command: tuple[str, ...], size: tuple[int, int], term: str | None, why: str
) -> None:
    child = spawn(program, *(command or (str(tmp_path / "good"), "--model", "offline")), size=size, TERM=term)
    assert child.exitstatus == 2
    (line,) = (child.before or "").splitlines()
    assert line.startswith(f"backspace-tui: {why}")
    assert program.sessions == []


@pytest.mark.parametrize("command", [(), ("attach", "x"), ("replay", "x")], ids=["workspace", "attach", "replay"])
def test_no_terminal(program: Program, command: tuple[str, ...]) -> None:
    assert "needs a terminal" in refused(program, *command)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_a_headless_run_needs_no_terminal_at_all(program: Program, tmp_path: Path) -> None:
    child = spawn(program, "run", str(tmp_path / "good"), *CREATE, size=(5, 20), TERM=None)
    assert child.exitstatus == 4
    assert "waiting for your review" in (child.before or "")


# Errors of our own


def test_debug_adds_the_traceback(program: Program, tmp_path: Path) -> None:
    done = program.run("run", str(tmp_path / "nowhere"), *CREATE, "--debug")
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith("backspace-tui: ")


def test_a_reader_that_goes_away(program: Program, tmp_path: Path) -> None:
    with open(os.devnull, "wb") as null:
        child = subprocess.Popen(
            program.command("sessions", "--json"),
            env=program.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=null,
        )
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == b""
        assert child.wait(60) in (0, 1)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_closed_streams(program: Program, tmp_path: Path, closed: str) -> None:
    command = program.command("run", str(tmp_path / "good"), *CREATE, "--accept", "all", "--json")
    script = f'exec "$@" {closed}'
    done = subprocess.run(["sh", "-c", script, "sh", *command], env=program.env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert git(tmp_path / "good", "branch", "--list", "backspace/*").split() == ["backspace/create-x-with-y"]


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_the_callers_git_variables_mean_nothing(program: Program, tmp_path: Path) -> None:
    """As in a hook, from which git hands on where its own repository is."""
    other = make_repository(tmp_path / "other")
    before = (other / ".git" / "index").read_bytes()
    program.env |= {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": "/nowhere"}
    assert program.run("run", str(tmp_path / "good"), *CREATE, "--accept", "all").returncode == 0
    assert git(tmp_path / "good", "branch", "--list", "backspace/*") != ""
    assert git(other, "branch", "--list", "backspace/*") == ""
    assert (other / ".git" / "index").read_bytes() == before


def test_a_run_without_a_prompt(program: Program, tmp_path: Path) -> None:
    said = refused(program, "run", str(tmp_path / "good"), "--model", "offline")
    assert said == "the following arguments are required: -p/--prompt; see 'backspace-tui run --help'"
