from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.core.protocols import RequestRefused
from backspace_tui.models.grammar import Create, GrammarError, Rename, Replace, Run, Step, check_prompt, parse, render

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
PART = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).filter(
    lambda part: part.isprintable() and "/" not in part and part.lower() not in (".", "..", ".git")
)
NAMES = st.from_regex(r"\A[^\W\d]\w{0,8}\Z")
STEPS = st.one_of(
    st.builds(Replace, TEXT, TEXT, TEXT).filter(lambda s: s.old != s.new and s.old.strip("\r\n") != ""),
    st.builds(Rename, NAMES, NAMES).filter(lambda s: s.old != s.new),
    st.builds(Create, st.lists(PART, min_size=1, max_size=3).map("/".join), TEXT),
    st.builds(Run, TEXT.filter(lambda text: text.strip() != "")),
)


@given(st.lists(STEPS, min_size=1, max_size=4).map(tuple))
def test_what_is_rendered_is_read_back(steps: tuple[Step, ...]) -> None:
    assert parse(render(steps)) == steps


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(prompt: str) -> None:
    refused: GrammarError | None = None
    try:
        assert parse(prompt)
    except GrammarError as error:
        refused = error
    if refused:
        assert "\n" not in refused.reason
        assert "rename IDENTIFIER to IDENTIFIER" in str(refused)


@pytest.mark.parametrize(
    ("prompt", "steps"),
    [
        ("replace foo with bar", [Replace("foo", "bar")]),
        ("Replace foo bar With baz IN *.py", [Replace("foo bar", "baz", "*.py")]),
        ("replace don't with do not in docs/*.md", [Replace("don't", "do not", "docs/*.md")]),
        ("replace 'a with b' with \"x then y\"", [Replace("a with b", "x then y")]),
        (r'replace "a\nb\t\"q\"" with \n', [Replace('a\nb\t"q"', r"\n")]),
        (r'replace "\d+" with ""', [Replace(r"\d+", "")]),
        ("replace x with 'in' in 'a b.txt'", [Replace("x", "in", "a b.txt")]),
        ("rename old_name to neu", [Rename("old_name", "neu")]),
        ("create a/b.txt with hello, world", [Create("a/b.txt", "hello, world")]),
        ("create 'my file' with ''", [Create("my file", "")]),
        ("run pytest -q -k 'a then b' tests", [Run("pytest -q -k 'a then b' tests")]),
        ('run "if true; then echo hi; fi"', [Run("if true; then echo hi; fi")]),
        (
            "rename a to b then run make test\nthen create c with d",
            [Rename("a", "b"), Run("make test"), Create("c", "d")],
        ),
    ],
)
def test_examples(prompt: str, steps: list[Step]) -> None:
    assert check_prompt(prompt) == tuple(steps)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("", "empty"),
        ("fix the bug", "'fix' is none of"),
        ("replace a", 'no "with"'),
        ("replace a with b with c", 'more than one "with"'),
        ("replace a with b in c d", "one GLOB"),
        ("replace a with a", "the same"),
        ("replace '' with a", "empty"),
        ("replace 'a with b", "never closed"),
        ("replace 'it's' with b", "closing quote"),
        ("replace a with b, then run c", "comma"),
        ("replace a with b then", "nothing before or after"),
        ("replace a with b then c", "'c' is none of"),
        ("rename a-b to c", "not an identifier"),
        ("rename a to", "two identifiers"),
        ("create /etc/passwd with x", "not a path inside"),
        ("create ../x with y", "not a path inside"),
        ("create .git/hooks/pre-commit with y", "git"),
        ("create x", "FILE with TEXT"),
        ("run", "takes a command"),
        ("run 'a' \ud800", "not valid text"),
    ],
)
def test_refusals_say_why_and_how(prompt: str, reason: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse(prompt)
    assert reason in str(caught.value).splitlines()[0]
    assert "replace TEXT with TEXT [in GLOB]" in str(caught.value)
    assert "ANTHROPIC_API_KEY" in str(caught.value)
