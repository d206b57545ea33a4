"""A base that is too large is refused before anything of it is copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from backspace_tui.repository.bare import BareRepository
from backspace_tui.repository.errors import RepositoryTooLarge
from backspace_tui.repository.source import Source, locate
from tests.program import git

MIB = 1024 * 1024


def stored(bare: BareRepository) -> int:
    """The objects of a session's repository."""
    return int(bare._git.run("count-objects", "-v").split(b"in-pack: ")[1].split()[0])


def commit(repository: Path, **files: int) -> int:
    """Commit files of so many bytes; returns the bytes of the whole tree."""
    for name, size in files.items():
        (repository / name).write_bytes(name.encode() * (size // len(name)))
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "more")
    return sum(int(line.split()[3]) for line in git(repository, "ls-tree", "-r", "-l", "HEAD").splitlines())


def test_the_sum_of_the_files_counts(bare: BareRepository, repository: Path) -> None:
    size = commit(repository, a=MIB, b=MIB)
    source = locate(str(repository))
    with pytest.raises(RepositoryTooLarge, match=r"the repository holds 2(\.\d)? MB") as refused:
        bare.import_base(source, most=size - 1)
    assert refused.value.size == size
    assert stored(bare) == 0
    assert bare.import_base(source, most=size).commit
    assert stored(bare) > 0


def test_history_does_not_count(bare: BareRepository, repository: Path) -> None:
    commit(repository, a=3 * MIB)
    (repository / "a").unlink()
    size = commit(repository, b=10)
    assert size < MIB
    assert bare.import_base(locate(str(repository)), most=MIB).commit


def test_uncommitted_files_count_where_they_are_included(bare: BareRepository, repository: Path) -> None:
    size = commit(repository, a=MIB)
    (repository / "new").write_bytes(b"n" * MIB)
    source = locate(str(repository))
    assert bare.import_base(source, most=size + 10).commit
    before = stored(bare)
    for most in (size + 10, MIB // 2):
        with pytest.raises(RepositoryTooLarge):
            bare.import_base(source, include_dirty=True, most=most)
    assert stored(bare) == before
    assert bare.import_base(source, include_dirty=True, most=size + MIB).included


def test_a_url_is_refused_as_well(bare: BareRepository, repository: Path) -> None:
    commit(repository, a=MIB)
    source = Source(url=f"file://{repository}")
    with pytest.raises(RepositoryTooLarge):
        bare.import_base(source, most=1000)
    assert stored(bare) == 0


def test_what_a_partial_clone_lacks_is_counted_once_it_came(
    bare: BareRepository, repository: Path, tmp_path: Path
) -> None:
    commit(repository, a=MIB)
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repository}", "partial")
    source = locate(str(tmp_path / "partial"))
    with pytest.raises(RepositoryTooLarge):
        bare.import_base(source, most=1000)
    assert bare.import_base(source, most=2 * MIB).commit
