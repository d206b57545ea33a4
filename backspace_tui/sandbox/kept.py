"""What a workspace held when it was last looked at, and how that differs from now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from backspace_tui.core.trees import File

Difference = dict[str, File | None]
"""Paths with what they hold now; ``None``: nothing any more."""


class Increment(msgspec.Struct, frozen=True):
    """What a sandbox says of the time since its last snapshot.

    ``files`` are those that may have changed. ``folders`` lists what some folders hold (the workspace is ``""``): each
    name with whether it is a folder; whatever else was in them is gone.
    """

    files: Mapping[str, File]
    folders: Mapping[str, Mapping[str, bool]] = {}


class Kept:
    """A snapshot's files, with an index by folder, so that a small difference costs little."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self.files: Final = dict(files)
        self.size = sum(len(file.data) for file in self.files.values())
        self._names: dict[str, set[str]] = {}
        for path in self.files:
            self._enter(path)

    def difference(self, increment: Increment) -> Difference:
        """What changed, where all that is not in ``increment`` is as it was."""
        found: Difference = {}
        for folder, listed in increment.folders.items():
            for name in self._names.get(folder, ()):
                path = f"{folder}/{name}" if folder else name
                if path in self.files and listed.get(name) is not False:
                    found[path] = None
                elif path not in self.files and listed.get(name) is not True:
                    found |= dict.fromkeys(self._below(path))
        for path in increment.files:
            found |= dict.fromkeys(self._below(path))
            found |= dict.fromkeys(above for above, _ in _steps(path) if above in self.files)
        found |= increment.files
        return {path: file for path, file in found.items() if self.files.get(path) != file}

    def difference_to(self, files: Mapping[str, File]) -> Difference:
        """What changed, where ``files`` is all there is."""
        gone: Difference = {path: None for path in self.files if path not in files}
        return gone | {path: file for path, file in files.items() if self.files.get(path) != file}

    def size_with(self, difference: Difference) -> tuple[int, int]:
        """Bytes and number of the files after ``difference``."""
        size, count = self.size, len(self.files)
        for path, file in difference.items():
            old = self.files.get(path)
            size += (len(file.data) if file is not None else 0) - (len(old.data) if old is not None else 0)
            count += (file is not None) - (old is not None)
        return size, count

    def apply(self, difference: Difference) -> None:
        """Follow a difference."""
        self.size, _ = self.size_with(difference)
        for path, file in difference.items():
            if file is None and self.files.pop(path, None) is not None:
                self._leave(path)
        for path, file in difference.items():
            if file is not None:
                if path not in self.files:
                    self._enter(path)
                self.files[path] = file

    def _below(self, folder: str) -> Iterator[str]:
        waiting = [folder]
        while waiting:
            above = waiting.pop()
            for name in self._names.get(above, ()):
                path = f"{above}/{name}"
                if path in self.files:
                    yield path
                else:
                    waiting.append(path)

    def _enter(self, path: str) -> None:
        for folder, name in _steps(path):
            names = self._names.setdefault(folder, set())
            if name in names:
                return
            names.add(name)

    def _leave(self, path: str) -> None:
        for folder, name in _steps(path):
            names = self._names[folder]
            names.discard(name)
            if names:
                return
            del self._names[folder]


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Each folder above ``path`` with the name that leads on, the nearest first."""
    while path:
        path, _, name = path.rpartition("/")
        yield path, name
