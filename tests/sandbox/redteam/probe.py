"""What runs inside: every attempt on the kernel, the network and secrets in a child of its own, told as JSON."""

# ruff: noqa: E501
from __future__ import annotations

from typing import Final

PROBE: Final = r'''
import ctypes, errno, json, os, signal, socket, stat, struct, subprocess, sys

settings = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
arm = os.uname().machine == "aarch64"
results = {}


def attempt(name, call):
    """In a child: how it ended, as an error's name, a signal's, or ALLOWED with the value."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            value = call()
            said = "ALLOWED %r" % (value,)
        except OSError as error:
            said = errno.errorcode.get(error.errno, type(error).__name__)
        except BaseException as error:
            said = type(error).__name__ + ": " + str(error)
        os.write(write, said.encode()[:300])
        os._exit(0)
    os.close(write)
    said = b""
    while True:
        more = os.read(read, 4096)
        if not more:
            break
        said += more
    os.close(read)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        said = signal.Signals(os.WTERMSIG(status)).name.encode()
    results[name] = said.decode(errors="replace")


def system(number, *arguments):
    ctypes.set_errno(0)
    padded = [ctypes.c_long(value) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    value = libc.syscall(ctypes.c_long(number), *padded)
    if value == -1:
        raise OSError(ctypes.get_errno(), "")
    return value


def written(path, data=b""):
    """Opened for writing; nothing is written, as where this is allowed it could be the machine's own setting."""
    os.close(os.open(path, os.O_WRONLY))
    return "opened"


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read(64)


def cloned(flags):
    pid = system(220 if arm else 56, flags | signal.SIGCHLD)
    if pid == 0:
        os._exit(0)
    return pid


for name, number in settings["calls"].items():
    attempt(name, lambda: system(number))
for bit in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
    attempt("clone %x" % bit, lambda: cloned(bit))
attempt("clone3", lambda: system(435, 0, 0))
attempt("personality", lambda: system(92 if arm else 135, 0x0040000))
attempt("x32", lambda: system(0x40000000 + 39))
families = {"packet": (17, 3), "vsock": (40, 1), "alg": (38, 5), "bluetooth": (31, 3), "can": (29, 3), "tipc": (30, 2),
            "key": (15, 3), "xdp": (44, 3), "rds": (21, 5), "smc": (43, 1), "x25": (9, 5), "ax25": (3, 5), "appletalk": (5, 2),
            "vsock dgram": (40, 2), "nfc": (39, 5), "llc": (26, 1), "ieee802154": (36, 2), "qipcrtr": (42, 2), "kcm": (41, 5)}
for name, (family, kind) in families.items():
    attempt("socket " + name, lambda: socket.socket(family, kind).family)
for protocol in (2, 6, 9, 10, 12, 15, 16, 20, 21):
    attempt("netlink %d" % protocol, lambda: socket.socket(16, 3, protocol).family)
for family in (2, 10):
    attempt("raw socket %d" % family, lambda: socket.socket(family, socket.SOCK_RAW, 1).family)

attempt("setuid", lambda: os.setuid(0))
attempt("setgid", lambda: os.setgid(0))
attempt("setgroups", lambda: os.setgroups([0]))
attempt("chown", lambda: (open("/workspace/mine", "w").close(), os.chown("/workspace/mine", 0, 0)))


def setuid_file():
    """A copy of the interpreter that is set-user-id, whoever owns it, must not make anybody of us."""
    copy = "/workspace/setuid"
    with open("/bin/true", "rb") as source, open(copy, "wb") as target:
        target.write(source.read())
    os.chmod(copy, 0o6755)
    flags = os.statvfs("/workspace").f_flag
    return "nosuid" if flags & os.ST_NOSUID else "suid"


attempt("setuid file", setuid_file)


def setuid_programs():
    """Every set-user-id program of the root, run: none may have gained anything."""
    found = []
    for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/lib/openssh", "/usr/libexec"):
        for entry in os.scandir(folder) if os.path.isdir(folder) else ():
            if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mode & 0o6000:
                found.append(entry.path)
    for path in found:
        process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with open("/proc/%d/status" % process.pid) as file:
                fields = dict(line.split(":", 1) for line in file.read().splitlines())
            if "0" in fields["Uid"].split() or int(fields["CapEff"], 16):
                return path
        except OSError:
            pass
        finally:
            process.kill()
            process.wait()
    return "nothing gained"


attempt("setuid programs", setuid_programs)
for name, kind, device in (("memory", stat.S_IFCHR, (1, 1)), ("disk", stat.S_IFBLK, (254, 0)), ("disk 8", stat.S_IFBLK, (8, 0)),
                           ("kmsg", stat.S_IFCHR, (1, 11))):
    for folder in ("/workspace", "/dev/shm"):
        attempt("mknod %s in %s" % (name, folder), lambda: os.mknod(folder + "/dev" + name, kind | 0o666, os.makedev(*device)))
attempt("chroot", lambda: os.chroot("/workspace"))
attempt("capset", lambda: (libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("IIIIII", *[0xFFFFFFFF] * 6)) and
                           (_ for _ in ()).throw(OSError(ctypes.get_errno(), ""))))

sibling = os.fork()
if sibling == 0:
    signal.pause()
for name, pid in (("sibling", sibling), ("supervisor", 1)):
    for request, label in ((16, "attach"), (0x4206, "seize")):
        attempt("ptrace %s %s" % (label, name), lambda: system(117 if arm else 101, request, pid))
attempt("traceme", lambda: system(117 if arm else 101, 0))
os.kill(sibling, 9)

one = {"environ": read, "mem": read, "maps": read, "auxv": read, "stack": read, "syscall": read, "io": read,
       "fd": os.listdir, "fdinfo": os.listdir, "map_files": os.listdir, "cwd": os.readlink, "root": os.readlink,
       "exe": os.readlink, "fd/0": read, "fd/1": written, "fd/2": written, "root/etc/passwd": read, "cwd/marker": read,
       "task/1/environ": read, "ns/net": lambda path: system(268 if arm else 308, os.open(path, os.O_RDONLY), 0)}
for name, call in one.items():
    attempt("supervisor " + name, lambda: call("/proc/1/" + name))
for name in ("mem", "oom_score_adj", "clear_refs", "comm", "attr/current", "coredump_filter", "timerslack_ns",
             "uid_map", "gid_map", "setgroups", "loginuid", "sched", "autogroup"):
    if os.path.exists("/proc/1/" + name):
        # Some may be opened by everybody, and look at the writer then.
        attempt("write supervisor " + name, lambda: os.write(os.open("/proc/1/" + name, os.O_WRONLY), b"0"))
attempt("signal supervisor", lambda: os.kill(1, signal.SIGKILL))
attempt("signal supervisor 0", lambda: os.kill(1, 0))
attempt("pidfd supervisor", lambda: signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL))
information = ctypes.create_string_buffer(struct.pack("iii", 9, 0, -1), 128)
attempt("sigqueue supervisor", lambda: system(138 if arm else 129, 1, 9, ctypes.addressof(information)))
import resource
attempt("limit supervisor", lambda: resource.prlimit(1, resource.RLIMIT_CPU, (1, 1)))
attempt("nice supervisor", lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
attempt("idle supervisor", lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)))
attempt("pin supervisor", lambda: os.sched_setaffinity(1, {0}))
attempt("ioprio supervisor", lambda: system(30 if arm else 251, 1, 1, 3 << 13))
attempt("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("nice up", lambda: os.nice(-5))
attempt("lock memory", lambda: libc.mlockall(3) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), "")))
attempt("raise descriptors", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)))
attempt("raise file size", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)))
attempt("raise core", lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)))

for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
             "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
             "/proc/sys/kernel/shmall", "/proc/sys/kernel/sched_rt_runtime_us", "/proc/sys/fs/binfmt_misc/register",
             "/proc/irq/default_smp_affinity", "/proc/acpi/wakeup", "/proc/mtrr", "/proc/kcore", "/proc/kmsg", "/dev/kmsg",
             "/dev/mem", "/dev/port", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/vhost-net", "/dev/userfaultfd",
             "/dev/vsock", "/dev/sda", "/dev/vda", "/dev/console", "/dev/tty0", "/dev/vcs", "/dev/mapper/control",
             "/dev/loop-control", "/dev/disk", "/dev/tty", "/dev/pts/0", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run",
             "/sys/power/state", "/sys/class/net/lo/mtu", "/sys/block", "/sys/kernel/debug", "/sys/kernel/security",
             "/sys/firmware/efi/efivars", "/sys/module/apparmor/parameters/mode", "/etc/passwd", "/etc/shadow",
             "/etc/ld.so.preload", "/etc/hosts", "/etc/resolv.conf", "/usr/lib/backspace/supervisor.py",
             "/run/backspace/supervisor.py", "/proc/1/exe", "/bin/sh", "/usr/bin/python3"):
    attempt("write " + path, lambda: written(path, b"1"))
for root, folders, files in os.walk("/sys/fs/cgroup"):
    for name in files:
        if name in ("cgroup.procs", "tasks", "release_agent", "memory.limit_in_bytes", "memory.max", "pids.max",
                    "cpu.max", "cpu.cfs_quota_us", "cgroup.subtree_control", "devices.allow", "notify_on_release"):
            attempt("write " + os.path.join(root, name), lambda: written(os.path.join(root, name), b"1"))
    attempt("mkdir in " + root, lambda: os.mkdir(root + "/intruder"))
attempt("TIOCSTI", lambda: __import__("fcntl").ioctl(0, 0x5412, b"x"))
attempt("TIOCSTI tty", lambda: __import__("fcntl").ioctl(os.open("/dev/tty", os.O_RDWR), 0x5412, b"x"))
attempt("exec in /tmp", lambda: (open("/tmp/run", "w").write("#!/bin/sh\n"), os.chmod("/tmp/run", 0o755),
                                 subprocess.run(["/tmp/run"]).returncode))
attempt("exec in /dev/shm", lambda: (open("/dev/shm/run", "w").write("#!/bin/sh\n"), os.chmod("/dev/shm/run", 0o755),
                                     subprocess.run(["/dev/shm/run"]).returncode))


def loaded():
    """The loader runs a program from a place where nothing may be executed."""
    import glob, shutil
    shutil.copy("/bin/true", "/tmp/true")
    loader = (glob.glob("/lib64/ld-linux*") + glob.glob("/lib/ld-linux*"))[0]
    return subprocess.run([loader, "/tmp/true"], stderr=subprocess.PIPE, check=False).returncode or "ran"


attempt("loader in /tmp", loaded)

for name, family, address in (("address", 2, ("1.1.1.1", 53)), ("address 6", 10, ("2606:4700:4700::1111", 53)),
                              ("metadata", 2, ("169.254.169.254", 80)), ("metadata 6", 10, ("fd00:ec2::254", 80)),
                              ("gateway", 2, ("172.17.0.1", 2375)), ("resolver", 2, ("8.8.8.8", 53)),
                              ("private", 2, ("10.0.0.1", 80)), ("private 192", 2, ("192.168.0.1", 80)),
                              *(("host %d" % n, 2, tuple(place)) for n, place in enumerate(settings["listening"]))):
    def connect(kind, family=family, address=address):
        sock = socket.socket(family, kind)
        sock.settimeout(3)
        sock.connect(address)
        sock.send(b"x")
        return address
    attempt("connect " + name, lambda: connect(socket.SOCK_STREAM))
    if not name.startswith("host"):
        attempt("send to " + name, lambda: connect(socket.SOCK_DGRAM))
attempt("name", lambda: socket.getaddrinfo("example.com", 80))
attempt("name of the host", lambda: socket.getaddrinfo("host.docker.internal", 80))
for name in settings["abstract"]:
    attempt("abstract socket", lambda: socket.socket(1).connect("\0" + name))
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/systemd/private",
             "/run/dbus/system_bus_socket", "/run/user/1000/bus", "/var/run/docker/docker.sock", *settings["sockets"]):
    attempt("socket " + path, lambda: socket.socket(1).connect(path))
results["interfaces"] = sorted(name for _, name in socket.if_nameindex())

for path in settings["files"]:
    attempt("file " + path, lambda: read(path))


def leaks():
    """Places in which the caller's secret turns up."""
    found = []
    secret = settings["secret"][::-1].encode()
    names = [os.environ.get(name) for name in settings["variables"]]
    if any(names):
        found.append("environment")
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        for name in ("environ", "cmdline", "mountinfo"):
            try:
                with open("/proc/%s/%s" % (pid, name), "rb") as file:
                    data = file.read()
            except OSError:
                continue
            if secret in data:
                found.append(pid + "/" + name)
    return found


results["leaks"] = leaks()
results["descriptors"] = sorted(fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd))
with open("/proc/self/status") as file:
    results["status"] = {key: rest.strip() for key, _, rest in (line.partition(":") for line in file)}
results["who"] = [*os.getresuid(), *os.getresgid(), *os.getgroups()]
print(json.dumps(results))
'''
