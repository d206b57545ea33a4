from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backspace_tui.core.trees import REGULAR, File
from backspace_tui.repository.bare import BareRepository
from backspace_tui.repository.deliver import deliver, free_branch
from backspace_tui.repository.source import RepositoryError, locate
from tests.repository.helpers import commit_files, fingerprint, git, line, write

WHEN = datetime(2024, 5, 6, tzinfo=UTC)
BRANCH = "backspace/fix"


def make_commit(bare: BareRepository, repository: Path, text: bytes = b"new\n", include_dirty: bool = False) -> str:
    base = bare.import_base(locate(str(repository)), include_dirty)
    tree = bare.amend_tree(base.tree, {"a.txt": File(REGULAR, text), 'odd "\n': File(REGULAR, b"1")})
    return bare.commit(tree, (base.commit,), "Fix it", "Ada", "ada@example.org", WHEN)


def test_only_objects_and_the_branch_change(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for name in ("reference-transaction", "post-checkout", "post-update", "pre-receive"):
        hook = repository / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
        hook.chmod(0o755)
    write(repository, {"a.txt": b"mine\n", "untracked": b"1"})
    git(repository, "add", "a.txt")
    commit = make_commit(bare, repository)
    status = git(repository, "--no-optional-locks", "status", "--porcelain=v2", "--branch")
    before = fingerprint(repository)
    assert BRANCH in deliver(repository, bare.path, commit, BRANCH)
    assert fingerprint(repository) == before
    assert git(repository, "--no-optional-locks", "status", "--porcelain=v2", "--branch") == status
    assert not trap.exists()
    assert line(repository, "rev-parse", BRANCH) == commit
    assert line(repository, "log", "--format=%s", f"main..{BRANCH}") == "Fix it"
    git(repository, "fsck", "--strict")
    assert not (repository / ".git" / "shallow").exists()


def test_the_users_changes_stand_between_head_and_our_commit(bare: BareRepository, repository: Path) -> None:
    write(repository, {"src/b.py": b"print(2)\n"})
    commit = make_commit(bare, repository, include_dirty=True)
    deliver(repository, bare.path, commit, BRANCH)
    assert git(repository, "log", "--format=%s", f"main..{BRANCH}").decode().splitlines() == [
        "Fix it",
        "Uncommitted changes of the user at the start",
    ]
    assert b"src/b.py" not in git(repository, "show", "--format=", "--name-only", BRANCH)
    git(repository, "fsck", "--strict")


def test_again_is_nothing_and_a_later_commit_replaces_ours_alone(bare: BareRepository, repository: Path) -> None:
    first = make_commit(bare, repository)
    deliver(repository, bare.path, first, BRANCH)
    assert "already" in deliver(repository, bare.path, first, BRANCH, [first])
    second = make_commit(bare, repository, b"newer\n")
    with pytest.raises(RepositoryError, match="did not make"):
        deliver(repository, bare.path, second, BRANCH)
    deliver(repository, bare.path, second, BRANCH, [first, second])
    assert line(repository, "rev-parse", BRANCH) == second
    git(repository, "update-ref", f"refs/heads/{BRANCH}", "main")
    with pytest.raises(RepositoryError, match="did not make"):
        deliver(repository, bare.path, second, BRANCH, [first, second])


def test_a_checked_out_branch_is_left_alone(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    first = make_commit(bare, repository)
    deliver(repository, bare.path, first, BRANCH)
    git(repository, "worktree", "add", "-q", str(tmp_path / "linked"), BRANCH)
    assert "already" in deliver(repository, bare.path, first, BRANCH)
    second = make_commit(bare, repository, b"newer\n")
    with pytest.raises(RepositoryError, match=r"checked out in .*linked"):
        deliver(repository, bare.path, second, BRANCH, [first])
    assert line(repository, "rev-parse", BRANCH) == first


def test_work_of_a_killed_process_is_found(bare: BareRepository, repository: Path) -> None:
    commit = make_commit(bare, repository)
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from backspace_tui.repository import deliver
        from backspace_tui.repository.git import Runner

        name, user, bare, commit, branch = sys.argv[1:]
        run = Runner.run
        def killing(self, *arguments, **keywords):
            if name == "before" and arguments[0] == "update-ref":
                os.kill(os.getpid(), signal.SIGKILL)
            result = run(self, *arguments, **keywords)
            if name == "after" and arguments[0] == "update-ref":
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        Runner.run = killing
        deliver.deliver(Path(user), Path(bare), commit, branch)
        """
    )
    for moment in ("before", "after"):
        arguments = [sys.executable, "-c", code, moment, str(repository), str(bare.path), commit, BRANCH]
        assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
        present = line(repository, "for-each-ref", "--format=%(objectname)", f"refs/heads/{BRANCH}")
        assert present == ("" if moment == "before" else commit)
    assert "already" in deliver(repository, bare.path, commit, BRANCH)
    assert line(repository, "rev-list", "--count", f"main..{BRANCH}") == "1"


def test_a_held_index_lock_does_not_matter(bare: BareRepository, repository: Path) -> None:
    (repository / ".git" / "index.lock").touch()
    commit = make_commit(bare, repository)
    deliver(repository, bare.path, commit, BRANCH)
    assert line(repository, "rev-parse", BRANCH) == commit


def test_a_repository_without_the_base_is_refused(bare: BareRepository, repository: Path) -> None:
    commit = make_commit(bare, repository)
    subprocess.run(["rm", "-rf", str(repository / ".git")], check=True)
    git(repository, "init", "-q")
    commit_files(repository, {"other": b"1"})
    with pytest.raises(RepositoryError, match="no longer holds"):
        deliver(repository, bare.path, commit, BRANCH)


def test_into_shallow_and_linked_checkouts(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    commit_files(repository, {"second": b"1"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "copy")
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    for place in (tmp_path / "copy", tmp_path / "linked"):
        commit = make_commit(bare, place)
        deliver(place, bare.path, commit, BRANCH)
        assert line(place, "rev-parse", BRANCH) == commit
        git(place, "fsck")


def test_bad_branch_names(bare: BareRepository, repository: Path) -> None:
    commit = make_commit(bare, repository)
    for name in ("a..b", "x.lock", "", "sp ace", "a\nb"):
        with pytest.raises(RepositoryError, match="not a name"):
            deliver(repository, bare.path, commit, name)
    git(repository, "branch", "backspace")
    with pytest.raises(RepositoryError, match="cannot be set") as caught:
        deliver(repository, bare.path, commit, BRANCH)
    assert "\n" not in str(caught.value)


def test_a_free_name_is_found(repository: Path) -> None:
    assert free_branch(repository, BRANCH) == BRANCH
    git(repository, "branch", BRANCH)
    assert free_branch(repository, BRANCH) == f"{BRANCH}-2"
    git(repository, "branch", f"{BRANCH}-2/below")
    git(repository, "update-ref", f"refs/remotes/origin/{BRANCH}-3", "HEAD")
    git(repository, "branch", f"{BRANCH}-4".replace("fix", "FIX"))
    assert free_branch(repository, BRANCH) == f"{BRANCH}-5"


def test_a_branch_that_blocks_the_whole_folder(repository: Path, bare: BareRepository) -> None:
    git(repository, "branch", "backspace")
    name = free_branch(repository, BRANCH)
    assert name == "backspace-fix"
    commit = make_commit(bare, repository)
    deliver(repository, bare.path, commit, name)
    assert line(repository, "rev-parse", name) == commit


def test_ownership_is_not_taken_for_granted(bare: BareRepository, repository: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    commit = make_commit(bare, repository)
    os.chown(repository, 12345, 12345)
    os.chown(repository / ".git", 12345, 12345)
    with pytest.raises(RepositoryError, match="dubious ownership"):
        deliver(repository, bare.path, commit, BRANCH)
