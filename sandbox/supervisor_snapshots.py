"""What a workspace holds, as a tar stream: everything, or only what changed since the last time.

What changed is told by ctime, which no user can set, and the stream is then one of GNU tar's incremental archives: an
entry of type "D" lists the names in a folder, so that the client, which knows what was there, finds what is gone. A
folder that was moved keeps the old ctimes of what is below; so the folders are known by path and inode, and one that
is not known is sent whole. A program that reads a shared mapping of a file before it writes to it may leave the
file's ctime as it was on a tmpfs, so after services everything is sent.
"""

import array
import contextlib
import errno
import os
import stat
import struct
import sys
import tarfile
import time

import supervisor_walk
import supervisor_wire as wire
from supervisor_walk import MAX_DEPTH, OPEN_FOLDER

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TAR = {"format": tarfile.GNU_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}
LISTING = b"D"
COARSE_CLOCK = 5  # CLOCK_REALTIME_COARSE: files get their times from it
MARGIN = 20_000_000 if sys.platform == "linux" else 2_000_000_000  # ns
HEAD = struct.Struct("=16sqq")


# What is known of the last time; kept by the supervisor itself, and inherited by the children that do the work.

known = None
restless = False


def remember(state, services_run):
    """Keep what a child found out, once its answer is complete."""
    global known, restless
    known, restless = state, services_run


def services_start():
    """From now on files may change without a trace, until everything is sent while no service runs."""
    global restless
    restless = True


class Moment:
    """The time at which a walk begins, and the folders that it meets."""

    def __init__(self):
        self.token = os.urandom(16)
        self.clock = clock_offset()
        self.since = now() - MARGIN
        self.folders = array.array("q")

    def meet(self, path, inode):
        """Note a folder; returns the number that stands for its path and inode."""
        # The secret of hash() is this supervisor's own and shared by all its children.
        number = hash(b"%d %s" % (inode, path))
        self.folders.append(number)
        return number

    def tell(self, sink):
        state = HEAD.pack(self.token, self.since, self.clock) + self.folders.tobytes()
        for start in range(0, len(state), wire.CHUNK):
            wire.write_all(sink, wire.encode({"event": "state"}, state[start : start + wire.CHUNK]))


def now():
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return int(time.clock_gettime(COARSE_CLOCK) * 1e6) * 1000
    return time.time_ns()


def clock_offset():
    """Moves only when somebody sets the clock: then ctimes tell nothing."""
    return time.time_ns() - time.monotonic_ns()


def last_time(request):
    """(since in ns, numbers of the folders) of the client's last snapshot; None where that does not help."""
    if known is None or restless:
        return None
    token, since, clock = HEAD.unpack_from(known)
    if token.hex() != request.get("base") or abs(clock_offset() - clock) > MARGIN // 2:
        return None
    folders = array.array("q")
    folders.frombytes(known[HEAD.size :])
    return since, set(folders)


# Operations


def export(settings, request, source, sink):
    """All files and links."""
    moment = Moment()
    with Stream(settings, request, sink) as stream:
        stream.moment = moment
        root = open_root(settings)
        stream.folder(root, "", 0)
        os.close(root)
    moment.tell(sink)
    return {"skipped": stream.skipped, "token": moment.token.hex(), "whole": True}


def changes(settings, request, source, sink):
    """What differs from the snapshot ``base``, or everything where that cannot be told."""
    last = last_time(request)
    found = compare(settings, *last) if last is not None else None
    if found is None:
        return export(settings, request, source, sink)
    moment, files, moved, listed = found
    with Stream(settings, request, sink) as stream:
        stream.lists = True
        for path in files:
            stream.at(path, stream.entry)
        for path in moved:
            stream.within(path, stream.folder)
        for path in {*listed, *(os.path.dirname(path) for path in stream.refused)}:
            stream.within(path, stream.names)
    moment.tell(sink)
    return {"skipped": stream.skipped, "token": moment.token.hex(), "whole": False}


def compare(settings, since, folders):
    """The moment of this walk; the files that changed, the folders that came, and those whose names changed."""
    for walk in supervisor_walk.WALKS:
        moment = Moment()
        files, moved, listed = [], set(), []
        try:
            for changed, kind, mode, inode, path in walk(settings, since):
                depth = path.count(b"/")
                if depth > MAX_DEPTH or (depth == MAX_DEPTH and kind == b"d"):
                    continue
                if kind == b"d" and (moment.meet(path, inode) not in folders or mode & 0o500 != 0o500):
                    moved.add(path)
                elif changed:
                    (listed if kind == b"d" else files).append(path)
        except supervisor_walk.NotSearched:
            continue
        return moment, *(
            [os.fsdecode(path) for path in some if not inside(path, moved)] for some in (files, moved, listed)
        )
    return None


def inside(path, folders):
    """Whether one of ``folders`` is above ``path``."""
    while path:
        path = path.rpartition(b"/")[0]
        if path in folders:
            return True
    return False


def mark(settings, sink):
    """Note the present as what the client knows; returns its name, or None where it could not be noted."""
    found = compare(settings, None, ())
    if found is None:
        return None
    found[0].tell(sink)
    return found[0].token.hex()


# Sending


class Stream:
    """A tar stream to the client, within its caps on bytes and files."""

    def __init__(self, settings, request, sink):
        self.settings, self.sink = settings, sink
        self.bytes_left, self.files_left = request["max_bytes"], request["max_files"]
        self.skipped = 0
        self.refused = set()
        self.lists = False
        self.moment = None
        self.archive = tarfile.open(fileobj=self, mode="w|", bufsize=wire.CHUNK, **TAR)  # noqa: SIM115

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.archive.close()

    def write(self, data):
        for start in range(0, len(data), wire.CHUNK):
            wire.write_all(self.sink, wire.encode({"event": "data"}, bytes(data[start : start + wire.CHUNK])))
        return len(data)

    def add(self, entry, content=None):
        self.bytes_left -= max(entry.size, len(entry.linkname))
        if entry.type != LISTING:
            self.files_left -= 1
        if self.bytes_left < 0:
            raise OSError(errno.EFBIG, "the workspace holds more bytes than a snapshot may have", None)
        if self.files_left < 0:
            raise OSError(errno.EFBIG, "the workspace holds more files than a snapshot may have", None)
        self.archive.addfile(entry, content)
        self.archive.members = []  # a stream keeps them all otherwise

    def folder(self, folder, prefix, depth):
        """All that is below a folder, whose entries have ``depth`` folders above them."""
        if self.moment is not None:
            self.moment.meet(os.fsencode(prefix[:-1]), os.fstat(folder).st_ino)
        for name in sorted(os.listdir(folder)):
            if name.lower() != ".git":
                self.entry(folder, name, prefix, depth)
        if self.lists:
            self.names(folder, prefix, depth)

    def entry(self, folder, name, prefix, depth):
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                if depth >= MAX_DEPTH:
                    self.skipped += 1
                    return
                below = open_own(name, OPEN_FOLDER, folder, info)
                try:
                    self.folder(below, prefix + name + "/", depth + 1)
                finally:
                    os.close(below)
            else:
                self.file(folder, name, prefix, info)
        except FileNotFoundError:
            pass
        except PermissionError:
            self.skipped += 1
            self.refused.add(prefix + name)

    def file(self, folder, name, prefix, info):
        entry = tarfile.TarInfo(prefix + name)
        if stat.S_ISLNK(info.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=folder)
            self.add(entry)
            return
        if not stat.S_ISREG(info.st_mode):
            self.skipped += 1
            return
        fd = open_own(name, OPEN_FILE, folder, info)
        with open(fd, "rb", buffering=0) as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                self.skipped += 1
                return
            entry.size = found.st_size
            entry.mode = 0o755 if info.st_mode & 0o100 else 0o644
            self.add(entry, Exactly(file, found.st_size))

    def names(self, folder, prefix, depth):
        """What a folder holds: each name behind D (a folder) or Y (a file or link), as GNU tar writes it."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower() == ".git" or prefix + entry.name in self.refused:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.append(b"D" + os.fsencode(entry.name) + b"\0")
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    found.append(b"Y" + os.fsencode(entry.name) + b"\0")
        data = b"".join(found)
        entry = tarfile.TarInfo(prefix[:-1] or ".")
        entry.type, entry.size = LISTING, len(data)
        self.add(entry, Whole(data))

    def at(self, path, send):
        """Send one entry; what is gone by now is left out."""
        above, _, name = path.rpartition("/")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder = open_path(self.settings, above)
            try:
                send(folder, name, above + "/" if above else "", above.count("/") + 1 if above else 0)
            finally:
                os.close(folder)

    def within(self, path, send):
        """Send something of a folder."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder = open_path(self.settings, path)
            try:
                send(folder, path + "/" if path else "", path.count("/") + 1 if path else 0)
            finally:
                os.close(folder)


def open_root(settings):
    return open_own(settings.workspace, OPEN_FOLDER, None, os.lstat(settings.workspace))


def open_path(settings, path):
    """A folder of the workspace, through no link."""
    here = open_root(settings)
    for part in path.split("/"):
        if part:
            above = here
            try:
                info = os.stat(part, dir_fd=above, follow_symlinks=False)
                here = open_own(part, OPEN_FOLDER, above, info)
            finally:
                os.close(above)
    return here


def open_own(name, flags, folder, info):
    """Open what the user may have made unreadable for himself; a link is never followed."""
    # A folder that can only be read opens, and then shows nothing of its entries.
    walkable = not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o500 == 0o500
    if walkable:
        with contextlib.suppress(PermissionError):
            return os.open(name, flags, dir_fd=folder)
    if not stat.S_ISLNK(info.st_mode):
        with contextlib.suppress(PermissionError):
            os.chmod(name, stat.S_IMODE(info.st_mode) | (0o600 if walkable else 0o700), dir_fd=folder)
    return os.open(name, flags, dir_fd=folder)


class Exactly:
    """A file as long as its entry said, whatever happens to it meanwhile."""

    def __init__(self, file, size):
        self.file, self.left = file, size

    def read(self, size):
        wanted = min(size, self.left)
        data = self.file.read(wanted)
        while len(data) < wanted:
            more = self.file.read(wanted - len(data))
            data += more or b"\0" * (wanted - len(data))
        self.left -= len(data)
        return data


class Whole:
    """Bytes as a file."""

    def __init__(self, data):
        self.data = data

    def read(self, size):
        data, self.data = self.data[:size], self.data[size:]
        return data


OPERATIONS = {"export": export, "changes": changes}
