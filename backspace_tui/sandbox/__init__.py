"""Sandboxes: containers, bubblewrap, and for the demo a plain process.

    with open_sandbox("path/to/repository") as box:
        print(box.run(["make", "test"], timeout=60).stdout)

Names load what they need when they are first used: importing this package imports neither docker nor requests.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backspace_tui.sandbox.bubblewrap import probe_bubblewrap
    from backspace_tui.sandbox.engine import EngineStatus, probe_engine
    from backspace_tui.sandbox.factory import Factory
    from backspace_tui.sandbox.images import ImageStatus, build, ensure_image, image_status
    from backspace_tui.sandbox.leftovers import prune
    from backspace_tui.sandbox.library import exec_command, open_sandbox

_HOMES = {
    "EngineStatus": "engine",
    "Factory": "factory",
    "ImageStatus": "images",
    "build": "images",
    "ensure_image": "images",
    "exec_command": "library",
    "image_status": "images",
    "open_sandbox": "library",
    "probe_bubblewrap": "bubblewrap",
    "probe_engine": "engine",
    "prune": "leftovers",
}

__all__ = [
    "EngineStatus",
    "Factory",
    "ImageStatus",
    "build",
    "ensure_image",
    "exec_command",
    "image_status",
    "open_sandbox",
    "probe_bubblewrap",
    "probe_engine",
    "prune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"backspace_tui.sandbox.{_HOMES[name]}"), name)
