"""The report: what is in it, and that nothing of it gets out of its place."""

from __future__ import annotations

import re

import pytest

from backspace_tui.core.redact import Redactor
from backspace_tui.sessions.export.markdown import fenced, markdown, shortened
from backspace_tui.sessions.objects import Objects
from tests.sessions.export.conftest import SECRET
from tests.ui.sample import Sample


def outside(report: str) -> str:
    """The report without its code blocks, as Markdown reads it."""
    kept, fence = [], ""
    for line in report.split("\n"):
        found = re.match(r"`{3,}", line)
        if fence:
            if found and line.strip("`") == "" and len(found[0]) >= len(fence):
                fence = ""
        elif found:
            fence = found[0]
        else:
            kept.append(line)
    assert not fence
    return "\n".join(kept)


def test_the_report_tells_all_and_holds_it(sample: Sample, redactor: Redactor) -> None:
    with Objects(sample.repository.path) as objects:
        report = markdown("the-id", sample.log.events, objects, redactor)
    for said in (
        "# Session `the-id`", "> total ignores quantities", "> 1. multiply by quantity", "Ran `pytest -q`: exit code 0",
        "2 passed in 0.31s", "Ran `cat notes.md`: exit code 3", "lines left out", "line 199", "Answer: `a`",
        "- accept `notes.md`", "- comment `shop/cart.py`", "why?", "diff --git a/shop/cart.py b/shop/cart.py",
        "+    return sum(i.price * i.qty for i in items)", "new file mode 100644",
        "529 overloaded", "was not verified", "$0.12 for 3,000 tokens",
    ):  # fmt: skip
        assert said in report, said
    assert "line 100" not in report
    # What was not accepted is no accepted change.
    assert "RATES" not in report
    assert SECRET not in report
    assert "[secret:" in report
    text = outside(report)
    assert not re.search(r"^ *# <b>", text, re.M)
    assert not re.search(r"(?<![\\`])<(img|b|/script)", re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text))
    titles = re.findall(r"^## (.*)$", text, re.M)
    assert titles == [
        "Request", "Plan", "What was done", "Questions", "Decisions", "Accepted changes", "Verification", "Cost",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["```", "a\n`````\nb", "~~~", "", "`"])
def test_a_fence_is_longer_than_what_it_holds(text: str) -> None:
    assert outside(f"before\n{fenced(text, 'diff')}\nafter") == "before\nafter"


def test_long_outputs_keep_both_ends() -> None:
    text = shortened("\n".join(map(str, range(1000))) + "\n" + "x" * 10_000)
    assert text.startswith("0\n1\n")
    assert "998" in text
    assert "950 lines left out" in text or "951 lines left out" in text
    assert len(text) < 2000
