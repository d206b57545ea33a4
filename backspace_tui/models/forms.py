"""Which models know of their tools, and what to do about a reply of one that seems not to."""

from __future__ import annotations

import msgspec

from backspace_tui.core.protocols import ModelReply, ModelRequest
from backspace_tui.models import text_calls
from backspace_tui.models.faults import Fault, Kind, one_line
from backspace_tui.models.wire import hold_back


class Forms:
    """What the replies of each model, by its position in the chain, have shown of its tool calls.

    Some servers take tools and never pass them on, so that the model answers in prose what it would do; the agent
    would take that for its last word. Such a model is asked once more with the tools described as text, and one
    whose text holds a broken call once more with their form enforced by the server. Where that leads to no
    call, the first reply counts.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._native: set[int] = set()
        self._prose: set[int] = set()
        self._free: set[int] = set()

    def read(
        self, position: int, reply: ModelReply, request: ModelRequest, *, as_text: bool, kept: ModelReply | None
    ) -> tuple[ModelReply, Fault | None]:
        """``reply`` with the calls in its text, and why the model is to be asked once more, if it is.

        ``kept`` is the first reply where this is the second one.
        """
        if not request.tools:
            return reply, None
        if reply.tool_calls and not as_text:
            if any(not call.problem for call in reply.tool_calls):
                self._native.add(position)
            return reply, None
        read = text_calls.read_reply(reply, request)
        problem = next((call.problem for call in read.tool_calls if call.problem), "")
        read = hold_back(read) if problem else read
        sound = bool(read.tool_calls) and not problem
        if kept is not None:
            understood = sound or (not kept.tool_calls and wrote_call(read))
            return (read if understood else self.settle(position, kept, reply)), None
        if not self._enabled or sound:
            return read, None
        if read.tool_calls:
            again = None if position in self._free else _doubt("call", f"a broken call: {one_line(problem)}", reply)
        elif as_text or position in self._native | self._prose or _called_natively(request):
            again = None
        else:
            again = _doubt("no_tools", "it called no tool; asked once more with the tools described as text", reply)
        return read, again

    def settle(self, position: int, kept: ModelReply, second: ModelReply | None = None) -> ModelReply:
        """The first reply, with what the second one cost; its own cost is told already."""
        (self._free if kept.tool_calls else self._prose).add(position)
        tokens_in, tokens_out, usd = (second.tokens_in, second.tokens_out, second.usd) if second else (0, 0, 0.0)
        cached = second.tokens_cached if second else 0
        return msgspec.structs.replace(kept, tokens_in=tokens_in, tokens_out=tokens_out, usd=usd, tokens_cached=cached)


def wrote_call(read: ModelReply) -> bool:
    """Whether the model wrote a call at all, one that can be read or not."""
    return any(call.name != text_calls.CUT for call in read.tool_calls)


def _called_natively(request: ModelRequest) -> bool:
    """Whether anybody has: after a restart the conversation is all that is known."""
    ids = (call.id for message in request.messages for call in message.tool_calls)
    return not all(text_calls.is_own_id(call_id) for call_id in ids)


def _doubt(kind: Kind, reason: str, reply: ModelReply) -> Fault:
    fault = Fault(kind, reason)
    fault.tokens_in, fault.tokens_out, fault.usd = reply.tokens_in, reply.tokens_out, reply.usd
    return fault
