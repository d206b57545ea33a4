"""Shells in sandboxes of every backend: a real terminal inside, and nothing that outlives it."""

from __future__ import annotations

import re
import threading

import pytest

from backspace_tui.core.protocols import SandboxGone
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.shell import WINDOW, Shell
from tests.sandbox.support import until


class Reader:
    """Reads a shell in a thread, as the workflow does, and keeps what it printed."""

    def __init__(self, shell: Shell) -> None:
        self.shell, self.output, self.failed = shell, bytearray(), ""
        self.go = threading.Event()
        self.go.set()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while self.go.wait() and (data := self.shell.read()):
                self.output += data
        except SandboxGone as problem:
            self.failed = str(problem)

    def wait_for(self, text: bytes) -> None:
        assert until(lambda: text in self.output, 20), bytes(self.output[-2000:])

    def line(self, text: str) -> None:
        assert self.shell.ready(10)
        self.shell.write(text.encode() + b"\r")

    def ended(self) -> bytes:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return bytes(self.output)


def test_it_is_a_terminal(box: SupervisedSandbox) -> None:
    with box.shell(31, 97, term="xterm") as shell:
        reader = Reader(shell)
        reader.line("stty size; tty; echo $TERM; pwd; echo user$((1 + 1))=$(id -u)")
        reader.wait_for(b"31 97")
        reader.wait_for(b"user2=")
        shell.resize(40, 120)
        reader.line("stty size; : > /dev/tty && echo opened again; echo ${CI:-no}:${NO_COLOR:-no}")
        reader.wait_for(b"40 120")
        reader.wait_for(b"opened again")
        reader.wait_for(b"no:no")
        reader.line("echo made > made.txt; exit 7")
        output = reader.ended()
    assert re.search(rb"/dev/pts/\d+\r\nxterm\r\n", output)
    assert shell.result is not None
    assert (shell.result.exit_code, shell.result.cancelled) == (7, False)
    audit = shell.result.audit
    assert audit is not None
    assert audit.stdout == len(output)
    assert f"user2={audit.uid}".encode() in output
    assert {path: file.data for path, file in box.changes().items() if file} == {"made.txt": b"made\n"}
    assert box.run("echo after").stdout == b"after\n"


def test_keys_reach_the_job_in_the_foreground(box: SupervisedSandbox) -> None:
    with box.shell(24, 80) as shell:
        reader = Reader(shell)
        reader.line("sh -c 'echo begun; exec sleep 1000'")
        reader.wait_for(b"begun\r\n")
        shell.write(b"\x03")
        reader.line("echo code=$?")
        reader.wait_for(b"code=130")
        reader.line("sh -c 'echo again; exec sleep 1000'")
        reader.wait_for(b"again\r\n")
        shell.write(b"\x1a")
        reader.wait_for(b"Stopped")
        reader.line("jobs; kill %1; echo n$((40 + 2))")
        reader.wait_for(b"n42")
        shell.write(b"\x04\x04")
        reader.ended()
    assert shell.result is not None
    assert shell.result.exit_code is not None


def test_terminals_that_the_image_does_not_know_become_xterm(box: SupervisedSandbox) -> None:
    for name in ("no-such-terminal", "../../etc/passwd", "x\n", ""):
        with box.shell(24, 80, term=name) as shell:
            reader = Reader(shell)
            reader.line("echo term=$TERM.; exit")
            assert b"term=xterm." in reader.ended()


def test_what_it_leaves_is_killed_and_services_stay(box: SupervisedSandbox) -> None:
    box.start_service("web", "exec sleep 98765")
    with box.shell(24, 80) as shell:
        reader = Reader(shell)
        reader.line("setsid sleep 98764 & nohup sleep 98763 & (sleep 98762 &) ; disown -a 2>/dev/null; exit 0")
        reader.ended()
    found = box.run("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done").stdout.decode()
    assert not re.search("sleep 9876[234]", found)
    assert [service.running for service in box.list_processes()] == [True]


def test_leaving_the_block_ends_it(box: SupervisedSandbox) -> None:
    with box.shell(24, 80) as shell:
        shell.write(b"exec sleep 1000\r")
    assert shell.result is not None
    assert (shell.result.exit_code, shell.result.cancelled) == (None, True)
    with pytest.raises(KeyError), box.shell(24, 80):
        raise KeyError
    assert box.run("echo after").stdout == b"after\n"


def test_endless_output_waits_for_its_reader(box: SupervisedSandbox) -> None:
    with box.shell(24, 80) as shell:
        shell.write(b"echo begun$((1 + 1)); exec yes\r")
        output = b""
        while b"begun2\r\ny" not in output:
            output += shell.read()
        # Unread, no more comes than what the two sides agreed on; a while later neither.
        assert until(lambda: _waiting(shell) >= WINDOW // 2, 20)
        shell.resize(25, 80)
        until(lambda: _waiting(shell) >= 2 * WINDOW, 0.5)
        assert _waiting(shell) < 2 * WINDOW
        reader = Reader(shell)
        assert until(lambda: len(reader.output) > 4 * WINDOW, 30)
        shell.end()
        reader.ended()
    assert shell.result is not None
    assert shell.result.cancelled


def _waiting(shell: Shell) -> int:
    """Bytes of output that arrived and were not read; puts back what it looks at."""
    frames = [shell._replies.get() for _ in range(shell._replies.qsize())]
    for frame in frames:
        shell._replies.put(frame)
    return sum(len(frame[1]) for frame in frames if frame is not None)


def test_much_input_arrives_whole_and_what_nobody_reads_does_not_block(box: SupervisedSandbox) -> None:
    lines = b"".join(b"%07d %s\n" % (number, b"x" * 90) for number in range(20_000))
    with box.shell(24, 80) as shell:
        reader = Reader(shell)
        reader.line("stty -echo; echo go; cat > big; stty echo; echo big done")
        reader.wait_for(b"go\r\n")
        for start in range(0, len(lines), 65536):
            assert shell.ready(30)
            shell.write(lines[start : start + 65536])
        assert shell.ready(30)
        shell.write(b"\x04")
        reader.wait_for(b"big done\r\n")
        reader.line("stty raw -echo; echo deaf; sleep 1000")
        reader.wait_for(b"deaf\n")
        while shell.ready(0.3):
            shell.write(b"y" * 65536)
        shell.end()
        reader.ended()
    assert box.read_file("big") == lines


def test_the_end_of_the_sandbox_reaches_the_reader(box: SupervisedSandbox) -> None:
    with pytest.raises(SandboxGone), box.shell(24, 80) as shell:  # noqa: PT012
        reader = Reader(shell)
        reader.line("echo open$((1 + 1))")
        reader.wait_for(b"open2")
        box.close()
        reader.ended()
        assert reader.failed
        shell._over = False
        shell.read()
