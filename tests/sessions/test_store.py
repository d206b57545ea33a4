from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.sessions import store
from backspace_tui.sessions.log import LOG_NAME, EventLog
from backspace_tui.sessions.store import (
    Lock,
    SessionError,
    find,
    holder,
    is_running,
    list_sessions,
    new_session,
    remove,
    rename,
    socket_path,
)

START = datetime(2026, 11, 21, 9, 15, tzinfo=UTC)


def make(root: Path, name: str, *events: ev.AnyEvent, prompt: str = "Fix the tax", minute: int = 0) -> Path:
    directory = root / name
    directory.mkdir(mode=0o700, parents=True)
    time = START + timedelta(minutes=minute)
    with EventLog.open(directory, lambda: time) as log:
        log.append(ev.SessionStarted(session=name, repository="/src/shop", prompt=prompt, version="1"))
        for event in events:
            log.append(event)
    return directory


def test_new_sessions_are_private_sortable_and_unique(tmp_path: Path) -> None:
    made = [new_session(tmp_path / "data" / "sessions") for _ in range(20)]
    assert len({directory.name for directory in made}) == 20
    for directory in made:
        assert directory.stat().st_mode & 0o777 == 0o700
        datetime.strptime(directory.name[:15], "%Y%m%d-%H%M%S")
        assert len(directory.name) == 20


def test_listing_says_what_each_session_is(tmp_path: Path) -> None:
    make(tmp_path, "20261121-0915-aaaa", ev.SessionFinished(outcome="done"), minute=1)
    make(tmp_path, "20261121-0915-bbbb", ev.StageStarted(stage="implement"), minute=3)
    make(tmp_path, "20261121-0915-cccc", ev.StageStarted(stage="review"), minute=2, prompt="\n  Rename it\nplease")
    working = make(tmp_path, "20261121-0915-dddd", ev.StageStarted(stage="implement"), minute=4)
    with Lock(working):
        found = list_sessions(tmp_path)
    assert [(item.id[-4:], item.status, item.running) for item in found] == [
        ("dddd", "running", True),
        ("bbbb", "interrupted", False),
        ("cccc", "waiting", False),
        ("aaaa", "done", False),
    ]
    assert found[2].title == "Rename it"
    assert found[0].repository == "/src/shop"
    assert found[0].created == found[0].updated == START + timedelta(minutes=4)


def test_broken_sessions_are_listed_as_such(tmp_path: Path) -> None:
    make(tmp_path, "20261121-0915-aaaa")
    (tmp_path / "20261121-0915-bbbb").mkdir()
    (tmp_path / "20261121-0915-cccc").mkdir()
    (tmp_path / "20261121-0915-cccc" / LOG_NAME).write_bytes(b"what\nis this\n")
    (tmp_path / "20261121-0915-dddd").mkdir()
    (tmp_path / "20261121-0915-dddd" / LOG_NAME).mkdir()
    (tmp_path / "a file").touch()
    (tmp_path / ".deleted-x").mkdir()
    found = {item.id[-4:]: item for item in list_sessions(tmp_path)}
    assert {key: item.status for key, item in found.items()} == {
        "aaaa": "interrupted",
        "bbbb": "broken",
        "cccc": "broken",
        "dddd": "broken",
    }
    assert "not the log" in found["cccc"].title


@pytest.mark.parametrize("kind", ["long head", "long tail", "long line"])
def test_long_logs_are_read_at_their_ends(tmp_path: Path, kind: str) -> None:
    filler = [ev.ToolOutput(call_id="c", stream="stdout", text="x" * 1000) for _ in range(1500)]
    if kind == "long head":
        events: list[ev.AnyEvent] = [*filler, ev.SessionFinished(outcome="failed", reason="no")]
    elif kind == "long tail":
        events = [ev.StageStarted(stage="implement"), ev.Paused(), *filler]
    else:
        events = [ev.Message(role="agent", text="y" * 2_000_000), ev.SessionFinished(outcome="failed")]
    directory = make(tmp_path, "20261121-0915-aaaa", *events, prompt="p" * 300_000)
    info = store.info(directory)
    assert info.status == ("interrupted" if kind == "long tail" else "failed")
    assert info.title == "p" * 79 + "\N{HORIZONTAL ELLIPSIS}"
    assert info.created == START


def test_titles_hold_no_control_characters(tmp_path: Path) -> None:
    directory = make(tmp_path, "20261121-0915-aaaa", prompt="\x1b]0;gotcha\x07 x")
    assert store.info(directory).title.isprintable()
    rename(directory, "my \x1b[31mname\nand more")
    info = store.info(directory)
    assert info.name.isprintable()
    assert "more" not in info.name


def test_renaming_and_back(tmp_path: Path) -> None:
    directory = make(tmp_path, "20261121-0915-aaaa")
    rename(directory, "tax fix")
    assert (store.info(directory).title, store.info(directory).name) == ("tax fix", "tax fix")
    assert find("tax fix", tmp_path) == directory
    rename(directory, "")
    assert store.info(directory).title == "Fix the tax"


def test_finding(tmp_path: Path) -> None:
    one = make(tmp_path, "20261120-0915-aaaa", minute=0)
    two = make(tmp_path, "20261121-0915-ffff", minute=1)
    three = make(tmp_path, "20261121-0915-abcd", minute=2)
    assert find("20261120", tmp_path) == one
    assert find(two.name, tmp_path) == two
    assert find("last", tmp_path) == three
    with pytest.raises(SessionError, match="could be 2 sessions") as caught:
        find("20261121", tmp_path)
    assert caught.value.exit_code == 2
    for unknown in ("nope", "", "../x", "20261121-0915-abcde"):
        with pytest.raises(SessionError, match="there is no session") as caught:
            find(unknown, tmp_path)
        assert caught.value.exit_code == 2


def test_an_empty_or_absent_root(tmp_path: Path) -> None:
    assert list_sessions(tmp_path / "none") == []
    with pytest.raises(SessionError, match="no session yet") as caught:
        find("last", tmp_path / "none")
    assert caught.value.exit_code == 2


def test_the_lock_is_exclusive_across_processes_and_ends_with_its_owner(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from backspace_tui.sessions.store import Lock\n"
        "lock = Lock(Path(sys.argv[1])); lock.acquire(); print('locked', flush=True); sys.stdin.read()\n"
    )
    assert not is_running(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "locked\n"
        assert is_running(tmp_path)
        assert holder(tmp_path) == process.pid
        with pytest.raises(SessionError, match=f"process {process.pid}"):
            Lock(tmp_path).acquire(patience=0.05)
        with pytest.raises(SessionError, match="is running"):
            remove(tmp_path)
        assert tmp_path.is_dir()
        process.kill()
        process.wait()
        assert not is_running(tmp_path)
        with Lock(tmp_path):
            assert is_running(tmp_path)
            assert holder(tmp_path) == os.getpid()
        assert not is_running(tmp_path)
    finally:
        process.kill()
        process.communicate()


def test_asking_whether_it_runs_never_keeps_the_lock_from_its_owner(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from backspace_tui.sessions.store import is_running\n"
        "print('asking', flush=True)\nwhile True: is_running(Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        for _ in range(50):
            with Lock(tmp_path):
                pass
    finally:
        process.kill()
        process.communicate()


def test_removing(tmp_path: Path) -> None:
    directory = make(tmp_path, "20261121-0915-aaaa")
    (directory / "repo.git").mkdir()
    (directory / "repo.git" / "pack").touch(mode=0o444)
    remove(directory)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_data_dir_gets_one_line() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o555)
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            # Root may write everywhere, so a child gives that up.
            message = "nothing was refused"
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                new_session(root / "sessions")
            except BaseException as error:
                message = f"{type(error).__name__}: {error}"
            os.write(sender, message.encode())
            os._exit(0)
        os.close(sender)
        with os.fdopen(receiver) as stream:
            said = stream.read()
        os.waitpid(child, 0)
        root.chmod(0o755)
    assert said.startswith(f"SessionError: cannot write {root}/sessions (Permission denied)")
    assert "BACKSPACE_TUI_DATA_DIR" in said


def test_a_data_dir_that_cannot_exist_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SessionError) as caught:
        new_session(tmp_path / "file" / "sessions")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    if Path("/proc/self").is_dir():
        with pytest.raises(SessionError, match="cannot"):
            new_session(Path("/proc/self/sessions"))


def test_a_short_path_keeps_its_socket(tmp_path: Path) -> None:
    directory = Path("/tmp/s")
    assert socket_path(directory) == Path(os.path.realpath("/tmp")) / "s" / "socket"


def test_a_long_path_gets_a_private_socket_that_can_be_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "t"
    root.mkdir()
    monkeypatch.setattr(store, "SOCKET_ROOT", root)
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    path = socket_path(directory)
    assert path.parent.parent == root
    assert path.parent.stat().st_mode & 0o777 == 0o700
    link = tmp_path / "link"
    link.symlink_to(directory)
    assert socket_path(link) == path, "every spelling of a directory has the same socket"
    if len(os.fsencode(path)) <= 107:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.fspath(path))
    remove(directory)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["symlink", "open", "file", "foreign"])
def test_a_socket_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    root = tmp_path / "t"
    root.mkdir()
    monkeypatch.setattr(store, "SOCKET_ROOT", root)
    private = root / f"backspace-tui-{os.geteuid()}"
    if kind == "symlink":
        (tmp_path / "theirs").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "theirs")
    elif kind == "file":
        private.touch(mode=0o700)
    elif kind == "open":
        private.mkdir()
        private.chmod(0o777)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
        (root / f"backspace-tui-{other}").mkdir(mode=0o700)
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    with pytest.raises(SessionError):
        socket_path(directory)
