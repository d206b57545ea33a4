"""A session as JSONL: its events and its objects, so that it can be imported elsewhere.

The first line is the header: ``{"format": "backspace-tui-export", "version": 1, "session", "name", "events": how many
lines of events follow, "refs": {name: commit}, "shallow": [commit, ...], "log": the log's own first line}``. The
events follow as they stand in the log, then ``{"type": "pack", "data": base64}`` lines, whose data joined is one git
pack of all objects, and at last ``{"type": "end", "size", "sha256"}`` of that pack.

Secrets are masked in the events and in the objects. Where that changes a file, the ids of its trees and commits
change as well, in the events too.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from backspace_tui.core import events as ev
from backspace_tui.sessions.codec import plain_json, to_json
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.git_processes import environment
from backspace_tui.sessions.log import FORMAT, LOG_NAME, parse, read_log

__all__ = ["EXPORT_FORMAT", "EXPORT_VERSION", "export_lines"]

EXPORT_FORMAT: Final = "backspace-tui-export"
EXPORT_VERSION: Final = 1

Redact = Callable[[str], str]

_PIECE: Final = 48 * 1024
_OID: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_NAMES: Final = ("path", "to", "paths", "glob")
"""What names files stays what it is."""


def export_lines(directory: Path, redact: Redact) -> Iterator[bytes]:
    """The lines of the file, each with its line feed.

    Raises:
        SessionError: the session cannot be read.
    """
    lines = _log_lines(directory)
    repo_git = directory / "repo.git"
    with tempfile.TemporaryDirectory(prefix="backspace-export-") as folder:
        objects = _Objects(repo_git, Path(folder))
        objects.mask(redact)
        events = [objects.renamed(masked_line(line, redact)) for line in lines[1:]]
        header = {
            "format": EXPORT_FORMAT,
            "version": EXPORT_VERSION,
            "session": directory.name,
            "name": redact(_name(directory)),
            "events": len(events),
            "refs": objects.refs(),
            "shallow": objects.shallow(),
            "log": plain_json(lines[0]) if lines else FORMAT,
        }
        yield to_json(header) + b"\n"
        yield from (line + b"\n" for line in events)
        digest, size = hashlib.sha256(), 0
        for piece in objects.pack():
            digest.update(piece)
            size += len(piece)
            yield to_json({"type": "pack", "data": base64.b64encode(piece).decode("ascii")}) + b"\n"
        yield to_json({"type": "end", "size": size, "sha256": digest.hexdigest()}) + b"\n"


def masked_line(line: bytes, redact: Redact) -> bytes:
    """An event's line with placeholders for the secrets in its texts; the very line where there are none."""
    value = plain_json(line)
    masked = masked_value(value, redact)
    if masked == value:
        return line
    # A blank at the end says that the event counts only with the next.
    return to_json(masked) + line[len(line.rstrip(b" ")) :]


def masked_value(value: Any, redact: Redact) -> Any:
    """Plain data with placeholders for the secrets of its texts."""
    match value:
        case str():
            return redact(value)
        case list():
            return [masked_value(item, redact) for item in value]
        case dict():
            return {name: item if name in _NAMES else masked_value(item, redact) for name, item in value.items()}
        case _:
            return value


def _log_lines(directory: Path) -> list[bytes]:
    path, data = directory / LOG_NAME, read_log(directory)
    events, size = parse(data, str(path))
    if not events or not isinstance(events[0], ev.SessionStarted):
        raise SessionError(f"{path} holds no session yet: nothing was started")
    return data[:size].split(b"\n")[:-1]


def _name(directory: Path) -> str:
    try:
        return (directory / "name").read_text("utf-8", "replace")
    except OSError:
        return ""


class _Objects:
    """The objects of a session's repository; what holds secrets is replaced, beside it."""

    def __init__(self, repo_git: Path, scratch: Path) -> None:
        self._repo_git, self._scratch = repo_git, scratch
        self._env = environment(repo_git.absolute())
        self._oids: list[str] = []
        self._new: dict[str, str] = {}

    def mask(self, redact: Redact) -> None:
        """Look at every object."""
        if not self._repo_git.is_dir():
            return
        linked: dict[str, tuple[str, bytes]] = {}
        for oid, kind, data in self._all():
            self._oids.append(oid)
            if kind != "blob":
                linked[oid] = (kind, data)
                continue
            text = data.decode("utf-8", "surrogateescape")
            if (masked := redact(text)) != text:
                self._new[oid] = self._write("blob", masked.encode("utf-8", "surrogateescape"))
        if self._new:
            for oid in linked:
                self._rewritten(oid, linked)
        self._new = {oid: new for oid, new in self._new.items() if oid != new}

    def renamed(self, line: bytes) -> bytes:
        """A line with the ids that its objects have now."""
        if not self._new:
            return line
        return _OID.sub(lambda found: self._new.get(found[0].decode(), found[0].decode()).encode(), line)

    def refs(self) -> dict[str, str]:
        """Our branches."""
        if not self._repo_git.is_dir():
            return {}
        listed = self._git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/").decode()
        pairs = (line.split(" ", 1) for line in listed.splitlines())
        return {name: self._new.get(oid, oid) for oid, name in pairs}

    def shallow(self) -> list[str]:
        """The commits whose parents are not here."""
        try:
            return [self._new.get(oid, oid) for oid in (self._repo_git / "shallow").read_text("ascii").split()]
        except OSError:
            return []

    def pack(self) -> Iterator[bytes]:
        """A pack of all, in pieces."""
        if not self._repo_git.is_dir():
            return
        wanted = sorted({self._new.get(oid, oid) for oid in self._oids})
        env = self._env | {"GIT_ALTERNATE_OBJECT_DIRECTORIES": os.fspath(self._scratch)}
        with tempfile.TemporaryFile() as names:
            names.write("".join(f"{oid}\n" for oid in wanted).encode("ascii"))
            names.seek(0)
            process = _start(["git", "pack-objects", "--stdout", "-q", "--threads=1"], env, names)
            assert process.stdout is not None
            with process.stdout as stream:
                while piece := stream.read(_PIECE):
                    yield piece
            if process.wait():
                raise SessionError(f"the objects of {self._repo_git} cannot be packed: is it damaged?")

    def _all(self) -> Iterator[tuple[str, str, bytes]]:
        arguments = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered", "--buffer"]
        process = _start(arguments, self._env, subprocess.DEVNULL)
        assert process.stdout is not None
        with process.stdout as stream:
            while head := stream.readline():
                oid, kind, size = head.decode("ascii").split()
                yield oid, kind, stream.read(int(size))
                stream.read(1)
        if process.wait():
            raise SessionError(f"the objects of {self._repo_git} cannot be read: is it damaged?")

    def _rewritten(self, oid: str, linked: Mapping[str, tuple[str, bytes]]) -> str:
        """The id of a tree or commit whose parts have new ids."""
        if oid in self._new or oid not in linked:
            return self._new.get(oid, oid)
        kind, data = linked[oid]
        self._new[oid] = oid
        changed = self._tree(data, linked) if kind == "tree" else self._commit(data, linked)
        if changed != data:
            self._new[oid] = self._write(kind, changed)
        return self._new[oid]

    def _tree(self, data: bytes, linked: Mapping[str, tuple[str, bytes]]) -> bytes:
        parts, at = [], 0
        while at < len(data):
            end = data.index(b"\0", at) + 1
            oid = data[end : end + 20].hex()
            parts += [data[at:end], bytes.fromhex(self._rewritten(oid, linked))]
            at = end + 20
        return b"".join(parts)

    def _commit(self, data: bytes, linked: Mapping[str, tuple[str, bytes]]) -> bytes:
        head, blank, message = data.partition(b"\n\n")
        return _OID.sub(lambda found: self._rewritten(found[0].decode(), linked).encode(), head) + blank + message

    def _write(self, kind: str, data: bytes) -> str:
        whole = f"{kind} {len(data)}\0".encode("ascii") + data
        oid = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
        place = self._scratch / oid[:2]
        place.mkdir(exist_ok=True)
        (place / oid[2:]).write_bytes(zlib.compress(whole))
        return oid

    def _git(self, *arguments: str) -> bytes:
        process = _start(["git", *arguments], self._env, subprocess.DEVNULL)
        output, _ = process.communicate()
        if process.returncode:
            raise SessionError(f"{self._repo_git} cannot be read: is it damaged?")
        return output


def _start(arguments: list[str], env: Mapping[str, str], stdin: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            arguments, env=dict(env), cwd=os.sep, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise SessionError("git is not installed: install it with your package manager") from None
    except OSError as error:
        raise SessionError(f"git cannot be run: {error.strerror}") from error
