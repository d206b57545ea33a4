"""Finding files and text in the workspace."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backspace_tui.core.protocols import Result
from backspace_tui.core.terminal_text import clean
from backspace_tui.engine.tools.base import TEXT_LIMIT, Tool, ToolContext, ToolError, ToolOutcome, check_path, shown

LIST_LIMIT: Final = 500
SEARCH_LIMIT: Final = 200
HIT_LIMIT: Final = 500
"""Characters of one line with a hit that a model gets."""

LIST_SECONDS: Final = 10.0
SEARCH_SECONDS: Final = 30.0
_COLUMNS: Final = 4_000
_SKIPPED: Final = (".git", "node_modules", "__pycache__")
_KEY_FILE: Final = 256 << 10
_KEY_FILES: Final = 20
_KEY_LINE: Final = re.compile(r"[A-Za-z0-9+/=]{40,}")


class ListFilesArguments(msgspec.Struct, frozen=True):
    path: str = "."


class ListFiles(Tool[ListFilesArguments]):
    name = "list_files"
    description = f"List the files below a folder, at most {LIST_LIMIT}; larger folders are counted."
    Arguments = ListFilesArguments

    def title(self, arguments: ListFilesArguments) -> str:
        return f"list   {arguments.path}"

    def run(self, arguments: ListFilesArguments, context: ToolContext) -> ToolOutcome:
        path = check_path(arguments.path)
        start = "." if path == "." else f"./{path}"
        found, depth = _look(start, context)
        if found.timed_out:
            raise ToolError(f"listing {shown(path)} took too long; list a folder below")
        if found.exit_code != 0 and not found.stdout:
            raise ToolError(f"{arguments.path!r} is not a folder of the workspace")
        names = found.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
        if found.dropped:
            # The name that the gap is in, and those that it cut.
            names = [name for name in names if name.startswith(start) and "\n[... " not in name]
        # Of the folders only those that were not looked into.
        slashes = start.count("/") + (depth or 0)
        names = [name for name in names if not name.endswith("/") or name.count("/") == slashes + 1]
        names = [name.removeprefix("./") for name in names]
        # A file that is asked for is listed itself.
        lines = listing(names, "" if path in (".", *names) else path + "/")
        if depth is not None:
            lines.append("(there are more files further down; list a folder below)")
        return ToolOutcome("\n".join(lines) or "(no files)")


def _look(start: str, context: ToolContext) -> tuple[Result, int | None]:
    """What there is below a folder, and how many levels of it: as many as fit into what a command may print."""
    for depth in (None, 8, 5, 3, 2):
        found = _find(start, depth, context)
        if not found.dropped and not found.timed_out:
            return found, depth
    return _find(start, 1, context), 1


def _find(start: str, depth: int | None, context: ToolContext) -> Result:
    limit = [] if depth is None else ["-maxdepth", str(depth)]
    skipped = [word for name in _SKIPPED for word in ("-name", name, "-o")][:-1]
    files = ["(", "-type", "f", "-o", "-type", "l", ")", "-print0"]
    if depth is not None:
        files += ["-o", "-type", "d", "-exec", "printf", r"%s/\0", "{}", "+"]
    return context.look(["find", start, *limit, "(", *skipped, ")", "-prune", "-o", *files], LIST_SECONDS)


class _Folder:
    def __init__(self) -> None:
        self.files: list[str] = []
        self.folders: dict[str, _Folder] = {}
        self.count = 0


def listing(paths: Iterable[str], start: str = "", limit: int = LIST_LIMIT) -> list[str]:
    """The paths below the folder ``start`` in at most ``limit`` lines; folders that do not fit are counted instead.

    A path that ends with a slash is a folder of which nothing is known.
    """
    root = _Folder()
    for path in paths:
        at = root
        at.count += 1
        *folders, name = path.removeprefix(start).removesuffix("/").split("/")
        for folder in folders:
            at = at.folders.setdefault(folder, _Folder())
            at.count += 1
        at.files.append(name + "/" * path.endswith("/"))
    shut: dict[str, _Folder] = {}
    lines: list[str] = []
    level = [(start, root)]
    while level:
        below: list[tuple[str, _Folder]] = []
        for path, at in sorted(level, key=lambda one: one[0]):
            size = len(at.files) + len(at.folders)
            if path != start and len(lines) + len(shut) - 1 + size > limit:
                continue
            shut.pop(path, None)
            lines += [path + name for name in at.files]
            inside = {f"{path}{name}/": one for name, one in at.folders.items()}
            shut |= inside
            below += inside.items()
        level = below
    counted = {path: f"{shown(path)} ({folder.count} files)" for path, folder in shut.items()}
    result = [counted.get(path) or shown(path) for path in sorted([*lines, *counted])]
    more = len(result) - limit
    if more > 0:
        return [*result[:limit], f"({more} more; run_command with ls and a pattern shows them)"]
    return [*result, "(list a folder with a number of files for what is in it)"] if counted else result


class SearchArguments(msgspec.Struct, frozen=True):
    pattern: Annotated[str, Meta(min_length=1, description="regular expression")]
    glob: Annotated[str, Meta(description="files to look in, such as '*.py' or 'src/**'")] = ""


class Search(Tool[SearchArguments]):
    name = "search"
    description = f"Search the files, line by line. Gives path:line:text, at most {SEARCH_LIMIT}."
    Arguments = SearchArguments

    def title(self, arguments: SearchArguments) -> str:
        return f"search {arguments.pattern}" + (f" in {arguments.glob}" if arguments.glob else "")

    def run(self, arguments: SearchArguments, context: ToolContext) -> ToolOutcome:
        glob = arguments.glob.strip().removeprefix("/workspace/").removeprefix("./")
        pattern = context.redactor.restore(arguments.pattern)
        result = context.look(_ripgrep(pattern, glob), SEARCH_SECONDS)
        wanted = None
        if result.exit_code in (126, 127):
            wanted = _matcher(glob) if glob else None
            result = context.look(_grep(pattern), SEARCH_SECONDS)
        if result.exit_code not in (0, 1) and not result.stdout:
            raise ToolError(_failed(result))
        lines = [found for line in result.stdout.split(b"\n") if (found := _parsed(line)) is not None]
        if wanted is not None:
            lines = [line for line in lines if wanted.fullmatch(line[0])]
        return ToolOutcome(_report(sorted(lines, key=lambda line: line[0]), result, context))


def _ripgrep(pattern: str, glob: str) -> list[str]:
    # A folder stands for what is in it.
    globs = [f"--glob={glob}", f"--glob={glob.rstrip('/')}/**"] if glob else []
    return [
        "rg", "--null", "--line-number", "--no-heading", "--color=never", "--hidden", "--sort=path", "--engine=auto",
        "--crlf",
        f"--max-columns={_COLUMNS}", "--max-columns-preview", *globs, *(f"--glob=!{name}" for name in _SKIPPED),
        "-e", pattern, ".",
    ]  # fmt: skip


def _grep(pattern: str) -> list[str]:
    return ["grep", "-rnPIZ", *(f"--exclude-dir={name}" for name in _SKIPPED), "-e", pattern, "."]


def _matcher(glob: str) -> re.Pattern[str]:
    """What ripgrep takes a glob for: without a slash it is that of a name, and a folder stands for what is in it."""
    glob = glob.rstrip("/")
    parts = re.split(r"(\*\*/|\*\*|[*?{},]|\[[^\]/]+\])", glob.removeprefix("/"))
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if glob.count("{") == glob.count("}") == 1 and glob.index("{") < glob.index("}"):
        forms |= {"{": "(?:", ",": "|", "}": ")"}

    def form(part: str) -> str:
        return forms.get(part) or (fnmatch.translate(part)[4:-3] if part.startswith("[") else re.escape(part))

    text = "".join(map(form, parts))
    return re.compile(("" if "/" in glob else "(?:.*/)?") + f"(?s:{text})(?:/.*)?")


def _failed(result: Result) -> str:
    if result.timed_out:
        return f"the search took longer than {SEARCH_SECONDS:.0f} s; give a simpler pattern, or a glob"
    said = [line for line in clean(result.stderr).strip().split("\n") if line.strip()] or ["no reason given"]
    why = re.sub(r"^(?:rg: |grep: |error: |PCRE2: |error compiling pattern )*", "", said[-1])[:300]
    if "limit" in why:
        return f"the search failed: {why}; give a simpler pattern"
    if said[-1].startswith("grep: ") or any("parse error" in line or "compiling pattern" in line for line in said):
        return f"the search failed: the pattern is not valid: {why}; put a backslash before a character such as ( or ["
    return f"the search failed: {why}"


Hit = tuple[str, int, bytes]


def _parsed(line: bytes) -> Hit | None:
    """The path, the line's number and its text; ``None`` for what is no hit."""
    path, found, rest = line.partition(b"\0")
    number, _, text = rest.partition(b":")
    if not found or not number.isdigit() or len(number) > 15:
        return None
    return path.decode("utf-8", "surrogateescape").removeprefix("./"), int(number), text


def _report(hits: Sequence[Hit], result: Result, context: ToolContext) -> str:
    lines: list[str] = []
    room = TEXT_LIMIT - 200
    masked: dict[str, str] = {}
    for path, number, text in hits[:SEARCH_LIMIT]:
        line = f"{shown(path)}:{number}:{_shown(path, text, masked, context)[:HIT_LIMIT]}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    left = hits[len(lines) :]
    if left or result.dropped:
        files = len({path for path, _, _ in left})
        count = f"{len(left)}{' or' if result.dropped else ''} more" if left else "more"
        where = f" in {files} files" if files > 1 else ""
        lines.append(f"({count}{where}; narrow the pattern or give a glob)")
    if result.timed_out:
        lines.append(f"(stopped after {SEARCH_SECONDS:.0f} s: there may be more; give a simpler pattern, or a glob)")
    return "\n".join(lines) or "(no match)"


def _shown(path: str, text: bytes, masked: dict[str, str], context: ToolContext) -> str:
    """A hit's text; a line of base64 is left out where the whole file tells that it is part of a longer secret."""
    line = context.redactor.redact(clean(text.removesuffix(b"\r")).replace("\n", " "))
    bare = line.strip()
    if not _KEY_LINE.fullmatch(bare):
        return line
    if path not in masked and len(masked) < _KEY_FILES:
        try:
            masked[path] = context.redactor.redact(clean(context.box.read_file(path, _KEY_FILE)))
        except OSError:
            masked[path] = bare
    return line if bare in masked.get(path, bare) else "(part of a masked secret)"
