"""A repository's files and what they define, the most important first, in a bounded number of characters."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from backspace_tui.engine.tools.base import shown

LIMIT: Final = 5_400
"""Characters of an outline, about 1,500 tokens."""

_READ_FILES: Final = 300
_READ_BYTES: Final = 2_000_000
_PARSED: Final = 200_000
_SYMBOLS: Final = 12
_NAME: Final = 40
_FOR_SYMBOLS: Final = 0.75
"""The share of the outline that files with their symbols may take, so that room is left for the names of the others."""

Read = Callable[[str], bytes]

_W = r"([A-Za-z_$][\w$]{0,79})"
_PYTHON: Final = rf"^(?:async )?(?:def|class) {_W}"
_SCRIPT: Final = (
    rf"^(?:export )?(?:default )?(?:declare )?(?:abstract )?(?:async )?(?:function\*? |class |interface |type |enum |"
    rf"namespace ){_W}|^export (?:const|let|var) {_W}|"
    rf"^(?:const|let|var) {_W} {{0,4}}= {{0,4}}(?:async )?(?:function|\()|^(?:module\.)?exports\.{_W} {{0,4}}="
)
_GO: Final = rf"^func (?:\([^)\n]{{0,100}}\) )?{_W}|^type {_W}"
_RUST: Final = (
    rf"^(?:pub(?:\([^)\n]{{0,40}}\))? )?(?:async |unsafe |const |default ){{0,3}}"
    rf"(?:fn|struct|enum|trait|mod|type|union|static|const|macro_rules!) {_W}"
)
_JVM: Final = (
    rf"^ {{0,4}}(?:(?:public|private|protected|internal|static|final|abstract|sealed|partial|data|open|case|override) )"
    rf"{{0,5}}(?:class|interface|enum|record|struct|object|trait|fun|def) {_W}"
)
_C: Final = (
    rf"^(?:typedef )?(?:struct|class|enum(?: class)?|union|namespace) {_W}[^;\n]{{0,80}}$|^#define {_W}\("
    rf"|^(?!(?:else|return|if|for|while|switch|typedef|using)\b)[A-Za-z_][\w:<>,*& ]{{0,80}}?[ *&]{_W}\("
    r"[^;\n]{0,200}$"
)
_RUBY: Final = r"^ {0,2}(?:class|module|def) (?:self\.)?([A-Za-z_][\w:]{0,79})"
_PHP: Final = rf"^ {{0,4}}(?:abstract |final )?(?:class|interface|trait|enum|function) {_W}"
_SHELL: Final = rf"^(?:function )?{_W} {{0,2}}\(\)|^function {_W}"
_SWIFT: Final = (
    rf"^(?:(?:public|private|internal|open|final|fileprivate) ){{0,3}}(?:class|struct|enum|protocol|func|actor|"
    rf"extension) {_W}"
)
_LUA: Final = r"^(?:local )?function ([A-Za-z_][\w.:]{0,79})"
_ELIXIR: Final = r"^ {0,2}(?:defmodule|def|defmacro) ([A-Za-z_][\w.!?]{0,79})"
_HASKELL: Final = rf"^{_W} ::|^(?:data|newtype|type|class) {_W}"
_FORMS: Final = {
    suffix: re.compile(form, re.M)
    for suffixes, form in (
        ("py pyi", _PYTHON), ("js mjs cjs jsx ts tsx mts cts vue svelte", _SCRIPT), ("go", _GO), ("rs", _RUST),
        ("java kt kts scala cs groovy dart", _JVM), ("c h cc cpp cxx hpp hh m", _C), ("rb", _RUBY), ("php", _PHP),
        ("sh bash zsh", _SHELL), ("swift", _SWIFT), ("lua", _LUA), ("ex exs", _ELIXIR), ("hs", _HASKELL),
    )
    for suffix in suffixes.split()
}  # fmt: skip
_IMPORT: Final = re.compile(
    r"^[ \t]{0,8}(?:from|import|use|mod|require|require_relative|include|#include|export|alias|using|source)\b"
    r"[^\n]{0,200}|\b(?:require|import)\([^\n)]{0,120}",
    re.M,
)
_WORD: Final = re.compile(r"[A-Za-z_][\w-]{1,60}")

_TESTS: Final = re.compile(r"(?:^|[/_.-])(?:tests?|specs?|testing|__tests__|fixtures?|testdata)(?:[/_.-]|$)", re.I)
_ASIDE: Final = re.compile(
    r"(?:^|/)(?:docs?|examples?|samples?|benchmarks?|scripts|migrations|locales?|i18n|assets|static|public)/", re.I
)
_FOREIGN: Final = re.compile(
    r"(?:^|/)(?:vendor|third_party|thirdparty|node_modules|dist|build|out|generated|\.[^/]+)/|"
    r"\.min\.|_pb2|\.pb\.|\.generated\.|\.d\.ts$|\.lock$",
    re.I,
)
_ENTRY: Final = {"main", "__main__", "app", "cli", "index", "server", "lib", "core", "api", "models", "routes", "views"}


def outline(paths: Iterable[str], read: Read, limit: int = LIMIT) -> str:
    """At most ``limit`` characters that tell which files there are and what the most important ones define.

    First ``PATH: names`` of source files, those first that look most central and that others import; then the names of
    the other files by folder, and where they do not fit, how many there are. ``read`` gives a file's content.
    """
    paths = list(paths)
    ranked = sorted((path for path in paths if _suffix(path) in _FORMS), key=lambda path: (-_rank(path), path))
    texts = _texts(ranked, read)
    used = _uses(texts)
    ranks = {path: _rank(path) + 1.5 * math.log2(1 + used[_module(path)]) for path in texts}
    lines: list[str] = []
    room = int(limit * _FOR_SYMBOLS)
    told = set()
    for path in sorted(ranks, key=lambda path: (-ranks[path], path)):
        names = symbols(path, texts[path])
        line = f"{shown(path)}: {', '.join(names)}"
        if not names or len(line) >= room:
            continue
        room -= len(line) + 1
        lines.append(line)
        told.add(path)
    rest = [path for path in paths if path not in told]
    return "\n".join([*lines, *_folders(rest, limit - sum(len(line) + 1 for line in lines))])


def symbols(path: str, text: str) -> list[str]:
    """The names that a file defines at its top level, as far as patterns of its language find them."""
    form = _FORMS.get(_suffix(path))
    if form is None or _is_generated(text):
        return []
    found = ("".join(name for name in match.groups() if name) for match in form.finditer(text[:_PARSED]))
    names = list(dict.fromkeys(name[:_NAME] for name in found if name))
    public = [name for name in names if not name.startswith("_")] or names
    more = len(public) - _SYMBOLS
    return [*public[:_SYMBOLS], f"{more} more"] if more > 0 else public


def _is_generated(text: str) -> bool:
    lines = text.count("\n") + 1
    return len(text) > 2_000 and len(text) / lines > 300


def _suffix(path: str) -> str:
    return path.rpartition(".")[2].lower() if "." in path else ""


def _module(path: str) -> str:
    """The name that others import a file by."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0]
    return folder.rpartition("/")[2] if stem in ("__init__", "index", "mod") and folder else stem


def _rank(path: str) -> float:
    """How central a file looks by its path alone."""
    rank = 4.0 - path.count("/")
    if _module(path) in _ENTRY:
        rank += 1.5
    if _ASIDE.search(path):
        rank -= 4
    if _TESTS.search(path):
        rank -= 6
    if _FOREIGN.search(path):
        rank -= 20
    return rank


def _texts(ranked: Sequence[str], read: Read) -> dict[str, str]:
    """The first files of the order with their text, as many as may be read."""
    texts: dict[str, str] = {}
    left = _READ_BYTES
    for path in ranked[:_READ_FILES]:
        data = read(path)[:_PARSED]
        left -= len(data)
        if left < 0:
            break
        texts[path] = data.decode("utf-8", "replace")
    return texts


def _uses(texts: dict[str, str]) -> Counter[str]:
    """In how many files each name stands in an import."""
    modules = {_module(path) for path in texts}
    used: Counter[str] = Counter()
    for path, text in texts.items():
        words = {word for line in _IMPORT.findall(text) for word in _WORD.findall(line)}
        used.update(words & modules - {_module(path)})
    return used


def _folders(paths: Sequence[str], limit: int) -> list[str]:
    """The files by folder, the upper folders first; where names do not fit, their number."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    lines: list[str] = []
    room = limit - 120
    order = sorted(folders, key=lambda folder: (bool(_FOREIGN.search(folder + "/")), folder.count("/"), folder))
    for number, folder in enumerate(order):
        names = sorted(folders[folder])
        head = f"{shown(folder) + '/' if folder else './'}: "
        listed = ", ".join(map(shown, names)) if len(names) <= 40 else ""
        line = head + (listed if listed and len(listed) < room / 3 else f"{len(names)} other files")
        if len(line) >= room:
            left = sum(len(folders[other]) for other in order[number:])
            return [*lines, f"({left} more files in {len(order) - number} folders; list_files shows them)"]
        room -= len(line) + 1
        lines.append(line)
    return lines
