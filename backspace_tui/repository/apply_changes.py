"""Writing what a session's accepted tree changes into the files of a checkout: all of it or nothing.

Git makes the new files (with the user's own filters and line endings) in a folder beside the index, from where they
are moved into place. The user's index and refs are not touched, and no link is followed out of the checkout.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from backspace_tui.core.terminal_text import visible
from backspace_tui.core.trees import EXECUTABLE, GITLINK, SYMLINK, Entry, folders_above
from backspace_tui.repository.dirty import listed
from backspace_tui.repository.errors import GitFailed, RepositoryError
from backspace_tui.repository.fast_import import blob_oid, check_oid
from backspace_tui.repository.git import Runner
from backspace_tui.repository.names import check_path, quote

_SHOWN: Final = 5

Seen = tuple[int, int, int, int] | None
"""What tells that a file is the one that was looked at: its inode, size, time and mode; ``None`` is absent."""


class _Change(msgspec.Struct, frozen=True):
    path: str
    old: Entry | None
    new: Entry | None


def write_changes(top: Path, repo_git: Path, base: str, accepted: str) -> list[str]:
    """Make each path that differs between the trees as ``accepted`` has it, where it is as in ``base``; those written.

    Raises:
        RepositoryError: a path is neither, or is not to be written; nothing was changed.
    """
    bare = Runner.of_our_own(repo_git)
    changes = _changes(bare, base, accepted)
    if not changes:
        return []
    # The objects are read where they are: the user's repository gets none.
    objects = listed(Path(repo_git, "objects").absolute())
    user = Runner.of_user(top).with_environment({"GIT_ALTERNATE_OBJECT_DIRECTORIES": objects})
    gone = {change.path for change in changes if change.new is None}
    if outside := {place for change in changes if (place := _barred(top, change.path, gone))}:
        raise RepositoryError(
            f"{named(outside)} is a file, a link or a repository of yours where the accepted work has a folder: "
            "move it away, then apply"
        )
    wanted, seen = _wanted(user, top, changes)
    if not wanted:
        return []
    scratch_parent = Path(top, user.line("rev-parse", "--absolute-git-dir"))
    try:
        with tempfile.TemporaryDirectory(prefix="backspace-apply-", dir=scratch_parent) as folder:
            _make(user, Path(folder), accepted, wanted)
            _Replacing(top, Path(folder), seen).carry_out(wanted)
    except OSError as problem:
        where = visible(os.fspath(problem.filename or top))
        raise RepositoryError(
            f"{where} cannot be written ({problem.strerror or problem}): nothing was changed; mend that, then apply"
        ) from None
    return [change.path for change in wanted]


def named(paths: Collection[str]) -> str:
    """Some of the paths, for one line."""
    some = sorted(paths, key=os.fsencode)
    more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
    return ", ".join(visible(path) for path in some[:_SHOWN]) + more


def _changes(bare: Runner, base: str, accepted: str) -> list[_Change]:
    fields = bare.run(
        "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", check_oid(base), check_oid(accepted)
    ).split(b"\0")
    found = []
    for facts, raw in zip(fields[0::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _ = facts.lstrip(b":").decode("ascii").split()
        change = _Change(os.fsdecode(raw), _entry(old_mode, old), _entry(new_mode, new))
        check_path(change.path, int(new_mode, 8))
        if GITLINK in (int(old_mode, 8), int(new_mode, 8)):
            raise RepositoryError(f"{visible(change.path)} is a submodule, which is not written: merge the branch")
        found.append(change)
    return found


def _entry(mode: str, oid: str) -> Entry | None:
    return Entry(int(mode, 8), oid) if int(mode, 8) else None


def _barred(top: Path, path: str, gone: Collection[str]) -> str:
    """The part of the way to ``path`` that is no plain folder of this checkout."""
    for folder in folders_above(path):
        place = top / folder
        if not os.path.lexists(place):
            continue
        plain = place.is_dir() and not place.is_symlink()
        if (not plain and folder not in gone) or (plain and os.path.lexists(place / ".git")):
            return folder
    return ""


def _wanted(user: Runner, top: Path, changes: list[_Change]) -> tuple[list[_Change], dict[str, Seen]]:
    """The changes that are not made yet, and what stands at their paths.

    Raises:
        RepositoryError: what stands there is the user's.
    """
    modes = user.line("config", "--type=bool", "--default=true", "core.fileMode") != "false"
    gone = {change.path for change in changes if change.new is None}
    # Behind a link that makes room for a folder there is nothing of the user's.
    seen = {change.path: None if _behind_link(top, change.path) else _look(top / change.path) for change in changes}
    own = _Standing(user, top, [path for path, found in seen.items() if found and stat.S_ISREG(found[3])], modes)
    wanted, mine = [], set()
    for change in changes:
        found = seen[change.path]
        if found and stat.S_ISDIR(found[3]):
            # A folder that goes away file by file makes room for a file.
            inside = _files_below(top, change.path)
            if inside <= gone and change.old is None:
                seen[change.path] = None
                wanted.append(change)
            else:
                mine.add(change.path)
            continue
        if own.holds(change.path, found, change.new):
            continue
        if own.holds(change.path, found, change.old):
            wanted.append(change)
        else:
            mine.add(change.path)
    if mine:
        raise RepositoryError(
            f"{named(mine)} has changes of yours since the session began: nothing was written; "
            "merge the branch instead, or move yours away"
        )
    return wanted, seen


def _behind_link(top: Path, path: str) -> bool:
    return any((top / folder).is_symlink() for folder in folders_above(path))


def _files_below(top: Path, folder: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(root, name), top)
        for root, folders, names in os.walk(top / folder)
        for name in (*names, *(item for item in folders if os.path.islink(os.path.join(root, item))))
    }


def _look(path: Path) -> Seen:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


class _Standing:
    """What the checkout's files hold, as git would store it and as they are."""

    def __init__(self, user: Runner, top: Path, regular: list[str], modes: bool) -> None:
        self._top, self._modes = top, modes
        names = b"".join(quote(os.fsencode(path)) + b"\n" for path in regular)
        filtered = user.run("hash-object", "--stdin-paths", data=names).decode("ascii").split() if regular else []
        self._filtered = dict(zip(regular, filtered, strict=True))

    def holds(self, path: str, seen: Seen, entry: Entry | None) -> bool:
        """Whether ``path`` is just what ``entry`` says."""
        if seen is None or entry is None:
            return seen is None and entry is None
        place, mode = self._top / path, seen[3]
        if stat.S_ISLNK(mode):
            return entry.mode == SYMLINK and blob_oid(os.fsencode(os.readlink(place))) == entry.oid
        if not stat.S_ISREG(mode) or entry.mode == SYMLINK:
            return False
        if self._modes and bool(mode & 0o100) != (entry.mode == EXECUTABLE):
            return False
        # Also a file whose line endings stand in the repository as they are here.
        return self._filtered[path] == entry.oid or blob_oid(place.read_bytes()) == entry.oid


def _make(user: Runner, folder: Path, tree: str, wanted: list[_Change]) -> None:
    """Have git write the new files below ``folder``/new."""
    (folder / "new").mkdir()
    (folder / "old").mkdir()
    beside = user.with_environment({"GIT_INDEX_FILE": os.fspath(folder / "index")})
    names = b"".join(os.fsencode(change.path) + b"\0" for change in wanted if change.new is not None)
    try:
        beside.run("read-tree", tree)
        beside.run("checkout-index", "-f", "-z", f"--prefix={folder / 'new'}/", "--stdin", data=names)
    except GitFailed as problem:
        raise RepositoryError(f"the accepted files cannot be made ({problem}): nothing was changed") from None
    for change in wanted:
        if change.new is not None and not os.path.lexists(folder / "new" / change.path):
            raise RepositoryError(f"git did not make {visible(change.path)}: nothing was changed")


class _Replacing:
    """Puts the new files in the place of the old ones; on any error everything is put back."""

    def __init__(self, top: Path, folder: Path, seen: Mapping[str, Seen]) -> None:
        self._top, self._folder, self._seen = top, folder, seen
        self._undo: list[Callable[[], object]] = []

    def carry_out(self, wanted: list[_Change]) -> None:
        try:
            # What goes away first: it may be in the way of what comes.
            for number, change in enumerate(wanted):
                if self._seen[change.path] is not None:
                    self._take_away(change.path, self._folder / "old" / str(number))
            for change in wanted:
                if change.new is not None:
                    self._put(change.path)
        except BaseException:
            for step in reversed(self._undo):
                with contextlib.suppress(OSError):
                    step()
            raise

    def _take_away(self, path: str, kept: Path) -> None:
        place = self._top / path
        if _look(place) != self._seen[path]:
            raise RepositoryError(f"{visible(path)} changed in this moment: nothing was written; apply again")
        _move(place, kept)
        self._undo.append(lambda: _move(kept, place))
        for folder in folders_above(path):
            try:
                (self._top / folder).rmdir()
            except OSError:
                break
            self._undo.append((self._top / folder).mkdir)

    def _put(self, path: str) -> None:
        place = self._top / path
        for folder in reversed(list(folders_above(path))):
            try:
                (self._top / folder).mkdir()
            except FileExistsError:
                continue
            self._undo.append((self._top / folder).rmdir)
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
            self._undo.append(place.mkdir)
        elif os.path.lexists(place):
            raise RepositoryError(f"{visible(path)} appeared in this moment: nothing was written; apply again")
        _move(self._folder / "new" / path, place)
        self._undo.append(lambda: place.unlink())


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # The git folder may be on another disk than the files.
        shutil.copy2(source, target, follow_symlinks=False)
        source.unlink()
