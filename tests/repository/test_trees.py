from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, Entry, File
from backspace_tui.repository.bare import EMPTY_TREE, BareRepository
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.fast_import import blob_oid
from tests.repository.helpers import files_of, git

WHEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)

HOSTILE = [
    "new\nline", 'quo"te', '"', "back\\slash", "tab\t", "-n", ":(top)x", " lead and trail ", os.fsdecode(b"\xff\xe9"),
    "é/ü", "a/b/c/d", "\x01\x1b[31m", "x b/y", "con", "\u202egnp", "HEAD", "refs/heads/main", "''", "*", "a\r",
]  # fmt: skip

REFUSED = [
    "", "/abs", "a//b", "a/", "./a", "a/../b", "..", ".git", ".git/config", "a/.GIT/hooks/x", ".git ", ".git.",
    ".git::$INDEX_ALLOCATION", "git~1", "GIT~1/x", ".g\u200cit", "a/.\u200dgit/x", "a\\.git\\config", "nul\0",
    ".Git...",
]  # fmt: skip


def test_a_tree_holds_exactly_what_was_given(bare: BareRepository) -> None:
    files = {name: File(REGULAR, name.encode("utf-8", "surrogateescape") + b"\r\n\0") for name in HOSTILE}
    files |= {"run": File(EXECUTABLE, b""), "link": File(SYMLINK, b"../../etc/passwd")}
    files |= {"data 5\n": File(REGULAR, b"data 5\nM 100644 inline x\ndone\n")}
    assert files_of(bare.path, bare.write_tree(files)) == files


@pytest.mark.parametrize("path", REFUSED)
def test_paths_that_no_tree_may_hold_are_refused(bare: BareRepository, path: str) -> None:
    with pytest.raises(RepositoryError) as caught:
        bare.write_tree({path: File(REGULAR, b"")})
    assert "\n" not in str(caught.value)


def test_modes_and_objects_are_checked(bare: BareRepository) -> None:
    with pytest.raises(RepositoryError, match="mode"):
        bare.write_tree({"a": File(0o160000, b"")})
    with pytest.raises(RepositoryError, match="mode"):
        bare.write_tree({"a": File(0o040000, b"")})
    with pytest.raises(RepositoryError):
        bare.amend_tree(EMPTY_TREE, {"a": Entry(REGULAR, "1" * 40)})
    with pytest.raises(RepositoryError, match="object id"):
        bare.amend_tree(EMPTY_TREE, {"a": Entry(REGULAR, "HEAD")})
    with pytest.raises(RepositoryError, match="both a file and a folder"):
        bare.write_tree({"a": File(REGULAR, b""), "a/b/c": File(REGULAR, b"")})
    with pytest.raises(RepositoryError, match="symbolic link"):
        bare.write_tree({"sub/.gitmodules": File(SYMLINK, b"x")})


def test_amending_replaces_removes_and_prunes(bare: BareRepository) -> None:
    tree = bare.write_tree({"a/b/c": File(REGULAR, b"1"), "a/d": File(REGULAR, b"2"), "e": File(REGULAR, b"3")})
    assert set(files_of(bare.path, bare.amend_tree(tree, {"a/b/c": None, "nowhere": None}))) == {"a/d", "e"}
    turned = bare.amend_tree(tree, {"e": None, "e/f": File(REGULAR, b"4")})
    assert set(files_of(bare.path, turned)) == {"a/b/c", "a/d", "e/f"}
    back = bare.amend_tree(turned, {"e/f": None, "e": Entry(REGULAR, blob_oid(b"3"))})
    assert back == tree
    flat = bare.amend_tree(tree, {"a/b/c": None, "a/d": None, "a": File(SYMLINK, b"e")})
    assert files_of(bare.path, flat) == {"a": File(SYMLINK, b"e"), "e": File(REGULAR, b"3")}
    assert bare.amend_tree(tree, dict.fromkeys(("a/b/c", "a/d", "e"))) == EMPTY_TREE
    assert bare.amend_tree("", {"e": File(REGULAR, b"3")}) == bare.write_tree({"e": File(REGULAR, b"3")})
    assert bare.amend_tree(tree, {}) == tree
    git(bare.path, "fsck", "--strict")


NAMES = st.sampled_from(["a", "b", "c\n", '"q"', "é", "-x", "d e", "\\", "\udcff"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(
    PATHS,
    st.builds(File, st.sampled_from([REGULAR, EXECUTABLE, SYMLINK]), st.binary(min_size=1, max_size=12)),
    max_size=6,
).filter(lambda files: not any(other.startswith(path + "/") for path in files for other in files))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=FILES, after=FILES)
def test_amending_from_any_tree_to_any_other_ends_where_writing_does(
    bare: BareRepository, before: dict[str, File], after: dict[str, File]
) -> None:
    start = bare.write_tree(before)
    changes: dict[str, File | Entry | None] = dict.fromkeys(before.keys() - after.keys())
    end = bare.amend_tree(start, changes | after)
    assert end == bare.write_tree(after)
    assert files_of(bare.path, end) == after


def test_no_ref_and_no_work_is_left_by_making_trees(bare: BareRepository) -> None:
    bare.write_tree({"a": File(REGULAR, b"1")})
    assert git(bare.path, "for-each-ref") == b""


def test_a_tree_is_there_for_another_process_and_a_later_one(bare: BareRepository) -> None:
    tree = bare.write_tree({f"f{n}": File(REGULAR, b"%d" % n) for n in range(300)})
    again = BareRepository.open(bare.path)
    assert len(files_of(bare.path, tree)) == 300
    assert again.amend_tree(tree, {"f1": None, "f2": Entry(REGULAR, blob_oid(b"7"))}) != tree


def test_a_commit_depends_on_its_arguments_alone(bare: BareRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = bare.write_tree({"a": File(REGULAR, b"1")})
    first = bare.commit(tree, (), "Subject\n\nBody\n", "Ada", "ada@example.org", WHEN)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1 +0100")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    elsewhere = WHEN.astimezone(timezone(timedelta(hours=9)))
    assert bare.commit(tree, (), "Subject\n\nBody", "Ada", "ada@example.org", elsewhere) == first
    text = git(bare.path, "cat-file", "commit", first).decode()
    assert "author Ada <ada@example.org> 1714979289 +0000" in text
    assert text.endswith("\n\nSubject\n\nBody\n")
    child = bare.commit(tree, (first,), "x", "<>\n", "", WHEN)
    assert "author backspace-tui <backspace-tui@localhost>" in git(bare.path, "cat-file", "commit", child).decode()
    with pytest.raises(ValueError, match="zone"):
        bare.commit(tree, (), "x", "Ada", "a@b", datetime(2024, 1, 1))


def test_refs_move_by_compare_and_swap(bare: BareRepository) -> None:
    tree = bare.write_tree({"a": File(REGULAR, b"1")})
    one, two, three = (bare.commit(tree, (), text, "A", "a@b", WHEN) for text in "123")
    ref = "refs/heads/backspace/x"
    bare.update_ref(ref, one, None)
    bare.update_ref(ref, one, None)
    with pytest.raises(RepositoryError):
        bare.update_ref(ref, two, None)
    with pytest.raises(RepositoryError):
        bare.update_ref(ref, two, three)
    assert bare.read_ref(ref) == one
    bare.update_ref(ref, two, one)
    bare.update_ref(ref, three)
    assert bare.read_ref(ref) == three
    assert bare.read_ref("refs/heads/none") is None


def test_creating_is_all_or_nothing_and_opening_wants_a_repository(tmp_path: Path) -> None:
    path = tmp_path / "s" / "repo.git"
    BareRepository.create(path)
    assert BareRepository.create(path).path == path
    assert [entry.name for entry in path.parent.iterdir()] == ["repo.git"]
    with pytest.raises(RepositoryError):
        BareRepository.open(tmp_path)
    with pytest.raises(RepositoryError):
        BareRepository.open(tmp_path / "none")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RepositoryError, match="cannot be made"):
        BareRepository.create(blocked / "repo.git")


def test_the_environment_cannot_lead_git_elsewhere(
    tmp_path: Path, bare: BareRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_SHALLOW_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "nonsense")
    again = BareRepository.open(bare.path)
    tree = again.write_tree({"a": File(REGULAR, b"1")})
    monkeypatch.undo()
    assert set(files_of(bare.path, tree)) == {"a"}


def test_one_file_is_amended_by_as_many_objects_as_changed(bare: BareRepository) -> None:
    tree = bare.write_tree({f"d{n % 20}/f{n}": File(REGULAR, os.urandom(500)) for n in range(1000)})
    before = count_objects(bare.path)
    bare.amend_tree(tree, {"d1/new": File(REGULAR, b"new")})
    assert count_objects(bare.path) == before + 3  # the file and two folders


def count_objects(path: Path) -> int:
    return len(git(path, "cat-file", "--batch-all-objects", "--batch-check").splitlines())


def test_git_that_dies_is_reported_in_one_line(bare: BareRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (bare.path / "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(RepositoryError) as caught:
        bare.amend_tree("2" * 40, {"a": File(REGULAR, b"")})
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RepositoryError, match="install"):
        BareRepository(bare.path).write_blob(b"x")


def test_a_blob_is_stored_as_it_is(bare: BareRepository) -> None:
    data = b"\r\n\xff$Id$"
    assert subprocess.check_output(["git", "cat-file", "blob", bare.write_blob(data)], cwd=bare.path) == data


def test_without_git_importing_works_and_using_says_so(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from backspace_tui.repository.bare import BareRepository\n"
        "from backspace_tui.repository.errors import RepositoryError\n"
        "try: BareRepository.create(Path(sys.argv[1]) / 'repo.git')\n"
        "except RepositoryError as problem: print(problem)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={"PATH": "/nonexistent"}, capture_output=True, text=True
    )
    assert "install" in done.stdout, done.stderr
    assert list(tmp_path.glob("*.git*")) == []
