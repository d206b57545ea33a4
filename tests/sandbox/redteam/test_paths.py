"""Paths and kinds of files: what leaves the sandbox, and what the file operations let themselves be led to."""

from __future__ import annotations

import contextlib
import unicodedata

import pytest

from backspace_tui.core.protocols import SandboxError
from backspace_tui.core.trees import REGULAR, SYMLINK, File
from backspace_tui.sandbox.transfer import acceptable
from tests.sandbox.redteam.conftest import Arena

OUTSIDE = (
    *("/etc/passwd", "//etc/passwd", "../etc/passwd", "a/../../etc/passwd", "./../etc/passwd", "..", "/"),
    *("../../../../../../etc/passwd", "/proc/1/environ", "/proc/self/root/etc/passwd", "\0", "a\0b", ""),
    *("/workspace/../etc/passwd", "folder/../../home/agent/.profile", "marker/../../etc/passwd"),
)
GIT_NAMES = (
    *(".git", ".GIT", ".Git", ".giT", ".git.", ".git ", ".git..", ".git . .", "git~1", "GIT~1", "Git~1", "git~1."),
    *(".git::$INDEX_ALLOCATION", ".git:$DATA", ".GIT::$INDEX_ALLOCATION", ".g\u200cit", ".gi\u200dt", "\u200b.git"),
    *(".git\ufeff", "\u202e.git", ".g\u00adit", "\uff0egit", ".\uff47it", ".g\u2060it", ".\u2062git", "\u2024git"),
    *("x\\.git\\config", "..\\.git", ".git\\config", ".g\u206ait", ".git\u200e "),
)
LINKS = """
import os
os.chdir("/workspace")
os.symlink("/etc/passwd", "absolute")
os.symlink("../etc/passwd", "relative")
os.symlink("../../../../../../../etc/passwd", "climbing")
os.symlink("/etc", "folder")
os.symlink("chain2", "chain1"); os.symlink("chain3", "chain2"); os.symlink("/etc/passwd", "chain3")
os.symlink("loop", "loop")
os.symlink("b", "a"); os.symlink("a", "b")
os.symlink("/proc/self/root/etc/passwd", "magic")
os.symlink("/proc/1/environ", "environment")
os.symlink("/dev/zero", "endless")
os.symlink("/proc/self/fd/0", "descriptor")
for n in range(60):
    os.symlink("link%d" % (n + 1), "link%d" % n)
os.symlink("/etc/passwd", "link60")
os.makedirs("inside/deep")
os.symlink("..", "inside/deep/up")
os.symlink("deep/up/../../etc/passwd", "inside/out")
print("linked")
"""
KINDS = """
import os, socket
os.chdir("/workspace")
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
os.link("marker", "hard")
for call in (lambda: os.mknod("device", 0o20666, os.makedev(1, 5)), lambda: os.link("/etc/passwd", "password"),
             lambda: os.link("/proc/self/exe", "program")):
    try:
        call()
        print("made")
    except OSError as error:
        print("refused", error.errno)
os.mkdir("folder")
print("kinds")
"""


def make(arena: Arena, script: str, word: bytes) -> bytes:
    result = arena.box.run(["python3", "-Ic", script])
    assert word in result.stdout, result
    return result.stdout


def test_paths_out_of_the_workspace(arena: Arena) -> None:
    arena.box.run("mkdir -p folder a")
    for path in OUTSIDE:
        with pytest.raises((OSError, SandboxError, ValueError)):
            arena.box.read_file(path)
        with pytest.raises((OSError, SandboxError, ValueError)):
            arena.box.write_file(path, b"intruder")
        with pytest.raises((OSError, SandboxError, ValueError)):
            arena.box.delete_file(path)
    assert b"intruder" not in arena.box.run("cat /etc/passwd ~/.profile 2>/dev/null; :").stdout


def test_links_lead_nowhere(arena: Arena) -> None:
    make(arena, LINKS, b"linked")
    led = (
        "absolute",
        "relative",
        "climbing",
        "folder/passwd",
        "chain1",
        "loop",
        "a",
        "magic",
        "environment",
        "endless",
    )
    for path in (*led, "descriptor", "link0", "inside/out", "inside/deep/up/../../etc/passwd"):
        with pytest.raises((OSError, SandboxError)):
            arena.box.read_file(path)
        with pytest.raises((OSError, SandboxError)):
            arena.box.write_file(path, b"intruder")
    with pytest.raises(OSError, match=r"."):
        arena.box.delete_file("folder/passwd")
    for path in ("absolute", "folder", "loop"):
        arena.box.delete_file(path)
    assert b"root:" in arena.box.run("cat /etc/passwd").stdout
    assert b"intruder" not in arena.box.run("cat /etc/passwd").stdout
    files = arena.box.export()
    assert files["relative"] == File(SYMLINK, b"../etc/passwd")
    assert not any(b"root:" in file.data for file in files.values())


def test_kinds_that_are_no_files(arena: Arena) -> None:
    said = make(arena, KINDS, b"kinds")
    assert said.count(b"refused") >= (3 if arena.backend == "docker" else 1)
    for path in ("fifo", "socket", "folder"):
        with pytest.raises(OSError, match=r"."):
            arena.box.read_file(path)
    arena.box.write_file("hard", b"other\n")
    assert arena.box.read_file("marker") != b"other\n"
    files = arena.box.export()
    assert {"fifo", "socket", "device", "folder"}.isdisjoint(files)
    assert all(file.mode == REGULAR for file in files.values())
    with contextlib.suppress(OSError):
        arena.box.write_file("fifo", b"now a file")
    assert arena.box.run("timeout 2 cat fifo < /dev/null; :", timeout=5).timed_out is False


def test_git_in_every_spelling_stays_inside(arena: Arena) -> None:
    script = "import os\nos.chdir('/workspace')\nmade = 0\n" + "".join(
        f"for place in ('', 'sub/'):\n"
        f"    os.makedirs((place + {name!r}).encode('utf-8', 'surrogateescape'), exist_ok=True)\n"
        f"    open((place + {name!r} + '/config').encode('utf-8', 'surrogateescape'), 'w').write('planted')\n"
        f"    made += 1\n"
        for name in GIT_NAMES
    )
    script += "os.makedirs('tree'); open('tree/.git', 'w').write('gitdir: /etc'); os.symlink('/etc', 'sub/.GiT~')\n"
    script += "print('planted', made)"
    make(arena, script, b"planted %d" % (2 * len(GIT_NAMES)))
    files = arena.box.export()
    assert not any(b"planted" in file.data for file in files.values()), sorted(files)
    assert "tree/.git" not in files
    for name in GIT_NAMES:
        assert not acceptable(name)
        assert not acceptable(f"a/{name}/config")


def test_names_that_collide_elsewhere_all_arrive(arena: Arena) -> None:
    names = ["README", "readme", "ReadMe", unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")]
    names += [
        "con",
        "NUL.txt",
        "aux.",
        "trailing ",
        "a:b",
        "x*?",
        "-rf",
        "new\nline",
        "tab\t",
        "\udcff\udcfe",
        "\x1b[2J",
    ]
    script = "import os\nos.chdir(b'/workspace')\n" + "".join(
        f"open({name.encode('utf-8', 'surrogateescape')!r}, 'w').write('{n}')\n" for n, name in enumerate(names)
    )
    make(arena, script + "print('named')", b"named")
    files = arena.box.export()
    assert {name: files[name].data for name in names} == {name: b"%d" % n for n, name in enumerate(names)}
    arena.box.load(files)
    assert arena.box.export() == files


def test_a_deep_tree_and_many_files_end(arena: Arena) -> None:
    script = """
import os
os.chdir("/workspace")
for _ in range(10_000):
    os.mkdir("d"); os.chdir("d")
open("bottom", "w").close()
os.chdir("/workspace")
os.mkdir("many")
for n in range(5_000):
    os.mknod("many/%d" % n)
print("grown")
"""
    make(arena, script, b"grown")
    files = arena.box.export()
    assert sum(path.startswith("many/") for path in files) == 5_000
    assert not any(path.startswith("d/") for path in files)
    assert arena.box.read_file("marker") == files["marker"].data


def test_sparse_files_are_no_snapshot(arena: Arena) -> None:
    size = arena.box.limits.workspace
    script = f"for n in range(3): open('/workspace/s%d' % n, 'wb').truncate({size})\nprint('sparse')"
    make(arena, script, b"sparse")
    with pytest.raises(SandboxError, match="workspace"):
        arena.box.export()
    with pytest.raises((OSError, SandboxError)):
        arena.box.read_file("s0")
    assert arena.box.run("rm s0 s1 s2; echo ok").stdout == b"ok\n"


def test_folders_that_were_closed_to_ourselves(arena: Arena) -> None:
    make(
        arena,
        "import os\nos.makedirs('/workspace/shut/in')\nopen('/workspace/shut/in/f', 'w').write('1')\n"
        "os.chmod('/workspace/shut/in/f', 0)\n"
        "for path in ('/workspace/shut/in', '/workspace/shut', '/workspace', '/home/agent'): os.chmod(path, 0)\n"
        "print('shut')",
        b"shut",
    )
    assert arena.box.export()["shut/in/f"].data == b"1"
    assert arena.box.run("echo ok").stdout == b"ok\n"
    arena.box.write_file("more", b"1")
    assert arena.box.read_file("more") == b"1"
