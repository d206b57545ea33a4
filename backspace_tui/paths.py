"""Where things lie on this machine. Nothing here creates anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

_APPLICATION: Final = "backspace-tui"


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name, "")
    return Path(value).expanduser().absolute() if value else None


def data_dir() -> Path:
    """Sessions and trust decisions; ``BACKSPACE_TUI_DATA_DIR`` moves it."""
    chosen = _from_environment("BACKSPACE_TUI_DATA_DIR")
    if chosen is not None:
        return chosen
    import platformdirs

    return Path(platformdirs.user_data_dir(_APPLICATION, appauthor=False))


def sessions_dir() -> Path:
    """The directory that holds one directory a session."""
    return data_dir() / "sessions"


def config_file() -> Path:
    """The user's ``config.toml``; ``BACKSPACE_TUI_CONFIG`` names another."""
    chosen = _from_environment("BACKSPACE_TUI_CONFIG")
    if chosen is not None:
        return chosen
    import platformdirs

    return Path(platformdirs.user_config_dir(_APPLICATION, appauthor=False)) / "config.toml"


def cache_dir() -> Path:
    """What can be made again: clones and the like."""
    import platformdirs

    return Path(platformdirs.user_cache_dir(_APPLICATION, appauthor=False))


def resource_dir(name: Literal["themes", "sandbox"]) -> Path:
    """The folder of files that ship with the program: package data in a wheel, else the checkout's own folder."""
    package = Path(__file__).resolve().parent
    shipped = package / "_data" / name
    return shipped if shipped.is_dir() else package.parent / name
