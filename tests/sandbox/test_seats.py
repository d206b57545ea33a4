"""How many sessions hold sandboxes where no engine counts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.sandbox import seats
from backspace_tui.sandbox.factory import Factory

HOLDER = """
import sys
from backspace_tui.sandbox import seats
seat = seats.take("other", 9)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_sessions_are_counted_and_not_their_sandboxes() -> None:
    agent, verifier = seats.take("one", 1), seats.take("one", 1)
    with pytest.raises(SandboxError, match=r"1 session holds a sandbox already, and \[sandbox\] max_sandboxes = 1"):
        seats.take("two", 1)
    agent.release()
    agent.release()
    with pytest.raises(SandboxError):
        seats.take("two", 1)
    verifier.release()
    seats.take("two", 1).release()
    own, other = seats.take("", 1), seats.take("", 1)
    own.release()
    other.release()


def test_a_killed_process_holds_nothing(data: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SandboxError, match="1 session"):
            seats.take("mine", 1)
        holder.kill()
    seat = seats.take("mine", 1)
    assert len(list((data / "seats").iterdir())) == 1
    seat.release()


def test_no_place_to_write_refuses_nobody(data: Path) -> None:
    data.write_text("a file")
    seats.take("one", 1).release()


@pytest.mark.bubblewrap
def test_a_bubblewrap_sandbox_holds_its_seat_until_it_is_closed(bubblewrap: str) -> None:
    factory = Factory(SandboxSpec(backend="bubblewrap", max_sandboxes=1))
    with factory.open({}, session="one", purpose="agent") as box:
        with factory.open({}, session="one", purpose="verify") as verifier:
            assert verifier.run("echo 1").stdout == b"1\n"
        with pytest.raises(SandboxError, match="max_sandboxes = 1"):
            factory.open({}, session="two", purpose="agent")
        box.rebuild()
        with pytest.raises(SandboxError, match="max_sandboxes = 1"):
            factory.open({}, session="two", purpose="agent")
    with factory.open({}, session="two", purpose="agent") as box:
        assert box.run("echo 1").stdout == b"1\n"


@pytest.mark.bubblewrap
def test_the_doctor_s_look_is_not_counted_and_leaves_nothing(bubblewrap: str, data: Path) -> None:
    factory = Factory(SandboxSpec(backend="bubblewrap", max_sandboxes=1))
    with factory.open({}, session="doctor", purpose="doctor"):
        assert not data.exists()
        with (
            factory.open({}, session="one", purpose="agent"),
            factory.open({}, session="doctor", purpose="doctor") as box,
        ):
            assert box.run("echo 1").stdout == b"1\n"
