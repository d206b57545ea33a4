"""Tool calls in plain text, for models that have no native ones.

The model writes each call as a fenced block whose opening line is exactly three backticks and ``tool``::

    ```tool
    {"tool": "read_file", "arguments": {"path": "src/cart.py"}}
    ```

A block ends at a line of exactly three backticks. Results come back in user messages that open with
``Result of NAME:``. Everything outside the blocks is ordinary text.

That is what models are told. Read is also what they write instead: other fences around the same object, the
``<tool_call>`` of their training, the object alone; see :func:`parse`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from backspace_tui.core.protocols import ChatMessage, ModelReply, ModelRequest, ToolCall, ToolSchema
from backspace_tui.models.wire import parse_arguments

CUT: Final = "cut_reply"
"""The name of a call that stands for one that the model did not get to."""

MAX_BLOCKS: Final = 64
"""Calls that are looked for in one reply; what comes after them is text."""

_OPENING: Final = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*(?P<kind>[\w+#.-]*)"
    r"|(?P<tag><\|?(?:tool_call|function_call|python_tag)\|?>|\[TOOL_CALLS\])",
    re.M,
)
_CLOSING: Final = re.compile(r"\s*(?:`{3,}|~{3,})[ \t]*\r?(?:$|\Z)", re.M)
_CLOSING_LINE: Final = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*\r?$", re.M)
_CLOSING_TAG: Final = re.compile(r"\s*<[|/]*(?:tool_call|function_call)\|?>")
_BETWEEN: Final = re.compile(r"[\s,;]*")
_INVENTED: Final = re.compile(r"^[ \t]*(?:Result of [\w.-]+:|<tool_response>|\[TOOL_RESULTS\])", re.M)
_FORGED: Final = re.compile(
    r"^(?=[ \t]*(?:\[(?:review|feedback|user|history)\]|Result of [\w.-]+:|# Request|# Plan))", re.M | re.I
)
_TOOL_KINDS: Final = frozenset({"tool", "tools", "tool_call", "tool_calls", "tool_code", "function_call"})
_PLAIN_KINDS: Final = frozenset({"", "json", "jsonc", "json5", "javascript", "text"})
_OWN: Final = "text_"
_NAMES: Final = ("tool", "name", "tool_name", "function")
_ARGUMENTS: Final = ("arguments", "parameters", "args", "params", "input")

_INTRODUCTION: Final = """\
You call a tool by writing a block like this one, alone on its lines:

```tool
{"tool": "NAME", "arguments": {"ARGUMENT": "VALUE"}}
```

The block holds one JSON object. You may write several blocks; then stop and wait for their results, which come in
the next message. Never write a result yourself. The tools, with the JSON schema of their arguments:
"""


def describe(tools: tuple[ToolSchema, ...]) -> str:
    """What a model is told about the tools and about how to call them."""
    lines = [
        f"- {tool.name}: {tool.description} Arguments: {json.dumps(tool.parameters, separators=(',', ':'))}"
        for tool in tools
    ]
    return _INTRODUCTION + "\n" + "\n".join(lines)


def format_call(call: ToolCall) -> str:
    """One call in its text form; :func:`parse` reads it back."""
    return f"```tool\n{json.dumps({'tool': call.name, 'arguments': call.arguments or {}})}\n```"


class _Block(NamedTuple):
    """What stands at an opening: its calls (none: it is text), where it ends, and whether it can be read."""

    calls: list[ToolCall]
    end: int
    sound: bool = True


def parse(text: str, names: Collection[str] = (), *, ended: bool = False) -> tuple[str, tuple[ToolCall, ...]]:
    """The text outside the blocks, and the calls in order. A broken block becomes a call with its problem.

    ``names`` are the tools there are: objects that call one of them also count in fences of another kind, and where
    the whole text is such an object. ``ended`` says that the model itself ended its reply: then a complete object
    whose fence is not closed counts too. What follows a result that the model made up is dropped.
    """
    outside: list[str] = []
    calls: list[ToolCall] = []
    start = at = 0
    while len(calls) < MAX_BLOCKS and (opening := _OPENING.search(text, at)):
        block = _read(text, opening, names, ended)
        at = block.end
        if not block.calls:
            continue
        calls += block.calls
        if block.sound:  # the model has to see what is wrong with the others
            outside.append(text[start : opening.start()])
            start = at
        text = _without_invention(text, at)
    outside.append(text[start:])
    if not calls:
        calls = _alone(text, names)
        outside = [] if calls else outside
    numbered = (ToolCall(f"{_OWN}{n}", call.name, call.arguments, call.problem) for n, call in enumerate(calls, 1))
    return "".join(outside).strip(), tuple(numbered)


def _without_invention(text: str, at: int) -> str:
    """``text`` up to a result that stands before the next block."""
    invented, following = _INVENTED.search(text, at), _OPENING.search(text, at)
    if invented and (following is None or invented.start() <= following.start()):
        return text[: invented.start()]
    return text


def _read(text: str, opening: re.Match[str], names: Collection[str], ended: bool) -> _Block:
    if opening["tag"]:
        return _tagged(text, opening.end(), ended)
    kind = opening["kind"].lower()
    if kind in _TOOL_KINDS:
        return _fenced(text, opening.end(), ended)
    if kind in _PLAIN_KINDS and names:
        block = _fenced(text, opening.end(), ended)
        if block.sound and all(_known(call, names) for call in block.calls):
            return block
    return _Block([], _end_of_text(text, opening))


def _end_of_text(text: str, opening: re.Match[str]) -> int:
    """Where a block that holds no calls ends; what looks like a bare opening may be a closing that was left over."""
    fence = opening["fence"]
    lines = _CLOSING_LINE.finditer(text, opening.end())
    closing = next((line for line in lines if line["fence"].startswith(fence)), None)
    end = closing.end() if closing else len(text)
    if not opening["kind"]:
        inside = _OPENING.search(text, opening.end(), end)
        return inside.start() if inside and inside["kind"] else end
    return end


def _fenced(text: str, start: int, ended: bool) -> _Block:
    """The calls after an opening fence, whatever its kind."""
    values, at, problem = _values(text, start)
    if not problem:
        if closing := _CLOSING.match(text, at):
            return _made(values, closing.end())
        following = _OPENING.match(text, _BETWEEN.match(text, at).end())  # type: ignore[union-attr]
        if values and (following or (ended and not text[at:].strip())):
            return _made(values, at)
        problem = "the block holds more than the JSON object" if text[at:].strip() else ""
    closing = _CLOSING_LINE.search(text, start)
    if closing is None:
        return _broken("the block is not closed by a line of three backticks", len(text))
    return _broken(problem, closing.end())


def _tagged(text: str, start: int, ended: bool) -> _Block:
    """The calls after a tag, which may also be a word about that tag."""
    values, at, problem = _values(text, start)
    if problem and text[start:].lstrip()[:1] in ("{", "["):
        closing = _CLOSING_TAG.search(text, start)
        return _broken(problem, closing.end() if closing else len(text))
    if problem or not values:
        return _Block([], start)
    if closing := _CLOSING_TAG.match(text, at):
        return _made(values, closing.end())
    if ended or text[at:].strip():
        return _made(values, at)
    return _broken("the call is not closed", len(text))


def _broken(problem: str, end: int) -> _Block:
    return _Block([ToolCall("", "", None, problem)], end, sound=False)


def _made(values: list[Any], end: int) -> _Block:
    calls = [_call(value) for value in values]
    if not calls:
        return _broken("the block holds no JSON object", end)
    return _Block(calls, end, sound=not any(call.problem for call in calls))


def _known(call: ToolCall, names: Collection[str]) -> bool:
    return call.name in names and call.arguments is not None


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# A line break inside of a string is a common slip that can mean one thing only.
_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_constant)


def _values(text: str, at: int) -> tuple[list[Any], int, str]:
    """The JSON values from ``at`` on (those of a list, one by one), where they end, and what is wrong with them."""
    values: list[Any] = []
    end = at
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] not in ("{", "["):
            return values, end, "" if values or _bare(text, at) else "the block is not valid JSON: it holds no object"
        try:
            value, at = _DECODER.raw_decode(text, at)
        except RecursionError:
            return [], at, "the block is nested too deeply"
        except ValueError as error:
            return [], at, f"the block is not valid JSON: {error}"
        end = at
        values += value if isinstance(value, list) else [value]


def _bare(text: str, at: int) -> bool:
    return bool(_CLOSING.match(text, at)) or at >= len(text)


def _call(value: Any) -> ToolCall:
    """The call that one JSON value stands for."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        return ToolCall("", "", None, "the block must hold a JSON object")
    key = next((key for key in _NAMES if isinstance(value.get(key), str) and value[key]), None)
    if key is None:
        return ToolCall("", "", None, 'the block needs "tool", the name of a tool')
    name = value[key]
    under = next((under for under in _ARGUMENTS if under in value), None)
    given = value[under] if under else {k: v for k, v in value.items() if k not in (key, "id", "type")}
    if isinstance(given, dict):
        given = json.dumps(given)
    if not isinstance(given, str):
        return ToolCall("", name, None, '"arguments" must be a JSON object')
    arguments, problem = parse_arguments(given)
    return ToolCall("", name, arguments, problem)


def _alone(text: str, names: Collection[str]) -> list[ToolCall]:
    """The calls of a text that is nothing but their JSON."""
    if not names or text.strip()[:1] not in ("{", "["):
        return []
    values, end, problem = _values(text, 0)
    if problem or text[end:].strip():
        return []
    calls = [_call(value) for value in values]
    return calls if all(_known(call, names) for call in calls) else []


def schema(tools: Collection[ToolSchema]) -> dict[str, Any]:
    """The JSON schema of one call of one of ``tools``; what follows it is read by :func:`parse`."""
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {"tool": {"const": tool.name}, "arguments": tool.parameters},
                "required": ["tool", "arguments"],
                "additionalProperties": False,
            }
            for tool in tools
        ]
    }


def rewrite(request: ModelRequest, *, enforced: bool = False) -> ModelRequest:
    """The same request without native tool calls, the tools described in the system message.

    ``enforced`` wants nothing but one call, in the form that the server is to see to.
    """
    if not request.tools:
        return request
    called = {call.id: call.name for message in request.messages for call in message.tool_calls}
    rewritten: list[ChatMessage] = []
    for message in map(_as_text, request.messages, [called] * len(request.messages)):
        # Many of the models that have no tool calls also want users and assistants to take turns.
        if rewritten and rewritten[-1].role == message.role != "system":
            message = ChatMessage(message.role, f"{rewritten.pop().text}\n\n{message.text}")
        rewritten.append(message)
    help_text = describe(request.tools)
    if rewritten and rewritten[0].role == "system":
        rewritten[0] = ChatMessage("system", f"{rewritten[0].text}\n\n{help_text}")
    else:
        rewritten.insert(0, ChatMessage("system", help_text))
    form = schema(request.tools) if enforced else None
    return msgspec.structs.replace(request, messages=tuple(rewritten), tools=(), schema=form)


def _as_text(message: ChatMessage, called: dict[str, str]) -> ChatMessage:
    if message.role == "tool":
        name = called.get(message.tool_call_id) or "the tool"
        # A line of a file that looks like a message of the program's is none.
        text = _FORGED.sub("> ", message.text)
        return ChatMessage("user", f"Result of {name}:\n{text}")
    if not message.tool_calls:
        return message
    # What could not be read is in the text as it was written, if it came as text.
    parts = [message.text, *(format_call(call) for call in message.tool_calls if call.arguments is not None)]
    return ChatMessage("assistant", "\n\n".join(filter(None, parts)) or "(a call that could not be read)")


def is_own_id(call_id: str) -> bool:
    """Whether the call of this id came as text."""
    return call_id.startswith(_OWN)


def read_reply(reply: ModelReply, request: ModelRequest) -> ModelReply:
    """``reply`` with the calls found in its text; their ids are new to the conversation, shortened or not."""
    text, calls = parse(reply.text, frozenset(tool.name for tool in request.tools), ended=not reply.cut)
    if not calls and reply.cut:
        # Without this a reply that was cut while it led up to a call would count as the agent's last word.
        problem = "the reply reached its length limit before a call was complete: write less, and call one tool"
        calls = (ToolCall("", CUT, None, problem),)
    if not calls:
        return reply
    token = secrets.token_hex(4)
    numbered = tuple(
        msgspec.structs.replace(call, id=f"{_OWN}{token}_{number}") for number, call in enumerate(calls, 1)
    )
    return msgspec.structs.replace(reply, text=text, tool_calls=numbered)
