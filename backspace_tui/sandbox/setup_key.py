"""What the result of a project's setup depends on, as one key: equal keys mean that nothing has to be run again."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Final

from backspace_tui.core.trees import File

_NAMES: Final = frozenset({
    "package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", "yarn.lock",
    ".npmrc", ".yarnrc", ".yarnrc.yml", "pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "go.mod", "go.sum",
    "go.work", "go.work.sum", "Cargo.toml", "composer.json", "Gemfile",
})  # fmt: skip
_PATTERN: Final = re.compile(r"requirements.*\.(?:txt|in)|constraints.*\.txt|.+\.lock(?:b)?|.+\.gemspec", re.DOTALL)
_PYTHON: Final = ("pyproject.toml", "setup.py", "setup.cfg")
_NATIVE: Final = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".pyx", ".pxd", ".f90")
_WORDS: Final = re.compile(r"[^\s;&|<>()=\"'`]+")


def is_dependency_file(path: str) -> bool:
    """Whether ``path`` says by its name what a project needs: manifests, lock files, requirements."""
    folder, name = posixpath.split(path)
    if name in _NAMES or _PATTERN.fullmatch(name):
        return True
    return posixpath.basename(folder) in ("requirements", "constraints") and name.endswith((".txt", ".in"))


def depends_on(files: Iterable[str], lines: Iterable[str]) -> list[str]:
    """The paths among ``files`` whose content decides what the setup ``lines`` make, sorted.

    Besides dependency files these are the files that a line names, and the native sources of a Python package, since
    an editable install keeps what was compiled from them.
    """
    paths = set(files)
    named = {posixpath.normpath(word) for line in lines for word in _WORDS.findall(line)}
    native = _NATIVE if any(name in paths for name in _PYTHON) else ()
    return sorted(
        path for path in paths if path in named or is_dependency_file(path) or (native and path.endswith(native))
    )


def digest(parts: Iterable[bytes]) -> str:
    """24 hex digits that tell different sequences of byte strings apart."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:24]


def setup_key(image: str, files: Mapping[str, File], root: Iterable[str], user: Iterable[str], network: str) -> str:
    """The key of what ``root`` and then ``user`` lines make of ``files`` in the image with the id ``image``."""
    root, user = tuple(root), tuple(user)
    parts = [image, network, str(len(root)), *root, *user]
    return digest([*map(_raw, parts), *contents(files, depends_on(files, (*root, *user)))])


def contents(files: Mapping[str, File], paths: Iterable[str]) -> list[bytes]:
    """Path, mode and content of each of ``paths``, flat."""
    return [part for path in paths for part in (_raw(path), b"%o" % files[path].mode, files[path].data)]


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
