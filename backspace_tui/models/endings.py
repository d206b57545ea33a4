"""How a reply ended, by its provider's word for it. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

Ending = Literal["stop", "tool_calls", "length", "content_filter", "context", "call", "cut"]
"""The first four end a turn properly; the others are kinds of fault."""

_WORDS: Final[dict[Ending, tuple[str, ...]]] = {
    "stop": ("stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete", "completed"),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call"),
    "length": ("length", "max_tokens", "max_output_tokens"),
    "content_filter": (
        "content_filter", "content_filtered", "refusal", "safety", "recitation", "language", "blocklist",
        "prohibited_content", "spii", "sensitive", "guardrail_intervened", "error_toxic",
    ),
    "context": ("model_context_window_exceeded", "model_length"),
}  # fmt: skip
_KNOWN: Final[dict[str, Ending]] = {word: ending for ending, words in _WORDS.items() for word in words}
_BAD_CALL: Final = re.compile(r"(malformed|unexpected|invalid)_(function|tool)_call", re.I)


def meaning(word: str) -> Ending:
    """What a finish reason of any provider says. An unknown one is no proof that the model had finished."""
    known = _KNOWN.get(word.strip().lower())
    return known or ("call" if _BAD_CALL.search(word) else "cut")


def proper(word: str) -> bool:
    """Whether a reply that ended so is whole, or cut by a limit that it is told to have met."""
    return meaning(word) in ("stop", "tool_calls", "length", "content_filter")


class Told:
    """The finish reason in the pieces of a stream, as it was sent: litellm makes "stop" of unknown and missing ones."""

    def __init__(self) -> None:
        self._understood = False
        self._word = ""

    def note(self, piece: Any) -> None:
        """Look at one piece in the protocol of OpenAI, Anthropic or Gemini."""
        if not isinstance(piece, dict):
            return
        for key, field in (("choices", "finish_reason"), ("candidates", "finishReason")):
            if isinstance(choices := piece.get(key), list):
                self._take(choices[0] if choices else None, field)
        if piece.get("type") in ("message_start", "message_delta"):
            self._take(piece.get("delta"), "stop_reason")

    def _take(self, holder: Any, field: str) -> None:
        self._understood = True
        word = holder.get(field) if isinstance(holder, dict) else None
        if word and isinstance(word, str):
            self._word = word

    def word(self, received: str | None) -> str | None:
        """The reason that counts, where litellm has ``received`` another; ``None`` if none was sent.

        Its own is better as far as it knows them: it answers a schema by a call that it makes text of.
        """
        if not self._understood:
            return received
        return (received if proper(self._word) else self._word) or self._word or None
