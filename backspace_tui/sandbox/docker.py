"""Sandboxes as containers: hardened, without a bind mount, and gone when their client is."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backspace_tui.core.protocols import SandboxError
from backspace_tui.paths import resource_dir
from backspace_tui.sandbox import engine, leftovers
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.leftovers import LABEL, boot_id, owner_is_gone, owner_labels, prune, start_time
from backspace_tui.sandbox.limits import Limits
from backspace_tui.sandbox.refusals import refusal, unlimited

if TYPE_CHECKING:
    from docker import DockerClient

UID: Final = 1000
HOME: Final = "/home/agent"
SUPERVISOR: Final = "/usr/lib/backspace/supervisor.py"
SHARED_MEMORY: Final = 64 * 1024 * 1024
# System V objects outlive their processes, which nothing but a limit of their own ends.
SYSCTLS: Final = {
    "kernel.shmmax": str(SHARED_MEMORY),
    "kernel.shmall": str(SHARED_MEMORY // 4096),
    "kernel.shm_rmid_forced": "1",
    "kernel.msgmni": "16",
}
__all__ = ["LABEL", "boot_id", "open_container", "owner_is_gone", "owner_labels", "prune", "start_time"]

COMMIT_SECONDS: Final = 900
_FRAME: Final = struct.Struct(">BxxxL")


SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(home: str = HOME, path: str = "") -> dict[str, str]:
    """What a command sees; nothing of the host's own environment gets in. ``path`` holds an image's own folders."""
    return {
        "PATH": ":".join(filter(None, (f"{home}/.venv/bin:/opt/venv/bin:{home}/.local/bin", path, SYSTEM_PATH))),
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

    def commit(self, name: str, changes: list[str]) -> str:
        """Keep the container's file system, mounts excepted, as the image ``name``; returns the image's id."""
        repository, _, tag = name.rpartition(":")
        api: Any = self._client.api
        # Large layers take their time.
        api.timeout = COMMIT_SECONDS
        return str(_guarded(lambda: api.commit(self._container, repository, tag, changes=changes))["Id"])

    def kill(self) -> None:
        with self._kill_once:
            if self._killed:
                return
            self._killed = True
            self._attached.close()
            # Also where auto-remove is at work already; "no such container" is what we want.
            leftovers.remove(self._client, self._container)
            self._client.close()


def security_options() -> list[str]:
    """Our own seccomp profile and no new privileges."""
    profile = json.loads((resource_dir("sandbox") / "seccomp.json").read_text())
    return ["no-new-privileges", "seccomp=" + json.dumps(profile, separators=(",", ":"))]


@dataclass(frozen=True)
class Kind:
    """What a container is for. A sandbox's root file system cannot be written; a build's can, and is kept.

    ``root``: its commands run as root, with what package managers need. ``network`` is the engine's name of one.
    """

    build: bool = False
    root: bool = False
    network: str = "none"

    @property
    def capabilities(self) -> list[str]:
        more = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"] if self.root else []
        return ["SETUID", "SETGID", "KILL", *more]


SANDBOX: Final = Kind()


def supervisor_settings(kind: Kind = SANDBOX, max_age: float | None = None) -> str:
    uid = None if kind.root else UID
    return json.dumps({"uid": uid, "workspace": "/workspace", "home": HOME, "max_age": max_age})


def create(client: DockerClient, image: str, limits: Limits, *, labels: Mapping[str, str], kind: Kind = SANDBOX) -> str:
    """Create, but do not start, a hardened container that runs the supervisor; returns its id."""
    from docker.types import Healthcheck, LogConfig, Ulimit

    api: Any = client.api
    owner = f"uid={UID},gid={UID},mode=0755"
    host_config = api.create_host_config(
        network_mode=kind.network,
        cap_drop=["ALL"],
        cap_add=kind.capabilities,
        read_only=not kind.build,
        security_opt=security_options(),
        mem_limit=limits.total_memory,
        memswap_limit=limits.total_memory,
        pids_limit=limits.pids,
        nano_cpus=int(limits.cpus * 1e9),
        auto_remove=True,
        tmpfs={
            # The engine's own /dev/shm has no end of inodes.
            "/dev/shm": f"rw,noexec,nosuid,nodev,size={SHARED_MEMORY},nr_inodes={limits.inodes},mode=1777",
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
        sysctls=SYSCTLS,
        # The host's resolvers and search domains are of no use here, and nobody's business.
        dns=["127.0.0.1"] if kind.network == "none" else None,
        dns_search=["."] if kind.network == "none" else None,
    )
    config = api.create_container_config(
        image,
        ["python3", "-I", "-S", SUPERVISOR, supervisor_settings(kind, limits.max_age)],
        entrypoint=[],
        user="0:0",
        environment=environment(path=_own_path(api, image)),
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
    if problem := unlimited(created.get("Warnings")):
        leftovers.remove(client, created["Id"])
        raise SandboxError(problem)
    return str(created["Id"])


def _own_path(api: Any, image: str) -> str:
    """The folders of an image's PATH that are not everywhere (``/usr/local/go/bin``)."""
    found = _guarded(lambda: api.inspect_image(image))["Config"].get("Env") or ()
    own = next((entry.removeprefix("PATH=") for entry in found if entry.startswith("PATH=")), "")
    known = set(environment()["PATH"].split(":"))
    return ":".join(folder for folder in own.split(":") if folder and folder not in known)


def open_container(
    image: str, limits: Limits, *, session: str = "", purpose: str = "", most: int | None = None
) -> SupervisedSandbox:
    """Start a sandbox from the image with the id ``image``; ``most`` sessions of this user may hold one at once.

    Raises:
        SandboxError: the engine, the image or the limits do not allow it.
    """
    return open_kind(image, limits, SANDBOX, session=session, purpose=purpose, most=most)[0]


def open_kind(
    image: str, limits: Limits, kind: Kind, *, session: str = "", purpose: str = "", most: int | None = None
) -> tuple[SupervisedSandbox, ContainerChannel]:
    """As :func:`open_container`, for any kind of container; the channel can :meth:`~ContainerChannel.commit` it."""

    def start() -> ContainerChannel:
        return start_container(image, limits, kind, session=session, purpose=purpose, most=most)

    channel = start()
    return SupervisedSandbox(channel, "docker, no net", limits, None if kind.build else start), channel


def start_container(
    image: str, limits: Limits, kind: Kind, *, session: str, purpose: str, most: int | None
) -> ContainerChannel:
    """Create and start a container, and remove it where that fails; its supervisor's first words are still to come."""
    client = engine.connect()
    container = ""
    try:
        labels = owner_labels(session, purpose, limits.max_age)
        with leftovers.one_at_a_time() if most is not None else contextlib.nullcontext():
            present = leftovers.sweep(client, _guarded(lambda: leftovers.list_ours(client)))
            if most is not None:
                leftovers.check_room(present, labels, most)
            container = _guarded(lambda: create(client, image, limits, labels=labels, kind=kind))
        attached = _Attached(
            _guarded(
                lambda: client.api.attach_socket(
                    container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
                )
            )
        )
        _guarded(lambda: client.api.start(container))
        return ContainerChannel(client, container, attached)
    except BaseException:
        if container:
            leftovers.remove(client, container)
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
        raise SandboxError(refusal(str(error.explanation or error))) from None
    except (requests.exceptions.RequestException, OSError) as error:
        raise SandboxError(f"the engine went away: {' '.join(str(error).split())[:160]}") from None
