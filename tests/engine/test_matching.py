from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.engine.tools.base import ToolError
from backspace_tui.engine.tools.matching import replace

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)


def edit(data: bytes, old: str, new: str, *, replace_all: bool = False) -> bytes:
    return replace(data, old, new, replace_all=replace_all, path="f")[0]


def test_one_exact_place() -> None:
    assert edit(b"a\nb\nc\n", "b", "B") == b"a\nB\nc\n"


def test_two_places_are_refused_with_their_lines() -> None:
    with pytest.raises(ToolError, match=r"2 times in f \(lines 1, 3\)"):
        edit(b"x\ny\nx\n", "x", "z")


def test_every_place_when_asked() -> None:
    assert replace(b"x\ny\nx\n", "x", "z", replace_all=True, path="f") == (b"z\ny\nz\n", 2)


def test_crlf_files_keep_their_line_ends() -> None:
    assert edit(b"a\r\nb\r\n", "a\nb", "a\nnew\nb") == b"a\r\nnew\r\nb\r\n"
    assert edit(b"a\r\nb\r\n", "b", "b\nc") == b"a\r\nb\r\nc\r\n"


def test_other_indentation_is_found_and_kept() -> None:
    data = b"class A:\n        def f(self):\n            return 1\n"
    assert edit(data, "def f(self):\n    return 1", "def f(self):\n    return 2") == (
        b"class A:\n        def f(self):\n            return 2\n"
    )


def test_two_loose_places_are_refused() -> None:
    with pytest.raises(ToolError, match="but for white space"):
        edit(b"  a\n\ta\n    b\n", "a ", "c")


def test_the_nearest_line_is_named() -> None:
    with pytest.raises(ToolError, match="nearest line is 2"):
        edit(b"one\nreturn total * rate\n", "return total * rates", "return 0")


def test_bytes_around_the_place_stay() -> None:
    assert edit(b"\xff\xfe caf\xe9\nname = 1\n\x00", "name = 1", "name = 2") == b"\xff\xfe caf\xe9\nname = 2\n\x00"


@pytest.mark.parametrize(("old", "new"), [("", "x"), ("a", "a")])
def test_edits_that_say_nothing(old: str, new: str) -> None:
    with pytest.raises(ToolError):
        edit(b"a\n", old, new)


@given(st.binary(max_size=60), TEXT.filter(bool), st.binary(max_size=60), TEXT)
def test_a_unique_place_is_replaced_exactly(before: bytes, old: str, after: bytes, new: str) -> None:
    needle = old.encode()
    data = before + needle + after
    if data.count(needle) != 1 or old == new or b"\r\n" in data:
        return
    assert edit(data, old, new) == before + new.encode() + after
