"""The kernel's surface, the network and secrets: many attempts in one run, each told by its own error."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.sandbox import engine
from backspace_tui.sandbox.bpf import REFUSED
from tests.sandbox.redteam.conftest import EVERY, Arena, _open
from tests.sandbox.redteam.probe import PROBE

SECRET = "sk-canary-3b1f0e9ad2c84477"
VARIABLES = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "BACKSPACE_CANARY")
COLUMN = 0 if platform.machine() == "x86_64" else 1
CALLS = {name: numbers[COLUMN] for name, numbers in REFUSED.items() if numbers[COLUMN] is not None}
# Local to the sandbox, with limits of their own in a container.
LIMITED = {"msgget", "semget", "shmget"}


@pytest.fixture(scope="module", params=EVERY)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the probe found, with this process's own listeners, files and secrets as targets."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret").write_text(SECRET)
    name = f"backspace-canary-{os.getpid()}"
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as open_sockets:
        for variable in VARIABLES:
            patch.setenv(variable, SECRET)
        listeners = [open_sockets.enter_context(socket.create_server((host, 0))) for host in ("127.0.0.1", "0.0.0.0")]
        for address in (str(folder / "host.sock"), "\0" + name):
            unix = open_sockets.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(address)
            unix.listen()
        settings = {
            "calls": {call: number for call, number in CALLS.items() if call not in LIMITED},
            "listening": [["127.0.0.1", listeners[0].getsockname()[1]], ["127.0.0.1", listeners[1].getsockname()[1]]],
            "abstract": [name],
            "sockets": [str(folder / "host.sock"), engine.find_endpoint().host.removeprefix("unix://")],
            "files": [str(folder / "secret"), str(Path.home() / ".bashrc"), str(Path(__file__)), "/etc/machine-id"],
            "secret": SECRET[::-1],
            "variables": VARIABLES,
        }
        for arena in _open(request, tmp_path_factory.mktemp("probed"), request.param):
            arena.box.write_file("probe.py", PROBE.encode())
            result = arena.box.run(["python3", "-I", "probe.py", json.dumps(settings)], timeout=100)
            assert result.exit_code == 0, result
            answer = json.loads(result.stdout)
            arena.box.rebuild()
            arena.recover()
            yield answer | {"arena": arena}


def having(found: dict[str, Any], prefix: str) -> dict[str, str]:
    return {name: said for name, said in found.items() if name.startswith(prefix) and isinstance(said, str)}


def test_the_dangerous_system_calls_are_filtered(found: dict[str, Any]) -> None:
    names = [name for name in CALLS if name not in LIMITED]
    assert len(names) >= 50
    assert {name: found[name] for name in names if found[name] != "EPERM"} == {}
    assert set(having(found, "clone ").values()) == {"EPERM"}
    assert found["clone3"] == "ENOSYS"
    assert found["personality"] == "EPERM"
    assert platform.machine() != "x86_64" or found["x32"] in ("SIGSYS", "EPERM", "ENOSYS")


def test_sockets_of_other_families_are_refused(found: dict[str, Any]) -> None:
    kinds = {name: said for name, said in having(found, "socket ").items() if "/" not in name}
    assert len(kinds) == 19
    assert set(kinds.values()) == {"EPERM"}
    assert set(having(found, "netlink ").values()) == {"EPERM"}
    assert set(having(found, "raw socket ").values()) == {"EPERM"}


def test_nobody_gains_a_privilege(found: dict[str, Any]) -> None:
    status = found["status"]
    assert {status[f"Cap{kind}"].strip("0") for kind in ("Inh", "Prm", "Eff", "Amb")} == {""}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert found["who"] in ([1000] * 6, [1000] * 7, [1000] * 6 + [65534])
    for name in ("setuid", "setgid", "setgroups", "chown", "chroot", "capset", "realtime"):
        assert found[name] in ("EPERM", "EINVAL"), name
    for name in ("nice up", "lock memory", "raise descriptors", "raise core"):
        assert found[name] in (
            "EPERM",
            "EACCES",
            "ENOMEM",
            "PermissionError",
            "ValueError: not allowed to raise maximum limit",
        ), (
            name,
            found[name],
        )
    assert found["setuid file"] == "ALLOWED 'nosuid'"
    assert found["setuid programs"] == "ALLOWED 'nothing gained'"
    assert set(having(found, "mknod ").values()) == {"EPERM"}
    assert found["descriptors"] == ["0", "1", "2"]


def test_the_supervisor_cannot_be_touched(found: dict[str, Any]) -> None:
    assert {*having(found, "ptrace ").values(), found["traceme"]} == {"EPERM"}
    reading = having(found, "supervisor ")
    assert len(reading) == 20
    if found["arena"].backend == "bubblewrap" and os.geteuid() == 0:
        del reading["supervisor fd"]  # the numbers alone: none of them can be opened
    assert {name: said for name, said in reading.items() if said not in ("EACCES", "EPERM", "ENOENT", "EIO")} == {}
    writing = having(found, "write supervisor ")
    assert len(writing) >= 6
    assert writing["write supervisor mem"] in ("EACCES", "EPERM")
    if found["arena"].backend == "docker":
        refused = ("EACCES", "EPERM", "EROFS", "EINVAL")
        assert {name: said for name, said in writing.items() if said not in refused} == {}


def test_the_supervisor_cannot_be_signalled_or_slowed(found: dict[str, Any]) -> None:
    if found["arena"].backend == "bubblewrap":
        pytest.skip("one user: the kernel protects the first process from signals alone")
    for name in ("signal", "pidfd", "sigqueue", "limit", "nice", "idle", "pin", "ioprio"):
        assert found[f"{name} supervisor"] in ("EPERM", "EACCES"), (name, found[f"{name} supervisor"])
    assert found["signal supervisor 0"] == "EPERM"


def test_proc_sys_and_devices_are_closed(found: dict[str, Any]) -> None:
    writes = having(found, "write /")
    assert len(writes) >= 50
    closed = ("EACCES", "EPERM", "EROFS", "ENOENT", "ENXIO", "EISDIR", "ENODEV", "ENOTDIR", "EBUSY", "ETXTBSY")
    assert {name: said for name, said in writes.items() if said not in closed} == {}
    for path in ("/proc/sys/kernel/core_pattern", "/etc/passwd", "/bin/sh"):
        assert writes[f"write {path}"] in ("EACCES", "EROFS", "ETXTBSY")
    folders = having(found, "mkdir in ")
    assert set(folders.values()) <= {"EACCES", "EROFS"}
    assert found["TIOCSTI"] != "ALLOWED"
    assert found["TIOCSTI tty"] in ("ENXIO", "EACCES", "EPERM", "EIO")


def test_nothing_runs_in_tmp(found: dict[str, Any]) -> None:
    if found["arena"].backend == "bubblewrap":
        pytest.skip("bubblewrap has no way to mount without execution")
    assert found["exec in /tmp"] == found["exec in /dev/shm"] == "EACCES"
    assert found["loader in /tmp"] == "ALLOWED 127"


def test_there_is_no_network(found: dict[str, Any]) -> None:
    tried = having(found, "connect ") | having(found, "send to ")
    assert len(tried) == 18
    away = ("ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EPERM")
    assert {name: said for name, said in tried.items() if said not in away} == {}
    assert {found["connect address"], found["connect metadata"], found["connect gateway"]} == {"ENETUNREACH"}
    assert {found["connect host 0"], found["connect host 1"]} == {"ECONNREFUSED"}
    assert not found["name"].startswith("ALLOWED")
    assert not found["name of the host"].startswith("ALLOWED")
    assert found["interfaces"] == ["lo"]


def test_no_socket_or_file_of_the_host_is_there(found: dict[str, Any]) -> None:
    assert found["abstract socket"] == "ECONNREFUSED"
    sockets = having(found, "socket /")
    assert len(sockets) in (8, 9)  # the engine's own socket may be one of the usual ones
    assert set(sockets.values()) <= {"ENOENT", "EACCES"}
    files = having(found, "file ")
    assert len(files) == 4
    own = "/etc/machine-id"  # an image may have one of its own
    assert {said for name, said in files.items() if not name.endswith(own)} <= {"ENOENT", "EACCES"}


@pytest.mark.docker
def test_no_secret_gets_in(found: dict[str, Any]) -> None:
    assert found["leaks"] == []
    if found["arena"].backend != "docker":
        return
    client = engine.connect()
    try:
        mine = [
            entry["Id"]
            for entry in client.api.containers(filters={"label": "io.backspace-tui.owner"})
            if str(os.getpid()) in entry["Labels"]["io.backspace-tui.owner"]
        ]
        assert mine
        for name in mine:
            assert SECRET not in json.dumps(client.api.inspect_container(name))
    finally:
        client.close()


def test_the_containers_resolver_is_nobodys(found: dict[str, Any]) -> None:
    arena: Arena = found["arena"]
    said = arena.box.run("cat /etc/resolv.conf; :").stdout.decode()
    host = set(re.findall(r"(?m)^(?:nameserver|search|domain)\s+(.*)$", Path("/etc/resolv.conf").read_text()))
    inside = set(re.findall(r"(?m)^(?:nameserver|search|domain)\s+(.*)$", said))
    assert not (inside & host) - {"127.0.0.1", "."}
