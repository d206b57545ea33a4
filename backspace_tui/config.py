"""Typed settings."""

from __future__ import annotations

import msgspec


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[models]]`` entry.

    ``api_base`` is the address of an OpenAI-compatible server, ``api_key_env`` the name of the environment variable
    that holds its key (never the key itself), ``timeout`` the longest silence in seconds, ``max_output_tokens`` the
    cap of one reply.
    """

    name: str
    api_base: str = ""
    api_key_env: str = ""
    timeout: float = 120.0
    max_output_tokens: int = 8192
