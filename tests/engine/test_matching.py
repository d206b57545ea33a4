from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.engine.tools.base import ToolError
from backspace_tui.engine.tools.matching import replace
from backspace_tui.engine.tools.nearest import difference

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)


def edit(data: bytes, old: str, new: str, *, replace_all: bool = False) -> bytes:
    return replace(data, old, new, replace_all=replace_all, path="f")[0]


def test_one_exact_place() -> None:
    assert edit(b"a\nb\nc\n", "b", "B") == b"a\nB\nc\n"


def test_two_places_are_refused_with_their_lines() -> None:
    with pytest.raises(ToolError, match=r"2 times in f \(lines 1, 3\)"):
        edit(b"x\ny\nx\n", "x", "z")


def test_overlapping_places_are_two() -> None:
    with pytest.raises(ToolError, match=r"2 times in f \(lines 1, 2\)"):
        edit(b"x\nx\nx\n", "x\nx\n", "y\n")


def test_every_place_when_asked() -> None:
    found = replace(b"x\ny\nx\n", "x", "z", replace_all=True, path="f")
    assert (found.data, found.places, found.line) == (b"z\ny\nz\n", 2, 1)
    assert edit(b"a\r\nb\na\r\n", "a", "a\nc", replace_all=True) == b"a\r\nc\r\nb\na\r\nc\r\n"


def test_a_text_that_is_too_long_for_a_loose_match() -> None:
    data = b"x \n" * 3_000
    assert edit(data, "x \n" * 3_000, "y\n") == b"y\n"
    with pytest.raises(ToolError, match="too long for any other match"):
        edit(data, "x\n" * 3_000, "y\n" * 3_000)


def test_what_would_not_fit_is_refused() -> None:
    with pytest.raises(ToolError, match="would be larger than"):
        edit(b"a" * 10_000, "a", "b" * 10_000, replace_all=True)


def test_crlf_files_keep_their_line_ends() -> None:
    assert edit(b"a\r\nb\r\n", "a\nb", "a\nnew\nb") == b"a\r\nnew\r\nb\r\n"
    assert edit(b"a\r\nb\r\n", "b", "b\nc") == b"a\r\nb\r\nc\r\n"


def test_mixed_line_ends_stay_as_they_are() -> None:
    data = b"one\r\ntwo\nthree\r\nfour\n"
    assert edit(data, "one\ntwo\nthree", "one\n2\nthree") == b"one\r\n2\nthree\r\nfour\n"
    assert edit(data, "two\nthree\r\nfour", "two\nthree\nand\nfour") == b"one\r\ntwo\nthree\r\nand\nfour\n"
    with pytest.raises(ToolError, match="2 times"):
        edit(b"a\r\nb\na\nb\n", "a\nb", "c")
    with pytest.raises(ToolError, match="line ends alone"):
        edit(b"a\r\nb\r\n", "a\r\nb", "a\nb")


@pytest.mark.parametrize(
    ("data", "old", "new", "expected"),
    [
        # Deeper, and less deep, than it was given.
        ("class A:\n        def f(self):\n            return 1\n", "def f(self):\n    return 1",
         "def f(self):\n    if self:\n        return 2\n    return 1",
         "class A:\n        def f(self):\n            if self:\n                return 2\n            return 1\n"),
        ("def f():\n    return 1\n", "    def f():\n        return 1\n",
         "    def f():\n        x = 2\n        return x\n", "def f():\n    x = 2\n    return x\n"),
        # Tabs for spaces, and spaces for tabs.
        ("if (a) {\n\tb();\n}\n", "if (a) {\n    b();\n}", "if (a) {\n    if (c) {\n        d();\n    }\n    b();\n}",
         "if (a) {\n\tif (c) {\n\t\td();\n\t}\n\tb();\n}\n"),
        ("a:\n    b:\n        c\n", "a:\n\tb:\n\t\tc", "a:\n\tb:\n\t\tc\n\t\t\td",
         "a:\n    b:\n        c\n            d\n"),
        ("\t\tx = 1;\n", "        x = 1;", "        y = 2;\n            z = 3;\n", "\t\ty = 2;\n\t\t\tz = 3;\n"),
        # White space at the end, of blank lines, and inside; lines that stay keep theirs.
        ("def f():  \n    a = 1 \n   \n    b  =  2\t\n", "def f():\n    a = 1\n\n    b = 2",
         "def f():\n    a = 3\n\n    b = 2", "def f():  \n    a = 3\n   \n    b  =  2\t\n"),
        # More and fewer blank lines.
        ("a = 1\n\n\n\nb = 2 \nc\n", "a = 1\nb = 2\n", "a = 1\nb = 3\n", "a = 1\n\n\n\nb = 3\nc\n"),
        ("a = 1\n\n\n\nb = 2 \nc\n", "a = 1\nb = 2\n", "a = 2\nb = 2\n", "a = 2\n\n\n\nb = 2 \nc\n"),
        ("a = 1 \nb = 2\n", "a = 1\n\n\nb = 2\n", "a = 1\n\n\nb = 3\n", "a = 1 \nb = 3\n"),
        ("x\n\na = 1 \n\ny\n", "\n\n\na = 1\n\n\n", "\n\n\na = 2\n\n\n", "x\n\na = 2\n\ny\n"),
        ("x\n\na  = 1\n\ny\n", "\na = 1\n\n", "a = 2\n", "x\na = 2\ny\n"),
        # Lines that go, at the beginning, inside and at the end.
        ("  a \n  b\n  c\n", "a\nb", "b", "  b\n  c\n"),
        ("  a \n  b\n  c\n", "a\nb\nc\n", "a\nc\n", "  a \n  c\n"),
        ("  a \n  b", "a\nb", "a", "  a "),
        ("  a \n  b\n", "a \nb", "", ""),
        # No line end at the end of the file.
        ("  a \n  b", "a\nb\n", "a\nb\nc\n", "  a \n  b\n  c"),
        ("\ta\r\n\tb", "a\nb\n", "a\nb\nc\n", "\ta\r\n\tb\r\n\tc"),
    ],
)  # fmt: skip
def test_white_space_does_not_count(data: str, old: str, new: str, expected: str) -> None:
    found = replace(data.encode(), old, new, replace_all=False, path="f")
    assert found.data.decode() == expected
    assert found.note == "old matched but for white space"
    if "\r" not in data:
        crlf = edit(data.replace("\n", "\r\n").encode(), old, new)
        assert crlf.decode() == expected.replace("\n", "\r\n")


def test_indentation_that_cannot_be_told_is_refused() -> None:
    data = b"def f(self):\n    if a:\n        return 1\n"
    assert edit(data, "def f(self):\nif a:\nreturn 1", "def f(self):\nif a:\nreturn 2") == data.replace(b"1", b"2")
    with pytest.raises(ToolError, match="cannot be told"):
        edit(data, "def f(self):\nif a:\nreturn 1", "def f(self):\nif a:\nreturn 1\nreturn 2")


def test_two_loose_places_are_refused() -> None:
    with pytest.raises(ToolError, match=r"2 places in f but for white space \(lines 1, 2\)"):
        edit(b"  a\n\ta\n    b\n", "a ", "c")
    with pytest.raises(ToolError, match="exact matches alone"):
        edit(b"  a\n\ta\n    b\n", "a ", "c", replace_all=True)
    # One of them is nearer, but not what was written.
    with pytest.raises(ToolError, match="2 places"):
        edit(b"    return 1\n        return 1\n", "    return 1 ", "    return 2")


def test_look_alikes_are_kept_and_told() -> None:
    data = "say(\u201chi\u201d)\nx = 1\nend()\n".encode()
    found = replace(data, 'say("hi")\nx = 1\nend()', 'say("hi")\nx = 2\nend()', replace_all=False, path="f")
    assert found.data == data.replace(b"1", b"2")
    assert "line 1 is" in found.note
    with pytest.raises(ToolError, match="line 1 is"):
        edit(data, 'say("hi")\nx = 1', 'say("ho")\nx = 1')


def test_bytes_that_are_no_text_are_kept() -> None:
    data = b"\xef\xbb\xbfcaf\xe9 = 1\ny = 2 \nz\n"
    assert edit(data, "caf\ufffd = 1\ny = 2\nz", "caf\ufffd = 1\ny = 3\nz") == data.replace(b"2 ", b"3")
    with pytest.raises(ToolError, match="line 1 is"):
        edit(data, "caf\ufffd = 1\ny = 2", "caf\ufffd = 4\ny = 2")


def test_the_numbers_of_read_file_are_not_part_of_the_text() -> None:
    with pytest.raises(ToolError, match="holds the line numbers"):
        edit(b"a\nb\n", "1\ta\n2\tb", "c")


def lines(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.split("\n"), 1))


def test_the_differing_lines_are_shown() -> None:
    told = difference(lines("one\ndef f():\n    return total * rate\ntwo"), "def f():\n    return total * rates")
    assert told.split("\n") == [
        "It is most like lines 2-3, where this differs:",
        "old:      return total * rates",
        "file: 3\t    return total * rate",
    ]
    assert "line 2" in difference(lines("one\nreturn total * rate\n"), "return total * rates")
    assert difference(lines("one\ntwo"), "def something_else(entirely):") == ""
    assert difference([], "a") == difference(lines("a"), "\n") == ""


def test_what_is_shown_is_bounded() -> None:
    old = "\n".join(f"line {number} {'x' * 1000}" for number in range(300))
    told = difference(lines("\n".join(f"line {number} {'y' * 1000}" for number in range(300))), "line 5\n" + old)
    assert len(told) < 4_000


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


WORDS = ("a = 1", "b = 2", "if a:", "return a", "}", "a  =  1", "for x in y:", "")
INDENTS = ("", "  ", "    ", "        ", "\t", "\t\t")
SPACED = st.tuples(st.sampled_from(INDENTS), st.sampled_from(WORDS), st.sampled_from(("", "", " ", "\t")))
LINE = st.tuples(SPACED, st.sampled_from(("\n", "\r\n"))).map(lambda line: "".join(line[0]) + line[1])
FILE = st.lists(LINE, min_size=1, max_size=14)


@st.composite
def disturbed(draw: st.DrawFn) -> tuple[list[str], int, int, list[str]]:
    """A file's lines, where the place begins and ends, and its lines with other white space."""
    whole = draw(FILE)
    start = draw(st.integers(0, len(whole) - 1))
    end = draw(st.integers(start + 1, len(whole)))
    place = []
    for line in whole[start:end]:
        if not line.strip() and draw(st.booleans()):
            continue
        how = draw(st.sampled_from(("as it is", "shift", "strip", "tabs", "end", "blank after")))
        text = line.rstrip("\r\n")
        match how:
            case "shift":
                text = "  " + text
            case "strip":
                text = text.strip()
            case "tabs":
                text = text.replace("    ", "\t")
            case "end":
                text = text.rstrip() + "   "
            case _:
                pass
        place += [text, ""] if how == "blank after" else [text]
    return whole, start, end, place


@given(disturbed(), st.data())
def test_an_edit_lands_in_its_place_or_is_refused(
    given_: tuple[list[str], int, int, list[str]], data: st.DataObject
) -> None:
    whole, start, end, place = given_
    at = data.draw(st.integers(0, len(place))) if place else 0
    new = [*place[:at], "MARK", *place[at + data.draw(st.integers(0, 1)) :]]
    content = "".join(whole)
    old = "\n".join(place)
    plain = content.replace("\r\n", "\n")
    # What is by chance the exact text of another place is meant for that one.
    others = [index for index in range(len(plain)) if old and plain.startswith(old, index)]
    first = len("".join(whole[:start]).replace("\r\n", "\n"))
    last = len("".join(whole[:end]).replace("\r\n", "\n"))
    if any(index < first or index + len(old) > last for index in others):
        return
    try:
        result = edit(content.encode(), old, "\n".join(new)).decode()
    except ToolError:
        return
    head, tail = "".join(whole[:start]), "".join(whole[end:])
    assert result.count("MARK") == 1
    # Blank lines next to the place may be part of it.
    assert result.startswith(head.rstrip()) or not head.strip()
    assert result.endswith(tail.lstrip()) or not tail.strip()
    before, _, after = result.partition("MARK")
    assert len(before) >= len(head.rstrip())
    assert len(after) >= len(tail.lstrip()) - 1
    # Nothing but white space has changed in what stays.
    kept = [line for number, line in enumerate(new) if number != at]
    assert [line.split() for line in (before + "\n" + after).splitlines() if line.strip()] == [
        line.split() for line in [*head.splitlines(), *kept, *tail.splitlines()] if line.strip()
    ]


@given(
    st.lists(st.integers(-2, 1), min_size=2, max_size=10),
    st.integers(0, 3),
    st.sampled_from((("    ", "    "), ("  ", "  "), ("\t", "\t"), ("\t", "    "), ("    ", "\t"))),
    st.data(),
)
def test_a_block_that_is_indented_in_another_way_is_edited_as_if_it_were_not(
    steps: list[int], base: int, units: tuple[str, str], data: st.DataObject
) -> None:
    unit, given_unit = units
    depths = [0]
    for step in steps:
        depths.append(max(0, depths[-1] + step))
    start = data.draw(st.integers(0, len(depths) - 1))
    end = data.draw(st.integers(start + 1, len(depths)))
    at = data.draw(st.integers(start, end))
    gone = data.draw(st.integers(0, min(1, end - at)))
    fresh = [(data.draw(st.integers(0, max(depths) + 1)), f"new {n}") for n in range(data.draw(st.integers(0, 3)))]
    lines_ = [(depth, f"line {number}") for number, depth in enumerate(depths)]
    after = [*lines_[:at], *fresh, *lines_[at + gone :]]
    lowest = min(depth for depth, _ in [*lines_[start:end], *fresh])

    def written(part: list[tuple[int, str]], unit: str, more: int) -> str:
        return "".join(f"{unit * (depth + more)}{text}\n" for depth, text in part)

    top = [(-base, "top"), *((-base + depth, "deeper") for depth in range(base))]
    whole = written([*top, *lines_], unit, base)
    expected = written([*top, *after], unit, base)
    old = written(lines_[start:end], given_unit, -lowest)
    new = written(after[start : end + len(fresh) - gone], given_unit, -lowest)
    if old in whole:
        # What stands there exactly is replaced exactly.
        return
    try:
        result = edit(whole.encode(), old, new).decode()
    except ToolError:
        return
    assert result == expected


@given(FILE, st.data())
def test_bytes_outside_an_exact_place_never_change(whole: list[str], data: st.DataObject) -> None:
    content = "".join(whole)
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start + 1, len(content)))
    old = content[start:end].replace("\r\n", "\n")
    plain = content.replace("\r\n", "\n")
    # Not through the middle of a line end.
    if content[start - 1 : start + 1] == "\r\n" or content[end - 1 : end + 1] == "\r\n":
        return
    unique = sum(plain.startswith(old, index) for index in range(len(plain))) == 1
    if not unique:
        with pytest.raises(ToolError, match=r"places in f|times in f"):
            edit(content.encode(), old, "MARK\nMARK")
        return
    result = edit(content.encode(), old, "MARK\nMARK").decode()
    assert result.replace("\r\n", "\n") == plain.replace(old, "MARK\nMARK")
    assert result.startswith(content[:start])
    assert result.endswith(content[end:])
