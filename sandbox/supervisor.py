"""PID 1 of a sandbox: runs commands as an unprivileged user, moves files in and out, and lets nothing survive.

Standard library of Python 3.9 and later, started with ``python3 -I -S supervisor.py SETTINGS`` (JSON). It speaks
frames over its standard streams: two big-endian u32 lengths, a JSON header, a payload. End of input ends it, and
with it, being PID 1, everything else. In a container it is uid 0 with SETUID, SETGID and KILL alone, so that no
process of the sandboxed user can touch it; whatever touches files runs in a forked child that became that user.
See backspace_tui/sandbox/client.py for the other end.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time

# With -I the folder of this file is not on the path.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import supervisor_files  # noqa: E402  (loaded before any fork)
import supervisor_jobs as jobs  # noqa: E402
import supervisor_places  # noqa: E402
import supervisor_process as process  # noqa: E402
import supervisor_shell  # noqa: E402
import supervisor_snapshots  # noqa: E402
import supervisor_spawn  # noqa: E402
import supervisor_tree as tree  # noqa: E402
import supervisor_wire as wire  # noqa: E402


class Supervisor:
    FILE_OPERATIONS = tuple(supervisor_files.OPERATIONS)

    def __init__(self):
        self.reaper = tree.Reaper()
        self.parser = wire.Parser()
        self.meters = process.Meters(self.reaper.own)
        self.spares = supervisor_spawn.Spares(self.meters, self.reaper)
        self.ends = None if process.settings.max_age is None else time.monotonic() + process.settings.max_age
        self.job = None
        self.services = {}
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        if not process.settings.is_init:
            process.subreaper()
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def keepers(self):
        return [service.pid for service in self.services.values() if service.exit_code is None]

    def loop(self):
        self.spares.tend()
        while True:
            poll = select.poll()
            job = self.job
            # A transfer that the child does not take yet is not read further; a hang-up is noticed all the same.
            waiting = isinstance(job, jobs.Work) and job.feed() and len(job.pending) > 4 * wire.CHUNK
            poll.register(0, 0 if waiting else select.POLLIN)
            poll.register(self.wake_read, select.POLLIN)
            sources = {}
            if job is None:
                for fd in self.spares.sources():
                    sources[fd] = self.spares.read
                    poll.register(fd, select.POLLIN)
            else:
                for fd in job.readable():
                    sources[fd] = job.read
                    poll.register(fd, select.POLLIN)
                if isinstance(job, jobs.Work) and job.input is not None and job.pending:
                    poll.register(job.input, select.POLLOUT)
                if isinstance(job, supervisor_shell.Shell) and (wanted := job.wanted()):
                    sources[job.master] = job.serve
                    poll.register(job.master, wanted)
            for service in self.services.values():
                if service.fd is not None:
                    sources[service.fd] = lambda _fd, service=service: service.read()
                    poll.register(service.fd, select.POLLIN)
            # Input last: what it asks for may close what the others read.
            for fd, events in sorted(poll.poll(self.patience()), key=lambda event: event[0] == 0):
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
            if self.job is None:
                self.spares.tend()
            if self.ends is not None and time.monotonic() >= self.ends:
                jobs.reply({"event": "gone", "reason": "age"})
                return

    def patience(self):
        """Milliseconds until something is to be done even if nobody says anything; None: never."""
        job = self.job
        moments = [self.ends]
        if job is not None:
            moments += [job.deadline, job.usage.next if isinstance(job, jobs.Run) else None]
        known = [moment for moment in moments if moment is not None]
        # Above a month poll() takes no number.
        return min(max(0.0, min(known) - time.monotonic()) * 1000 + 1, 2**31 - 1) if known else None

    def after(self):
        self.reaper.reap()
        for service in self.services.values():
            if service.exit_code is None and service.pid in self.reaper.ended:
                service.ended(self.reaper.ended.pop(service.pid))
        job = self.job
        if job is None:
            return
        if job.pid in self.reaper.ended:
            self.end()
        elif job.deadline is not None and time.monotonic() >= job.deadline:
            job.timed_out = True
            self.end()
        elif isinstance(job, jobs.Run) and time.monotonic() >= job.usage.next:
            job.usage.sample()
            if job.usage.too_many():
                self.end()

    def end(self):
        job, self.job = self.job, None
        job.finish(self.reaper, self.keepers())

    def handle(self, request, payload):
        operation = request.get("op")
        try:
            if operation == "data":
                if isinstance(self.job, jobs.Work) and self.job.id == request["id"]:
                    self.job.pending += payload
                    self.job.closing = bool(request.get("last"))
                    self.job.feed()
            elif operation in supervisor_shell.Shell.OPERATIONS:
                if isinstance(self.job, supervisor_shell.Shell) and self.job.id == request["id"]:
                    self.job.told(request, payload)
            elif operation == "interrupt":
                if self.job is not None and self.job.id == request["id"]:
                    self.job.interrupted = True
                    self.end()
            elif operation == "ping":
                jobs.reply({"id": request["id"], "event": "done"})
            elif operation == "list_services":
                listed = [service.describe() for service in self.services.values()]
                jobs.reply({"id": request["id"], "event": "done", "services": listed})
            elif self.job is not None:
                raise RuntimeError("another command is running")
            else:
                self.begin(operation, request, payload)
        except Exception as error:
            jobs.reply({"id": request.get("id"), "event": "done", "error": jobs.problem(error)})

    def begin(self, operation, request, payload):
        self.spares.settle()
        if operation == "run":
            self.job = jobs.Run(request, self.reaper, self.meters, self.spares.give())
        elif operation == "shell":
            self.spares.drop()
            self.job = supervisor_shell.Shell(request, self.reaper, self.meters)
        elif operation in self.FILE_OPERATIONS:
            if operation == "prepare":
                self.end_services()
            self.job = jobs.Work(request, payload, self.reaper, operation)
        elif operation == "start_service":
            self.start_service(request)
        elif operation == "stop_service":
            self.stop_service(request)
        else:
            raise ValueError("unknown operation")

    def start_service(self, request):
        name = request["name"]
        present = self.services.get(name)
        if present is not None and present.exit_code is None:
            raise ValueError("a service with this name is running")
        if len(self.keepers()) >= 8:
            raise ValueError("too many services are running")
        if present is not None and present.fd is not None:
            os.close(present.fd)
        supervisor_snapshots.services_start()
        service = self.services[name] = jobs.Service(name, request["command"], self.reaper)
        jobs.reply({"id": request["id"], "event": "done", "service": service.describe()})

    def end_services(self):
        """A service that fights what is to be prepared ends first."""
        for service in self.services.values():
            if service.fd is not None:
                os.close(service.fd)
            self.reaper.awaited.discard(service.pid)
        self.services.clear()
        tree.kill_all(self.reaper, [])

    def stop_service(self, request):
        service = self.services.pop(request["name"], None)
        if service is None:
            raise ValueError("no service has this name")
        # No longer kept, its tree is among what kill_all ends.
        tree.kill_all(self.reaper, self.keepers())
        self.reaper.awaited.discard(service.pid)
        self.reaper.ended.pop(service.pid, None)
        while service.fd is not None:
            before = len(service.output)
            service.read()
            if service.fd is not None and len(service.output) == before:
                os.close(service.fd)
                service.fd = None
        jobs.reply({"id": request["id"], "event": "done", "service": service.describe()})


def prepare_home():
    """HOME is an empty tmpfs: give it a temporary folder and a venv, as the user; returns the pid of who does it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            process.become_user()
            supervisor_places.make_home(process.settings)
            code = 0
        finally:
            os._exit(code)
    return pid


def main():
    process.configure(json.loads(sys.argv[1]))
    supervisor = Supervisor()
    if process.settings.uid is None and sys.platform == "linux":
        process.prctl(4, 0)  # not dumpable: our own uid runs the commands here
    home = prepare_home()
    supervisor.spares.grow()
    status = os.waitpid(home, 0)[1]
    supervisor.spares.check()
    jobs.reply(
        {"event": "hello", "version": 1, "pid": os.getpid(), "python": sys.version.split()[0], "home": status == 0}
    )
    try:
        supervisor.loop()
    except BrokenPipeError:
        pass
    finally:
        tree.kill_all(supervisor.reaper, [])
        if process.settings.remove:
            supervisor_places.remove_tree(process.settings.remove)


if __name__ == "__main__":
    main()
