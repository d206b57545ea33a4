"""What a tool is: a name, a JSON schema, a validator and one function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from backspace_tui.core.protocols import Audit, CancelToken, OutputSink, Result, Sandbox, ToolSchema
from backspace_tui.core.redact import Redactor

TEXT_LIMIT: Final = 16_000
"""Characters of one tool result that a model gets; the middle of longer ones is left out and named."""


class ToolError(Exception):
    """The call cannot be done; the text tells the model why and what to do."""


class ToolOutcome(msgspec.Struct, frozen=True):
    """What the model is told, and what the changed paths hold now (``None``: nothing any more).

    ``touched`` is ``None`` where any path may have changed.
    """

    text: str
    ok: bool = True
    exit_code: int | None = None
    touched: Mapping[str, bytes | None] | None = {}


@dataclass(frozen=True)
class ToolContext:
    """What a tool works with. ``output`` takes a command's output as it comes; ``ask`` waits for the human.

    ``audits`` collects what the log keeps of the commands.
    """

    box: Sandbox
    redactor: Redactor
    cancel: CancelToken
    output: Callable[[str, bytes], None]
    ask: Callable[[str, tuple[str, ...]], str]
    audits: list[Audit] = field(default_factory=list)

    def run(
        self, command: str | Sequence[str], *, timeout: float | None = None, on_output: OutputSink | None = None
    ) -> Result:
        """Run a command in the sandbox until it ends or the user stops it."""
        result = self.box.run(command, timeout=timeout, on_output=on_output, cancel=self.cancel)
        self.note(result.audit)
        return result

    def look(self, command: Sequence[str], timeout: float) -> Result:
        """Run a short command of a tool's own.

        Raises:
            ToolError: the user stopped it.
        """
        result = self.run(command, timeout=timeout)
        if result.cancelled:
            raise ToolError("stopped by the user")
        return result

    def note(self, audit: Audit | None) -> None:
        """Keep what is known of a command for the log."""
        if audit is not None:
            self.audits.append(audit)


A = TypeVar("A", bound=msgspec.Struct)


class Tool(Generic[A]):
    """Base of all tools. ``Arguments`` is the struct that validates a call and makes the schema."""

    name: ClassVar[str]
    description: ClassVar[str]
    Arguments: type[A]
    ends_turn: ClassVar[bool] = False

    def title(self, arguments: A) -> str:
        """The call in one line, for the screen."""
        raise NotImplementedError

    def run(self, arguments: A, context: ToolContext) -> ToolOutcome:
        """Do it. Raises :class:`ToolError` for what the model can mend."""
        raise NotImplementedError

    def schema(self) -> ToolSchema:
        """The tool as a model sees it."""
        return ToolSchema(self.name, self.description, parameters(self.Arguments))

    def validate(self, arguments: Mapping[str, Any]) -> A:
        """Raises :class:`ToolError` naming the argument that is wrong, missing or unknown."""
        fields = msgspec.structs.fields(self.Arguments)
        known = {field.encode_name for field in fields}
        if unknown := sorted(set(arguments) - known):
            raise ToolError(f"{self.name} has no argument {unknown[0]!r}; it takes: {', '.join(sorted(known))}")
        # Many models write null for what they leave out, and numbers as text.
        optional = {field.encode_name for field in fields if not field.required}
        given = {name: value for name, value in arguments.items() if value is not None or name not in optional}
        try:
            return msgspec.convert(given, self.Arguments, strict=False)
        except msgspec.ValidationError as problem:
            raise ToolError(f"{self.name}: {problem}") from None


def parameters(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a struct, with nested structs inlined; what the validator alone needs to know is left out."""
    (root,), components = msgspec.json.schema_components([arguments], ref_template="{name}")
    schema = dict(_inline(root, components), additionalProperties=False)
    return schema if schema["required"] else {key: value for key, value in schema.items() if key != "required"}


_UNTOLD: Final = ("title", "default", "minLength", "minItems", "pattern", "exclusiveMinimum")


def _inline(node: Any, components: Mapping[str, Any]) -> Any:
    match node:
        case {"$ref": name}:
            return _inline(components[name], components)
        case {"anyOf": [kind, {"type": "null"}]}:
            return _inline(kind, components)
        case dict():
            # An argument may have the name of such a rule.
            kept = {key: _inline(value, components) for key, value in node.items() if key not in _UNTOLD}
            if "properties" in node:
                kept["properties"] = {name: _inline(one, components) for name, one in node["properties"].items()}
            return kept
        case list():
            return [_inline(value, components) for value in node]
        case _:
            return node


def check_path(path: str) -> str:
    """A path as tools take it, relative to the workspace; also in the form that :func:`shown` gives odd ones.

    Raises:
        ToolError: it is absolute elsewhere, leaves the workspace, or names git's own files.
    """
    path = _unquoted(path)
    cleaned = path.removeprefix("/workspace/").removeprefix("./").rstrip("/")
    parts = cleaned.split("/")
    if not cleaned or cleaned == "/workspace":
        return "."
    if cleaned.startswith("/") or ".." in parts or "\0" in cleaned:
        raise ToolError(f"{path!r} is outside the workspace; give a path relative to it, such as 'src/main.py'")
    if any(part.lower() == ".git" for part in parts):
        raise ToolError(f"{path!r} belongs to git; the program makes the commits itself")
    return "/".join(part for part in parts if part not in ("", ".")) or "."


def _unquoted(path: str) -> str:
    if len(path) > 2 and path[0] == path[-1] == '"':
        try:
            return str(json.loads(path))
        except ValueError:
            return path
    return path


def check_file(path: str) -> str:
    """As :func:`check_path`, for something that must be a file."""
    cleaned = check_path(path)
    if cleaned == ".":
        raise ToolError(f"{path!r} is the workspace itself; give the path of a file")
    return cleaned


def shown(path: str) -> str:
    """A path for a model or a screen: odd ones as JSON strings."""
    if path.isprintable() and not set(path) & set(':"\\'):
        return path
    return json.dumps(path)
