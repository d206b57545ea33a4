"""A real git smart HTTP server on loopback: nginx, fcgiwrap and git-http-backend, behind basic authentication."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOKEN = "ghp_" + "s3cr3tTokenOfATest" * 2
BACKENDS = ("/usr/lib/git-core/git-http-backend", "/usr/libexec/git-core/git-http-backend")

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {root}/access.log;
  client_max_body_size 0;
  client_body_temp_path {root}/body;
  fastcgi_temp_path {root}/fastcgi;
  proxy_temp_path {root}/proxy;
  scgi_temp_path {root}/scgi;
  uwsgi_temp_path {root}/uwsgi;
  server {{
    listen 127.0.0.1:{port};
    location /moved/ {{ return 302 http://127.0.0.1:{port}/; }}
    location /broken/ {{ return 503; }}
    location /forbidden/ {{ return 403; }}
    location / {{
      auth_basic git;
      auth_basic_user_file {root}/users;
      fastcgi_pass unix:{root}/cgi.sock;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {root}/srv;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_CONFIG_NOSYSTEM 1;
      fastcgi_param HOME {root};
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param REMOTE_ADDR $remote_addr;
    }}
  }}
}}
"""


class GitServer:
    """Repositories live under ``root/srv/<owner>/<name>.git``."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def create(self, owner: str, name: str) -> Path:
        """An empty bare repository; its folder."""
        folder = self.root / "srv" / owner / f"{name}.git"
        folder.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(folder)], check=True)
        return folder

    def log(self) -> str:
        """What the server wrote down."""
        return (self.root / "access.log").read_text()


def needs(*programs: str) -> None:
    """Skip where a program is missing; fail where nothing may be skipped."""
    missing = [name for name in programs if shutil.which(name) is None]
    if not any(Path(path).exists() for path in BACKENDS):
        missing.append("git-http-backend")
    if missing:
        reason = f"{', '.join(missing)} not installed (apt-get install nginx-light fcgiwrap apache2-utils)"
        if os.environ.get("BACKSPACE_CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def git_server(root: Path) -> Iterator[GitServer]:
    """A server that runs until the block ends. The user name does not matter, the password is :data:`TOKEN`."""
    needs("nginx", "fcgiwrap", "htpasswd")
    root.mkdir(parents=True, exist_ok=True)
    (root / "srv").mkdir()
    users = subprocess.run(
        ["htpasswd", "-nbB", "-C", "4", "x-access-token", TOKEN], capture_output=True, text=True, check=True
    ).stdout
    (root / "users").write_text(users)
    port = free_port()
    backend = next(path for path in BACKENDS if Path(path).exists())
    user = "user root;" if os.geteuid() == 0 else ""
    config = root / "nginx.conf"
    config.write_text(CONFIG.format(user=user, root=root, port=port, backend=backend))
    processes = [
        start("fcgiwrap", "-f", "-c", "2", "-s", f"unix:{root}/cgi.sock"),
        start("nginx", "-p", str(root), "-c", str(config)),
    ]
    try:
        wait_for(port, root / "cgi.sock", processes)
        yield GitServer(root, port)
    finally:
        for process in processes:
            # Each leads a group of its own: fcgiwrap does not take its workers along.
            os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            process.wait(10)


def start(*command: str) -> subprocess.Popen[bytes]:
    """A server in a process group of its own."""
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """Until both sockets answer."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), "a server ended at once"
        with socket.socket() as probe:
            if path.exists() and probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("the git server did not start")
