from __future__ import annotations

import pytest

from backspace_tui.core.trees import REGULAR, SYMLINK, Entry
from backspace_tui.engine.analysis import analyze
from backspace_tui.engine.analysis import test_command as find_command


def command(files: dict[str, str]) -> str:
    entries = {path: Entry(REGULAR, "0" * 40) for path in files}
    return find_command(entries, lambda path: files[path].encode())


UNIT = "import unittest\nclass T(unittest.TestCase): pass\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": "x"}, ""),
        ({"test_a.py": "def test_x(): pass"}, "python -m pytest -q"),
        ({"pytest.ini": "", "tests/test_a.py": UNIT}, "python -m pytest -q"),
        ({"pyproject.toml": "[tool.pytest.ini_options]", "tests/test_a.py": UNIT}, "python -m pytest -q"),
        ({"tests/test_a.py": UNIT}, "python -m unittest discover -s tests"),
        ({"tests/__init__.py": "", "tests/test_a.py": UNIT}, "python -m unittest discover -s tests -t ."),
        ({"test_a.py": UNIT}, "python -m unittest discover"),
        ({"tests/test_a.py": UNIT, "tests/test_b.py": "import pytest"}, "python -m pytest -q"),
        ({"package.json": '{"scripts": {"test": "node --test"}}'}, "npm test"),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, ""),
        ({"package.json": "not json"}, ""),
        ({"package.json": "[]"}, ""),
        ({"go.mod": "", "a_test.go": ""}, "go test ./..."),
        ({"go.mod": ""}, ""),
        ({"Cargo.toml": ""}, "cargo test"),
        ({"Makefile": "all:\n\ntest: all\n\t./run\n"}, "make test"),
        ({"Makefile": "test := 1\n"}, ""),
    ],
)
def test_commands(files: dict[str, str], expected: str) -> None:
    assert command(files) == expected


def test_a_configured_command_comes_first() -> None:
    entries = {"go.mod": Entry(REGULAR, "0" * 40), "a_test.go": Entry(REGULAR, "0" * 40)}
    assert analyze(entries, lambda _: b"", "make check").test == "make check"


def test_advice_is_never_read_through_a_link() -> None:
    entries = {"AGENTS.md": Entry(SYMLINK, "0" * 40)}
    assert analyze(entries, lambda _: b"/etc/passwd").advice == ""


def test_many_files_are_outlined_by_folder() -> None:
    entries = {f"src/{number}.py": Entry(REGULAR, "0" * 40) for number in range(300)}
    found = analyze(entries, lambda _: b"")
    assert found.outline == "src/ (300 files)\n(300 files in all)"
    assert found.languages == ("Python",)
