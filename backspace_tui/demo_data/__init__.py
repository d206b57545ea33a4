"""What the demo is made of: the files of its sample repository, and the script of its model."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

SCRIPT: Final = Path(__file__).with_name("script.toml")

PROMPT: Final = "Some totals are wrong and a test fails: find out why and mend it.\nCheck the other amounts as well."
TEST_COMMAND: Final = "python3 -m unittest discover -v -s tests"
FAILING_TEST: Final = "test_quantity_counts"
"""The test that fails on the base, and passes once the quantity counts."""

DOUBTFUL: Final = "return 0.0"
"""Stands in the one hunk that a careful reviewer rejects: it sells without tax to countries that nobody knows."""


class Shop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sample repository: the message of its one commit, and its files by path."""

    commit: str
    files: dict[str, str]


def shop() -> Shop:
    """The sample repository as it is before the agent's work."""
    return msgspec.toml.decode(Path(__file__).with_name("shop.toml").read_bytes(), type=Shop)
