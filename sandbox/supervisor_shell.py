"""An interactive shell: a command on a terminal of its own, made here, that a window far away types into."""

import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import time

import supervisor_jobs as jobs
import supervisor_process as process
import supervisor_wire as wire

WINDOW = 256 * 1024  # bytes of output that the other side may owe an answer for
SHELLS = ("/bin/bash", "/bin/sh")
TERMINFO = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")
LARGEST = 4096  # rows or columns
PIECE = 4096  # bytes written at once


def known_terminal(name):
    """``name`` where this image has its description, else one that every image's programs know."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]*", name or "", re.ASCII):
        for folder in TERMINFO:
            for first in (name[0], "%02x" % ord(name[0])):
                if os.path.exists(os.path.join(folder, first, name)):
                    return name
    return "xterm"


def environment(term):
    hidden = ("CI", "NO_COLOR", "PYTHONUNBUFFERED")  # they are for programs that nobody looks at
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    shell = next((path for path in SHELLS if os.access(path, os.X_OK)), SHELLS[-1])
    return shell, {**env, "TERM": known_terminal(term), "SHELL": shell}


def set_size(fd, rows, cols):
    sizes = [min(max(int(number), 1), LARGEST) for number in (rows, cols)]
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *sizes, 0, 0))


class Shell(jobs.Run):
    """Runs until it ends or is interrupted. Both directions are paced: each side says what it took."""

    OPERATIONS = ("type", "took", "resize")

    def __init__(self, request, reaper, meters):
        jobs.Job.__init__(self, request)
        self.began, self.started = time.time(), time.monotonic()
        self.usage = process.Usage(meters, reaper)
        self.interrupted = self.timed_out = False
        self.pending = bytearray()
        self.owed = 0
        self.master, self.slave = os.openpty()
        try:
            set_size(self.slave, request["rows"], request["cols"])
            if process.settings.uid is not None:
                # What the shell starts may open its terminal again by name, although another user made it.
                os.fchmod(self.slave, 0o666)
            os.set_blocking(self.master, False)
            self.pid = self.fork(*environment(request.get("term")))
        except BaseException:
            os.close(self.master)
            os.close(self.slave)
            raise
        reaper.awaited.add(self.pid)
        # This end of the terminal stays open here, so that reading the other one never fails.
        self.captures = {self.master: jobs.Capture(self, "stdout", self.master, None)}
        self.streams = [*self.captures.values(), jobs.Capture(self, "stderr", -1, None)]

    def fork(self, shell, env):
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(self.slave, fd)
            process.limit_child()
            process.become([shell, "-i"], process.settings.workspace, env)
        finally:
            os._exit(127)

    def readable(self):
        return []  # see wanted

    def wanted(self):
        """What to poll the terminal for."""
        return (select.POLLIN if self.owed < WINDOW else 0) | (select.POLLOUT if self.pending else 0)

    def serve(self, fd):
        if self.pending:
            self.type()
        if self.owed < WINDOW:
            self.read(fd)

    def read(self, fd):
        try:
            data = os.read(fd, wire.CHUNK)
        except OSError:  # nothing there
            return False
        self.captures[fd].take(data)
        self.owed += len(data)
        return bool(data)

    def type(self):
        """Give the terminal what it takes of the input, and tell how much that was."""
        taken = 0
        with contextlib.suppress(OSError):
            while self.pending:
                count = os.write(self.master, self.pending[:PIECE])
                taken += count
                del self.pending[:count]
        if taken:
            self.send("taken", bytes=taken)

    def told(self, request, payload):
        """The other side types, took output, or its window has another size."""
        operation = request["op"]
        if operation == "type":
            self.pending += payload
            self.type()
        elif operation == "took":
            self.owed -= request["bytes"]
        else:
            set_size(self.master, request["rows"], request["cols"])

    def finish(self, reaper, keepers):
        try:
            super().finish(reaper, keepers)
        finally:
            os.close(self.slave)
