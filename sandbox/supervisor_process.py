"""Processes of a sandbox: becoming the user, starting commands, and ending whatever they left."""

import contextlib
import errno
import os
import resource
import signal
import sys
import time

KILL_SECONDS = 10.0


class Settings:
    def __init__(self, values):
        self.uid = values.get("uid")  # None: stay who we are (bubblewrap, plain process)
        self.workspace = values["workspace"]
        self.home = values["home"]
        self.image_venv = values.get("image_venv", "/opt/venv")
        self.lay = values.get("lay", "/opt/backspace/workspace.tar")
        self.rlimits = values.get("rlimits", {})
        self.remove = values.get("remove")
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
    for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    with contextlib.suppress(OSError):
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"500")
        os.close(fd)
    for name, value in settings.rlimits.items():
        kind = getattr(resource, "RLIMIT_" + name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
    if settings.uid is not None:
        os.setgroups([])
        os.setresgid(settings.uid, settings.uid, settings.uid)
        os.setresuid(settings.uid, settings.uid, settings.uid)
    os.umask(0o022)


def spawn(argv, cwd, env, out, err):
    """Fork and execute; returns the pid. A failed exec ends with 127 or 126 and a line on ``err``, as a shell does."""
    pid = os.fork()
    if pid:
        return pid
    code = 127
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        become_user()
        os.chdir(cwd)
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        name = os.fsencode(argv[0])
        os.write(2, name + b": " + os.strerror(error.errno or 0).encode() + b"\n")
    except BaseException as error:
        os.write(2, str(error).encode(errors="replace") + b"\n")
    finally:
        os._exit(code)


def close_others(*kept):
    """In a child that goes on without exec: the ends of pipes it inherited would keep their readers waiting."""
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536))


# Processes


def parents():
    """pid -> parent pid of every process in sight."""
    if not os.path.isdir("/proc/self"):
        return parents_by_ps()
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open("/proc/" + name + "/stat", "rb") as file:
                    # The command's name may hold anything, parentheses too; the last one closes it.
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X"):
                    table[int(name)] = int(fields[1])
    return table


def parents_by_ps():
    import subprocess

    lines = subprocess.run(["ps", "-axo", "pid=,ppid=,state="], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    fields = [line.split() for line in lines]
    return {int(pid): int(parent) for pid, parent, state in fields if not state.startswith("Z")}


def descendants(table, roots):
    found = set(roots)
    grew = True
    while grew:
        more = {pid for pid, parent in table.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found


class Reaper:
    """Collects every dead child and remembers how the awaited ones ended."""

    def __init__(self):
        self.awaited = set()
        self.ended = {}

    def reap(self):
        """Returns whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid in self.awaited:
                self.awaited.discard(pid)
                self.ended[pid] = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def kill_all(reaper, keepers):
    """End every process but this one and the services' trees; returns how many could not be ended.

    Without services, PID 1's kill(-1) reaches everything at once, and ECHILD proves that nobody is left, since
    every orphan became a child of PID 1. With services (or in a plain process) the victims are first stopped
    until no new one turns up, so that none can fork away, and then killed.
    """
    deadline = time.monotonic() + KILL_SECONDS
    while time.monotonic() < deadline:
        if settings.is_init and not keepers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            if not reaper.reap():
                return 0
            time.sleep(0.0005)
            continue
        victims = others(keepers)
        if victims:
            stopped = set()
            while victims - stopped and time.monotonic() < deadline:
                for pid in victims - stopped:
                    signal_quietly(pid, signal.SIGSTOP)
                stopped |= victims
                victims = others(keepers)
            for pid in stopped:
                signal_quietly(pid, signal.SIGKILL)
        children = reaper.reap()
        if not victims or (not children and not settings.is_init):
            return 0
        time.sleep(0.0005)
    return len(others(keepers))


def others(keepers):
    table = parents()
    me = os.getpid()
    kept = descendants(table, [pid for pid in keepers if pid in table])
    mine = set(table) if settings.is_init else descendants(table, [me])
    return mine - kept - {me}


def signal_quietly(pid, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def counter(paths, key):
    for path in paths:
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            for line in file:
                words = line.split()
                if len(words) == 2 and words[0] == key:
                    return int(words[1])
    return 0


def limit_counters():
    return {
        "memory": counter(("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"), "oom_kill"),
        "pids": counter(("/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"), "max"),
    }


def full_places():
    places = []
    for name, path in (("workspace", settings.workspace), ("home", settings.home), ("tmp", "/tmp")):
        with contextlib.suppress(OSError):
            state = os.statvfs(path)
            if state.f_blocks and (state.f_bavail == 0 or (state.f_files and state.f_favail == 0)):
                places.append(name)
    return places


def prctl(option, value):
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def subreaper():
    if sys.platform == "linux" and prctl(36, 1) != 0:
        raise OSError("cannot become a subreaper")
