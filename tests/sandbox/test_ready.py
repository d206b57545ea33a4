"""The process that waits for the next command is nothing that a command can see, and its death is no harm."""

from __future__ import annotations

from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sandbox.client import SupervisedSandbox
from tests.sandbox.support import until

FDS = ["python3", "-c", "import os; print(sorted(os.listdir('/proc/self/fd'), key=int)[:-1])"]
SIGNALS = "import signal; print(sorted(s.name for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN))"
ZYGOTE = "grep -qs supervisor_zygot[e] $p/cmdline"
OTHERS = f"[ $p = /proc/1 ] || [ $p = /proc/$$ ] || {ZYGOTE}"
SEEN = f"for p in /proc/[0-9]*; do {OTHERS} || cat $p/comm 2>/dev/null; done; true"
ZYGOTES = f"for p in /proc/[0-9]*; do if {ZYGOTE}; then stat -c %u $p; fi; done"


def test_a_command_gets_nothing_of_its_maker(box: SupervisedSandbox) -> None:
    for _ in range(2):
        assert box.run(FDS).stdout == b"['0', '1', '2']\n"
        ignored = box.run(["python3", "-c", SIGNALS]).stdout
        assert ignored == b"['SIGPIPE', 'SIGXFSZ']\n"  # Python's own
        assert box.run("umask; ps -o sid= -p $$ 2>/dev/null; true").stdout.startswith(b"0022\n")


def test_a_command_is_alone(isolated: SupervisedSandbox) -> None:
    for _ in range(2):
        assert set(isolated.run(SEEN).stdout.split()) <= {b"cat"}
        assert isolated.run(ZYGOTES).stdout in (b"", b"0\n")  # of root, and one at the most


def test_services_that_kill_what_waits_stop_nobody(box: SupervisedSandbox) -> None:
    if box.label.startswith("plain"):
        return  # no namespace: what it could kill is the host's
    for name in ("first", "second"):
        box.start_service(name, "kill -9 -1; echo done; exec sleep 300")
        assert until(lambda: b"done" in box.list_processes()[-1].output)
        assert box.run("echo $((1 + 1))").stdout == b"2\n"
    box.load({"a": File(REGULAR, b"1")})
    assert box.run("cat a", timeout=10).stdout == b"1"


def test_every_kind_of_request_leaves_the_next_command_ready(box: SupervisedSandbox) -> None:
    for number in range(5):
        box.write_file("f", b"%d" % number)
        assert box.run("cat f").stdout == b"%d" % number
        box.start_service("s", "exec sleep 300")
        assert box.run("cat f").exit_code == 0
        box.stop_service("s")
        assert box.run("sleep 60", timeout=0.05).timed_out
        assert box.run(["no-such-program"]).exit_code == 127
    assert until(lambda: box.list_processes() == [])


def test_a_long_order_goes_through(box: SupervisedSandbox) -> None:
    line = "x=" + "a" * 120_000 + "; echo ${#x}"
    assert box.run(line).stdout == b"120000\n"
    too_long = box.run(["echo", "a" * 4_000_000])
    assert too_long.exit_code == 126
    assert b"Argument list too long" in too_long.stderr
    assert box.run("echo 1").stdout == b"1\n"


def test_a_program_is_found_on_the_path_or_its_error_is_told(box: SupervisedSandbox) -> None:
    def told(*words: str) -> tuple[int | None, bytes]:
        result = box.run(["odd-one", *words])
        return result.exit_code, result.stdout or result.stderr.rpartition(b": ")[2]

    assert told() == (127, b"No such file or directory\n")
    box.run("mkdir -p ~/.local/bin ~/.venv/bin; echo 'echo $1' > ~/.local/bin/odd-one")
    assert told() == (126, b"Permission denied\n")
    box.run("chmod +x ~/.local/bin/odd-one")
    assert told() == (126, b"Exec format error\n")
    box.run("echo '#!/no/such/shell' > ~/.local/bin/odd-one")
    assert told()[0] == 127
    box.run("printf '#!/bin/sh\\necho $1\\n' > ~/.local/bin/odd-one; touch ~/.venv/bin/odd-one")
    assert told("1") == (0, b"1\n")
    box.run("chmod 000 ~/.venv/bin")
    assert told("2") == (0, b"2\n")
    assert box.run(["odd\0one"]).exit_code == 127
