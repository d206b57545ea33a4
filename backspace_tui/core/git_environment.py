"""The environments in which git is run: what is cut off, what the user may still configure.

Pure: each function takes an environment and returns one. ``isolated`` is for repositories of our own, in which
nothing but the repository itself may speak; ``of_user`` is for the user's repositories and for the network, where
the user's configuration (identity, credentials, ``safe.directory``, ignore file) is wanted but hooks are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

_HARDENED: Final = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.ext.allow", "never"),
)
_DURABLE: Final = (("core.fsync", "committed,loose-object"), ("core.fsyncMethod", "batch"))

_COMMON: Final = {
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "LC_ALL": "C",
    "LANGUAGE": "C",
}

# What the user's environment may tell git about credentials, transport and configuration.
_OF_USER: Final = frozenset({
    "GIT_ASKPASS", "GIT_CONFIG_COUNT", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH", "GIT_PROXY_COMMAND", "GIT_PROXY_SSL_CAINFO", "GIT_SSH", "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY", "GIT_SSL_NO_VERIFY",
    "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL",
})  # fmt: skip


def with_config(environ: Mapping[str, str], settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """``environ`` plus git settings, which reach git without standing in any command line or file."""
    result = dict(environ)
    count = result.get("GIT_CONFIG_COUNT", "")
    start = int(count) if count.isdigit() else 0
    total = start
    for total, (key, value) in enumerate(settings, start=start + 1):
        result[f"GIT_CONFIG_KEY_{total - 1}"] = key
        result[f"GIT_CONFIG_VALUE_{total - 1}"] = value
    result["GIT_CONFIG_COUNT"] = str(total)
    return result


def isolated(environ: Mapping[str, str], git_dir: str | os.PathLike[str]) -> dict[str, str]:
    """An environment in which git reads ``git_dir`` and no configuration from outside it."""
    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    kept |= _COMMON | {
        "GIT_DIR": os.fspath(git_dir),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
    }
    return with_config(kept, (*_HARDENED, *_DURABLE))


def of_user(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for the repository of the working directory: the user's settings, but no hooks or prompts."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or name in _OF_USER or name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))
    }
    return with_config(kept | _COMMON, (*_HARDENED, ("core.safecrlf", "false"), ("core.untrackedCache", "false")))
