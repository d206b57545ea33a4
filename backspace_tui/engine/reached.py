"""Whether existing code reaches new code, as far as names tell: for the critique to judge. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

MOST: Final = 60
"""New files and new names that are looked for, at most so many of each."""

_C_LIKE: Final = (
    r"^[ \t]*(?:public|protected|internal)[ \t][\w<>\[\],.? \t]*?\b(?:class|interface|record|enum)[ \t]+(\w+)"
)
_C_METHOD: Final = r"^[ \t]*public[ \t][\w<>\[\],.? \t]*?[ \t](\w+)[ \t]*\("
_SCRIPT: Final = (
    r"^export[ \t]+(?:default[ \t]+)?(?:async[ \t]+)?(?:abstract[ \t]+)?"
    r"(?:function\*?|class|const|let|interface|enum|type)[ \t]+(\w+)"
    r"|^(?:async[ \t]+)?(?:function\*?|class)[ \t]+(\w+)"
)
_PATTERNS: Final[Mapping[str, str]] = {
    ".py": r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)",
    ".go": r"^func[ \t]+(?:\([^)\n]*\)[ \t]*)?([A-Z]\w*)|^type[ \t]+([A-Z]\w*)",
    ".rs": r"^[ \t]*pub[ \t]+(?:async[ \t]+|unsafe[ \t]+|const[ \t]+)?(?:fn|struct|enum|trait|type)[ \t]+(\w+)",
    ".rb": r"^[ \t]*(?:def[ \t]+(?:self\.)?|class[ \t]+|module[ \t]+)(\w+)",
    ".php": r"^[ \t]*(?:(?:public|static|final|abstract)[ \t]+)*(?:function|class|interface|trait)[ \t]+(\w+)",
    ".java": f"{_C_LIKE}|{_C_METHOD}",
    ".cs": f"{_C_LIKE}|{_C_METHOD}",
    ".kt": r"^[ \t]*(?:(?:open|data|sealed|abstract|suspend|override)[ \t]+)*(?:fun|class|object|interface)[ \t]+(\w+)",
    ".swift": r"^[ \t]*(?:public[ \t]+|open[ \t]+)?(?:func|class|struct|enum|protocol)[ \t]+(\w+)",
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx"), _SCRIPT),
}
_DEFINITIONS: Final = {suffix: re.compile(pattern.encode(), re.M) for suffix, pattern in _PATTERNS.items()}
_TEST: Final = re.compile(
    r"(^|/)(tests?|specs?|__tests__)/|(^|/)(test_[^/]*|conftest\.py$|[^/]*[._-](test|spec)s?\.)", re.I
)
_NAMELESS: Final = frozenset({"__init__", "index", "mod", "lib", "main", "__main__"})
"""Files that go by the name of their folder, or that are started from outside."""


class Changed(NamedTuple):
    """A file before (``None``: absent) and after the change."""

    path: str
    old: bytes | None
    new: bytes


def reach(changed: Sequence[Changed], texts: Mapping[str, bytes]) -> list[str]:
    """A line for each new file and each new public function or class: which of the files ``texts`` mention it.

    Tests are left out, for the test runner finds them.
    """
    lines = []
    code = [file for file in changed if not is_test(file.path)]
    for path in [file.path for file in code if file.old is None][:MOST]:
        users = _users(_stem(path), {other: data for other, data in texts.items() if other != path})
        lines.append(f"{path}: {_told(users, 'no other file mentions it')}")
    found = [(name, file) for file in code for name in new_names(file)]
    for name, file in found[:MOST]:
        users = _users(name.encode(), texts)
        if len(_word(name.encode()).findall(file.new)) < 2:
            users = [other for other in users if other != file.path]
        lines.append(f"{name} in {file.path}: {_told(users, 'nothing mentions it')}")
    if len(found) > MOST:
        lines.append(f"({len(found) - MOST} more new names were not looked for)")
    return lines


def is_test(path: str) -> bool:
    """Whether a path looks like a test's."""
    return _TEST.search(path) is not None


def new_names(file: Changed) -> list[str]:
    """The public functions and classes that the file defines now and did not before, in order."""
    before = set(_names(file.path, file.old or b""))
    return list(dict.fromkeys(name for name in _names(file.path, file.new) if name not in before))


def _names(path: str, data: bytes) -> Iterator[str]:
    pattern = _DEFINITIONS.get(PurePosixPath(path).suffix.lower())
    for match in pattern.finditer(data) if pattern else ():
        name = next(group for group in match.groups() if group is not None).decode("utf-8", "replace")
        if not name.startswith("_") and name != "main":
            yield name


def _stem(path: str) -> bytes:
    pure = PurePosixPath(path)
    stem = pure.stem if pure.stem not in _NAMELESS else pure.parent.name or pure.stem
    return stem.encode("utf-8", "surrogateescape")


def _users(word: bytes, texts: Mapping[str, bytes]) -> list[str]:
    pattern = _word(word)
    return [path for path, data in texts.items() if word in data and pattern.search(data)]


def _word(word: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![\w-])" + re.escape(word) + rb"(?![\w-])")


def _told(users: Sequence[str], nobody: str) -> str:
    if not users:
        return nobody
    # What is no test comes first: a test alone does not reach code for its users.
    ordered = sorted(users, key=is_test)
    more = f" and {len(users) - 5} more" if len(users) > 5 else ""
    only = "only in tests: " if all(map(is_test, users)) else "mentioned in "
    return only + ", ".join(ordered[:5]) + more
