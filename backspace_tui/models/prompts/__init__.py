"""The system prompts, one Markdown file each; they hold no request, so a provider's cache can keep them."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

NAMES: Final = ("plan", "implement", "critique")


def prompt(name: str) -> str:
    """The prompt called ``name`` (see :data:`NAMES`)."""
    return (files(__package__) / f"{name}.md").read_text(encoding="utf-8").strip()


def load_prompts() -> dict[str, str]:
    """All prompts by the stage that they are for."""
    return {name: prompt(name) for name in NAMES}
