from __future__ import annotations

from pathlib import Path

import pytest

from backspace_tui.core.trees import REGULAR, SYMLINK, Entry, File
from backspace_tui.repository.bare import BareRepository
from backspace_tui.repository.ignored import is_cache
from tests.repository.helpers import files_of


def text(data: str = "x") -> File:
    return File(REGULAR, data.encode())


def work(bare: BareRepository, base: dict[str, File], snapshot: dict[str, File]) -> tuple[set[str], int]:
    base_tree = bare.write_tree(base)
    tree, left_out = bare.work_tree(bare.write_tree(snapshot), base_tree)
    return set(files_of(bare.path, tree)), left_out


def test_the_bases_rules_leave_out_untracked_paths_alone(bare: BareRepository) -> None:
    base = {
        ".gitignore": text("*.log\n/build/\n!keep.log\ngen/\n"),
        "sub/.gitignore": text("*.tmp\n!/gen/\n"),
        "tracked.log": text(),
        "node_modules/tracked.js": text(),
        "sub/x": text(),
    }
    added = {
        "a.log": text(), "keep.log": text(), "build/o": text(), "deep/build/o": text(), "sub/y.tmp": text(),
        "y.tmp": text(), "sub/gen/z": text(), "gen/z": text(), "node_modules/new.js": text(), 'odd"\n.log': text(),
        "src/__pycache__/m.cpython-311.pyc": text(), "ok.py": text(),
        ":(top)x": text(), ":!y.log": text(), "*": text(),
    }  # fmt: skip
    kept, left_out = work(bare, base, base | added)
    assert kept == base.keys() | {"keep.log", "deep/build/o", "y.tmp", "sub/gen/z", "ok.py", ":(top)x", "*"}
    assert left_out == 8


def test_rules_that_the_agent_wrote_hide_nothing(bare: BareRepository) -> None:
    base = {"a": text()}
    snapshot = base | {".gitignore": text("*\n"), "evil.sh": text(), ".git-info": text()}
    assert work(bare, base, snapshot) == (set(snapshot), 0)
    base = {".gitignore": text("*.log\n")}
    assert work(bare, base, {".gitignore": text(""), "x.log": text()}) == ({".gitignore"}, 1)


def test_a_linked_ignore_file_and_the_users_excludes_mean_nothing(
    bare: BareRepository, git_user: Path, tmp_path: Path
) -> None:
    excludes = tmp_path / "excludes"
    excludes.write_text("*\n")
    git_user.write_text(f"[core]\n\texcludesFile = {excludes}\n")
    base = {".gitignore": File(SYMLINK, str(excludes).encode())}
    assert work(bare, base, base | {"new": text()}) == ({".gitignore", "new"}, 0)


def test_submodules_stay_as_they_are_in_the_base(bare: BareRepository) -> None:
    plain = bare.write_tree({"a": text()})
    base = bare.amend_tree(plain, {"lib": Entry(0o160000, "3" * 40), "other/mod": Entry(0o160000, "4" * 40)})
    snapshot = bare.write_tree({"a": text("2"), "lib/written": text(), "b": text()})
    tree, left_out = bare.work_tree(snapshot, base)
    assert left_out == 1
    assert {path: file.mode for path, file in files_of(bare.path, tree).items()} == {
        "a": REGULAR, "b": REGULAR, "lib": 0o160000, "other/mod": 0o160000,
    }  # fmt: skip


def test_deleted_and_unchanged_trees(bare: BareRepository) -> None:
    base = {"a": text(), "b/c": text()}
    assert work(bare, base, base) == ({"a", "b/c"}, 0)
    assert work(bare, base, {}) == (set(), 0)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/__pycache__/x", True), ("x.pyc", True), ("pkg.egg-info/PKG-INFO", True), (".coverage", True),
        (".coverage.host.1", True), ("web/node_modules/a/b.js", True), (".venv", True), ("sub/.DS_Store", True),
        ("build/x", False), ("target/x", False), ("venv/x", False), ("dist/a", False), ("my__pycache__", False),
        (".coveragerc", False), ("pyc", False), ("a.pyc/b", False),
    ],
)  # fmt: skip
def test_well_known_caches(path: str, expected: bool) -> None:
    assert is_cache(path) is expected
