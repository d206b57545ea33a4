"""The doctor: what facts mean, and what it finds on machines that lack things."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import ModelSettings
from backspace_tui.doctor import checks as doctor
from backspace_tui.doctor.machine import logind_texts
from backspace_tui.models.choose import Choice
from backspace_tui.sandbox.engine import EngineStatus
from backspace_tui.sandbox.images import ImageStatus

ENGINE = EngineStatus(True, version="27.1", host="unix:///var/run/docker.sock", isolation="cgroup v2, seccomp")
FORBIDDEN = EngineStatus(False, "permission denied on the Docker socket", "sudo usermod -aG docker $USER")
ABSENT = EngineStatus(False, "Docker is not installed", "see the manual")
STOPPED = EngineStatus(False, "the Docker Engine is not running", "sudo systemctl start docker")
TERMINAL = doctor.Terminal("xterm-256color", "truecolor", "UTF-8", (120, 40))
INSIDE = """Name:	cat
Uid:	1000	1000	1000	1000
CapEff:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
"""  # noqa: E501
GOOD = doctor.Facts(
    git="git version 2.39.5",
    engine=ENGINE,
    image=ImageStatus("default", "backspace-tui/default:1", "sha256:1", 700_000_000),
    bubblewrap="",
    inside=INSIDE,
    sandbox_problem="",
    settings_problem="",
    models=Choice((ModelSettings("anthropic/x"),), "chosen by the keys present"),
    keys=("ANTHROPIC_API_KEY",),
    github_token="GITHUB_TOKEN",
    terminal=TERMINAL,
    data_dir=doctor.DataDir("/home/u/data", "", 50 << 30),
    logind=doctor.Logind(running=True, kill=False),
    user="u",
    root=False,
    installers=("apt-get",),
)


def judged(**changes: Any) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.judge(replace(GOOD, **changes))}


def test_all_is_well() -> None:
    checks = doctor.judge(GOOD)
    assert {check.status for check in checks} == {"ok"}
    assert not any(check.fix for check in checks)
    assert doctor.exit_code(checks) == 0


@pytest.mark.parametrize(
    ("engine", "fix"),
    [
        (FORBIDDEN, "sudo usermod -aG docker $USER"),
        (ABSENT, "sudo apt-get install -y docker.io"),
        (STOPPED, "sudo systemctl start docker"),
    ],
)
def test_each_trouble_with_docker_has_its_own_cure(engine: EngineStatus, fix: str) -> None:
    checks = judged(engine=engine, image=None)
    assert (checks["docker"].status, checks["docker"].fix) == ("warn", fix)
    assert checks["isolation"].status == "warn"
    assert "reduced isolation" in checks["isolation"].detail
    assert "missing" not in checks["image"].detail


def test_no_isolation_at_all_is_a_failure() -> None:
    checks = judged(engine=FORBIDDEN, image=None, bubblewrap="user namespaces are not allowed here")
    assert checks["isolation"].status == "fail"
    assert checks["isolation"].fix == FORBIDDEN.fix
    assert doctor.exit_code(list(checks.values())) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Uid:\t1000", "Uid:\t0", "as root"),
        ("CapEff:\t0000000000000000", "CapEff:\t00000000a80425fb", "capabilities"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "gain privileges"),
        ("Seccomp:\t2", "Seccomp:\t0", "filtered"),
        ("    lo:", "  eth0:" + "       1" * 16 + "\n    lo:", "network"),
    ],
)
def test_isolation_that_is_not_in_force_is_a_failure(old: str, new: str, said: str) -> None:
    assert old in INSIDE
    check = judged(inside=INSIDE.replace(old, new))["isolation"]
    assert check.status == "fail"
    assert said in check.detail


def test_sandbox_that_does_not_open_is_a_failure() -> None:
    check = judged(inside="", sandbox_problem="the limits are not supported")["isolation"]
    assert (check.status, "not supported" in check.detail) == ("fail", True)


def test_bubblewrap_has_no_filter() -> None:
    assert (
        judged(engine=STOPPED, image=None, inside=INSIDE.replace("Seccomp:\t2", "Seccomp:\t0"))["isolation"].status
        == "warn"
    )


def test_the_isolation_in_force_is_named() -> None:
    docker = judged()["isolation"].detail
    for word in ("docker", "own seccomp", "no network", "read-only root", "cgroup v2"):
        assert word in docker
    chosen = judged(backend="bubblewrap")["isolation"]
    assert (chosen.status, chosen.fix) == ("warn", "")
    for word in ("bubblewrap, reduced isolation", "own seccomp", "no limit on all memory together, the processor"):
        assert word in chosen.detail
    assert "you are root" in judged(backend="bubblewrap", root=True)["isolation"].detail
    assert judged(backend="bubblewrap", bubblewrap="it is not installed")["isolation"].status == "fail"
    writable = INSIDE + "overlay / overlay rw,relatime 0 0\n"
    assert "root can be written" in judged(inside=writable)["isolation"].detail


@pytest.mark.docker
def test_isolation_is_in_force_in_docker(tmp_path: Path, default_image: str) -> None:
    found = found_by(run_doctor(tmp_path, "--json"))
    assert (found["docker"]["status"], found["image"]["status"], found["isolation"]["status"]) == ("ok", "ok", "ok")
    for word in ("no network", "own seccomp", "read-only root", "cgroup v", "runtime "):
        assert word in found["isolation"]["detail"]
    assert not (tmp_path / "data").exists()


def test_missing_image_is_told_from_a_missing_engine() -> None:
    found = judged(image=ImageStatus("default", "backspace-tui/default:1", fix="backspace-tui sandbox build"))
    assert (found["image"].status, found["image"].fix) == ("warn", "backspace-tui sandbox build")
    assert found["isolation"].status == "ok"


def test_root_needs_no_sudo() -> None:
    assert judged(engine=STOPPED, root=True)["docker"].fix == "systemctl start docker"


@pytest.mark.parametrize(
    ("version", "status"),
    [("git version 2.25.0", "ok"), ("git version 2.50.1 (Apple Git-155)", "ok"), ("git version 2.20.1", "fail"),
     ("", "fail")],
)  # fmt: skip
def test_git(version: str, status: str) -> None:
    check = judged(git=version)["git"]
    assert check.status == status
    assert bool(check.fix) == (status == "fail")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"size": None}, "ok", "not known"),
        ({"term": ""}, "warn", "TERM"),
        ({"term": "dumb"}, "warn", "TERM"),
        ({"encoding": "ANSI_X3.4-1968"}, "warn", "UTF-8"),
        ({"encoding": "utf8"}, "ok", "true colour"),
        ({"size": (79, 24)}, "warn", "small"),
        ({"term": "vt220", "colorterm": ""}, "warn", "16 colours"),
        ({"colorterm": ""}, "ok", "256 colours"),
    ],
)
def test_terminal(changes: dict[str, Any], status: str, said: str) -> None:
    check = judged(terminal=replace(TERMINAL, **changes))["terminal"]
    assert (check.status, bool(check.fix)) == (status, status != "ok")
    assert said in check.detail


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (doctor.DataDir("/d", "Read-only file system", 0), "fail"),
        (doctor.DataDir("/d", "", 1 << 20), "fail"),
        (doctor.DataDir("/d", "", 500 << 20), "warn"),
    ],
)
def test_data_directory(found: doctor.DataDir, status: str) -> None:
    check = judged(data_dir=found)["data"]
    assert check.status == status
    assert check.fix.startswith("export BACKSPACE_TUI_DATA_DIR=")


@pytest.mark.parametrize(
    ("logind", "status"),
    [
        (doctor.Logind(running=True, kill=True), "warn"),
        (doctor.Logind(running=True, kill=True, excluded=("root", "u")), "ok"),
        (doctor.Logind(running=True, kill=None), "ok"),
        (doctor.Logind(running=False, kill=True), "ok"),
    ],
)
def test_logind(logind: doctor.Logind, status: str) -> None:
    assert judged(logind=logind)["logind"].status == status


@pytest.mark.parametrize(
    ("texts", "kill", "excluded"),
    [
        ([], None, ("root",)),
        (["[Login]\n#KillUserProcesses=no\n"], False, ("root",)),
        (["[Login]\n#KillUserProcesses=no\nKillUserProcesses=yes\n"], True, ("root",)),
        (["KillUserProcesses=yes\n", "[Login]\n KillUserProcesses = no \n"], False, ("root",)),
        (["KillUserProcesses=yes\n", "#KillUserProcesses=no\n"], True, ("root",)),
        (["KillUserProcesses=1\nKillExcludeUsers=root  ann\n"], True, ("root", "ann")),
        (["KillExcludeUsers=\n"], None, ()),
        (["NAutoVTs=6\nKillOnlyUsers=\n"], None, ("root",)),
    ],
)
def test_logind_settings(texts: list[str], kill: bool | None, excluded: tuple[str, ...]) -> None:
    assert doctor.parse_logind(texts) == (kill, excluded)


def test_drop_ins_count_by_name_and_the_first_folder_hides_the_others(tmp_path: Path) -> None:
    etc, lib = tmp_path / "etc", tmp_path / "lib"
    for path, text in (
        (lib / "logind.conf", "lib main"),
        (etc / "logind.conf", "etc main"),
        (lib / "logind.conf.d/20-a.conf", "hidden"),
        (etc / "logind.conf.d/20-a.conf", "second"),
        (lib / "logind.conf.d/10-b.conf", "first"),
        (lib / "logind.conf.d/readme.txt", "no"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert logind_texts([str(etc), str(lib), str(tmp_path / "no")]) == ["etc main", "first", "second"]


def run_doctor(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN", "_PAT"))}
    return subprocess.run(
        [sys.executable, "-m", "backspace_tui", "doctor", *arguments],
        env=clean | {"BACKSPACE_TUI_DATA_DIR": str(tmp_path / "data"), "HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def found_by(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    rows = json.loads(done.stdout)
    assert all(set(row) == {"name", "status", "detail", "fix"} for row in rows)
    return {row["name"]: row for row in rows}


def test_this_machine_without_an_engine_and_with_secrets(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/nowhere.sock"
    secrets = {"OPENAI_API_KEY": "sk-verysecret", "GITHUB_TOKEN": "ghp_verysecret"}
    done = run_doctor(tmp_path, "--json", DOCKER_HOST=host, **secrets)
    found = found_by(done)
    assert found["docker"]["status"] == "warn"
    assert found["docker"]["fix"]
    assert (found["keys"]["status"], found["keys"]["detail"]) == ("ok", "OPENAI_API_KEY")
    assert found["github"]["status"] == "ok"
    assert "openai" in found["models"]["detail"]
    assert "verysecret" not in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()
    assert done.returncode == int(any(row["status"] == "fail" for row in found.values()))


def test_forbidden_socket(tmp_path: Path) -> None:
    """What somebody outside the docker group is told; root, who may use any socket, becomes somebody else for it."""
    script = (
        "import os, dataclasses, json; from backspace_tui.sandbox import engine; import docker, requests\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(json.dumps(dataclasses.asdict(engine.probe_engine())))"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # as long as anybody may look into it
        os.chmod(folder, 0o755)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"DOCKER_HOST": forbidden_socket(Path(folder))},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    check = judged(engine=EngineStatus(**json.loads(done.stdout)), image=None)["docker"]
    assert "permission denied" in check.detail
    assert "usermod -aG docker" in check.fix


def forbidden_socket(folder: Path) -> str:
    """The address of a socket that exists, listens, and may be used by its owner alone."""
    path = folder / "docker.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.detach()
    path.chmod(0o000)
    return f"unix://{path}"


def test_bad_settings_and_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[sandbox]\nmemroy = '1g'\n")
    (tmp_path / "data").write_text("a file")
    done = run_doctor(tmp_path, "--json", BACKSPACE_TUI_CONFIG=str(tmp_path / "config.toml"))
    found = found_by(done)
    assert found["settings"]["status"] == "fail"
    assert "memroy" in found["settings"]["detail"]
    assert found["data"]["status"] == "fail"
    assert done.returncode == 1


def test_without_git(tmp_path: Path) -> None:
    done = run_doctor(tmp_path, PATH=str(tmp_path))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail  git "))
    assert "mend it: " in lines[at + 1]
