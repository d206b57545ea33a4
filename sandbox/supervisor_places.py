"""The places of a sandbox: emptied and furnished anew, by the image's own programs and as the sandboxed user."""

import errno
import os
import sys
import tarfile

import supervisor_process as process
import supervisor_wire as wire


def prepare(settings, request, source, sink):
    """Empty workspace, fresh HOME: the state of a sandbox that was just opened."""
    for folder in (settings.workspace, settings.home, *(("/tmp", "/dev/shm") if settings.is_init else ())):
        if os.path.isdir(folder):
            empty(folder)
    make_home(settings)


def reading():
    return {"encoding": "utf-8", "errors": "surrogateescape"}


def lay(settings):
    """What setup made inside the repository and git ignores: kept in the image, laid into each workspace."""
    lay_out(settings.lay, settings.workspace)


def lay_out(archive, folder):
    """Unpack what setup left, beside what is there; in a child, since the standard streams are lost to it."""
    if not os.path.exists(archive):
        return
    tar = find("tar")
    if tar is not None and program(tar, "-xf", archive, "-C", folder, "--skip-old-files") == 0:
        return
    # No GNU tar, or something of the agent's stands in the way of an entry; the others are laid all the same.
    with tarfile.open(archive, errorlevel=0, **reading()) as stream:
        # All of it is the user's own, laid by the user: nothing is to be refused, links to outside included.
        stream.extraction_filter = lambda member, _: member
        missing = [entry for entry in stream if not os.path.lexists(os.path.join(folder, entry.name))]
        stream.extractall(folder, missing)  # noqa: S202


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


def trusted_path():
    """The search path without what lies in HOME, where a command may have put programs of the same names."""
    home = process.settings.home + "/"
    folders = os.environ.get("PATH", os.defpath).split(":")
    return [folder for folder in folders if folder.startswith("/") and not (folder + "/").startswith(home)]


def find(name):
    for folder in trusted_path():
        path = folder + "/" + name
        if os.access(path, os.X_OK):
            return path
    return None


def program(*argv):
    """Run a program of the image's with nothing that a command could have configured for it."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    env = {
        "PATH": ":".join(trusted_path()),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
    }
    found = argv[0] if argv[0].startswith("/") else find(argv[0])
    return 127 if found is None else os.spawnve(os.P_WAIT, found, argv, env)


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


def make_home(settings):
    """What setup left, a temporary folder, and a venv that sees the image's own, whose scripts it takes over."""
    home = settings.home
    lay_out(settings.lay_home, home)
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
