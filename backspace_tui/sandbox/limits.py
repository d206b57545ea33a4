"""What a sandbox may use: sizes, profiles, and the settings' names for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from backspace_tui.core import sizes
from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.core.sizes import MIB, show_time
from backspace_tui.core.sizes import show_size as show_size

DEFAULT_TIMEOUT: Final = 120.0
FILES_PER_MIB: Final = 200


def parse_size(text: str, setting: str = "size") -> int:
    """Bytes of a size as docker writes it: ``512m``, ``2g``, ``1.5g``, ``1048576``.

    Raises:
        SandboxError: naming ``setting``, where the text is no positive size.
    """
    try:
        return sizes.parse_size(text)
    except ValueError as problem:
        raise SandboxError(f"[sandbox] {setting} = {problem}") from None


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes. ``home``, ``tmp`` and ``shm`` are the other places that can be written to.

    ``inodes`` is the most files of each place, ``max_age`` the seconds that a sandbox may live.
    """

    memory: int = 2048 * MIB
    cpus: float = 2.0
    pids: int = 512
    workspace: int = 1024 * MIB
    home: int = 512 * MIB
    tmp: int = 128 * MIB
    shm: int = 64 * MIB
    output: int = MIB  # of each stream of a command; the middle of a longer one is left out
    inodes: int = 200_000
    open_files: int = 4096
    max_age: float = 86400.0

    @property
    def total_memory(self) -> int:
        """The container's limit: the pages of a tmpfs count as memory."""
        return self.memory + self.workspace + self.home + self.tmp

    def setting_for(self, name: str) -> str:
        """The setting to raise after the limit ``name`` was hit."""
        if name == "memory":
            return f"[sandbox] memory (now {show_size(self.memory)})"
        if name == "pids":
            return f"[sandbox] pids (now {self.pids})"
        if name == "workspace":
            return f"[sandbox] workspace (now {show_size(self.workspace)})"
        if name == "files of workspace":
            return f"[sandbox] workspace (now {show_size(self.workspace)} and {self.inodes} files)"
        if name == "age":
            return f"[sandbox] max_age (now {show_time(self.max_age)})"
        if name == "home":
            return f"[sandbox] home (now {show_size(self.home)})"
        place = name.removeprefix("files of ")
        where = {"home": "the home folder", "tmp": "/tmp", "shm": "/dev/shm"}.get(place, place)
        if place != name:
            return f"none: {where} holds {self.inodes} files; write inside the repository"
        if place in ("tmp", "shm"):
            return f"none: {where} holds {show_size(getattr(self, place))}; write inside the repository"
        return name


STRICT: Final = Limits(
    memory=512 * MIB, cpus=0.5, pids=100, workspace=200 * MIB, home=100 * MIB, tmp=100 * MIB, inodes=100_000
)


def limits_of(spec: SandboxSpec) -> Limits:
    """The limits that a session's settings ask for; the strict profile stands for all of them at once."""
    try:
        max_age = sizes.parse_time(spec.max_age)
    except ValueError as problem:
        raise SandboxError(f"[sandbox] max_age = {problem}") from None
    if spec.profile == "strict":
        return replace(STRICT, max_age=max_age, home=_home(spec, STRICT.home))
    if spec.profile != "default":
        raise SandboxError(f"[sandbox] profile = {spec.profile!r} is unknown; it is default or strict")
    if spec.cpus <= 0 or spec.pids < 16:
        raise SandboxError("[sandbox] cpus must be above 0 and pids at least 16")
    workspace = parse_size(spec.workspace, "workspace")
    return Limits(
        memory=parse_size(spec.memory, "memory"),
        cpus=spec.cpus,
        pids=spec.pids,
        workspace=workspace,
        home=_home(spec, Limits.home),
        inodes=max(Limits.inodes, workspace // MIB * FILES_PER_MIB),
        max_age=max_age,
    )


def _home(spec: SandboxSpec, default: int) -> int:
    return parse_size(spec.home, "home") if spec.home else default


def adjust(limits: Limits, changes: dict[str, Any]) -> Limits:
    """``limits`` with single ones changed; sizes may be texts.

    Raises:
        TypeError: for a name that is no limit.
    """
    known = Limits.__dataclass_fields__
    for name in changes:
        if name not in known:
            raise TypeError(f"{name!r} is no limit of a sandbox; known: {', '.join(known)}")
    values = {name: parse_size(value, name) if isinstance(value, str) else value for name, value in changes.items()}
    return replace(limits, **values)
