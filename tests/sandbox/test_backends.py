"""What every backend does alike."""

from __future__ import annotations

import os
import threading

import pytest

from backspace_tui.core.protocols import Result, SandboxError, SandboxGone
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.sandbox.client import SupervisedSandbox
from tests.sandbox.support import FILES, Token, until


def test_files_come_back_as_they_went_in(box: SupervisedSandbox) -> None:
    box.load(FILES)
    assert box.export() == FILES
    box.load({"only": File(REGULAR, b"1")})
    assert box.export() == {"only": File(REGULAR, b"1")}


def test_a_large_tree_goes_through_both_ways(box: SupervisedSandbox) -> None:
    files = {f"d{n % 7}/f{n}": File(REGULAR, os.urandom(50_000)) for n in range(200)}
    box.load(files)
    assert box.export() == files


def test_output_exit_codes_and_streams(box: SupervisedSandbox) -> None:
    heard: list[tuple[str, bytes]] = []
    result = box.run("echo out; echo err >&2; exit 3", on_output=lambda s, d: heard.append((s, d)))
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert sorted(heard) == [("stderr", b"err\n"), ("stdout", b"out\n")]
    assert box.run(["printf", "%s", "a b"]).stdout == b"a b"
    assert box.run("kill -TERM $$").exit_code == 128 + 15
    missing = box.run(["no-such-program"])
    assert missing.exit_code == 127
    assert b"no-such-program" in missing.stderr
    assert box.run("cat", timeout=5).exit_code == 0  # its input is empty, not ours


def test_output_arrives_while_the_command_runs(box: SupervisedSandbox) -> None:
    arrived, token = [], Token()

    def take(stream: str, data: bytes) -> None:
        arrived.append((stream, data))
        token.cancel()

    result = box.run("echo first; sleep 300", on_output=take, cancel=token)
    assert (arrived, result.cancelled) == ([("stdout", b"first\n")], True)


def test_long_output_keeps_head_and_tail_and_names_the_gap(box: SupervisedSandbox) -> None:
    result = box.run("echo START; head -c 5000000 /dev/zero | tr '\\0' x; echo END")
    assert result.stdout.startswith(b"START\nxxx")
    assert result.stdout.endswith(b"xxxEND\n")
    assert result.dropped == 5_000_000 + len("START\nEND\n") - box.limits.output
    assert b"[... %d bytes left out ...]" % result.dropped in result.stdout


def test_uncapped_output_is_passed_on_whole(box: SupervisedSandbox) -> None:
    total = 0

    def count(_: str, data: bytes) -> None:
        nonlocal total
        total += len(data)

    result = box.run("head -c 20000000 /dev/zero", on_output=count, cap=None)
    assert (total, result.stdout) == (20_000_000, b"")


def test_a_timeout_ends_the_whole_tree(box: SupervisedSandbox) -> None:
    result = box.run("trap '' TERM; (setsid sleep 300 &); sleep 300", timeout=0.2)
    assert (result.exit_code, result.timed_out) == (None, True)
    assert "timeout" in result.limit
    assert result.duration < 300
    assert count_processes(box, "sleep") == 0


def test_what_a_command_leaves_behind_ends_with_it(box: SupervisedSandbox) -> None:
    # They hold its output open.
    result = box.run(
        "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; sleep 600' &); done; echo done"
    )  # they hold its output open
    assert (result.exit_code, result.stdout) == (0, b"done\n")
    assert count_processes(box, "sleep") == 0


COUNT = """
import os, sys
mine, n = os.getcwd(), 0
for pid in os.listdir("/proc"):
    try:
        if os.readlink(f"/proc/{pid}/cwd") == mine and sys.argv[1] in open(f"/proc/{pid}/comm").read():
            n += 1
    except OSError:
        pass
print(n)
"""


def count_processes(box: SupervisedSandbox, name: str) -> int:
    """Processes with that name that work in this workspace."""
    return int(box.run(["python3", "-c", COUNT, name]).stdout)


def test_cancel_ends_a_command_at_once(box: SupervisedSandbox) -> None:
    token = Token()

    def flip(stream: str, data: bytes) -> None:
        threading.Timer(0.05, token.cancel).start()

    result = box.run("echo go; sleep 300", on_output=flip, cancel=token)
    assert (result.exit_code, result.cancelled, result.timed_out) == (None, True, False)
    assert box.run("echo still").stdout == b"still\n"


def test_a_token_flipped_before_is_honoured(box: SupervisedSandbox) -> None:
    token = Token()
    token.cancel()
    assert box.run("sleep 300", cancel=token).cancelled


def test_close_from_another_thread_ends_a_run(box: SupervisedSandbox) -> None:
    threading.Timer(0.1, box.close).start()
    with pytest.raises(SandboxGone):
        box.run("sleep 300")
    box.close()
    with pytest.raises(SandboxGone):
        box.run("true")
    with pytest.raises(SandboxGone):
        box.read_file("a.txt")


def test_an_error_in_the_caller_ends_the_command(box: SupervisedSandbox) -> None:
    def fail(stream: str, data: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        box.run("echo go; sleep 300", on_output=fail)
    assert box.run("echo next", timeout=5).stdout == b"next\n"


def test_reading_and_writing(box: SupervisedSandbox) -> None:
    box.load(FILES)
    assert box.read_file("a.txt") == box.read_file("link") == box.read_file("bin/../a.txt") == b"hello\n"
    box.write_file("new/folder/file", b"x" * 1_000_000)
    assert box.read_file("new/folder/file") == b"x" * 1_000_000
    box.write_file("bin/run.sh", b"#!/bin/sh\necho new\n")
    assert box.run("./bin/run.sh").stdout == b"new\n"
    box.write_file("tool", b"#!/bin/sh\n", EXECUTABLE)
    assert box.export()["tool"].mode == EXECUTABLE
    box.write_file("made", b"a.txt", SYMLINK)
    assert box.export()["made"] == File(SYMLINK, b"a.txt")
    box.delete_file("new/folder/file")
    assert box.run("ls new").exit_code != 0
    box.delete_file("dangling")
    assert "dangling" not in box.export()
    for path in ("no", "a.txt/below"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            box.read_file(path)
    for operation in (box.read_file, box.delete_file, lambda path: box.write_file(path, b"")):
        with pytest.raises(IsADirectoryError):
            operation("bin")


def test_no_path_leads_out(box: SupervisedSandbox) -> None:
    box.run("ln -s /etc outside; ln -s /etc/passwd secret; ln -s .. up; mkfifo pipe; ln -s loop loop")
    for path in ("outside/passwd", "secret", "../etc/passwd", "up/etc/passwd", "/etc/passwd", "a\0b", ""):
        with pytest.raises(PermissionError):
            box.read_file(path)
    for path in ("outside/x", "secret", "../x", "/tmp/x", "up/x"):
        with pytest.raises(PermissionError):
            box.write_file(path, b"")
    for path in ("outside/passwd", "../etc/passwd", "up/etc/passwd"):
        with pytest.raises(OSError, match=r"workspace|director"):
            box.delete_file(path)
    with pytest.raises(PermissionError, match="regular"):
        box.read_file("pipe")
    with pytest.raises(OSError, match="symbolic links"):
        box.read_file("loop")


def test_export_leaves_out_what_git_must_not_see(box: SupervisedSandbox) -> None:
    box.run(
        "mkfifo pipe; mkdir -p sub/.git sub/.GIT 'git~1' sub/.git\u200c; echo 1 > sub/.git/config;"
        "echo 1 > sub/.GIT/config; echo 1 > git~1/config; echo 1 > 'sub/.git\u200c/config'; echo 1 > sub/kept;"
        "ln -s /etc/passwd link; mkdir shut; echo 1 > shut/f; chmod 000 shut; echo 2 > dark; chmod 000 dark"
    )
    assert set(box.export()) == {"sub/kept", "link", "shut/f", "dark"}


def test_a_hostile_workspace_can_be_replaced(box: SupervisedSandbox) -> None:
    # In subshells that never leave the workspace: the plain process has the host's own root around it.
    box.run("(i=0; while [ $i -lt 300 ]; do mkdir d && cd d || exit; i=$((i+1)); done; touch end)")
    box.run("mkdir -p x/y && touch x/y/z ./-rf && chmod 000 x/y x")
    assert box.run("find . -name end").stdout != b""
    box.load({"clean": File(REGULAR, b"1")})
    assert box.export() == {"clean": File(REGULAR, b"1")}


def test_rebuild_goes_back_to_the_last_snapshot(box: SupervisedSandbox) -> None:
    box.load({"a": File(REGULAR, b"1")})
    box.write_file("b", b"2")
    kept = box.export()
    box.run("rm -rf * ; echo bad > c")
    box.rebuild()
    assert box.export() == kept


def test_services_outlive_commands_and_stop_with_their_trees(box: SupervisedSandbox) -> None:
    box.start_service("web", "echo ready; (setsid sleep 301 &); exec sleep 302")
    with pytest.raises(ValueError, match="running"):
        box.start_service("web", "true")
    assert until(lambda: box.list_processes()[0].output == b"ready\n")
    box.run("(setsid sleep 303 &)")
    assert count_processes(box, "sleep") == 2
    assert [(s.name, s.running) for s in box.list_processes()] == [("web", True)]
    box.stop_service("web")
    assert box.list_processes() == []
    assert count_processes(box, "sleep") == 0
    with pytest.raises(KeyError):
        box.stop_service("web")
    box.start_service("short", "exit 7")
    assert until(lambda: not box.list_processes()[0].running)
    assert box.list_processes()[0].exit_code == 7


def test_the_environment_is_ours(box: SupervisedSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    result = box.run("env; test -w $HOME && test -w $TMPDIR && cd /tmp && command -v python3")
    assert result.exit_code == 0
    assert b".venv/bin/python3" in result.stdout
    assert b"PYTHONDONTWRITEBYTECODE=1" in result.stdout
    assert b"API_KEY" not in result.stdout


def test_paths_that_cannot_be_laid_out_are_refused(box: SupervisedSandbox) -> None:
    for path in ("../x", "/x", ".git/config", "a/.GIT/b", "a//b", ""):
        with pytest.raises(SandboxError, match="cannot be laid"):
            box.load({path: File(REGULAR, b"")})
    with pytest.raises(SandboxError, match="both a file and a folder"):
        box.load({"a": File(REGULAR, b""), "a/b": File(REGULAR, b"")})
    assert isinstance(box.run("true"), Result)
