"""Which untracked paths are no work: what the base's own ignore files name, and well-known caches.

The rules are those of the base tree alone. The agent can write ignore files, and what it writes must not hide
anything from the reviewer.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from backspace_tui import private
from backspace_tui.core.trees import EXECUTABLE, REGULAR
from backspace_tui.repository.errors import RepositoryError
from backspace_tui.repository.git import Runner
from backspace_tui.repository.names import check_path

# Names that only tools make. `build`, `dist`, `target` or `venv` may be somebody's source and are left to .gitignore.
_CACHE_FOLDERS: Final = frozenset({
    "__pycache__", "__pypackages__", ".cache", ".eggs", ".gradle", ".hypothesis", ".ipynb_checkpoints", ".mypy_cache",
    ".nox", ".npm", ".nyc_output", ".parcel-cache", ".pytest_cache", ".pytype", ".ruff_cache", ".tox", ".turbo",
    ".venv", "htmlcov", "node_modules",
})  # fmt: skip
_CACHE_FILES: Final = frozenset({".DS_Store", ".coverage", ".eslintcache", ".stylelintcache", ".tsbuildinfo"})
_CACHE_PATTERN: Final = re.compile(r".+\.(?:py[co]|egg-info|tsbuildinfo)|\.coverage\..+", re.DOTALL)


def is_cache(path: str) -> bool:
    """Whether some part of ``path`` is a well-known cache."""
    *folders, name = path.split("/")
    return (
        name in _CACHE_FILES
        or _CACHE_PATTERN.fullmatch(name) is not None
        or any(part in _CACHE_FOLDERS or part.endswith(".egg-info") for part in (*folders, name))
    )


def ignored_by(runner: Runner, git_dir: Path, base_tree: str, paths: Iterable[str]) -> set[str]:
    """Those of ``paths`` that the ``.gitignore`` files of ``base_tree`` exclude, by git's own rules.

    Git reads the files from a folder inside ``git_dir`` that holds them and nothing else.

    Raises:
        RepositoryError: git failed.
    """
    asked = [os.fsencode(path) for path in paths]
    folder = _ignore_files(runner, git_dir, base_tree)
    if not asked or folder is None:
        return set()
    # The command takes no literal pathspecs; behind `./` no path is taken for a pattern.
    answer = runner.with_environment({"GIT_WORK_TREE": os.fspath(folder), "GIT_LITERAL_PATHSPECS": "0"}).run(
        "-c", "core.bare=false", "-c", f"core.excludesFile={os.devnull}", "-C", os.fspath(folder),
        "check-ignore", "--no-index", "-z", "--stdin", data=b"".join(b"./%s\0" % raw for raw in asked), ok=(0, 1),
    )  # fmt: skip
    return {os.fsdecode(raw.removeprefix(b"./")) for raw in answer.split(b"\0") if raw}


def _ignore_files(runner: Runner, git_dir: Path, base_tree: str) -> Path | None:
    folder = git_dir / "backspace-ignore" / base_tree
    if not folder.is_dir():
        _lay_out(runner, folder, base_tree)
    return folder if any(folder.iterdir()) else None


def _lay_out(runner: Runner, folder: Path, base_tree: str) -> None:
    private.make_directory(folder.parent)
    made = Path(tempfile.mkdtemp(prefix="new-", dir=folder.parent))
    try:
        for record in runner.run("ls-tree", "-r", "-z", base_tree).split(b"\0"):
            facts, _, raw = record.partition(b"\t")
            if raw != b".gitignore" and not raw.endswith(b"/.gitignore"):
                continue
            mode, _, oid = facts.split()
            # A symbolic link in the place of an ignore file means nothing to git either.
            if int(mode, 8) not in (REGULAR, EXECUTABLE):
                continue
            path = os.fsdecode(raw)
            try:
                check_path(path)
            except RepositoryError:
                continue
            target = made / path
            private.make_directory(target.parent)
            private.write(target, runner.run("cat-file", "blob", oid.decode("ascii")))
        try:
            made.rename(folder)
        except OSError:
            # Another process laid out the same tree first.
            if not folder.is_dir():
                raise
    except OSError as problem:
        raise RepositoryError(f"cannot write into the session's repository: {problem.strerror or problem}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
