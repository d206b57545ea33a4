"""What can go wrong with one request to a model, and what the chain does about it. Pure."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from backspace_tui.core.protocols import ModelReply

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
    "call",  # a whole answer with a call whose arguments are cut or no JSON
    "slow",  # the turn went past its total time
    "context",  # the conversation is longer than the model takes
    "filter",  # the provider's content filter
    "no_tools",  # the model takes no tool calls
    "request",  # a plain 400: our own fault, the same everywhere
]


class Fault(Exception):
    """One failed request. ``reason`` is one line without secrets; ``retry_after`` is in seconds.

    The tokens and dollars (``None``: price not known) are what the request cost although it failed. ``reply`` is
    what came of a fault of kind ``call``, the broken calls marked. ``window`` is the limit that a provider named when
    the conversation was too long, ``counted`` the tokens that it found in it, ``fits`` whether it is worth while to
    send the conversation again as it is.
    """

    def __init__(self, kind: Kind, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
        self.reason = reason
        self.retry_after = retry_after
        self.tokens_in = 0
        self.tokens_out = 0
        self.usd: float | None = 0.0
        self.reply: ModelReply | None = None
        self.window = 0
        self.counted = 0
        self.fits = False


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
class Accept:
    """Take the reply of the last model that is left: none of its calls is run, each is answered with its problem."""


@dataclass(frozen=True)
class GiveUp:
    """No model would take this request."""


Decision = Wait | Next | Compact | AsText | Accept | GiveUp

LONGEST_WAIT: Final = 20.0
"""Seconds the chain waits for one model; beyond that the next one answers sooner."""

LAST_WAIT: Final = 60.0
"""Seconds the chain waits once where no other model is left."""

_LONG: Final = 600.0
_SHORT: Final = 15.0

_TRIES: Final[dict[Kind, tuple[int, float]]] = {
    # How often one model is asked in a turn, and the first wait; each further wait is twice as long.
    "refused": (2, 1.0),
    "rate": (3, 2.0),
    "server": (3, 1.0),
    "hang": (2, 0.0),
    "cut": (3, 0.5),
    "garbled": (2, 0.5),
    "empty": (3, 0.5),
    "call": (2, 0.0),
}
_COOLDOWN: Final[dict[Kind, float]] = {
    "auth": _LONG, "forbidden": _LONG, "missing": _LONG, "quota": _LONG, "slow": _LONG, "no_tools": _LONG,
    "hang": 60.0, "filter": 0.0, "context": 0.0,
}  # fmt: skip
_HOPELESS: Final = ("auth", "forbidden", "missing", "quota", "filter")


def decide(fault: Fault, attempt: int, *, last: bool = False) -> Decision:
    """What follows a fault that happened ``attempt`` times (from 1) with one model in one turn.

    ``last`` says that no other model is left to be asked.
    """
    cooldown = _COOLDOWN.get(fault.kind, _SHORT)
    match fault.kind:
        case "request":
            # Once more, since a proxy may have said it; the same model, since every other one would say it too.
            return Wait(0.5) if attempt == 1 else GiveUp()
        case "call" if last and attempt > 1 and fault.reply is not None:
            return Accept()
        case "no_tools":
            return AsText() if attempt <= 2 else Next(cooldown)
        case "context" if fault.fits and attempt == 1:
            return Wait(0.0)
        case "context":
            return Compact() if attempt <= 4 else Next(cooldown)
        case _:
            pass
    if fault.kind in _HOPELESS and last and attempt == 1:
        return Wait(1.0)
    if fault.kind not in _TRIES:
        return Next(cooldown)
    tries, first_wait = _TRIES[fault.kind]
    told = fault.retry_after
    if told is not None and told > (LAST_WAIT if last and attempt == 1 else LONGEST_WAIT):
        return Next(max(cooldown, told))
    if attempt >= tries:
        return Next(max(cooldown, told or 0.0))
    # "Retry-After: 0" is no permission to hammer a server that has just refused.
    return Wait(first_wait * 2 ** (attempt - 1) if told is None else max(0.1, told))


_HINTS: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    ("context", re.compile(
        r"context.{0,20}(length|window|size|limit)|maximum context|prompt is too long|too many tokens"
        r"|input.{0,20}too long|request.too.large|request exceeds the maximum size|exceeds.{0,30}token limit"
        r"|maximum prompt length|exceeds the maximum number of tokens|reduce the length of the messages"
        r"|tokens.{0,5} \+ .{0,5}max_new_tokens",
        re.I)),
    ("quota", re.compile(
        r"insufficient.quota|exceeded your current quota|credit balance|billing|out of credits"
        r"|(api|monthly|specified).{0,10}usage limit|spend(ing)? limit", re.I)),
    ("call", re.compile(r"tool_use_failed|failed to call a function|failed_generation", re.I)),
    ("no_tools", re.compile(
        r"(not|n't|no)\b.{0,40}\b(support|allow|enable)\w*\b.{0,40}\b(tool|function)"
        r"|\b(tool|function)\w*\b.{0,60}\b(not|un)\W?(supported|available|allowed|enabled)"
        r"|(unknown parameter|unrecognized request argument|extra inputs)[a-z ]*\W{1,4}tools\b(?![.\[])"
        r"|\btools\W{1,3}extra inputs"
        r"|\btools?\b.{0,60}\brequires? --", re.I)),
    ("filter", re.compile(r"content.(policy|filter|management)|safety system|responsible.ai", re.I)),
    ("auth", re.compile(
        r"api.?key.{0,40}(not valid|invalid|missing|incorrect)|(invalid|incorrect).{0,20}api.?key"
        r"|api.?key.{0,10}expired|(organization|account|workspace).{0,20}(disabled|deactivated|suspended)", re.I)),
    ("missing", re.compile(
        r"model.{0,60}(decommissioned|retired|no longer (supported|available|served))"
        r"|not a valid model|model.{0,60}(not found|does not exist|not exist)|(unknown|no such|invalid) model", re.I)),
    ("rate", re.compile(r"rate.?limit|tokens per (minute|hour|day)|too many requests|slow down", re.I)),
    ("server", re.compile(r"overloaded|unavailable|internal.{0,10}error|server.{0,10}error|at capacity", re.I)),
)  # fmt: skip


def kind_by_words(message: str, kinds: Iterable[Kind] | None = None) -> Kind | None:
    """The first of ``kinds`` (default: all that words tell) that a provider's ``message`` speaks of."""
    wanted = None if kinds is None else tuple(kinds)
    found = (kind for kind, pattern in _HINTS if (wanted is None or kind in wanted) and pattern.search(message))
    return next(found, None)


def kind_of(status: int | None, message: str) -> Kind:
    """The kind of fault behind an HTTP status (``None``: no answer) and the provider's words."""

    def says(*kinds: Kind) -> Kind | None:
        return kind_by_words(message, kinds)

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
        case 413:
            return says("rate") or "context"
        case 429:
            return says("quota") or "rate"
        case 408 | 409 | 425:
            return "server"
        case 422:
            return kind_by_words(message) or _refused(message)
        case _ if status >= 500:
            return says("context", "no_tools") or "server"
        case _:
            return says("context", "quota", "call", "no_tools", "filter", "auth", "missing") or _refused(message)


_PAGE: Final = re.compile(r"[^{]{0,200}<(!doctype html|html)\b", re.I)


def _refused(message: str) -> Kind:
    """A refusal whose words tell nothing: our own fault, unless it is a page that something in between sent."""
    return "garbled" if _PAGE.match(message) else "request"


_NOISE: Final = re.compile(
    r"^(?:\s*(?:litellm\.)?(?:\w+(?:Error|Exception|Timeout)|Timeout(?: Error)?)\b"
    r"\s*(?::|-|(?=(?:\w+Error|Timeout)\b))\s*)+"
    r"|[.\s]*Handle with `litellm\.\w+`\.?|\s*Traceback \(most recent call last\).*"
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
    text = re.sub(r"""\bb(['"])(.*)\1""", lambda match: _unquoted(match[0]), text, count=1, flags=re.S)
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return text
    body = _dictionary(text[start : end + 1])
    if body is None:
        return text
    error = body.get("error", body)
    words = error.get("message") if isinstance(error, dict) else error
    return text[:start] + words + text[end + 1 :] if isinstance(words, str) and words else text


def _dictionary(text: str) -> dict[str, Any] | None:
    """The object that ``text`` is in JSON, or as Python prints one."""
    for parse in (functools.partial(json.loads, strict=False), ast.literal_eval):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            value = parse(text)
            return value if isinstance(value, dict) else None
    return None


def _unquoted(literal: str) -> str:
    """The text of a Python bytes literal."""
    try:
        value = ast.literal_eval(literal)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return literal
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else literal


_WINDOWS: Final = (
    re.compile(r"maximum context length is (\d{3,9})"),
    re.compile(r"tokens? > (\d{3,9}) maximum"),
    re.compile(r"context limit: \d+ \+ \d+ > (\d{3,9})"),
    re.compile(r"context (?:size|window|length)\D{0,20}?(\d{3,9})"),
    re.compile(r"maximum prompt length is (\d{3,9})"),
    re.compile(r"maximum number of tokens allowed \((\d{3,9})"),
    re.compile(r"n_ctx\D{1,6}(\d{3,9})"),
)


def window_in(message: str) -> int:
    """The tokens that a model takes, where its refusal of a long conversation names them; else 0."""
    return _number(_WINDOWS, message)


_COUNTED: Final = (
    re.compile(r"(\d{1,9}) in the messages"),
    re.compile(r"resulted in (\d{1,9}) tokens"),
    re.compile(r"(\d{1,9}) tokens? >"),
    re.compile(r"context limit: (\d{1,9}) \+"),
    re.compile(r"request \((\d{1,9}) tokens\)"),
    re.compile(r"has (\d{1,9}) input tokens"),
    re.compile(r"request contains (\d{1,9}) tokens"),
    re.compile(r"input token count \((\d{1,9})\)"),
)


def counted_in(message: str) -> int:
    """The tokens that a provider counted in a conversation which it refused; 0 where it does not say."""
    return _number(_COUNTED, message)


def _number(patterns: Iterable[re.Pattern[str]], message: str) -> int:
    return next((int(match[1]) for pattern in patterns if (match := pattern.search(message))), 0)


_AGAIN: Final = re.compile(r"(?:try again|retry) (?:in|after) (\d{1,6}(?:\.\d{1,9})?) ?(ms|s|m)", re.I)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def told_wait(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """Seconds that the provider asks to wait, by its headers or its words; ``now`` is the Unix time."""
    milliseconds = retry_after(headers.get("retry-after-ms"), now)
    if milliseconds is not None:
        return milliseconds / 1000
    seconds = retry_after(headers.get("retry-after"), now)
    if seconds is None and (match := _AGAIN.search(message)):
        return float(match[1]) * _UNITS[match[2].lower()]
    return seconds


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
