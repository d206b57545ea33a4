"""What is known of every command afterwards, and which limit it died of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backspace_tui.core.protocols import Audit, Result
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sandbox.answers import told_limits
from backspace_tui.sandbox.client import SupervisedSandbox
from tests.sandbox.conftest import Opener
from tests.sandbox.support import Token, until

MIB = 1024 * 1024
DEEP = "import os\nfor n in range(300_000): os.close(os.open(str(n), os.O_CREAT))"


def audit(result: Result) -> Audit:
    assert result.audit is not None
    return result.audit


def test_a_command_leaves_its_whole_story(box: SupervisedSandbox) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    told = audit(box.run("head -c 3000000 /dev/zero; echo oops >&2; exit 3", cap=1000))
    assert told.command == "head -c 3000000 /dev/zero; echo oops >&2; exit 3"
    assert told.started is not None
    assert before < told.started < datetime.now(UTC) + timedelta(seconds=1)
    assert (told.exit_code, told.signal, told.ended, told.user) == (3, None, "", "")
    assert (told.stdout, told.stderr) == (3_000_000, 5)
    assert told.seconds is not None
    assert told.seconds > 0
    assert told.memory is not None
    assert told.memory > MIB
    assert told.cpu is not None
    assert told.cpu > 0
    assert told.processes is not None
    assert told.processes >= 1
    assert told.uid == int(box.run("id -u").stdout)
    assert audit(box.run(["printf", "%s", "a b"])).command == "printf %s 'a b'"


def test_signals_timeouts_and_cancelling_are_told_apart(box: SupervisedSandbox) -> None:
    killed = audit(box.run("kill -SEGV $$"))
    assert (killed.exit_code, killed.signal, killed.ended) == (128 + 11, 11, "")
    late = audit(box.run("sleep 60", timeout=0.1))
    assert (late.exit_code, late.signal, late.ended, late.limit) == (None, 9, "timeout", "timeout (0.1 s)")
    token = Token()
    stopped = audit(box.run("echo go; sleep 60", cancel=token, on_output=lambda *_: token.cancel()))
    assert (stopped.exit_code, stopped.signal, stopped.ended) == (None, 9, "cancelled")


def test_the_peaks_are_the_commands_own(isolated: SupervisedSandbox) -> None:
    large = audit(isolated.run(["python3", "-c", "x = bytearray(200 << 20); import time; time.sleep(0.2)"]))
    small = audit(isolated.run("sleep 0.2"))
    assert large.memory is not None
    assert small.memory is not None
    assert large.memory > 200 * MIB > 100 * MIB > small.memory
    many = audit(isolated.run("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait"))
    few = audit(isolated.run("sleep 0.2"))
    assert many.processes is not None
    assert few.processes is not None
    assert many.processes >= 13
    assert few.processes <= 3


def test_cpu_time_holds_what_killed_descendants_used(isolated: SupervisedSandbox) -> None:
    told = audit(isolated.run("(while :; do :; done) & sleep 60", timeout=1))
    assert told.cpu is not None
    assert told.cpu > 0.1


def test_a_service_is_told_of_when_it_starts_and_when_it_stops(box: SupervisedSandbox) -> None:
    started = box.start_service("s", "head -c 200000 /dev/zero; echo up; exec sleep 300").audit
    assert started is not None
    assert (started.command[:4], started.exit_code, started.uid) == ("head", None, int(box.run("id -u").stdout))
    assert until(lambda: box.list_processes()[0].output.endswith(b"up\n"))
    stopped = box.stop_service("s").audit
    assert stopped is not None
    assert stopped.started == started.started
    assert stopped.stdout == 200_003
    assert stopped.seconds is not None
    assert stopped.seconds > 0


def limits_of_commands(box: SupervisedSandbox) -> dict[str, str]:
    """Which limit each of these commands died of."""
    size = box.limits.workspace // MIB + 1
    bomb = f"b = bytearray({box.limits.total_memory} + (64 << 20))"
    commands: dict[str, str | list[str]] = {
        "memory": ["python3", "-c", bomb],
        "a child's memory": f"python3 -c '{bomb}'; true",
        "pids": "i=0; while [ $i -lt 2000 ]; do sleep 9 & i=$((i+1)); done; exit 1",
        "workspace": "dd if=/dev/zero of=full bs=1M; exit 1",
        "one large file": f"head -c {size}M /dev/zero > large",
        "home": "dd if=/dev/zero of=$HOME/full bs=1M || { rm $HOME/full; exit 1; }",
        "tmp": "dd if=/dev/zero of=/tmp/full bs=1M || { rm /tmp/full; exit 1; }",
        "files": ["python3", "-c", DEEP],
        "nothing": "exit 7",
        "success": "true",
    }
    found = {}
    for name, command in commands.items():
        result = box.run(command, timeout=100)
        assert not result.timed_out, name
        found[name] = result.limit
        assert audit(result).limit == result.limit
        box.run("rm -rf full large; find . -name '[0-9]*' -delete")
    found["time"] = box.run("sleep 60", timeout=0.2).limit
    return found


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"dd: error writing '/home/agent/full': No space left on device", {"disk", "disk of home"}),
        (b"cp: /tmp/full: No space left on device", {"disk", "disk of tmp"}),
        (b"tar: /home/agent/tmp/x: Disk quota exceeded", {"disk", "disk of home"}),
        (b"note: /tmp/a\ndd: error writing 'full': No space left on device", {"disk"}),
        (b"dd: error writing '/workspace/tmp/full': No space left on device", {"disk", "disk of workspace"}),
        (b"dd: error writing 'a/tmp/full': No space left on device", {"disk"}),
        (b"sh: 1: Cannot fork", {"pids"}),
        (b"nothing of that kind in /tmp/", set()),
    ],
)
def test_a_full_place_is_known_by_its_path(line: bytes, told: set[str]) -> None:
    assert told_limits(line) == told


EXPECTED = {"nothing": "", "success": "", "time": "timeout (0.2 s)"}


@pytest.mark.docker
def test_each_limit_is_named_strict(opener: Opener) -> None:
    assert limits_of_commands(opener("docker", profile="strict")) == EXPECTED | {
        "memory": "[sandbox] memory (now 512m)",
        "a child's memory": "[sandbox] memory (now 512m)",
        "pids": "[sandbox] pids (now 100)",
        "workspace": "[sandbox] workspace (now 200m)",
        "one large file": "[sandbox] workspace (now 200m)",
        "home": "[sandbox] home (now 100m)",
        "tmp": "none: /tmp holds 100m; write inside the repository",
        "files": "[sandbox] workspace (now 200m and 100000 files)",
    }


@pytest.mark.docker
def test_each_limit_is_named_default(opener: Opener) -> None:
    # Less memory and room than the default's own gigabytes, so that it does not take minutes.
    box = opener("docker", memory="300m", workspace="600m")
    found = limits_of_commands(box)
    assert found == EXPECTED | {
        "memory": "[sandbox] memory (now 300m)",
        "a child's memory": "[sandbox] memory (now 300m)",
        "pids": "[sandbox] pids (now 512)",
        "workspace": "[sandbox] workspace (now 600m)",
        "one large file": "[sandbox] workspace (now 600m)",
        "home": "[sandbox] home (now 512m)",
        "tmp": "none: /tmp holds 128m; write inside the repository",
        "files": f"[sandbox] workspace (now 600m and {box.limits.inodes} files)",
    }


@pytest.mark.bubblewrap
def test_bubblewrap_names_what_programs_say(opener: Opener) -> None:
    box = opener("bubblewrap", memory="300m", pids=64, workspace="50m")
    assert box.run(["python3", "-c", "b = bytearray(400 << 20)"]).limit == "[sandbox] memory (now 300m)"
    forks = "i=0; while [ $i -lt 200 ]; do sleep 9 & i=$((i+1)); done; exit 1"
    assert box.run(forks).limit == "[sandbox] pids (now 64)"
    assert box.run("dd if=/dev/zero of=full bs=1M; exit 1").limit == "[sandbox] workspace (now 50m)"


@pytest.mark.docker
def test_a_full_sandbox_works_again(opener: Opener) -> None:
    box = opener("docker", {"a": File(REGULAR, b"1")}, profile="strict")
    assert box.run("dd if=/dev/zero of=full bs=1M; exit 1").limit
    box.load({"a": File(REGULAR, b"1")})
    assert box.run("cat a").stdout == b"1"
