"""Repository addresses as text: which are URLs, and how to show them without credentials."""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HELPER: Final = re.compile(r"[A-Za-z0-9+.-]+::")
_SCP: Final = re.compile(r"(?:[^/\s:@]+@)?[A-Za-z0-9_.\[\]-]+:(?!/?/)\S+")
_SHORT: Final = re.compile(r"(?:www\.)?github\.com/[^/\s]+/[^/\s]+", re.IGNORECASE)
_WEB: Final = re.compile(
    r"https?://(?:[^@/\s]+@)?(?:www\.)?github\.com/(?P<owner>[^/\s?#]+)/(?P<name>[^/\s?#]+)"
    r"(?:/tree/(?P<ref>[^\s?#]+?))?/?(?:[?#]\S*)?$",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s:@'\"]*(?::[^/\s'\"]*)?@")
_PASSWORD: Final = re.compile(r"((?:ssh|git\+ssh)://[^/\s@:]+):[^/\s@]*@", re.IGNORECASE)

SCHEMES: Final = frozenset({"file", "git", "http", "https", "ssh"})


def is_url(text: str) -> bool:
    """Whether ``text`` looks like a repository's address rather than a path."""
    return bool(_SCHEME.match(text) or _HELPER.match(text) or _SHORT.match(text) or _SCP.fullmatch(text))


def unsupported(url: str) -> str | None:
    """Why ``url`` is not fetched from, or ``None``. Transport helpers can run commands and are never used."""
    if url.startswith("-") or _HELPER.match(url) or any(char.isspace() or not char.isprintable() for char in url):
        return "is not an address that is fetched from"
    scheme = _SCHEME.match(url)
    if scheme and scheme[1].lower() not in SCHEMES:
        return f"uses {scheme[1]}://; use https://, ssh://, git:// or file://"
    return None


def parse(url: str) -> tuple[str, str]:
    """The address to fetch from, and the branch that a GitHub web address names (or an empty string)."""
    if _SHORT.match(url):
        url = f"https://{url}"
    web = _WEB.match(url)
    if web is None:
        return url, ""
    address = f"https://github.com/{web['owner']}/{web['name']}"
    userinfo = _USERINFO.match(url)
    if userinfo:
        address = userinfo[0] + address.removeprefix("https://")
    return address, web["ref"] or ""


def without_credentials(text: str) -> str:
    """``text`` with the user names and passwords of URLs taken out; the user of an SSH address stays."""
    text = _PASSWORD.sub(r"\1@", text)
    return _USERINFO.sub(lambda found: found[0] if found[1].lower() in ("ssh://", "git+ssh://") else found[1], text)
