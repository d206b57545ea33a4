"""``run`` on repositories of every shape: exactly the accepted content on the branch, the user's checkout as it was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from backspace_tui.core import events as ev
from tests.models.openai_server import OpenAIServer, Request
from tests.models.turns import Turn, call, raw_call, text
from tests.program import Program, git, kept, make_repository, tree

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]
KEY = "sk-never-to-be-shown-0123456789"
FIXTURES = {"docker": "default_image", "bubblewrap": "bubblewrap"}


class Ran(NamedTuple):
    """A finished run with everything that there is to look at."""

    program: Program
    repository: Path
    branch: str
    outputs: list[subprocess.CompletedProcess[str]]
    requests: list[Request]
    before: Mapping[str, object]
    after: Mapping[str, object]
    base: Mapping[str, tuple[str, bytes]]
    calls: Mapping[str, ev.ToolFinished]


# A repository with everything in it

CRLF = b"one\r\ntwo\r\nthree\r\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12\n"
LATIN = "caf\udce9.txt"
QUOTED = '"caf\\udce9.txt"'
ODD = "new\nline \"quoted\" 'and' more.txt"
SUBMODULE = "1" * 40


def menagerie(folder: Path) -> Path:
    """Two thousand files, and one of each kind that git and file systems know."""
    make_repository(
        folder,
        {
            "crlf.txt": CRLF,
            "open.txt": b"first\nlast",
            "image.bin": bytes(range(256)) * 8,
            "tool.sh": b"#!/bin/sh\necho one\n",
            "plain.sh": b"#!/bin/sh\necho plain\n",
            "latin.txt": b"caf\xe9 au lait\n",
            "with space.txt": b"space\n",
            "empty.txt": b"",
            "deep/" * 20 + "file.txt": b"deep\n",
            "sub/.gitignore": b"*.log\n/out/\n",
            "sub/kept.txt": b"kept\n",
            ".gitignore": b"ignored.txt\n",
            ".gitattributes": b"*.dat filter=lfs diff=lfs merge=lfs -text\n*.eol text eol=crlf\n",
            "large.dat": POINTER,
            "remove.txt": b"to be removed\n",
            "old_name.py": b"VALUE = 1\n",
            "becomes_file/inner.txt": b"inner\n",
            "becomes_folder": b"a file\n",
            "tracked.pyc": b"tracked although it looks like a cache\n",
            **{f"many/{number % 50:02}/{number:04}.txt": f"{number}\n".encode() for number in range(2000)},
        },
    )
    for name in (LATIN, ODD):
        (folder / name).write_bytes(b"odd\n")
    (folder / "link").symlink_to("crlf.txt")
    (folder / "folder_link").symlink_to("sub")
    (folder / "nowhere").symlink_to("/nowhere/at/all")
    (folder / "tool.sh").chmod(0o755)
    (folder / "vendored").mkdir()
    git(folder, "add", "-A")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{SUBMODULE},vendored")
    git(folder, "commit", "-q", "-m", "everything")
    (folder / "open.txt").write_bytes(b"stashed")
    git(folder, "stash", "-q")
    (folder / "ignored.txt").write_bytes(b"the user's own\n")
    (folder / "sub" / "user.log").write_bytes(b"the user's own log\n")
    hooks = folder / ".git" / "hooks"
    for hook in (
        "pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-checkout", "post-index-change",
        "post-rewrite", "pre-push", "post-update", "fsmonitor-watchman", "pre-auto-gc",
    ):  # fmt: skip
        (hooks / hook).write_text(f"#!/bin/sh\ntouch '{folder}/../hook-{hook}-ran'\n")
        (hooks / hook).chmod(0o755)
    return folder


def everything() -> list[Turn]:
    """Turns that call every tool, rightly and wrongly, on :func:`menagerie`."""
    return [
        text("Let me look around.")
        + call("list_files")
        + call("list_files", path="sub")
        + call("list_files", path="../x"),
        call("read_file", path="crlf.txt", start_line=2, end_line=2)
        + call("read_files", paths=["open.txt", "latin.txt", QUOTED, "image.bin", "link", "missing.txt"])
        + call("search", pattern="caf|^199[0-9]$", glob="*.txt"),
        call("ask_user", question="Which colour?", options=["red", "blue"]),
        call("edit_file", path="crlf.txt", old="one\ntwo", new="one\nTWO\nand a half")
        + call("edit_file", path="open.txt", old="last", new="the very last")
        + call("edit_file", path="tool.sh", old="echo one", new="echo two")
        + call("edit_file", path="latin.txt", old=" au lait", new=" noir")
        + call("edit_file", path=QUOTED, old="odd", new="even")
        + call("edit_file", path=ODD, old="odd", new="even")
        + call("edit_file", path="many/00/0050.txt", old="not there", new="x"),
        call("write_file", path="made/new.txt", content="made\n")
        + call("write_file", path="made/.gitignore", content="new.txt\n*.txt\n*\n")
        + call("write_files", files=[{"path": "a.txt", "content": "a\n"}, {"path": "b.txt", "content": "no newline"}])
        + call("write_files", files=[{"path": "kept.txt", "content": "k\n"}, {"path": "sub", "content": "in the way"}])
        + call("write_file", path="empty.txt", content="not empty any more\n")
        + call("write_file", path="made/empty.txt", content=""),
        call("move_file", path="old_name.py", to="package/new_name.py")
        + call("move_file", path="missing.py", to="x.py")
        + call("move_file", path="a.txt", to="b.txt")
        + call("delete_file", path="remove.txt")
        + call("delete_file", path="nowhere")
        + call("delete_file", path="sub"),
        call("write_file", path=".git/hooks/pre-commit", content="#!/bin/sh\n")
        + call("write_file", path="sub/.GIT/config", content="x")
        + call("write_file", path="../outside.txt", content="x")
        + call("write_file", path="/etc/cron.d/x", content="x")
        + call("read_file", path="/etc/passwd")
        + call("read_file", path="sub/../../etc/passwd"),
        call("run_command", command="ln -s /etc/passwd leak; ln -s /etc leaks; ln -s ../../.. up; cat crlf.txt > copy")
        + call("read_file", path="leak")
        + call("read_file", path="leaks/passwd")
        + call("read_file", path="up/etc/passwd")
        + call("write_file", path="leak", content="x")
        + call("write_file", path="leaks/x", content="x")
        + call("run_command", command="rm leak leaks up"),
        call(
            "run_command",
            command="set -e; rm -r becomes_file; echo 'now a file' > becomes_file; rm becomes_folder;"
            " mkdir becomes_folder; echo inside > becomes_folder/file; chmod +x plain.sh;"
            " head -c 3000 /dev/zero > image.bin;"
            " mkdir -p __pycache__ node_modules/x demo.egg-info sub/out; touch __pycache__/c.pyc node_modules/x/y"
            " demo.egg-info/PKG-INFO sub/agent.log sub/out/built ignored.txt; echo changed > tracked.pyc;"
            " ln -s crlf.txt made/link; rm link; ln -s open.txt link; git init -q nested; git status > /dev/null;"
            " mkfifo pipe; printf 'caf\\351' > made/latin.txt; printf x > \"$(printf 'made/caf\\351')\"",
        )
        + call("run_command", command="echo to stderr >&2; exit 7")
        + call("run_command", command="sleep 60", timeout=0.5),
        call("start_service", name="web", command="echo up; exec sleep 600")
        + call("start_service", name="web", command="sleep 1")
        + call("list_processes")
        + call("stop_service", name="web")
        + call("stop_service", name="nothing"),
        call("no_such_tool", x=1)
        + raw_call("write_file", '{"path": "x.txt", "content": ')
        + call("edit_file", path="crlf.txt", old="one")
        + call("run_command", command=""),
        call("finish", summary="Did everything."),
    ]  # fmt: skip


@pytest.fixture(scope="module", params=BACKENDS)
def everything_ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run that uses every tool; it stops at a question and goes on with the answer."""
    request.getfixturevalue(FIXTURES[request.param])
    folder = tmp_path_factory.mktemp("everything")
    repository = menagerie(folder / "repository")
    kept(repository)
    before, base = kept(repository), tree(repository, "HEAD")
    program = Program(folder, OPENAI_API_KEY=KEY)
    with OpenAIServer(everything(), texts=["1. look\n2. change everything", "APPROVE"]) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        options = ("-p", "Change everything", "--model", "openai/test", "--sandbox", request.param, "--accept", "all")
        first = program.run("run", str(repository), *options)
        again = program.run("resume", program.session.name, "--answer", "blue")
    assert server.problems == []
    # The index first: git status would refresh it.
    after = kept(repository)
    results = {}
    calls = [event for event in program.events() if isinstance(event, ev.ToolFinished)]
    for number, event in enumerate(calls):
        results[f"{number} {event.tool}"] = event
    branch = "backspace/change-everything"
    return Ran(program, repository, branch, [first, again], server.requests, before, after, base, results)


def test_a_run_waits_for_its_answer_and_goes_on(everything_ran: Ran) -> None:
    first, again = everything_ran.outputs
    assert first.returncode == 4, first.stderr
    assert "Which colour?" in first.stderr
    assert "resume" in first.stderr
    assert again.returncode == 0, again.stderr
    assert "answer     blue" in again.stdout


def test_the_branch_holds_exactly_what_the_tools_did(everything_ran: Ran) -> None:
    expected = dict(everything_ran.base)
    for path in ("remove.txt", "nowhere", "old_name.py", "becomes_file/inner.txt", "becomes_folder"):
        del expected[path]
    expected |= {
        "crlf.txt": ("100644", b"one\r\nTWO\r\nand a half\r\nthree\r\n"),
        "open.txt": ("100644", b"first\nthe very last"),
        "tool.sh": ("100755", b"#!/bin/sh\necho two\n"),
        "plain.sh": ("100755", b"#!/bin/sh\necho plain\n"),
        "latin.txt": ("100644", b"caf\xe9 noir\n"),
        LATIN: ("100644", b"even\n"),
        ODD: ("100644", b"even\n"),
        "made/new.txt": ("100644", b"made\n"),
        "made/.gitignore": ("100644", b"new.txt\n*.txt\n*\n"),
        "made/empty.txt": ("100644", b""),
        "made/link": ("120000", b"crlf.txt"),
        "made/latin.txt": ("100644", b"caf\xe9"),
        "made/caf\udce9": ("100644", b"x"),
        "a.txt": ("100644", b"a\n"),
        "b.txt": ("100644", b"no newline"),
        "kept.txt": ("100644", b"k\n"),
        "empty.txt": ("100644", b"not empty any more\n"),
        "package/new_name.py": ("100644", b"VALUE = 1\n"),
        "copy": ("100644", b"one\r\nTWO\r\nand a half\r\nthree\r\n"),
        "becomes_file": ("100644", b"now a file\n"),
        "becomes_folder/file": ("100644", b"inside\n"),
        "image.bin": ("100644", b"\0" * 3000),
        "tracked.pyc": ("100644", b"changed\n"),
        "link": ("120000", b"open.txt"),
    }
    assert tree(everything_ran.repository, everything_ran.branch) == expected


def test_the_branch_is_one_commit_on_the_users_head(everything_ran: Ran) -> None:
    commits = git(everything_ran.repository, "rev-list", "--parents", f"HEAD..{everything_ran.branch}").splitlines()
    assert len(commits) == 1
    assert commits[0].split()[1:] == git(everything_ran.repository, "rev-parse", "HEAD").split()
    author = git(everything_ran.repository, "log", "-1", "--format=%s", everything_ran.branch).strip()
    assert author == "Change everything"


def test_the_users_checkout_is_left_alone(everything_ran: Ran) -> None:
    for what, value in everything_ran.before.items():
        assert everything_ran.after[what] == value, what
    assert list(everything_ran.repository.parent.glob("hook-*")) == []
    assert git(everything_ran.repository, "fsck", "--no-dangling", "--connectivity-only") == ""


def test_every_tool_was_offered_and_called(everything_ran: Ran) -> None:
    offered = {tool["function"]["name"] for tool in everything_ran.requests[1].body["tools"]}
    assert offered == {
        "list_files", "read_file", "read_files", "search", "write_file", "write_files", "edit_file", "move_file",
        "delete_file", "run_command", "start_service", "list_processes", "stop_service", "ask_user", "finish",
    }  # fmt: skip
    assert offered <= {event.tool for event in everything_ran.calls.values()}
    assert all(request.streamed for request in everything_ran.requests)


# Checkouts of other shapes, worked on by the offline agent


def _subfolder(folder: Path) -> tuple[Path, Path]:
    repository = make_repository(folder / "repository", {"a/b/greeting.txt": "hello\n", "top.txt": "hello\n"})
    return repository, repository / "a" / "b"


def _worktree(folder: Path) -> tuple[Path, Path]:
    main = make_repository(folder / "main", {"greeting.txt": "hello\n"})
    git(main, "worktree", "add", "-q", "-b", "side", str(folder / "linked"))
    return folder / "linked", folder / "linked"


def _detached(folder: Path) -> tuple[Path, Path]:
    repository = make_repository(folder / "repository", {"greeting.txt": "hello\n"})
    git(repository, "checkout", "-q", "--detach")
    return repository, repository


def _line_endings(folder: Path) -> tuple[Path, Path]:
    repository = make_repository(folder / "repository", {"greeting.txt": "hello\n", "crlf.txt": "hello\r\n"})
    for key, value in {"core.autocrlf": "true", "core.eol": "crlf", "core.safecrlf": "true"}.items():
        git(repository, "config", key, value)
    (repository / "greeting.txt").write_bytes(b"hello\r\n")
    git(repository, "add", "--renormalize", "greeting.txt")
    return repository, repository


def _filters(folder: Path) -> tuple[Path, Path]:
    repository = make_repository(
        folder / "repository", {"greeting.txt": "hello\n", ".gitattributes": "*.txt filter=loud eol=crlf ident\n"}
    )
    mark = folder / "filter-ran"
    for kind in ("smudge", "process"):
        git(repository, "config", f"filter.loud.{kind}", f"touch {mark}; exit 1")
    git(repository, "config", "filter.loud.clean", "cat")
    git(repository, "config", "filter.loud.process", "")
    git(repository, "config", "core.fsmonitor", f"touch {mark}; false")
    return repository, repository


def _index_settings(folder: Path) -> tuple[Path, Path]:
    repository = make_repository(folder / "repository", {"greeting.txt": "hello\n", "other.txt": "x\n"})
    git(repository, "update-index", "--split-index", "--untracked-cache")
    git(repository, "update-index", "--assume-unchanged", "other.txt")
    git(repository, "config", "core.sparseCheckout", "true")
    git(repository, "config", "commit.gpgSign", "true")
    return repository, repository


def _taken_branch(folder: Path) -> tuple[Path, Path]:
    repository = make_repository(folder / "repository", {"greeting.txt": "hello\n"})
    git(repository, "branch", "backspace/replace-hello-with-goodbye")
    git(repository, "branch", "backspace/replace-hello-with-goodbye-2")
    return repository, repository


def _odd_place(folder: Path) -> tuple[Path, Path]:
    repository = make_repository(folder / 'a "b": c\'d é', {"greeting.txt": "hello\n"})
    return repository, repository


SHAPES = {
    "subfolder": _subfolder,
    "linked worktree": _worktree,
    "detached HEAD": _detached,
    "line endings": _line_endings,
    "filters": _filters,
    "index settings": _index_settings,
    "taken branch": _taken_branch,
    "odd place": _odd_place,
}
OFFLINE = ("--model", "offline", "--sandbox", "bubblewrap")
GREET = ("-p", "replace hello with goodbye", *OFFLINE)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize("shape", SHAPES)
def test_checkouts_of_every_shape(shape: str, tmp_path: Path) -> None:
    repository, given = SHAPES[shape](tmp_path)
    kept(repository)
    before, base = kept(repository), tree(repository, "HEAD")
    program = Program(tmp_path)
    (tmp_path / "filter-ran").unlink(missing_ok=True)
    done = program.run("run", str(given), *GREET, "--accept", "all")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "filter-ran").exists()
    after = kept(repository)
    for what, value in before.items():
        assert after[what] == value, what
    commits = [
        event for event in program.events() if isinstance(event, ev.GitOperation) and event.operation == "commit"
    ]
    branch = commits[0].branch
    assert tree(repository, branch) == {
        path: (mode, data.replace(b"hello", b"goodbye")) for path, (mode, data) in base.items()
    }
    assert git(repository, "rev-parse", f"{branch}^") == git(repository, "rev-parse", "HEAD")


# Uncommitted changes


def dirty(folder: Path) -> Path:
    repository = make_repository(folder, {"greeting.txt": "hello\n", "mine.txt": "before\n", "gone.txt": "x\n"})
    (repository / ".gitignore").write_text("secret.txt\n")
    git(repository, "add", ".gitignore")
    (repository / "mine.txt").write_text("hello from the user\n")
    (repository / "gone.txt").unlink()
    (repository / "untracked.txt").write_text("hello, untracked\n")
    (repository / "secret.txt").write_text("hello, ignored\n")
    kept(repository)
    return repository


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_uncommitted_changes_are_left_out_and_told_of(tmp_path: Path) -> None:
    repository = dirty(tmp_path / "repository")
    before = kept(repository)
    done = Program(tmp_path).run("run", str(repository), *GREET, "--accept", "all")
    assert done.returncode == 0, done.stderr
    assert "4 uncommitted changes of yours left out (include with --include-dirty)" in done.stdout
    assert kept(repository) == before
    assert tree(repository, "backspace/replace-hello-with-goodbye") == {
        "greeting.txt": ("100644", b"goodbye\n"),
        "mine.txt": ("100644", b"before\n"),
        "gone.txt": ("100644", b"x\n"),
    }


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_uncommitted_changes_can_be_part_of_the_base(tmp_path: Path) -> None:
    repository = dirty(tmp_path / "repository")
    before = kept(repository)
    done = Program(tmp_path).run("run", str(repository), *GREET, "--accept", "all", "--include-dirty")
    assert done.returncode == 0, done.stderr
    assert "4 uncommitted changes of yours included" in done.stdout
    assert kept(repository) == before
    branch = "backspace/replace-hello-with-goodbye"
    theirs = {
        ".gitignore": ("100644", b"secret.txt\n"),
        "greeting.txt": ("100644", b"hello\n"),
        "mine.txt": ("100644", b"hello from the user\n"),
        "untracked.txt": ("100644", b"hello, untracked\n"),
    }
    assert tree(repository, f"{branch}^") == theirs
    assert tree(repository, branch) == {
        path: (mode, data.replace(b"hello", b"goodbye")) for path, (mode, data) in theirs.items()
    }
    subject = git(repository, "log", "-1", "--format=%s", f"{branch}^").strip()
    assert subject == "Uncommitted changes of the user at the start"
    assert git(repository, "rev-parse", f"{branch}^^") == git(repository, "rev-parse", "HEAD")


# What the tests say

NODE = """\
import test from 'node:test';
import assert from 'node:assert';
import { value } from './value.mjs';
test('value', () => assert.equal(value, 2));
"""
PROJECTS: dict[str, tuple[str, str, dict[str, str | bytes]]] = {
    "pytest": (
        "python -m pytest -q",
        "value.py",
        {
            "value.py": "VALUE = 1\n",
            "tests/test_value.py": "import pytest\nfrom value import VALUE\n\n\ndef test_value():\n"
            "    assert VALUE == 2\n",
        },
    ),
    "unittest": (
        "python -m unittest discover -s tests",
        "value.py",
        {
            "value.py": "VALUE = 1\n",
            "tests/test_value.py": "import unittest\nfrom value import VALUE\n\n\nclass ValueTest(unittest.TestCase):\n"
            "    def test_value(self):\n        self.assertEqual(VALUE, 2)\n",
        },
    ),
    "node": (
        "npm test",
        "value.mjs",
        {
            "package.json": '{"name": "x", "version": "1.0.0", "scripts": {"test": "node --test"}}\n',
            "value.mjs": "export const value = 1;\n",
            "value.test.mjs": NODE,
        },
    ),
    "make": ("make test", "value.txt", {"Makefile": "test:\n\tgrep -q 2 value.txt\n", "value.txt": "1\n"}),
}


@pytest.mark.docker
@pytest.mark.usefixtures("default_image")
@pytest.mark.parametrize("kind", PROJECTS)
def test_each_kind_of_project_is_tested(kind: str, tmp_path: Path) -> None:
    command, path, files = PROJECTS[kind]
    repository = make_repository(tmp_path / "repository", files)
    program = Program(tmp_path)
    # Mended: fails on the base, passes now.
    run = ("--model", "offline", "--accept")
    done = program.run("run", str(repository), "-p", f"replace 1 with 2 in {path}", *run, "verified")
    assert done.returncode == 0, done.stdout + done.stderr
    baseline, running, verdict = (event for event in program.events() if isinstance(event, ev.Verification))
    assert (baseline.verdict, running.verdict, verdict.verdict) == ("baseline", "running", "passes")
    assert {baseline.command, running.command, verdict.command} == {command}
    assert baseline.exit_code not in (0, None)
    assert verdict.exit_code == 0
    # Broken: passes on the base, fails now.
    git(repository, "merge", "-q", "--ff-only", f"backspace/replace-1-with-2-in-{path.replace('.', '-')}")
    broken = Program(tmp_path / "again")
    done = broken.run("run", str(repository), "-p", f"replace 2 with 3 in {path}", *run, "all")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "verdict    newly fails" in done.stdout
    assert done.stderr.startswith("backspace-tui: the accepted changes make tests fail that passed before")
    assert git(repository, "branch", "--list", "backspace/replace-2*") == ""


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize(
    ("test", "verdict"),
    [("false", "fails as before"), ("", "not verified"), ("grep -q goodbye greeting.txt", "passes")],
)
def test_verified_refuses_what_all_takes(test: str, verdict: str, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"greeting.txt": "hello\n"})
    program = Program(tmp_path)
    (tmp_path / "config.toml").write_text(f'[project]\ntest = "{test}"\n')
    strict = program.run("run", str(repository), *GREET, "--accept", "verified")
    assert f"verdict    {verdict}" in strict.stdout
    branches = git(repository, "branch", "--list", "--format=%(refname:short)", "backspace/*").split()
    if verdict == "passes":
        assert (strict.returncode, len(branches)) == (0, 1)
        return
    assert (strict.returncode, branches) == (3, [])
    assert strict.stderr == f"backspace-tui: --accept verified needs passing tests; verdict: {verdict}\n"
    # Whoever looks at it may take it all the same.
    taken = program.run("review", "last", "--pull-request")
    assert taken.returncode == 0, taken.stderr
    assert tree(repository, "backspace/replace-hello-with-goodbye")["greeting.txt"][1] == b"goodbye\n"
    assert "accepted in review" in taken.stdout
    loose = Program(tmp_path / "loose", BACKSPACE_TUI_CONFIG=program.env["BACKSPACE_TUI_CONFIG"])
    done = loose.run("run", str(repository), *GREET, "--accept", "all", "--pull-request")
    assert done.returncode == 0, done.stderr
    assert "accepted automatically, without a review, and none was left out" in done.stdout
    runs = [event.verdict for event in program.events() if isinstance(event, ev.Verification)]
    assert runs == (["baseline", "running", verdict] if test else [verdict])


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_an_agent_that_changes_nothing(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"greeting.txt": "hi\n"})
    program = Program(tmp_path)
    done = program.run("run", str(repository), *GREET, "--accept", "all")
    assert done.returncode == 1
    assert done.stderr == "backspace-tui: the agent changed nothing, so there is nothing to accept\n"
    assert json.loads(program.run("review", "last", "--json").stdout)["files"] == []


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_plan_and_critique_in_odd_shapes(tmp_path: Path) -> None:
    """Each gets one repair request, then a default; a REVISE sends the work back with its feedback."""
    repository = make_repository(tmp_path / "repository", {"greeting.txt": "hello\n", "other.txt": "hello\n"})
    program = Program(tmp_path, OPENAI_API_KEY=KEY)
    turns = [
        text("Mending the greeting.") + call("edit_file", path="greeting.txt", old="hello", new="goodbye"),
        call("finish", summary="First."),
        call("edit_file", path="other.txt", old="hello", new="goodbye"),
        text("Second, without a call."),
    ]
    texts = ["I will do it.", "Really.", "REVISE: other.txt too\nIt says hello.", "Looks fine to me.", "**Approve**"]
    with OpenAIServer(turns, texts=texts) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        options = ("-p", "Say goodbye", "--model", "openai/test", "--sandbox", "bubblewrap", "--accept", "all")
        done = program.run("run", str(repository), *options)
        assert done.returncode == 0, done.stderr
        assert server.problems == []
    assert "plan       1. Say goodbye" in done.stdout
    assert "program    other.txt too" in done.stdout
    assert "stage      implement" in done.stdout.split("program    other.txt too")[1]
    assert "It says hello." in json.dumps(server.bodies[5]["messages"])
    changed = {path: content for path, (_, content) in tree(repository, "backspace/say-goodbye").items()}
    assert changed == {"greeting.txt": b"goodbye\n", "other.txt": b"goodbye\n"}


def test_no_key_is_kept_or_sent_to_a_model(everything_ran: Ran) -> None:
    key = KEY.encode()
    for path in everything_ran.program.data.rglob("*"):
        assert not path.is_file() or key not in path.read_bytes(), path
    for request in everything_ran.requests:
        assert KEY not in json.dumps(request.body)
    for output in everything_ran.outputs:
        assert KEY not in output.stdout + output.stderr
