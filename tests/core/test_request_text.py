from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backspace_tui.core.request_text import ChangedFile, Work, body, code, commit_message, harmless, subject, title

WORK = Work(
    prompts=("fix the total of the cart",),
    summary="total() multiplies by the quantity now.",
    files=(ChangedFile("cart.py", "changed", 1, 1, "The quantity was ignored."),),
    verdict="passes",
    command="make test",
    base_failed=True,
    accepted=2,
    left_out=1,
    models=("openai/test",),
)


def test_the_body_tells_what_a_reviewer_wants_to_know() -> None:
    text = body(WORK)
    assert "> fix the total of the cart" in text
    assert "- `cart.py` (changed, +1 -1): The quantity was ignored." in text
    assert "`make test` passes on exactly the accepted changes; it failed before them." in text
    assert "2 hunks were accepted in review and 1 was left out." in text


def test_the_commit_has_a_short_subject_and_the_verdict() -> None:
    message = commit_message(WORK)
    assert message.startswith("Fix the total of the cart\n\ntotal() multiplies")
    assert message.endswith("it failed before them.\n")


def test_long_prompts_are_cut_at_a_word() -> None:
    line = subject(replace(WORK, prompts=("word " * 40,)))
    assert len(line) <= 72
    assert line.endswith("word...")


@pytest.mark.parametrize("verdict", ["fails as before", "newly fails", "not verified"])
def test_every_verdict_is_told(verdict: str) -> None:
    assert "passes" not in body(replace(WORK, verdict=verdict))


@pytest.mark.parametrize(
    "hostile",
    [
        "@maintainer",
        "closes #12",
        "<!-- hidden -->",
        "![x](https://evil)",
        "[a](b)",
        "GH-12",
        "www.evil.example",
        "a`b",
    ],
)
def test_others_words_have_no_power(hostile: str) -> None:
    shown = harmless(hostile)
    assert shown != hostile
    assert not re.search(r"@m|#1(?!\d*;)|<!|(?<!\\)\]\(|(?<!\\)!\[|GH-1|www\.", shown)


def test_code_spans_stay() -> None:
    assert harmless("`add()` and @you") == "`add()` and &#64;you"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=30))
def test_a_code_span_holds_any_line(text: str) -> None:
    span = code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    assert span.endswith(fence)
    assert fence not in span[len(fence) : -len(fence)] or text.strip("`") == ""


def test_the_title_is_plain() -> None:
    assert title(WORK) == "Fix the total of the cart"


def test_a_commit_closes_no_issue_by_the_agents_words() -> None:
    assert "#12" not in commit_message(replace(WORK, summary="This closes #12."))
