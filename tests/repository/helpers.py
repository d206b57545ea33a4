"""Real repositories to work on."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from backspace_tui.core.trees import File


def git(folder: Path, *arguments: str, data: bytes | None = None, check: bool = True) -> bytes:
    """Run git there as its user would."""
    done = subprocess.run(["git", *arguments], cwd=folder, input=data, capture_output=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def line(folder: Path, *arguments: str) -> str:
    """The same, as one line."""
    return git(folder, *arguments).decode().strip()


def make_repository(folder: Path, files: dict[str, bytes] | None = None, branch: str = "main") -> Path:
    """A repository with one commit of ``files``."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", branch)
    commit_files(folder, {"a.txt": b"one\ntwo\n", "src/b.py": b"print(1)\n"} if files is None else files)
    return folder


def commit_files(folder: Path, files: dict[str, bytes], message: str = "change") -> str:
    """Write, add and commit; the commit."""
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return line(folder, "rev-parse", "HEAD")


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write files, making folders."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def files_of(git_dir: Path, tree: str) -> dict[str, File]:
    """Every file of a tree, read with plain git."""
    result = {}
    for record in git(git_dir, "ls-tree", "-r", "-z", tree).split(b"\0"):
        if not record:
            continue
        facts, _, raw = record.partition(b"\t")
        mode, kind, oid = facts.split()
        data = git(git_dir, "cat-file", "blob", oid.decode()) if kind == b"blob" else oid
        result[os.fsdecode(raw)] = File(int(mode, 8), data)
    return result


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` but git's object store and our branch: what must not change when we deliver."""
    result = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith((".git/objects", ".git/refs/heads/backspace", ".git/logs/refs/heads/backspace")):
            continue
        if path.is_symlink():
            result[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            stat = path.stat()
            # Git itself freshens a shared index whenever it reads one, so that it does not expire.
            when = 0 if path.name.startswith("sharedindex.") else stat.st_mtime_ns
            result[name] = f"{hashlib.sha256(path.read_bytes()).hexdigest()} {stat.st_mode:o} {when}"
    return result
