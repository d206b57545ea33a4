from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backspace_tui.repository import urls
from backspace_tui.repository.check import check_path
from backspace_tui.repository.slug import branch_name
from backspace_tui.repository.source import RepositoryError, locate
from tests.repository.helpers import commit_files, git, line, make_repository


def refusal(path: Path | str) -> str:
    with pytest.raises(RepositoryError) as caught:
        locate(str(path))
    text = str(caught.value)
    assert "\n" not in text
    if not urls.is_url(str(path)):
        assert check_path(path) == text
    return text


def test_a_checkout_is_found_from_any_of_its_folders(repository: Path) -> None:
    found = locate(str(repository / "src"))
    assert (found.path, found.branch, found.detached) == (repository, "main", False)
    assert check_path(repository) is None


def test_a_detached_head_is_allowed_and_said(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    found = locate(str(repository))
    assert (found.branch, found.detached) == ("", True)


def test_linked_worktrees_and_submodules_are_checkouts(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "-b", "feature", str(tmp_path / "linked"))
    assert locate(str(tmp_path / "linked")).branch == "feature"
    outer = make_repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(repository), "sub")
    assert locate(str(outer / "sub")).path == outer / "sub"


def test_each_unusable_path_gets_its_line(tmp_path: Path, repository: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none")
    assert "is a file" in refusal(repository / "a.txt")
    plain = tmp_path / "plain"
    plain.mkdir()
    assert "not a git repository" in refusal(plain)
    assert "inside a .git folder" in refusal(repository / ".git")
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    assert "bare repository" in refusal(tmp_path / "bare.git")
    git(tmp_path, "init", "-q", "empty")
    assert "no commit yet" in refusal(tmp_path / "empty")
    git(tmp_path, "init", "-q", "--object-format=sha256", "wide")
    commit_files(tmp_path / "wide", {"a": b"1"})
    assert "SHA-256" in refusal(tmp_path / "wide")
    assert "does not exist" in refusal(f"{tmp_path}/bad\x1b[31m\nname")
    assert "no repository given" in refusal("")


def test_a_lost_head_commit_is_damage_and_not_emptiness(repository: Path) -> None:
    commit = line(repository, "rev-parse", "HEAD")
    (repository / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    assert "fsck" in refusal(repository)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_repository_needs_the_users_word(repository: Path, git_user: Path) -> None:
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, 12345, 12345)
    text = refusal(repository)
    assert "another user" in text
    assert f'git config --global --add safe.directory "{repository}"' in text
    git(repository, "config", "--global", "--add", "safe.directory", str(repository))
    assert locate(str(repository)).path == repository


def test_the_environment_of_a_hook_does_not_redirect_the_look(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert locate(str(repository)).path == repository


def test_without_git_that_is_what_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "install" in (check_path(repository) or "")


@pytest.mark.parametrize(
    ("given", "url", "ref"),
    [
        ("https://github.com/o/r", "https://github.com/o/r", ""),
        ("https://github.com/o/r/", "https://github.com/o/r", ""),
        ("github.com/o/r", "https://github.com/o/r", ""),
        ("https://github.com/o/r/tree/feature/x?tab=readme", "https://github.com/o/r", "feature/x"),
        ("git@github.com:o/r.git", "git@github.com:o/r.git", ""),
        ("ssh://git@host:2222/o/r.git", "ssh://git@host:2222/o/r.git", ""),
        ("file:///srv/r.git", "file:///srv/r.git", ""),
        ("https://user:secret@host/o/r", "https://user:secret@host/o/r", ""),
        ("https://tok@github.com/o/r.git", "https://tok@github.com/o/r.git", ""),
    ],
)
def test_addresses(given: str, url: str, ref: str) -> None:
    found = locate(given)
    assert (found.path, found.url, found.ref) == (None, url, ref)


@pytest.mark.parametrize("given", ["ext::sh -c id", "fd::3", "ftp://h/x", "javascript://x", "https://h/a b"])
def test_addresses_that_run_or_mean_nothing_are_refused(given: str) -> None:
    refusal(given)


def test_an_existing_folder_wins_over_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(tmp_path / "github.com" / "o" / "r")
    make_repository(tmp_path / "host:name")
    monkeypatch.chdir(tmp_path)
    assert locate("github.com/o/r").path == tmp_path / "github.com" / "o" / "r"
    assert locate("host:name").path == tmp_path / "host:name"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fatal: unable to access 'https://u:p@h/x/'", "fatal: unable to access 'https://h/x/'"),
        ("https://ghp_abc@github.com/o/r", "https://github.com/o/r"),
        ("https://u:p@ss@h/x", "https://h/x"),
        ("ssh://git:pw@h/x", "ssh://git@h/x"),
        ("git@h:x", "git@h:x"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_credentials_are_taken_out(text: str, expected: str) -> None:
    assert urls.without_credentials(text) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Fix the total of the cart!", "backspace/fix-the-total-of-the-cart"),
        ("Größe ändern", "backspace/groe-andern"),
        ("", "backspace/work"),
        ("修复", "backspace/work"),
        ("-- ..lock@{", "backspace/lock"),
        ("x" * 90, "backspace/" + "x" * 40),
        ("replace the word total with sum everywhere in it", "backspace/replace-the-word-total-with-sum"),
    ],
)
def test_branch_names(prompt: str, expected: str) -> None:
    name = branch_name(prompt)
    assert name == expected
    assert len(name) <= 50
    subprocess.run(["git", "check-ref-format", "--branch", name], check=True, capture_output=True)


def test_the_first_look_loads_no_heavy_library() -> None:
    code = (
        "import sys, backspace_tui.repository.check, backspace_tui.repository.source\n"
        "assert not {'git', 'github', 'litellm', 'docker'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
