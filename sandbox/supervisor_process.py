"""Processes of a sandbox: becoming the user, starting commands, and what they use."""

import contextlib
import os
import resource
import sys
import time

import supervisor_child as child


class Settings:
    def __init__(self, values):
        self.uid = values.get("uid")  # None: stay who we are (bubblewrap, plain process)
        self.workspace = values["workspace"]
        self.home = values["home"]
        self.image_venv = values.get("image_venv", "/opt/venv")
        self.lay = values.get("lay", "/opt/backspace/workspace.tar")
        self.lay_home = values.get("lay_home", "/opt/backspace/home.tar")
        self.rlimits = values.get("rlimits", {})
        self.remove = values.get("remove")
        self.max_age = values.get("max_age")  # seconds
        self.python = values.get("python") or sys.executable
        self.is_init = os.getpid() == 1


settings = None


def configure(values):
    """Keep the settings for all that follows, in children too."""
    global settings
    settings = Settings(values)
    return settings


def become_user():
    """In a child: no privilege left, first in line for the OOM killer, signals as programs expect them."""
    limit_child()
    child.drop_privileges(settings.uid)


def limit_child():
    """In a child: all of :func:`become_user` that needs no haste."""
    child.limit(settings.rlimits)


def output_pipe():
    return child.output_pipe(settings.uid)


def places():
    """Where commands work."""
    return settings.workspace, settings.home


def unlock():
    child.unlock(places())


def become(argv, cwd, env):
    """In a child with its streams and limits: be the user and execute. Never returns."""
    child.become(settings.uid, places(), argv, cwd, env)


def spawn(argv, cwd, env, out, err):
    """Fork and execute; returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        child.take_streams(out, err)
        limit_child()
        become(argv, cwd, env)
    finally:
        os._exit(127)


def close_others(*kept):
    """In a child that goes on without exec: the ends of pipes it inherited would keep their readers waiting."""
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536))


# What is used, and which limits were met

CGROUP = "/sys/fs/cgroup/"
SOURCES = {
    # cgroup v2 first, then v1; what the kernel does not have is left out.
    "memory_peak": ("memory.peak", "memory/memory.max_usage_in_bytes"),
    "memory": ("memory.current", "memory/memory.usage_in_bytes"),
    "processes_peak": ("pids.peak", "pids/pids.peak"),
    "processes": ("pids.current", "pids/pids.current"),
    "cpu_us": ("cpu.stat",),
    "cpu_ns": ("cpuacct/cpuacct.usage",),
    "oom": ("memory.events", "memory/memory.oom_control"),
    "forks": ("pids.events", "pids/pids.events"),
}
KEYS = {"cpu_us": b"usage_usec", "oom": b"oom_kill", "forks": b"max"}


class Meters:
    """Counters of the container's own control group, read through descriptors that stay open.

    A plain process and bubblewrap have no group of their own: there every reading is None.
    """

    def __init__(self, own):
        self.files, self.own = {}, own
        if not settings.is_init:
            return
        for name, paths in SOURCES.items():
            for path in paths:
                with contextlib.suppress(OSError):
                    self.files[name] = os.open(CGROUP + path, os.O_RDONLY | os.O_CLOEXEC)
                    break

    def read(self, name):
        if name not in self.files:
            return None
        try:
            data = os.pread(self.files[name], 4096, 0)
            if name not in KEYS:
                return int(data)
            for line in data.splitlines():
                words = line.split()
                if len(words) == 2 and words[0] == KEYS[name]:
                    return int(words[1])
        except (OSError, ValueError):
            pass
        return None

    def cpu(self):
        """Seconds so far, or None."""
        ns, us = self.read("cpu_ns"), self.read("cpu_us")
        if ns is not None:
            return ns / 1e9
        return None if us is None else us / 1e6

    def count(self):
        """Processes and threads at present besides this one and its own, or None."""
        found = self.read("processes")
        if found is None and settings.is_init:
            found = sum(name.isdigit() for name in os.listdir("/proc"))
        return None if found is None else found - 1 - len(self.own)


class Usage:
    """What one command uses. Between two samples only the kernel's own peaks are sure, where it beat the old ones."""

    FIRST, LONGEST = 0.02, 0.25  # seconds between samples: soon at first, rarer later

    def __init__(self, meters, reaper):
        self.meters, self.reaper = meters, reaper
        self.peaks = {name: meters.read(name) for name in ("memory_peak", "processes_peak")}
        self.cpu, self.collected = meters.cpu(), reaper.cpu
        self.events = {name: meters.read(name) for name in ("oom", "forks")}
        reaper.largest = 0
        self.memory = self.processes = 0
        self.low = {}
        self.ours = 1 + len(meters.own)
        self.every = self.FIRST
        self.next = time.monotonic() + self.every

    def sample(self):
        self.memory = max(self.memory, self.meters.read("memory") or 0)
        self.processes = max(self.processes, self.meters.count() or 0)
        self.look_at_room()
        self.next = time.monotonic() + self.every
        self.every = min(self.LONGEST, self.every * 1.5)

    def peak(self, name, sampled):
        before, after = self.peaks[name], self.meters.read(name)
        return after if after is not None and before is not None and after > before else sampled

    def fields(self):
        """What is told when everything of the command is dead."""
        self.memory = max(self.memory, self.meters.read("memory") or 0)
        processes = max(1, self.processes)
        cpu = self.meters.cpu()
        highest = self.peak("processes_peak", None)
        return {
            "memory": self.peak("memory_peak", self.memory) or self.reaper.largest or None,
            "processes": processes if highest is None else max(1, highest - self.ours),
            "cpu": self.reaper.cpu - self.collected if cpu is None or self.cpu is None else cpu - self.cpu,
        }

    def look_at_room(self):
        for name, space, files in room():
            self.low[name] = min(space, self.low.get(name, 1.0))
            self.low["files of " + name] = min(files, self.low.get("files of " + name, 1.0))

    def tightest(self):
        """The place that had the least room: the likely one where a write failed and was taken back."""
        self.look_at_room()
        name = min(self.low, key=lambda name: self.low[name], default="workspace")
        return name if self.low.get(name, 1.0) < 0.5 else "workspace"

    def too_many(self):
        """Whether more run than RLIMIT_NPROC allows, from which the kernel exempts the processes of root."""
        most = settings.rlimits.get("NPROC")
        return most is not None and self.processes > most + 8

    def hit(self):
        """Names of the limits that the kernel enforced meanwhile."""
        found = []
        for name, limit in (("oom", "memory"), ("forks", "pids")):
            before, after = self.events[name], self.meters.read(name)
            if before is not None and after is not None and after > before:
                found.append(limit)
        most = settings.rlimits.get("NPROC")
        if most is not None and self.processes + 1 >= most:
            found.append("pids")
        return found


def room():
    """(name, share of its bytes that is free, share of its files) of each place that can be written to."""
    found = []
    places = {"workspace": settings.workspace, "home": settings.home, "tmp": "/tmp", "shm": "/dev/shm"}
    for name, path in places.items():
        with contextlib.suppress(OSError):
            state = os.statvfs(path)
            if state.f_blocks:
                files = state.f_favail / state.f_files if state.f_files else 1.0
                found.append((name, state.f_bavail / state.f_blocks, files))
    return found


def full_places():
    """Names of the places without room, "files of" before the name of one that can hold no further file."""
    found = []
    for name, space, files in room():
        if space == 0:
            found.append(name)
        elif files == 0:
            found.append("files of " + name)
    return found


def prctl(option, value):
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def subreaper():
    if sys.platform == "linux" and prctl(36, 1) != 0:
        raise OSError("cannot become a subreaper")
