"""Finding and reaching the Docker Engine, and saying in one line what to do where that fails."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backspace_tui.core.protocols import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
API_SECONDS: Final = 60


@dataclass(frozen=True)
class Endpoint:
    """Where the engine listens, as the docker command would find it; ``context`` is empty for the default."""

    host: str
    context: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True

    @property
    def tls(self) -> bool:
        return bool(self.ca or self.certificate)


@dataclass(frozen=True)
class EngineStatus:
    """Whether sandboxes can be had of the engine. ``fix`` is the one command or setting that mends ``problem``."""

    ok: bool
    problem: str = ""
    fix: str = ""
    version: str = ""
    host: str = ""
    context: str = ""
    isolation: str = ""


class EngineError(SandboxError):
    """The engine cannot be reached or used; :attr:`problem` and :attr:`fix` are the two halves of the text."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}: {fix}")
        self.problem, self.fix = problem, fix


def find_endpoint() -> Endpoint:
    """The endpoint of ``DOCKER_HOST``, else of the current context, else the default socket.

    Raises:
        EngineError: the current context does not exist or cannot be read.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if host := os.environ.get("DOCKER_HOST"):
        certificates = Path(os.environ.get("DOCKER_CERT_PATH") or folder)
        verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
        if host.startswith("tcp:") and (verify or os.environ.get("DOCKER_CERT_PATH")):
            return _with_certificates(Endpoint(host, verify=verify), certificates)
        return Endpoint(host)
    name = os.environ.get("DOCKER_CONTEXT") or _current_context(folder)
    if name in ("", "default"):
        return Endpoint(DEFAULT_HOST)
    identity = hashlib.sha256(name.encode()).hexdigest()
    try:
        meta = json.loads((folder / "contexts/meta" / identity / "meta.json").read_text())
        docker = meta["Endpoints"]["docker"]
        host = str(docker["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(f"the docker context {name!r} cannot be read", "docker context use default") from None
    endpoint = Endpoint(host, name, verify=not docker.get("SkipTLSVerify", False))
    return _with_certificates(endpoint, folder / "contexts/tls" / identity / "docker")


def _current_context(folder: Path) -> str:
    try:
        name = json.loads((folder / "config.json").read_text()).get("currentContext", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return name if isinstance(name, str) else ""


def _with_certificates(endpoint: Endpoint, folder: Path) -> Endpoint:
    found = {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key") if (folder / f"{name}.pem").is_file()}
    return Endpoint(
        endpoint.host,
        endpoint.context,
        found.get("ca", ""),
        found.get("cert", ""),
        found.get("key", ""),
        endpoint.verify,
    )


def _check_socket(host: str) -> None:
    """Tell a missing, a forbidden and a dead socket apart, which docker-py's errors do not."""
    path = host.removeprefix("unix://")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(5)
    try:
        probe.connect(path)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise EngineError(
                "permission denied on the Docker socket",
                "sudo usermod -aG docker $USER, then log in again",
            ) from None
        if error.errno == errno.ENOENT and platform.system() == "Linux" and not _installed():
            raise EngineError("Docker is not installed", "see https://docs.docker.com/engine/install") from None
        start = "sudo systemctl start docker" if platform.system() == "Linux" else "start Docker Desktop"
        raise EngineError(f"the Docker Engine is not running (no answer on {path})", start) from None
    finally:
        probe.close()


def _installed() -> bool:
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/local/bin"]
    return any(os.access(f"{folder}/{name}", os.X_OK) for folder in folders for name in ("docker", "dockerd"))


def connect(endpoint: Endpoint | None = None) -> DockerClient:
    """A client of the engine, checked to answer; the caller closes it.

    Raises:
        EngineError: not installed, not running, no permission, an endpoint that cannot be used.
    """
    endpoint = endpoint or find_endpoint()
    host = endpoint.host
    if host.startswith("ssh://"):
        raise EngineError(
            f"an engine over ssh ({host}) cannot hold sandboxes",
            f"ssh -NL /tmp/docker.sock:/var/run/docker.sock {host.removeprefix('ssh://')} & "
            "export DOCKER_HOST=unix:///tmp/docker.sock",
        )
    if host.startswith("unix://"):
        _check_socket(host)
    import docker
    import requests
    from docker.errors import DockerException
    from docker.tls import TLSConfig

    try:
        options: dict[str, Any] = {"base_url": host, "version": "auto", "timeout": API_SECONDS}
        if endpoint.tls:
            pair = (endpoint.certificate, endpoint.key) if endpoint.certificate and endpoint.key else None
            options["tls"] = TLSConfig(
                client_cert=pair, ca_cert=endpoint.ca or None, verify=endpoint.verify and (endpoint.ca or True)
            )
        return docker.DockerClient(**options)
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        where = f"of the context {endpoint.context!r} " if endpoint.context else ""
        raise EngineError(
            f"the Docker Engine {where}at {host} does not answer ({_short(error)})", "docker version"
        ) from None


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]


def probe_engine() -> EngineStatus:
    """Whether sandboxes can be had here, for ``doctor``; never raises."""
    context = host = ""
    try:
        endpoint = find_endpoint()
        context, host = endpoint.context, endpoint.host
        client = connect(endpoint)
    except EngineError as error:
        return EngineStatus(False, error.problem, error.fix, host=host, context=context)
    try:
        information = client.info()
        if information.get("OSType", "linux") != "linux":
            return EngineStatus(False, "the engine runs Windows containers", "switch it to Linux containers")
        traits = [f"cgroup v{information.get('CgroupVersion', '1')}"]
        options = " ".join(information.get("SecurityOptions") or ())
        traits += [name for name in ("seccomp", "apparmor", "selinux", "rootless", "userns") if name in options]
        if "seccomp" not in options:
            return EngineStatus(
                False, "the engine has no seccomp", "use a kernel with CONFIG_SECCOMP_FILTER", host=host
            )
        traits.append(f"runtime {information.get('DefaultRuntime') or 'unknown'}")
        version = str(information.get("ServerVersion", ""))
        return EngineStatus(True, "", "", version, host, context, ", ".join(traits))
    except Exception as error:
        return EngineStatus(False, f"the engine does not answer ({_short(error)})", "docker info", host=host)
    finally:
        client.close()
