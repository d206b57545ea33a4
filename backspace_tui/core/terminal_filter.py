"""Output of programs that nobody trusts, on its way to a person's real terminal.

Editors and pagers need cursor movement, colours and modes; nothing needs to set the clipboard or the title, to print,
or to make the terminal answer with what somebody else wrote. Only what is known to be harmless passes.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 256
"""Bytes of an escape sequence; longer ones are taken out."""
STRING_LIMIT: Final = 64 * 1024
"""Bytes after which a control string (OSC, DCS, ...) without an end is given up."""

# BEL, BS, TAB, LF, VT, FF, CR, SO, SI, and what is printable. ENQ makes terminals answer, XON and XOFF stop them.
_PLAIN: Final = rb"[\x07-\x0f\x20-\x7e]+"
# Well-formed UTF-8 but for U+0080 to U+009F, the C1 controls.
_CHARACTER: Final = (
    rb"(?:\xc2[\xa0-\xbf]|[\xc3-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2})+"
)
_MOVES: Final = b"@ABCDEFGHIJKLMPSTXZ`abcdefghlmnrsu"
_TEXT = re.compile(_PLAIN)
_UTF8 = re.compile(_CHARACTER)
# Most of what there is, at once: text with colours and movements.
_COMMON = re.compile(
    b"(?:" + _PLAIN + b"|" + _CHARACTER + rb"|\x1b\[[0-9]{0,5}(?:[;:][0-9]{0,5}){0,16}[" + _MOVES + b"])+"
)
_DROPPED = re.compile(rb"[\x00-\x06\x10-\x1a\x1c-\x1f\x7f]+")
_UTF8_BEGUN = re.compile(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef]|\xe0[\xa0-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]|\xed[\x80-\x9f]|[\xf0-\xf4]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]?|[\xf1-\xf3][\x80-\xbf]{1,2}|\xf4[\x80-\x8f][\x80-\xbf]?)\Z"
)
# Sequences in their 7-bit form and with a C1 control in UTF-8; as a bare byte that control is malformed text.
_CSI = re.compile(rb"(?:\x1b\[|\xc2\x9b)([0-?]*)([ -/]*)([@-~]?)")
_STRING = re.compile(rb"\x1b[\]PX^_k]|\xc2[\x90\x98\x9d\x9e\x9f]")
_STRING_END = re.compile(rb"[\x07\x18\x1a]|\x1b\\?|\xc2\x9c|\xc2\Z")
_ESCAPE = re.compile(rb"\x1b([ -/]*)([0-~]?)")
_C1 = re.compile(rb"\xc2[\x80-\x9f]")

# Save, restore, keypad, index, tab, reverse index, reset, shifts and single shifts.
_ESCAPES: Final = frozenset(b"78=>DEHMcNOno|}~")
_CHARSETS: Final = frozenset((b"(", b")", b"*", b"+"))
# By private prefix and intermediates. Left out: t (window: titles told, resized), i (printer), *y (checksums of the
# screen), x (parameters told), "p (8-bit answers), and all that is not listed.
_FINALS: Final[dict[tuple[bytes, bytes], frozenset[int]]] = {
    (b"", b""): frozenset(_MOVES),
    (b"?", b""): frozenset(b"JKchlmnrsu"),
    (b">", b""): frozenset(b"cmnu"),
    (b"=", b""): frozenset(b"cu"),
    (b"<", b""): frozenset(b"u"),
    (b"", b" "): frozenset(b"q"),
    (b"", b"!"): frozenset(b"p"),
    (b"", b"$"): frozenset(b"p"),
    (b"?", b"$"): frozenset(b"p"),
}
# Some terminals carry out any number of repetitions.
_PARAMETERS = re.compile(rb"[<=>?]?[0-9]{0,5}(?:[;:][0-9]{0,5})*\Z")
_ALTERNATE: Final = frozenset((b"47", b"1047", b"1049"))
_MALFORMED: Final = "\ufffd".encode()


class TerminalFilter:
    """Takes forbidden sequences out of a stream, however it is cut; text and the rest pass unchanged, whole.

    With ``utf8`` false, for a terminal that reads bytes, everything but ASCII becomes ``?``. ``alternate`` tells
    whether the stream left the terminal on its alternate screen.
    """

    def __init__(self, *, utf8: bool = True) -> None:
        self.alternate = False
        self._utf8 = utf8
        self._held = b""
        self._in_string = False
        self._length = 0

    def feed(self, data: bytes) -> bytes:
        """What of the stream so far is certain to be harmless."""
        data, self._held = self._held + data, b""
        out: list[bytes] = []
        at = 0
        while at < len(data):
            step = self._string(data, at) if self._in_string else self._ground(data, at, out)
            if step < 0:
                self._held = data[at:]
                break
            at = step
        return b"".join(out)

    def _ground(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Where to go on, or -1 when more is needed to know."""
        if found := (_COMMON if self._utf8 else _TEXT).match(data, at):
            out.append(found.group())
            return found.end()
        first = data[at]
        if first >= 0x80 and (found := _UTF8.match(data, at)):
            text = found.group()
            out.append(text if self._utf8 else b"?" * len(text.decode()))
            return found.end()
        if first >= 0x80 and _UTF8_BEGUN.match(data, at):
            return -1
        if first not in (0x1B, 0xC2):
            found = _DROPPED.match(data, at)
            if found is None:
                out.append(_MALFORMED if self._utf8 else b"?")
            return found.end() if found else at + 1
        if found := _STRING.match(data, at):
            self._in_string, self._length = True, 0
            return found.end()
        if found := _CSI.match(data, at, at + LONGEST):
            return self._csi(data, found, out)
        if found := _ESCAPE.match(data, at, at + LONGEST):
            return self._escape(data, found, out)
        if found := _C1.match(data, at):
            return found.end()
        out.append(_MALFORMED if self._utf8 else b"?")
        return at + 1

    def _csi(self, data: bytes, found: re.Match[bytes], out: list[bytes]) -> int:
        parameters, intermediates, final = found.groups()
        if not final:
            return -1 if found.end() == len(data) and len(found.group()) < LONGEST else found.end()
        if not found.group().startswith(b"\x1b"):
            return found.end()
        prefix = parameters[:1] if parameters[:1] in (b"<", b"=", b">", b"?") else b""
        allowed = _FINALS.get((prefix, intermediates), frozenset())
        if final[0] in allowed and _PARAMETERS.match(parameters):
            out.append(found.group())
            if prefix == b"?" and final in b"hl" and not _ALTERNATE.isdisjoint(parameters[1:].split(b";")):
                self.alternate = final == b"h"
        return found.end()

    def _escape(self, data: bytes, found: re.Match[bytes], out: list[bytes]) -> int:
        intermediates, final = found.groups()
        if not final:
            return -1 if found.end() == len(data) and len(found.group()) < LONGEST else found.end()
        known = intermediates in _CHARSETS or (not intermediates and final[0] in _ESCAPES)
        if known or found.group() == b"\x1b#8":
            out.append(found.group())
            if found.group() == b"\x1bc":
                self.alternate = False
        return found.end()

    def _string(self, data: bytes, at: int) -> int:
        most = at + STRING_LIMIT - self._length
        found = _STRING_END.search(data, at)
        end = min(found.start() if found else len(data), most)
        self._length += end - at
        if end == most:
            self._in_string = False
            return end
        if found is None or end > at:
            return end
        if found.end() == len(data) and found.group() in (b"\x1b", b"\xc2"):
            return -1  # an end that is cut in two
        self._in_string = False
        # Any other escape breaks the string off and begins anew.
        return found.start() if found.group() == b"\x1b" else found.end()


RESTORE: Final = (
    # Soft reset (insert mode, margins, origin, keypad, colours, cursor), autowrap, no local echo, unlocked keyboard.
    b"\x1b[!p\x1b[?7h\x1b[12h\x1b[2l\x1b[4l\x1b[20l\x1b[?5l\x1b[?1l\x1b>\x1b[?25h"
    # Mouse, focus, pasting, synchronised output and both ways to tell keys apart: all off.
    b"\x1b[?9;1000;1001;1002;1003;1004;1005;1006;1015;1016;2004;2026l\x1b[=0u\x1b[>4;0m"
    # Character sets, colours.
    b"\x1b(B\x1b)B\x0f\x1b[0m"
)
"""What puts a terminal's modes back, whatever the stream did with those that pass."""

MAIN_SCREEN: Final = b"\x1b[?1049l"
"""What leaves the alternate screen."""
