"""Between our messages and OpenAI's chat format, and the assembly of a streamed turn. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

import msgspec

from backspace_tui.core.protocols import ChatMessage, ModelReply, ModelRequest, ToolCall, ToolSchema
from backspace_tui.models.endings import Ending, meaning, proper
from backspace_tui.models.faults import Fault, one_line

MAX_REPLY: Final = 4_000_000
"""Characters of one reply; a model that sends more is broken."""


def messages(conversation: Iterable[ChatMessage], *, any_id: bool = False) -> list[dict[str, Any]]:
    """A conversation as OpenAI's ``messages``; with ``any_id`` the ids of calls stay as they are."""
    make_id = str if any_id else _call_id
    result: list[dict[str, Any]] = []
    for message in conversation:
        entry: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.role == "assistant" and not message.text:
            entry["content"] = "(no text)"
        if message.role == "tool":
            entry["tool_call_id"] = make_id(message.tool_call_id)
        if message.tool_calls:
            entry["content"] = message.text or None
            entry["tool_calls"] = [
                {
                    "id": make_id(call.id),
                    "type": "function",
                    "function": {"name": _tool_name(call.name), "arguments": json.dumps(call.arguments or {})},
                }
                for call in message.tool_calls
            ]
        result.append(entry)
    return result


def _tool_name(name: str) -> str:
    """A name as providers accept it; a model may have made one up that they would refuse ever after."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unknown"


def _call_id(name: str) -> str:
    """An id as every provider accepts it, since another one may have made it."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name) or "none"
    return plain if len(plain) <= 40 else f"{plain[:23]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def mark_for_cache(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``entries`` with the marks up to which Anthropic keeps a prompt for the next turn.

    They stand on the system message, on the last message, and on the one that was the last a turn ago.
    """
    turns = [index for index, entry in enumerate(entries) if entry["role"] == "assistant" and index]
    ends = {len(entries) - 1} | {index - 1 for index in turns[-1:]}
    return [
        entry | {"cache_control": {"type": "ephemeral"}} if index in ends or entry["role"] == "system" else entry
        for index, entry in enumerate(entries)
    ]


def tools(schemas: Sequence[ToolSchema]) -> list[dict[str, Any]]:
    """Tools as OpenAI's ``tools``."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in schemas
    ]


def size(request: ModelRequest) -> int:
    """Characters of a request as a model reads it, tools and framing included."""
    total = sum(len(tool.name) + len(tool.description) + len(json.dumps(tool.parameters)) for tool in request.tools)
    for message in request.messages:
        total += len(message.text) + 16
        total += sum(len(call.name) + len(json.dumps(call.arguments or {})) + 16 for call in message.tool_calls)
    return total


def well_formed(text: str) -> str:
    """``text`` with surrogate pairs joined and lone surrogates replaced, so that it can be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_arguments(text: str) -> tuple[dict[str, Any] | None, str]:
    """The arguments of a call, or ``None`` and why not. Empty text stands for no arguments."""

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    if not text.strip():
        return {}, ""
    try:
        value = json.loads(text, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        return None, "the arguments are nested too deeply"
    except UnicodeEncodeError:
        return None, "the arguments hold an unpaired surrogate"
    except ValueError as error:
        return None, f"the arguments are not valid JSON: {error}"
    if not isinstance(value, dict):
        return None, "the arguments must be a JSON object"
    return value, ""


def hold_back(reply: ModelReply) -> ModelReply:
    """``reply`` with its whole calls not to be run either, because another call in it is broken.

    A model that was cut makes the turn again, and what it called would happen twice.
    """
    why = "not run, because another call of the same reply is broken: make it again, with fewer calls in one reply"
    held = tuple(
        call if call.problem else msgspec.structs.replace(call, arguments=None, problem=why)
        for call in reply.tool_calls
    )
    return msgspec.structs.replace(reply, tool_calls=held)


class _PartialCall:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def complete(self) -> bool:
        """Whether its arguments are all there."""
        text = "".join(self.arguments)
        return text.rstrip().endswith("}") and parse_arguments(text)[0] is not None


class Assembly:
    """A turn as it arrives. Feed it with :meth:`add` or :meth:`whole`, then :meth:`check` and :meth:`reply`."""

    def __init__(self, request: ModelRequest) -> None:
        self.finish: Ending | None = None
        self._finish_word = ""
        self.usage: Any = None
        self._request = request
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[_PartialCall] = []
        self._slots: dict[int, _PartialCall] = {}
        self._size = 0
        self._required = {tool.name for tool in request.tools if tool.parameters.get("required")}
        self.begun = False

    def add(self, chunk: Any) -> tuple[str, str]:
        """Take one streamed chunk; returns its piece of text and of thinking."""
        self.begun = True
        if getattr(chunk, "usage", None) is not None:
            self.usage = chunk.usage
        if not getattr(chunk, "choices", None):
            return "", ""
        return self._take(chunk.choices[0].delta)

    def whole(self, response: Any) -> tuple[str, str]:
        """Take a complete answer; returns its text and its thinking."""
        choices = getattr(response, "choices", None)
        self.usage = getattr(response, "usage", None)
        if not choices:
            raise Fault("empty", "the list of choices is empty")
        self.begun = True
        native = (getattr(choices[0], "provider_specific_fields", None) or {}).get("native_finish_reason")
        self.end(native if isinstance(native, str) and not proper(native) else choices[0].finish_reason)
        return self._take(choices[0].message)

    def end(self, word: str | None) -> None:
        """Note the finish reason that the provider sent; ``None`` if it sent none."""
        self.finish = meaning(word) if word else None
        self._finish_word = word or ""

    def _take(self, part: Any) -> tuple[str, str]:
        text = _string(getattr(part, "content", None))
        thinking = _string(getattr(part, "reasoning_content", None))
        self._text.append(text)
        self._thinking.append(thinking)
        self._size += len(text) + len(thinking)
        for position, piece in enumerate(getattr(part, "tool_calls", None) or ()):
            index = getattr(piece, "index", None)
            call = self._slot(index if isinstance(index, int) else position, piece)
            function = getattr(piece, "function", None)
            call.id = call.id or _string(getattr(piece, "id", None))
            call.name = call.name or _string(getattr(function, "name", None))
            arguments = _string(getattr(function, "arguments", None))
            call.arguments.append(arguments)
            self._size += len(arguments)
        if self._size > MAX_REPLY:
            raise Fault("garbled", f"the reply is longer than {MAX_REPLY:,} characters")
        return text, thinking

    def _slot(self, index: int, piece: Any) -> _PartialCall:
        """The call that ``piece`` belongs to.

        Some servers number every call 0 and tell them apart by id alone, or by their names alone.
        """
        call = self._slots.get(index)
        function = getattr(piece, "function", None)
        new_id, name = _string(getattr(piece, "id", None)), _string(getattr(function, "name", None))
        if call is not None and name and not new_id and call.complete():
            # Others repeat the name with each piece of one call, the last one empty.
            begins = name != call.name or bool(_string(getattr(function, "arguments", None)))
        else:
            begins = call is None or bool(new_id and name and call.id and new_id != call.id)
        if call is None or begins:
            call = _PartialCall()
            self._slots[index] = call
            self._calls.append(call)
        return call

    def check(self) -> None:
        """Raise :class:`Fault` unless the model finished its turn and said something."""
        if self.finish == "content_filter":
            raise Fault("filter", "cut by the provider's content filter")
        if self.finish in ("context", "call", "cut"):
            raise Fault(self.finish, f"the reply broke off: {one_line(self._finish_word)}")
        something = bool("".join(self._text).strip() or self._calls)
        if self.finish is None:
            if something or any(self._thinking):
                raise Fault("cut", "the stream ended before the model had finished")
            raise Fault("empty", "the answer holds no reply (not a model's server, or no choices)")
        if not something:
            what = "its output limit was used up by thinking" if self.finish == "length" else "no text, no calls"
            raise Fault("empty", f"the reply is empty: {what}")
        if self.finish == "tool_calls" and not self._calls:
            raise Fault("cut", "the answer announces a call and holds none")

    def tokens(self) -> tuple[int, int]:
        """Tokens in and out as reported, or a quarter of the characters where the server reports none."""
        reported = self.reported()
        return reported if any(reported) else (size(self._request) // 4, self._size // 4)

    def reported(self) -> tuple[int, int]:
        """Tokens in and out as the server reported them, or zeros."""
        return _count(self.usage, "prompt_tokens"), _count(self.usage, "completion_tokens")

    def account(self, chunks: Iterable[Any]) -> None:
        """Note the usage in litellm's own copies of ``chunks``, which it takes out of those it passes on."""
        if self.usage is None:
            told = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None) is not None]
            self.usage = max(told, key=lambda usage: _count(usage, "prompt_tokens"), default=None)

    @property
    def characters(self) -> int:
        """Characters received so far."""
        return self._size

    def reply(self, model: str, *, usd: float | None, seconds: float) -> ModelReply:
        """The finished turn. Calls with broken arguments carry the problem instead of arguments."""
        tokens_in, tokens_out = self.tokens()
        return ModelReply(
            model=model,
            text=well_formed("".join(self._text)),
            tool_calls=self._finished_calls(),
            thinking=well_formed("".join(self._thinking)),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            usd=usd,
            seconds=seconds,
            tokens_cached=_count(getattr(self.usage, "prompt_tokens_details", None), "cached_tokens"),
            cut=self.finish == "length",
        )

    def _finished_calls(self) -> tuple[ToolCall, ...]:
        # A call is answered by its id: one that an earlier turn used would be ambiguous in the log.
        used = {call.id for message in self._request.messages for call in message.tool_calls}
        result: list[ToolCall] = []
        for number, call in enumerate(self._calls, 1):
            text = "".join(call.arguments)
            arguments, problem = parse_arguments(text)
            if arguments == {} and call.name in self._required:
                arguments, problem = None, "the arguments are missing"
            # What the limit cut may still parse: a server mends it, or nothing of it was sent.
            if self.finish == "length" and (problem or number == len(self._calls)):
                arguments = None
                problem = "the reply reached its length limit inside this call: write less in one call"
            if not call.name:
                arguments, problem = None, "the call names no tool"
            base = well_formed(call.id) or f"call_{number}"
            unique, suffix = base, 1
            while unique in used:
                suffix += 1
                unique = f"{base}_{suffix}"
            used.add(unique)
            result.append(ToolCall(unique, well_formed(call.name), arguments, problem))
        if not result and self.finish == "length" and self._request.tools:
            # Without this a reply that was cut while it led up to a call would count as the agent's last word.
            problem = "the reply reached its length limit before it called a tool: write less, and call one"
            result.append(ToolCall(f"cut_{len(self._request.messages)}", "cut_reply", None, problem))
        return tuple(result)


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(usage: Any, field: str) -> int:
    value = getattr(usage, field, 0)
    return value if isinstance(value, int) else 0
