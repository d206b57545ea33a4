"""GitHub's refusals in one line that says what to do. PyGithub is not imported: its errors are read by shape."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from backspace_tui.core.protocols import ForgeError
from backspace_tui.core.terminal_text import clean

_LONGEST: Final = 300
_SSO_URL: Final = re.compile(r"url=(\S+)")


def explain(status: int, data: Any, headers: Mapping[str, Any] | None, place: str) -> ForgeError:
    """The error for an answer with ``status``; ``data`` is its body, ``place`` is ``owner/name``."""
    head = {str(name).lower(): str(value) for name, value in (headers or {}).items()}
    said = messages(data)
    low = said.lower()
    if status == 429 or (status == 403 and ("rate limit" in low or head.get("x-ratelimit-remaining") == "0")):
        return ForgeError(f"GitHub's rate limit is reached{_wait(head)}", retryable=True)
    if status == 401:
        return ForgeError("GitHub does not accept the token: check GITHUB_TOKEN (expired or revoked?)")
    if status == 403 and "required" in (sso := head.get("x-github-sso", "")):
        found = _SSO_URL.search(sso)
        where = f" at {one_line(found[1])}" if found else ""
        return ForgeError(f"the organization asks for single sign-on: authorize the token{where}, then resume")
    if status == 403 and "retry-after" in head:
        return ForgeError(f"GitHub asks to slow down{_wait(head)}", retryable=True)
    if status == 403:
        needs = head.get("x-accepted-github-permissions") or head.get("x-accepted-oauth-scopes") or ""
        more = f"; it needs {one_line(needs)}" if needs else ""
        return ForgeError(f"the token may not do this on {place}: {said or 'forbidden'}{more}")
    if status == 404:
        return ForgeError(
            f"{place} does not exist on GitHub, or the token may not see it (it needs pull requests: write)"
        )
    if status in (410, 451):
        return ForgeError(f"{place} does not take pull requests: {said or status}")
    if status == 422:
        return ForgeError(f"GitHub refused the pull request: {said or 'no reason given'}")
    if status >= 500:
        return ForgeError(f"GitHub has a problem of its own (status {status}); try again later", retryable=True)
    return ForgeError(f"GitHub answered with status {status}: {said or 'no reason given'}")


def messages(data: Any) -> str:
    """Everything that the body of an error says, in one line."""
    if not isinstance(data, dict):
        return one_line(str(data)) if data else ""
    parts = [str(data.get("message") or "")]
    errors = data.get("errors")
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict):
            text = error.get("message") or " ".join(str(error.get(key) or "") for key in ("field", "code"))
        else:
            text = error
        parts.append(str(text))
    return one_line("; ".join(dict.fromkeys(part.strip() for part in parts if part.strip())))


def one_line(text: str) -> str:
    """``text`` cleaned, on one line, of bounded length."""
    line = " ".join(clean(text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _wait(head: Mapping[str, str]) -> str:
    after = head.get("retry-after", "")
    if after.isdigit():
        return f": try again in {int(after)} seconds"
    reset = head.get("x-ratelimit-reset", "")
    if reset.isdigit():
        return f": try again in {max(1, round((int(reset) - time.time()) / 60))} minutes"
    return ": try again in a minute"
