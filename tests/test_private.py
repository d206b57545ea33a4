"""What the program keeps is the user's alone, also where the umask lets everybody in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from backspace_tui import private
from tests.program import Program, git, make_repository

SETTINGS = '[project]\ntest = "true"\n'


def open_to_others(root: Path) -> list[str]:
    """Everything at and below ``root`` that anybody but its owner may use, with its mode."""
    found = []
    for path in (root, *root.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            found.append(f"{stat.filemode(mode)} {path.relative_to(root)}")
    return found


@pytest.fixture
def everybody() -> Iterator[None]:
    """The umask that keeps nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_a_whole_demo_leaves_nothing_that_others_may_read(tmp_path: Path, everybody: None) -> None:
    program = Program(tmp_path)
    program.data = tmp_path / "above" / "data"
    program.env |= {"BACKSPACE_TUI_DATA_DIR": str(program.data)}
    done = program.run("demo", "--headless", "--sandbox", "bubblewrap")
    assert done.returncode == 0, done.stderr
    assert program.run("sessions", "rename", "last", "mine").returncode == 0
    assert program.run("sessions").returncode == 0
    assert {path.name for path in program.session.iterdir()} >= {
        "events.jsonl", "engine.log", "lock", "name", "repo.git", "summary.json",
    }  # fmt: skip
    assert any((program.session / "repo.git" / "objects").rglob("*"))
    assert open_to_others(program.data.parent) == []


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_clones_and_trust_are_private_and_the_users_repository_is_as_the_user_wants_it(
    tmp_path: Path, everybody: None
) -> None:
    program = Program(tmp_path)
    program.env |= {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    offline = ("--model", "offline", "--sandbox", "bubblewrap", "-p", "replace Helo with Hello")
    repository = make_repository(tmp_path / "shop", {"README.md": "# Helo\n", ".backspace.toml": SETTINGS})
    assert program.run("run", repository.as_uri(), *offline).returncode == 4
    assert program.run("run", str(repository), *offline, "--accept", "all", "--trust").returncode == 0
    assert (tmp_path / "cache" / "backspace-tui" / "clones").is_dir()
    assert (program.data / "trust.json").is_file()
    assert open_to_others(tmp_path / "cache" / "backspace-tui") == []
    assert open_to_others(program.data) == []
    commit = git(repository, "rev-parse", "backspace/replace-helo-with-hello").strip()
    written = repository / ".git" / "objects" / commit[:2] / commit[2:]
    assert written.stat().st_mode & 0o777 == 0o444, "others who work in that repository can read the commit"


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
def test_forks_and_imports_are_private(tmp_path: Path, everybody: None) -> None:
    program = Program(tmp_path)
    repository = make_repository(tmp_path / "shop", {"README.md": "# Helo\n"})
    offline = ("--model", "offline", "--sandbox", "bubblewrap", "-p", "replace Helo with Hello")
    assert program.run("run", str(repository), *offline).returncode == 4
    assert program.run("sessions", "fork", "last").returncode == 0
    exported = tmp_path / "session.jsonl"
    assert program.run("sessions", "export", "last", "--format", "jsonl", "-o", str(exported)).returncode == 0
    assert exported.stat().st_mode & 0o777 == 0o600
    assert open_to_others(program.data) == []
    other = tmp_path / "above" / "other"
    program.env["BACKSPACE_TUI_DATA_DIR"] = str(other)
    done = program.run("sessions", "import", str(exported))
    assert done.returncode == 0, done.stderr
    assert open_to_others(other.parent) == []


def test_directories_that_are_there_stay_as_they_are(tmp_path: Path, everybody: None) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    private.make_directory(tmp_path / "shared" / "a" / "b")
    private.make_directory(tmp_path / "shared" / "a" / "b")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("shared", "shared/a", "shared/a/b")]
    assert modes == [0o755, 0o700, 0o700]
    private.write(tmp_path / "file", b"x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        private.make_directory(tmp_path / "file")
