"""What can go wrong with one request to a model, and what the chain does about it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "refused",  # nothing listens, no such host, reset before the answer
    "auth",  # the key is missing or wrong
    "forbidden",
    "missing",  # no such model or path
    "rate",
    "quota",  # no credit left: waiting does not help
    "server",  # 5xx, overloaded
    "hang",  # silence for longer than the model's timeout
    "cut",  # the stream broke, or ended before the model had finished
    "garbled",  # the answer is not what the protocol says
    "empty",  # a well-formed answer with nothing in it
    "slow",  # the turn went past its total time
    "context",  # the conversation is longer than the model takes
    "filter",  # the provider's content filter
    "no_tools",  # the model takes no tool calls
    "request",  # a plain 400: our own fault, the same everywhere
]


class Fault(Exception):
    """One failed request. ``reason`` is one line without secrets; ``retry_after`` is in seconds."""

    def __init__(self, kind: Kind, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True)
class Wait:
    """Ask the same model again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Next:
    """Go to the next model, and prefer others to this one for so many seconds."""

    cooldown: float


@dataclass(frozen=True)
class Compact:
    """Shorten the conversation and ask the same model again."""


@dataclass(frozen=True)
class AsText:
    """Ask the same model again with the tools described as text."""


@dataclass(frozen=True)
class GiveUp:
    """No model would take this request."""


Decision = Wait | Next | Compact | AsText | GiveUp

LONGEST_WAIT: Final = 20.0
"""Seconds the chain waits for one model; beyond that the next one answers sooner."""

_LONG: Final = 600.0
_SHORT: Final = 60.0

_TRIES: Final[dict[Kind, tuple[int, float]]] = {
    # How often one model is asked in a turn, and the first wait; each further wait is twice as long.
    "refused": (2, 1.0),
    "rate": (3, 2.0),
    "server": (3, 1.0),
    "hang": (2, 0.0),
    "cut": (3, 0.5),
    "garbled": (2, 0.5),
    "empty": (3, 0.5),
}
_COOLDOWN: Final[dict[Kind, float]] = {
    "auth": _LONG, "forbidden": _LONG, "missing": _LONG, "quota": _LONG, "slow": _LONG,
    "filter": 0.0, "context": 0.0,
}  # fmt: skip


def decide(fault: Fault, attempt: int) -> Decision:
    """What follows a fault that happened ``attempt`` times (from 1) with one model in one turn."""
    match fault.kind:
        case "request":
            return GiveUp()
        case "no_tools":
            return AsText() if attempt <= 2 else Next(_LONG)
        case "context":
            return Compact() if attempt <= 3 else Next(0.0)
        case _:
            pass
    if fault.kind not in _TRIES:
        return Next(_COOLDOWN.get(fault.kind, _SHORT))
    tries, first_wait = _TRIES[fault.kind]
    if fault.retry_after is not None and fault.retry_after > LONGEST_WAIT:
        return Next(fault.retry_after)
    if attempt >= tries:
        return Next(max(_SHORT, fault.retry_after or 0.0))
    wait = first_wait * 2 ** (attempt - 1)
    # "Retry-After: 0" is no permission to hammer a server that has just refused.
    return Wait(wait if fault.retry_after is None else max(0.1, fault.retry_after))


_HINTS: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    ("context", re.compile(
        r"context.{0,20}(length|window|size)|maximum context|prompt is too long|too many tokens"
        r"|input.{0,20}too long",
        re.I)),
    ("quota", re.compile(
        r"insufficient.quota|exceeded your current quota|credit balance|billing|out of credits", re.I)),
    ("no_tools", re.compile(
        r"(not|n't|no)\b.{0,40}\b(support|allow|enable)\w*\b.{0,40}\b(tool|function)"
        r"|\b(tool|function)\w*\b.{0,60}\b(not|un)\W?(supported|available|allowed)", re.I)),
    ("filter", re.compile(r"content.(policy|filter|management)|safety system|responsible.ai", re.I)),
    ("auth", re.compile(
        r"api.?key.{0,40}(not valid|invalid|missing|incorrect)|(invalid|incorrect).{0,20}api.?key", re.I)),
    ("missing", re.compile(
        r"not a valid model|model.{0,60}(not found|does not exist|not exist)|(unknown|no such|invalid) model", re.I)),
)  # fmt: skip


def kind_of(status: int | None, message: str) -> Kind:
    """The kind of fault behind an HTTP status (``None``: no answer) and the provider's words."""

    def says(*kinds: Kind) -> Kind | None:
        return next((kind for kind, pattern in _HINTS if kind in kinds and pattern.search(message)), None)

    match status:
        case None:
            return "refused"
        case 401:
            return "auth"
        case 402:
            return "quota"
        case 403:
            return "forbidden"
        case 404 | 405 | 410:
            return says("no_tools") or "missing"
        case 408 | 504 | 524:
            return "hang"
        case 413:
            return "context"
        case 429:
            return says("quota") or "rate"
        case 409 | 425:
            return "server"
        case _ if status >= 500:
            return says("context", "no_tools") or "server"
        case _:
            return says("context", "quota", "no_tools", "filter", "auth", "missing") or "request"


_NOISE: Final = re.compile(
    r"^(?:\s*(?:litellm\.)?(?:\w+(?:Error|Exception|Timeout)|Timeout)\s*(?::|-)\s*)+"
    r"|Received Model Group=.*|Available Model Group Fallbacks=.*|Error_str:.*|Original exception:.*"
)
_KEYS: Final = re.compile(
    r"\b(?:sk|pk|gsk|xai|hf|ghp|gho|key|rk)[-_][A-Za-z0-9_\-]{8,}\b|\bAIza[0-9A-Za-z_\-]{20,}"
    r"|(?<=Bearer )[^\s\"']+"
)
_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY: Final = re.compile(r"(?i)\b((?:api[-_]?)?key|token|secret|password)=[^&\s\"']+")


def one_line(text: str, secrets: Iterable[str] = (), limit: int = 200) -> str:
    """A provider's message as one short line: no litellm prefixes, line breaks, keys or credentials in URLs.

    ``secrets`` are values that must not appear whatever they look like.
    """
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "[key]")
    text = _provider_words(text)
    text = _USERINFO.sub("", _KEYS.sub("[key]", text))
    text = _QUERY.sub(r"\1=[key]", text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    while (shorter := _NOISE.sub("", text).strip()) != text:
        text = shorter
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def _provider_words(text: str) -> str:
    """``text`` with a JSON error body, which some providers' messages consist of, replaced by its message."""
    match = re.search(r"b?(['\"]?)(\{.*\})\1", text, re.S)
    if match is None:
        return text
    try:
        body = json.loads(match[2])
    except (ValueError, RecursionError):
        return text
    error = body.get("error", body)
    words = error.get("message") if isinstance(error, dict) else error
    return text[: match.start()] + words + text[match.end() :] if isinstance(words, str) and words else text


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header (delta or HTTP date); ``now`` is the Unix time. ``None`` when unusable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return None
    return max(0.0, seconds) if seconds == seconds and seconds < 1e9 else None
