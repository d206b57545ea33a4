"""Using up what there is, and refusing to end."""

from __future__ import annotations

import pytest

from tests.sandbox.redteam.attacks import PROCESSES, RESOURCES, Attack
from tests.sandbox.redteam.conftest import Arena


@pytest.mark.parametrize("attack", [*RESOURCES, *PROCESSES], ids=lambda attack: attack.name)
def test_attack(arena: Arena, attack: Attack) -> None:
    if arena.backend == "bubblewrap" and attack.docker_only:
        pytest.skip(f"not held by bubblewrap: {attack.docker_only}")
    result = arena.attack(attack)
    if attack.name == "layer":
        assert result is not None
        assert b"WRITTEN" not in result.stdout
