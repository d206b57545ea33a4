"""Both ways in which a supervisor looks for changes: with GNU find and without."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from backspace_tui.paths import resource_dir


@pytest.fixture(scope="module")
def snapshots() -> Iterator[ModuleType]:
    """The supervisor's module, which is no part of the package."""
    folder = str(resource_dir("sandbox"))
    sys.path.insert(0, folder)
    try:
        import supervisor_snapshots  # type: ignore[import-not-found]

        yield supervisor_snapshots
    finally:
        sys.path.remove(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for number in range(700):
        folder = tmp_path / f"wide/{number % 90}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").touch()
    many = tmp_path / "many"
    many.mkdir()
    for number in range(600):
        (many / str(number)).touch()
    deep = tmp_path / "/".join(["d"] * 131)
    deep.mkdir(parents=True)
    (deep / "end").touch()
    for name in (".git", "s/.GIT", "odd\nname", "sp ace", os.fsdecode(b"\xff")):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / "file").touch()
    (tmp_path / "link").symlink_to("many")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def records(walk: Any, workspace: Path, since: int | None) -> set[tuple[Any, ...]]:
    """What a walk tells: of folders always, of all else where it changed; kinds only where it matters."""
    found = list(walk(SimpleNamespace(workspace=str(workspace)), since))
    assert len({path for *_, path in found}) == len(found)
    return {(changed, kind == b"d", mode, inode, path) for changed, kind, mode, inode, path in found}


def test_both_walks_tell_the_same(snapshots: ModuleType, workspace: Path) -> None:
    moment = snapshots.now()
    paths = list(workspace.rglob("*"))
    for since in (0, moment + 10**12, None, os.lstat(workspace / "many" / "300").st_ctime_ns):
        shallow = [
            {one for one in records(walk, workspace, since) if one[4].count(b"/") <= snapshots.MAX_DEPTH}
            for walk in snapshots.supervisor_walk.WALKS
        ]
        assert shallow[0] == shallow[1]
        if since == 0:
            assert {os.fsdecode(one[4]) for one in shallow[0]} == {
                os.fspath(path.relative_to(workspace)) if path != workspace else ""
                for path in (*paths, workspace)
                if len(path.relative_to(workspace).parts) <= snapshots.MAX_DEPTH + 1
                and not any(part.lower() == ".git" for part in path.parts)
            }


@pytest.mark.parametrize("script", ["exit 1", "echo '+f 644 1 /x'; exit 1", "printf '+f 644 1 /x\\0'; exit 1"])
def test_another_find_is_not_relied_on(
    snapshots: ModuleType, workspace: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch, script: str,
) -> None:  # fmt: skip
    fake = tmp_path_factory.mktemp("bin") / "find"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    settings = SimpleNamespace(workspace=str(workspace))
    since = snapshots.now() + 10**12
    real = snapshots.compare(settings, None, ())
    for finders in ((str(fake),), ("/no/find",)):
        monkeypatch.setattr(snapshots.supervisor_walk, "FINDERS", finders)
        with pytest.raises(snapshots.supervisor_walk.NotSearched):
            list(snapshots.supervisor_walk.find(settings, since))
        moment, files, moved, listed = snapshots.compare(settings, since, set(real[0].folders))
        assert (files, moved, listed) == ([], [], [])
        assert set(moment.folders) == set(real[0].folders)


def test_a_clock_that_was_set_is_not_relied_on(snapshots: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = snapshots.Moment()
    state = snapshots.HEAD.pack(moment.token, moment.since, moment.clock)
    monkeypatch.setattr(snapshots, "known", state)
    request = {"base": moment.token.hex()}
    assert snapshots.last_time(request) == (moment.since, set())
    assert snapshots.last_time({"base": None}) is None
    monkeypatch.setattr(snapshots, "restless", True)
    assert snapshots.last_time(request) is None
    monkeypatch.setattr(snapshots, "restless", False)
    monkeypatch.setattr(snapshots, "clock_offset", lambda: moment.clock - 10**9)
    assert snapshots.last_time(request) is None
