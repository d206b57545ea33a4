"""Sandboxes as containers: hardened, without a bind mount, and gone when their client is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backspace_tui.core.protocols import SandboxError
from backspace_tui.paths import resource_dir
from backspace_tui.sandbox import engine
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.limits import Limits

if TYPE_CHECKING:
    from docker import DockerClient

UID: Final = 1000
HOME: Final = "/home/agent"
SUPERVISOR: Final = "/usr/lib/backspace/supervisor.py"
LABEL: Final = "io.backspace-tui.owner"
_FRAME: Final = struct.Struct(">BxxxL")


def environment(home: str = HOME) -> dict[str, str]:
    """What a command sees; nothing of the host's own environment gets in."""
    return {
        "PATH": f"{home}/.venv/bin:/opt/venv/bin:{home}/.local/bin:/usr/local/sbin:/usr/local/bin:"
        "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": home,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "TMPDIR": f"{home}/tmp",
        "VIRTUAL_ENV": f"{home}/.venv",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "CI": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "NO_COLOR": "1",
    }


class _Attached:
    """A container's streams on one hijacked connection: plain bytes in, frames of stdout and stderr out."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        # docker-py wraps the socket in a file object whose buffering is of no use here; TLS sockets come bare.
        raw = getattr(stream, "_sock", stream)
        self._socket: socket.socket = raw
        raw.settimeout(None)
        self._buffer = bytearray()
        self.errors = bytearray()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        while True:
            while len(self._buffer) >= _FRAME.size:
                kind, size = _FRAME.unpack_from(self._buffer)
                if len(self._buffer) < _FRAME.size + size:
                    break
                data = bytes(self._buffer[_FRAME.size : _FRAME.size + size])
                del self._buffer[: _FRAME.size + size]
                if kind == 1 and data:
                    return data
                self.errors = (self.errors + data)[-4096:]
            more = self._socket.recv(256 * 1024)
            if not more:
                return b""
            self._buffer += more

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for part in (self._socket, self._stream):
            with contextlib.suppress(OSError, AttributeError):
                part.close()


class ContainerChannel:
    """The channel to the supervisor that is PID 1 of a container."""

    def __init__(self, client: DockerClient, container: str, attached: _Attached) -> None:
        self._client, self._container, self._attached = client, container, attached
        self._kill_once = threading.Lock()
        self._killed = False

    def send(self, data: bytes) -> None:
        self._attached.send(data)

    def receive(self) -> bytes:
        data = self._attached.receive()
        if not data and self._attached.errors and not self._killed:
            lines = self._attached.errors.decode(errors="replace").strip().splitlines()
            raise OSError(lines[-1][:200])
        return data

    def kill(self) -> None:
        with self._kill_once:
            if self._killed:
                return
            self._killed = True
            self._attached.close()
            # Also where auto-remove is at work already; "no such container" is what we want.
            _remove(self._client, self._container)
            self._client.close()


def _remove(client: DockerClient, container: str) -> None:
    from docker.errors import APIError, NotFound

    with contextlib.suppress(NotFound, APIError, OSError):
        client.api.remove_container(container, force=True, v=True)


def security_options() -> list[str]:
    """Our own seccomp profile and no new privileges."""
    profile = json.loads((resource_dir("sandbox") / "seccomp.json").read_text())
    return ["no-new-privileges", "seccomp=" + json.dumps(profile, separators=(",", ":"))]


def supervisor_settings() -> str:
    return json.dumps({"uid": UID, "workspace": "/workspace", "home": HOME})


def create(client: DockerClient, image: str, limits: Limits, *, network: str, labels: Mapping[str, str]) -> str:
    """Create, but do not start, a hardened container that runs the supervisor; returns its id."""
    from docker.types import Healthcheck, LogConfig, Ulimit

    api: Any = client.api
    owner = f"uid={UID},gid={UID},mode=0755"
    host_config = api.create_host_config(
        network_mode=network,
        cap_drop=["ALL"],
        cap_add=["SETUID", "SETGID", "KILL"],
        read_only=True,
        security_opt=security_options(),
        mem_limit=limits.total_memory,
        memswap_limit=limits.total_memory,
        pids_limit=limits.pids,
        nano_cpus=int(limits.cpus * 1e9),
        auto_remove=True,
        shm_size=64 * 1024 * 1024,
        tmpfs={
            "/workspace": f"rw,exec,nosuid,nodev,size={limits.workspace},nr_inodes={limits.inodes},{owner}",
            HOME: f"rw,exec,nosuid,nodev,size={limits.home},nr_inodes={limits.inodes},{owner}",
            "/tmp": f"rw,noexec,nosuid,nodev,size={limits.tmp},nr_inodes={limits.inodes},mode=1777",
        },
        ulimits=[
            Ulimit(name="fsize", soft=limits.workspace, hard=limits.workspace),
            Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files),
            Ulimit(name="core", soft=0, hard=0),
        ],
        # What travels over standard output is our protocol: nothing to keep on the host's disk.
        log_config=LogConfig(type="none", config={}),
        ipc_mode="private",
    )
    config = api.create_container_config(
        image,
        ["python3", "-I", "-S", SUPERVISOR, supervisor_settings()],
        entrypoint=[],
        user="0:0",
        environment=environment(),
        working_dir="/workspace",
        stdin_open=True,
        labels=dict(labels),
        host_config=host_config,
        hostname="sandbox",
        healthcheck=Healthcheck(test=["NONE"]),
    )
    # The engine closes the container's input when its one client goes, however it goes; the supervisor then ends.
    config["StdinOnce"] = True
    config["AttachStdin"] = config["AttachStdout"] = config["AttachStderr"] = True
    created = api.create_container_from_config(config, f"backspace-{uuid.uuid4().hex[:12]}")
    return str(created["Id"])


def open_container(
    image: str,
    limits: Limits,
    *,
    network: str = "none",
    session: str = "",
    purpose: str = "",
) -> SupervisedSandbox:
    """Start a sandbox from the image with the id ``image``.

    Raises:
        SandboxError: the engine, the image or the limits do not allow it.
    """
    if network != "none":
        raise SandboxError(f"[sandbox] network = {network!r} is not supported; it is none")
    client = engine.connect()
    container = ""
    try:
        container = _guarded(
            lambda: create(client, image, limits, network=network, labels=owner_labels(session, purpose))
        )
        attached = _Attached(
            _guarded(
                lambda: client.api.attach_socket(
                    container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
                )
            )
        )
        _guarded(lambda: client.api.start(container))
        return SupervisedSandbox(ContainerChannel(client, container, attached), "docker, no net", limits)
    except BaseException:
        if container:
            _remove(client, container)
        client.close()
        raise


def _guarded(call: Callable[[], Any]) -> Any:
    """The engine's refusals as one line that says what to do."""
    import requests
    from docker.errors import APIError, ImageNotFound

    try:
        return call()
    except ImageNotFound:
        raise SandboxError("the sandbox image is missing: backspace-tui sandbox build") from None
    except APIError as error:
        text = " ".join(str(error.explanation or error).split())[:200]
        if "no space left" in text:
            raise SandboxError(f"the engine's disk is full ({text}): docker system df") from None
        if "CPUs" in text or "cpus" in text.lower():
            raise SandboxError(f"[sandbox] cpus does not fit this engine ({text})") from None
        raise SandboxError(f"the engine refused the sandbox: {text}") from None
    except (requests.exceptions.RequestException, OSError) as error:
        raise SandboxError(f"the engine went away: {' '.join(str(error).split())[:160]}") from None


# Leftovers


def boot_id() -> str:
    """Identifies this boot of this machine, so that a pid of another one is never mistaken for ours."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}"


def start_time(pid: int) -> str:
    """When a process of this machine began, in a form that only compares; empty where there is none."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running" if not Path("/proc/self/stat").exists() else ""


def owner_labels(session: str, purpose: str) -> dict[str, str]:
    """Who made a container: enough to tell later whether that process still lives."""
    pid = os.getpid()
    return {
        LABEL: json.dumps([boot_id(), pid, start_time(pid)]),
        "io.backspace-tui.session": session,
        "io.backspace-tui.purpose": purpose,
    }


def owner_is_gone(label: str) -> bool:
    """Whether the process of an owner label no longer runs. Another machine's is never judged."""
    try:
        boot, pid, started = json.loads(label)
    except (ValueError, TypeError):
        return False
    if boot != boot_id():
        # After a reboot of the same machine no process of before is left, but a remote engine serves many.
        return engine.find_endpoint().host.startswith("unix://")
    return bool(start_time(int(pid)) != started)


def prune() -> int:
    """Remove containers and volumes whose owner died; returns how many.

    Raises:
        EngineError: no engine answers.
    """
    client = engine.connect()
    try:
        removed = 0
        for found in client.api.containers(all=True, filters={"label": LABEL}):
            if owner_is_gone(found["Labels"].get(LABEL, "")):
                _remove(client, found["Id"])
                removed += 1
        for volume in (client.api.volumes(filters={"label": LABEL}) or {}).get("Volumes") or ():
            if owner_is_gone((volume.get("Labels") or {}).get(LABEL, "")):
                with contextlib.suppress(Exception):
                    client.api.remove_volume(volume["Name"], force=True)
                    removed += 1
        return removed
    finally:
        client.close()
