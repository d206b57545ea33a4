"""Events without secrets: what every text passes before it is written to the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import ChatMessage, ToolCall

Redact = Callable[[str], str]

_TEXTS: Final[Mapping[type[ev.Event], tuple[str, ...]]] = {
    ev.SessionStarted: ("prompt",),
    ev.SessionFinished: ("reason",),
    ev.StageFinished: ("detail",),
    ev.Message: ("text",),
    ev.Question: ("question", "options"),
    ev.Answer: ("text",),
    ev.Paused: ("reason",),
    ev.Error: ("message",),
    ev.AgentThinking: ("text",),
    ev.ModelFailed: ("reason",),
    ev.ModelReplied: ("text",),
    ev.ToolStarted: ("title", "arguments"),
    ev.ToolOutput: ("text",),
    ev.ToolFinished: ("text",),
    ev.Decision: ("comment",),
    ev.Verification: ("output",),
    ev.GitOperation: ("detail", "output"),
    ev.PrCreation: ("title", "body"),
}
"""The fields that people, models and programs fill with text. Ids, paths, trees and settings stay as they are."""

_E = TypeVar("_E", bound=ev.Event)


def masked(event: _E, redact: Redact) -> _E:
    """``event`` with placeholders for the secrets of its texts; itself where it holds none."""
    changed: dict[str, Any] = {}
    for field in _TEXTS.get(type(event), ()):
        value = getattr(event, field)
        if (hidden := _value(value, redact)) != value:
            changed[field] = hidden
    match event:
        case ev.ModelReplied(tool_calls=calls) if calls:
            changed["tool_calls"] = masked_calls(calls, redact)
        case ev.Decision(lines=lines, spot=spot) if lines and (spot is None or spot.kind == "text"):
            # As one text: a private key has several lines.
            changed["lines"] = tuple(redact("\n".join(lines)).split("\n"))
        case ev.StageFinished(stage="analyze", data=data):
            changed["data"] = _value(data, redact)
        case _:
            pass
    return replace(event, **changed) if changed else event


def masked_calls(calls: tuple[ToolCall, ...], redact: Redact) -> tuple[ToolCall, ...]:
    """Tool calls with placeholders for the secrets in their arguments."""
    return tuple(
        replace(call, arguments=_value(call.arguments, redact), problem=redact(call.problem)) for call in calls
    )


def masked_message(message: ChatMessage, redact: Redact) -> ChatMessage:
    """A message for a model without secrets."""
    return replace(message, text=redact(message.text), tool_calls=masked_calls(message.tool_calls, redact))


def _value(value: Any, redact: Redact) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            return {name: _named(name, inner, redact) for name, inner in value.items()}
        case list() | tuple():
            return type(value)(_value(inner, redact) for inner in value)
        case _:
            return value


def _named(name: str, value: Any, redact: Redact) -> Any:
    # A path must stay what it is: it names a file.
    return value if name in ("path", "to", "paths", "glob") else _value(value, redact)
