"""Prices and limits of models by litellm's own table, read without importing litellm and without the network."""

from __future__ import annotations

import functools
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

_TABLE: Final = "model_prices_and_context_window_backup.json"
_ABOVE: Final = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


class Card(msgspec.Struct, frozen=True):
    """What is known of a model. Prices are dollars per token, ``None`` where unknown; limits are tokens, 0: unknown.

    ``tiers`` are prices for requests of more than so many tokens, the highest first: (tokens, input, output).
    """

    window: int = 0
    max_output: int = 0
    input: float | None = None
    output: float | None = None
    tiers: tuple[tuple[int, float, float], ...] = ()

    def cost(self, tokens_in: int, tokens_out: int) -> float | None:
        """Dollars for so many tokens without any discount for caches; ``None`` where the price is not known."""
        if self.input is None or self.output is None:
            return None
        for above, dear_in, dear_out in self.tiers:
            if tokens_in > above:
                return tokens_in * dear_in + tokens_out * dear_out
        return tokens_in * self.input + tokens_out * self.output


@functools.cache
def card(name: str) -> Card:
    """What the table says of the model ``name`` (``PROVIDER/MODEL``); an empty card where it says nothing."""
    provider, _, bare = name.partition("/")
    try:
        spec = find_spec("litellm")
        table = json.loads((Path(spec.origin).parent / _TABLE).read_bytes()) if spec and spec.origin else {}
    except (OSError, ValueError):
        return Card()
    entry = table.get(name)
    if entry is None and str(table.get(bare, {}).get("litellm_provider", "")).startswith(provider):
        entry = table[bare]
    return _card(entry) if isinstance(entry, dict) else Card()


def _card(entry: dict[str, Any]) -> Card:
    tiers = []
    for key, value in entry.items():
        if (match := _ABOVE.fullmatch(key)) and (price := _price(value)) is not None:
            dear_out = _price(entry.get(key.replace("input", "output")))
            tiers.append((int(match[1]) * 1000, price, dear_out or _price(entry.get("output_cost_per_token")) or 0.0))
    return Card(
        window=_count(entry.get("max_input_tokens") or entry.get("max_tokens")),
        max_output=_count(entry.get("max_output_tokens")),
        input=_price(entry.get("input_cost_per_token")),
        output=_price(entry.get("output_cost_per_token")),
        tiers=tuple(sorted(tiers, reverse=True)),
    )


def _price(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value >= 0 else None


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0
