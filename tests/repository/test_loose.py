"""Small changes to trees, object by object: the same trees as git's own, and whole on disk."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backspace_tui.core.trees import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Entry, File
from backspace_tui.repository import loose
from backspace_tui.repository.bare import EMPTY_TREE, BareRepository
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.fast_import import make_tree
from backspace_tui.repository.work import to_work
from tests.program import wait_for
from tests.repository.helpers import git, line

NAMES = ("a", "a.b", "a-b", "a0", "b", "\udcff", "sp ace", "new\nline", "deep")
IGNORES = {
    ".gitignore": File(REGULAR, b"*.log\nbuilt/\n!keep.log\n"),
    "sub/.gitignore": File(REGULAR, b"/only\n"),
}


@pytest.fixture
def bare(tmp_path: Path) -> BareRepository:
    return BareRepository.create(tmp_path / "repo.git")


def some_path(chance: random.Random, names: tuple[str, ...] = NAMES) -> str:
    return "/".join(chance.choice(names) for _ in range(chance.randint(1, 4)))


def some_changes(chance: random.Random, count: int, names: tuple[str, ...] = NAMES) -> dict[str, File | Entry | None]:
    changes: dict[str, File | Entry | None] = {}
    for _ in range(count):
        path = some_path(chance, names)
        mode = chance.choice((REGULAR, EXECUTABLE, SYMLINK))
        changes[path] = chance.choice((None, File(mode, b"%d" % chance.randint(0, 9))))
    taken = {path for path, change in changes.items() if change is not None}
    above = {"/".join(path.split("/")[:n]) for path in taken for n in range(1, path.count("/") + 1)}
    return {path: change for path, change in changes.items() if path not in above or change is None}


@pytest.mark.parametrize("closed", [True, False])
def test_no_process_outlives_it(tmp_path: Path, closed: bool) -> None:
    repository = BareRepository.create(tmp_path / "repo.git")
    tree = repository.amend_tree("", {"a/b": File(REGULAR, b"1")})
    again = BareRepository.open(repository.path)
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    assert again.amend_tree(tree, {"a/b": None}) == EMPTY_TREE
    assert len(os.listdir("/proc/self/fd")) > before
    if closed:
        again.close()
        assert again.amend_tree(tree, {"a/b": None, "c": None}) == EMPTY_TREE
        again.close()
    del again
    gc.collect()
    wait_for(lambda: threading.active_count() <= threads, "the thread to end")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_program_may_end_without_closing_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from backspace_tui.core.trees import REGULAR, File\n"
        "from backspace_tui.repository.bare import BareRepository\n"
        "tree = BareRepository.create(Path(sys.argv[1])).amend_tree('', {'a/b': File(REGULAR, b'1')})\n"
        "kept = BareRepository.open(Path(sys.argv[1]))\n"
        "kept.amend_tree(tree, {'a/c': File(REGULAR, b'2')})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "repo.git")], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("seed", range(4))
def test_trees_are_those_of_fast_import(bare: BareRepository, seed: int) -> None:
    chance = random.Random(seed)
    tree = EMPTY_TREE
    for _ in range(40):
        changes = some_changes(chance, chance.randint(1, 12))
        expected = make_tree(bare._git, tree, changes, set())
        made = bare._loose.amend(tree, changes, bare._known)
        assert made == expected, (tree, changes)
        tree = made
    assert git(bare.path, "fsck", "--strict", "--no-dangling") == b""


def test_what_is_written_is_readable_by_git_and_again_by_us(bare: BareRepository, tmp_path: Path) -> None:
    tree = bare.amend_tree("", {"a/b": File(EXECUTABLE, b"1"), "a.b": File(REGULAR, b""), "l": File(SYMLINK, b"a")})
    assert line(bare.path, "cat-file", "-t", tree) == "tree"
    assert git(bare.path, "cat-file", "blob", f"{tree}:a/b") == b"1"
    again = BareRepository.open(bare.path)
    assert again.amend_tree(tree, {"a/b": None, "l": None, "a.b": None}) == EMPTY_TREE
    assert list((bare.path / "objects").rglob("tmp_obj_*")) == []


def test_what_is_not_for_it_goes_to_git(bare: BareRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = bare.write_tree({f"f{n}": File(REGULAR, b"%d" % n) for n in range(50)} | {"d/x": File(REGULAR, b"1")})
    link = "1" * 40
    linked = bare.amend_tree(tree, {"module": Entry(GITLINK, link)})
    assert line(bare.path, "rev-parse", f"{linked}:module") == link
    # The submodule stays where other paths change.
    assert line(bare.path, "rev-parse", f"{bare.amend_tree(linked, {'f1': None})}:module") == link
    small = bare.amend_tree(tree, {"f1": File(REGULAR, b"new")})
    monkeypatch.setattr(loose, "LARGEST", 100)
    assert BareRepository.open(bare.path).amend_tree(tree, {"f1": File(REGULAR, b"new")}) == small
    with pytest.raises(RepositoryError):
        bare.amend_tree("2" * 40, {"f1": None})
    for path, change in (("a/../b", None), (".git/x", File(REGULAR, b"")), ("x", File(0o100600, b""))):
        with pytest.raises(RepositoryError):
            bare.amend_tree(tree, {path: change})
    with pytest.raises(RepositoryError, match="both a file and a folder"):
        bare.amend_tree(tree, {"n": File(REGULAR, b""), "n/x": File(REGULAR, b"")})


def test_a_disk_that_cannot_be_written(bare: BareRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RepositoryError, match="no space left on the disk"):
        bare.amend_tree("", {"f": File(REGULAR, b"1")})
    assert list((bare.path / "objects").rglob("tmp_obj_*")) == []
    monkeypatch.undo()
    tree = bare.amend_tree("", {"f": File(REGULAR, b"1")})
    assert git(bare.path, "cat-file", "blob", f"{tree}:f") == b"1"


def test_the_reader_may_die(bare: BareRepository) -> None:
    tree = bare.amend_tree("", {"a/b": File(REGULAR, b"1")})
    again = BareRepository.open(bare.path)
    again.amend_tree(tree, {"a/c": File(REGULAR, b"2")})
    reader = again._loose._reader
    assert reader is not None
    reader.kill()
    reader.finish(ok=(-9,))
    again._loose._trees.clear()
    found = again.amend_tree(tree, {"a/d": File(REGULAR, b"3")})
    assert git(bare.path, "cat-file", "blob", f"{found}:a/d") == b"3"


@pytest.mark.parametrize("seed", range(3))
def test_w_follows_changes_as_it_is_made_from_nothing(bare: BareRepository, seed: int) -> None:
    chance = random.Random(seed)
    names = ("a", "x.log", "keep.log", "built", "sub", "only", "node_modules", "m.pyc", ".venv")
    base_files = IGNORES | {"built/tracked": File(REGULAR, b"1"), "sub/x.log": File(REGULAR, b"1")}
    base = bare.write_tree(base_files)
    full = work = base
    for _ in range(40):
        changes = some_changes(chance, chance.randint(1, 5), names)
        if chance.random() < 0.3:
            changes |= {chance.choice(list(base_files)): chance.choice((None, File(REGULAR, b"2")))}
            changes = {path: change for path, change in changes.items() if path.split("/")[0] != ".gitignore"}
        try:
            after = bare.amend_tree(full, changes)
        except RepositoryError:
            continue
        # What a sandbox tells: the paths that differ, whatever made them so.
        told = bare.differences(full, after)
        work = bare.amend_tree(work, bare.work_changes(base, told))
        full = after
        assert work == bare.work_tree(full, base)[0]


def test_a_look_up(bare: BareRepository) -> None:
    files = {"a/b": File(EXECUTABLE, b"1"), "a/c": File(REGULAR, b"2"), "a*": File(REGULAR, b"3")}
    tree = bare.write_tree(files)
    assert set(bare.lookup(tree)) == set(files)
    found = bare.lookup(tree, ["a/b", "a*", "a", "nothing", "a/b/c"])
    assert {path: entry.mode for path, entry in found.items()} == {"a/b": EXECUTABLE, "a*": REGULAR}
    assert set(bare.lookup(tree, [*files, *(f"n{n}" for n in range(200))])) == set(files)
    assert to_work(bare.tracked(tree), {"a/b": None, "new.pyc": files["a/c"]}, lambda _: ()) == {"a/b": None}
