"""The process that forks those that wait for a command: no command can touch it, and its end is no harm."""

from __future__ import annotations

import pytest

from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sandbox import engine
from backspace_tui.sandbox.client import SupervisedSandbox
from tests.sandbox.conftest import Opener
from tests.sandbox.support import until

pytestmark = pytest.mark.docker

FIND = "for p in /proc/[0-9]*; do if grep -qs supervisor_zygot[e] $p/cmdline; then echo ${p#/proc/}; fi; done"
SLEEPERS = "for p in /proc/[0-9]*; do if grep -qsx sleep $p/comm; then echo ${p#/proc/}; fi; done"
TOUCH = """
import os, signal, sys
pid = int(sys.argv[1])
def refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
    print(call, arguments)
refused(os.kill, pid, signal.SIGKILL)
refused(os.kill, pid, signal.SIGSTOP)
refused(os.kill, pid, signal.SIGCONT)
refused(os.setpriority, os.PRIO_PROCESS, pid, 19)
refused(os.sched_setaffinity, pid, {0})
refused(os.listdir, "/proc/%d/fd" % pid)
for name in ("mem", "environ", "maps", "auxv"):
    refused(open, "/proc/%d/%s" % (pid, name), "rb")
for name in ("mem", "oom_score_adj", "clear_refs"):
    refused(open, "/proc/%d/%s" % (pid, name), "wb")
"""


def zygotes(box: SupervisedSandbox) -> list[int]:
    return [int(pid) for pid in box.run(FIND).stdout.split()]


def zygote(box: SupervisedSandbox) -> int:
    found: list[int] = []

    def there() -> bool:
        found[:] = zygotes(box)
        return bool(found)

    assert until(there)
    assert len(found) == 1
    return found[0]


@pytest.fixture
def docker(opener: Opener) -> SupervisedSandbox:
    return opener("docker")


def test_it_cannot_be_touched(docker: SupervisedSandbox) -> None:
    pid = zygote(docker)
    result = docker.run(["python3", "-c", TOUCH, str(pid)])
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"", b"")
    docker.run("kill -9 -1")
    assert zygote(docker) == pid


def test_it_outlives_all_that_leaves_nothing_behind(docker: SupervisedSandbox) -> None:
    pid = zygote(docker)
    for number in range(3):
        docker.write_file("f", b"%d" % number)
        assert docker.changes() == {"f": File(REGULAR, b"%d" % number)}
        assert docker.run(["cat", "f"]).stdout == b"%d" % number
        assert docker.run("sleep 0 & (sleep 0 & wait) & wait; exit 3").exit_code == 3
        assert docker.run(["no-such-program"]).exit_code == 127
    docker.start_service("s", "exec sleep 300")
    assert docker.run("setsid sleep 301 & echo 1").stdout == b"1\n"
    assert len(docker.run(SLEEPERS).stdout.split()) == 1
    assert zygotes(docker) == [pid]


def test_with_what_is_left_behind_it_ends_too(docker: SupervisedSandbox) -> None:
    pids = [zygote(docker)]
    for number in range(5):
        if number % 2:
            assert docker.run("sleep 300", timeout=0.05).timed_out
        else:
            assert docker.run("(setsid sleep 300 &) ; echo 1").stdout == b"1\n"
        assert docker.run(SLEEPERS).stdout == b""
        pids.append(zygote(docker))
    assert len(set(pids)) == len(pids)


def test_its_death_is_no_harm(docker: SupervisedSandbox) -> None:
    client = engine.connect()
    try:
        for _ in range(3):
            pid = zygote(docker)
            kill = ["python3", "-c", f"import os; os.kill({pid}, 9)"]
            started = client.api.exec_create(docker._channel._container, kill, user="0")  # type: ignore[attr-defined]
            client.api.exec_start(started["Id"])
            assert docker.run("echo 1").stdout == b"1\n"
            assert until(lambda pid=pid: zygotes(docker) not in ([], [pid]))  # type: ignore[misc]
    finally:
        client.close()


def test_where_no_process_can_be_started_it_goes_on_later(opener: Opener) -> None:
    docker = opener("docker", profile="strict")
    zygote(docker)
    docker.start_service("full", "i=0; while [ $i -lt 200 ]; do sleep 300 & i=$((i+1)); done; exec sleep 300")
    assert until(lambda: b"fork" in docker.list_processes()[0].output)
    docker.stop_service("full")
    assert docker.run("echo 1").stdout == b"1\n"
    assert zygote(docker)
