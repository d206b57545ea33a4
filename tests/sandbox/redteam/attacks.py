"""Attacks on resources and on the process tree, as data: what runs, what proves that it was tried, how it must end."""

# ruff: noqa: E501
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

End = Literal["exit", "timeout", "gone"]


@dataclass(frozen=True)
class Attack:
    """A command, and its end.

    ``said`` is a pattern in its standard output, where that proves the attempt; ``limit`` the setting that the result
    has to name, where it must; ``ends`` are the ends that contain it ("gone": the sandbox died and is rebuilt).
    """

    name: str
    command: str | tuple[str, ...]
    said: str = ""
    limit: str = ""
    timeout: float = 20.0
    ends: frozenset[End] = field(default_factory=lambda: frozenset(("exit",)))
    docker_only: str = ""
    """Why bubblewrap does not hold it."""


def _python(script: str) -> tuple[str, ...]:
    return ("python3", "-I", "-u", "-c", script)


def _ends(*ends: End) -> frozenset[End]:
    return frozenset(ends)


_FORKS = """
import os, sys
print("started", flush=True)
while True:
    try:
        if os.fork() == 0:
            try:
                %s
            except OSError:
                pass
    except OSError:
        pass
"""

_THREADS = """
import threading, time
made = 0
try:
    while made < 100_000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        made += 1
except RuntimeError:
    print("refused", flush=True)
    import os
    os._exit(3)
"""

_VFORKS = """
import ctypes, os, signal
libc = ctypes.CDLL(None)
print("started", flush=True)
import subprocess
kept = []
while True:
    try:
        kept.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
    except OSError as error:
        print("refused", error.errno, flush=True)
        os._exit(3)
"""

_GREED = """
    held = []
    while True:
        held.append(mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000))
"""
_MEMORY = "import mmap\nprint('started', flush=True)\nif True:" + _GREED
_MEMORY_SHARED = f"""
import mmap, os
print("started", flush=True)
for n in range(6):
    if os.fork():
        continue
{_GREED}
while True:
    try:
        pid, status = os.wait()
    except ChildProcessError:
        os._exit(3)
    print("ended", status, flush=True)
"""

# What no process is charged for by its size: nobody but the whole sandbox can be held to account.
_MEMFD = """
import os, time
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("0")
block, held = b"1" * (8 << 20), []
print("started", flush=True)
while True:
    fd = os.memfd_create("x")
    held.append(fd)
    try:
        for _ in range(16):
            os.write(fd, block)
    except OSError as error:
        print("refused", error.errno, flush=True)
        os._exit(3)
"""

_SHARED_SEGMENTS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
print("started", flush=True)
taken = 0
for n in range(200):
    number = libc.shmget(0, ctypes.c_size_t(64 << 20), 0o1600)
    if number < 0:
        break
    place = libc.shmat(number, None, 0)
    if place in (None, ctypes.c_void_p(-1).value):
        break
    ctypes.memset(place, 1, 64 << 20)
    taken += 64
print("taken", taken, "MiB", flush=True)
"""

_MESSAGES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
body = ctypes.create_string_buffer(b"\\1" + b"\\0" * 7 + b"x" * 8000)
queues = sent = 0
while queues < 20_000:
    number = libc.msgget(0, 0o1600)
    if number < 0:
        break
    queues += 1
    while libc.msgsnd(number, body, 8000, 0o4000) == 0:
        sent += 8000
print("queued", queues, sent, flush=True)
"""

_PIPES = """
import fcntl, os
held, total = [], 0
block = b"1" * 65536
try:
    while True:
        r, w = os.pipe()
        held += [r, w]
        os.set_blocking(w, False)
        try:
            fcntl.fcntl(w, 1031, 1 << 20)
        except OSError:
            pass
        try:
            while True:
                total += os.write(w, block)
        except BlockingIOError:
            pass
except OSError as error:
    print("refused", error.errno, total >> 20, "MiB", flush=True)
"""

_SOCKETS = """
import array, os, socket
print("started", flush=True)
held = []
try:
    while True:
        a, b = socket.socketpair()
        a.setblocking(False)
        held += [a, b]
        try:
            while True:
                a.send(b"1" * 65536)
        except BlockingIOError:
            pass
        # In flight, the sockets are counted for nobody.
        try:
            b.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [a.fileno()]))])
        except OSError:
            pass
except OSError as error:
    print("refused", error.errno, flush=True)
"""

_FILL = """
import os, sys
folder = sys.argv[1]
block = b"1" * (1 << 20)
total = 0
try:
    for n in range(100_000):
        with open(f"{folder}/fill{n}", "wb", buffering=0) as file:
            for _ in range(64):
                total += file.write(block)
except OSError as error:
    print("refused", error.errno, total >> 20, "MiB", flush=True)
    sys.exit(3)
"""

_INODES = """
import os, sys
folder = sys.argv[1] + "/inodes"
made = 0
try:
    os.mkdir(folder)
    while made < 250_000:
        os.mknod(f"{folder}/{made}")
        made += 1
    print("made", made, flush=True)
except OSError as error:
    print("refused", error.errno, made, flush=True)
    sys.exit(3)
"""

_LAYER = """
import errno, os
for folder in ("/", "/usr/bin", "/usr/lib/backspace", "/etc", "/var/tmp", "/var/lib", "/run", "/dev", "/root", "/opt",
               "/home", "/sys/fs/cgroup", "/proc/sys/kernel"):
    if not os.path.isdir(folder):
        print(folder, "ENOENT")
        continue
    try:
        with open(folder + "/intruder", "w") as file:
            file.write("x")
        print(folder, "WRITTEN")
    except OSError as error:
        print(folder, errno.errorcode[error.errno])
"""

_SPARSE = """
import errno, os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open("/workspace/sparse", "wb") as file:
    for name, call in (("truncate", lambda: os.ftruncate(file.fileno(), 10 << 40)),
                       ("pwrite", lambda: os.pwrite(file.fileno(), b"x", 10 << 40)),
                       ("fallocate", lambda: os.posix_fallocate(file.fileno(), 0, 10 << 40))):
        try:
            call()
            print(name, "DONE")
        except OSError as error:
            print(name, errno.errorcode[error.errno])
print("size", os.path.getsize("/workspace/sparse"))
"""

_DESCRIPTORS = """
import os
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print("refused", error.errno, len(held), flush=True)
"""

_IGNORES = """
import signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
print("deaf", flush=True)
while True:
    time.sleep(1)
"""

# Daemons in sessions of their own that make each other anew, with every signal ignored.
_DAEMONS = """
import os, signal, sys, time
def daemon(depth):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (1, 2, 3, 13, 15, 17, 18, 20):
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[1] == "quiet":
        for fd in range(3):
            os.close(fd)
    while True:
        time.sleep(0.05)
        if depth < 40 and os.fork() == 0:
            os.setsid()
            depth += 1
for _ in range(5):
    daemon(0)
print("daemons", flush=True)
if sys.argv[2] == "stay":
    time.sleep(600)
"""

_SUBREAPER = """
import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1)
if os.fork() == 0:
    os.setsid()
    for _ in range(8):
        if os.fork() == 0:
            time.sleep(600)
    time.sleep(600)
print("kept", flush=True)
os._exit(0)
"""

_STOPPER = """
import os, signal, time
print("stopping", flush=True)
for _ in range(20):
    if os.fork() == 0:
        while True:
            try:
                os.kill(-1, signal.SIGSTOP)
            except OSError:
                pass
while True:
    os.kill(-1, signal.SIGSTOP)
"""

_BUSY = """
import os
print("busy", flush=True)
for _ in range(8):
    if os.fork() == 0:
        while True:
            pass
while True:
    pass
"""

_DEEP = """
import os
os.chdir("/workspace")
made = 0
for _ in range(10_000):
    os.mkdir("d")
    os.chdir("d")
    made += 1
open("bottom", "w").close()
print("deep", made, flush=True)
"""

_NAMES = """
import os
os.chdir(b"/workspace")
for name in (b"n" * 255, b"\\xff\\xfe", b"a\\nb", b"\\x1b]52;c;aGk=\\x07", b"\\x9b31m", b"-rf", b"--", b"*", b"\\\\", b" ",
             b"\\xe2\\x80\\xaetxt.exe", b"'\\"", b"\\r"):
    open(name, "wb").close()
os.makedirs(b"/".join([b"p" * 200] * 15))
print("named", len(os.listdir(b".")), flush=True)
"""

_LOCKED = """
import os
os.makedirs("/workspace/locked/in/side")
open("/workspace/locked/in/side/f", "w").close()
for folder in ("/workspace/locked/in/side", "/workspace/locked/in", "/workspace/locked", "/workspace"):
    os.chmod(folder, 0)
print("locked", flush=True)
"""

_TIMERS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
made = 0
number = ctypes.c_int()
while made < 60_000 and libc.syscall(222 if __import__("os").uname().machine == "x86_64" else 107, 1, None,
                                      ctypes.byref(number)) == 0:
    made += 1
print("timers", made, errno.errorcode.get(ctypes.get_errno()), flush=True)
"""

_INODES_FREE: Final = "it cannot limit the number of files"
_COUNTED: Final = "counted for no process, and bubblewrap has no limit for all together"

RESOURCES: Final = (
    Attack(
        "fork bomb in sh",
        "echo started; b(){ b|b& };b; sleep 30",
        "started",
        timeout=1,
        ends=_ends("timeout", "exit"),
    ),
    Attack("fork bomb", _python(_FORKS % "pass"), "started", timeout=1, ends=_ends("timeout", "exit")),
    Attack(
        "fork bomb of sessions",
        _python(_FORKS % "os.setsid(); os._exit(0) if os.fork() else None"),
        "started",
        timeout=1,
        ends=_ends("timeout", "exit"),
    ),
    Attack("thread bomb", _python(_THREADS), "refused", "pids"),
    Attack("vfork bomb", _python(_VFORKS), "refused|started", "pids"),
    Attack("memory bomb", _python(_MEMORY), "started", "memory"),
    Attack("memory bomb of many", _python(_MEMORY_SHARED), "ended", "memory", docker_only=_COUNTED),
    Attack("memory files", _python(_MEMFD), "started", ends=_ends("exit", "gone"), docker_only=_COUNTED),
    Attack("shared segments", _python(_SHARED_SEGMENTS), "taken 64 MiB", docker_only=_COUNTED),
    Attack("message queues", _python(_MESSAGES), r"queued 16 \d{1,7}\n", docker_only=_COUNTED),
    Attack("pipe buffers", _python(_PIPES), "refused"),
    Attack("socket buffers", _python(_SOCKETS), "started", ends=_ends("exit", "gone"), docker_only=_COUNTED),
    Attack("full workspace", (*_python(_FILL), "/workspace"), r"refused 28", "workspace"),
    Attack("full home", (*_python(_FILL), "/home/agent"), r"refused 28", "home"),
    Attack("full /tmp", (*_python(_FILL), "/tmp"), r"refused 28", "/tmp"),
    Attack("full /dev/shm", (*_python(_FILL), "/dev/shm"), r"refused 28"),
    Attack(
        "inodes of the workspace",
        (*_python(_INODES), "/workspace"),
        r"refused 28",
        "workspace",
        docker_only=_INODES_FREE,
    ),
    Attack("inodes of home", (*_python(_INODES), "/home/agent"), r"refused 28", docker_only=_INODES_FREE),
    Attack("inodes of /tmp", (*_python(_INODES), "/tmp"), r"refused 28", docker_only=_INODES_FREE),
    Attack("inodes of /dev/shm", (*_python(_INODES), "/dev/shm"), r"refused 28", docker_only=_INODES_FREE),
    Attack("layer", _python(_LAYER), r"/usr/bin (EROFS|EACCES)"),
    Attack("sparse files", _python(_SPARSE), r"truncate EFBIG\npwrite EFBIG\nfallocate EFBIG\nsize 0\n"),
    Attack("descriptors", _python(_DESCRIPTORS), r"refused 24 \d{1,4}\n"),
    Attack("timers", _python(_TIMERS), r"timers \d{4,6} "),
    Attack("every processor", _python(_BUSY), "busy", "timeout", timeout=1.5, ends=_ends("timeout")),
    Attack("deep folders", _python(_DEEP), "deep 10000"),
    Attack("odd names", _python(_NAMES), "named 1[56]"),
    Attack("locked folders", _python(_LOCKED), "locked"),
)

PROCESSES: Final = (
    Attack("sleep for ever", "echo on; sleep infinity", "on", "timeout", timeout=0.5, ends=_ends("timeout")),
    Attack("deaf to signals", _python(_IGNORES), "deaf", "timeout", timeout=0.7, ends=_ends("timeout")),
    Attack(
        "daemons after a timeout",
        (*_python(_DAEMONS), "quiet", "stay"),
        "daemons",
        timeout=1,
        ends=_ends("timeout", "exit"),
    ),
    Attack("daemons after the end", (*_python(_DAEMONS), "quiet", "go"), "daemons"),
    Attack("daemons that hold the output", (*_python(_DAEMONS), "loud", "go"), "daemons"),
    Attack("a child that holds the output", "echo kept; sleep 600 & exit 0", "kept"),
    Attack("a keeper of orphans", _python(_SUBREAPER), "kept"),
    Attack("kill everything", "echo shot; kill -9 -1; sleep 0.1; echo alive", "shot"),
    Attack("stop everything", _python(_STOPPER), "stopping", timeout=1, ends=_ends("timeout", "exit")),
    Attack("stop itself", "echo stopped; kill -STOP $$", "stopped", timeout=0.7, ends=_ends("timeout")),
    Attack("signals to the supervisor", "echo shot; for i in $(seq 1 64); do kill -$i 1 2>/dev/null; done; :", "shot"),
)
