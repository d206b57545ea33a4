"""A model that replays recorded turns: for the demo and for tests. It is labelled as scripted wherever it shows.

Its file is TOML::

    name = "scripted"
    plan = "1. ..."              # the plan's text
    critique = "APPROVE"         # optional

    [[turns]]                    # the turns of the implement stage, in order
    thinking = "..."             # optional; streamed before the text
    text = "..."                 # optional
    calls = [{ tool = "read_file", arguments = { path = "cart.py" } }]
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from backspace_tui.core.protocols import (
    Cancelled,
    CancelToken,
    Estimate,
    ModelObserver,
    ModelReply,
    ModelRequest,
    ToolCall,
)

PAST_THE_END: Final = "This is a scripted model; its script ends here."


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool call of a turn."""

    tool: str
    arguments: dict[str, Any] = {}


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recorded turn."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ScriptedCall, ...] = ()


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    turns: tuple[Turn, ...]
    name: str = "scripted"
    plan: str = "1. Do what was asked for."
    critique: str = "APPROVE"


class ScriptedModel:
    """Implements :class:`backspace_tui.core.protocols.Model`.

    The turn is chosen by counting the assistant's messages in the request, so nothing is kept between turns and a
    resumed session goes on where it was.
    """

    def __init__(self, turns: Sequence[Turn] | Script, name: str = "scripted", *, pace: float = 0.0) -> None:
        """``pace`` is in seconds a streamed word; 0 streams at once."""
        self._script = turns if isinstance(turns, Script) else Script(tuple(turns), name)
        self._pace = pace

    @classmethod
    def from_file(cls, path: Path, *, pace: float = 0.0) -> Self:
        """Read a script. Raises :class:`ValueError` naming what is wrong in it."""
        try:
            return cls(msgspec.toml.decode(path.read_bytes(), type=Script), pace=pace)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path.name}: {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        return (self._script.name,)

    def estimate(self, request: ModelRequest) -> Estimate:
        """It costs nothing."""
        return Estimate(self._script.name)

    def complete(self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken) -> ModelReply:
        """Answer one turn; see :meth:`backspace_tui.core.protocols.Model.complete`."""
        if cancel.cancelled:
            raise Cancelled
        turn, number = self._turn(request)
        observer.may_call(Estimate(self._script.name))
        observer.called(self._script.name, 1)
        self._stream("thinking", turn.thinking, observer, cancel)
        self._stream("text", turn.text, observer, cancel)
        calls = tuple(
            ToolCall(f"scripted-{number}-{index}", call.tool, call.arguments)
            for index, call in enumerate(turn.calls, 1)
        )
        return ModelReply(self._script.name, turn.text, calls, turn.thinking, usd=0.0)

    def _turn(self, request: ModelRequest) -> tuple[Turn, int]:
        number = sum(message.role == "assistant" for message in request.messages)
        match request.purpose:
            case "plan" | "analyze":
                return Turn(self._script.plan), 1
            case "critique":
                return Turn(self._script.critique), 1
            case _ if number < len(self._script.turns):
                return self._script.turns[number], number + 1
            case _:
                return Turn(PAST_THE_END), number + 1

    def _stream(
        self, kind: Literal["text", "thinking"], text: str, observer: ModelObserver, cancel: CancelToken
    ) -> None:
        wake = threading.Event()
        forget = cancel.on_cancel(wake.set)
        try:
            for piece in re.findall(r"\s*\S+\s*\Z|\s*\S+|\s+", text):
                if wake.wait(self._pace) or cancel.cancelled:
                    raise Cancelled
                observer.streamed(kind, piece)
        finally:
            forget()
