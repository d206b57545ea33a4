"""Reaching an engine, and what is said where there is none."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from backspace_tui.core.protocols import SandboxError
from backspace_tui.sandbox import engine
from backspace_tui.sandbox.library import exec_command, open_sandbox, read_directory


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def test_no_engine_names_the_command_that_starts_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))  # bound, but nobody listens: as after a crash of the daemon
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    status = engine.probe_engine()
    listener.close()
    assert not status.ok
    assert "not running" in status.problem
    assert status.fix == "sudo systemctl start docker"


def test_permission_denied_is_not_taken_for_a_stopped_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    status = engine.probe_engine()
    assert "permission denied" in status.problem
    assert "usermod -aG docker" in status.fix


def test_contexts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import hashlib

    folder = tmp_path / "docker"
    identity = hashlib.sha256(b"far").hexdigest()
    meta, tls = folder / "contexts/meta" / identity, folder / "contexts/tls" / identity / "docker"
    meta.mkdir(parents=True)
    tls.mkdir(parents=True)
    for name in ("ca", "cert", "key"):
        (tls / f"{name}.pem").write_text("")
    (meta / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": "tcp://far:2376"}}}))
    (folder / "config.json").write_text(json.dumps({"currentContext": "far"}))
    found = engine.find_endpoint()
    assert (found.host, found.context, found.tls, found.verify) == ("tcp://far:2376", "far", True, True)
    assert found.certificate == str(tls / "cert.pem")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert engine.find_endpoint().host == engine.DEFAULT_HOST
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    assert "nowhere" in engine.probe_engine().problem
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@far")
    status = engine.probe_engine()
    assert "ssh" in status.problem
    assert status.fix.startswith("ssh -NL")


def test_a_broken_docker_configuration_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text("[1]")
    assert engine.find_endpoint().host == engine.DEFAULT_HOST


def test_a_directory_is_copied_in_without_its_git(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("secret")
    (tmp_path / "a").write_text("1")
    (tmp_path / "folder").symlink_to("/etc")
    assert set(read_directory(tmp_path, 10)) == {"a", "folder"}
    with pytest.raises(SandboxError, match="more than"):
        read_directory(tmp_path, 0)
    with pytest.raises(SandboxError, match="not a directory"):
        read_directory(tmp_path / "a", 10)
    with pytest.raises(TypeError, match="colour"):
        open_sandbox(tmp_path, backend="process", colour=1)
    with open_sandbox(tmp_path, backend="process", memory="256m") as box:
        assert box.run("cat a; echo 2 > a").stdout == b"1"
    assert (tmp_path / "a").read_text() == "1"
    command = ["sh", "-c", "printf 'o\\033[31m'; printf e >&2; exit 9"]
    assert exec_command(tmp_path, command, backend="process") == 9
    assert capfdbinary.readouterr() == (b"o\x1b[31m", b"e")
    assert exec_command(tmp_path, ["sleep 9"], timeout=0.1, backend="process") == 124
