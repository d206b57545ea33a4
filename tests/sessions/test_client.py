from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.client import Client, SessionError, ensure_running, follow, launch
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.store import is_running, new_session

HOST = (sys.executable, "-P", str(Path(__file__).with_name("stand_in_host.py")))


def started(prompt: str = "Fix it") -> ev.SessionStarted:
    return ev.SessionStarted(session="s", repository=os.fsdecode(b"/src/caf\xe9"), prompt=prompt, version="1")


def request(directory: Path, prompt: str = "Fix it") -> cmd.HostRequest:
    return cmd.HostRequest(directory=str(directory), started=started(prompt))


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    made = new_session(tmp_path)
    yield made
    if is_running(made):
        with Client.connect(made) as client:
            client.send(cmd.Quit())
        wait_for(lambda: not is_running(made))


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_session_starts_answers_and_ends(directory: Path) -> None:
    ready = launch(request(directory), argv=HOST)
    assert is_running(directory)
    assert os.getsid(ready.pid) == ready.pid
    assert os.readlink(f"/proc/{ready.pid}/cwd") == str(directory)
    with Client.connect(directory) as client:
        assert client.send(cmd.Say(text="hello")).seq == 2
        assert client.send(cmd.Undo()).error == "nothing to undo"
        assert client.send(cmd.Quit()).seq == 3
    wait_for(lambda: not is_running(directory))
    # Reaped, not left as a zombie.
    wait_for(lambda: not Path(f"/proc/{ready.pid}").exists())
    first = read_events(directory)[0]
    assert isinstance(first, ev.SessionStarted)
    assert first.repository == os.fsdecode(b"/src/caf\xe9")


def pipes_of(pid: int) -> set[str]:
    names = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(os.readlink(link))
    return {name for name in names if name.startswith("pipe:")}


def test_launching_leaks_no_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    for prompt in ("Fix it", "refuse", "die"):
        directory = new_session(tmp_path)
        try:
            ready = launch(request(directory, prompt), argv=HOST)
        except SessionError:
            continue
        # The process lets go of the pipe with its one line just after it has written it.
        wait_for(lambda pid=ready.pid: not pipes_of(pid))  # type: ignore[misc]
        with Client.connect(directory) as client:
            client.send(cmd.Quit())
        wait_for(lambda pid=ready.pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
    # What earlier tests left to the garbage collector may have been closed meanwhile.
    assert descriptors() <= before


def test_the_reason_of_the_process_is_passed_on(directory: Path) -> None:
    with pytest.raises(SessionError, match=r"^no such model$") as caught:
        launch(request(directory, "refuse"), argv=HOST)
    assert caught.value.exit_code == 2


def test_a_process_that_dies_is_named_with_its_last_words(directory: Path) -> None:
    with pytest.raises(SessionError, match="RuntimeError: no engine here") as caught:
        launch(request(directory, "die"), argv=HOST)
    assert "\n" not in str(caught.value)
    assert "Traceback" in (directory / "engine.log").read_text()


def test_a_process_that_hangs_is_ended(directory: Path) -> None:
    with pytest.raises(SessionError, match="no answer in time"):
        launch(request(directory, "hang"), timeout=1.0, argv=HOST)
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False).stdout
    assert str(directory) not in found
    assert not is_running(directory)


def test_a_program_that_is_not_there(directory: Path) -> None:
    with pytest.raises(SessionError):
        launch(request(directory), argv=["/nonexistent/program"])


def test_it_outlives_the_terminal_that_started_it(directory: Path) -> None:
    script = (
        "import sys, signal\n"
        "from backspace_tui.core import commands as cmd, events as ev\n"
        "from backspace_tui.sessions.client import launch\n"
        "s = ev.SessionStarted(session='s', repository='r', prompt='p', version='1')\n"
        "launch(cmd.HostRequest(directory=sys.argv[1], started=s), argv=sys.argv[2:])\n"
        "print('up', flush=True); signal.pause()\n"
    )
    window = subprocess.Popen(
        [sys.executable, "-c", script, directory, *HOST], stdout=subprocess.PIPE, start_new_session=True
    )
    assert window.stdout is not None
    assert window.stdout.readline() == b"up\n"
    os.killpg(window.pid, signal.SIGHUP)
    window.kill()
    window.communicate()
    assert is_running(directory)
    with Client.connect(directory) as client:
        assert client.send(cmd.Say(text="still there?")).seq == 2


def test_connecting_to_one_that_is_not_running(directory: Path) -> None:
    with pytest.raises(SessionError, match="is not running: backspace-tui resume"):
        Client.connect(directory)


def test_a_process_that_goes_away_in_the_middle(directory: Path) -> None:
    ready = launch(request(directory), argv=HOST)
    client = Client.connect(directory)
    with pytest.raises(SessionError, match="went away"):
        client.send(cmd.Stop())
    os.kill(ready.pid, signal.SIGKILL)
    wait_for(lambda: not is_running(directory))
    # The dead process left its socket behind.
    with pytest.raises(SessionError, match="is not running"):
        Client.connect(directory)


def test_replies_do_not_get_mixed_up_between_threads(directory: Path) -> None:
    launch(request(directory), argv=HOST)
    replies: list[int] = []
    with Client.connect(directory) as client:
        threads = [
            threading.Thread(target=lambda: replies.extend(client.send(cmd.Say(text="x")).seq for _ in range(25)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(replies) == list(range(2, 102))


def test_ensure_running_starts_once_and_delivers_commands(directory: Path) -> None:
    ensure_running(directory, commands=(cmd.Pause(),), argv=HOST)
    assert is_running(directory)
    ensure_running(directory, argv=HOST)
    ensure_running(directory, commands=(cmd.Say(text="more"),), argv=HOST)
    with pytest.raises(SessionError, match="nothing to undo"):
        ensure_running(directory, commands=(cmd.Undo(),), argv=HOST)
    assert [event.text for event in read_events(directory) if isinstance(event, ev.Message)] == ["Pause", "more"]


def test_windows_that_start_it_at_once_get_one_process(directory: Path) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            ensure_running(directory, argv=HOST)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert is_running(directory)


def test_following_ends_with_the_process(directory: Path) -> None:
    launch(request(directory), argv=HOST)
    seen: list[ev.AnyEvent] = []
    follower = threading.Thread(target=lambda: seen.extend(follow(directory)))
    follower.start()
    with Client.connect(directory) as client:
        for n in range(20):
            client.send(cmd.Say(text=str(n)))
        client.send(cmd.Quit())
    follower.join(10)
    assert not follower.is_alive()
    assert [event.seq for event in seen] == list(range(1, 23))
    assert isinstance(seen[-1], ev.SessionFinished)


def test_following_ends_when_the_process_is_killed(directory: Path) -> None:
    ready = launch(request(directory), argv=HOST)
    seen: list[ev.AnyEvent] = []
    follower = threading.Thread(target=lambda: seen.extend(follow(directory)))
    follower.start()
    wait_for(lambda: len(seen) == 1)
    os.kill(ready.pid, signal.SIGKILL)
    follower.join(10)
    assert not follower.is_alive()


def test_following_can_be_stopped_and_can_outlast_the_process(directory: Path) -> None:
    launch(request(directory), argv=HOST)
    stop = threading.Event()
    seen: list[ev.AnyEvent] = []
    follower = threading.Thread(target=lambda: seen.extend(follow(directory, stop.is_set, forever=True)))
    follower.start()
    with Client.connect(directory) as client:
        client.send(cmd.Quit())
    wait_for(lambda: not is_running(directory))
    ensure_running(directory, commands=(cmd.Pause(),), argv=HOST)
    wait_for(lambda: len(seen) == 3)
    stop.set()
    follower.join(10)
    assert not follower.is_alive()
