"""Syntax colours of whole files. Pygments is imported with the first use, in the thread that asks."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, overload

from backspace_tui.core.terminal_text import visible
from backspace_tui.ui.raw_lines import TAB

MAX_BYTES: Final = 2_000_000
MAX_COLUMN: Final = 400

Span = tuple[int, int, str]
"""Start and end column (in characters, the end excluded) and the name of a style."""

_STYLES: Final[tuple[tuple[str, str], ...]] = (
    # The first whose name begins the token's name wins.
    ("Token.Comment.Preproc", "syntax-keyword"),
    ("Token.Comment", "syntax-comment"),
    ("Token.Literal.String.Doc", "syntax-comment"),
    ("Token.Literal.String", "syntax-string"),
    ("Token.Literal.Number", "syntax-number"),
    ("Token.Keyword.Type", "syntax-type"),
    ("Token.Keyword", "syntax-keyword"),
    ("Token.Operator.Word", "syntax-keyword"),
    ("Token.Operator", "syntax-operator"),
    ("Token.Name.Function", "syntax-name"),
    ("Token.Name.Decorator", "syntax-name"),
    ("Token.Name.Tag", "syntax-name"),
    ("Token.Name.Attribute", "syntax-type"),
    ("Token.Name.Class", "syntax-type"),
    ("Token.Name.Builtin", "syntax-type"),
    ("Token.Name.Exception", "syntax-type"),
    ("Token.Generic.Heading", "syntax-name"),
    ("Token.Generic.Subheading", "syntax-name"),
)


_NAMES: Final = tuple(dict.fromkeys(style for _, style in _STYLES))


class Colours(Sequence[list[Span]]):
    """The spans of each line. Packed, since a large file has a million of them."""

    def __init__(self) -> None:
        self._ends = array("L")
        self._columns = array("H")
        self._names = bytearray()

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> list[Span]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Span]]: ...
    def __getitem__(self, index: int | slice) -> list[Span] | list[list[Span]]:
        if isinstance(index, slice):
            return [self._spans(number) for number in range(*index.indices(len(self)))]
        return self._spans(range(len(self))[index])

    def __iter__(self) -> Iterator[list[Span]]:
        return map(self._spans, range(len(self)))

    def _spans(self, line: int) -> list[Span]:
        columns = self._columns
        span = range(self._ends[line - 1] if line else 0, self._ends[line])
        return [(columns[2 * at], columns[2 * at + 1], _NAMES[self._names[at]]) for at in span]

    def add(self, start: int, end: int, name: int) -> None:
        """A span of the line that is being made."""
        self._columns.extend((start, end))
        self._names.append(name)

    def end_line(self) -> None:
        """The line that is being made is complete."""
        self._ends.append(len(self._names))


class Moved(Sequence[list[Span]]):
    """The colours of a file in which some lines became others, which have none until they are lexed.

    Of ``count`` lines the first ``head`` and the last ``tail`` are those that ``colours`` are of.
    """

    def __init__(self, colours: Sequence[list[Span]], count: int, head: int, tail: int) -> None:
        self._colours, self._count, self._head, self._tail = colours, count, head, tail

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> list[Span]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Span]]: ...
    def __getitem__(self, index: int | slice) -> list[Span] | list[list[Span]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        index = range(self._count)[index]
        if index < self._head:
            return self._colours[index]
        below = self._count - index
        return self._colours[len(self._colours) - below] if below <= self._tail else []


def moved(
    colours: Sequence[list[Span]], old: Sequence[bytes | str], new: Sequence[bytes | str]
) -> Sequence[list[Span]]:
    """What ``colours`` of the lines ``old`` tell of ``new``, as far as these begin and end with the same lines."""
    if not colours or len(colours) != len(old):
        return []
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[~at] != new[~at]), most - head)
    return Moved(colours, len(new), head, tail)


def spans(path: str, text: str) -> Sequence[list[Span]]:
    """The coloured spans of each line of ``text`` (split at line feeds alone); empty for an unknown language.

    ``text`` must be what is shown, so that columns agree. Lines are coloured up to column 400 only.
    """
    return _lexed(path, text, None)


def line_spans(path: str, lines: Sequence[bytes | str]) -> Sequence[list[Span]]:
    """The coloured spans of the lines of a file, by the columns in which they are shown; for a background thread.

    What is lexed is the file as it is, with its tabs: what is shown may mean something else.
    """
    if sum(map(len, lines)) + len(lines) > MAX_BYTES:
        return []
    texts = [_decoded(line) for line in lines]
    return _lexed(path, "\n".join(texts), texts)


def _decoded(line: bytes | str) -> str:
    text = line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line
    return text.removesuffix("\r")


def _lexed(path: str, text: str, lines: Sequence[str] | None) -> Sequence[list[Span]]:
    """The spans of ``text``; with ``lines``, by the columns in which these are shown."""
    if len(text) > MAX_BYTES:
        return []
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(path.rsplit("/", 1)[-1])
    except ClassNotFound:
        return []
    found = Colours()
    number = column = 0
    moved = _columns(lines[0]) if lines else None
    kinds: dict[object, int] = {}
    for _, token, value in lexer.get_tokens_unprocessed(text):
        name = kinds.get(token)
        if name is None:
            name = kinds[token] = _name(str(token))
        for count, piece in enumerate(value.split("\n")):
            if count:
                found.end_line()
                number, column = number + 1, 0
                moved = _columns(lines[number]) if lines is not None and number < len(lines) else None
            start, end = column, column + len(piece)
            column = end
            if name < 0 or start >= MAX_COLUMN or not piece.strip():
                continue
            if moved is not None:
                start, end = moved[min(start, len(moved) - 1)], moved[min(end, len(moved) - 1)]
            if start < min(end, MAX_COLUMN):
                found.add(start, min(end, MAX_COLUMN), name)
    found.end_line()
    return found


def _columns(line: str) -> list[int] | None:
    """Where each character of a line is shown, as far as lines are coloured; ``None`` where nothing moves."""
    head = line[:MAX_COLUMN]
    if head.isascii() and head.isprintable():
        return None
    widths = [len(TAB) if char == "\t" else len(visible(char)) for char in head]
    return list(accumulate(widths, initial=0))


def _name(token: str) -> int:
    return next((_NAMES.index(style) for prefix, style in _STYLES if token.startswith(prefix)), -1)
