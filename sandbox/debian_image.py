#!/usr/bin/env python3
"""Make the root file system of a sandbox image from Debian packages, as a tar on stdout or in a file.

For hosts that reach a Debian (or Ubuntu) mirror but no container registry. Needs apt-get, apt-config and
dpkg-deb; neither root nor mmdebstrap, because nothing is unpacked onto the host: the packages' own tar
streams are merged into one. The host's sources, keys and proxy are used as they are, and stay out of the image.

    debian_image.py slim root.tar       then: docker import, and run /usr/lib/backspace/finish.sh in it

The default image keeps dpkg's database: its packages stand as "unpacked" and finish.sh configures them
inside a container. The slim image needs no maintainer script and carries no database.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Debian and Ubuntu keep these as links into /usr, while older packages still ship files under them.
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What an image for running tests never reads; licences are kept.
LEFT_OUT = re.compile(r"usr/share/(doc/[^/]+/(?!copyright)|man/|info/|locale/|lintian/|bug/|doc-base/|icons/)")
# Maintainer scripts of the default image compile these, so only the slim image goes without.
LEFT_OUT_SLIM = re.compile(LEFT_OUT.pattern + r"|usr/lib/python3[^/]*/(test|idlelib|lib2to3/tests|tkinter)/")
SYSTEM_HOOKS = re.compile(
    r"(?i)^(apt::update::(pre|post)-invoke|dpkg::|apt::periodic|unattended|dir::(etc::(main|parts) ))"
)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def packages(kind: str) -> list[str]:
    lines = (HERE / f"packages-{kind}").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


class Apt:
    """The host's apt with a state of its own: it believes that nothing is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        dump = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
        # The host's hooks speak to the host's services, so they are left out; the rest is taken as found.
        kept = [line for line in dump.splitlines() if not SYSTEM_HOOKS.match(line)]
        own = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::State": f"{folder}/state",
            "Dir::State::status": f"{folder}/status",
            "Dir::Cache": f"{folder}/cache",
            "Dir::Log": f"{folder}",
            "Debug::NoLocking": "1",
            "APT::Install-Recommends": "0",
            "APT::Install-Suggests": "0",
        }
        if os.geteuid() == 0:
            own["APT::Sandbox::User"] = "root"
        configuration = folder / "apt.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join([*kept, *(f'{key} "{value}";' for key, value in own.items()), ""]))
        self.environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C.UTF-8"}

    def run(self, *arguments: str) -> str:
        """Raises SystemExit with apt's own error line."""
        done = subprocess.run(
            ["apt-get", "-q", "-y", *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            raise SystemExit(errors[0] if errors else f"apt-get {arguments[0]} failed: {done.stderr[-300:]}")
        return done.stdout

    def fetch(self, wanted: list[str]) -> list[Path]:
        say("reading the package lists")
        self.run("update")
        plan = self.run("--print-uris", "install", *wanted)
        sizes = [int(line.split()[2]) for line in plan.splitlines() if line.startswith("'")]
        say(f"downloading {len(sizes)} Debian packages, {sum(sizes) / 1e6:.0f} MB")
        self.run("--download-only", "install", *wanted)
        return sorted((self.folder / "cache/archives").glob("*.deb"))


class Root:
    """The root tar that is being written."""

    def __init__(self, out: tarfile.TarFile, *, database: bool) -> None:
        self.out, self.database = out, database
        self.left_out = LEFT_OUT if database else LEFT_OUT_SLIM
        self.names: set[str] = set()  # an engine refuses a tar that names a path twice
        self.status: list[str] = []
        self.triggers: dict[str, list[str]] = {}
        for name in ("usr", "etc", "proc", "sys", "dev", "run", "var", "home", "workspace", "opt"):
            self.folder(name)
        self.folder("tmp", 0o1777)
        self.folder("var/tmp", 0o1777)
        self.folder("root", 0o700)
        for name in MERGED:
            self.folder(f"usr/{name}")
            self.link(name, f"usr/{name}")

    def fresh(self, name: str) -> bool:
        if name in self.names:
            return False
        self.names.add(name)
        return True

    def folder(self, name: str, mode: int = 0o755) -> None:
        if self.fresh(name):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            self.out.addfile(entry)

    def link(self, name: str, target: str) -> None:
        if not self.fresh(name):
            return
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self.out.addfile(entry)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), mode
        self.out.addfile(entry, io.BytesIO(data))

    def add_package(self, deb: Path) -> None:
        listed = ["/."]
        with dpkg_stream("--fsys-tarfile", deb) as source:
            for entry in source:
                name = entry.name.removeprefix("./").rstrip("/")
                if name in ("", "."):
                    continue
                listed.append("/" + name)
                entry.name = merged(name)
                if self.left_out.match(entry.name) or not self.fresh(entry.name):
                    continue
                if entry.islnk():
                    entry.linkname = merged(entry.linkname.removeprefix("./"))
                self.out.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
        if self.database:
            self.add_control(deb, listed)

    def add_control(self, deb: Path, listed: list[str]) -> None:
        field = dict(
            line.split(": ", 1)
            for line in dpkg_deb("-f", deb, "Package", "Architecture", "Multi-Arch").decode().splitlines()
        )
        package = field["Package"]
        owner = package + (":" + field["Architecture"] if field.get("Multi-Arch") == "same" else "")
        head, _, rest = dpkg_deb("-f", deb).decode().partition("\n")
        conffiles = ""
        info = f"var/lib/dpkg/info/{owner}"
        with dpkg_stream("--ctrl-tarfile", deb) as source:
            for entry in source:
                name = entry.name.removeprefix("./")
                content = source.extractfile(entry) if entry.isreg() else None
                if content is None or name == "control":
                    continue
                data = content.read()
                self.file(f"{info}.{name}", data, entry.mode)
                if name == "conffiles":
                    paths = [line for line in data.decode().splitlines() if line.startswith("/")]
                    conffiles = "Conffiles:\n" + "".join(f" {path} newconffile\n" for path in paths) if paths else ""
                if name == "triggers":
                    self.add_triggers(data.decode(), owner)
        self.file(f"{info}.list", "".join(f"{path}\n" for path in listed).encode())
        self.status.append(f"{head}\nStatus: install ok unpacked\n{conffiles}{rest.rstrip()}\n")

    def add_triggers(self, text: str, owner: str) -> None:
        for line in text.splitlines():
            words = line.split("#")[0].split()
            if len(words) == 2 and words[0].startswith("interest"):
                suffix = "/noawait" if words[0].endswith("noawait") else ""
                key = "File" if words[1].startswith("/") else words[1]
                entry = f"{words[1]} {owner}{suffix}" if key == "File" else f"{owner}{suffix}"
                self.triggers.setdefault(key, []).append(entry)

    def finish(self) -> None:
        if self.database:
            self.file("var/lib/dpkg/status", "\n".join(self.status).encode())
            self.file("var/lib/dpkg/available", b"")
            self.file("var/lib/dpkg/info/format", b"1\n")
            for key, entries in self.triggers.items():
                self.file(f"var/lib/dpkg/triggers/{key}", "".join(f"{entry}\n" for entry in entries).encode())
        self.link("usr/bin/sh", "dash")
        self.file("etc/hostname", b"sandbox\n")
        self.folder("usr/lib/backspace")
        self.file("usr/lib/backspace/finish.sh", (HERE / "finish.sh").read_bytes(), 0o755)


def merged(name: str) -> str:
    return "usr/" + name if name.split("/", 1)[0] in MERGED and "/" in name else name


def dpkg_deb(option: str, deb: Path, *fields: str) -> bytes:
    return subprocess.run(["dpkg-deb", option, str(deb), *fields], check=True, capture_output=True).stdout


@contextlib.contextmanager
def dpkg_stream(option: str, deb: Path) -> Iterator[tarfile.TarFile]:
    with subprocess.Popen(["dpkg-deb", option, str(deb)], stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as source:
            yield source
        assert process.stdout is not None
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"cannot read the package {deb.name}")


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in ("default", "slim"):
        say("usage: debian_image.py default|slim OUTPUT.tar")
        return 2
    kind, output = arguments
    missing = [tool for tool in ("apt-get", "apt-config", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        say(f"{missing[0]} is not installed: an image from Debian packages needs a Debian or Ubuntu host")
        return 1
    with tempfile.TemporaryDirectory(prefix="backspace-debian-") as scratch:
        wanted = packages(kind)
        if kind == "default":
            wanted = ["?essential", "usr-is-merged", *wanted]
        debs = Apt(Path(scratch)).fetch(wanted)
        say(f"merging {len(debs)} packages into one root")
        with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as out:
            root = Root(out, database=kind == "default")
            for number, deb in enumerate(debs, 1):
                root.add_package(deb)
                if number % 100 == 0:
                    say(f"merged {number} of {len(debs)}")
            root.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
