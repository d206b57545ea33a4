from __future__ import annotations

import os
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backspace_tui.core.protocols import ForgeError
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.forge.push import explain, push_branch
from backspace_tui.repository.bare import BareRepository
from backspace_tui.repository.source import locate
from tests.forge.gitserver import TOKEN, GitServer
from tests.repository.helpers import commit_files, git, line, make_repository

pytestmark = pytest.mark.gitserver

WHEN = datetime(2024, 5, 6, tzinfo=UTC)
BRANCH = "backspace/fix"


class Place:
    """A remote on the server, the user's clone of it, and a session's repository with its base."""

    def __init__(self, server: GitServer, root: Path, name: str) -> None:
        self.remote = server.create("octo", name)
        self.url = f"{server.url}/octo/{name}.git"
        self.user = make_repository(root / "user")
        commit_files(self.user, {"second": b"2"})
        git(self.user, "push", "-q", str(self.remote), "main")
        self.bare = BareRepository.create(root / "repo.git")
        self.base = self.bare.import_base(locate(str(self.user)))

    def commit(self, text: bytes = b"new\n") -> str:
        tree = self.bare.amend_tree(self.base.tree, {"a.txt": File(REGULAR, text)})
        return self.bare.commit(tree, (self.base.commit,), "Fix", "Ada", "ada@example.org", WHEN)

    def push(self, commit: str, *previous: str, token: str = TOKEN, url: str = "") -> str:
        return push_branch(str(self.bare.path), url or self.url, token, commit, BRANCH, previous)

    def refused(self, commit: str, *previous: str, token: str = TOKEN, url: str = "") -> ForgeError:
        with pytest.raises(ForgeError) as caught:
            self.push(commit, *previous, token=token, url=url)
        assert "\n" not in str(caught.value)
        assert TOKEN not in str(caught.value)
        return caught.value


@pytest.fixture
def place(server: GitServer, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(server, tmp_path, request.node.name.replace("[", "-").strip("]"))


def test_a_branch_arrives_and_again_is_nothing(place: Place) -> None:
    commit = place.commit()
    assert BRANCH in place.push(commit)
    assert line(place.remote, "rev-parse", BRANCH) == commit
    assert line(place.remote, "log", "--format=%s", f"main..{BRANCH}") == "Fix"
    git(place.remote, "fsck", "--strict")
    assert "already" in place.push(commit)


def test_our_own_commits_are_replaced_and_nobody_elses(place: Place) -> None:
    first, second = place.commit(), place.commit(b"newer\n")
    place.push(first)
    assert "did not make" in str(place.refused(second))
    place.push(second, first)
    assert line(place.remote, "rev-parse", BRANCH) == second
    git(place.remote, "update-ref", f"refs/heads/{BRANCH}", "main")
    assert "did not make" in str(place.refused(second, first, second))
    assert line(place.remote, "rev-parse", BRANCH) == line(place.remote, "rev-parse", "main")


def test_a_branch_that_moves_between_looking_and_pushing_is_not_lost(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = place.commit(), place.commit(b"newer\n")
    place.push(first)
    # A git that moves the branch on the server right before every push.
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = subprocess.check_output(["which", "git"], text=True).strip()
    move = f"{real} -C {place.remote} update-ref refs/heads/{BRANCH} main"
    fake.write_text(f'#!/bin/sh\n[ "$1" = push ] && env -u GIT_DIR {move}\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    assert "meanwhile" in str(place.refused(second, first))
    assert line(place.remote, "rev-parse", BRANCH) == line(place.remote, "rev-parse", "main")


def test_the_token_is_in_no_argument_file_or_log(
    place: Place, server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "arguments"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = subprocess.check_output(["which", "git"], text=True).strip()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {seen}\nexec {real} "$@"\n')
    fake.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GIT_TRACE_CURL", str(tmp_path / "trace"))
    place.push(place.commit())
    assert "push" in seen.read_text()
    for folder in (tmp_path, place.remote):
        for path in folder.rglob("*"):
            if path.is_file():
                assert TOKEN.encode() not in path.read_bytes(), path
    assert not (tmp_path / "trace").exists()
    assert TOKEN not in server.log()


def test_refusals(place: Place, server: GitServer) -> None:
    commit = place.commit()
    assert "does not accept the token" in str(place.refused(commit, token="wrong"))
    assert "does not exist" in str(place.refused(commit, url=f"{server.url}/octo/nothing.git"))
    assert "write access" in str(place.refused(commit, url=f"{server.url}/forbidden/x.git"))
    broken = place.refused(commit, url=f"{server.url}/broken/x.git")
    assert broken.retryable
    assert place.refused(commit, url="http://127.0.0.1:9/o/r.git").retryable
    moved = place.refused(commit, url=f"{server.url}/moved/x.git")
    assert not moved.retryable


def test_a_hook_of_the_server_says_why(place: Place) -> None:
    hook = place.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'error: GH013: Repository \033[31mrule violations found' >&2\nexit 1\n")
    hook.chmod(0o755)
    text = str(place.refused(place.commit()))
    assert "GH013: Repository rule violations found" in text


def test_a_base_that_the_remote_does_not_hold(place: Place) -> None:
    commit_files(place.user, {"unpushed": b"1"})
    place.base = place.bare.import_base(locate(str(place.user)))
    assert "push your own branch first" in str(place.refused(place.commit()))


def test_the_users_helpers_rewrites_and_hooks_are_not_asked(place: Place, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-push").write_text(f"#!/bin/sh\ntouch {trap}\n")
    (hooks / "pre-push").chmod(0o755)
    (tmp_path / "home" / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {hooks}\n[credential]\n\thelper = !touch {trap}\n"
        '[url "git@nowhere.invalid:"]\n\tinsteadOf = http://127.0.0.1\n[http]\n\tsslVerify = true\n'
    )
    place.push(place.commit())
    place.refused(place.commit(b"other"), token="wrong")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("said", "expected", "retryable"),
    [
        ("fatal: unable to access 'https://h/': Could not resolve host: h", "Could not resolve host", True),
        ("remote: Permission to o/r.git denied to x.\nfatal: ... error: 403", "write access", False),
        ("remote: Repository not found.\nfatal: repository 'https://h/' not found", "may not see it", False),
        (" ! [remote rejected] x (refusing to allow an OAuth App to create or update workflow)", "workflow", False),
        ("error: RPC failed; curl 56\nfatal: the remote end hung up unexpectedly", "RPC failed", True),
        ("", "said nothing", False),
    ],
)
def test_messages_of_git(said: str, expected: str, retryable: bool) -> None:
    problem = explain(said, "https://h/o/r.git")
    assert expected in str(problem)
    assert problem.retryable is retryable
