"""What an engine says when it cannot make a container, as one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_DISK: Final = "the engine's disk is full ({text}): docker system df shows what holds it, docker system prune frees it"
_FULL: Final = (
    "the engine has no room for another container ({text}): end a session (backspace-tui sessions), or docker ps"
)
_MEMORY: Final = (
    "the engine's machine is out of memory ({text}): end a session, or lower [sandbox] memory and workspace"
)
_LIMITS: Final = (
    "this engine cannot limit {what} ({text}): let it use control groups (rootless: systemd with Delegate=yes), "
    "or use --sandbox bubblewrap"
)
_CONTROLLERS: Final = ("memory", "pids", "cpu")


def refusal(explanation: str) -> str:
    """The engine's reason for an error in one line."""
    text = " ".join(explanation.split())[:200]
    low = text.lower()
    if "no space left" in low or "disk quota" in low:
        # A control group that cannot be made says the same as a full disk.
        return (_FULL if "cgroup" in low else _DISK).format(text=text)
    if "cannot allocate memory" in low or "out of memory" in low or "enomem" in low:
        return _MEMORY.format(text=text)
    if "too many" in low or "resource temporarily unavailable" in low:
        return _FULL.format(text=text)
    if "cpus" in low:
        return f"[sandbox] cpus does not fit this engine ({text})"
    if "cgroup" in low or "controller" in low:
        what = next((name for name in _CONTROLLERS if name in low), "what a sandbox uses")
        return _LIMITS.format(what=what, text=text)
    return f"the engine refused the sandbox: {text}"


def unlimited(warnings: Iterable[str] | None) -> str:
    """Why a container that was made is no sandbox: limits that the engine threw away; empty where it kept them."""
    for warning in warnings or ():
        low = warning.lower()
        what = next((name for name in _CONTROLLERS if name in low), "")
        # Without swap limits the memory limit holds all the same.
        if what and "discarded" in low and "swap" not in low:
            return _LIMITS.format(what=what, text=" ".join(warning.split())[:160])
    return ""
