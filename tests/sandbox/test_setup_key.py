"""What setup depends on, and what of its output is told: pure parts."""

from __future__ import annotations

import fnmatch
import importlib.util
from types import ModuleType

import pytest

from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.core.trees import EXECUTABLE, REGULAR, File
from backspace_tui.paths import resource_dir
from backspace_tui.repository import ignored
from backspace_tui.sandbox.dockerfile import context
from backspace_tui.sandbox.factory import Factory
from backspace_tui.sandbox.setup_key import depends_on, is_dependency_file, setup_key
from backspace_tui.sandbox.setup_output import SHOWN_LINES, WIDTH, Told

FILES = {
    "package.json": File(REGULAR, b"{}"),
    "src/index.js": File(REGULAR, b"1"),
    "scripts/setup.sh": File(EXECUTABLE, b"true"),
    "caf\udce9": File(REGULAR, b""),
}


def key(files: dict[str, File] = FILES, image: str = "sha256:1", root: str = "", user: str = "npm ci",
        network: str = "none") -> str:  # fmt: skip
    return setup_key(image, files, (root,) if root else (), (user,), network)


@pytest.mark.parametrize(
    "path",
    [
        "requirements.txt", "requirements-dev.txt", "requirements/test.txt", "api/requirements.txt", "dev-lock/uv.lock",
        "uv.lock", "poetry.lock", "Pipfile", "Pipfile.lock", "yarn.lock", "package-lock.json", "pnpm-lock.yaml",
        "pyproject.toml", "setup.py", "setup.cfg", "go.mod", "go.sum", "Cargo.toml", "Cargo.lock", "Gemfile",
        "Gemfile.lock", "composer.json", "composer.lock", "bun.lockb", "web/package.json",
    ],
)  # fmt: skip
def test_a_dependency_file_changes_the_key(path: str) -> None:
    assert is_dependency_file(path)
    one, two = FILES | {path: File(REGULAR, b"a")}, FILES | {path: File(REGULAR, b"b")}
    assert len({key(), key(one), key(two)}) == 3


@pytest.mark.parametrize("path", ["Makefile", "README.md", "src/main.rs", "lock", "notes/requirements.md", "txt"])
def test_other_files_do_not(path: str) -> None:
    assert key(FILES | {path: File(REGULAR, b"a")}) == key()


def test_image_lines_and_network_change_the_key() -> None:
    changed = [key(image="sha256:2"), key(user="npm install"), key(root="npm ci", user=""), key(network="setup"),
               key(root="npm ci")]  # fmt: skip
    assert len({key(), *changed}) == 6
    assert setup_key("i", FILES, ("a", "b"), ("c",), "none") != setup_key("i", FILES, ("a",), ("b", "c"), "none")


def test_a_file_that_a_line_names_counts_with_its_mode() -> None:
    assert depends_on(FILES, ["sh ./scripts/setup.sh&&true"]) == ["package.json", "scripts/setup.sh"]
    other = FILES | {"scripts/setup.sh": File(REGULAR, b"true")}
    assert key(user="./scripts/setup.sh") != key(other, user="./scripts/setup.sh")
    assert key(user="npm ci") == key(other, user="npm ci")


def test_native_sources_count_in_a_python_package_alone() -> None:
    source = {"fast/_fast.c": File(REGULAR, b"int x;")}
    assert depends_on(FILES | source, []) == ["package.json"]
    python = FILES | {"setup.py": File(REGULAR, b"")}
    assert depends_on(python | source, []) == ["fast/_fast.c", "package.json", "setup.py"]


def test_the_factory_compares_files_by_what_setup_depends_on() -> None:
    factory = Factory(SandboxSpec(setup=("npm ci",), dockerfile="Dockerfile"))
    assert Factory(SandboxSpec()).setup_key(FILES) == ""
    assert factory.setup_key(FILES) == factory.setup_key(FILES | {"src/index.js": File(REGULAR, b"2")})
    assert factory.setup_key(FILES) != factory.setup_key(FILES | {"package.json": File(REGULAR, b"2")})
    assert factory.setup_key(FILES) != factory.setup_key(FILES | {"Dockerfile": File(REGULAR, b"FROM x")})


def test_the_context_is_what_dockerignore_leaves() -> None:
    files = {
        name: File(REGULAR, b"") for name in ("docker/Dockerfile", "a.txt", "secret/key", "secret/public", "b.log")
    }
    assert context(files, "./docker/Dockerfile") == files
    rules = File(REGULAR, b"# a comment\n*.log\ndocker\nsecret\n!secret/public\n")
    assert set(context(files | {".dockerignore": rules}, "docker/Dockerfile")) == {
        "docker/Dockerfile", "a.txt", "secret/public", ".dockerignore",
    }  # fmt: skip
    with pytest.raises(SandboxError, match="is not among the repository's committed files"):
        context(files, "../Dockerfile")


def test_output_is_told_in_clean_lines() -> None:
    lines: list[str] = []
    told = Told(lines.append)
    told.take("stdout", b"one\r\ntw\xc3")
    told.take("stderr", b"\x1b[31mred\x1b[0m\x1b]52;c;AAAA\x07\n\n")
    told.take("stdout", b"\xb6\r10%\r20%")
    told.end()
    assert lines == ["one", "red", "twö", "10%", "20%"]
    assert told.tail == "red / twö / 10% / 20%"


def test_output_without_end_is_not_told_without_end() -> None:
    lines: list[str] = []
    told = Told(lines.append)
    told.take("stdout", b"x" * 1_000_000)
    for number in range(SHOWN_LINES + 10):
        told.take("stderr", b"%d\n" % number)
    told.end()
    assert len(lines) == SHOWN_LINES + 1
    assert lines[0] == "x" * WIDTH
    assert lines[-1].startswith("... 11 more lines, the last: ")


def packer() -> ModuleType:
    path = resource_dir("sandbox") / "supervisor_setup.py"
    found = importlib.util.spec_from_file_location("supervisor_setup", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_what_is_kept_unasked_is_what_a_snapshot_leaves_out() -> None:
    caches: list[str] = packer().CACHES
    for name in caches:
        assert ignored.is_cache(name.replace("*", "x"))
    for name in (*ignored._CACHE_FOLDERS, *ignored._CACHE_FILES, "x.pyc", "x.egg-info", "x.tsbuildinfo", ".coverage.x"):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in caches)
