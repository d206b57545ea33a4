"""What a supervisor does at a request: one command or file operation at a time, and services beside it."""

import collections
import os
import signal
import time

import supervisor_files
import supervisor_process as process
import supervisor_snapshots as snapshots
import supervisor_tree as tree
import supervisor_wire as wire

PIPE_SIZE = 2 * 1024 * 1024  # twice what an unprivileged process may ask for


def reply(header, payload=b""):
    wire.write_all(1, wire.encode(header, payload))


def problem(error):
    """An exception as it travels to the client."""
    text = (error.strerror if isinstance(error, OSError) else "") or str(error)
    name = getattr(error, "filename", None)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return {"kind": type(error).__name__, "errno": getattr(error, "errno", None), "text": text, "path": name}


class Capture:
    """One output stream: its first half of the cap goes out at once, of the rest the last half is kept."""

    def __init__(self, job, name, fd, cap):
        self.job, self.name, self.fd = job, name, fd
        self.head_left = None if cap is None else cap // 2
        self.tail_cap = 0 if cap is None else cap - cap // 2
        self.tail = collections.deque()
        self.tail_size = 0
        self.dropped = 0
        self.total = 0

    def take(self, data):
        self.total += len(data)
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

    def __init__(self, request, reaper, meters, ready):
        super().__init__(request)
        argv = request.get("argv") or ["/bin/sh", "-c", request["line"]]
        self.began, self.started = time.time(), time.monotonic()
        timeout = request.get("timeout")
        self.deadline = None if timeout is None else self.started + timeout
        self.usage = process.Usage(meters, reaper)
        self.interrupted = self.timed_out = False
        cwd = os.path.join(process.settings.workspace, request.get("cwd") or "")
        env = request.get("env") or {}
        if ready is not None and ready.start(argv, cwd, env):
            self.pid, out, err = ready.pid, ready.out, ready.err
        else:
            self.pid, out, err = self.spawn(argv, cwd, {**os.environ, **env})
        reaper.awaited.add(self.pid)
        cap = request.get("cap")
        self.captures = {fd: Capture(self, name, fd, cap) for name, fd in (("stdout", out), ("stderr", err))}
        self.streams = list(self.captures.values())
        for fd in self.captures:
            os.set_blocking(fd, False)

    @staticmethod
    def spawn(argv, cwd, env):
        """The pid of a new process, and where its streams can be read."""
        out_read, out_write = process.output_pipe()
        err_read, err_write = process.output_pipe()
        try:
            return process.spawn(argv, cwd, env, out_write, err_write), out_read, err_read
        except OSError:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)

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
        leftovers = tree.kill_all(reaper, keepers)
        for fd in list(self.captures):
            # No more than a pipe can hold: a service may have taken the other end over and write for ever.
            allowed = self.captures[fd].total + PIPE_SIZE
            while self.read(fd) and self.captures[fd].total < allowed:
                pass
            if fd in self.captures:
                self.captures.pop(fd).finish()
                os.close(fd)
        code, signalled = reaper.ended.pop(self.pid, None), reaper.signals.pop(self.pid, None)
        killed = self.timed_out or self.interrupted
        self.send(
            "done",
            exit_code=None if killed else code,
            signal=signal.SIGKILL if killed else signalled,
            timed_out=self.timed_out,
            interrupted=self.interrupted,
            began=self.began,
            seconds=time.monotonic() - self.started,
            leftovers=leftovers,
            produced=[capture.total for capture in self.streams],
            uid=os.getuid() if process.settings.uid is None else process.settings.uid,
            used=self.usage.fields(),
            counted=bool(self.usage.meters.files),
            hit=self.usage.hit(),
            # The state of the disks only tells something where the command failed.
            full=process.full_places() if code else [],
            tightest=self.usage.tightest() if code else "",
        )


class Work(Job):
    """A file operation in a forked child that became the user; its frames are passed on, whole ones only."""

    def __init__(self, request, payload, reaper, operation):
        super().__init__(request)
        self.deadline = time.monotonic() + request.get("timeout", 600)
        self.parser = wire.Parser()
        self.answer = None
        self.state = bytearray()
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
            elif header.get("event") == "state":
                self.state += payload
            else:
                reply({**header, "id": self.id}, payload)
        return True

    def finish(self, reaper, keepers):
        while self.output is not None and self.read(self.output):
            pass
        for fd in (self.input, self.output):
            if fd is not None:
                os.close(fd)
        tree.kill_all(reaper, keepers)
        reaper.ended.pop(self.pid, None)
        if self.state and self.answer is not None and "error" not in self.answer:
            snapshots.remember(bytes(self.state), bool(keepers))
        text = "the file operation was interrupted"
        failed = {"event": "done", "error": {"kind": "OSError", "errno": None, "text": text, "path": None}}
        reply({**(self.answer or failed), "id": self.id})


def run_worker(operation, request, source, sink):
    code = 1
    try:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        process.close_others(source, sink)
        process.become_user()
        process.unlock()
        try:
            fields = supervisor_files.OPERATIONS[operation](process.settings, request, source, sink)
            wire.write_all(sink, wire.encode({"event": "done", **(fields or {})}))
            code = 0
        except Exception as error:
            wire.write_all(sink, wire.encode({"event": "done", "error": problem(error), "full": process.full_places()}))
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
        self.began, self.started = time.time(), time.monotonic()
        self.seconds = None  # once it ended
        self.produced = 0
        self.output = bytearray()
        self.exit_code = None
        read, write = process.output_pipe()
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
        self.produced += len(data)
        self.output += data
        del self.output[: -self.OUTPUT]

    def ended(self, exit_code):
        self.exit_code = exit_code
        self.seconds = time.monotonic() - self.started

    def describe(self):
        return {
            "name": self.name,
            "command": self.command,
            "running": self.exit_code is None,
            "exit_code": self.exit_code,
            "began": self.began,
            "seconds": time.monotonic() - self.started if self.seconds is None else self.seconds,
            "produced": self.produced,
            "uid": os.getuid() if process.settings.uid is None else process.settings.uid,
            "output": bytes(self.output).decode("utf-8", "surrogateescape"),
        }


def keep(command, out):
    code = 1
    try:
        os.setsid()
        process.subreaper()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        process.close_others(out)
        leader = process.spawn(["/bin/sh", "-c", command], process.settings.workspace, dict(os.environ), out, out)
        os.close(out)
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == leader:
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    except ChildProcessError:
        pass
    finally:
        os._exit(code)
