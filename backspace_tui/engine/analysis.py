"""What a repository is, read from its tree alone: languages, test command, advice, outline."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Final

import msgspec

from backspace_tui.core.trees import EXECUTABLE, REGULAR, Entry
from backspace_tui.engine.tools.base import shown

LANGUAGES: Final = {
    ".py": "Python", ".js": "JavaScript", ".mjs": "JavaScript", ".ts": "TypeScript", ".tsx": "TypeScript", ".go": "Go",
    ".rs": "Rust", ".c": "C", ".h": "C", ".cpp": "C++", ".cc": "C++", ".java": "Java", ".rb": "Ruby", ".sh": "Shell",
    ".php": "PHP", ".cs": "C#", ".swift": "Swift", ".kt": "Kotlin", ".lua": "Lua", ".ex": "Elixir", ".hs": "Haskell",
}  # fmt: skip
ADVICE: Final = ("AGENTS.md", "CLAUDE.md", "CONTRIBUTING.md", ".github/copilot-instructions.md")
ADVICE_LIMIT: Final = 4_000
OUTLINE_LIMIT: Final = 200

Read = Callable[[str], bytes]


class Analysis(msgspec.Struct, frozen=True):
    """What the plan and the agent are told of a repository; ``test`` is empty where no test command was found."""

    languages: tuple[str, ...]
    test: str
    outline: str
    advice: str


def analyze(entries: Mapping[str, Entry], read: Read, configured_test: str = "") -> Analysis:
    """Read a tree; ``read`` gives the content of a file that is in ``entries``."""
    counts = Counter(LANGUAGES[suffix] for path in entries if (suffix := PurePosixPath(path).suffix) in LANGUAGES)
    files = _files(entries)
    advice = [f"--- {name}\n{read(name).decode(errors='replace')[:ADVICE_LIMIT]}" for name in ADVICE if name in files]
    return Analysis(
        tuple(name for name, _ in counts.most_common(4)),
        configured_test or test_command(entries, read),
        _outline(entries),
        "\n".join(advice),
    )


def test_command(entries: Mapping[str, Entry], read: Read) -> str:
    """The command that runs a project's tests, as its files suggest it; empty when nothing does."""
    entries = _files(entries)
    finders = (_python, _node, _go, _rust, _make)
    return next((command for find in finders if (command := find(entries, read))), "")


def _files(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Without links and submodules, which have no content of their own."""
    return {path: entry for path, entry in entries.items() if entry.mode in (REGULAR, EXECUTABLE)}


def _python(entries: Mapping[str, Entry], read: Read) -> str:
    tests = [path for path in entries if _is_python_test(path)]
    if not tests:
        return ""
    if "pytest.ini" in entries or any(path.endswith("conftest.py") for path in entries):
        return "python -m pytest -q"
    for name, marker in (("pyproject.toml", b"pytest"), ("setup.cfg", b"[tool:pytest]"), ("tox.ini", b"pytest")):
        if name in entries and marker in read(name):
            return "python -m pytest -q"
    sources = [read(path) for path in tests[:50]]
    if any(re.search(rb"^\s*(import|from) pytest\b", source, re.M) for source in sources):
        return "python -m pytest -q"
    if all(b"unittest" in source for source in sources):
        folders = {str(PurePosixPath(path).parent) for path in tests}
        roots = {folder for folder in folders if str(PurePosixPath(folder).parent) not in folders}
        start = roots.pop() if len(roots) == 1 else "."
        if start == ".":
            return "python -m unittest discover"
        top = " -t ." if f"{start}/__init__.py" in entries else ""
        return f"python -m unittest discover -s {start}{top}"
    return "python -m pytest -q"


def _is_python_test(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def _node(entries: Mapping[str, Entry], read: Read) -> str:
    if "package.json" not in entries:
        return ""
    try:
        scripts = json.loads(read("package.json")).get("scripts", {})
        script = scripts.get("test", "")
    except (ValueError, AttributeError):
        return ""
    return "npm test" if script and "no test specified" not in script else ""


def _go(entries: Mapping[str, Entry], _read: Read) -> str:
    return "go test ./..." if "go.mod" in entries and any(path.endswith("_test.go") for path in entries) else ""


def _rust(entries: Mapping[str, Entry], _read: Read) -> str:
    return "cargo test" if "Cargo.toml" in entries else ""


def _make(entries: Mapping[str, Entry], read: Read) -> str:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if name in entries:
            return "make test" if re.search(rb"^test\s*:(?!=)", read(name), re.M) else ""
    return ""


def _outline(entries: Mapping[str, Entry]) -> str:
    paths = sorted(entries)
    if len(paths) <= OUTLINE_LIMIT:
        return "\n".join(shown(path) for path in paths)
    folders = Counter("/".join(path.split("/")[:2][:-1]) or "." for path in paths)
    lines = [f"{shown(folder)}/ ({count} files)" for folder, count in sorted(folders.items())]
    return "\n".join(lines[:OUTLINE_LIMIT]) + f"\n({len(paths)} files in all)"
