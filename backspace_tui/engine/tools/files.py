"""Reading and writing files in the workspace."""

from __future__ import annotations

import errno
import re
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
    shown,
)
from backspace_tui.engine.tools.find import SEARCH_SECONDS
from backspace_tui.engine.tools.matching import NoPlace, replace
from backspace_tui.engine.tools.nearest import difference
from backspace_tui.engine.tools.view import LINE_LIMIT, READ_LIMIT, Part, describe, is_binary, part, split, view

READ_BYTES: Final = 2 << 20
"""Of a larger file only the lines that are wanted leave the sandbox."""

EDIT_BYTES: Final = 16 << 20
"""Larger files are not edited by matching."""


class ReadFileArguments(msgspec.Struct, frozen=True):
    path: str
    start_line: Annotated[int, Meta(ge=1)] = 1
    end_line: int | None = None


class ReadFile(Tool[ReadFileArguments]):
    name = "read_file"
    description = "Read lines of a text file; path as list_files shows it. Gives NUMBER, tab, text."
    Arguments = ReadFileArguments

    def title(self, arguments: ReadFileArguments) -> str:
        return f"read   {arguments.path}"

    def run(self, arguments: ReadFileArguments, context: ToolContext) -> ToolOutcome:
        found = _part(check_file(arguments.path), arguments.start_line, arguments.end_line, context)
        return ToolOutcome(found if isinstance(found, str) else describe(*found))


class ReadFilesArguments(msgspec.Struct, frozen=True):
    paths: Annotated[list[str], Meta(min_length=1, max_length=20)]


class ReadFiles(Tool[ReadFilesArguments]):
    name = "read_files"
    description = "Read several text files, at most 20 at once; long ones in part."
    Arguments = ReadFilesArguments

    def title(self, arguments: ReadFilesArguments) -> str:
        return f"read   {', '.join(arguments.paths)}"

    def run(self, arguments: ReadFilesArguments, context: ToolContext) -> ToolOutcome:
        parts = {}
        for name in dict.fromkeys(arguments.paths):
            try:
                parts[name] = _part(check_file(name), 1, None, context)
            except ToolError as problem:
                parts[name] = f"{name}: {problem}"
        # What short files leave of their share goes to the longer ones.
        texts = {name: found if isinstance(found, str) else describe(*found) for name, found in parts.items()}
        room = TEXT_LIMIT - 2 * len(texts)
        for left, name in zip(range(len(texts), 0, -1), sorted(texts, key=lambda one: len(texts[one])), strict=True):
            found, share = parts[name], room // left
            if len(texts[name]) > share:
                texts[name] = clip(found, share) if isinstance(found, str) else describe(*found, share)
            room -= len(texts[name])
        return ToolOutcome("\n\n".join(texts.values()))


def _part(path: str, start: int, end: int | None, context: ToolContext) -> tuple[str, Part] | str:
    """The lines of a file that are wanted, or why there are none to show."""
    data = _small(path, context)
    if data is None:
        return _part_of_large(path, start, end, context)
    if is_binary(data):
        return f"{shown(path)} is binary, {len(data)} bytes"
    return path, part(path, data, start, end, context.redactor)


def _small(path: str, context: ToolContext) -> bytes | None:
    try:
        return context.box.read_file(path, READ_BYTES)
    except OSError as problem:
        if problem.errno == errno.EFBIG:
            return None
        raise unreadable(path, problem) from None


_LARGE: Final = (
    'wc -lc <"$1" && tail -c 1 <"$1" | wc -l && head -c 8000 <"$1" | tr -d "\\0" | wc -c && '
    'sed -n "$2,$3p;$3q" <"$1" | cut -b "1-$4" | head -c 1000000'
)
_COUNTS: Final = re.compile(rb"\s*\d{1,15}\s+\d{1,15}\s+\d{1,15}\s*")
_BEFORE: Final = 100
"""Lines before those wanted of a large file in which a secret of several lines may begin."""


def _part_of_large(path: str, start: int, end: int | None, context: ToolContext) -> tuple[str, Part] | str:
    """As :func:`_part`; little more than the wanted lines leaves the sandbox."""
    last = start + READ_LIMIT - 1
    last = min(last, end) if end and end > 0 else last
    first = max(1, start - _BEFORE)
    script = ["sh", "-c", _LARGE, "sh", f"./{path}", str(first), str(max(first, last)), str(2 * LINE_LIMIT)]
    result = context.look(script, SEARCH_SECONDS)
    sizes, ended, printable, text = [*result.stdout.split(b"\n", 3), b"", b"", b""][:4]
    # Whatever answers to these names in the sandbox is the agent's: anything may come back.
    if result.exit_code != 0 or not _COUNTS.fullmatch(sizes + b" " + printable):
        raise ToolError(f"{shown(path)} is too large to read at once; use run_command with head, tail or sed")
    count, size = (int(number) for number in sizes.split())
    if int(printable) < 8000:
        return f"{shown(path)} is binary, {size} bytes"
    ends = ended.strip() == b"1"
    count += not ends
    lines, _ = split(text)
    last = min(count, last, first + len(lines) - 1)
    if start > last:
        raise ToolError(f"{shown(path)} has {count} lines; lines {start} to {end or 'the end'} are not there")
    wanted = [(number, line) for number, line in view(lines, context.redactor, first) if start <= number <= last]
    crlf = all(line.endswith(b"\r") for line in lines[start - first : last - first])
    return path, Part(wanted, start, last, count, crlf and start < last, ends)


class WriteFileArguments(msgspec.Struct, frozen=True):
    path: str
    content: str


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
    path: str
    old: Annotated[str, Meta(description="copied from the file, with enough lines around to be unique")]
    new: Annotated[str, Meta(description="what takes its place")]
    replace_all: bool = False


class EditFile(Tool[EditFileArguments]):
    name = "edit_file"
    description = "Replace text in one place of a file, or everywhere with replace_all."
    Arguments = EditFileArguments

    def title(self, arguments: EditFileArguments) -> str:
        return f"edit   {arguments.path}"

    def run(self, arguments: EditFileArguments, context: ToolContext) -> ToolOutcome:
        path = check_file(arguments.path)
        data = read(path, EDIT_BYTES, context)
        old, new = context.redactor.restore(arguments.old), context.redactor.restore(arguments.new)
        try:
            edit = replace(data, old, new, replace_all=arguments.replace_all, path=shown(path))
        except NoPlace as problem:
            seen = view(split(data)[0], context.redactor) if len(data) <= READ_BYTES else []
            raise ToolError(f"{problem}. {difference(seen, arguments.old)}".rstrip(". ") + f"\n{_AGAIN}") from None
        store(path, edit.data, context)
        text = f"edited {shown(path)} at line {edit.line}" + (f", {edit.places} places" if edit.places > 1 else "")
        return ToolOutcome(text + (f"\n({edit.note})" if edit.note else ""), touched={path: edit.data})


_AGAIN: Final = "Nothing was changed: read the file again, and copy old from it exactly."


class MoveFileArguments(msgspec.Struct, frozen=True):
    path: str
    to: str


class MoveFile(Tool[MoveFileArguments]):
    name = "move_file"
    description = "Move or rename a file or folder; nothing may be at the new path."
    Arguments = MoveFileArguments

    def title(self, arguments: MoveFileArguments) -> str:
        return f"move   {arguments.path} to {arguments.to}"

    def run(self, arguments: MoveFileArguments, context: ToolContext) -> ToolOutcome:
        path, to = check_file(arguments.path), check_file(arguments.to)
        if f"{to}/".startswith(f"{path}/"):
            raise ToolError(f"cannot move {shown(path)} to {shown(to)}: that is the same, or inside it")
        result = context.look(["sh", "-c", _MOVE, "sh", f"./{path}", f"./{to}"], SEARCH_SECONDS)
        if result.exit_code != 0:
            why = clean(result.stderr).strip() or "the first must exist and the second must not"
            raise ToolError(f"cannot move {shown(path)} to {shown(to)}: {why}")
        return ToolOutcome(f"moved {shown(path)} to {shown(to)}", touched=None)


# As with writing, nothing goes through a link to a folder: what it leads to may be outside.
_MOVE: Final = """
set -e
test -e "$1" -o -L "$1"
test ! -e "$2" -a ! -L "$2"
for at in "$1" "$2"; do
    at=$(dirname -- "$at")
    while [ "$at" != . ]; do
        if [ -L "$at" ]; then echo "$at is a symbolic link" >&2; exit 1; fi
        at=$(dirname -- "$at")
    done
done
mkdir -p -- "$(dirname -- "$2")"
mv -- "$1" "$2"
"""


class DeleteFileArguments(msgspec.Struct, frozen=True):
    path: str


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
        except IsADirectoryError as problem:
            raise ToolError(f"cannot delete {shown(path)}: {problem.strerror}; use run_command with rm -r") from None
        except OSError as problem:
            raise ToolError(f"cannot delete {shown(path)}: {problem.strerror or problem}") from None
        return ToolOutcome(f"deleted {shown(path)}", touched={path: None})


def read(path: str, limit: int, context: ToolContext) -> bytes:
    """A file's bytes. Raises :class:`ToolError` where there is none, or too large a one."""
    try:
        return context.box.read_file(path, limit)
    except OSError as problem:
        raise unreadable(path, problem) from None


def unreadable(path: str, problem: OSError) -> ToolError:
    """What a model is told of a file that cannot be read."""
    if isinstance(problem, FileNotFoundError):
        return ToolError(f"there is no file {shown(path)}; list_files shows what there is")
    if isinstance(problem, IsADirectoryError):
        return ToolError(f"{shown(path)} is a folder; list_files shows what is in it")
    if problem.errno == errno.EFBIG:
        return ToolError(f"{shown(path)} is too large for this tool; use run_command, with sed or a script")
    return ToolError(f"cannot read {shown(path)}: {problem.strerror or problem}")


def write(path: str, content: str, context: ToolContext) -> bytes:
    """Write text, with masked secrets put back. Raises :class:`ToolError` where a folder is in the way."""
    try:
        data = context.redactor.restore(content).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ToolError("the content holds an unpaired surrogate, which is no text") from None
    store(path, data, context)
    return data


def store(path: str, data: bytes, context: ToolContext) -> None:
    """Write bytes. Raises :class:`ToolError` where a folder or a link is in the way."""
    try:
        context.box.write_file(path, data)
    except OSError as problem:
        raise ToolError(f"cannot write {shown(path)}: {problem.strerror or problem}") from None
