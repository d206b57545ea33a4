"""Sessions as JSONL and back: the same events, the same objects, no secrets; and what is refused."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.core.state import fold
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.export.bundle import export_lines
from backspace_tui.sessions.importing import import_session, remove_abandoned
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from tests.program import wait_for
from tests.sessions.export.conftest import SECRET
from tests.ui.sample import Sample


def plain(text: str) -> str:
    return text


def exported(directory: Path, redact: Callable[[str], str] = plain) -> list[bytes]:
    return list(export_lines(directory, redact))


def saved(lines: list[bytes], tmp_path: Path) -> Path:
    file = tmp_path / "session.jsonl"
    file.write_bytes(b"".join(lines))
    return file


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The sessions of another machine."""
    return tmp_path / "elsewhere" / "sessions"


def test_there_and_back_is_the_same(sample: Sample, tmp_path: Path, elsewhere: Path) -> None:
    store.rename(sample.directory, "the cart")
    lines = exported(sample.directory)
    made = import_session(saved(lines, tmp_path), elsewhere)
    assert made == elsewhere / sample.directory.name
    assert (made / "events.jsonl").read_bytes() == (sample.directory / "events.jsonl").read_bytes()
    assert store.info(made).name == "the cart"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE((made / "events.jsonl").stat().st_mode) == 0o600
    # All objects are its own: what it came from may go.
    os.rename(sample.directory / "repo.git", tmp_path / "gone.git")
    state = fold(read_events(made))
    with Objects(made / "repo.git") as objects, Objects(tmp_path / "gone.git") as others:
        assert review(objects, state) == review(others, state)
    count = len(read_events(made)) + 1
    assert exported(made)[:count] == lines[:count]
    with pytest.raises(SessionError, match="was imported, so it can be read but not run"):
        client.ensure_running(made)


def test_a_taken_id_gets_another(sample: Sample, tmp_path: Path) -> None:
    root = sample.directory.parent
    before = (sample.directory / "events.jsonl").read_bytes()
    made = import_session(saved(exported(sample.directory), tmp_path), root)
    assert made != sample.directory
    assert (sample.directory / "events.jsonl").read_bytes() == before
    assert not (sample.directory / "imported").exists()
    assert {path.name for path in root.iterdir()} == {sample.directory.name, made.name}


def test_shallow_histories_and_branches(sample: Sample, tmp_path: Path, elsewhere: Path) -> None:
    repo = sample.repository
    body = f"tree {sample.base}\nparent {'9' * 40}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nbase\n"
    base = repo.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", data=body.encode())
    (repo.path / "shallow").write_text(f"{base}\n")
    made = repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", sample.work, "-p", base, "-m", "ours")
    repo.git("update-ref", "refs/heads/backspace/ours", made)
    done = import_session(saved(exported(sample.directory), tmp_path), elsewhere)
    listed = subprocess.check_output(["git", "log", "--format=%H", "backspace/ours"], cwd=done / "repo.git", text=True)
    assert listed.split() == [made, base]


def test_secrets_are_masked_in_events_and_objects(
    sample: Sample, tmp_path: Path, elsewhere: Path, redactor: Redactor
) -> None:
    lines = exported(sample.directory, redactor.redact)
    made = import_session(saved(lines, tmp_path), elsewhere)
    found = subprocess.check_output(
        ["git", "cat-file", "--batch-all-objects", "--batch", "--buffer"], cwd=made / "repo.git"
    )
    assert b"not a heading" in found
    assert SECRET.encode() not in found
    assert SECRET.encode() not in (made / "events.jsonl").read_bytes()
    # The same holds of what is not masked, by the ids that it has now.
    state, before = fold(read_events(made)), sample.state
    assert state.work_tree != before.work_tree
    assert state.base_tree == before.base_tree
    with Objects(made / "repo.git") as objects:
        paths = {file.path: file.state for file in review(objects, state).files}
        entry = objects.entries(state.accepted_tree)["notes.md"]
        assert b"[secret:" in objects.blob(entry.oid)
    assert paths == {file.path: file.state for file in sample.review().files}


def altered(lines: list[bytes], number: int, change: Callable[[Any], Any]) -> list[bytes]:
    value = change(json.loads(lines[number]))
    return [*lines[:number], json.dumps(value).encode() + b"\n", *lines[number:][1:]]


def bad_pack(lines: list[bytes]) -> list[bytes]:
    import hashlib

    pack = b"PACK\0\0\0\2\0\0\0\1rubbish"
    end = {"type": "end", "size": len(pack), "sha256": hashlib.sha256(pack).hexdigest()}
    events = json.loads(lines[0])["events"]
    piece = {"type": "pack", "data": base64.b64encode(pack).decode()}
    return [*lines[: events + 1], json.dumps(piece).encode() + b"\n", json.dumps(end).encode() + b"\n"]


def no_objects(lines: list[bytes]) -> list[bytes]:
    import hashlib

    end = {"type": "end", "size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    return [*lines[: json.loads(lines[0])["events"] + 1], json.dumps(end).encode() + b"\n"]


BAD: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "empty": (lambda lines: [], "is missing"),
    "no header": (lambda lines: lines[1:], "not the header"),
    "a log": (lambda lines: [b'{"format":"backspace-tui-session","version":1}\n', *lines[1:]], "not the header"),
    "newer": (lambda lines: altered(lines, 0, lambda head: head | {"version": 2}), "upgrade backspace-tui"),
    "a newer log": (
        lambda lines: altered(lines, 0, lambda head: head | {"log": head["log"] | {"version": 99}}),
        "newer backspace-tui",
    ),
    "a branch out of place": (
        lambda lines: altered(lines, 0, lambda head: head | {"refs": {"refs/heads/../../x": "1" * 40}}),
        "branch",
    ),
    "a branch of nothing": (
        lambda lines: altered(lines, 0, lambda head: head | {"refs": {"refs/heads/x": "1" * 40}}),
        "git refuses",
    ),
    "shallow lines": (lambda lines: altered(lines, 0, lambda head: head | {"shallow": ["x\ny"]}), "no id"),
    "too many": (lambda lines: altered(lines, 0, lambda head: head | {"events": 10**9}), "impossible number"),
    "fewer": (lambda lines: altered(lines, 0, lambda head: head | {"events": head["events"] + 1}), "line"),
    "no event": (lambda lines: [*lines[:3], b"[1]\n", *lines[4:]], "not an event"),
    "a name twice": (
        lambda lines: [*lines[:3], b'{"text":"\\u001b","text":"",' + lines[3][1:], *lines[4:]],
        "not an event",
    ),
    "nested": (lambda lines: [*lines[:3], b'{"a":' * 200_000 + b"\n", *lines[4:]], "not an event"),
    "a number twice": (lambda lines: altered(lines, 3, lambda event: event | {"seq": 2}), "not numbered"),
    "no beginning": (lambda lines: altered(lines, 1, lambda event: event | {"type": "resumed"}), "begin"),
    "no time zone": (
        lambda lines: altered(lines, 3, lambda event: event | {"time": "2026-01-01T00:00:00"}),
        "time zone",
    ),
    "cut off": (lambda lines: lines[:-1], "is missing"),
    "a torn line": (lambda lines: [*lines[:-1], lines[-1][:-5]], "cut off"),
    "more": (lambda lines: [*lines, b"{}\n"], "is not the last one"),
    "another pack": (
        lambda lines: (
            altered(lines, -2, lambda line: line | {"data": base64.b64encode(b"PACK").decode()})[:-1] + lines[-1:]
        ),
        "does not fit",
    ),
    "rubbish for a pack": (bad_pack, "git refuses"),
    "no objects": (no_objects, "git refuses"),
    "no base64": (lambda lines: [*lines[:-2], b'{"type":"pack","data":"\xc3\xa4"}\n', lines[-1]], "not a piece"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_and_leaves_nothing(
    sample: Sample, tmp_path: Path, elsewhere: Path, name: str
) -> None:
    change, said = BAD[name]
    with pytest.raises(SessionError, match=said) as caught:
        import_session(saved(change(exported(sample.directory)), tmp_path), elsewhere)
    assert "\n" not in str(caught.value)
    assert list(elsewhere.iterdir()) == []


def test_trees_that_hold_a_git_folder_are_refused(sample: Sample, tmp_path: Path, elsewhere: Path) -> None:
    blob = sample.repository.blob(b"[core]\n\tfsmonitor = touch /tmp/x\n")
    data = b"100644 config\0" + bytes.fromhex(blob)
    inner = sample.repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=data)
    outer = b"40000 .git\0" + bytes.fromhex(inner)
    sample.repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=outer)
    with pytest.raises(SessionError, match=r"git refuses: .*"):
        import_session(saved(exported(sample.directory), tmp_path), elsewhere)
    assert list(elsewhere.iterdir()) == []


def test_control_sequences_stay_outside(sample: Sample, tmp_path: Path, elsewhere: Path) -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2Jgone\u202e"
    lines = exported(sample.directory)
    number = next(n for n, line in enumerate(lines) if b'"message"' in line)
    lines = altered(lines, number, lambda event: event | {"text": evil})
    lines = altered(lines, 0, lambda head: head | {"name": evil, "session": "../../evil"})
    made = import_session(saved(lines, tmp_path), elsewhere)
    assert made.parent == elsewhere
    assert "evil" not in made.name
    text = (made / "events.jsonl").read_text() + (made / "name").read_text()
    assert "gone" in text
    assert not any(sign in text for sign in ("\\u001b", "\x1b", "\\u0007", "\u202e", "\\u202e"))


def test_lines_that_end_in_two_characters_are_told_as_they_were(
    sample: Sample, tmp_path: Path, elsewhere: Path
) -> None:
    sample.emit("review", ev.Message(role="program", text="f:\n-one\r\n+two\r\nand a\rreturn"))
    made = import_session(saved(exported(sample.directory), tmp_path), elsewhere)
    said = [event.text for event in read_events(made) if isinstance(event, ev.Message)]
    assert said[-1].startswith("f:\n-one\r\n+two\r\nand a")
    assert said[-1].count("\r") == 2


IMPORT = "import sys; from pathlib import Path; from backspace_tui.sessions.importing import import_session; "
IMPORT += "import_session(Path(sys.argv[1]), Path(sys.argv[2]))"


def test_what_a_killed_import_left_goes_and_one_under_way_stays(
    sample: Sample, tmp_path: Path, elsewhere: Path
) -> None:
    root, pipe = elsewhere, tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = exported(sample.directory)
    command = [sys.executable, "-c", IMPORT, str(pipe), str(root)]
    with subprocess.Popen(command) as importing, pipe.open("wb") as half:
        half.write(b"".join(lines[:4]))
        half.flush()
        wait_for(lambda: list(root.glob(".importing-*")), "the import to begin")
        (unfinished,) = root.glob(".importing-*")
        wait_for(lambda: _locked(unfinished), "its lock")
        os.utime(unfinished, (0, 0))
        remove_abandoned(root)
        assert unfinished.exists()
        importing.kill()
        importing.wait()
    os.utime(unfinished, (0, 0))
    made = import_session(saved(lines, tmp_path), root)
    assert list(root.iterdir()) == [made]


def _locked(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
