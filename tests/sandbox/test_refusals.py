"""What is said where the engine is full or cannot do what a sandbox needs, by an engine that only refuses."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from backspace_tui.core.protocols import SandboxError
from backspace_tui.sandbox.docker import open_container
from backspace_tui.sandbox.limits import Limits
from backspace_tui.sandbox.refusals import refusal, unlimited

CREATED: Final = "c" * 64


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers as the Docker API does; ``refuse`` maps the end of a path to a status and a message."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.refuse: dict[str, tuple[int, str]] = {}
        self.warnings: list[str] = []
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        for end, (status, text) in self.server.refuse.items():
            if path.endswith(end):
                return self.reply(status, {"message": text})
        if path.endswith("/version"):
            return self.reply(200, {"ApiVersion": "1.41", "Version": "20.10"})
        if path.endswith("/containers/json"):
            return self.reply(200, [])
        if path.endswith("/containers/create"):
            return self.reply(201, {"Id": CREATED, "Warnings": self.server.warnings})
        if "/images/" in path and path.endswith("/json"):
            return self.reply(200, {"Id": "sha256:1", "Config": {"Env": [], "Labels": {}}})
        return self.reply(200, {})

    def reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An engine that refuses what it is told to."""
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'engine'}")
    server = Server(tmp_path / "engine")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


REFUSALS = [
    ("/create", 500, "write /var/lib/docker/x: no space left on device", "docker system df"),
    ("/create", 500, "mkdir /sys/fs/cgroup/memory/docker/1: cgroup: no space left on device", "end a session"),
    ("/create", 400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", "[sandbox] cpus"),
    ("/create", 503, "too many containers: the limit is 10", "end a session"),
    ("/create", 400, "memory cgroup is not mounted", "cannot limit memory"),
    ("/create", 500, "pids controller is not available", "cannot limit pids"),
    ("/create", 404, "No such image: sha256:1", "backspace-tui sandbox build"),
    ("/create", 500, "something\nnobody has seen", "the engine refused the sandbox: something nobody has seen"),
    ("/containers/json", 500, "out of file descriptors: too many open files", "end a session"),
]


@pytest.mark.parametrize(("where", "status", "message", "expected"), REFUSALS)
def test_a_refusal_is_one_line_that_says_what_to_do(
    stand_in: Server, where: str, status: int, message: str, expected: str
) -> None:
    stand_in.refuse[where] = (status, message)
    with pytest.raises(SandboxError) as refused:
        open_container("sha256:1", Limits())
    text = str(refused.value)
    assert expected in text
    assert "\n" not in text
    assert len(text) < 400


def test_a_container_without_its_limits_is_removed_again(stand_in: Server) -> None:
    stand_in.warnings = [
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited.",
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    ]
    with pytest.raises(SandboxError, match="cannot limit memory"):
        open_container("sha256:1", Limits())
    assert any(asked.startswith("DELETE") and CREATED in asked for asked in stand_in.asked)
    assert not any(asked.endswith("/start") for asked in stand_in.asked)


def test_what_cannot_be_started_is_removed_again(stand_in: Server) -> None:
    stand_in.refuse["/attach"] = (500, "fork/exec runc: cannot allocate memory")
    with pytest.raises(SandboxError, match="out of memory"):
        open_container("sha256:1", Limits())
    assert any(asked.startswith("DELETE") and CREATED in asked for asked in stand_in.asked)


def test_warnings_that_do_not_matter() -> None:
    assert unlimited(None) == unlimited([]) == ""
    assert unlimited(["Published ports are discarded when using host network mode"]) == ""
    assert unlimited(["Your kernel does not support swap limit capabilities. Limitation discarded."]) == ""
    assert "pids" in unlimited(["Your kernel does not support pids limit capabilities. PIDs limit discarded."])
    assert refusal("OCI runtime create failed: cannot allocate memory").startswith("the engine's machine is out of")
