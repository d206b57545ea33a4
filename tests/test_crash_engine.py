"""The engine stops in the middle of a session and comes back: the session says so, and goes on to the same end."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.sessions.store import is_running
from tests.crash import Human, Script, scene, steps
from tests.models.turns import call
from tests.program import CART, TEST_CART, git, wait_for

BASE = {"cart.py": CART, "tests/test_cart.py": TEST_CART}


class Engine:
    """The way to the real engine, cut as when the engine stops: every connection ends, and no new one is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._real = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        assert self._listener is not None
        self.path.unlink()
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._real)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        # The engine tells the end of a stream from the end of the connection.
        sink.shutdown(socket.SHUT_WR)


def gave_up(human: Human) -> bool:
    return not is_running(human.directory) and isinstance(human.events()[-1], ev.SessionFinished)


@pytest.mark.docker
def test_the_engine_stops_in_the_middle_of_a_command(tmp_path: Path, default_image: str) -> None:
    command = "echo begun; sleep 2; echo done > slow.txt"
    engine = Engine(tmp_path / "engine")
    engine.start()
    server = Script(steps(call("write_file", path="a.txt", content="a\n"), call("run_command", command=command)))
    with scene(tmp_path, server, "docker", files=BASE) as human:
        human.env = {**human.env, "DOCKER_HOST": f"unix://{engine.path}"}
        human.until(lambda _: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        human.decide("accept", "a.txt")
        engine.stop()
        wait_for(lambda: gave_up(human), "the session to say that it cannot go on")
        failed = human.state()
        assert failed.status == "failed"
        assert "Docker" in failed.error
        engine.start()
        human.until(lambda state: state.stage == "review" and state.stage_open, "the review")
        if "slow.txt" in human.state().edits:
            human.decide("accept", "slow.txt")
        human.publish()
        human.until(lambda state: state.commit != "", "the commit")
        human.quit()
    engine.stop()
    state = human.state()
    assert git(human.repository, "show", f"{state.branch}:a.txt") == "a\n"
    assert git(human.repository, "rev-list", "--count", f"main..{state.branch}") == "1\n"
    accepted = [event for event in human.events() if isinstance(event, ev.Decision) and event.path == "a.txt"]
    assert len(accepted) == 1
    assert len({event.call_id for event in human.events() if isinstance(event, ev.ToolFinished)}) == len(
        [event for event in human.events() if isinstance(event, ev.ToolFinished)]
    )
