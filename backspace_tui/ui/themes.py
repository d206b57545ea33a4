"""Themes as TOML files, one a file. A broken one costs a line of notice, never the window."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple

from textual.color import Color, ColorParseError
from textual.theme import Theme

DEFAULT_THEME: Final = "backspace-dark"


class LoadedThemes(NamedTuple):
    """The themes that can be used, and one line for each file that cannot."""

    themes: dict[str, Theme]
    problems: list[str]


def load(directories: Iterable[Path]) -> LoadedThemes:
    """Every ``*.toml`` of ``directories``; a later theme replaces an earlier one of the same name."""
    loaded = LoadedThemes({}, [])
    for directory in directories:
        for path in sorted(directory.glob("*.toml")):
            try:
                theme = parse(path.stem, path.read_text(encoding="utf-8"))
            except (OSError, ValueError, TypeError) as error:
                loaded.problems.append(f"theme {path.name} is not used: {error}")
            else:
                loaded.themes[theme.name] = theme
    return loaded


def parse(name: str, text: str) -> Theme:
    """The theme of one file; ``name`` is used where it names none.

    Raises:
        ValueError: not TOML, an unknown key, or something that is not a colour.
    """
    data = tomllib.loads(text)
    known = {field.name for field in fields(Theme)}
    if unknown := sorted(set(data) - known):
        raise ValueError(f"unknown key {unknown[0]!r}")
    if "primary" not in data:
        raise ValueError("it has no 'primary' colour")
    variables = data.get("variables", {})
    if not isinstance(variables, dict):
        raise ValueError("'variables' is not a table")
    colours = {key: value for key, value in data.items() if key not in _NOT_COLOURS}
    for key, value in (colours | {key: value for key, value in variables.items() if "style" not in key}).items():
        try:
            Color.parse(value if isinstance(value, str) else "")
        except ColorParseError:
            raise ValueError(f"{key} = {value!r} is not a colour") from None
    theme = Theme(**{"name": name, **data})
    theme.to_color_system().generate()
    return theme


_NOT_COLOURS: Final = frozenset({"name", "dark", "ansi", "variables", "luminosity_spread", "text_alpha"})
