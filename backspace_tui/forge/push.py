"""Pushing one branch over HTTPS with a token, by compare and swap.

The token reaches git in its environment alone: it stands in no argument, no file and no message.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from backspace_tui.core.git_environment import isolated, of_user, with_config
from backspace_tui.core.protocols import ForgeError
from backspace_tui.core.terminal_text import clean, visible

TIMEOUT: Final = 600.0

# What the user's git knows of the way to the network; nothing else of their configuration is wanted here.
_NETWORK: Final = r"^http\.(.*\.)?(proxy.*|ssl.*|version|postbuffer)$"
_TRANSIENT: Final = re.compile(
    r"could not resolve host|failed to connect|couldn't connect|connection (?:was )?(?:reset|refused)|timed? ?out"
    r"|early eof|rpc failed|hung up|unexpected disconnect|returned error: (?:5\d\d|429)|operation too slow|empty reply",
    re.IGNORECASE,
)


def push_branch(
    repository: str, url: str, token: str, commit: str, branch: str, previous: Sequence[str], timeout: float = TIMEOUT
) -> str:
    """Bring ``commit`` to ``branch`` at ``url``; what was done, in one line.

    Raises:
        ForgeError: somebody else's work is on the branch, or git could not do it.
    """
    environment = _environment(repository, url, token)
    ref = f"refs/heads/{branch}"
    place = f"{visible(branch)} at {_place(url)}"

    def run(*arguments: str) -> str:
        return _git(arguments, repository, environment, url, token, timeout)

    def at_remote() -> str:
        for line in run("ls-remote", url, ref).splitlines():
            oid, _, name = line.partition("\t")
            if name == ref:
                return oid
        return ""

    present = at_remote()
    if present == commit:
        return f"{commit[:10]} is on {place} already"
    if present and present not in previous:
        raise ForgeError(
            f"{place} holds {present[:10]}, which this session did not make: rename or remove that branch, then resume"
        )
    # An empty expectation means that the branch must not exist yet.
    try:
        run("push", "--porcelain", "--no-verify", f"--force-with-lease={ref}:{present}", url, f"{commit}:{ref}")
    except ForgeError:
        # The answer alone may be lost, and the git of a process that was killed may still have been at it.
        with contextlib.suppress(ForgeError):
            if at_remote() == commit:
                return f"{commit[:10]} is on {place} already"
        raise
    return f"{commit[:10]} pushed to {place}"


def _environment(repository: str, url: str, token: str) -> dict[str, str]:
    user = of_user(os.environ)
    environment = isolated(os.environ, repository)
    environment |= {name: value for name, value in user.items() if name.startswith(("GIT_SSL_", "GIT_PROXY_SSL_"))}
    parts = urlsplit(url)
    secret = base64.b64encode(f"x-access-token:{token}".encode()).decode("ascii")
    settings = [
        *_network_settings(user),
        # A redirect could carry the token to another host.
        ("http.followRedirects", "false"),
        ("http.lowSpeedLimit", "1000"),
        ("http.lowSpeedTime", "60"),
        ("credential.helper", ""),
        (f"http.{parts.scheme}://{parts.netloc}/.extraHeader", f"Authorization: Basic {secret}"),
    ]
    return with_config(environment, settings) | {"GIT_ALLOW_PROTOCOL": "http:https", "GIT_ASKPASS": "true"}


def _network_settings(user: dict[str, str]) -> list[tuple[str, str]]:
    done = subprocess.run(
        ["git", "config", "--null", "--get-regexp", _NETWORK],
        cwd="/", env=user, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    pairs = (record.partition("\n") for record in os.fsdecode(done.stdout).split("\0") if record)
    return [(key, value) for key, _, value in pairs]


def _git(
    arguments: Sequence[str], repository: str, environment: dict[str, str], url: str, token: str, timeout: float
) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ForgeError("git is not installed or not on PATH: install it") from None
    except subprocess.TimeoutExpired:
        raise ForgeError(f"{_place(url)} did not answer in {timeout:.0f} seconds", retryable=True) from None
    except OSError as problem:
        raise ForgeError(f"git cannot be run: {problem.strerror or problem}") from None
    said = clean(done.stderr + b"\n" + done.stdout)
    if done.returncode == 0:
        return os.fsdecode(done.stdout)
    for secret in (token, base64.b64encode(f"x-access-token:{token}".encode()).decode("ascii")):
        said = said.replace(secret, "***")
    raise explain(said, url)


def explain(said: str, url: str) -> ForgeError:
    """What git and the server said, as one line with what to do."""
    place, low = _place(url), said.lower()
    if "could not read username" in low or "authentication failed" in low or "returned error: 401" in low:
        return ForgeError(f"{place} does not accept the token: check GITHUB_TOKEN (expired, or of another host?)")
    if "shallow update not allowed" in low:
        return ForgeError(
            f"{place} does not hold the commit that the session started from: push your own branch first, then resume"
        )
    if "workflow" in low and "refusing to allow" in low:
        return ForgeError(
            "the token may not change .github/workflows: give it the workflow permission, or leave that out"
        )
    if "stale info" in low or "fetch first" in low or "non-fast-forward" in low:
        return ForgeError(f"somebody changed the branch at {place} meanwhile: look at it, then resume")
    if "permission to" in low or "returned error: 403" in low or "write access" in low:
        return ForgeError(f"the token may not push to {place}: it needs write access to contents")
    if "repository not found" in low or "returned error: 404" in low or "' not found" in low:
        return ForgeError(f"{place} does not exist, or the token may not see it")
    return ForgeError(f"pushing to {place} failed: {_telling(said)}", retryable=bool(_TRANSIENT.search(low)))


def _telling(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for marker in ("remote: error:", "remote: fatal:", "! ", "error: RPC failed", "fatal:", "error:", "remote:"):
        for line in lines:
            if line.startswith(marker):
                return " ".join(line.removeprefix("remote:").split())[:300]
    return lines[0][:300] if lines else "git said nothing"


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}{parts.path.removesuffix('.git')}"
