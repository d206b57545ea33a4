"""Tool calls in plain text, for models that have no native ones.

The model writes each call as a fenced block whose opening line is exactly three backticks and ``tool``::

    ```tool
    {"tool": "read_file", "arguments": {"path": "src/cart.py"}}
    ```

A block ends at a line of exactly three backticks. Results come back in user messages that open with
``Result of NAME:``. Everything outside the blocks is ordinary text.
"""

from __future__ import annotations

import json
import re
from typing import Final

from backspace_tui.core.protocols import ChatMessage, ModelReply, ModelRequest, ToolCall, ToolSchema
from backspace_tui.models.wire import parse_arguments

_BLOCK: Final = re.compile(r"^```tool[ \t]*\r?\n(.*?)(?:^```[ \t]*\r?$|\Z)", re.S | re.M)

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


def parse(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """The text outside the blocks, and the calls in order. A broken block becomes a call with its problem."""
    calls: list[ToolCall] = []
    for number, match in enumerate(_BLOCK.finditer(text), 1):
        if not match.group(0).rstrip().endswith("\n```"):
            calls.append(ToolCall(f"text_{number}", "", None, "the block is not closed by a line of three backticks"))
            continue
        calls.append(_parse_block(f"text_{number}", match.group(1)))
    return _BLOCK.sub("", text).strip(), tuple(calls)


def _parse_block(call_id: str, body: str) -> ToolCall:
    value, problem = parse_arguments(body)
    if value is None:
        return ToolCall(call_id, "", None, problem)
    name, arguments = value.get("tool"), value.get("arguments", {})
    if not isinstance(name, str) or not name:
        return ToolCall(call_id, "", None, 'the block needs "tool", the name of a tool')
    if not isinstance(arguments, dict):
        return ToolCall(call_id, name, None, '"arguments" must be a JSON object')
    return ToolCall(call_id, name, arguments)


def rewrite(request: ModelRequest) -> ModelRequest:
    """The same request without native tool calls, the tools described in the system message."""
    if not request.tools:
        return request
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    rewritten: list[ChatMessage] = []
    for message in request.messages:
        if message.role == "tool":
            text = f"Result of {names.get(message.tool_call_id, 'the tool')}:\n{message.text}"
            if rewritten and rewritten[-1].role == "user" and rewritten[-1].text.startswith("Result of "):
                rewritten[-1] = ChatMessage("user", f"{rewritten[-1].text}\n\n{text}")
            else:
                rewritten.append(ChatMessage("user", text))
        elif message.tool_calls:
            parts = [message.text, *map(format_call, message.tool_calls)]
            rewritten.append(ChatMessage("assistant", "\n\n".join(filter(None, parts))))
        else:
            rewritten.append(message)
    help_text = describe(request.tools)
    if rewritten and rewritten[0].role == "system":
        rewritten[0] = ChatMessage("system", f"{rewritten[0].text}\n\n{help_text}")
    else:
        rewritten.insert(0, ChatMessage("system", help_text))
    return ModelRequest(tuple(rewritten), request.purpose)


def read_reply(reply: ModelReply, request: ModelRequest) -> ModelReply:
    """``reply`` to a rewritten ``request`` with the calls found in its text; their ids are new to the request."""
    text, calls = parse(reply.text)
    turn = sum(message.role == "assistant" for message in request.messages) + 1
    numbered = tuple(
        ToolCall(f"text_{turn}_{number}", call.name, call.arguments, call.problem)
        for number, call in enumerate(calls, 1)
    )
    return ModelReply(
        reply.model, text, numbered, reply.thinking, reply.tokens_in, reply.tokens_out, reply.usd, reply.seconds
    )
