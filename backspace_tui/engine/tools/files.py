"""Reading, searching and writing files in the workspace."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.engine.tools.base import (
    TEXT_LIMIT,
    Tool,
    ToolContext,
    ToolError,
    ToolOutcome,
    check_file,
    check_path,
    shown,
)
from backspace_tui.engine.tools.matching import replace

LIST_LIMIT: Final = 500
SEARCH_LIMIT: Final = 200
LINE_LIMIT: Final = 500
READ_LIMIT: Final = 2_000

Path = Annotated[str, Meta(description="relative to the workspace, as list_files shows it")]


class ListFilesArguments(msgspec.Struct, frozen=True):
    path: Annotated[str, Meta(description="a folder; the whole workspace when left out")] = "."


class ListFiles(Tool[ListFilesArguments]):
    name = "list_files"
    description = f"List files below a folder, at most {LIST_LIMIT}."
    Arguments = ListFilesArguments

    def title(self, arguments: ListFilesArguments) -> str:
        return f"list   {arguments.path}"

    def run(self, arguments: ListFilesArguments, context: ToolContext) -> ToolOutcome:
        path = check_path(arguments.path)
        start = "." if path == "." else f"./{path}"
        found = context.run(
            ["find", start, "-name", ".git", "-prune", "-o", "(", "-type", "f", "-o", "-type", "l", ")", "-print0"],
        )
        if found.exit_code != 0 and not found.stdout:
            raise ToolError(f"{arguments.path!r} is not a folder of the workspace")
        paths = sorted(name.removeprefix("./") for name in found.stdout.decode("utf-8", "surrogateescape").split("\0"))
        paths = [name for name in paths if name and "__pycache__" not in name and "node_modules/" not in name]
        text = "\n".join(shown(name) for name in paths[:LIST_LIMIT])
        if len(paths) > LIST_LIMIT:
            text += f"\n({len(paths) - LIST_LIMIT} more; list a folder below)"
        return ToolOutcome(text or "(no files)")


class ReadFileArguments(msgspec.Struct, frozen=True):
    path: Path
    start_line: Annotated[int, Meta(ge=1, description="first line, from 1")] = 1
    end_line: Annotated[int | None, Meta(description="last line, included")] = None


class ReadFile(Tool[ReadFileArguments]):
    name = "read_file"
    description = f"Read a text file, at most {READ_LIMIT} lines at once. Lines come as NUMBER, tab, text."
    Arguments = ReadFileArguments

    def title(self, arguments: ReadFileArguments) -> str:
        return f"read   {arguments.path}"

    def run(self, arguments: ReadFileArguments, context: ToolContext) -> ToolOutcome:
        path = check_file(arguments.path)
        return ToolOutcome(numbered(path, read(path, context), arguments.start_line, arguments.end_line, context))


class ReadFilesArguments(msgspec.Struct, frozen=True):
    paths: Annotated[list[str], Meta(min_length=1, max_length=20)]


class ReadFiles(Tool[ReadFilesArguments]):
    name = "read_files"
    description = "Read several text files, at most 20 at once."
    Arguments = ReadFilesArguments

    def title(self, arguments: ReadFilesArguments) -> str:
        return f"read   {', '.join(arguments.paths)}"

    def run(self, arguments: ReadFilesArguments, context: ToolContext) -> ToolOutcome:
        parts = []
        for name in arguments.paths:
            try:
                path = check_file(name)
                parts.append(clip(numbered(path, read(path, context), 1, None, context), TEXT_LIMIT // 2))
            except ToolError as problem:
                parts.append(f"{name}: {problem}")
        return ToolOutcome("\n\n".join(parts))


class SearchArguments(msgspec.Struct, frozen=True):
    pattern: Annotated[str, Meta(min_length=1, description="a regular expression")]
    glob: Annotated[str, Meta(description="only files whose path matches, such as '*.py'")] = ""


class Search(Tool[SearchArguments]):
    name = "search"
    description = f"Search the files for a regular expression. Hits come as path:line:text, at most {SEARCH_LIMIT}."
    Arguments = SearchArguments

    def title(self, arguments: SearchArguments) -> str:
        return f"search {arguments.pattern}" + (f" in {arguments.glob}" if arguments.glob else "")

    def run(self, arguments: SearchArguments, context: ToolContext) -> ToolOutcome:
        glob, pattern = arguments.glob, arguments.pattern
        result = context.run(
            ["rg", "--null", "--line-number", "--no-heading", "--color=never", "--hidden", "--sort=path",
             "--glob=!.git", *([f"--glob={glob}"] if glob else []), "-e", pattern, "."],
        )  # fmt: skip
        if result.exit_code in (126, 127):
            result = context.run(
                ["grep", "-rnPIZ", "--exclude-dir=.git", *([f"--include={glob}"] if glob else []), "-e", pattern, "."],
            )
        if result.exit_code not in (0, 1) and not result.stdout:
            raise ToolError(f"the search failed: {clean(result.stderr).strip()[:300]}")
        hits = [hit for line in result.stdout.split(b"\n") if (hit := _hit(line, context))]
        text = "\n".join(hits[:SEARCH_LIMIT])
        if len(hits) > SEARCH_LIMIT or result.dropped:
            text += f"\n({max(0, len(hits) - SEARCH_LIMIT)} more; narrow the pattern or give a glob)"
        return ToolOutcome(text or "(no match)")


def _hit(line: bytes, context: ToolContext) -> str:
    path, found, rest = line.partition(b"\0")
    if not found:
        return ""
    number, _, text = rest.partition(b":")
    name = path.decode("utf-8", "surrogateescape").removeprefix("./")
    cleaned = context.redactor.redact(clean(text).rstrip("\n"))
    return f"{shown(name)}:{number.decode()}:{cleaned[:LINE_LIMIT]}"


class WriteFileArguments(msgspec.Struct, frozen=True):
    path: Path
    content: Annotated[str, Meta(description="the whole new content")]


class WriteFile(Tool[WriteFileArguments]):
    name = "write_file"
    description = "Create a file or replace its whole content."
    Arguments = WriteFileArguments

    def title(self, arguments: WriteFileArguments) -> str:
        return f"write  {arguments.path}"

    def run(self, arguments: WriteFileArguments, context: ToolContext) -> ToolOutcome:
        path = check_file(arguments.path)
        data = write(path, arguments.content, context)
        return ToolOutcome(f"wrote {shown(path)}, {len(data)} bytes", touched={path: data})


class WriteFilesArguments(msgspec.Struct, frozen=True):
    files: Annotated[list[WriteFileArguments], Meta(min_length=1, max_length=50)]


class WriteFiles(Tool[WriteFilesArguments]):
    name = "write_files"
    description = "Create or replace several files."
    Arguments = WriteFilesArguments

    def title(self, arguments: WriteFilesArguments) -> str:
        return f"write  {', '.join(file.path for file in arguments.files)}"

    def run(self, arguments: WriteFilesArguments, context: ToolContext) -> ToolOutcome:
        paths = [check_file(file.path) for file in arguments.files]
        touched: dict[str, bytes | None] = {}
        for path, file in zip(paths, arguments.files, strict=True):
            try:
                touched[path] = write(path, file.content, context)
            except ToolError as problem:
                done = f"; wrote {', '.join(map(shown, touched))} before that" if touched else ""
                return ToolOutcome(f"{problem}{done}", ok=False, touched=touched)
        return ToolOutcome("wrote " + ", ".join(shown(path) for path in paths), touched=touched)


class EditFileArguments(msgspec.Struct, frozen=True):
    path: Path
    old: Annotated[str, Meta(description="text that stands in the file, with enough lines around to be unique")]
    new: Annotated[str, Meta(description="what stands there afterwards")]
    replace_all: bool = False


class EditFile(Tool[EditFileArguments]):
    name = "edit_file"
    description = "Replace text in a file. It must match one place exactly, or every place with replace_all."
    Arguments = EditFileArguments

    def title(self, arguments: EditFileArguments) -> str:
        return f"edit   {arguments.path}"

    def run(self, arguments: EditFileArguments, context: ToolContext) -> ToolOutcome:
        path = check_file(arguments.path)
        data = read(path, context)
        old, new = context.redactor.restore(arguments.old), context.redactor.restore(arguments.new)
        changed, count = replace(data, old, new, replace_all=arguments.replace_all, path=shown(path))
        store(path, changed, context)
        text = f"edited {shown(path)}" + (f", {count} places" if count > 1 else "")
        return ToolOutcome(text, touched={path: changed})


class MoveFileArguments(msgspec.Struct, frozen=True):
    path: Path
    to: Annotated[str, Meta(description="the new path")]


class MoveFile(Tool[MoveFileArguments]):
    name = "move_file"
    description = "Move or rename a file."
    Arguments = MoveFileArguments

    def title(self, arguments: MoveFileArguments) -> str:
        return f"move   {arguments.path} to {arguments.to}"

    def run(self, arguments: MoveFileArguments, context: ToolContext) -> ToolOutcome:
        path, to = check_file(arguments.path), check_file(arguments.to)
        checks = 'set -e; test -e "$1" -o -L "$1"; test ! -e "$2" -a ! -L "$2"'
        script = f'{checks}; mkdir -p -- "$(dirname -- "$2")"; mv -- "$1" "$2"'
        result = context.run(["sh", "-c", script, "sh", f"./{path}", f"./{to}"])
        if result.exit_code != 0:
            why = clean(result.stderr).strip() or "the first must exist and the second must not"
            raise ToolError(f"cannot move {shown(path)} to {shown(to)}: {why}")
        return ToolOutcome(f"moved {shown(path)} to {shown(to)}", touched=None)


class DeleteFileArguments(msgspec.Struct, frozen=True):
    path: Path


class DeleteFile(Tool[DeleteFileArguments]):
    name = "delete_file"
    description = "Delete a file."
    Arguments = DeleteFileArguments

    def title(self, arguments: DeleteFileArguments) -> str:
        return f"delete {arguments.path}"

    def run(self, arguments: DeleteFileArguments, context: ToolContext) -> ToolOutcome:
        path = check_file(arguments.path)
        try:
            context.box.delete_file(path)
        except OSError as problem:
            raise ToolError(f"cannot delete {shown(path)}: {problem.strerror or problem}") from None
        return ToolOutcome(f"deleted {shown(path)}", touched={path: None})


def read(path: str, context: ToolContext) -> bytes:
    """A file's bytes. Raises :class:`ToolError` where there is none."""
    try:
        return context.box.read_file(path)
    except FileNotFoundError:
        raise ToolError(f"there is no file {shown(path)}; list_files shows what there is") from None
    except IsADirectoryError:
        raise ToolError(f"{shown(path)} is a folder; list_files shows what is in it") from None
    except OSError as problem:
        raise ToolError(f"cannot read {shown(path)}: {problem.strerror or problem}") from None


def write(path: str, content: str, context: ToolContext) -> bytes:
    """Write text, with masked secrets put back. Raises :class:`ToolError` where a folder is in the way."""
    data = context.redactor.restore(content).encode("utf-8", "surrogateescape")
    store(path, data, context)
    return data


def store(path: str, data: bytes, context: ToolContext) -> None:
    """Write bytes. Raises :class:`ToolError` where a folder or a link is in the way."""
    try:
        context.box.write_file(path, data)
    except OSError as problem:
        raise ToolError(f"cannot write {shown(path)}: {problem.strerror or problem}") from None


def numbered(path: str, data: bytes, start: int, end: int | None, context: ToolContext) -> str:
    """The text form of a file: a header, then its lines with numbers, and how it ends when that is unusual."""
    if b"\0" in data[:8000]:
        return f"{shown(path)} is binary, {len(data)} bytes"
    lines = data.split(b"\n")
    ends = lines[-1] == b""
    if ends:
        lines.pop()
    last = min(len(lines), end or len(lines), start + READ_LIMIT - 1)
    if start > max(last, 1):
        raise ToolError(f"{shown(path)} has {len(lines)} lines; lines {start} to {end or 'the end'} are not there")
    crlf = " (CRLF)" if lines and all(line.endswith(b"\r") for line in lines[: len(lines) if ends else -1]) else ""
    header = f"{shown(path)} lines {start}-{last} of {len(lines)}{crlf}"
    text = [context.redactor.redact(clean(line.removesuffix(b"\r"))) for line in lines[start - 1 : last]]
    body = "".join(f"\n{number}\t{line}" for number, line in enumerate(text, start))
    tail = "\n\\ No newline at end of file" if lines and last == len(lines) and not ends else ""
    if last < len(lines):
        tail = f"\n({len(lines) - last} more lines; read on from start_line {last + 1})"
    return header + body + tail
