"""The filter between a hostile stream and a real terminal."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backspace_tui.core.terminal_filter import MAIN_SCREEN, RESTORE, STRING_LIMIT, TerminalFilter


def filtered(data: bytes, cuts: list[int] | None = None, *, utf8: bool = True) -> bytes:
    stream = TerminalFilter(utf8=utf8)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts or []), len(data)]
    return b"".join(stream.feed(data[start:end]) for start, end in itertools.pairwise(edges))


# Written from the standards and not from the filter: a terminal in UTF-8 mode that knows every sequence there is.
TERMINAL = re.compile(
    "(?P<csi>\x1b\\[[0-?]*[ -/]*[@-~])|(?P<charset>\x1b[()*+][ -/]*[0-~])|(?P<escape>\x1b[ -/]*[0-~])"
    "|(?P<control>[\x00-\x1f\x7f-\x9f])|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)
HARMLESS_CONTROLS = "\x07\x08\t\n\x0b\x0c\r\x0e\x0f"


def check_harmless(data: bytes) -> None:
    text = data.decode("utf-8")  # strictly
    at = 0
    while at < len(text):
        found = TERMINAL.match(text, at)
        assert found is not None, repr(text[at : at + 20])
        token = found.group()
        if found["control"]:
            assert token in HARMLESS_CONTROLS, repr(token)
        elif found["escape"]:
            assert token[1] not in "]PX^_k\\Z%", repr(token)
            assert token[1] not in "-./ ", repr(token)
        elif found["csi"]:
            assert not re.search(r'[tixzwv]$|"p$|\*y$|,|/|[#&\']', token), repr(token)
        at = found.end()


introducers = st.sampled_from(
    [
        b"\x1b",
        b"\x1b]",
        b"\x1bP",
        b"\x1b_",
        b"\x1b^",
        b"\x1bX",
        b"\x1bk",
        b"\x1b[",
        b"\x9d",
        b"\xc2\x9d",
        b"\x90",
        b"\x9b",
    ]
)
pieces = st.one_of(
    st.binary(max_size=6),
    introducers,
    st.sampled_from(
        [b"\x07", b"\x1b\\", b"\xc2\x9c", b"\x9c", b"\x18", b"52;c;Zm9v", b"0;title", b"21t", b"5i", b"%@"]
    ),
    st.text(max_size=5).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"\xe2\x9d", b"\x9d", b"\xc2", b"\xf0\x9f", b"\x80", b"[", b"]", b";", b"2", b"m", b"t", b"?"]),
)
streams = st.lists(pieces, max_size=20).map(b"".join)
cuts = st.lists(st.integers(0, 60), max_size=8)


@given(streams, cuts)
@example(b"\x1b]52;c;Zm9v\x07", [1, 2, 3])
@example(b"\xc2\x9d52;c;Zm9v\xc2\x9c", [1])
@example(b"\x1b\x1b]52;c;Zm9v\x07", [])
@example(b"\x1b[\x1b]0;x\x07", [2])
def test_nothing_forbidden_passes(stream: bytes, cuts: list[int]) -> None:
    check_harmless(filtered(stream, cuts))


@given(streams, cuts)
def test_where_it_is_cut_does_not_matter(stream: bytes, cuts: list[int]) -> None:
    assert filtered(stream, cuts) == filtered(stream)


@given(streams, cuts)
def test_what_passed_passes_again(stream: bytes, cuts: list[int]) -> None:
    once = filtered(stream, cuts)
    assert filtered(once) == once


plain = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20).map(str.encode)
sequences = st.builds(
    lambda prefix, numbers, final: b"\x1b[" + prefix + b";".join(b"%d" % number for number in numbers) + final,
    st.sampled_from([b"", b"?"]),
    st.lists(st.integers(0, 9999), max_size=6),
    st.sampled_from([b"m", b"H", b"J", b"K", b"h", b"l"]),
).filter(lambda found: not found.endswith((b"?m", b"?H")))
moves = st.sampled_from(
    [
        b"\x1b[2 q",
        b"\x1b[!p",
        b"\x1b(0",
        b"\x1b(B",
        b"\x1b7",
        b"\x1b8",
        b"\x1bM",
        b"\x1b[38;2;1;2;3m",
        b"\x1b[4:3m",
        b"\x1b[10;20r",
        b"\x1b[6n",
        b"\x1b[>c",
        b"\x1b=",
        b"\x1b>",
        b"\r",
        b"\n",
        b"\x08",
        b"\t",
        b"\x07",
        b"\x1b[>4;2m",
    ]
)


@given(st.lists(st.one_of(plain, sequences, moves)).map(b"".join), cuts)
def test_text_and_movement_pass_unchanged(stream: bytes, cuts: list[int]) -> None:
    stream = re.sub(rb"\x1b\[\?[0-9;]*H", b"", stream)
    assert filtered(stream, cuts) == stream


@pytest.mark.parametrize(
    ("stream", "left"),
    [
        (b"a\x1b]52;c;Zm9v\x07b", b"ab"),
        (b"a\x1b]52;c;Zm9v\x1b\\b", b"ab"),
        (b"a\x1b]0;title\xc2\x9cb", b"ab"),
        (b"a\x1bP1$r\x1b\\b", b"ab"),
        (b"a\x1b_Gx\x1b\\b\x1b^y\x1b\\c\x1bXz\x1b\\d\x1bkt\x1b\\e", b"abcde"),
        (b"a\x9d52;c\x9cb", b"a\xef\xbf\xbd52;c\xef\xbf\xbdb"),
        (b"a\xc2\x9b31mb", b"ab"),
        ("\u275d quoted \u275e".encode(), "\u275d quoted \u275e".encode()),
        (b"a\x1b[21tb\x1b[5ic\x1b[1;1;1;1;1;1*yd\x05e\x1bZ\x1b%@f", b"abcdef"),
        (b"a\x1b]0;x\x1b[31mb", b"a\x1b[31mb"),
        (b"a\x1b[999999bb", b"ab"),
        (b"a\xff\xfeb", b"a\xef\xbf\xbd\xef\xbf\xbdb"),
        (b"\x1b[" + b"1;" * 200 + b"m.", b"1;" * 73 + b"m."),
    ],
)
def test_examples(stream: bytes, left: bytes) -> None:
    assert filtered(stream) == left
    assert filtered(stream, list(range(len(stream)))) == left


def test_a_string_without_an_end_does_not_hide_everything() -> None:
    stream = b"\x1b]" + b"x" * STRING_LIMIT + b"\x1b[mshown"
    assert filtered(stream) == filtered(stream, [1, 5, 700, STRING_LIMIT, STRING_LIMIT + 3]) == b"\x1b[mshown"
    title = "\x1b]0;\u201cquoted\u201d\x07after"
    assert filtered(title.encode()) == b"after"


def test_a_terminal_that_reads_bytes_gets_ascii_alone() -> None:
    assert filtered("\u275d\u00e4\x1b[1mx".encode() + b"\xff", utf8=False) == b"??\x1b[1mx?"


def test_the_alternate_screen_is_known() -> None:
    stream = TerminalFilter()
    stream.feed(b"\x1b[?1;1049h")
    assert stream.alternate
    stream.feed(b"\x1b[?1049l")
    assert not stream.alternate


def test_what_restores_passes_itself() -> None:
    for data in (RESTORE, MAIN_SCREEN):
        assert filtered(data) == data
