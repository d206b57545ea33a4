"""Planted git metadata on its whole way: sandbox, import, review, commit, the user's branch. Nothing of it may act."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backspace_tui.core.trees import GITLINK, REGULAR, SYMLINK, File
from backspace_tui.repository.bare import BareRepository
from backspace_tui.repository.deliver import deliver
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.source import locate
from backspace_tui.sandbox import open_sandbox
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.transfer import acceptable
from backspace_tui.sessions.objects import Objects
from tests.repository.helpers import files_of, fingerprint, git, line, make_repository
from tests.sandbox.redteam.metadata import SETUP, VECTORS

WHEN = datetime(2024, 5, 6, tzinfo=UTC)
BASE = {"a.txt": b"one\ntwo\n", "src/b.py": b"print(1)\n", ".gitignore": b"*.log\n"}
ELSEWHERE = ("fsmonitor", "clean filter", "nested repository", "short name", "submodule as a link", "ignore file")
CHANGE = b"one\nevil change\n"


@pytest.fixture(scope="module", params=[
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
])  # fmt: skip
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedSandbox]:
    request.getfixturevalue("default_image" if request.param == "docker" else "bubblewrap")
    with open_sandbox(tmp_path_factory.mktemp("empty"), request.param) as opened:
        if opened.run("git --version").exit_code != 0:
            pytest.skip("there is no git in this sandbox")
        yield opened


class Victim:
    """A user with a repository, a configuration, and a folder in which nothing may ever turn up."""

    def __init__(self, folder: Path) -> None:
        self.canaries = folder / "canaries"
        self.canaries.mkdir()
        self.command = f"touch {shlex.quote(str(self.canaries))}/$$.$(date +%N)"
        self.repository = make_repository(folder / "user", dict(BASE))
        self.bare = BareRepository.create(folder / "session" / "repo.git")

    def fired(self) -> list[str]:
        return sorted(os.listdir(self.canaries))


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Victim:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Victim(tmp_path)


def plant(box: SupervisedSandbox, victim: Victim, script: str) -> dict[str, File]:
    """The vector inside, and what comes out."""
    box.load({path: File(REGULAR, data) for path, data in BASE.items()})
    environment = f"CANARY={shlex.quote(victim.command)}; HOST={shlex.quote(str(victim.repository))}; "
    done = box.run(f"{environment}{SETUP}{script}cd /workspace; printf 'one\\nevil change\\n' > a.txt; echo planted")
    assert done.stdout.endswith(b"planted\n"), done
    return box.export()


@pytest.mark.parametrize("name", VECTORS)
def test_nothing_planted_acts(box: SupervisedSandbox, victim: Victim, name: str) -> None:
    if box.label.startswith("bubblewrap") and name not in ELSEWHERE:
        pytest.skip("what leaves the sandbox goes the same way")
    files = plant(box, victim, VECTORS[name])
    assert all(acceptable(path) for path in files)
    base = victim.bare.import_base(locate(str(victim.repository)))
    before = fingerprint(victim.repository)
    snapshot = victim.bare.write_tree(files)
    work, _ = victim.bare.work_tree(snapshot, base.tree)
    present = files_of(victim.bare.path, work)
    assert all(file.mode != GITLINK for file in present.values())
    assert {path: file for path, file in present.items() if path in files} == {
        path: file for path, file in files.items() if path in present
    }
    with Objects(victim.bare.path) as objects:
        changes = objects.changes(base.tree, work, renames=True)
        # What attributes and ignore files would hide is in front of the reviewer.
        assert set(present) - set(BASE) == {change.path for change in changes if change.old is None}
        by_path = {change.path: change for change in changes}
        shown = b"".join(objects.diff(c.old.oid if c.old else None, c.new.oid if c.new else None) for c in changes)
        assert b"+evil change\n" in shown
        assert objects.hunks(by_path["a.txt"])
        objects.prefetch(base.tree, work)
    commit = victim.bare.commit(work, (base.commit,), "Accepted", "Ada", "ada@example.org", WHEN)
    deliver(victim.repository, victim.bare.path, commit, "backspace/evil")
    assert fingerprint(victim.repository) == before
    for command in (
        ("log", "-p", "--no-ext-diff", "backspace/evil"),
        ("diff", "main", "backspace/evil"),
        ("status",),
        ("fsck", "--no-dangling"),
    ):
        git(victim.repository, *command, check=command[0] != "fsck")
    assert line(victim.repository, "rev-parse", "backspace/evil") == commit
    assert victim.fired() == []


@pytest.mark.parametrize("path", ["hidden.py", "src/hidden.py"])
def test_ignore_files_of_the_agent_hide_nothing(box: SupervisedSandbox, victim: Victim, path: str) -> None:
    name = "ignore file" if path == "hidden.py" else "attributes in a folder"
    files = plant(box, victim, VECTORS[name])
    base = victim.bare.import_base(locate(str(victim.repository)))
    work, left_out = victim.bare.work_tree(victim.bare.write_tree(files), base.tree)
    assert files_of(victim.bare.path, work)[path].data == b"evil = 1\n"
    assert left_out == 0


def test_content_is_stored_as_it_is(box: SupervisedSandbox, victim: Victim) -> None:
    files = plant(box, victim, VECTORS["encoding attributes"])
    work = victim.bare.write_tree(files)
    assert files_of(victim.bare.path, work)["ident"].data == b"$Id$\r\n"
    assert files_of(victim.bare.path, work)["a.txt"].data == CHANGE


def test_links_in_the_place_of_metadata(box: SupervisedSandbox, victim: Victim) -> None:
    files = plant(box, victim, VECTORS["submodule as a link"])
    assert ".gitmodules" not in files
    assert files[".gitattributes"] == File(SYMLINK, b".git/config")
    assert victim.bare.write_tree(files)


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "a/.git/hooks/x",
        ".GIT/config",
        "git~1/config",
        ".g\u200cit/config",
        "../x",
        "/x",
        "a//b",
        "a\\.git\\x",
        ".git",
    ],
)
def test_a_lying_sandbox_is_refused_by_the_repository(victim: Victim, path: str) -> None:
    with pytest.raises(RepositoryError):
        victim.bare.write_tree({path: File(REGULAR, b"x")})


def test_a_path_cannot_become_a_command_of_the_import(victim: Victim) -> None:
    odd = [
        'a"\nM 160000 ' + "1" * 40 + " vendor\n",
        "x\ncommit refs/heads/main\n",
        'q\\"',
        "feature done",
        "'$(touch x)'",
        "\udcff",
    ]
    files = {path: File(REGULAR, b"done\nreset refs/heads/main\n\n") for path in odd}
    files["data"] = File(REGULAR, b"data 3\nabc\nM 160000 " + b"1" * 40 + b" vendor\n")
    tree = victim.bare.write_tree(files)
    assert files_of(victim.bare.path, tree) == files
    assert victim.bare.read_ref("refs/heads/main") is None


@pytest.mark.parametrize("name", ["fsmonitor", "clean filter", "hooks"])
def test_the_canary_works(victim: Victim, name: str) -> None:
    """The same vectors fire where git is run on what the agent wrote."""
    for path, data in BASE.items():
        (victim.repository / path).write_bytes(data)
    script = VECTORS[name].replace("/workspace", str(victim.repository))
    environment = {**os.environ, "CANARY": victim.command, "HOST": "/nowhere"}
    subprocess.run(["sh", "-ec", script], cwd=victim.repository, env=environment, check=True)
    (victim.repository / "a.txt").write_bytes(CHANGE)
    git(victim.repository, "add", "-A", check=False)
    git(victim.repository, "commit", "-m", "x", check=False)
    assert victim.fired()
