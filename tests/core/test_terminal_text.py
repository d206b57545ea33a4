"""clean, Cleaner, visible and clip: nothing that steers a terminal survives, and nothing readable is lost."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core.terminal_text import STRING_LIMIT, Cleaner, clean, clip, visible
from tests.growth import grows_linearly

FAMILY = "\U0001f468\u200d\U0001f469\ufe0f"

CASES: list[tuple[bytes | str, str]] = [
    ("plain\ttext\n", "plain\ttext\n"),
    ("a\x1b[1;31mred\x1b[0m!", "ared!"),
    ("\x1b[?25l\x1b[2J\x1b[38:2::1:2:3mx", "x"),
    ("\x1b[1 qx\x1b[!p", "x"),
    ("\x1b]0;title\x07x", "x"),
    ("\x1b]8;;http://h\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b]52;c;ZXZpbA==\x07", ""),
    ("\x1bP+q544e\x1b\\a\x1b_apc\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d\x1bktitle\x1b\\e", "abcde"),
    ("\x1bPq\n#0\n\x1b\\done", "done"),
    (b"\x9b31mx\x9d0;t\x9cy\x90q\x9cz", "xyz"),
    (b"\xc2\x9b31mx\xc2\x9d0;t\xc2\x9cy", "xy"),
    ("\x9b31mx\x9d0;t\x07y", "xy"),
    # Unterminated: the introducer's line goes, what follows stays readable.
    ("\x1b]0;evil", ""),
    ("\x1b]0;evil\nkept\nlines", "\nkept\nlines"),
    ("\x1b]0;evil\nkept\x1b[31m red", "\nkept red"),
    ("\x1bPevil\nkept\x18more", "\nkeptmore"),
    ("\x1b[31", ""),
    ("\x1b[31\nx", "\nx"),
    ("x\x1b", "x"),
    ("\x1b\x1b[31mx", "x"),
    ("\x1b(Bx\x1bcy\x1b7z\x1b#8", "xyz"),
    ("\x1b\xe9", "\xe9"),
    # Line ends.
    ("a\r\nb\r\r\nc", "a\nb\nc"),
    ("10%\r20%\r\x1b[K30%\n", "10%\n20%\n30%\n"),
    ("a\r\x1b[m\nb", "a\nb"),
    ("end\r", "end\n"),
    ("a\u2028b\u2029c", "a\nb\nc"),
    # Single characters.
    ("N\bNA\x07\x00\x7f\x0b\x0c", "NNA"),
    ("a\x85b\x80", "ab"),
    ("\u202eevil\u202c \u2066x\u2069 a\u200bb \ufeff", "evil x ab "),
    (FAMILY, "\U0001f468\U0001f469"),
    ("\ufdd0\uffff\U0001fffe\U000e0041", ""),
    ("caf\u00e9 \u4e2d\u6587 \U0001f600 \ue0b0", "caf\u00e9 \u4e2d\u6587 \U0001f600 \ue0b0"),
    # Bytes and surrogates that are not UTF-8.
    (b"caf\xe9 \xc3\xa9", "caf\ufffd \u00e9"),
    (b"\xe2\x9d\nkept", "\ufffd\nkept"),
    ("caf\udce9\udc9b31m\ud800", "caf\ufffd\ufffd"),
]


@pytest.mark.parametrize(("raw", "expected"), CASES)
def test_clean(raw: bytes | str, expected: str) -> None:
    assert clean(raw) == expected


PIECES = ["\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b\\", "\x9b", "\x9c", "\x9d", "\x07", "\x18", "\r", "\n", "\r\n"]
PIECES += ["31m", "0;t", "x", " ", "\b", "\x00", "\u202e", FAMILY, "\u2028", "\x85", "[", "\\", "z" * 3000]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20).map("".join)
bytestrings = st.one_of(
    texts.map(lambda text: text.encode("utf-8", "replace")),
    texts.map(lambda text: text.encode("latin-1", "replace")),
    st.lists(st.sampled_from([b"\x9b", b"\x9d", b"\xe2", b"\xe2\x9d", b"\xff", b"\xf0\x9f", b"\x80", b"a\n"])).map(
        b"".join
    ),
    st.binary(max_size=40),
)


def harmless(text: str) -> bool:
    return all(char in "\n\t" or (unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")) for char in text)


@settings(max_examples=300, deadline=None)
@given(texts | bytestrings)
def test_clean_is_harmless_and_idempotent(raw: bytes | str) -> None:
    once = clean(raw)
    assert harmless(once)
    once.encode("utf-8")
    assert clean(once) == once
    assert clean(once.encode()) == once


@settings(max_examples=300, deadline=None)
@given(bytestrings, st.data())
def test_a_stream_gives_what_the_whole_gives(raw: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    cleaner = Cleaner()
    for _ in range(2):  # A flushed cleaner starts anew.
        parts = [cleaner.feed(raw[a:b]) for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
        assert "".join(parts) + cleaner.flush() == clean(raw)


@settings(max_examples=100, deadline=None)
@given(bytestrings)
def test_a_stream_of_single_bytes_gives_what_the_whole_gives(raw: bytes) -> None:
    cleaner = Cleaner()
    assert "".join(cleaner.feed(raw[n : n + 1]) for n in range(len(raw))) + cleaner.flush() == clean(raw)


def test_every_format_character_of_unicode_goes() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cf", "Cc") and chr(code) not in "\n\t\r":
            assert clean(f"a{chr(code)}") == "a", hex(code)
            assert visible(f"{chr(code)}").startswith("<"), hex(code)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"", b"\x1b]"),
        (b"", b"\x1b]\n"),
        (b"", b"\x9d"),
        (b"\x1b[", b"1"),
        (b"\x1b]", b"1"),
        (b"\x1b]a\n", b"1"),
        (b"", b"\xff"),
        (b"", b"\r"),
        (b"", b"\x1b"),
    ],
    ids=["osc", "osc-lines", "c1", "csi", "long-osc", "long-osc-line", "not-utf8", "returns", "escapes"],
)
def test_hostile_output_takes_linear_time(begin: bytes, again: bytes) -> None:
    grows_linearly(clean, lambda size: begin + again * size, 50_000)


def test_an_endless_string_holds_little_memory_and_frees_the_next_line() -> None:
    cleaner = Cleaner()
    assert cleaner.feed(b"\x1b]0;") == ""
    for _ in range(200):
        assert cleaner.feed(b"A" * 10_000) == ""
        assert sum(map(len, cleaner._held)) + sum(map(len, cleaner._out)) <= STRING_LIMIT + 10_000
    assert cleaner.feed(b"\nvisible again\n") == "\nvisible again\n"


def test_a_long_terminated_string_on_one_line_goes() -> None:
    assert clean("a\x1b]1337;File=:" + "A" * 100_000 + "\x07b") == "ab"


def test_visible_spells_what_clean_would_hide() -> None:
    assert visible(b"if x:\t\x1b[31m\xe9\xe2\x80\xae") == "if x:\t<1B>[31m<E9><U+202E>"
    assert visible("a\nb\r\u2028") == "a<0A>b<0D><U+2028>"
    assert visible("plain \u00e9") == "plain \u00e9"


@given(texts | bytestrings)
def test_visible_is_one_harmless_line(raw: bytes | str) -> None:
    shown = visible(raw)
    assert harmless(shown)
    assert "\n" not in shown


def test_clip_keeps_head_and_tail() -> None:
    text = "".join(f"line {n}\n" for n in range(1000))
    cut = clip(text, 300)
    assert len(cut) <= 300
    head, gap, tail = cut.partition("\n[... ")
    count = int(tail.split()[0])
    rest = tail.split("...]\n", 1)[1]
    assert gap
    assert text.startswith(head)
    assert text.endswith(rest)
    assert len(head) + count + len(rest) == len(text)
    assert clip("short", 5) == "short"
    assert clip(text, 10).startswith("[... ")


@given(st.text(max_size=300), st.integers(60, 200))
def test_clip_fits_and_is_idempotent(text: str, limit: int) -> None:
    cut = clip(text, limit)
    assert len(cut) <= limit
    assert clip(cut, limit) == cut
