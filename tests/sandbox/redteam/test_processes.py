"""Services that fight: they live on beside commands, and so can reach what those do."""

from __future__ import annotations

import contextlib
import os

import pytest

from backspace_tui.core.protocols import SandboxError
from tests.sandbox.redteam.conftest import MARKER, Arena
from tests.sandbox.support import until

# Takes over the standard output of every command that turns up, and writes into it for ever.
THIEF = """
import os, time
block = b"stolen " * 8192
held = {}
me = os.getpid()
print("lurking", flush=True)
while True:
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (1, me) or name in held:
            continue
        try:
            held[name] = os.open("/proc/" + name + "/fd/1", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            pass
    for fd in held.values():
        try:
            os.write(fd, block)
        except OSError:
            pass
"""
KILLER = """
import os, signal
print("hunting", flush=True)
while True:
    try:
        os.kill(-1, signal.SIGKILL)
    except OSError:
        pass
"""
SWAPPER = """
import os
os.makedirs("/workspace/real", exist_ok=True)
open("/workspace/real/f", "w").write("inside")
print("swapping", flush=True)
n = 0
while True:
    n += 1
    try:
        os.symlink("/etc", "/workspace/door")
        os.unlink("/workspace/door")
        os.mkdir("/workspace/door")
        open("/workspace/door/passwd", "w").write("inside")
        os.unlink("/workspace/door/passwd")
        os.rmdir("/workspace/door")
        with open("/workspace/growing", "ab") as file:
            file.write(b"x" * 65536)
        if n % 40 == 0:
            os.truncate("/workspace/growing", 0)
        os.mkfifo("/workspace/kind")
        os.unlink("/workspace/kind")
        open("/workspace/kind", "w").close()
        os.unlink("/workspace/kind")
    except OSError:
        pass
"""


def start(arena: Arena, script: str, word: bytes) -> None:
    arena.box.write_file("service.py", script.encode())
    arena.box.start_service("fiend", "exec python3 -I -u /workspace/service.py")
    assert until(lambda: any(word in service.output for service in arena.box.list_processes()))


def test_a_service_that_takes_over_the_output(arena: Arena) -> None:
    start(arena, THIEF, b"lurking")
    results = []
    for _ in range(50):
        results.append(arena.box.run("echo mine; sleep 0.2", timeout=10))
        if b"stolen" in results[-1].stdout:
            break
    assert b"stolen" in results[-1].stdout
    assert all(result.exit_code == 0 for result in results)
    arena.box.stop_service("fiend")
    assert arena.box.run("echo ok").stdout == b"ok\n"


def test_a_service_that_kills_everything(arena: Arena) -> None:
    start(arena, KILLER, b"hunting")
    assert arena.box.run("sleep 5; echo survived", timeout=10).exit_code == 128 + 9
    with contextlib.suppress(SandboxError, OSError):
        arena.box.export()
    arena.box.rebuild()
    assert arena.box.read_file("marker") == MARKER
    assert arena.box.run("sleep 0.1; echo ok").stdout == b"ok\n"
    assert arena.box.list_processes() == []


def test_files_that_change_while_they_are_read(arena: Arena) -> None:
    start(arena, SWAPPER, b"swapping")
    seen: set[str] = set()
    host = b"root:"
    for _ in range(20):
        for path in ("door/passwd", "door", "growing", "kind"):
            try:
                data = arena.box.read_file(path)
            except (OSError, SandboxError) as error:
                seen.add(type(error).__name__)
                continue
            assert host not in data
            seen.add("read")
        with contextlib.suppress(OSError, SandboxError):
            arena.box.write_file("door/passwd", b"inside")
    assert {"read", "FileNotFoundError"} <= seen, seen
    for _ in range(2):
        files = arena.box.export()
        assert files["marker"].data == MARKER
        assert files["real/f"].data == b"inside"
        assert not any(host in file.data for file in files.values())
    assert not arena.box.run("grep -c inside /etc/passwd").stdout.startswith(b"1")
    arena.box.stop_service("fiend")


def test_a_service_that_is_a_fork_bomb(arena: Arena) -> None:
    if arena.backend == "bubblewrap" and os.geteuid() == 0:
        pytest.skip("the kernel exempts root's processes from the limit, and a service is not watched")
    arena.box.start_service("fiend", "b(){ b|b& };b; sleep 60")
    for _ in range(3):
        with contextlib.suppress(SandboxError):
            arena.box.run("sleep 0.2", timeout=5)
    arena.box.stop_service("fiend")
    assert arena.box.run("echo ok", timeout=20).stdout == b"ok\n"


def test_what_a_command_leaves_in_its_home_does_not_outlive_a_rebuild(arena: Arena) -> None:
    script = """
cd && mkdir -p .venv/bin .local/bin && for name in rm tar git chmod ls sh python3 cat; do
  for folder in .venv/bin .local/bin; do
    rm -f $folder/$name 2>/dev/null || /bin/rm -f $folder/$name
    printf '#!/bin/sh\\ntouch /workspace/ran-%s\\nsleep 600\\n' $name > $folder/$name; /bin/chmod 755 $folder/$name
  done
done
printf '[core]\\n\\tfsmonitor = sleep 600\\n\\thooksPath = /home/agent/hooks\\n' > .gitconfig
printf '[filter "x"]\\n\\tclean = sleep 600\\n' >> .gitconfig
/bin/mkdir -p hooks; printf '#!/bin/sh\\nsleep 600\\n' > hooks/pre-commit; /bin/chmod 755 hooks/pre-commit
printf '* filter=x\\n' > /workspace/.gitattributes
printf 'sleep 600\\n' > .profile; echo poisoned; exit 0
"""
    assert b"poisoned" in arena.box.run(["/bin/bash", "-c", script], timeout=10).stdout
    arena.box.rebuild()
    assert arena.box.export().keys() == {"marker"}
    assert arena.box.run("command -v git; python3 -c 'print(1)'; cat marker", timeout=10).stdout.endswith(MARKER)
    assert arena.box.run("ls -A ~/hooks ~/.gitconfig ~/.profile").exit_code != 0


def test_a_filter_of_the_workspaces_own_git_stays_out_of_the_snapshot(arena: Arena) -> None:
    script = (
        "git config filter.x.clean 'touch /workspace/filtered; cat'; git config core.fsmonitor 'touch /workspace/fs'"
    )
    arena.box.run(f"{script}; printf '* filter=x\\n' > .gitattributes; :")
    files = arena.box.export()
    assert "filtered" not in files
    assert "fs" not in files
    assert ".gitattributes" in files
