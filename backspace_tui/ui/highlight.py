"""Syntax colours of whole files. Pygments is imported with the first use, in the thread that asks."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 600_000
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


def spans(path: str, text: str) -> list[list[Span]]:
    """The coloured spans of each line of ``text`` (split at line feeds alone); empty for an unknown language.

    ``text`` must be what is shown, so that columns agree. Lines are coloured up to column 400 only.
    """
    if len(text) > MAX_BYTES:
        return []
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(path.rsplit("/", 1)[-1])
    except ClassNotFound:
        return []
    lines: list[list[Span]] = [[]]
    column = 0
    kinds: dict[object, str] = {}
    for _, token, value in lexer.get_tokens_unprocessed(text):
        style = kinds.get(token)
        if style is None:
            style = kinds[token] = _style(str(token))
        first, *rest = value.split("\n")
        for number, piece in enumerate((first, *rest)):
            if number:
                lines.append([])
                column = 0
            end = column + len(piece)
            if style and piece.strip() and column < MAX_COLUMN:
                lines[-1].append((column, min(end, MAX_COLUMN), style))
            column = end
    return lines


def _style(token: str) -> str:
    return next((style for prefix, style in _STYLES if token.startswith(prefix)), "")
