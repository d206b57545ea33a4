"""The closed grammar of the offline agent. Pure, and light to import."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from backspace_tui.core.protocols import RequestRefused

GRAMMAR: Final = r"""
  replace TEXT with TEXT [in GLOB]     every occurrence, in files whose path matches GLOB (default: all)
  rename IDENTIFIER to IDENTIFIER      whole words, in all files
  create FILE with TEXT                a new file; its last line is ended if TEXT does not end it
  run COMMAND                          a shell command
Join several by "then". TEXT, GLOB, FILE and COMMAND are taken as they stand, or quoted: '...' or "...", where \n, \t,
\r, \\, \' and \" are escapes. Quote what holds one of the words with, in, to, then: inside quotes they are plain text.
Example: replace "Helo" with "Hello" in *.md then rename total_of to total then run pytest -q
""".strip("\n")

SETUP: Final = (
    "For anything else set up a language model: export ANTHROPIC_API_KEY (or OPENAI_API_KEY, GEMINI_API_KEY, "
    "GROQ_API_KEY, DEEPSEEK_API_KEY, OPENROUTER_API_KEY), start a local server such as Ollama, or name one "
    "with --model."
)


class GrammarError(RequestRefused):
    """A prompt that the offline agent does not understand. ``reason`` is one line; the text adds the grammar."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the offline agent cannot do this: {reason}\nIt understands:\n{GRAMMAR}\n{SETUP}")
        self.reason = reason


class Replace(msgspec.Struct, frozen=True, tag=True):
    """Replace ``old`` by ``new`` wherever it stands in files that match ``glob`` (empty: all)."""

    old: str
    new: str
    glob: str = ""


class Rename(msgspec.Struct, frozen=True, tag=True):
    """Replace the whole word ``old`` by ``new`` in all files."""

    old: str
    new: str


class Create(msgspec.Struct, frozen=True, tag=True):
    """Create ``path`` with ``text``."""

    path: str
    text: str


class Run(msgspec.Struct, frozen=True, tag=True):
    """Run a shell command."""

    command: str


Step = Replace | Rename | Create | Run

_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")


class _Token(msgspec.Struct, frozen=True):
    start: int
    end: int
    text: str
    quoted: bool

    def is_word(self, word: str) -> bool:
        return not self.quoted and self.text.lower() == word


def parse(prompt: str) -> tuple[Step, ...]:
    """The steps of a prompt. Raises :class:`GrammarError`."""
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise GrammarError("it is not valid text") from None
    if "\0" in prompt:
        raise GrammarError("it holds a NUL character")
    statements: list[list[_Token]] = [[]]
    for token in _tokens(prompt):
        if token.is_word("then"):
            if statements[-1] and not statements[-1][-1].quoted and statements[-1][-1].text.endswith(","):
                raise GrammarError('it has a comma before "then"; leave it out, or quote the text that it belongs to')
            statements.append([])
        else:
            statements[-1].append(token)
    return tuple(_statement(prompt, tokens) for tokens in statements)


check_prompt = parse


def render(steps: Iterable[Step]) -> str:
    """A prompt that :func:`parse` reads as ``steps``."""
    return " then ".join(map(_render, steps))


def _render(step: Step) -> str:
    match step:
        case Replace(old, new, glob):
            return f"replace {quote(old)} with {quote(new)}" + (f" in {quote(glob)}" if glob else "")
        case Rename(old, new):
            return f"rename {old} to {new}"
        case Create(path, text):
            return f"create {quote(path)} with {quote(text)}"
        case Run(command):
            return f"run {quote(command)}"


def quote(text: str) -> str:
    """``text`` in double quotes, on one line."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def _tokens(prompt: str) -> list[_Token]:
    """Words separated by white space; a quote mark that opens a word keeps white space up to its partner."""
    tokens, at, end = [], 0, len(prompt)
    while at < end:
        if prompt[at].isspace():
            at += 1
            continue
        start, quoted = at, False
        if prompt[at] in "'\"":
            at = _closing_quote(prompt, at) + 1
            quoted = at == end or prompt[at].isspace()
        while at < end and not prompt[at].isspace():
            at += 1
        raw = prompt[start:at]
        tokens.append(_Token(start, at, _unescape(raw[1:-1]) if quoted else raw, quoted))
    return tokens


def _closing_quote(prompt: str, opening: int) -> int:
    at = opening + 1
    while at < len(prompt):
        if prompt[at] == "\\":
            at += 1
        elif prompt[at] == prompt[opening]:
            return at
        at += 1
    raise GrammarError(f"the quote that opens at character {opening + 1} is never closed")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text, flags=re.S)


def _statement(prompt: str, tokens: Sequence[_Token]) -> Step:
    if not tokens:
        raise GrammarError('it is empty, or has a "then" with nothing before or after it')
    verb, *rest = tokens
    if verb.is_word("replace"):
        return _replace(prompt, rest)
    if verb.is_word("rename"):
        if len(rest) != 3 or not rest[1].is_word("to"):
            raise GrammarError("rename takes two identifiers: rename IDENTIFIER to IDENTIFIER")
        return _rename(rest[0].text, rest[2].text)
    if verb.is_word("create"):
        if len(rest) < 3 or not rest[1].is_word("with"):
            raise GrammarError("create takes a file and a text: create FILE with TEXT (quote a FILE that holds spaces)")
        return Create(_path(rest[0].text), _operand(prompt, rest[2:], "TEXT"))
    if verb.is_word("run"):
        if not rest:
            raise GrammarError("run takes a command: run COMMAND")
        command = rest[0].text if len(rest) == 1 else prompt[rest[0].start : rest[-1].end]
        if not command.strip():
            raise GrammarError("run takes a command: run COMMAND")
        return Run(command)
    raise GrammarError(f"{verb.text[:40]!r} is none of replace, rename, create, run")


def _replace(prompt: str, rest: Sequence[_Token]) -> Replace:
    borders = [index for index, token in enumerate(rest) if token.is_word("with")]
    if len(borders) != 1:
        problem = "has no" if not borders else "has more than one"
        raise GrammarError(f'the replacement {problem} "with" outside quotes: replace TEXT with TEXT [in GLOB]')
    old, new, glob = rest[: borders[0]], rest[borders[0] + 1 :], ""
    ins = [index for index, token in enumerate(new) if token.is_word("in")]
    if ins:
        if len(ins) > 1 or ins[0] != len(new) - 2:
            raise GrammarError('"in" is followed by one GLOB; quote a text that holds the word "in"')
        glob = new[-1].text
        new = new[:-2]
        if not glob:
            raise GrammarError("GLOB is empty")
    step = Replace(_operand(prompt, old, "TEXT"), _operand(prompt, new, "TEXT"), glob)
    if not step.old.strip("\r\n"):
        raise GrammarError("the text to be replaced is empty")
    if step.old == step.new:
        raise GrammarError("both texts are the same")
    return step


def _operand(prompt: str, tokens: Sequence[_Token], what: str) -> str:
    if not tokens:
        raise GrammarError(f"a {what} is missing")
    if len(tokens) == 1 and tokens[0].quoted:
        return tokens[0].text
    if prompt[tokens[0].start] in "'\"":
        raise GrammarError("something follows a closing quote; inside quotes write the mark itself as \\' or \\\"")
    return prompt[tokens[0].start : tokens[-1].end]


def _rename(old: str, new: str) -> Rename:
    for name in (old, new):
        if not _IDENTIFIER.fullmatch(name):
            raise GrammarError(f"{name[:40]!r} is not an identifier (letters, digits and _)")
    if old == new:
        raise GrammarError("both identifiers are the same")
    return Rename(old, new)


def _path(path: str) -> str:
    parts = path.split("/")
    if not path or path.startswith("/") or not path.isprintable() or {"", ".", ".."} & set(parts):
        raise GrammarError(f"{path[:60]!r} is not a path inside the repository, such as docs/notes.txt")
    if any(part.lower() == ".git" for part in parts):
        raise GrammarError("files of git cannot be created")
    return path
