"""What of a snapshot belongs to W: all but untracked caches, paths that the base ignores, and submodules' insides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from backspace_tui.core.trees import GITLINK, Entry, File, folders_above
from backspace_tui.repository.ignored import is_cache

Changes = Mapping[str, File | Entry | None]


class Tracked:
    """The base's paths, asked again and again: submodules apart from all others."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.paths = frozenset(path for path, entry in entries.items() if entry.mode != GITLINK)
        self.submodules = {path: entry for path, entry in entries.items() if entry.mode == GITLINK}


def to_work(
    tracked: Tracked, changes: Changes, ignored: Callable[[Collection[str]], Collection[str]]
) -> dict[str, File | Entry | None]:
    """Those of a snapshot's ``changes`` that W follows; ``ignored`` picks the paths that the base's rules exclude.

    Whether a path belongs to W depends on the base and the path alone, so W needs no look at what did not change.
    """
    followed: dict[str, File | Entry | None] = {}
    untracked: dict[str, File | Entry | None] = {}
    for path, new in changes.items():
        if tracked.submodules and (path in tracked.submodules or inside(path, tracked.submodules)):
            continue
        if path in tracked.paths or new is None:
            followed[path] = new
        elif not is_cache(path):
            untracked[path] = new
    left_out = ignored(untracked.keys()) if untracked else ()
    return followed | {path: new for path, new in untracked.items() if path not in left_out}


def inside(path: str, folders: Collection[str]) -> bool:
    """Whether one of ``folders`` is above ``path``."""
    return any(folder in folders for folder in folders_above(path))
