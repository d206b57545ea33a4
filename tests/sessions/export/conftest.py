"""A session to export: hostile where it can be, and with a secret in its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from tests.ui.sample import WORK, Sample

SECRET = "hunter2-hunter2-hunter2"
HOSTILE = "</script><img src=x onerror=alert(1)>```\n~~~\n# <b>not a heading</b> &amp; ${x}"


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A session with an accepted hunk and an undecided one, in its review."""
    work = WORK | {"notes.md": f"{HOSTILE}\nit is {SECRET}\n"}
    sample = Sample(tmp_path / "sessions" / "20260102-150405-abcd", work).run_to_review()
    sample.command("c5", "cat notes.md", f"{HOSTILE}\n" + "".join(f"line {n}\n" for n in range(200)), 3)
    sample.emit("review", ev.Question(question=f"which? {HOSTILE}", options=("a", "b")))
    sample.emit("review", ev.Answer(question=sample.log.last_seq, text="a"))
    hunks = {file.path: [item.hunk.id for item in file.hunks] for file in sample.review().files}
    sample.decide(cmd.Decide(hunks=(hunks["notes.md"][0],), action="accept"))
    sample.decide(cmd.Decide(hunks=(hunks["shop/cart.py"][1],), action="accept"))
    sample.decide(cmd.Decide(hunks=(hunks["shop/cart.py"][0],), action="comment", comment="why?"))
    return sample


@pytest.fixture
def redactor() -> Redactor:
    """Knows the secret."""
    return Redactor([SECRET], salt=b"x")
