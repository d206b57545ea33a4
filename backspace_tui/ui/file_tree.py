"""The rows of the file tree, as pure data: folders with changes first and open, the rest closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Filter = Literal["all", "changed", "undecided", "since", "commented", "failing"]
FILTERS: Final[tuple[Filter, ...]] = ("all", "changed", "undecided", "since", "commented", "failing")
FILTER_NAMES: Final[dict[Filter, str]] = {
    "all": "all",
    "changed": "changed",
    "undecided": "undecided",
    "since": "changed since you looked",
    "commented": "commented",
    "failing": "named by failing tests",
}

Tests = Literal["", "passes", "fails", "failed"]
"""What the tests say of a file; ``failed`` with another choice of hunks than now."""

_TESTS: Final[dict[Tests, tuple[str, str]]] = {
    "passes": ("✓", "good"),
    "fails": ("fails", "bad"),
    "failed": ("stale", "muted"),
}


class Badge(NamedTuple):
    """What the review says of a file: hunks decided of all, and whether all were turned down, or some of each.

    ``since`` tells that the agent changed something after the user had looked, ``tests`` what they say of the file.
    """

    decided: int
    total: int
    rejected: bool = False
    partial: bool = False
    since: bool = False
    commented: bool = False
    protected: bool = False
    tests: Tests = ""

    @property
    def undecided(self) -> bool:
        return self.decided < self.total

    @property
    def pieces(self) -> list[tuple[str, str]]:
        """The words of the badge, each with its style."""
        found = []
        if self.protected:
            found.append(("!", "alert"))
        if self.since:
            found.append(("↻", "warn"))
        if self.commented:
            found.append(("c", "user"))
        if self.undecided:
            found.append((f"{self.decided}/{self.total}", "accent"))
        elif self.rejected:
            found.append(("x", "bad"))
        else:
            found.append(("part", "warn") if self.partial else ("ok", "good"))
        if self.tests:
            found.append(_TESTS[self.tests])
        return found

    @property
    def text(self) -> str:
        """The badge as it is shown."""
        return " ".join(text for text, _ in self.pieces)

    def wanted(self, shown: Filter) -> bool:
        """Whether a filter shows the file."""
        match shown:
            case "undecided":
                return self.undecided
            case "since":
                return self.since
            case "commented":
                return self.commented
            case "failing":
                return self.tests in ("fails", "failed")
            case _:
                return True


class TreeRow(NamedTuple):
    """One row. ``badge`` is ``None`` for files without changes; ``is_open`` is for folders."""

    path: str
    name: str
    depth: int
    is_folder: bool = False
    is_open: bool = False
    badge: Badge | None = None
    changed: bool = False


class _Folder:
    def __init__(self) -> None:
        self.folders: dict[str, _Folder] = {}
        self.files: list[str] = []
        self.changed = False
        self.kept = False


class FileTree:
    """The folders of a set of paths, built once a set; :meth:`rows` is cheap."""

    def __init__(self, paths: Sequence[str], badges: Mapping[str, Badge]) -> None:
        self.badges = badges
        self._root = _Folder()
        for path in sorted({*paths, *badges}):
            self._add(path)

    def _add(self, path: str) -> None:
        folder = self._root
        *parents, name = path.split("/")
        changed = path in self.badges
        for parent in parents:
            folder = folder.folders.setdefault(parent, _Folder())
            folder.changed = folder.changed or changed
        folder.files.append(name)

    def rows(self, opened: Mapping[str, bool], shown: Filter = "all") -> list[TreeRow]:
        """The visible rows. A folder is open when something in it changed, unless ``opened`` says otherwise."""
        rows: list[TreeRow] = []
        self._list(self._root, "", 0, opened, shown, rows)
        return rows

    def _wanted(self, path: str, shown: Filter) -> bool:
        badge = self.badges.get(path)
        if shown == "all":
            return True
        return badge is not None and badge.wanted(shown)

    def _list(
        self, folder: _Folder, prefix: str, depth: int, opened: Mapping[str, bool], shown: Filter, rows: list[TreeRow]
    ) -> None:
        for name, child in sorted(folder.folders.items(), key=lambda item: (not item[1].changed, item[0])):
            if shown != "all" and not child.changed:
                continue
            # A chain of folders that hold nothing else stands in one row.
            path, label = prefix + name, name
            while not child.files and len(child.folders) == 1:
                (inner, child) = next(iter(child.folders.items()))
                path, label = f"{path}/{inner}", f"{label}/{inner}"
            is_open = opened.get(path, child.changed)
            at = len(rows)
            rows.append(TreeRow(path, label, depth, True, is_open, None, child.changed))
            if is_open:
                self._list(child, f"{path}/", depth + 1, opened, shown, rows)
                if shown != "all" and len(rows) == at + 1:
                    del rows[at]
        files = [prefix + name for name in folder.files]
        for path in sorted(files, key=lambda path: (path not in self.badges, path)):
            if self._wanted(path, shown):
                badge = self.badges.get(path)
                rows.append(TreeRow(path, path.rsplit("/", 1)[-1], depth, False, False, badge, badge is not None))
