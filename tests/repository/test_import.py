from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backspace_tui.core.protocols import Cancelled
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.repository.bare import BareRepository, Base
from backspace_tui.repository.source import RepositoryError, Source, locate
from tests.repository.helpers import commit_files, files_of, fingerprint, git, line, make_repository, write


def bring(bare: BareRepository, folder: Path | str, include_dirty: bool = False) -> Base:
    base = bare.import_base(locate(str(folder)), include_dirty)
    # Self-contained: everything reachable is there, and nothing that is not.
    git(bare.path, "fsck", "--connectivity-only", "--no-dangling", base.commit)
    return base


def test_head_alone_comes_over(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    commit_files(repository, {"run.sh": b"#!/bin/sh\n", "a.txt": b"three\n"})
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("/etc/passwd")
    commit = commit_files(repository, {"crlf": b"a\r\n"})
    git(repository, "tag", "v1.0", "HEAD~1")
    git(repository, "remote", "add", "origin", "https://me:secret@github.com/o/r.git")
    before = fingerprint(repository)
    base = bring(bare, repository)
    assert fingerprint(repository) == before
    assert (base.commit, base.head, base.branch) == (commit, commit, "main")
    assert base.tree == line(repository, "rev-parse", "HEAD^{tree}")
    assert base.remote_url == "https://github.com/o/r.git"
    assert (base.author_name, base.author_email, base.tag) == ("Ada Lovelace", "ada@example.org", "v1.0")
    assert line(bare.path, "rev-list", "--count", commit) == "1"
    shutil.rmtree(repository)
    files = files_of(bare.path, base.tree)
    assert files["link"] == File(SYMLINK, b"/etc/passwd")
    assert files["run.sh"].mode == EXECUTABLE
    assert files["crlf"] == File(REGULAR, b"a\r\n")


def test_importing_again_finds_it_and_a_moved_head_keeps_both(bare: BareRepository, repository: Path) -> None:
    first = bring(bare, repository)
    assert bring(bare, repository) == first
    commit_files(repository, {"a.txt": b"moved\n"})
    second = bring(bare, repository)
    assert second.commit != first.commit
    git(bare.path, "fsck", "--connectivity-only", first.commit, second.commit)
    assert line(bare.path, "rev-list", "--count", second.commit) == "1"


def shallow(repository: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "copy")
    return tmp_path / "copy"


def partial(repository: Path, tmp_path: Path) -> Path:
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repository}", "copy")
    return tmp_path / "copy"


def borrowed(repository: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", "--shared", str(repository), "copy")
    return tmp_path / "copy"


def worktree(repository: Path, tmp_path: Path) -> Path:
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "copy"))
    return tmp_path / "copy"


def packed(repository: Path, tmp_path: Path) -> Path:
    git(repository, "repack", "-q", "-a", "-d", "-b")
    git(repository, "pack-refs", "--all")
    return repository


def grafted(repository: Path, tmp_path: Path) -> Path:
    first = line(repository, "rev-parse", "HEAD~1")
    git(repository, "replace", "--graft", "HEAD")
    git(repository, "replace", f"{first}:a.txt", "HEAD:src/b.py", check=False)
    return repository


@pytest.mark.parametrize("kind", [shallow, partial, borrowed, worktree, packed, grafted])
def test_unusual_sources(
    bare: BareRepository, repository: Path, tmp_path: Path, kind: Callable[[Path, Path], Path]
) -> None:
    commit_files(repository, {"c.txt": b"3\n"})
    source = kind(repository, tmp_path)
    commit = line(source, "rev-parse", "HEAD")
    base = bring(bare, source)
    assert base.commit == commit
    assert set(files_of(bare.path, base.tree)) == {"a.txt", "src/b.py", "c.txt"}
    assert files_of(bare.path, base.tree)["a.txt"].data == b"one\ntwo\n"


def test_submodules_come_as_links(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    outer = make_repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(repository), "sub")
    commit_files(outer, {"x": b""})
    write(outer, {"sub/untracked": b"", "sub/a.txt": b"dirty"})
    base = bring(bare, outer, include_dirty=True)
    assert base.dirty == ()
    assert files_of(bare.path, base.tree)["sub"].mode == 0o160000


def make_dirty(repository: Path) -> set[str]:
    commit_files(
        repository,
        {".gitignore": b"*.log\n", "gone": b"1", "staged-gone": b"1", "turns": b"file", "mode": b"", "both": b"1\n"},
    )
    write(repository, {"a.txt": b"changed\n", "new/deep.txt": b"new\n", "x.log": b"ignored", "staged": b"s1"})
    git(repository, "add", "staged")
    write(repository, {"staged": b"s2", "both": b"2\n"})
    git(repository, "add", "both")
    (repository / "gone").unlink()
    git(repository, "rm", "-q", "staged-gone")
    (repository / "turns").unlink()
    write(repository, {"turns/inside": b"folder"})
    (repository / "mode").chmod(0o755)
    (repository / "link").symlink_to("a.txt")
    make_repository(repository / "nested")
    return {
        "a.txt", "both", "gone", "link", "mode", "new/deep.txt", "staged", "staged-gone", "turns", "turns/inside",
    }  # fmt: skip


def test_uncommitted_changes_are_left_out_and_counted(bare: BareRepository, repository: Path) -> None:
    dirty = make_dirty(repository)
    before = fingerprint(repository)
    base = bring(bare, repository)
    assert fingerprint(repository) == before
    assert set(base.dirty) == dirty
    assert not base.included
    assert base.tree == line(repository, "rev-parse", "HEAD^{tree}")


def test_uncommitted_changes_are_a_commit_of_the_users(bare: BareRepository, repository: Path) -> None:
    dirty = make_dirty(repository)
    objects = line(repository, "count-objects", "-v")
    before = fingerprint(repository)
    status = git(repository, "--no-optional-locks", "status", "--porcelain")
    base = bring(bare, repository, include_dirty=True)
    assert fingerprint(repository) == before
    assert git(repository, "--no-optional-locks", "status", "--porcelain") == status
    assert line(repository, "count-objects", "-v") == objects
    assert base.included
    assert set(base.dirty) == dirty
    assert base.head == line(repository, "rev-parse", "HEAD")
    assert line(bare.path, "rev-parse", f"{base.commit}^") == base.head
    text = line(bare.path, "log", "-1", "--format=%an %s", base.commit)
    assert text == "Ada Lovelace Uncommitted changes of the user at the start"
    files = files_of(bare.path, base.tree)
    assert files.keys() == {
        ".gitignore", "a.txt", "both", "link", "mode", "new/deep.txt", "src/b.py", "staged", "turns/inside",
    }  # fmt: skip
    assert files["staged"].data == b"s2"
    assert files["both"].data == b"2\n"
    assert files["mode"].mode == EXECUTABLE
    assert files["link"] == File(SYMLINK, b"a.txt")
    assert not list(bare.path.glob("backspace-scratch-*"))


@pytest.mark.parametrize("kind", ["split", "version 4", "sparse"])
def test_indexes_of_every_kind(bare: BareRepository, repository: Path, kind: str) -> None:
    commit_files(repository, {"out/skipped": b"1", "in/here": b"1"})
    if kind == "split":
        git(repository, "update-index", "--split-index")
    elif kind == "version 4":
        git(repository, "update-index", "--index-version=4")
    else:
        git(repository, "sparse-checkout", "set", "in")
        assert not (repository / "out").exists()
    write(repository, {"in/here": b"2"})
    before = fingerprint(repository)
    base = bring(bare, repository, include_dirty=True)
    assert fingerprint(repository) == before
    files = files_of(bare.path, base.tree)
    assert base.dirty == ("in/here",)
    assert (files["in/here"].data, files["out/skipped"].data) == (b"2", b"1")


def test_a_change_within_the_second_of_the_index_is_seen(bare: BareRepository, repository: Path) -> None:
    git(repository, "config", "core.trustctime", "false")
    index, moment = repository / ".git" / "index", (1_600_000_000, 1_600_000_000)
    os.utime(repository / "a.txt", moment)
    git(repository, "update-index", "--refresh")
    write(repository, {"a.txt": b"ONE\nTWO\n"})
    os.utime(repository / "a.txt", moment)
    os.utime(index, moment)
    base = bring(bare, repository, include_dirty=True)
    assert base.dirty == ("a.txt",)
    assert files_of(bare.path, base.tree)["a.txt"].data == b"ONE\nTWO\n"


def test_changes_are_cleaned_as_the_users_own_add_would(bare: BareRepository, repository: Path) -> None:
    git(repository, "config", "core.autocrlf", "true")
    git(repository, "config", "filter.up.clean", "tr a-z A-Z")
    git(repository, "config", "filter.up.smudge", "tr A-Z a-z")
    commit_files(repository, {".gitattributes": b"*.up filter=up\n", "big.up": b"pointer"})
    write(repository, {"a.txt": b"one\r\nTWO\r\n", "big.up": b"changed", "new.txt": b"x\r\n"})
    base = bring(bare, repository, include_dirty=True)
    files = files_of(bare.path, base.tree)
    assert files["a.txt"].data == b"one\nTWO\n"
    assert files["big.up"].data == b"CHANGED"
    assert files["new.txt"].data == b"x\n"


def test_no_hook_of_the_user_runs(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for name in ("reference-transaction", "post-index-change", "pre-commit", "fsmonitor-watchman"):
        hook = repository / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
        hook.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(repository / ".git/hooks/fsmonitor-watchman"))
    write(repository, {"a.txt": b"changed"})
    bring(bare, repository, include_dirty=True)
    assert not trap.exists()


def test_an_unfinished_merge_is_refused_only_when_it_would_be_included(bare: BareRepository, repository: Path) -> None:
    git(repository, "switch", "-q", "-c", "side")
    commit_files(repository, {"a.txt": b"side\n"})
    git(repository, "switch", "-q", "main")
    commit_files(repository, {"a.txt": b"main\n"})
    git(repository, "merge", "side", check=False)
    assert bring(bare, repository).dirty == ("a.txt",)
    with pytest.raises(RepositoryError, match="merge conflicts"):
        bare.import_base(locate(str(repository)), include_dirty=True)


def test_a_filter_that_fails_is_said(bare: BareRepository, repository: Path) -> None:
    git(repository, "config", "filter.bad.clean", "false")
    git(repository, "config", "filter.bad.required", "true")
    commit_files(repository, {".gitattributes": b"*.bad filter=bad\n"})
    write(repository, {"x.bad": b"1"})
    with pytest.raises(RepositoryError, match="uncommitted changes cannot be read"):
        bare.import_base(locate(str(repository)), include_dirty=True)


def test_a_damaged_source_is_said(bare: BareRepository, repository: Path) -> None:
    oid = line(repository, "rev-parse", "HEAD:a.txt")
    (repository / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(RepositoryError, match="fsck") as caught:
        bare.import_base(locate(str(repository)))
    assert "\n" not in str(caught.value)


def test_no_identity_and_the_upstream_branch(bare: BareRepository, repository: Path, git_user: Path) -> None:
    git(repository, "remote", "add", "fork", "git@github.com:me/r.git")
    git(repository, "remote", "add", "origin", "git@github.com:o/r.git")
    git(repository, "config", "branch.main.remote", "fork")
    git(repository, "config", "branch.main.merge", "refs/heads/develop")
    git_user.write_text("")
    base = bring(bare, repository)
    assert (base.remote_url, base.upstream) == ("git@github.com:me/r.git", "develop")
    assert (base.author_name, base.author_email) == ("backspace-tui", "backspace-tui@localhost")
    assert base.tag == ""


class Switch:
    def __init__(self, flipped: bool) -> None:
        self.cancelled = flipped

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        if self.cancelled:
            callback()
        return lambda: None


def test_cancelling_ends_the_import(bare: BareRepository, repository: Path) -> None:
    with pytest.raises(Cancelled):
        bare.import_base(locate(str(repository)), cancel=Switch(True))
    told: list[str] = []
    bare.import_base(locate(str(repository)), progress=told.append, cancel=Switch(False))
    assert told


def test_a_url_is_cloned_once_and_then_only_refreshed(bare: BareRepository, repository: Path, tmp_path: Path) -> None:
    url = f"file://{repository}"
    base = bring(bare, url)
    assert (base.branch, base.remote_url, base.dirty) == ("main", url, ())
    commit = commit_files(repository, {"later": b"1"})
    again = bring(BareRepository.create(tmp_path / "second.git"), url)
    assert again.commit == commit
    clones = list((tmp_path / "home" / "cache" / "backspace-tui" / "clones").iterdir())
    assert len(clones) == 1
    assert clones[0].stat().st_mode & 0o077 == 0


def test_two_sessions_may_fetch_the_same_url_at_once(repository: Path, tmp_path: Path) -> None:
    bares = [BareRepository.create(tmp_path / f"{n}.git") for n in range(3)]
    bases: list[Base] = []
    threads = [threading.Thread(target=lambda b=b: bases.append(bring(b, f"file://{repository}"))) for b in bares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({base.commit for base in bases}) == 1
    assert len(bases) == 3


def test_urls_that_cannot_be_fetched(bare: BareRepository, tmp_path: Path, repository: Path) -> None:
    def refused(url: str, ref: str = "") -> str:
        with pytest.raises(RepositoryError) as caught:
            bare.import_base(Source(url=url, ref=ref))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    text = refused("http://me:hunter2@127.0.0.1:9/o/r.git")
    assert "127.0.0.1" in text
    assert "hunter2" not in text
    assert "me" not in text.split("/")[2]
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    assert "no commit yet" in refused(f"file://{tmp_path}/empty.git")
    assert "no branch nowhere" in refused(f"file://{repository}", "nowhere")
    assert "cannot be fetched" in refused(f"file://{tmp_path}/none.git")
    git(tmp_path, "init", "-q", "--object-format=sha256", "wide")
    commit_files(tmp_path / "wide", {"a": b"1"})
    assert "SHA-256" in refused(f"file://{tmp_path}/wide")


def test_a_url_of_one_branch_or_a_detached_head(bare: BareRepository, repository: Path) -> None:
    git(repository, "branch", "side")
    commit = commit_files(repository, {"b": b"1"})
    side = bare.import_base(Source(url=f"file://{repository}", ref="side"))
    assert (side.branch, side.commit) == ("side", line(repository, "rev-parse", "side"))
    git(repository, "checkout", "-q", "--detach")
    detached = bare.import_base(Source(url=f"file://{repository}"))
    assert (detached.branch, detached.commit) == ("", commit)
