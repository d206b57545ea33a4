"""From what litellm raises to a :class:`Fault`. litellm wraps errors in one another and in statuses nobody sent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backspace_tui.models.faults import (
    LONGEST_WAIT,
    Fault,
    counted_in,
    kind_by_words,
    kind_of,
    one_line,
    told_wait,
    window_in,
)

LONGEST_MESSAGE: Final = 20_000
"""Characters of a provider's message that are looked at."""


def classify(error: BaseException, *, where: str, silence: float, secrets: Sequence[str] = ()) -> Fault:
    """The fault behind ``error``; ``where`` names the provider, ``silence`` is the timeout in seconds."""
    chain = _causes(error)
    if (known := next((cause for cause in chain if isinstance(cause, Fault)), None)) is not None:
        return known
    names = {type(cause).__name__ for cause in chain}
    raw = " ".join(dict.fromkeys(str(cause)[:LONGEST_MESSAGE] for cause in chain))
    message = one_line(str(error)[:LONGEST_MESSAGE], secrets)
    status = _status(chain)
    answered = any(getattr(cause, "response", None) is not None for cause in chain)
    fault = (
        _in_stream(names, message, raw, silence)
        or _unanswered(names, where, silence, status)
        or _by_name(names, message)
    )
    if fault is None and status is not None and status < 400:
        fault = Fault(kind_by_words(raw) or "garbled", f"the answer is an error: {message}")
    if fault is None and not answered and status in (None, 500):
        fault = Fault(kind_by_words(raw) or "garbled", f"the answer cannot be read: {message}")
    if fault is None:
        fault = Fault(kind_of(status, raw), ": ".join(filter(None, (str(status or ""), message))))
    if fault.kind == "quota" and "insufficient_quota" not in raw and told_wait({}, raw, 0.0) is not None:
        fault.kind = "rate"  # Gemini speaks of the quota of a minute so
    if fault.kind in ("rate", "server"):
        fault.retry_after = told_wait(_headers(chain), raw, time.time())
        if fault.retry_after is not None and fault.retry_after > LONGEST_WAIT:
            fault.reason += f" (retry after {fault.retry_after:.0f} s)"
    if fault.kind == "context":
        fault.window, fault.counted = window_in(raw), counted_in(raw)
    return fault


def _in_stream(names: set[str], message: str, raw: str, silence: float) -> Fault | None:
    if "MidStreamFallbackError" not in names:
        return None
    if names & {"ReadTimeout", "APITimeoutError"}:
        return Fault("hang", f"silent for {silence:g} s in mid-stream")
    if names & {"ReadError", "RemoteProtocolError", "WriteError"}:
        return Fault("cut", "the connection broke in mid-stream")
    if names & {"JSONDecodeError"}:
        return Fault("cut", "the stream broke: a piece of it is not JSON")
    # An error that the provider sent as a piece of the stream.
    return Fault(kind_by_words(raw) or "cut", f"the stream broke{f': {message}' if message else ''}")


def _unanswered(names: set[str], where: str, silence: float, status: int | None) -> Fault | None:
    # litellm also calls a status 504 or 408 by the name of a timeout.
    timeouts = {"APITimeoutError", "ReadTimeout", "ConnectTimeout", "PoolTimeout", "WriteTimeout"}
    if names & timeouts or ("Timeout" in names and status is None):
        return Fault("hang", f"no answer within {silence:g} s")
    if names & {"SSLCertVerificationError", "SSLError"}:
        return Fault("refused", f"cannot connect to {where}: its certificate is not trusted")
    if "ConnectError" in names:
        return Fault("refused", f"cannot connect to {where}")
    if names & {"ReadError", "RemoteProtocolError", "WriteError"}:
        return Fault("refused", "the connection broke before an answer")
    return None


def _by_name(names: set[str], message: str) -> Fault | None:
    if names & {"JSONDecodeError", "APIResponseValidationError"} or "invalid response from LLM endpoint" in message:
        return Fault("garbled", "the answer is not JSON as the protocol says")
    if "'choices' that is not a list" in message:
        return Fault("empty", "the list of choices is empty")
    if "ContextWindowExceededError" in names:
        return Fault("context", "the conversation is longer than the model takes")
    if "ContentPolicyViolationError" in names:
        return Fault("filter", f"refused by the content filter: {message}")
    return None


def _status(chain: Sequence[BaseException]) -> int | None:
    """The status that the provider sent; litellm's own exceptions, which stand outside, may name another."""
    found = [(cause, status) for cause in chain if isinstance(status := getattr(cause, "status_code", None), int)]
    inner = [status for cause, status in found if not type(cause).__module__.startswith("litellm.exceptions")]
    return inner[0] if inner else next((status for cause, status in found if type(cause).__name__ != "Timeout"), None)


def _headers(chain: Sequence[BaseException]) -> Mapping[str, str]:
    candidates: list[Any] = [getattr(cause, "litellm_response_headers", None) for cause in chain]
    candidates += [getattr(getattr(cause, "response", None), "headers", None) for cause in chain]
    return next((headers for headers in candidates if headers), {})


def _causes(error: BaseException) -> list[BaseException]:
    """``error`` and everything behind it, outermost first."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        cause = todo.pop(0)
        if isinstance(cause, BaseException) and cause not in found and len(found) < 20:
            found.append(cause)
            todo += [getattr(cause, "original_exception", None), cause.__cause__, cause.__context__]
    return found
