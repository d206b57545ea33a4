"""What the README says is so: its two commands, settings, keys, sentences and commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from backspace_tui import cli, config
from backspace_tui.models.grammar import GRAMMAR
from backspace_tui.models.offline import check_prompt
from backspace_tui.ui.keymap import KEYS, split

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_first_two_code_lines_run_the_demo_and_the_tests() -> None:
    lines = [line for block in blocks(r"\w*") for line in block.splitlines() if line.strip()]
    assert lines[0].endswith("backspace-tui demo")
    assert "pytest" in lines[1]
    # A line that installs what it needs, and not into the system's Python.
    for line in lines[:2]:
        assert re.match(r"python3 -m pip install \S.* --target ", line)
        assert not line.lstrip().startswith("#")


def test_pictures_and_pages_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).is_file(), target


def test_settings_are_accepted(tmp_path: Path) -> None:
    (block,) = blocks("toml")
    (tmp_path / "config.toml").write_text(block, "utf-8")
    settings = config.load(tmp_path / "config.toml", {})
    assert settings.models
    assert settings.github is not None


def test_keys_are_the_default_ones() -> None:
    table = README.partition("## Keys")[2].partition("\n## ")[0]
    known = {key for entry in KEYS for key in split(entry.keys)} | {"ctrl+p"}
    named = [key for row in re.findall(r"^\| (`.*)$", table, re.M) for cell in row.split("|")
             for key in re.findall(r"`([^`]+)`", cell)]  # fmt: skip
    assert len(named) > 25
    assert set(named) - {"to"} <= known


def test_offline_sentences_are_understood() -> None:
    (block,) = blocks("text")
    for line in block.splitlines()[:4]:
        assert re.search(rf"^ *{re.escape(line.strip())}(  |$)", GRAMMAR, re.M), line
    for prompt in re.findall(r'-p "([^"]+)" --model offline', README):
        check_prompt(prompt)


@pytest.mark.parametrize("command", [name for name in cli.COMMANDS if not name.startswith("_")])
def test_every_command_is_named(command: str) -> None:
    assert re.search(rf"`(backspace-tui )?[^`]*\b{command}\b", README)


def test_exact_versions_are_within_the_bounds() -> None:
    lines = (ROOT / ".ci/constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert all(re.fullmatch(r"[\w.+!]+", version) for version in pinned.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for text in (*project["project"]["dependencies"], *project["dependency-groups"]["dev"]):
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text
