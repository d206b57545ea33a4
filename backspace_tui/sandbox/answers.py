"""What a supervisor's answers mean: results, limits that were met, errors."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from backspace_tui.core.protocols import Audit, SandboxError, Service
from backspace_tui.sandbox.limits import Limits
from backspace_tui.sandbox.wire import Header

TOLD_LIMITS: Final = {
    "disk": (b"No space left on device", b"ENOSPC", b"Disk quota exceeded"),
    "file": (b"File too large", b"File size limit exceeded"),
    "memory": (b"MemoryError", b"Cannot allocate memory", b"JavaScript heap out of memory"),
    "pids": (b"Cannot fork", b"Resource temporarily unavailable", b"can't start new thread"),
}
"""What programs say of a limit that nobody else can see: an allocation that was refused, room that was there before."""


_PLACES: Final = {b"/workspace/": "workspace", b"/home/agent/": "home", b"/tmp/": "tmp", b"/dev/shm/": "shm"}
_PLACE: Final = re.compile(rb"(?<![\w./-])(?:%s)" % b"|".join(_PLACES))


def told_limits(data: bytes) -> set[str]:
    """Names of TOLD_LIMITS that a command's errors tell of, and ``disk of PLACE`` where such a line names the place."""
    told = {name for name, words in TOLD_LIMITS.items() if any(word in data for word in words)}
    if "disk" in told:
        for line in data.split(b"\n"):
            if any(word in line for word in TOLD_LIMITS["disk"]) and (named := _PLACE.search(line)):
                told.add(f"disk of {_PLACES[named[0]]}")
    return told


def limit_met(header: Header, said: set[str], seconds: float, limits: Limits) -> str:
    """The setting to raise: of the time, of what the kernel enforced, of what is full, of what the command says."""
    if header["timed_out"]:
        return f"timeout ({seconds:g} s)"
    hit = header["hit"]
    if "memory" in hit:
        # Also where the command went on without the process that was killed.
        return limits.setting_for("memory")
    if header["exit_code"] in (0, None):
        return ""
    for name in (*hit, *header["full"]):
        return limits.setting_for(name)
    if "disk" in said:
        # A place that was emptied again may have been full between two looks at it alone.
        named = sorted(name.removeprefix("disk of ") for name in said if name.startswith("disk of "))
        return limits.setting_for(named[0] if len(named) == 1 else header["tightest"])
    if header["signal"] == signal.SIGXFSZ or header["exit_code"] == 128 + signal.SIGXFSZ or "file" in said:
        return limits.setting_for("workspace")
    told = [] if header["counted"] else [name for name in ("memory", "pids") if name in said]
    return limits.setting_for(told[0]) if told else ""


def start_problem(header: Header, limits: Limits) -> SandboxError:
    """Why a command did not start."""
    found = header["error"]
    if found.get("errno") == errno.EAGAIN:
        return SandboxError(f"no process could be started; raise {limits.setting_for('pids')}")
    return SandboxError(f"the command could not be started: {found.get('text')}")


def problem(header: Header, limits: Limits) -> Exception:
    """What an operation on files failed with."""
    found = header["error"]
    number, text, path = found.get("errno"), str(found.get("text")), found.get("path")
    if number in (errno.ENOSPC, errno.EDQUOT):
        full = header.get("full") or ["workspace"]
        return SandboxError(f"no space left in the sandbox; raise {limits.setting_for(full[0])}")
    if number == errno.EFBIG and not path:
        return SandboxError(f"{text}; raise {limits.setting_for('workspace')}")
    if number is not None:
        return OSError(number, text, path)  # Python makes FileNotFoundError and its kin of it
    if found.get("kind") == "ValueError":
        return ValueError(text)
    return SandboxError(f"the sandbox refused: {text}")


def service(found: Mapping[str, Any]) -> Service:
    """A service as it was listed."""
    return Service(
        name=found["name"],
        command=found["command"],
        running=found["running"],
        exit_code=found["exit_code"],
        output=os.fsencode(found["output"]),
        audit=Audit(
            command=found["command"],
            uid=found["uid"],
            started=datetime.fromtimestamp(found["began"], UTC),
            seconds=round(found["seconds"], 3),
            exit_code=found["exit_code"],
            stdout=found["produced"],
        ),
    )


def audit(header: Header, command: str | Sequence[str], limit: str) -> Audit:
    """What there is to know of a command that ended."""
    used = header["used"]
    return Audit(
        command=_line(command),
        uid=header["uid"],
        started=datetime.fromtimestamp(header["began"], UTC),
        seconds=round(header["seconds"], 4),
        exit_code=header["exit_code"],
        signal=header["signal"],
        ended="timeout" if header["timed_out"] else "cancelled" if header["interrupted"] else "",
        limit=limit,
        stdout=header["produced"][0],
        stderr=header["produced"][1],
        memory=used["memory"],
        processes=used["processes"],
        cpu=None if used["cpu"] is None else round(used["cpu"], 4),
    )


def unfinished(command: str | Sequence[str], started: datetime, seconds: float, printed: Mapping[str, int]) -> Audit:
    """What is known, by the host's clock, of a command whose sandbox died."""
    return Audit(
        command=_line(command),
        started=started,
        seconds=round(seconds, 4),
        ended="sandbox",
        stdout=printed["stdout"],
        stderr=printed["stderr"],
    )


def _line(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else shlex.join(os.fsdecode(word) for word in command)
