from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, Entry, File, FileChange
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.objects import EMPTY_BLOB, Objects
from tests.sessions.repository import Repository

ODD = os.fsdecode(b'caf\xe9 "\t\n:(top) -n')


def test_blobs_and_sizes(repo: Repository, objects: Objects) -> None:
    for data in (b"", b"a\n", b"\0\xff\n\n", b"x" * 3_000_000):
        oid = repo.blob(data) if data else EMPTY_BLOB
        assert objects.blob(oid) == data
        assert objects.size(oid) == len(data)
        assert objects.blob(oid) == data


def test_objects_that_come_later_are_found(repo: Repository, objects: Objects) -> None:
    assert objects.blob(repo.blob(b"one")) == b"one"
    later = repo.blob(b"two")
    assert objects.blob(later) == b"two"
    last = repo.blob(b"three")
    pack = repo.git("pack-objects", "-q", str(repo.path / "objects" / "pack" / "pack"), data=f"{last}\n".encode())
    assert pack
    repo.git("prune-packed")
    assert objects.blob(last) == b"three"


def test_entries_and_changes(repo: Repository, objects: Objects) -> None:
    one = repo.tree({"a": "1", "d/b": "2", ODD: "3", "run": File(EXECUTABLE, b"#!"), "to": File(SYMLINK, b"a")})
    two = repo.tree({"a": "1", "d/c": "2", ODD: "4", "run": File(REGULAR, b"#!"), "to": "a"})
    entries = objects.entries(one)
    assert set(entries) == {"a", "d/b", ODD, "run", "to"}
    assert entries["run"].mode == EXECUTABLE
    assert entries["to"] == Entry(SYMLINK, repo.blob(b"a"))
    after = objects.entries(two)
    assert set(objects.changes(one, two)) == {
        FileChange("d/b", entries["d/b"], None),
        FileChange("d/c", None, after["d/c"]),
        FileChange(ODD, entries[ODD], after[ODD]),
        FileChange("run", entries["run"], after["run"]),
        FileChange("to", entries["to"], after["to"]),
    }
    assert objects.changes(one, one) == ()
    assert {change.path for change in objects.changes(two, repo.tree({}))} == set(after)


def test_renames_are_one_change_where_git_sees_them(repo: Repository, objects: Objects) -> None:
    body = "".join(f"line {n}\n" for n in range(20))
    one = repo.tree(
        {"was": body, "edited": body + "e\n", ODD: "odd\n" * 9, "other": "x\n", "to": File(SYMLINK, b"was")}
    )
    two = repo.tree(
        {
            "is": body,
            "sub/edited.py": File(EXECUTABLE, (body + "E\n").encode()),
            ODD + "2": "odd\n" * 9,
            "unlike": "y\n",
            "link": File(SYMLINK, b"was"),
        }
    )
    before, after = objects.entries(one), objects.entries(two)
    assert {change.path: change for change in objects.changes(one, two, renames=True)} == {
        "is": FileChange("is", before["was"], after["is"], "was"),
        "sub/edited.py": FileChange("sub/edited.py", before["edited"], after["sub/edited.py"], "edited"),
        ODD + "2": FileChange(ODD + "2", before[ODD], after[ODD + "2"], ODD),
        "other": FileChange("other", before["other"], None),
        "unlike": FileChange("unlike", None, after["unlike"]),
        "link": FileChange("link", before["to"], after["link"], "to"),
    }
    # Both views of the same trees stand beside each other.
    assert all(not change.source for change in objects.changes(one, two))
    assert len(objects.changes(one, two)) == 10
    kinds = {change.path: [h.kind for h in objects.hunks(change)] for change in objects.changes(one, two, renames=True)}
    assert (kinds["is"], kinds["sub/edited.py"]) == (["rename"], ["rename", "mode", "text"])


def test_a_copy_is_no_rename(repo: Repository, objects: Objects) -> None:
    one, two = repo.tree({"a": "same\n" * 9}), repo.tree({"a": "same\n" * 9, "b": "same\n" * 9})
    assert [change.source for change in objects.changes(one, two, renames=True)] == [""]


def test_legs_lead_from_blob_to_blob(repo: Repository, objects: Objects) -> None:
    old, new = repo.blob(b"a\nb\nc\n"), repo.blob(b"x\na\nB\nc\n")
    found = objects.leg(old, new)
    assert [found.line(n) for n in (1, 2, 3)] == [2, None, 4]
    assert objects.leg(old, new) is found
    back = objects.leg(new, old)
    assert [back.line(n) for n in (1, 2, 3, 4)] == [None, 1, None, 3]
    assert objects.leg(old, EMPTY_BLOB).line(1) is None


def test_diffs(repo: Repository, objects: Objects) -> None:
    old, new = repo.blob(b"a\nb\nc\n"), repo.blob(b"a\nB\nc")
    diff = objects.diff(old, new)
    assert diff.startswith(b"diff --git ")
    assert b"\n@@ -1,3 +1,3 @@\n a\n-b\n-c\n+B\n+c\n\\ No newline at end of file\n" in diff
    assert objects.diff(old, old) == b""
    assert objects.diff(None, None) == b""
    assert b"@@ -2,2 +2,2 @@" in objects.diff(old, new, context=0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.text("ab\n\r\x0c\u2028", min_size=1, max_size=12).map(str.encode), reverse=st.booleans())
def test_one_sided_diffs_are_what_git_prints(repo: Repository, objects: Objects, data: bytes, reverse: bool) -> None:
    repo.blob(b"")
    oid = repo.blob(data)
    pair = (oid, EMPTY_BLOB) if reverse else (EMPTY_BLOB, oid)
    expected = subprocess.run(
        ["git", "diff", "--full-index", "-U3", "--text", *pair],
        env={**os.environ, "GIT_DIR": str(repo.path), "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        check=True,
    ).stdout
    assert (objects.diff(oid, None) if reverse else objects.diff(None, oid)) == expected


def test_prefetching_changes_nothing_but_the_number_of_processes(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text(n: int, word: str) -> str:
        return f"diff --git a/x b/x\nindex 1..2\n{word}\n" + "\n".join(map(str, range(n)))

    moved = "".join(f"moved {n}\n" for n in range(9))
    one = repo.tree({f"f{n}.py": text(n, "old") for n in range(30)} | {"bin": b"\0a", "was": moved})
    two = repo.tree({f"f{n}.py": text(n, "new") for n in range(1, 31)} | {"bin": b"\0b", "is": moved})
    with Objects(repo.path) as slow, Objects(repo.path) as fast:
        plain = [slow.hunks(change) for change in slow.changes(one, two, renames=True)]
        fast.prefetch(one, two)
        calls: list[str] = []
        real = fast._git

        def counted(*arguments: str) -> bytes:
            calls.append(arguments[0])
            return real(*arguments)

        monkeypatch.setattr(fast, "_git", counted)
        assert [fast.hunks(change) for change in fast.changes(one, two, renames=True)] == plain
        assert calls == []
        fast.prefetch(one, two)
        assert calls == []


def test_hunks_of_every_kind(repo: Repository, objects: Objects) -> None:
    one = repo.tree({"t": "a\nb\n", "gone": "x\n", "bin": b"\0", "mode": "m", "link": File(SYMLINK, b"t"), "ty": "t"})
    two = repo.tree(
        {
            "t": "a\nB\n",
            "new": "n\n",
            "empty": "",
            "bin": b"\0\1",
            "mode": File(EXECUTABLE, b"m"),
            "link": File(SYMLINK, b"new"),
            "ty": File(SYMLINK, b"t"),
        }
    )
    kinds = {change.path: [hunk.kind for hunk in objects.hunks(change)] for change in objects.changes(one, two)}
    assert kinds == {
        "t": ["text"],
        "gone": ["deleted"],
        "new": ["text"],
        "empty": ["added"],
        "bin": ["binary"],
        "mode": ["mode"],
        "link": ["symlink"],
        "ty": ["type"],
    }


def test_a_lost_repository_gets_one_line(repo: Repository, objects: Objects) -> None:
    known = repo.blob(b"known")
    tree = repo.tree({"a": "1"})
    objects.blob(known)
    with pytest.raises(SessionError, match="lacks"):
        objects.blob("1" * 40)
    with pytest.raises(SessionError, match="lacks"):
        objects.size("1" * 40)
    with pytest.raises(SessionError, match="no blob"):
        objects.blob(tree)
    assert objects.blob(repo.blob(b"after an error")) == b"after an error"
    shutil.rmtree(repo.path)
    for action in (
        lambda: objects.blob("2" * 40),
        lambda: objects.entries("2" * 40),
        lambda: objects.changes("2" * 40, "3" * 40),
        lambda: objects.diff("2" * 40, "3" * 40),
    ):
        with pytest.raises(SessionError) as caught:
            action()
        assert "\n" not in str(caught.value)


def test_a_corrupt_object_gets_one_line(repo: Repository, objects: Objects) -> None:
    oid = repo.blob(b"content " * 100)
    path = repo.path / "objects" / oid[:2] / oid[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(SessionError):
        objects.blob(oid)
    assert objects.blob(repo.blob(b"fine")) == b"fine"


@pytest.mark.parametrize("name", ["--upload-pack=x", "HEAD", "", "a" * 39, "A" * 40, "HEAD:" + "a" * 35])
def test_only_object_ids_reach_git(objects: Objects, name: str) -> None:
    for action in (objects.blob, objects.size, objects.entries, lambda n: objects.changes(n, "a" * 40)):
        with pytest.raises(SessionError, match="not an object id"):
            action(name)


def test_the_environment_and_its_configuration_do_not_reach_git(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = repo.blob(b"a\n"), repo.blob(b"b\n")
    config = tmp_path / "gitconfig"
    config.write_text("[diff]\n\texternal = false\n\tnoprefix = true\n[color]\n\tui = always\n")
    with Objects(repo.path) as clean:
        expected = clean.diff(old, new)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
    with Objects(repo.path) as objects:
        assert objects.diff(old, new) == expected
        assert objects.blob(old) == b"a\n"


def test_threads_may_ask_at_once_and_nothing_is_left(repo: Repository) -> None:
    oids = [repo.blob(b"%d" % n * 1000) for n in range(20)]
    wrong: list[str] = []

    def ask(objects: Objects) -> None:
        for n, oid in enumerate(oids):
            if objects.blob(oid) != b"%d" % n * 1000 or objects.size(oid) != len(b"%d" % n * 1000):
                wrong.append(oid)

    objects = Objects(repo.path)
    threads = [threading.Thread(target=ask, args=(objects,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    processes = [batch._process for batch in (objects._contents, objects._sizes)]
    objects.close()
    objects.close()
    assert wrong == []
    assert all(process is not None and process.returncode is not None for process in processes)
