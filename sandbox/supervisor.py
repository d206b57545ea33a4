"""PID 1 of a sandbox: runs commands as an unprivileged user, moves files in and out, and lets nothing survive.

Standard library of Python 3.9 and later, started with ``python3 -I -S supervisor.py SETTINGS`` (JSON). It speaks
frames over its standard streams: two big-endian u32 lengths, a JSON header, a payload. End of input ends it, and
with it, being PID 1, everything else. In a container it is uid 0 with SETUID, SETGID and KILL alone, so that no
process of the sandboxed user can touch it; whatever touches files runs in a forked child that became that user.
See backspace_tui/sandbox/client.py for the other end.
"""

import collections
import contextlib
import errno
import json
import os
import resource
import select
import signal
import sys
import time

# With -I the folder of this file is not on the path.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import supervisor_files  # noqa: E402  (loaded before any fork)
import supervisor_wire as wire  # noqa: E402

KILL_SECONDS = 10.0


def reply(header, payload=b""):
    wire.write_all(1, wire.encode(header, payload))


def problem(error):
    """An exception as it travels to the client."""
    text = (error.strerror if isinstance(error, OSError) else "") or str(error)
    name = getattr(error, "filename", None)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return {"kind": type(error).__name__, "errno": getattr(error, "errno", None), "text": text, "path": name}


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


# Jobs: one at a time, driven by the loop


class Capture:
    """One output stream: its first half of the cap goes out at once, of the rest the last half is kept."""

    def __init__(self, job, name, fd, cap):
        self.job, self.name, self.fd = job, name, fd
        self.head_left = None if cap is None else cap // 2
        self.tail_cap = 0 if cap is None else cap - cap // 2
        self.tail = collections.deque()
        self.tail_size = 0
        self.dropped = 0

    def take(self, data):
        if self.head_left is None:
            self.job.send("output", data, stream=self.name)
            return
        if self.head_left:
            head, data = data[: self.head_left], data[self.head_left :]
            self.head_left -= len(head)
            self.job.send("output", head, stream=self.name)
        if data:
            self.tail.append(data)
            self.tail_size += len(data)
            while self.tail_size - len(self.tail[0]) >= self.tail_cap:
                gone = self.tail.popleft()
                self.tail_size -= len(gone)
                self.dropped += len(gone)

    def finish(self):
        rest = b"".join(self.tail)
        excess = max(0, len(rest) - self.tail_cap)
        self.dropped += excess
        rest = rest[excess:]
        if self.dropped:
            self.job.send("gap", stream=self.name, dropped=self.dropped)
        for start in range(0, len(rest), wire.CHUNK):
            self.job.send("output", rest[start : start + wire.CHUNK], stream=self.name)


class Job:
    def __init__(self, request):
        self.id = request["id"]
        self.deadline = None

    def send(self, event, payload=b"", **fields):
        reply({"id": self.id, "event": event, **fields}, payload)


class Run(Job):
    """A command of the user."""

    def __init__(self, request, reaper):
        super().__init__(request)
        argv = request.get("argv") or ["/bin/sh", "-c", request["line"]]
        self.started = time.monotonic()
        timeout = request.get("timeout")
        self.deadline = None if timeout is None else self.started + timeout
        self.before = limit_counters()
        self.interrupted = self.timed_out = False
        cwd = os.path.join(settings.workspace, request.get("cwd") or "")
        env = {**os.environ, **(request.get("env") or {})}
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            self.pid = spawn(argv, cwd, env, out_write, err_write)
        except OSError:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        reaper.awaited.add(self.pid)
        cap = request.get("cap")
        self.captures = {fd: Capture(self, name, fd, cap) for name, fd in (("stdout", out_read), ("stderr", err_read))}
        for fd in self.captures:
            os.set_blocking(fd, False)

    def readable(self):
        return list(self.captures)

    def read(self, fd):
        """Take what one read gives; False at the end of the stream or when nothing is there."""
        try:
            data = os.read(fd, wire.CHUNK)
        except BlockingIOError:
            return False
        if data:
            self.captures[fd].take(data)
            return True
        self.captures.pop(fd).finish()
        os.close(fd)
        return False

    def finish(self, reaper, keepers):
        leftovers = kill_all(reaper, keepers)
        for fd in list(self.captures):
            # Every writer is dead, so this ends; a stream whose end a service holds stops at "nothing there".
            while self.read(fd):
                pass
            if fd in self.captures:
                self.captures.pop(fd).finish()
                os.close(fd)
        code = reaper.ended.pop(self.pid, None)
        after = limit_counters()
        self.send(
            "done",
            exit_code=None if self.timed_out or self.interrupted else code,
            timed_out=self.timed_out,
            interrupted=self.interrupted,
            seconds=time.monotonic() - self.started,
            leftovers=leftovers,
            hit=[name for name in after if after[name] > self.before[name]],
            full=full_places(),
        )


class Work(Job):
    """A file operation in a forked child that became the user; its frames are passed on, whole ones only."""

    def __init__(self, request, payload, reaper, operation):
        super().__init__(request)
        self.deadline = time.monotonic() + request.get("timeout", 600)
        self.parser = wire.Parser()
        self.answer = None
        self.pending = bytearray(payload)
        self.closing = not request.get("stream")
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            run_worker(operation, request, in_read, out_write)
        os.close(in_read)
        os.close(out_write)
        self.input, self.output = in_write, out_read
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        reaper.awaited.add(self.pid)

    def readable(self):
        return [self.output] if self.output is not None else []

    def feed(self):
        """Give the child what it takes of the input; True while more waits."""
        if self.input is None:
            return False
        try:
            while self.pending:
                del self.pending[: os.write(self.input, self.pending[: wire.CHUNK])]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self.pending.clear()
        if self.closing:
            os.close(self.input)
            self.input = None
        return False

    def read(self, fd):
        try:
            data = os.read(fd, wire.CHUNK)
        except BlockingIOError:
            return False
        if not data:
            os.close(fd)
            self.output = None
            return False
        for header, payload in self.parser.feed(data):
            if header.get("event") == "done":
                self.answer = header  # told when the child is gone: the next request may follow at once
            else:
                reply({**header, "id": self.id}, payload)
        return True

    def finish(self, reaper, keepers):
        while self.output is not None and self.read(self.output):
            pass
        for fd in (self.input, self.output):
            if fd is not None:
                os.close(fd)
        kill_all(reaper, keepers)
        reaper.ended.pop(self.pid, None)
        text = "the file operation was interrupted"
        failed = {"event": "done", "error": {"kind": "OSError", "errno": None, "text": text, "path": None}}
        reply({**(self.answer or failed), "id": self.id})


def run_worker(operation, request, source, sink):
    code = 1
    try:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        close_others(source, sink)
        become_user()
        try:
            fields = supervisor_files.OPERATIONS[operation](settings, request, source, sink)
            wire.write_all(sink, wire.encode({"event": "done", **(fields or {})}))
            code = 0
        except Exception as error:
            wire.write_all(sink, wire.encode({"event": "done", "error": problem(error), "full": full_places()}))
    finally:
        os._exit(code)


class Service:
    """A named long-running process under a keeper: a subreaper of this program's own uid.

    Orphans of the service become children of the keeper, so whatever the service starts stays in its tree, and
    nothing that a command starts can get into it.
    """

    OUTPUT = 64 * 1024

    def __init__(self, name, command, reaper):
        self.name, self.command = name, command
        self.started = time.monotonic()
        self.output = bytearray()
        self.exit_code = None
        read, write = os.pipe()
        self.fd = read
        os.set_blocking(read, False)
        self.pid = os.fork()
        if self.pid == 0:
            keep(command, write)
        os.close(write)
        reaper.awaited.add(self.pid)

    def read(self):
        try:
            data = os.read(self.fd, wire.CHUNK)
        except BlockingIOError:
            return
        if not data:
            os.close(self.fd)
            self.fd = None
            return
        self.output += data
        del self.output[: -self.OUTPUT]

    def describe(self):
        return {
            "name": self.name,
            "command": self.command,
            "running": self.exit_code is None,
            "exit_code": self.exit_code,
            "seconds": time.monotonic() - self.started,
            "output": bytes(self.output).decode("utf-8", "surrogateescape"),
        }


def keep(command, out):
    code = 1
    try:
        os.setsid()
        subreaper()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        close_others(out)
        leader = spawn(["/bin/sh", "-c", command], settings.workspace, dict(os.environ), out, out)
        os.close(out)
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == leader:
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    except ChildProcessError:
        pass
    finally:
        os._exit(code)


def prctl(option, value):
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def subreaper():
    if sys.platform == "linux" and prctl(36, 1) != 0:
        raise OSError("cannot become a subreaper")


class Supervisor:
    FILE_OPERATIONS = ("load", "export", "read", "write", "delete", "prepare")

    def __init__(self):
        self.reaper = Reaper()
        self.parser = wire.Parser()
        self.job = None
        self.services = {}
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        if not settings.is_init:
            subreaper()
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def keepers(self):
        return [service.pid for service in self.services.values() if service.exit_code is None]

    def loop(self):
        while True:
            poll = select.poll()
            job = self.job
            # A transfer that the child does not take yet is not read further; a hang-up is noticed all the same.
            waiting = isinstance(job, Work) and job.feed() and len(job.pending) > 4 * wire.CHUNK
            poll.register(0, 0 if waiting else select.POLLIN)
            poll.register(self.wake_read, select.POLLIN)
            sources = {}
            if job is not None:
                for fd in job.readable():
                    sources[fd] = job.read
                    poll.register(fd, select.POLLIN)
                if isinstance(job, Work) and job.input is not None and job.pending:
                    poll.register(job.input, select.POLLOUT)
            for service in self.services.values():
                if service.fd is not None:
                    sources[service.fd] = lambda _fd, service=service: service.read()
                    poll.register(service.fd, select.POLLIN)
            timeout = None
            if job is not None and job.deadline is not None:
                timeout = max(0.0, job.deadline - time.monotonic()) * 1000 + 1
            # Input last: what it asks for may close what the others read.
            for fd, events in sorted(poll.poll(timeout), key=lambda event: event[0] == 0):
                if fd == self.wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, 4096)
                elif fd == 0:
                    if events & (select.POLLERR | select.POLLNVAL) or (events & select.POLLHUP and not events & 1):
                        return
                    data = os.read(0, wire.CHUNK)
                    if not data:
                        return
                    for header, payload in self.parser.feed(data):
                        self.handle(header, payload)
                elif fd in sources:
                    sources[fd](fd)
            self.after()

    def after(self):
        self.reaper.reap()
        for service in self.services.values():
            if service.exit_code is None and service.pid in self.reaper.ended:
                service.exit_code = self.reaper.ended.pop(service.pid)
        job = self.job
        if job is None:
            return
        if job.pid in self.reaper.ended:
            self.end()
        elif job.deadline is not None and time.monotonic() >= job.deadline:
            job.timed_out = True
            self.end()

    def end(self):
        job, self.job = self.job, None
        job.finish(self.reaper, self.keepers())

    def handle(self, request, payload):
        operation = request.get("op")
        try:
            if operation == "data":
                if isinstance(self.job, Work) and self.job.id == request["id"]:
                    self.job.pending += payload
                    self.job.closing = bool(request.get("last"))
                    self.job.feed()
            elif operation == "interrupt":
                if self.job is not None and self.job.id == request["id"]:
                    self.job.interrupted = True
                    self.end()
            elif operation == "ping":
                reply({"id": request["id"], "event": "done"})
            elif operation == "list_services":
                listed = [service.describe() for service in self.services.values()]
                reply({"id": request["id"], "event": "done", "services": listed})
            elif self.job is not None:
                raise RuntimeError("another command is running")
            elif operation == "run":
                self.job = Run(request, self.reaper)
            elif operation in self.FILE_OPERATIONS:
                self.job = Work(request, payload, self.reaper, operation)
            elif operation == "start_service":
                self.start_service(request)
            elif operation == "stop_service":
                self.stop_service(request)
            else:
                raise ValueError("unknown operation")
        except Exception as error:
            reply({"id": request.get("id"), "event": "done", "error": problem(error)})

    def start_service(self, request):
        name = request["name"]
        present = self.services.get(name)
        if present is not None and present.exit_code is None:
            raise ValueError("a service with this name is running")
        if len(self.keepers()) >= 8:
            raise ValueError("too many services are running")
        if present is not None and present.fd is not None:
            os.close(present.fd)
        self.services[name] = Service(name, request["command"], self.reaper)
        reply({"id": request["id"], "event": "done"})

    def stop_service(self, request):
        service = self.services.pop(request["name"], None)
        if service is None:
            raise ValueError("no service has this name")
        # No longer kept, its tree is among what kill_all ends.
        kill_all(self.reaper, self.keepers())
        self.reaper.awaited.discard(service.pid)
        self.reaper.ended.pop(service.pid, None)
        while service.fd is not None:
            before = len(service.output)
            service.read()
            if service.fd is not None and len(service.output) == before:
                os.close(service.fd)
                service.fd = None
        reply({"id": request["id"], "event": "done", "service": service.describe()})


def prepare_home():
    """HOME is an empty tmpfs: give it a temporary folder and a venv, as the user."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become_user()
            supervisor_files.make_home(settings)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def main():
    global settings
    settings = Settings(json.loads(sys.argv[1]))
    supervisor = Supervisor()
    if settings.uid is None and sys.platform == "linux":
        prctl(4, 0)  # not dumpable: our own uid runs the commands here
    status = prepare_home()
    reply({"event": "hello", "version": 1, "pid": os.getpid(), "python": sys.version.split()[0], "home": status == 0})
    try:
        supervisor.loop()
    except BrokenPipeError:
        pass
    finally:
        kill_all(supervisor.reaper, [])
        if settings.remove:
            supervisor_files.remove_tree(settings.remove)


if __name__ == "__main__":
    main()
