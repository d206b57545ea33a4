"""What the tests of random histories share: how many there are, and a scene that tells what it was told.

``BACKSPACE_EXAMPLES`` is the number of histories (the default is for every day; thousands are for a long look).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, note, settings

from tests.review.scene import Action, Content, Scene, Store

EXAMPLES = int(os.environ.get("BACKSPACE_EXAMPLES", "12"))
often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="BACKSPACE_EXAMPLES" not in os.environ,
    database=None,
    # A history is short, and making it shorter takes minutes: the script that it tells is enough.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Told(Scene):
    """A scene that tells what it was told, as a script that repeats it."""

    def __init__(self, folder: Path, base: dict[str, Content], store: Store) -> None:
        note(f"scene = make({base!r})")
        super().__init__(folder, base, store)

    def agent(self, changes: Any) -> None:
        note(f"scene.agent({changes!r})")
        super().agent(changes)

    def boundary(self) -> None:
        note("scene.boundary()")
        super().boundary()

    def decide(self, action: Action, *units: str, comment: str = "", protected: bool = False) -> None:
        note(f"scene.decide({action!r}, {', '.join(map(repr, units))}, comment={comment!r})")
        super().decide(action, *units, comment=comment, protected=protected)

    def edit(self, hunk: str, result: bytes) -> None:
        note(f"scene.edit({hunk!r}, {result!r})")
        super().edit(hunk, result)

    def undo(self) -> None:
        note("scene.undo()")
        super().undo()
