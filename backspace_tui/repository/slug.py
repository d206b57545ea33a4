"""The name of the branch that accepted work goes to."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

PREFIX: Final = "backspace/"
_LONGEST: Final = 40


def branch_name(prompt: str) -> str:
    """``backspace/<slug>`` of the first words of ``prompt``: lower-case ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", prompt[:1000]).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(slug) > _LONGEST:
        cut = slug[: _LONGEST + 1]
        slug = cut[: cut.rindex("-")] if "-" in cut[_LONGEST // 2 :] else slug[:_LONGEST]
        slug = slug.strip("-")
    return PREFIX + (slug or "work")


def fork_branch(branch: str, session: str) -> str:
    """The branch of a fork: that of its source, told apart by the end of the fork's id."""
    return f"{branch}-{re.sub(r'[^a-z0-9]+', '', session.rpartition('-')[2].lower())[-8:] or 'fork'}"
