"""What the supervisor's children do with files, always as the sandboxed user: load, export, read, write, delete.

No path is followed through a link out of the workspace: every component is opened without following, and links
are resolved by hand, inside. The folder may be changed by a service meanwhile; nothing here relies on it standing
still.
"""

import contextlib
import errno
import os
import stat
import sys
import tarfile

import supervisor_wire as wire

MAX_DEPTH = 128
MAX_LINKS = 32
COPY = 1024 * 1024
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
TAR = {"format": tarfile.GNU_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}


def refuse(text, path):
    return PermissionError(errno.EACCES, text, path)


# Paths


def resolve(settings, path, follow_last):
    """Open the folder of ``path`` inside the workspace; returns (folder's descriptor, last name)."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or "\0" in path or not parts:
        raise refuse("not a path inside the workspace", path)
    stack = [os.open(settings.workspace, OPEN_FOLDER)]
    links = 0
    try:
        while True:
            part = parts.pop(0)
            if part == "..":
                if len(stack) == 1:
                    raise refuse("leads out of the workspace", path)
                os.close(stack.pop())
                if not parts:
                    parts = ["."]
                continue
            here = stack[-1]
            if parts or follow_last:
                try:
                    target = os.readlink(part, dir_fd=here)
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.ENOENT):
                        raise
                else:
                    links += 1
                    if links > MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                    if target.startswith("/"):
                        inside = settings.workspace + "/"
                        if not target.startswith(inside):
                            raise refuse("a symbolic link leads out of the workspace", path)
                        target = target[len(inside) :]
                        while len(stack) > 1:
                            os.close(stack.pop())
                    parts = [piece for piece in target.split("/") if piece not in ("", ".")] + parts or ["."]
                    continue
            if not parts:
                return os.dup(here), part
            stack.append(os.open(part, OPEN_FOLDER, dir_fd=here))
    finally:
        for fd in stack:
            os.close(fd)


def make_folders(settings, path):
    """The folder of ``path``, made where it is missing, never through a link."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or "\0" in path or not parts or ".." in parts:
        raise refuse("not a path inside the workspace", path)
    here = os.open(settings.workspace, OPEN_FOLDER)
    for part in parts[:-1]:
        below = here
        try:
            try:
                here = os.open(part, OPEN_FOLDER, dir_fd=below)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=below)
                here = os.open(part, OPEN_FOLDER, dir_fd=below)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR) and is_link(part, below):
                    raise refuse("a folder of this path is a symbolic link", path) from None
                raise
        finally:
            os.close(below)
    return here, parts[-1]


def is_link(name, folder):
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


# Operations: (settings, request, source descriptor, sink descriptor) -> fields of the reply


def read(settings, request, source, sink):
    path = request["path"]
    folder, name = resolve(settings, path, follow_last=True)
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    state = os.fstat(fd)
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(state.st_mode):
        raise refuse("not a regular file", path)
    if state.st_size > request["max_bytes"]:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    left = request["max_bytes"]
    while left:
        data = os.read(fd, min(wire.CHUNK, left))
        if not data:
            break
        left -= len(data)
        wire.write_all(sink, wire.encode({"event": "data"}, data))
    return {"mode": 0o100755 if state.st_mode & 0o100 else 0o100644}


def write(settings, request, source, sink):
    path, mode = request["path"], request.get("mode")
    folder, name = make_folders(settings, path)
    try:
        present = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        present = None
    if present is not None and stat.S_ISDIR(present.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if present is not None and stat.S_ISLNK(present.st_mode) and mode != 0o120000:
        raise refuse("is a symbolic link; write to what it points to, or delete it first", path)
    scratch = ".backspace-%d-%s" % (os.getpid(), os.urandom(6).hex())
    try:
        if mode == 0o120000:
            os.symlink(read_all(source), os.fsencode(scratch), dir_fd=folder)
        else:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
            copy(source, fd)
            bits = 0o755 if mode == 0o100755 else 0o644
            if mode is None and present is not None and stat.S_ISREG(present.st_mode):
                bits = stat.S_IMODE(present.st_mode) & 0o777
            os.fchmod(fd, bits)
            os.close(fd)
        os.rename(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch, dir_fd=folder)
        raise


def read_all(source):
    data = b""
    while True:
        more = os.read(source, wire.CHUNK)
        if not more:
            return data
        data += more


def copy(source, target):
    while True:
        data = os.read(source, wire.CHUNK)
        if not data:
            return
        wire.write_all(target, data)


def delete(settings, request, source, sink):
    path = request["path"]
    folder, name = resolve(settings, path, follow_last=False)
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    os.unlink(name, dir_fd=folder)
    # Folders that became empty go too, as git has no empty folders; the workspace itself stays.
    parts = [part for part in path.split("/") if part not in ("", ".")][:-1]
    while parts and ".." not in parts:
        try:
            above, last = resolve(settings, "/".join(parts), follow_last=False)
            os.rmdir(last, dir_fd=above)
        except OSError:
            return
        parts.pop()


def prepare(settings, request, source, sink):
    """Empty workspace, fresh HOME: the state of a sandbox that was just opened."""
    empty(settings.workspace)
    make_home(settings)


def load(settings, request, source, sink):
    empty(settings.workspace)
    links = []
    made = set()
    with os.fdopen(source, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", **reading()) as archive:
        for entry in archive:
            target = settings.workspace + "/" + entry.name
            folder = os.path.dirname(target)
            if folder not in made:
                os.makedirs(folder, exist_ok=True)
                made.add(folder)
            if entry.issym():
                links.append((entry.linkname, target))
                continue
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
            try:
                content = archive.extractfile(entry)
                while True:
                    data = content.read(COPY)
                    if not data:
                        break
                    wire.write_all(fd, data)
                os.fchmod(fd, 0o755 if entry.mode & 0o100 else 0o644)
            finally:
                os.close(fd)
    # Last, so that no file is written through one.
    for link, target in links:
        os.symlink(link, target)
    git = request.get("git") and start_repository(settings, request.get("tag") or "")
    if os.path.exists(settings.lay):
        lay(settings)
    return {"git": bool(git)}


def reading():
    return {"encoding": "utf-8", "errors": "surrogateescape"}


def lay(settings):
    """What setup made inside the repository and git ignores: kept in the image, laid into each workspace."""
    program("tar", "-xf", settings.lay, "-C", settings.workspace, "--skip-old-files")


def start_repository(settings, tag):
    """A throwaway repository without remotes: git diff and git describe work, and nothing in it is trusted."""
    git = find("git")
    if git is None:
        return False
    os.chdir(settings.workspace)
    if program(git, "init", "-q", "--template=", "-b", "work") != 0:
        return False
    with open(".git/config", "a") as file:
        file.write("[user]\n\tname = Agent\n\temail = agent@localhost\n[gc]\n\tauto = 0\n[commit]\n\tgpgSign = false\n")
    program(git, "add", "-A", "-f")
    program(git, "commit", "-q", "--no-verify", "--allow-empty", "-m", "The state at the start of the task")
    if tag:
        program(git, "tag", "--", tag)
    return True


def find(name):
    for folder in os.environ.get("PATH", os.defpath).split(":"):
        path = folder + "/" + name
        if os.access(path, os.X_OK):
            return path
    return None


def program(*argv):
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    return os.spawnvp(os.P_WAIT, argv[0], argv)


def empty(folder):
    """Remove whatever is in a folder, unreadable and very deep trees included."""
    if not os.listdir(folder):
        return
    for fix in (False, True):
        names = ["./" + name for name in os.listdir(folder)]
        os.chdir(folder)
        for start in range(0, len(names), 500):
            if fix:
                program("chmod", "-R", "u+rwx", "--", *names[start : start + 500])
            program("rm", "-rf", "--", *names[start : start + 500])
        if not os.listdir(folder):
            return
    raise OSError(errno.EBUSY, "the workspace cannot be emptied", folder)


def remove_tree(folder):
    try:
        empty(folder)
        os.chdir("/")
        os.rmdir(folder)
    except OSError:
        pass


class FrameWriter:
    def __init__(self, sink):
        self.sink = sink

    def write(self, data):
        for start in range(0, len(data), wire.CHUNK):
            wire.write_all(self.sink, wire.encode({"event": "data"}, bytes(data[start : start + wire.CHUNK])))
        return len(data)


def export(settings, request, source, sink):
    state = {"left": request["max_bytes"], "files": request["max_files"], "skipped": 0}
    with tarfile.open(fileobj=FrameWriter(sink), mode="w|", bufsize=wire.CHUNK, **TAR) as archive:
        root = os.open(settings.workspace, OPEN_FOLDER)
        export_folder(archive, root, "", 0, state)
        os.close(root)
    return {"skipped": state["skipped"]}


def export_folder(archive, folder, prefix, depth, state):
    for name in sorted(os.listdir(folder)):
        if name.lower() == ".git":
            continue
        try:
            export_entry(archive, folder, name, prefix, depth, state)
        except FileNotFoundError:
            continue
        except PermissionError:
            state["skipped"] += 1


def open_own(name, flags, folder):
    """Open what the user may have made unreadable for himself; a link is never followed."""
    try:
        return os.open(name, flags, dir_fd=folder)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=folder)
        return os.open(name, flags, dir_fd=folder)


def export_entry(archive, folder, name, prefix, depth, state):
    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    entry = tarfile.TarInfo(prefix + name)
    if stat.S_ISDIR(info.st_mode):
        if depth >= MAX_DEPTH:
            state["skipped"] += 1
            return
        below = open_own(name, OPEN_FOLDER, folder)
        try:
            export_folder(archive, below, prefix + name + "/", depth + 1, state)
        finally:
            os.close(below)
        return
    if stat.S_ISLNK(info.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=folder)
        spend(state, len(entry.linkname))
        archive.addfile(entry)
        return
    if not stat.S_ISREG(info.st_mode):
        state["skipped"] += 1
        return
    fd = open_own(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, folder)
    with open(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            state["skipped"] += 1
            return
        spend(state, found.st_size)
        entry.size = found.st_size
        entry.mode = 0o755 if info.st_mode & 0o100 else 0o644
        archive.addfile(entry, Exactly(file, found.st_size))


def spend(state, size):
    state["left"] -= size
    state["files"] -= 1
    if state["left"] < 0:
        raise OSError(errno.EFBIG, "the workspace holds more bytes than a snapshot may have", None)
    if state["files"] < 0:
        raise OSError(errno.EFBIG, "the workspace holds more files than a snapshot may have", None)


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


def make_home(settings):
    """A temporary folder, and a venv that sees the image's own, whose scripts it takes over."""
    home = settings.home
    os.makedirs(home + "/tmp", exist_ok=True)
    python = os.path.realpath(settings.python)
    version = "python%d.%d" % sys.version_info[:2]
    venv = home + "/.venv"
    site = f"{venv}/lib/{version}/site-packages"
    os.makedirs(site, exist_ok=True)
    os.makedirs(venv + "/bin", exist_ok=True)
    with open(venv + "/pyvenv.cfg", "w") as file:
        file.write(
            "home = %s\ninclude-system-site-packages = true\nversion = %s\n"
            % (os.path.dirname(python), sys.version.split()[0])
        )
    for name in ("python", "python3", version):
        if not os.path.lexists(f"{venv}/bin/{name}"):
            os.symlink(python, f"{venv}/bin/{name}")
    image = settings.image_venv
    packages = f"{image}/lib/{version}/site-packages"
    if os.path.isdir(packages):
        with open(site + "/_image.pth", "w") as file:
            file.write(f"import site; site.addsitedir({packages!r})\n")
        take_over(image + "/bin", venv + "/bin")


def take_over(source, target):
    old = source.encode() + b"/python"
    for name in os.listdir(source):
        try:
            with open(source + "/" + name, "rb") as file:
                first = file.readline(512)
                if not first.startswith(b"#!" + old) or os.path.lexists(target + "/" + name):
                    continue
                rest = file.read()
            fd = os.open(target + "/" + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
            wire.write_all(fd, b"#!" + target.encode() + b"/python\n" + rest)
            os.close(fd)
        except OSError:
            continue


OPERATIONS = {"load": load, "export": export, "read": read, "write": write, "delete": delete, "prepare": prepare}
