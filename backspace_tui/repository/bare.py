"""The session's own repository: bare, shallow, self-contained, written by the session's process alone.

No work tree ever exists for it, so nothing that the agent wrote is checked out, filtered or run on the host.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from backspace_tui import private
from backspace_tui.core.protocols import CancelToken
from backspace_tui.core.trees import GITLINK, Entry, File
from backspace_tui.repository import base as base_import
from backspace_tui.repository.base import Base, Progress, commit_tree
from backspace_tui.repository.errors import GitFailed, RepositoryError
from backspace_tui.repository.fast_import import EMPTY_TREE, blob_oid, check_oid, make_tree
from backspace_tui.repository.git import Runner
from backspace_tui.repository.ignored import ignored_by, is_cache
from backspace_tui.repository.loose import Loose, TooMuch
from backspace_tui.repository.source import Source
from backspace_tui.repository.work import Tracked, inside, to_work

__all__ = ["EMPTY_TREE", "BareRepository", "Base"]

_ABSENT: Final = "0" * 40
_ANY: Final = "any"
_MAX_ARGUMENTS: Final = 100


class BareRepository:
    """Makes trees and commits, one at a time; objects are on disk before their id is returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git = Runner.of_our_own(path)
        self._mutex = threading.RLock()
        # Blobs that are known to be here need not be sent again with every snapshot.
        self._known: set[str] = set()
        self._loose = Loose(self._git, path)
        self._tracked: tuple[str, Tracked] = ("", Tracked({}))

    @classmethod
    def create(cls, path: Path) -> BareRepository:
        """Make an empty repository at ``path``, all of it or nothing; opens the one that is there.

        Raises:
            RepositoryError: it cannot be written.
        """
        if path.exists():
            return cls.open(path)
        try:
            private.make_directory(path.parent)
            fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        except OSError as problem:
            raise RepositoryError(f"{path} cannot be made: {problem.strerror or problem}") from None
        try:
            git = Runner.of_our_own(fresh)
            git.run("init", "--quiet", "--bare", "--template=", "--object-format=sha1")
            # Snapshots are named by the log alone, so no collection may ever drop them.
            for key, value in (("gc.auto", "0"), ("gc.pruneExpire", "never"), ("maintenance.auto", "false")):
                git.run("config", key, value)
            git.run("hash-object", "-t", "tree", "-w", "--stdin", data=b"")
            fresh.rename(path)
        except OSError as problem:
            raise RepositoryError(f"{path} cannot be made: {problem.strerror or problem}") from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> BareRepository:
        """Open the repository at ``path``.

        Raises:
            RepositoryError: there is none.
        """
        repository = cls(path)
        try:
            repository._git.run("rev-parse", "--git-dir")
        except GitFailed:
            raise RepositoryError(f"{path} is no repository of a session") from None
        return repository

    def close(self) -> None:
        """End the git process that reads trees; the object may be used again afterwards."""
        with self._mutex:
            self._loose.close()

    def import_base(
        self,
        source: Source,
        include_dirty: bool = False,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
        most: int | None = None,
    ) -> Base:
        """Bring HEAD of ``source`` in, alone; with ``include_dirty`` a commit of the user's changes stands on it.

        Raises:
            RepositoryTooLarge: the files of the base hold more than ``most`` bytes; nothing was copied.
            RepositoryError: it cannot be reached or read.
            Cancelled: ``cancel`` was flipped.
        """
        return base_import.import_base(self._git, source, include_dirty, progress, cancel, most)

    def write_blob(self, data: bytes) -> str:
        """Store ``data``; its object id."""
        oid = blob_oid(data)
        if oid not in self._known:
            self._git.run("hash-object", "-w", "--stdin", "--no-filters", data=data)
            self._known.add(oid)
        return oid

    def write_tree(self, files: Mapping[str, File]) -> str:
        """The tree that holds exactly ``files``.

        Raises:
            RepositoryError: a path or mode that no tree may hold.
        """
        with self._mutex:
            return make_tree(self._git, EMPTY_TREE, files, self._known)

    def amend_tree(self, tree: str, changes: Mapping[str, File | Entry | None]) -> str:
        """``tree`` with ``changes``; ``None`` takes a path out. An empty ``tree`` is the empty tree.

        Raises:
            RepositoryError: a path or mode that no tree may hold, or an object that is not here.
        """
        if not changes:
            return tree or EMPTY_TREE
        with self._mutex:
            try:
                return self._loose.amend(tree or EMPTY_TREE, changes, self._known)
            except TooMuch:
                return make_tree(self._git, tree or EMPTY_TREE, changes, self._known)

    def work_tree(self, snapshot_tree: str, base_tree: str) -> tuple[str, int]:
        """W, and how many paths it leaves out: ``snapshot_tree`` without untracked caches and ignored paths.

        What ``base_tree`` tracks always stays, and its ``.gitignore`` files are the rules. Submodules stay as they
        are in the base, whose files a sandbox never has; files written into their folders are left out.
        """
        added: list[str] = []
        restored: dict[str, File | Entry | None] = {}
        for path, old, new in self._differences(base_tree, snapshot_tree):
            if old is not None and old.mode == GITLINK:
                restored[path] = old
            elif old is None and new is not None:
                added.append(path)
        # A file in the place of a folder took the submodules with it.
        for link in [path for path in restored if inside(path, added)]:
            del restored[link]
        left_out = {path for path in added if is_cache(path) or inside(path, restored)}
        with self._mutex:
            left_out |= ignored_by(self._git, self.path, base_tree, [path for path in added if path not in left_out])
        changes: dict[str, File | Entry | None] = dict.fromkeys(left_out)
        return self.amend_tree(snapshot_tree, changes | restored), len(left_out)

    def work_changes(
        self, base_tree: str, changes: Mapping[str, File | Entry | None]
    ) -> dict[str, File | Entry | None]:
        """How W follows ``changes`` to a snapshot, none of them near a submodule; it costs what they are.

        Amended so, W is what :meth:`work_tree` would give.
        """

        def ignored(paths: Collection[str]) -> set[str]:
            with self._mutex:
                return ignored_by(self._git, self.path, base_tree, paths)

        return to_work(self.tracked(base_tree), changes, ignored)

    def tracked(self, base_tree: str) -> Tracked:
        """The paths of ``base_tree``, remembered, since a session has one base."""
        with self._mutex:
            if self._tracked[0] != base_tree:
                self._tracked = (base_tree, Tracked(self.lookup(base_tree)))
            return self._tracked[1]

    def lookup(self, tree: str, paths: Collection[str] = ()) -> dict[str, Entry]:
        """What ``tree`` holds at ``paths``, folders left out; without any, every path of it."""
        found = {}
        which = list(paths) if 0 < len(paths) <= _MAX_ARGUMENTS else []
        for record in self._git.run(
            "ls-tree", *([] if which else ["-r"]), "-z", "--full-tree", check_oid(tree), "--", *which
        ).split(b"\0")[:-1]:
            head, _, raw = record.partition(b"\t")
            mode, kind, oid = head.decode("ascii").split(" ")
            if kind != "tree":
                found[os.fsdecode(raw)] = Entry(int(mode, 8), oid)
        return {path: found[path] for path in paths if path in found} if paths else found

    def differences(self, old: str, new: str) -> dict[str, Entry | None]:
        """What the paths that differ hold in the tree ``new``; ``None``: nothing."""
        return {path: entry for path, _, entry in self._differences(old, new)} if old != new else {}

    def merge(self, base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
        """Both changes of one text file, or ``None`` where they touch the same lines or a side is binary."""
        with tempfile.TemporaryDirectory(prefix="backspace-merge-") as folder:
            names = ("ours", "base", "theirs")
            for name, data in zip(names, (ours, base, theirs), strict=True):
                Path(folder, name).write_bytes(data)
            try:
                return self._git.run("merge-file", "-q", "-p", "--", *(os.path.join(folder, name) for name in names))
            except GitFailed:
                return None

    def commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author_name: str,
        author_email: str,
        when: datetime,
    ) -> str:
        """A commit; the same arguments always give the same one. ``when`` needs a time zone."""
        return commit_tree(self._git, tree, tuple(parents), message, author_name, author_email, when)

    def update_ref(self, ref: str, new: str, old: str | None = _ANY) -> None:
        """Point ``ref`` (a full name, such as ``refs/heads/x``) at ``new``.

        With ``old`` only if it is there now, ``None`` meaning absent; already at ``new`` is fine in any case.

        Raises:
            RepositoryError: it is somewhere else, or the name is not valid.
        """
        if old == _ANY:
            self._git.run("update-ref", ref, new)
            return
        if self.read_ref(ref) != new:
            self._git.run("update-ref", ref, new, old or _ABSENT)

    def read_ref(self, ref: str) -> str | None:
        """The object that ``ref`` points at, or ``None``."""
        return self._git.line("rev-parse", "--verify", "--quiet", ref, ok=(0, 1)) or None

    def _differences(self, old: str, new: str) -> list[tuple[str, Entry | None, Entry | None]]:
        fields = self._git.run(
            "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", check_oid(old), check_oid(new)
        ).split(b"\0")
        result = []
        for facts, raw in zip(fields[0::2], fields[1::2], strict=False):
            old_mode, new_mode, old_oid, new_oid, _ = facts.lstrip(b":").decode("ascii").split()
            result.append((os.fsdecode(raw), _entry(old_mode, old_oid), _entry(new_mode, new_oid)))
        return result


def _entry(mode: str, oid: str) -> Entry | None:
    return Entry(int(mode, 8), oid) if int(mode, 8) else None
