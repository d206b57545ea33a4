"""MaskedStream: however a text is cut into pieces, nothing secret comes out, and nothing is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core.masked_stream import LONGEST_HELD, LONGEST_LINE, MaskedStream
from backspace_tui.core.redact import Redactor

TOKEN = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6"
PASSWORD = "hunter2-" + "Sw0rdfish"
KEY = "\n".join(
    ["-----BEGIN RSA " + "PRIVATE KEY-----", *(["MIIE" + "aB3/" * 15] * 20), "-----END RSA " + "PRIVATE KEY-----"]
)
TEXT = (
    f"before\nDB_PASSWORD={PASSWORD}\n$ cat id_rsa\n{KEY}\nuse {TOKEN} or `{TOKEN}`\nlast line without an end {TOKEN}"
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=40), st.booleans())
def test_any_cut_gives_the_same(cuts: list[int], words: bool) -> None:
    redactor = Redactor([])
    stream = MaskedStream(redactor.redact, words=words)
    places = [0, *sorted(cuts), len(TEXT)]
    out = "".join(stream.feed(TEXT[start:end]) for start, end in pairwise(places))
    out += stream.flush()
    assert not any(secret in out for secret in (TOKEN, PASSWORD, "MIIE"))
    assert redactor.restore(out) == TEXT
    assert stream.flush() == ""


@pytest.mark.parametrize("words", [False, True])
def test_what_is_certain_comes_at_once(words: bool) -> None:
    stream = MaskedStream(Redactor([]).redact, words=words)
    assert stream.feed("one\ntwo ") == ("one\ntwo " if words else "one\n")
    assert stream.feed("three\n") == ("three\n" if words else "two three\n")


def test_a_long_line_and_a_key_without_an_end_are_not_held_for_ever() -> None:
    stream = MaskedStream(Redactor([]).redact)
    word = "word " * (LONGEST_LINE // 5 + 2)
    assert stream.feed(word) == word
    assert stream.feed("x" * (LONGEST_HELD + 1)) == "x" * (LONGEST_HELD + 1)
    begun = "-----BEGIN RSA " + "PRIVATE KEY-----\n"
    assert stream.feed(begun) == ""
    assert len(stream.feed("no key at all\n" * 2_000)) > 20_000
