"""Text that is safe to show in a terminal, to log and to send to a model.

What programs, files and models print may hold control sequences that move the cursor, set the clipboard, or make a
reader see other text than there is. :func:`clean` takes them out and keeps what a person would read.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

STRING_LIMIT: Final = 4096
"""Characters within which a control string (OSC, DCS, ...) must end to be removed across line breaks."""


def _decode_error(error: UnicodeError) -> tuple[str, int]:
    # A lone 0x80-0x9f byte is a control to terminals that do not read UTF-8: it is handed on as that control,
    # so that its whole sequence goes. Any other malformed sequence becomes one replacement character.
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    if len(bad) == 1 and 0x80 <= bad[0] <= 0x9F:
        return chr(bad[0]), error.end
    return "\ufffd", error.end


_ERRORS = "backspace-terminal"
codecs.register_error(_ERRORS, _decode_error)

_SURROGATE = re.compile("[\ud800-\udfff]")

# ESC, and the C1 forms of DCS, SOS, CSI, OSC, PM and APC. Other C1 controls stand alone.
_INTRODUCER = re.compile("[\x1b\x90\x98\x9b\x9d-\x9f]")
_STRING_C1 = "\x90\x98\x9d\x9e\x9f"
# ESC k, the screen title of screen and tmux, ends like the standard strings.
_STRING_ESC = "]PX^_k"

# BEL and ST end a control string; CAN, SUB, any other escape and any C1 control break it off.
_STRING_BODY = re.compile("[^\x07\x18\x1a\x1b\x80-\x9f]*")
_SKIPPED_BODY = re.compile("[^\n\x07\x18\x1a\x1b\x80-\x9f]*")
_INTERMEDIATES = re.compile("[ -/]*")
_CSI_BODY = re.compile("[ -?]*")

# Dropped besides sequences: C0 but TAB, LF and CR, DEL, C1; then everything that has no look of its own and
# can hide text or change its order. That includes ZWJ and variation selectors: a joined emoji falls into its
# parts, which is the price for text in which nothing is invisible.
_INVISIBLE: Final = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
)
_DROPPED = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_INVISIBLE}]+")
_CONTROL_ONLY = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
_LINE_END = re.compile("\r+\n?|[\u2028\u2029]")


class Cleaner:
    """:func:`clean` for a stream: what all calls return, joined, is :func:`clean` of all that was fed.

    Holds back at most :data:`STRING_LIMIT` characters besides the piece at hand, however long a sequence is.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(_ERRORS)
        self._state = self._ground
        self._bare = False
        self._return = False
        self._length = 0
        self._held: list[str] = []
        self._out: list[str] = []

    def feed(self, data: bytes) -> str:
        """The cleaned text that is certain after ``data``."""
        return self._run(self._decoder.decode(data))

    def flush(self) -> str:
        """The rest, at the end of the stream; the cleaner can then be used anew."""
        text = self._run(self._decoder.decode(b"", final=True))
        # An unterminated string is taken out up to its first line break.
        text += self._printable("".join(self._held))
        if self._return:
            text += "\n"
        self._reset()
        return text

    def _run(self, text: str) -> str:
        at, end = 0, len(text)
        while at < end:
            at = self._state(text, at)
        raw = "".join(self._out)
        self._out.clear()
        return self._printable(raw)

    def _printable(self, text: str) -> str:
        text = (_CONTROL_ONLY if text.isascii() else _DROPPED).sub("", text)
        if not text:
            return ""
        if self._return:
            text = "\r" + text
        # A carriage return waits for the next character: with a line feed it is one line end.
        self._return = text.endswith("\r")
        if self._return:
            text = text.rstrip("\r")
        return _LINE_END.sub("\n", text)

    # Each state reads from ``at`` and returns where the next one goes on; it may hand on without reading.

    def _ground(self, text: str, at: int) -> int:
        found = _INTRODUCER.search(text, at)
        if found is None:
            self._out.append(text[at:])
            return len(text)
        self._out.append(text[at : found.start()])
        char = found.group()
        if char == "\x1b":
            self._bare = True
            self._state = self._escape
        elif char == "\x9b":
            self._state = self._csi
        else:
            self._begin_string()
        return found.end()

    def _escape(self, text: str, at: int) -> int:
        char = text[at]
        if self._bare and char == "[":
            self._state = self._csi
            return at + 1
        if self._bare and char in _STRING_ESC:
            self._begin_string()
            return at + 1
        if " " <= char <= "/":
            self._bare = False
            found = _INTERMEDIATES.match(text, at)
            assert found is not None
            return found.end()
        self._state = self._ground
        return at + 1 if "0" <= char <= "~" else at

    def _csi(self, text: str, at: int) -> int:
        found = _CSI_BODY.match(text, at)
        assert found is not None
        at = found.end()
        if at < len(text):
            self._state = self._ground
            if "@" <= text[at] <= "~":
                at += 1
        return at

    def _begin_string(self) -> None:
        self._length = 0
        self._held.clear()
        self._state = self._string

    def _string(self, text: str, at: int) -> int:
        found = _STRING_BODY.match(text, at)
        assert found is not None
        body, at = found.group(), found.end()
        self._length += len(body)
        if self._held:
            self._held.append(body)
        elif (line_end := body.find("\n")) >= 0:
            self._held.append(body[line_end:])
        if self._length > STRING_LIMIT:
            skipping = not self._held
            self._break_string()
            if skipping:
                self._state = self._skip
            return at
        return self._end_string(text, at)

    def _skip(self, text: str, at: int) -> int:
        found = _SKIPPED_BODY.match(text, at)
        assert found is not None
        return self._end_string(text, found.end())

    def _end_string(self, text: str, at: int) -> int:
        if at == len(text):
            return at
        char = text[at]
        if char == "\x1b":
            self._state = self._string_escape
            return at + 1
        if char in "\x07\x9c":
            self._held.clear()
        self._break_string()
        # A line feed and a new introducer are not part of the string.
        return at + 1 if char in "\x07\x18\x1a\x9c" else at

    def _string_escape(self, text: str, at: int) -> int:
        if text[at] == "\\":
            self._held.clear()
            self._break_string()
            return at + 1
        self._break_string()
        self._bare = True
        self._state = self._escape
        return at

    def _break_string(self) -> None:
        # What is still held comes after the first line break of a string that had no proper end. Hiding must end
        # with the line, or one sequence could blind the reader to all that follows it.
        self._out += self._held
        self._held.clear()
        self._state = self._ground


def clean(data: bytes | str) -> str:
    """``data`` without terminal control sequences, control characters and invisible characters.

    Bytes are read as UTF-8; malformed parts and lone surrogates become U+FFFD, and a byte or surrogate that stands
    for a C1 control is taken for that control. CSI, OSC, DCS, APC, PM and SOS sequences go in their 7-bit and 8-bit
    forms. A control string without its BEL or ST within :data:`STRING_LIMIT` characters goes up to the end of its line.
    ``\\n`` and ``\\t`` stay; CR LF, a lone CR (each rewrite of a progress bar becomes a line), U+2028 and
    U+2029 become ``\\n``. Backspaces go, and what they would rub out stays. Idempotent, linear in time.
    """
    cleaner = Cleaner()
    if isinstance(data, bytes):
        return cleaner.feed(data) + cleaner.flush()
    text = _SURROGATE.sub(_surrogate, data)
    return cleaner._run(text) + cleaner.flush()


def _surrogate(found: re.Match[str]) -> str:
    # os.fsdecode writes byte 0x9b as U+DC9B.
    code = ord(found.group())
    return chr(code - 0xDC00) if 0xDC80 <= code <= 0xDC9F else "\ufffd"


def visible(data: bytes | str) -> str:
    """One line for a reviewer's eyes: everything that :func:`clean` would take out is spelled instead.

    Controls and invisible characters become ``<1B>``, ``<U+202E>``, bytes that are not UTF-8 ``<E9>``; tabs stay.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    if text.isascii() and text.isprintable():
        return text
    return _SPELLED.sub(lambda found: _spell(found.group()), text)


_SPELLED = re.compile(f"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_INVISIBLE}]")


def _spell(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"<{code - 0xDC00:02X}>"
    return f"<{code:02X}>" if code < 0x20 or code == 0x7F else f"<U+{code:04X}>"


def clip(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters: its head and tail, and between them a line that names the gap.

    A ``limit`` too small for that line leaves the line alone.
    """
    if len(text) <= limit:
        return text
    room = max(limit - len(_gap(len(text))), 0)
    head = room // 2
    tail = room - head
    gap = _gap(len(text) - room)
    return (text[:head] + gap + text[len(text) - tail :]) if room else gap.strip()


def _gap(count: int) -> str:
    return f"\n[... {count} characters left out ...]\n"
