"""The address of a repository on GitHub, read from a remote's URL. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_SCP: Final = re.compile(r"(?:[^@/\s]+@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>[^\s:]+)")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_ALIASES: Final = {"www.github.com": "github.com", "ssh.github.com": "github.com"}


class GithubRemote(NamedTuple):
    """``host`` has no port; ``push_url`` is where the token is sent, without credentials."""

    host: str
    owner: str
    repo: str
    push_url: str


def parse_github_remote(url: str) -> GithubRemote | None:
    """Host, owner and name from an HTTPS, SSH, scp-like or git address, or ``None`` where it has another shape.

    Pushing is over HTTPS whatever the remote's own scheme is; plain HTTP only to this machine itself.
    """
    if "://" in url:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return None
        scheme, path = parts.scheme.lower(), parts.path
        if scheme not in ("http", "https", "ssh", "git", "git+ssh"):
            return None
    else:
        found = _SCP.fullmatch(url)
        if found is None:
            return None
        scheme, host, port, path = "ssh", found["host"].lower(), None, found["path"]
    names = path.strip("/").removesuffix(".git").split("/")
    if not host or len(names) != 2 or not all(_NAME.fullmatch(name) and name not in (".", "..") for name in names):
        return None
    host = _ALIASES.get(host, host)
    place = f"[{host}]" if ":" in host else host
    if scheme in ("http", "https") and port is not None:
        place += f":{port}"
    push = "http" if scheme == "http" and _is_loopback(host) else "https"
    return GithubRemote(host, names[0], names[1], f"{push}://{place}/{names[0]}/{names[1]}.git")


def serves(api_url: str, host: str) -> bool:
    """Whether the API at ``api_url`` is that of the repositories on ``host``: the same host, or ``api.`` before it."""
    try:
        api_host = (urlsplit(api_url).hostname or "").lower()
    except ValueError:
        return False
    return host in (api_host, api_host.removeprefix("api."))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
