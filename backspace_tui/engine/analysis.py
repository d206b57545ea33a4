"""What a repository is, read from its tree alone: languages, build files, test command, advice, outline."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

import msgspec

from backspace_tui.core.terminal_text import clip
from backspace_tui.core.trees import EXECUTABLE, REGULAR, Entry
from backspace_tui.engine.outline import outline
from backspace_tui.engine.tools.base import shown

LANGUAGES: Final = {
    suffix: language
    for language, suffixes in {
        "Python": "py pyi", "JavaScript": "js mjs cjs jsx", "TypeScript": "ts tsx mts cts", "Go": "go", "Rust": "rs",
        "C": "c h", "C++": "cpp cc cxx hpp hh", "Java": "java", "Kotlin": "kt kts", "Scala": "scala", "Ruby": "rb",
        "Shell": "sh bash", "PHP": "php", "C#": "cs", "Swift": "swift", "Lua": "lua", "Elixir": "ex exs",
        "Haskell": "hs", "Dart": "dart", "Zig": "zig", "Vue": "vue", "Svelte": "svelte", "SQL": "sql", "HTML": "html",
        "CSS": "css scss", "R": "r", "Perl": "pl pm", "Erlang": "erl", "OCaml": "ml", "Julia": "jl", "Clojure": "clj",
    }.items()
    for suffix in suffixes.split()
}  # fmt: skip
BUILD_FILES: Final = frozenset({
    "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tox.ini", "noxfile.py", "Pipfile",
    "environment.yml", "package.json", "pnpm-lock.yaml", "yarn.lock", "deno.json", "tsconfig.json", "go.mod",
    "Cargo.toml", "Makefile", "makefile", "GNUmakefile", "justfile", "Taskfile.yml", "CMakeLists.txt", "meson.build",
    "configure.ac", "BUILD.bazel", "WORKSPACE", "MODULE.bazel", "pom.xml", "build.gradle", "build.gradle.kts",
    "build.sbt", "Gemfile", "Rakefile", "composer.json", "mix.exs", "rebar.config", "stack.yaml", "pubspec.yaml",
    "build.zig", "Package.swift", "flake.nix", "Dockerfile", "compose.yaml", "docker-compose.yml", ".gitlab-ci.yml",
    ".pre-commit-config.yaml",
})  # fmt: skip
ADVICE: Final = (
    "AGENTS.md", "AGENT.md", "CLAUDE.md", ".claude/CLAUDE.md", "GEMINI.md", "CONVENTIONS.md", ".cursorrules",
    ".windsurfrules", ".clinerules", ".goosehints", ".github/copilot-instructions.md", ".junie/guidelines.md",
    "CONTRIBUTING.md", ".github/CONTRIBUTING.md", "docs/CONTRIBUTING.md", "CONTRIBUTING.rst", "HACKING.md",
)  # fmt: skip
RULES: Final = (".cursor/rules/", ".clinerules/", ".windsurf/rules/", ".github/instructions/")
"""Folders whose files are advice, each."""

ADVICE_LIMIT: Final = 4_000
ALL_ADVICE_LIMIT: Final = 8_000
_NAMED: Final = 20

Read = Callable[[str], bytes]


class Analysis(msgspec.Struct, frozen=True):
    """What the plan and the agent are told of a repository; ``test`` is empty where no test command was found."""

    languages: tuple[str, ...]
    test: str
    outline: str
    advice: str
    build: tuple[str, ...] = ()


def analyze(entries: Mapping[str, Entry], read: Read, configured_test: str = "") -> Analysis:
    """Read a tree; ``read`` gives the content of a file that is in ``entries``, or nothing of a large one."""
    files = _files(entries)
    counts = Counter(LANGUAGES[suffix] for path in files if (suffix := path.rpartition(".")[2].lower()) in LANGUAGES)
    return Analysis(
        tuple(name for name, _ in counts.most_common(4)),
        configured_test or test_command(entries, read),
        outline(files, read),
        _advice(files, read),
        _build(files),
    )


def _build(files: Iterable[str]) -> tuple[str, ...]:
    """The files that say how it is built and checked, the upper ones first."""
    found = [path for path in files if path.rpartition("/")[2] in BUILD_FILES or path.startswith(".github/workflows/")]
    return tuple(sorted(found, key=lambda path: (path.count("/"), path))[:_NAMED])


def _advice(files: Mapping[str, Entry], read: Read) -> str:
    """What files that are written for agents and contributors say, each once; of those in folders the names."""
    by_name = {path.lower(): path for path in sorted(files, reverse=True)}
    names = [by_name[name.lower()] for name in ADVICE if name.lower() in by_name]
    names += sorted(path for path in files if path.startswith(RULES))
    parts: list[str] = []
    seen: set[str] = set()
    room = ALL_ADVICE_LIMIT
    unread: list[str] = []
    for name in dict.fromkeys(names):
        text = read(name).decode(errors="replace").strip()
        if not text or text in seen:
            continue
        seen.add(text)
        if room < 200:
            unread.append(name)
            continue
        kept = clip(text, min(ADVICE_LIMIT, room))
        room -= len(kept)
        parts.append(f"--- {shown(name)}\n{kept}")
    nested = {"agents.md", "claude.md", "gemini.md"}
    unread += sorted(path for path in files if path.rpartition("/")[2].lower() in nested and path not in names)
    if unread:
        parts.append(f"--- more, to be read where it applies: {', '.join(map(shown, unread[:_NAMED]))}")
    return "\n".join(parts)


def test_command(entries: Mapping[str, Entry], read: Read) -> str:
    """The command that runs a project's tests, as its files suggest it; empty when nothing does.

    Where nothing at the top suggests one, and one folder of it alone does, it is run there.
    """
    files = _files(entries)
    if command := _command(files, read):
        return command
    folders: dict[str, dict[str, Entry]] = {}
    for path, entry in files.items():
        folder, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(folder, {})[rest] = entry
    found = [
        f"cd {folder} && {command}"
        for folder, below in folders.items()
        if _SIMPLE.fullmatch(folder) and (command := _command(below, _inside(folder, read)))
    ]
    return found[0] if len(found) == 1 else ""


def _inside(folder: str, read: Read) -> Read:
    return lambda path: read(f"{folder}/{path}")


_SIMPLE: Final = re.compile(r"\w[\w.-]*", re.A)


def _command(files: Mapping[str, Entry], read: Read) -> str:
    finders = (_python, _node, _go, _rust, _make, _by_marker)
    return next((command for find in finders if (command := find(files, read))), "")


def _by_marker(files: Mapping[str, Entry], _read: Read) -> str:
    """The usual command of a build tool whose file is there."""
    return next((command for name, command in _MARKERS.items() if name in files), "")


_MARKERS: Final = {
    "mvnw": "./mvnw -q test", "pom.xml": "mvn -q test", "gradlew": "./gradlew test", "build.gradle": "gradle test",
    "build.gradle.kts": "gradle test", "build.sbt": "sbt test", "mix.exs": "mix test", "Package.swift": "swift test",
    "pubspec.yaml": "dart test", "build.zig": "zig build test", "stack.yaml": "stack test",
    ".rspec": "bundle exec rspec", "phpunit.xml": "vendor/bin/phpunit", "phpunit.xml.dist": "vendor/bin/phpunit",
}  # fmt: skip


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
    except (ValueError, AttributeError, RecursionError):
        return ""
    if not isinstance(script, str) or not script or "no test specified" in script:
        return ""
    tools = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun run", "bun.lockb": "bun run"}
    return f"{next((tool for lock, tool in tools.items() if lock in entries), 'npm')} test"


def _go(entries: Mapping[str, Entry], _read: Read) -> str:
    return "go test ./..." if "go.mod" in entries and any(path.endswith("_test.go") for path in entries) else ""


def _rust(entries: Mapping[str, Entry], _read: Read) -> str:
    return "cargo test" if "Cargo.toml" in entries else ""


def _make(entries: Mapping[str, Entry], read: Read) -> str:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if name in entries:
            return "make test" if re.search(rb"^test\s*:(?!=)", read(name), re.M) else ""
    return ""
