"""What a child does between fork and exec: streams, limits, waiting for its order, becoming the user.

It is also all that a zygote is made of, see supervisor_zygote.py. So it imports next to nothing, since each page of
a process costs time at each fork and at each exec: the modules beneath the well-known ones, which import no others.
"""

import errno
import marshal
import os
import sys

try:
    import _signal as signal
    import _socket as socket
except ImportError:  # another Python
    import signal
    import socket

LENGTH = 8
READ = 65536
CHANNEL = 0
HELLO, MADE, FAILED = b"h", b"m", b"f"
INT = 4


def limit(rlimits):
    """No privilege is lost yet; first in line for the OOM killer, signals as programs expect them."""
    for number in signal.valid_signals():
        # Whoever started this program may have ignored any of them (nohup, a job in the background).
        if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"500")
        os.close(fd)
    except OSError:
        pass
    if rlimits:
        import resource

        for name, value in rlimits.items():
            kind = getattr(resource, "RLIMIT_" + name, None)
            if kind is not None:
                hard = resource.getrlimit(kind)[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(kind, (value, value))
    os.umask(0o022)


def drop_privileges(uid):
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def unlock(places):
    """As the user: give back what an earlier command took from its own user, the places where commands work."""
    for path in places:
        try:
            mode = os.stat(path).st_mode
            if mode & 0o700 != 0o700:
                os.chmod(path, mode & 0o777 | 0o700)
        except OSError:
            pass


def output_pipe(uid):
    """A pipe whose writers can open it again by name (/dev/stderr), although another user made it."""
    read, write = os.pipe()
    if uid is not None:
        os.fchmod(write, 0o666)
    return read, write


def take_streams(out, err):
    """A session of its own, nothing to read, and these to write to."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)


def find(name, env):
    """The first program of that name on PATH that this user may execute; None where it is a path, or not found."""
    if name and "/" not in name:
        for folder in env.get("PATH", "").split(":"):
            path = folder + "/" + name
            if folder and os.access(path, os.X_OK):
                return path
    return None


def execute(argv, env):
    """As ``os.execvpe``, which takes long where the program is not in the first folder of PATH."""
    path = find(argv[0], env)
    if path is not None:
        try:  # noqa: SIM105  (contextlib has many pages)
            os.execve(path, argv, env)
        except OSError:
            pass
    # Also tells what is wrong where nothing was found.
    os.execvpe(argv[0], argv, env)


def become(uid, places, argv, cwd, env):
    """With streams and limits: be the user and execute. Never returns.

    A failed exec ends with 127 or 126 and a line on standard error, as a shell does.
    """
    code = 127
    try:
        drop_privileges(uid)
        unlock(places)
        os.chdir(cwd)
        execute(argv, env)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        name = os.fsencode(argv[0])
        os.write(2, name + b": " + os.strerror(error.errno or 0).encode() + b"\n")
    except BaseException as error:
        os.write(2, str(error).encode(errors="replace") + b"\n")
    finally:
        os._exit(code)


def order(argv, cwd, env):
    """What :func:`wait` is told; ``env`` is what is to differ from its own environment."""
    data = marshal.dumps((argv, cwd, env))
    return len(data).to_bytes(LENGTH, "big") + data


def told(data):
    return marshal.loads(data[LENGTH:])  # noqa: S302  (the supervisor alone can write to it)


def rehearse(uid, env):
    """Go through all of :func:`become` without effect: what memory it needs is our own before there is any hurry."""
    argv, cwd, more = told(order(["sh", ""], "/", {}))
    env.update(more)
    drop_privileges(None if uid is None else -1)
    unlock(("",))
    os.chdir(cwd)
    find("sh", env)
    try:  # noqa: SIM105
        os.execve("/", argv, env)
    except OSError:
        pass


def wait(source, out, err, *, uid, places, rlimits):
    """Be ready, as the program's own user, until ``source`` says what to become. Never returns."""
    try:
        take_streams(out, err)
        limit(rlimits)
        env = dict(os.environ)
        rehearse(uid, env)
        data = os.read(source, READ)
        while len(data) < LENGTH or len(data) < LENGTH + int.from_bytes(data[:LENGTH], "big"):
            more = os.read(source, READ)
            if not more:
                return
            data += more
        argv, cwd, more = told(data)
        env.update(more)
        become(uid, places, argv, cwd, env)
    finally:
        os._exit(127)


# A zygote


def make(channel, uid, places):
    """Fork one that waits and hand it over: its pid, where its streams are read, where it is told."""
    fds = []
    try:
        fds += output_pipe(uid)
        fds += output_pipe(uid)
        fds += os.pipe()
        fds += os.pipe()
        out_read, out, err_read, err, order_read, order, pid_read, pid_write = fds
        between = os.fork()
        if between == 0:
            try:
                pid = os.fork()
                if pid == 0:
                    os.close(order)
                    wait(order_read, out, err, uid=uid, places=places, rlimits={})
                os.write(pid_write, b"%d" % pid)
            finally:
                os._exit(0)
        # Before anything is told: from here on this process has no child.
        os.waitpid(between, 0)
        os.close(fds.pop())
        pid = os.read(pid_read, 32)
        if pid:
            given = b"".join(fd.to_bytes(INT, sys.byteorder) for fd in (out_read, err_read, order))
            channel.sendmsg([MADE + pid], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
        else:
            channel.send(FAILED)
    except OSError:
        channel.send(FAILED)
    finally:
        for fd in fds:
            os.close(fd)


def serve():
    """Be one, for as long as there is a supervisor."""
    import gc

    gc.disable()
    uid, *places = sys.argv[2:]
    channel = socket.socket(fileno=CHANNEL)
    channel.send(HELLO)
    while channel.recv(1):
        make(channel, int(uid), places)
