"""What the supervisor's children do with files, always as the sandboxed user: load, read, write, delete.

No path is followed through a link out of the workspace: every component is opened without following, and links
are resolved by hand, inside. The folder may be changed by a service meanwhile; nothing here relies on it standing
still.
"""

import contextlib
import errno
import os
import stat
import tarfile

import supervisor_places as places
import supervisor_snapshots as snapshots
import supervisor_wire as wire
from supervisor_snapshots import OPEN_FOLDER

MAX_LINKS = 32
COPY = 1024 * 1024


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
    scratch = scratch_name()
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


def scratch_name():
    return ".backspace-%d-%s" % (os.getpid(), os.urandom(6).hex())


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


def apply(settings, request, source, sink):
    """Make paths hold what the stream says, whatever stands there, after those of ``gone`` are removed."""
    for path in request["gone"]:
        remove(settings, path)
    with os.fdopen(source, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", **places.reading()) as archive:
        for entry in archive:
            folder, name = clear_way(settings, entry.name)
            try:
                put(archive, entry, folder, name)
            finally:
                os.close(folder)


def remove(settings, path):
    """Remove a file or link and the folders that became empty; a folder in its place stays."""
    parts = path.split("/")
    folders = [snapshots.open_root(settings)]
    try:
        for part in parts[:-1]:
            info = os.stat(part, dir_fd=folders[-1], follow_symlinks=False)
            folders.append(snapshots.open_own(part, OPEN_FOLDER, folders[-1], info))
        open_to_writing(folders[-1])
        os.unlink(parts[-1], dir_fd=folders[-1])
        for depth in range(len(parts) - 2, -1, -1):
            os.rmdir(parts[depth], dir_fd=folders[depth])
    except OSError as error:
        expected = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EPERM, errno.ENOTEMPTY, errno.EEXIST)
        if error.errno not in expected:
            raise
    finally:
        for fd in folders:
            os.close(fd)


def open_to_writing(folder):
    """A folder that the user closed to himself."""
    mode = stat.S_IMODE(os.fstat(folder).st_mode)
    if mode & 0o700 != 0o700:
        os.fchmod(folder, mode | 0o700)


def clear_way(settings, path):
    """The folder of ``path``, made where it is missing; whatever else stands in the way of a folder or file goes."""
    *parts, name = path.split("/")
    here = snapshots.open_root(settings)
    for part in parts:
        above = here
        try:
            open_to_writing(above)
            with contextlib.suppress(FileNotFoundError):
                info = os.stat(part, dir_fd=above, follow_symlinks=False)
                if not stat.S_ISDIR(info.st_mode):
                    os.unlink(part, dir_fd=above)
                else:
                    here = snapshots.open_own(part, OPEN_FOLDER, above, info)
                    continue
            os.mkdir(part, 0o755, dir_fd=above)
            here = os.open(part, OPEN_FOLDER, dir_fd=above)
        finally:
            os.close(above)
    open_to_writing(here)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
            target = settings.workspace + "/" + path
            places.empty(target)
            os.rmdir(target)
    return here, name


def put(archive, entry, folder, name):
    scratch = scratch_name()
    try:
        if entry.issym():
            os.symlink(entry.linkname, scratch, dir_fd=folder)
        else:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
            try:
                spill(archive, entry, fd)
            finally:
                os.close(fd)
        os.rename(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch, dir_fd=folder)
        raise


def spill(archive, entry, fd):
    content = archive.extractfile(entry)
    while True:
        data = content.read(COPY)
        if not data:
            break
        wire.write_all(fd, data)
    os.fchmod(fd, 0o755 if entry.mode & 0o100 else 0o644)


def load(settings, request, source, sink):
    places.empty(settings.workspace)
    links = []
    made = set()
    with os.fdopen(source, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", **places.reading()) as archive:
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
                spill(archive, entry, fd)
            finally:
                os.close(fd)
    # Last, so that no file is written through one.
    for link, target in links:
        os.symlink(link, target)
    git = request.get("git") and places.start_repository(settings, request.get("tag") or "")
    # What setup made was not the client's, so that counts as a change.
    token = snapshots.mark(settings, sink)
    places.lay(settings)
    return {"git": bool(git), "token": token}


OPERATIONS = {
    "load": load,
    "read": read,
    "write": write,
    "delete": delete,
    "apply": apply,
    "prepare": places.prepare,
    **snapshots.OPERATIONS,
}
