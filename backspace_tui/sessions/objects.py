"""Reads a session's ``repo.git``: blobs, trees and diffs, by plain git processes.

The window imports this module, so there is no GitPython here. Nothing is written. Git sees neither the user's nor the
system's configuration, and no filter, external diff or text conversion runs.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from backspace_tui.core.alignment import leg
from backspace_tui.core.hunks import Hunk, file_hunks
from backspace_tui.core.marks import Leg
from backspace_tui.core.trees import GITLINK, Entry, FileChange
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.git_processes import Batch, Cache, environment

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

EMPTY_BLOB: Final = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

_SMALL: Final = 16 << 20
_BLOB_BUDGET: Final = 64 << 20
_DIFF_BUDGET: Final = 64 << 20
_REMEMBERED: Final = 4096
_PREFETCH: Final = 8
_LARGE: Final = 4 << 20
"""Git's histogram takes time by the square of the changes: two blobs of this many bytes together go another way."""
_HISTOGRAM: Final = "--diff-algorithm=histogram"
_PATIENCE: Final = "--diff-algorithm=patience"
_DIFF: Final = (
    "--no-color", "--no-ext-diff", "--no-textconv", "--full-index", "--text",
    "--no-renames", "--src-prefix=a/", "--dst-prefix=b/", "--inter-hunk-context=0",
)  # fmt: skip


class Objects:
    """The objects of one ``repo.git``. Thread-safe; results are cached, since object ids name content.

    Every method raises :class:`SessionError` when the repository is gone or damaged, or lacks the object.
    """

    def __init__(self, repo_git: Path) -> None:
        self.path = repo_git
        self._env = environment(repo_git.absolute())
        self._cwd = Path(os.sep)
        self._mutex = threading.RLock()
        self._started: subprocess.Popen[bytes] | None = None
        self._contents = Batch(["git", "cat-file", "--batch"], self._env, self._cwd)
        self._sizes = Batch(["git", "cat-file", "--batch-check"], self._env, self._cwd)
        self._blobs: Cache[str, bytes] = Cache(_BLOB_BUDGET)
        self._diffs: Cache[tuple[str, str, int], bytes] = Cache(_DIFF_BUDGET)
        self._hunks: Cache[FileChange, tuple[Hunk, ...]] = Cache(_DIFF_BUDGET)
        self._entries: Cache[str, dict[str, Entry]] = Cache(8)
        self._changes: Cache[tuple[str, str, bool], tuple[FileChange, ...]] = Cache(64)
        self._legs: Cache[tuple[str, str], Leg] = Cache(512)
        self._remembered: Cache[Hashable, Any] = Cache(_REMEMBERED)
        self._touched: Cache[tuple[str, str], frozenset[tuple[str, bytes]]] = Cache(_DIFF_BUDGET)

    def blob(self, oid: str) -> bytes:
        """The content of a blob."""
        if oid == EMPTY_BLOB:
            return b""
        with self._mutex:
            found = self._blobs.get(oid)
            if found is not None:
                return found
            data = self._ask(self._contents, oid, self._content)
            if len(data) <= _SMALL:
                self._blobs.put(oid, data, len(data) + 128)
            return data

    def size(self, oid: str) -> int:
        """The length of a blob in bytes, without reading it."""
        if oid == EMPTY_BLOB:
            return 0
        with self._mutex:
            return self._ask(self._sizes, oid, lambda _, size: size)

    def entries(self, tree: str) -> dict[str, Entry]:
        """Every path of ``tree``. The caller must not change the dictionary."""
        with self._mutex:
            found = self._entries.get(tree)
            if found is None:
                found = {}
                for record in self._git("ls-tree", "-r", "-z", "--full-tree", self._oid(tree)).split(b"\0")[:-1]:
                    head, _, path = record.partition(b"\t")
                    mode, _, oid = head.split(b" ")
                    found[os.fsdecode(path)] = Entry(int(mode, 8), oid.decode("ascii"))
                self._entries.put(tree, found, 1)
            return found

    def changes(self, old_tree: str, new_tree: str, *, renames: bool = False) -> tuple[FileChange, ...]:
        """How ``new_tree`` differs from ``old_tree``, path by path in git's order.

        A rename is two changes, or with ``renames`` one with its ``source`` where git's ``-M`` finds it.
        """
        if old_tree == new_tree:
            return ()
        with self._mutex:
            key = (old_tree, new_tree, renames)
            found = self._changes.get(key)
            if found is None:
                output = self._git(
                    "diff-tree", "-r", "-z", "--raw", "-M" if renames else "--no-renames",
                    "--no-abbrev", "--no-ext-diff", self._oid(old_tree), self._oid(new_tree), "--",
                )  # fmt: skip
                found = _raw_changes(output)
                self._changes.put(key, found, 1)
            return found

    def diff(self, old: str | None, new: str | None, context: int = 3) -> bytes:
        """The unified diff of two blobs as git prints it; ``None`` stands for the empty blob.

        The names in its headers are object ids, not paths.
        """
        before, after = old or EMPTY_BLOB, new or EMPTY_BLOB
        if before == after:
            return b""
        with self._mutex:
            key = (before, after, context)
            found = self._diffs.get(key)
            if found is None:
                if EMPTY_BLOB in (before, after):
                    # Git would need the empty blob to be stored.
                    found = _one_sided(before, after, self.blob(before), self.blob(after))
                else:
                    way = _PATIENCE if self._large(before, after) else _HISTOGRAM
                    found = self._finish() if context == 3 else None
                    if found is None:
                        found = self._git("diff", *_DIFF, way, f"-U{context}", self._oid(before), self._oid(after))
                self._diffs.put(key, found, len(found) + 128)
            return found

    def leg(self, old: str, new: str) -> Leg:
        """How the lines of one blob lead to those of another."""
        with self._mutex:
            found = self._legs.get((old, new))
            if found is None:
                found = leg(self.diff(old, new))
                self._legs.put((old, new), found, 1)
            return found

    def sides(self, change: FileChange) -> tuple[bytes, bytes, bytes]:
        """What :mod:`backspace_tui.core.hunks` asks for: both contents and the diff between them.

        The diff is empty where nothing reads it (binaries, submodules).
        """
        with self._mutex, self._meanwhile(change):
            old, new = self._data(change.old), self._data(change.new)
            return old, new, self._content_diff(change, old, new)

    def touched_lines(self, old: str | None, new: str | None) -> frozenset[tuple[str, bytes]]:
        """The lines that lead from one blob to another, each with its sign, without blank ones and their place."""
        key = (old or EMPTY_BLOB, new or EMPTY_BLOB)
        with self._mutex:
            found = self._touched.get(key)
            if found is None:
                _, _, hunks = self.diff(old, new, 0).partition(b"\n@@")
                lines = (b"@@" + hunks).split(b"\n")
                found = frozenset(
                    (chr(line[0]), line[1:]) for line in lines if line[:1] in (b"+", b"-") and line[1:].strip()
                )
                self._touched.put(key, found, sum(len(line) for _, line in found) + 128)
            return found

    def hunks(self, change: FileChange) -> tuple[Hunk, ...]:
        """The hunks of one path's change."""
        with self._mutex:
            found = self._hunks.get(change)
            if found is None:
                try:
                    found = file_hunks(change, *self.sides(change))
                except ValueError as error:
                    raise SessionError(f"the changes of {change.path!r} cannot be shown: {error}") from error
                self._hunks.put(change, found, sum(len(hunk.lines) for hunk in found) * 128 + 512)
            return found

    def remembered(self, key: Hashable) -> Any:
        """What :meth:`remember` was given for ``key``; ``None`` when that is forgotten."""
        with self._mutex:
            return self._remembered.get(key)

    def remember(self, key: Hashable, value: object) -> None:
        """Keep what was made of objects alone, for as long as there is room."""
        with self._mutex:
            self._remembered.put(key, value, 1)

    def prefetch(self, old_tree: str, new_tree: str) -> None:
        """Make the diffs between two trees with one git process when many are not known yet."""
        with self._mutex:
            wanted = [
                (change.old.oid, change.new.oid)
                for change in self.changes(old_tree, new_tree, renames=True)
                if change.old is not None
                and change.new is not None
                and change.old.oid != change.new.oid
                and change not in self._hunks
                and (change.old.oid, change.new.oid, 3) not in self._diffs
            ]
            if len(wanted) < _PREFETCH:
                return
            output = self._git(
                "diff-tree", "-r", "-p", "-U3", *_DIFF, _HISTOGRAM, self._oid(old_tree), self._oid(new_tree), "--"
            )  # fmt: skip
            found = dict(_sections(output))
            for pair in wanted:
                if pair in found and EMPTY_BLOB not in pair and not self._large(*pair):
                    self._diffs.put((*pair, 3), found[pair], len(found[pair]) + 128)

    def close(self) -> None:
        """End the git processes; the object may be used again afterwards."""
        with self._mutex:
            self._contents.close()
            self._sizes.close()

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _data(self, entry: Entry | None) -> bytes:
        if entry is None:
            return b""
        return b"Subproject commit %s\n" % entry.oid.encode("ascii") if entry.mode == GITLINK else self.blob(entry.oid)

    @contextlib.contextmanager
    def _meanwhile(self, change: FileChange) -> Iterator[None]:
        """Git compares two large blobs while they are being read."""
        sides = [entry.oid for entry in (change.old, change.new) if entry is not None and entry.mode != GITLINK]
        old, new = sides if len(set(sides)) == 2 else (EMPTY_BLOB, EMPTY_BLOB)
        if EMPTY_BLOB not in (old, new) and (old, new, 3) not in self._diffs and self._large(old, new):
            command = ["git", "diff", *_DIFF, _PATIENCE, "-U3", self._oid(old), self._oid(new)]
            try:
                self._started = subprocess.Popen(
                    command,
                    env=self._env,
                    cwd=self._cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                self._started = None
        try:
            yield
        finally:
            process, self._started = self._started, None
            if process is not None:
                # Nobody asked for it: a side is binary, or cannot be read.
                process.kill()
                process.communicate()

    def _finish(self) -> bytes | None:
        """The diff that was begun in the meantime; ``None`` where none was, or it failed."""
        process, self._started = self._started, None
        if process is None:
            return None
        output, _ = process.communicate()
        return output if process.returncode == 0 else None

    def _large(self, *oids: str) -> bool:
        return sum(len(found) if (found := self._blobs.get(oid)) else self.size(oid) for oid in oids) > _LARGE

    def _content_diff(self, change: FileChange, old: bytes, new: bytes) -> bytes:
        # A binary's text diff would be as large as both contents and is never looked at.
        if b"\0" in old[:8000] or b"\0" in new[:8000]:
            return b""
        sides = [entry for entry in (change.old, change.new) if entry is not None]
        if any(entry.mode == GITLINK for entry in sides):
            return b""
        old_oid = None if change.old is None else change.old.oid
        return self.diff(old_oid, None if change.new is None else change.new.oid)

    def _oid(self, oid: str) -> str:
        """Nothing but an object id ever becomes an argument of git."""
        if len(oid) not in (40, 64) or not all(char in "0123456789abcdef" for char in oid):
            raise SessionError(f"{oid[:60]!r} is not an object id")
        return oid

    def _ask(self, batch: Batch, oid: str, read: Callable[[IO[bytes], int], V]) -> V:
        self._oid(oid)
        for last in (False, True):
            try:
                stream, words = batch.ask(oid)
                if len(words) == 3 and words[1] == b"blob":
                    return read(stream, int(words[2]))
                if len(words) == 3 and words[1] in (b"tree", b"commit", b"tag"):
                    batch.close()  # its content stands unread in the pipe
                    raise SessionError(f"{oid} in {self.path} is no blob")
                if words[1:] == [b"missing"]:
                    raise SessionError(self._lost(oid))
            except OSError:
                pass
            batch.close()
            if last:
                break
        raise SessionError(self._lost(oid))

    def _content(self, stream: IO[bytes], size: int) -> bytes:
        data = stream.read(size + 1)
        if len(data) != size + 1:
            raise OSError("git ended in the middle of an object")
        return data[:-1]

    def _lost(self, oid: str) -> str:
        what = f"lacks {oid}" if self.path.is_dir() else "is gone"
        return f"the session's repository {self.path} {what}: the session cannot be read any further"

    def _git(self, *arguments: str) -> bytes:
        try:
            done = subprocess.run(
                ["git", *arguments],
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            raise SessionError("git is not installed: install it with your package manager") from None
        except OSError as error:
            raise SessionError(f"git cannot be run: {error.strerror}") from error
        if done.returncode == 0:
            return done.stdout
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        what = reason[-1] if reason and self.path.is_dir() else "it is gone"
        raise SessionError(f"the session's repository {self.path} cannot be read: {what}")


def _raw_changes(output: bytes) -> tuple[FileChange, ...]:
    fields = iter(output.split(b"\0")[:-1])
    result = []
    for head in fields:
        old_mode, new_mode, old, new, status = head[1:].decode("ascii").split(" ")
        source = os.fsdecode(next(fields)) if status[0] == "R" else ""
        result.append(FileChange(os.fsdecode(next(fields)), _entry(old_mode, old), _entry(new_mode, new), source))
    return tuple(result)


def _entry(mode: str, oid: str) -> Entry | None:
    return Entry(int(mode, 8), oid) if int(mode, 8) else None


def _one_sided(before: str, after: str, old: bytes, new: bytes) -> bytes:
    """The diff from or to an empty blob, as git prints it."""
    sign, data = (b"-", old) if old else (b"+", new)
    lines = data.split(b"\n")
    complete = lines[-1] == b""
    if complete:
        lines.pop()
    count = b"1" if len(lines) == 1 else b"1,%d" % len(lines)
    spans = (b"-" + count + b" +0,0") if old else (b"-0,0 +" + count)
    body = b"".join(sign + line + b"\n" for line in lines)
    return b"".join(
        (
            b"diff --git a/%b b/%b\nindex %b..%b 100644\n" % tuple(x.encode() for x in (before, after, before, after)),
            b"--- a/%b\n+++ b/%b\n" % (before.encode(), after.encode()),
            b"@@ " + spans + b" @@\n",
            body,
            b"" if complete else b"\\ No newline at end of file\n",
        )
    )


def _sections(output: bytes) -> list[tuple[tuple[str, str], bytes]]:
    """The diff of each file in ``output``, keyed by its two object ids. No line of content begins with a letter."""
    result = []
    starts = [0] if output.startswith(b"diff --git ") else []
    position = 0
    while (position := output.find(b"\ndiff --git ", position)) >= 0:
        position += 1
        starts.append(position)
    for start, end in zip(starts, [*starts[1:], len(output)], strict=True):
        section = output[start:end]
        at = section.find(b"\nindex ")
        if at < 0:
            continue
        old, _, new = section[at + 7 : section.find(b"\n", at + 7)].split(b" ")[0].decode("ascii").partition("..")
        result.append(((old, new), section))
    return result
