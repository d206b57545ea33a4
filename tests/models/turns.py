"""What a model server of the tests answers: turns, calls in them, and faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Call:
    """One tool call; ``raw`` replaces the JSON of ``arguments`` (for malformed ones)."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = None


@dataclass(frozen=True)
class Turn:
    """One answer. ``fault`` names what goes wrong; ``delay`` is in seconds, between two streamed chunks.

    ``cut`` is the share of the answer that arrives before a fault in its middle. With
    ``parts`` the text is a list of parts, where OpenAI's protocol has a string.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    thinking: str = ""
    fault: str = ""
    retry_after: str | None = None
    delay: float = 0.0
    cut: float = 0.5
    finish_reason: str = ""
    parts: bool = False
    prompt_tokens: int = 100
    completion_tokens: int = 20

    def __add__(self, other: Turn) -> Turn:
        """One turn with the text and calls of both: ``text("Let me see.") + call("read_file", path="a")``."""
        return replace(self, text=self.text + other.text, calls=self.calls + other.calls)


def text(value: str, **options: Any) -> Turn:
    """A turn of plain text; ``options`` are other fields of :class:`Turn`."""
    return Turn(text=value, **options)


def call(name: str, /, **arguments: Any) -> Turn:
    """A turn with one tool call; add turns for several calls, or for text before the call."""
    return Turn(calls=(Call(name, arguments),))


def raw_call(name: str, arguments: str) -> Turn:
    """A complete call whose arguments are this text, JSON or not."""
    return Turn(calls=(Call(name, {}, arguments),))


STATUS_FAULTS: Mapping[str, tuple[int, str, str]] = {
    "400": (400, "invalid_request_error", "Invalid value for 'temperature'."),
    "context": (
        400,
        "context_length_exceeded",
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 9000 tokens.",
    ),
    "no_tools": (400, "invalid_request_error", "this model does not support tools"),
    "filter_400": (400, "content_policy_violation", "Your request was rejected by our safety system."),
    "401": (401, "invalid_api_key", "Incorrect API key provided: sk-test-key-0123456789abcdef."),
    "403": (403, "forbidden", "You may not use this model."),
    "404": (404, "model_not_found", "The model `test` does not exist."),
    "429": (429, "rate_limit_exceeded", "Rate limit reached for requests."),
    "quota": (429, "insufficient_quota", "You exceeded your current quota, please check your plan."),
    "408": (408, "timeout", "The request timed out."),
    "413": (413, "request_too_large", "Request exceeds the maximum size"),
    "500": (500, "server_error", "The server had an error."),
    "502": (502, "bad_gateway", "Bad gateway."),
    "503": (503, "overloaded", "The engine is currently overloaded."),
    "504": (504, "gateway_timeout", "Gateway time-out."),
    "529": (529, "overloaded_error", "Overloaded"),
}

BREAKS = frozenset(
    {
        "hang_stream",  # stops in the middle of the answer
        "reset_stream",  # TCP reset in the middle of the answer
        "eof",  # the stream ends cleanly in the middle (a whole answer: the connection ends before its length)
        "eof_done",  # [DONE] (message_stop) without finish_reason
        "cut_call",  # the stream ends cleanly in the middle of a call's arguments
        "bad_chunk",  # a chunk that is not JSON in the middle of the stream, and its end
        "bad_chunk_on",  # the same, and the stream goes on to a proper end: what the chunk held is lost
        "error_event",  # an error object in the middle of the stream
        "rate_event",  # the same, of a rate limit
    }
)
"""Faults in the middle of an answer."""

FAULTS = (
    BREAKS
    | frozenset(STATUS_FAULTS)
    | {
        "hang",  # accepts the request and never answers
        "hang_headers",  # sends the headers and nothing else
        "reset",  # TCP reset instead of an answer
        "bad_json",  # status 200 and truncated JSON (streaming: as content type JSON as well)
        "html",  # status 200 and an HTML page
        "html_400",  # status 400 and an HTML page
        "empty_choices",  # a well-formed answer whose list of choices (content blocks) is empty
        "empty",  # a well-formed answer with neither text nor calls
        "filter_stop",  # the content filter ends the answer in its middle, with its own finish_reason
        "length",  # the output limit ends the answer in its middle, with its own finish_reason
    }
)


def fault(kind: str, *, retry_after: float | str | None = None, partial: Turn | None = None) -> Turn:
    """A turn that fails as ``kind`` (see :data:`FAULTS`); ``partial`` is what is streamed before it fails."""
    if kind not in FAULTS:
        raise ValueError(f"no fault is called {kind}")
    if kind == "cut_call" and (partial is None or not partial.calls):
        partial = call("write_file", path="a.txt", content="cut " * 20)
    turn = partial or text("partial text that must be void " * 3)
    return replace(turn, fault=kind, retry_after=None if retry_after is None else str(retry_after))


Script = Sequence[Turn | str] | Callable[[dict[str, Any]], Turn]
