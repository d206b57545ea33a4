"""What only a container does: hardening, limits, and ending with its client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sandbox import docker, engine, images
from backspace_tui.sandbox.engine import EngineStatus
from backspace_tui.sandbox.factory import Factory
from tests.sandbox.conftest import Opener
from tests.sandbox.support import CLIENT, until

pytestmark = pytest.mark.docker


def containers(session: str) -> list[str]:
    client = engine.connect()
    try:
        found = client.api.containers(all=True, filters={"label": f"io.backspace-tui.session={session}"})
        return [entry["Id"] for entry in found]
    finally:
        client.close()


ATTACKS = """
import ctypes, errno, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def denied(name, call):
    try:
        ok = call() in (-1, False)
    except OSError:
        ok = True
    print(name, "denied" if ok else "ALLOWED")
x86 = dict(ptrace=101,
           bpf=321, keyctl=250, unshare=272, setns=308, mount=165, process_vm_readv=310, perf_event_open=298,
           userfaultfd=323, io_uring_setup=425)
arm = dict(ptrace=117, bpf=280, keyctl=219, unshare=97, setns=268, mount=40, process_vm_readv=270, perf_event_open=241,
           userfaultfd=282, io_uring_setup=425)
is_x86 = os.uname().machine == "x86_64"
for name, number in (x86 if is_x86 else arm).items():
    denied(name, lambda: libc.syscall(number, 0, 0, 0, 0, 0))
denied("clone newuser", lambda: libc.syscall(56 if is_x86 else 220, 0x10000000 | 17, 0, 0, 0, 0))
for family, kind in ((17, 3), (38, 5), (40, 1)):
    denied(f"socket {family}", lambda: socket.socket(family, kind))
denied("setuid", lambda: os.setuid(0))
denied("kill pid 1", lambda: os.kill(1, 9))
denied("write root", lambda: open("/usr/x", "w"))
denied("write proc", lambda: open("/proc/sys/kernel/core_pattern", "w"))
denied("pid 1 memory", lambda: open("/proc/1/mem", "rb"))
denied("pid 1 pipes", lambda: os.listdir("/proc/1/fd"))
denied("network", lambda: socket.create_connection(("1.1.1.1", 53), 2))
denied("name lookup", lambda: socket.getaddrinfo("example.com", 80))
os.makedirs("/tmp/t"); open("/tmp/t/x", "w").write("#!/bin/sh\\n"); os.chmod("/tmp/t/x", 0o755)
denied("exec in /tmp", lambda: subprocess.run(["/tmp/t/x"]).returncode)
"""


def test_the_container_holds(opener: Opener) -> None:
    box = opener("docker", {"attack.py": File(REGULAR, ATTACKS.encode())})
    result = box.run("python3 attack.py; id -u; ls /sys/class/net; ls -A /home")
    lines = result.stdout.decode().splitlines()
    assert [line for line in lines if "ALLOWED" in line] == []
    assert sum("denied" in line for line in lines) == 23
    assert lines[-3:] == ["1000", "lo", "agent"]
    assert box.label == "docker, no net"


def test_the_container_is_what_we_asked_for(opener: Opener) -> None:
    box = opener("docker")
    assert box.alive
    (name,) = containers("test")
    client = engine.connect()
    found = client.api.inspect_container(name)
    client.close()
    host = found["HostConfig"]
    assert not host["Binds"]
    assert found["Mounts"] == []
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert sorted(host["CapAdd"]) == ["KILL", "SETGID", "SETUID"]
    assert host["AutoRemove"]
    assert host["LogConfig"]["Type"] == "none"
    assert host["Memory"] == host["MemorySwap"] == box.limits.total_memory
    assert host["PidsLimit"] == 512
    assert found["Image"].startswith("sha256:")
    assert found["Config"]["StdinOnce"]


def test_tools_of_the_default_image(opener: Opener) -> None:
    box = opener(
        "docker", {"t.c": File(REGULAR, b"int main(){return 3;}"), "x.py": File(REGULAR, b"def test_x(): pass\n")}
    )
    assert box.run("gcc t.c -o t && ./t").exit_code == 3
    for command in ("node -e 'process.exit(0)'", "npm --version", "rg -q main t.c", "make --version", "pytest -q x.py"):
        result = box.run(command)
        assert result.exit_code == 0, (command, result)
    assert box.run("git status --porcelain -uno; git log --format=%s; git remote").stdout.startswith(b"The state")
    where = box.run("for i in python python3 pip pytest; do command -v $i; done").stdout.split()
    assert where == [f"/home/agent/.venv/bin/{name}".encode() for name in ("python", "python3", "pip", "pytest")]


def test_the_venv_can_be_installed_into(opener: Opener) -> None:
    project = (
        b"[project]\nname='thing'\nversion='1'\n[project.scripts]\nthing='thing:main'\n"
        b"[build-system]\nrequires=['setuptools']\nbuild-backend='setuptools.build_meta'\n"
    )
    box = opener(
        "docker", {"pyproject.toml": File(REGULAR, project), "thing.py": File(REGULAR, b"def main(): print('ran')\n")}
    )
    result = box.run("pip install --no-build-isolation --no-deps -e . && cd / && thing && python -c 'import thing'")
    assert (result.exit_code, result.stdout[-4:]) == (0, b"ran\n"), result


def test_a_fork_bomb_ends_and_the_sandbox_goes_on(opener: Opener) -> None:
    box = opener("docker", profile="strict")
    result = box.run("(b(){ b|b& };b) & while :; do :; done", timeout=1)
    assert result.timed_out
    assert box.run("echo fine", timeout=20).stdout == b"fine\n"
    result = box.run("i=0; while [ $i -lt 300 ]; do sleep 9 & i=$((i+1)); done; exit 1")
    assert result.limit == "[sandbox] pids (now 100)"


def test_limits_are_named(opener: Opener) -> None:
    box = opener("docker", profile="strict")
    result = box.run(["python3", "-c", "b = b'1' * (2 << 30)"])
    assert result.exit_code != 0
    assert result.limit == "[sandbox] memory (now 512m)"
    result = box.run("head -c 300M /dev/zero > big")
    assert result.exit_code != 0
    assert box.run("dd if=/dev/zero of=more bs=1M; exit 1").limit == "[sandbox] workspace (now 200m)"
    with pytest.raises(SandboxError, match="workspace"):
        box.write_file("f", b"x" * 300_000)
    box.load({"a": File(REGULAR, b"1")})
    assert box.export() == {"a": File(REGULAR, b"1")}
    with pytest.raises(SandboxError, match="workspace"):
        box.load({f"{n}": File(REGULAR, b"x" * 70_000_000) for n in range(3)})


def test_nothing_outlives_a_killed_client(default_image: str) -> None:
    with subprocess.Popen([sys.executable, "-c", CLIENT, "docker", "30"], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        assert len(containers("killed")) == 1
        client.send_signal(signal.SIGKILL)
        client.wait()
        assert until(lambda: not containers("killed"), 10)


def test_prune_takes_only_what_is_orphaned(slim_image: str, opener: Opener) -> None:
    opener("docker")
    client = engine.connect()
    gone = subprocess.Popen(["true"])
    gone.wait()
    label = json.dumps([docker.boot_id(), gone.pid, "1"])
    stale = client.api.create_container(
        slim_image, ["true"], labels={docker.LABEL: label, "io.backspace-tui.session": "stale"}
    )
    client.close()
    assert stale["Id"] in containers("stale")
    assert docker.prune() >= 1
    assert containers("stale") == []
    client = engine.connect()
    client.api.create_container(slim_image, ["true"], labels={docker.LABEL: label, "io.backspace-tui.session": "stale"})
    client.close()
    opener("docker").close()  # opening the first sandbox of a session prunes as well
    assert containers("stale") == []
    assert len(containers("test")) == 1


def test_a_dead_container_is_noticed(opener: Opener) -> None:
    box = opener("docker")
    client = engine.connect()
    (name,) = containers("test")
    client.api.kill(name)
    client.close()
    assert until(lambda: not box.alive)
    with pytest.raises(SandboxError, match="gone"):
        box.run("true")


def test_a_context_is_followed(docker_engine: EngineStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = engine.find_endpoint()
    import hashlib

    identity = hashlib.sha256(b"mine").hexdigest()
    meta = tmp_path / "contexts/meta" / identity
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": "mine", "Endpoints": {"docker": {"Host": endpoint.host}}}))
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "mine"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    status = engine.probe_engine()
    assert status.ok
    assert status.context == "mine"
    assert status.version == docker_engine.version


def test_images_are_told_apart_by_content(default_image: str, slim_image: str) -> None:
    assert images.image_status("default").id == default_image != slim_image
    assert images.image_status("slim").ok
    with pytest.raises(SandboxError, match="cannot be pulled"):
        Factory(SandboxSpec(image="backspace-tui/no-such-image:1")).image_id()


def test_an_image_of_the_users_gets_the_supervisor(opener: Opener, slim_image: str) -> None:
    box = opener("docker", image=images.base_name("slim"))
    assert box.run("echo $USER").stdout == b"agent\n"
    assert os.path.basename(images.base_name("slim")) != "slim"
