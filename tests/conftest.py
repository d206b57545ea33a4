"""Fixtures that several rings share: a real engine, its images, bubblewrap, a real local model."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from backspace_tui.sandbox.bubblewrap import probe_bubblewrap
from backspace_tui.sandbox.engine import EngineStatus, probe_engine
from backspace_tui.sessions.store import is_running
from tests.models.llama_server import LlamaServer, missing_model
from tests.program import Program, make_repository, processes_of, wait_for
from tests.terminal import Sshd, Tmux


def missing(what: str) -> None:
    """Skip a test for want of ``what``; where everything must be there (BACKSPACE_CI=1), fail."""
    if os.environ.get("BACKSPACE_CI") == "1":
        pytest.fail(f"BACKSPACE_CI=1, but {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def docker_engine() -> EngineStatus:
    """A Docker Engine that answers."""
    status = probe_engine()
    if not status.ok:
        missing(f"{status.problem}: {status.fix}")
    return status


@pytest.fixture(scope="session")
def slim_image(docker_engine: EngineStatus) -> str:
    """The id of the slim image, made where it is missing."""
    from backspace_tui.sandbox.images import ensure_image

    return ensure_image("slim")


@pytest.fixture(scope="session")
def default_image(docker_engine: EngineStatus) -> str:
    """The id of the default image, made where it is missing."""
    from backspace_tui.sandbox.images import ensure_image

    return ensure_image("default")


@pytest.fixture(scope="session")
def bubblewrap() -> str:
    """A bubblewrap that works here."""
    problem = probe_bubblewrap()
    if problem:
        missing(problem)
    return "bubblewrap"


@pytest.fixture
def program(tmp_path: Path, bubblewrap: str) -> Iterator[Program]:
    """The program with a home of its own; the processes of its sessions end with the test."""
    program = Program(tmp_path)
    program.env["LANG"] = "C.UTF-8"
    yield program
    for session in program.sessions:
        for pid in processes_of(session):
            os.kill(pid, signal.SIGTERM)
        wait_for(partial(_ended, session), "the session's process to end")


def _ended(session: Path) -> bool:
    return not is_running(session)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a cart whose one test fails."""
    return make_repository(tmp_path / "shop")


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    """A terminal of our own."""
    if shutil.which("tmux") is None:
        missing("tmux is not installed: apt-get install tmux")
    terminal = Tmux()
    yield terminal
    terminal.close()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin") is None:
        missing("sshd is not installed: apt-get install openssh-server")
    server = Sshd(tmp_path / "sshd")
    try:
        if why := server.refusal():
            missing(f"this user cannot log in over the sshd: {why}")
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def local_model() -> Iterator[LlamaServer]:
    """A real language model behind llama.cpp's server."""
    if problem := missing_model():
        missing(problem)
    with LlamaServer() as server:
        yield server
