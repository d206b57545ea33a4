"""What a sandbox may use: sizes, profiles, and the settings' names for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from backspace_tui.core.protocols import SandboxError, SandboxSpec

MIB: Final = 1024 * 1024
DEFAULT_TIMEOUT: Final = 120.0
_UNITS: Final = {"": 1, "b": 1, "k": 1024, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB}


def parse_size(text: str, setting: str = "size") -> int:
    """Bytes of a size as docker writes it: ``512m``, ``2g``, ``1.5g``, ``1048576``.

    Raises:
        SandboxError: naming ``setting``, where the text is no positive size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size <= 0:
        raise SandboxError(f"[sandbox] {setting} = {text!r} is no size; write it like 512m or 2g")
    return size


def show_size(size: int) -> str:
    """A size as docker writes it."""
    for unit in ("g", "m", "k"):
        if size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes. ``home`` and ``tmp`` are the two other places that can be written to."""

    memory: int = 2048 * MIB
    cpus: float = 2.0
    pids: int = 512
    workspace: int = 1024 * MIB
    home: int = 512 * MIB
    tmp: int = 128 * MIB
    output: int = MIB  # of each stream of a command; the middle of a longer one is left out
    inodes: int = 200_000
    open_files: int = 4096

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
        if name in ("home", "tmp"):
            where = "/tmp" if name == "tmp" else "the home folder"
            return f"none: {where} holds {show_size(getattr(self, name))}; write inside the repository"
        return name


STRICT: Final = Limits(
    memory=512 * MIB, cpus=0.5, pids=100, workspace=200 * MIB, home=100 * MIB, tmp=100 * MIB, inodes=100_000
)


def limits_of(spec: SandboxSpec) -> Limits:
    """The limits that a session's settings ask for; the strict profile stands for all of them at once."""
    if spec.profile == "strict":
        return STRICT
    if spec.profile != "default":
        raise SandboxError(f"[sandbox] profile = {spec.profile!r} is unknown; it is default or strict")
    if spec.cpus <= 0 or spec.pids < 16:
        raise SandboxError("[sandbox] cpus must be above 0 and pids at least 16")
    return Limits(
        memory=parse_size(spec.memory, "memory"),
        cpus=spec.cpus,
        pids=spec.pids,
        workspace=parse_size(spec.workspace, "workspace"),
    )


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
