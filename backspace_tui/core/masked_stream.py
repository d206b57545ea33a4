"""Masking of a text that comes in pieces."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from backspace_tui.core.secret_forms import KEY_BEGIN

LONGEST_LINE: Final = 4_096
"""Characters of a line without an end that are held back; then it is cut between two words."""

LONGEST_HELD: Final = 65_536
"""Characters that are held back at all."""

_KEY_LONGEST: Final = 20_000
_GIVES: Final = re.compile(r"-----|[=:\"'`]")


class MaskedStream:
    """Masks text that comes in pieces, and holds back what may be the beginning of a secret: a line that has not
    ended, a private key that has not.

    With ``words``, what a line gives to no name goes on word by word.
    """

    def __init__(self, redact: Callable[[str], str], *, words: bool = False) -> None:
        self._redact = redact
        self._words = words
        self._held = ""

    def feed(self, piece: str) -> str:
        """What is certain after ``piece``, masked."""
        self._held += piece
        end = self._end()
        ready, self._held = self._held[:end], self._held[end:]
        return self._redact(ready) if ready else ""

    def flush(self) -> str:
        """The rest, masked; the stream can then be used anew."""
        ready, self._held = self._held, ""
        return self._redact(ready) if ready else ""

    def _end(self) -> int:
        held = self._held
        if len(held) > LONGEST_HELD:
            return len(held)
        end = line = held.rfind("\n") + 1
        if len(held) - line > LONGEST_LINE or (self._words and not _GIVES.search(held, line)):
            end = max(line, held.rfind(" ", line) + 1)
        key = held.rfind("-----BEGIN ", 0, end)
        if key >= 0 and KEY_BEGIN.match(held, key) and "-----END " not in held[key:end]:
            return key if len(held) - key < _KEY_LONGEST else end
        return end
