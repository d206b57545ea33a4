"""Accepted work in the user's checkout, with real git: what is done, and what is refused with nothing changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.repository.apply import Applied, apply_merge, apply_uncommitted
from backspace_tui.repository.bare import BareRepository
from backspace_tui.repository.deliver import deliver
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.source import locate
from tests.repository.helpers import commit_files, git, line, make_repository, write

WHEN = datetime(2024, 5, 6, tzinfo=UTC)
BRANCH = "backspace/fix"
Changes = Mapping[str, File | None]


class Session:
    """A base, and accepted work on it."""

    def __init__(self, bare: BareRepository, repository: Path, changes: Changes, include_dirty: bool = False) -> None:
        self.bare, self.repository = bare, repository
        base = bare.import_base(locate(str(repository)), include_dirty)
        self.base, self.tree = base.tree, bare.amend_tree(base.tree, changes)
        self.commit = bare.commit(self.tree, (base.commit,), "Fix it", "Ada", "ada@example.org", WHEN)
        deliver(locate(str(repository)).path or repository, bare.path, self.commit, BRANCH)

    def merge(self, folder: Path | None = None) -> Applied:
        return apply_merge(folder or self.repository, self.bare.path, self.commit, BRANCH)

    def write(self, folder: Path | None = None) -> Applied:
        return apply_uncommitted(folder or self.repository, self.bare.path, self.base, self.tree)


def everything(folder: Path) -> dict[str, object]:
    """Files, index, refs and status: what a refusal leaves alone."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if ".git" in name.split("/"):
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (path.read_bytes(), path.stat().st_mode)
    found["/status"] = git(folder, "status", "--porcelain=v2", "-z", "--branch", "--untracked-files=all")
    found["/refs"] = git(folder, "for-each-ref") + git(folder, "rev-parse", "HEAD")
    found["/index"] = git(folder, "ls-files", "--stage", "-z")
    inside = Path(line(folder, "rev-parse", "--absolute-git-dir"))
    found["/names"] = sorted(path.name for path in inside.iterdir() if not path.name.startswith("backspace-apply"))
    assert not [path for path in inside.iterdir() if path.name.startswith("backspace-apply")]
    return found


def refused(folder: Path, act: Callable[[], object], match: str) -> None:
    before = everything(folder)
    with pytest.raises(RepositoryError, match=match) as caught:
        act()
    assert "\n" not in str(caught.value)
    assert everything(folder) == before


CHANGES: Changes = {
    "a.txt": File(REGULAR, b"one\nnew\n"),
    "src/b.py": None,
    "src/c.py": File(REGULAR, b"print(1)\n"),
    "bin/run": File(EXECUTABLE, b"#!/bin/sh\n"),
    "link": File(SYMLINK, b"a.txt"),
}


def check_files(folder: Path) -> None:
    assert (folder / "a.txt").read_bytes() == b"one\nnew\n"
    assert not (folder / "src/b.py").exists()
    assert (folder / "src/c.py").read_bytes() == b"print(1)\n"
    assert (folder / "bin/run").stat().st_mode & 0o111
    assert os.readlink(folder / "link") == "a.txt"


def test_a_merge_is_a_fast_forward_where_nothing_else_was_committed(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    applied = session.merge()
    assert (applied.commit, applied.branch) == (session.commit, "main")
    assert "fast-forward" in applied.detail
    assert line(repository, "rev-parse", "main") == session.commit
    assert git(repository, "status", "--porcelain") == b""
    check_files(repository)
    before = everything(repository)
    again = session.merge()
    assert again.already
    assert "already applied" in again.detail
    assert everything(repository) == before


def test_a_true_merge_keeps_both(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    session = Session(bare, repository, CHANGES)
    mine = commit_files(repository, {"mine.txt": b"1"})
    trap = tmp_path / "trap"
    for name in ("pre-merge-commit", "post-merge", "commit-msg", "post-checkout", "reference-transaction"):
        hook = repository / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
        hook.chmod(0o755)
    applied = session.merge()
    assert not trap.exists()
    assert line(repository, "rev-parse", "HEAD^1", "HEAD^2").split() == [mine, session.commit]
    assert line(repository, "log", "-1", "--format=%s %an") == f"Merge branch '{BRANCH}' Ada Lovelace"
    assert applied.commit == line(repository, "rev-parse", "main")
    assert (repository / "mine.txt").exists()
    check_files(repository)
    assert git(repository, "status", "--porcelain") == b""
    assert session.merge().already


def test_a_conflict_changes_nothing(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    commit_files(repository, {"a.txt": b"one\nmine\n"})
    refused(repository, session.merge, r"conflicts in a\.txt")
    refused(repository, session.write, r"a\.txt has changes of yours")


def test_changes_of_the_same_path_are_not_overwritten_and_others_stay(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    write(repository, {"a.txt": b"mine\n"})
    refused(repository, session.merge, r"your uncommitted changes of a\.txt")
    refused(repository, session.write, r"a\.txt has changes of yours")
    git(repository, "add", "a.txt")
    refused(repository, session.merge, r"your uncommitted changes of a\.txt")
    git(repository, "reset", "-q", "--hard")
    commit_files(repository, {"other": b"1"})
    write(repository, {"other": b"2", "new": b"3"})
    git(repository, "add", "new")
    session.merge()
    assert git(repository, "status", "--porcelain") == b"A  new\n M other\n"
    check_files(repository)


@pytest.mark.parametrize("ignored", [False, True])
def test_untracked_files_in_the_way_stay(bare: BareRepository, repository: Path, ignored: bool) -> None:
    if ignored:
        commit_files(repository, {".gitignore": b"src/c.py\nbin\n"})
    session = Session(bare, repository, CHANGES)
    write(repository, {"src/c.py": b"mine"})
    refused(repository, session.merge, r"src/c\.py would be overwritten")
    refused(repository, session.write, r"src/c\.py has changes of yours")
    (repository / "src/c.py").unlink()
    write(repository, {"bin": b"mine"})
    refused(repository, session.merge, "bin would be overwritten")
    refused(repository, session.write, "bin is a file")
    (repository / "bin").unlink()
    write(repository, {"link/mine": b"1"})
    refused(repository, session.write, "link has changes")


def test_links_are_not_followed_out_of_the_checkout(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    session = Session(bare, repository, CHANGES)
    outside = tmp_path / "outside"
    outside.mkdir()
    (repository / "bin").symlink_to(outside)
    refused(repository, session.merge, "bin would be overwritten")
    refused(repository, session.write, "bin is a file, a link")
    assert list(outside.iterdir()) == []


def test_uncommitted_changes_leave_index_and_refs(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    before = everything(repository)
    applied = session.write()
    assert "wrote 5 files" in applied.detail
    check_files(repository)
    after = everything(repository)
    assert {name: after[name] for name in ("/refs", "/index", "/names")} == {
        name: before[name] for name in ("/refs", "/index", "/names")
    }
    assert session.write().already
    assert everything(repository) == after


def test_what_is_half_applied_is_completed(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    write(repository, {"a.txt": b"one\nnew\n", "other": b"1"})
    (repository / "src/b.py").unlink()
    assert "wrote 3 files" in session.write().detail
    check_files(repository)


def test_modes_alone(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, {"a.txt": File(EXECUTABLE, b"one\ntwo\n")})
    (repository / "a.txt").chmod(0o644)
    session.write()
    assert (repository / "a.txt").stat().st_mode & 0o100
    assert session.write().already
    git(repository, "checkout", "-q", "a.txt")
    session.merge()
    assert (repository / "a.txt").stat().st_mode & 0o100


def test_files_become_folders_and_links_become_files(bare: BareRepository, repository: Path) -> None:
    (repository / "way").symlink_to("src")
    (repository / "was").mkdir()
    commit_files(repository, {"was/folder": b"1", "plain": b"2"})
    changes: Changes = {
        "way": None,
        "way/in": File(REGULAR, b"a"),
        "was/folder": None,
        "was": File(REGULAR, b"b"),
        "plain": File(SYMLINK, b"a.txt"),
    }
    session = Session(bare, repository, changes)
    session.write()
    assert (repository / "way/in").read_bytes() == b"a"
    assert not (repository / "way").is_symlink()
    assert (repository / "was").read_bytes() == b"b"
    assert os.readlink(repository / "plain") == "a.txt"
    assert sorted(os.listdir(repository / "src")) == ["b.py"]
    git(repository, "add", "-A")
    assert line(repository, "write-tree") == session.tree
    git(repository, "reset", "-q", "--hard")
    git(repository, "clean", "-qfd")
    session.merge()
    assert line(repository, "rev-parse", "HEAD^{tree}") == session.tree
    assert git(repository, "status", "--porcelain") == b""


def test_a_write_that_fails_is_taken_back(
    bare: BareRepository, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backspace_tui.repository import apply_changes

    session = Session(bare, repository, CHANGES)
    move = apply_changes._move

    def full(source: Path, target: Path) -> None:
        if target == repository / "src/c.py":
            raise OSError(28, "No space left on device", os.fspath(target))
        move(source, target)

    monkeypatch.setattr(apply_changes, "_move", full)
    refused(repository, session.write, "No space left on device")
    monkeypatch.undo()
    session.write()
    check_files(repository)


def test_line_endings_are_the_users(bare: BareRepository, tmp_path: Path, git_user: Path) -> None:
    repository = make_repository(tmp_path / "user")
    git(repository, "config", "core.autocrlf", "true")
    (repository / "a.txt").unlink()
    git(repository, "checkout", "-q", "a.txt")
    assert (repository / "a.txt").read_bytes() == b"one\r\ntwo\r\n"
    session = Session(bare, repository, {"a.txt": File(REGULAR, b"one\nnew\n")})
    session.write()
    assert (repository / "a.txt").read_bytes() == b"one\r\nnew\r\n"
    assert session.write().already
    git(repository, "checkout", "-q", "a.txt")
    session.merge()
    assert (repository / "a.txt").read_bytes() == b"one\r\nnew\r\n"


@pytest.mark.parametrize("place", ["my repo", "r\u00e9po \u2713"])
def test_odd_places_linked_worktrees_and_folders_inside(bare: BareRepository, tmp_path: Path, place: str) -> None:
    repository = make_repository(tmp_path / place)
    linked = tmp_path / f"{place} linked"
    git(repository, "worktree", "add", "-q", "-b", "side", str(linked))
    session = Session(bare, linked, {**CHANGES, 'n\u00e4 "me\n': File(REGULAR, b"x")})
    session.write(linked / "src")
    check_files(linked)
    assert (linked / 'n\u00e4 "me\n').read_bytes() == b"x"
    assert (repository / "a.txt").read_bytes() == b"one\ntwo\n"
    git(linked, "reset", "-q", "--hard")
    git(linked, "clean", "-qfd")
    assert session.merge(linked).branch == "side"
    assert line(repository, "rev-parse", "side") == session.commit
    assert line(repository, "rev-parse", "main") != session.commit


def test_submodules_stay(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other")
    git(repository, "submodule", "add", "-q", str(other), "sub")
    git(repository, "commit", "-q", "-m", "sub")
    session = Session(bare, repository, CHANGES)
    write(repository, {"sub/a.txt": b"mine"})
    session.write()
    check_files(repository)
    assert (repository / "sub/a.txt").read_bytes() == b"mine"
    git(repository, "stash", "-q", "-u")
    session.merge()
    assert (repository / "sub/a.txt").read_bytes() == b"mine"


def test_a_repository_of_the_users_is_not_written_into(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    make_repository(repository / "bin")
    refused(repository, session.write, "bin is a file, a link or a repository of yours")


def test_something_under_way(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    git(repository, "checkout", "-q", "-b", "side")
    commit_files(repository, {"a.txt": b"side\n"})
    git(repository, "checkout", "-q", "main")
    commit_files(repository, {"a.txt": b"main\n"})
    git(repository, "merge", "side", check=False)
    refused(repository, session.merge, "a merge is under way")
    refused(repository, session.write, "a merge is under way")
    git(repository, "merge", "--abort")
    git(repository, "rebase", "side", check=False)
    refused(repository, session.merge, "a rebase is under way")


def test_a_detached_head_moves_alone(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    main = line(repository, "rev-parse", "main")
    git(repository, "checkout", "-q", "--detach")
    applied = session.merge()
    assert "detached HEAD" in applied.detail
    assert line(repository, "rev-parse", "main") == main
    assert line(repository, "rev-parse", "HEAD") == session.commit


def test_no_checkout_any_more(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    session = Session(bare, repository, CHANGES)
    git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
    with pytest.raises(RepositoryError, match="bare repository"):
        session.merge(tmp_path / "bare.git")
    with pytest.raises(RepositoryError, match="does not exist"):
        session.write(tmp_path / "nowhere")


def test_uncommitted_changes_that_the_session_began_with(bare: BareRepository, repository: Path) -> None:
    write(repository, {"a.txt": b"one\nhalf\n"})
    session = Session(bare, repository, {"a.txt": File(REGULAR, b"one\nhalf\nnew\n")}, include_dirty=True)
    refused(repository, session.merge, "your uncommitted changes of a.txt")
    session.write()
    assert (repository / "a.txt").read_bytes() == b"one\nhalf\nnew\n"


def test_a_branch_that_was_removed_is_brought_again(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    git(repository, "branch", "-q", "-D", BRANCH)
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "-q", "--prune=now")
    session.merge()
    check_files(repository)


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".g\u200cit", ".."])
def test_paths_that_are_none_are_refused(bare: BareRepository, repository: Path, name: str) -> None:
    session = Session(bare, repository, CHANGES)
    blob = bare.write_blob(b"[core]\n\tfsmonitor = touch /tmp/x\n")
    data = b"100644 config\0" + bytes.fromhex(blob)
    inner = git(bare.path, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=data).decode().strip()
    data = b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner)
    session.tree = (
        git(bare.path, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=data).decode().strip()
    )
    parent = line(bare.path, "rev-parse", f"{session.commit}^")
    session.commit = bare.commit(session.tree, (parent,), "evil", "Ada", "ada@example.org", WHEN)
    refused(repository, session.merge, "names a .git folder|not a path inside|refuse|cannot be|failed|overwritten")
    refused(repository, session.write, "names a .git folder|not a path inside|refuse|cannot be|failed")


def test_two_windows_at_once_lose_nothing(bare: BareRepository, repository: Path) -> None:
    session = Session(bare, repository, CHANGES)
    (repository / ".git/index.lock").touch()
    refused(repository, session.merge, r"index\.lock")
    (repository / ".git/index.lock").unlink()
    session.merge()
    check_files(repository)


def test_an_executable_bit_that_the_file_system_lacks(bare: BareRepository, repository: Path) -> None:
    git(repository, "config", "core.fileMode", "false")
    session = Session(bare, repository, CHANGES)
    (repository / "a.txt").chmod(0o755)
    session.write()
    check_files(repository)
