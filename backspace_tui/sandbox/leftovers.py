"""What belongs to whom on an engine: labels, leftovers of dead owners, and how many sessions hold sandboxes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backspace_tui import paths, private
from backspace_tui.core.protocols import SandboxError
from backspace_tui.sandbox import engine

if TYPE_CHECKING:
    from docker import DockerClient

LABEL: Final = "io.backspace-tui.owner"
USER: Final = "io.backspace-tui.user"
SESSION: Final = "io.backspace-tui.session"
PURPOSE: Final = "io.backspace-tui.purpose"
MAX_AGE: Final = "io.backspace-tui.max-age"
IMAGE: Final = "io.backspace-tui.image"
NOT_COUNTED: Final = ("build", "setup", "doctor")
GRACE_SECONDS: Final = 300.0  # the supervisor ends itself at the same age; another machine's clock may differ
HALF_MADE_SECONDS: Final = 3600.0  # what is being made has no name for a moment
LOCK_SECONDS: Final = 30.0

Entry = Mapping[str, Any]
"""A container as the engine lists it."""


# Who we are


def boot_id() -> str:
    """Identifies this boot of this machine, so that a pid of another one is never mistaken for ours."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


@cache
def machine_id() -> str:
    """Identifies this machine over its boots, without telling which it is."""
    known = ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError, ValueError):
            known = known or Path(path).read_text().strip()
    return hashlib.sha256(f"backspace-tui {known or platform.node()}".encode()).hexdigest()[:16]


def pid_namespace() -> str:
    """Where pids mean what they mean to us: a program inside a container shares the boot, but not the pids."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


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


def user_label() -> str:
    """This user of this machine, with one place for their sessions."""
    place = hashlib.sha256(os.fsencode(paths.data_dir())).hexdigest()[:8]
    return f"{machine_id()}:{os.getuid()}:{place}"


def owner_labels(session: str, purpose: str, max_age: float | None = None) -> dict[str, str]:
    """Who made a container: enough to tell later whether that process still lives."""
    pid = os.getpid()
    labels = {
        LABEL: json.dumps([boot_id(), pid, start_time(pid), machine_id(), pid_namespace()]),
        USER: user_label(),
        SESSION: session,
        PURPOSE: purpose,
    }
    if max_age is not None:
        labels[MAX_AGE] = f"{max_age:g}"
    return labels


# What is left over


def owner_is_gone(label: str) -> bool:
    """Whether the process of an owner label surely no longer runs; another machine's or namespace's is never judged."""
    try:
        boot, pid, started, *where = json.loads(label)
        pid = int(pid)
    except (ValueError, TypeError):
        return False
    if where and where[0] != machine_id():
        return False
    if boot != boot_id():
        # No process of before a reboot is left, where it surely was this machine.
        return bool(where)
    if len(where) > 1 and where[1] != pid_namespace():
        return False
    return bool(start_time(pid) != started)


def too_old(entry: Entry, now: float) -> bool:
    """Whether a container is older than its own label allows, whoever made it."""
    try:
        allowed = float((entry.get("Labels") or {})[MAX_AGE])
    except (KeyError, ValueError):
        return False
    return now - float(entry.get("Created", now)) > allowed + GRACE_SECONDS


def is_leftover(entry: Entry, now: float) -> bool:
    """Whether a container's owner is dead, or it is too old; its label may still be its image's."""
    return owner_is_gone((entry.get("Labels") or {}).get(LABEL, "")) or too_old(entry, now)


def list_ours(client: DockerClient) -> list[Entry]:
    """The containers with our label, of all users and machines of the engine."""
    api: Any = client.api
    return list(api.containers(all=True, filters={"label": LABEL}))


def sweep(client: DockerClient, entries: Iterable[Entry]) -> list[Entry]:
    """Remove the leftovers among ``entries``; returns the others."""
    kept = []
    for entry in entries:
        if is_leftover(entry, time.time()) and not _label_is_inherited(client, entry):
            remove(client, entry["Id"])
        else:
            kept.append(entry)
    return kept


def _label_is_inherited(client: DockerClient, entry: Entry) -> bool:
    """An image keeps the labels of the container it was made in, and gives them to containers that are not ours."""
    from docker.errors import APIError

    api: Any = client.api
    try:
        labels = api.inspect_image(entry["ImageID"])["Config"].get("Labels") or {}
    except (APIError, KeyError, OSError):
        return False
    return LABEL in labels and labels[LABEL] == entry["Labels"].get(LABEL)


def remove(client: DockerClient, container: str) -> None:
    """Remove a container with its volumes, also where it is gone already."""
    from docker.errors import APIError

    with contextlib.suppress(APIError, OSError):
        client.api.remove_container(container, force=True, v=True)


def prune() -> int:
    """Remove containers, volumes and half-made images whose owner died; returns how many.

    Raises:
        EngineError: no engine answers.
    """
    client = engine.connect()
    try:
        entries = list_ours(client)
        removed = len(entries) - len(sweep(client, entries))
        return removed + _prune_volumes(client) + _prune_images(client)
    finally:
        client.close()


def _prune_volumes(client: DockerClient) -> int:
    from docker.errors import APIError

    removed = 0
    for volume in (client.api.volumes(filters={"label": LABEL}) or {}).get("Volumes") or ():
        if owner_is_gone((volume.get("Labels") or {}).get(LABEL, "")):
            with contextlib.suppress(APIError, OSError):
                client.api.remove_volume(volume["Name"], force=True)
                removed += 1
    return removed


def _prune_images(client: DockerClient) -> int:
    """Images of ours without a name, once nobody can be making them any more."""
    from docker.errors import APIError

    api: Any = client.api
    removed = 0
    for image in api.images(filters={"dangling": True, "label": IMAGE}):
        if time.time() - float(image["Created"]) > HALF_MADE_SECONDS:
            # One that a container uses is refused, and stays.
            with contextlib.suppress(APIError, OSError):
                api.remove_image(image["Id"])
                removed += 1
    return removed


# How many there may be


def holders(entries: Iterable[Entry], user: str) -> set[str]:
    """The sessions of ``user`` that hold sandboxes, and the processes that do so without a session."""
    found = set()
    for entry in entries:
        labels = entry.get("Labels") or {}
        if labels.get(USER) == user and labels.get(PURPOSE) not in NOT_COUNTED:
            found.add(holder(labels))
    return found


def holder(labels: Mapping[str, str]) -> str:
    """Who a container counts for: an agent's and its verifier's are of one session."""
    return labels.get(SESSION) or f"process {labels.get(LABEL, '')}"


def check_room(entries: Iterable[Entry], labels: Mapping[str, str], most: int) -> None:
    """Raises :class:`SandboxError` where a container with ``labels`` would be of one session too many."""
    present = holders(entries, labels[USER])
    if holder(labels) not in present and len(present) >= most:
        raise too_many(len(present), most)


def look_for_room(session: str, purpose: str, most: int) -> None:
    """Raises :class:`SandboxError` where a sandbox of ``session`` would be refused now; nothing is reserved by it."""
    client = engine.connect()
    try:
        entries = [entry for entry in list_ours(client) if not is_leftover(entry, time.time())]
    finally:
        client.close()
    check_room(entries, owner_labels(session, purpose), most)


def too_many(present: int, most: int) -> SandboxError:
    """What a session is told for which there is no place."""
    many = "1 session holds a sandbox" if present == 1 else f"{present} sessions hold sandboxes"
    return SandboxError(
        f"{many} already, and [sandbox] max_sandboxes = {most}: end one (backspace-tui sessions lists them), "
        "or raise it"
    )


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Between the look at what is there and the new container no other process of this user makes one."""
    try:
        folder = paths.data_dir()
        private.make_directory(folder)
        lock = os.open(folder / "sandboxes.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # A disk without room must not keep a sandbox away: the lock only makes the count exact.
        yield
        return
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        _until(lambda: _locked(lock), deadline)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _until(condition: Callable[[], bool], deadline: float) -> None:
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
