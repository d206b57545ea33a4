"""What changed in a sandbox since it was last looked at: always what a look at everything would tell."""

from __future__ import annotations

import random
import shlex

import pytest

from backspace_tui.core.protocols import SandboxError
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.sandbox.client import SupervisedSandbox
from tests.sandbox.conftest import Opener
from tests.sandbox.support import FILES, until

LOCAL = [pytest.param("bubblewrap", marks=pytest.mark.bubblewrap), "process"]
STARTING = {
    "top": File(REGULAR, b"1\n"),
    "a/one": File(REGULAR, b"1\n"),
    "a/b/two": File(EXECUTABLE, b"2\n"),
    "a/b/c/three": File(REGULAR, b"3\n"),
    "d/four": File(REGULAR, b"4\n"),
    "d/link": File(SYMLINK, b"four"),
}
PLACES = ("a", "a/b", "a/b/c", "d", "e", "d/x", "odd\nname", "-n")
NAMES = ("one", "two", "three", "four", "link", "b", "c", "x", "\udcff", "sp ace")


def kept(files: dict[str, File], changes: dict[str, File | None]) -> dict[str, File]:
    merged = files | {path: file for path, file in changes.items() if file is not None}
    return {path: file for path, file in merged.items() if not (path in changes and changes[path] is None)}


def command(chance: random.Random) -> str:
    """One edit in the workspace; it may well fail."""
    first, second = (shlex.quote("./" + chance.choice([*PLACES, "."]) + "/" + chance.choice(NAMES)) for _ in range(2))
    folder, other = (shlex.quote("./" + chance.choice(PLACES)) for _ in range(2))
    return chance.choice([
        f"echo {chance.random()} > {first}",
        f"echo more >> {first}",
        f"printf x | dd of={first} conv=notrunc status=none",
        f"chmod +x {first}",
        f"chmod -x {first}",
        f"chmod 000 {first}",
        f"chmod 000 {folder}",
        f"chmod 500 {folder}",
        "chmod 000 .",
        f"rm -f {first}",
        f"rm -rf {folder}",
        f"mv {first} {second}",
        f"mv {folder} {other}",
        f"mv -T {folder} {other}",
        f"mv {folder} tmp && mv {other} {folder}; mv tmp {other}",
        f"mv {folder} tmp && mkdir {folder} && mv tmp/* {folder}",
        f"mv {folder} $HOME/out && mv $HOME/out {other}",
        f"ln -sfn {second} {first}",
        f"ln -f {first} {second}",
        f"ln -f {first} $HOME/hard; echo through >> $HOME/hard",
        f"mkdir -p {folder}",
        f"mkdir -p {first}",
        f"rm -rf {first} && mkdir {first} && echo in > {first}/in",
        f"rm -rf {folder} && echo file > {folder}",
        f"rm -f {first}; mkfifo {first}",
        f"touch -d 2001-01-01 {first}",
        f"echo old > {first} && touch -d 2001-01-01 {first}",
        f"cp -a {folder} {other}",
        f"cp -a {folder}/. {other}",
        f"cp -p {first} {second}",
        f"sed -i s/1/2/ {first}",
        f"mkdir -p {folder}/.git && echo x > {folder}/.git/config",
        f"truncate -s 5000 {first}",
        "find . -name one -exec sh -c 'echo all >> \"$1\"' _ {} \\;",
    ])  # fmt: skip


def rounds(box: SupervisedSandbox, seed: int, count: int) -> None:
    chance = random.Random(seed)
    box.load(STARTING)
    known = dict(STARTING)
    for number in range(count):
        script = [command(chance) for _ in range(chance.choice((0, 1, 1, 2, 5)))]
        box.run("\n".join(script))
        if chance.random() < 0.2:
            box.write_file("written", b"%d" % number)
        changes = box.changes()
        assert {path for path, file in changes.items() if known.get(path) == file} == set()
        known = kept(known, changes)
        if chance.random() < 0.4:
            # Looking at everything starts anew, so it is not done always.
            assert known == box.export(), (seed, number, script)
    assert known == box.export(), seed


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("backend", LOCAL)
def test_what_was_kept_and_the_changes_are_all_there_is(opener: Opener, backend: str, seed: int) -> None:
    rounds(opener(backend), seed, 60)


@pytest.mark.docker
def test_the_same_in_a_container(opener: Opener) -> None:
    rounds(opener("docker"), 100, 60)


def test_nothing_changed(box: SupervisedSandbox) -> None:
    box.load(FILES)
    assert box.changes() == {}
    box.run("cat a.txt; ls -R; git status")
    assert box.changes() == {}
    assert box.export() == FILES


def test_only_what_changed_is_told(box: SupervisedSandbox) -> None:
    box.load(FILES)
    box.changes()
    box.run("echo 2 > a.txt; rm dangling; chmod -x bin/run.sh; mv deep other; ln -sfn bin link; rm -f 'back\\slash'")
    long = "er/" + "x" * 200 + "/f"
    assert box.changes() == {
        "a.txt": File(REGULAR, b"2\n"),
        "dangling": None,
        "bin/run.sh": File(REGULAR, FILES["bin/run.sh"].data),
        f"deep/{long}": None,
        f"other/{long}": File(REGULAR, b""),
        "link": File(SYMLINK, b"bin"),
        "back\\slash": None,
    }
    assert box.changes() == {}


def test_files_and_folders_that_take_each_others_place(box: SupervisedSandbox) -> None:
    box.load({"a/x": File(REGULAR, b"1"), "b": File(REGULAR, b"2"), "c": File(REGULAR, b"3")})
    box.run("rm -r a; echo file > a; rm b; mkdir b; echo in > b/y; rm c; mkfifo c")
    assert box.changes() == {
        "a/x": None, "a": File(REGULAR, b"file\n"), "b": None, "b/y": File(REGULAR, b"in\n"), "c": None,
    }  # fmt: skip


def test_folders_that_change_places_with_what_they_hold(box: SupervisedSandbox) -> None:
    files = {f"{place}/deep/er/f{n}": File(REGULAR, place.encode()) for place in "pq" for n in range(3)}
    box.load(files)
    box.changes()
    box.run("mv p t; mv q p; mv t q")
    assert box.changes() == {path: File(REGULAR, b"q" if path[0] == "p" else b"p") for path in files}


def test_large_folders_and_many(box: SupervisedSandbox) -> None:
    files = {f"n{n}": File(REGULAR, b"1") for n in range(3000)}
    files |= {f"wide/{n}/{n % 10}/f": File(REGULAR, b"1") for n in range(600)}
    box.load(files)
    assert box.changes() == {}
    box.run("echo 2 > n17; rm n18; echo 2 > wide/5/5/f; rm -r wide/6; touch wide/7/7/new")
    two = File(REGULAR, b"2\n")
    assert box.changes() == {
        "n17": two, "n18": None, "wide/5/5/f": two, "wide/6/6/f": None, "wide/7/7/new": File(REGULAR, b""),
    }  # fmt: skip


def test_git_folders_in_any_case_stay_out(box: SupervisedSandbox) -> None:
    box.load({"a": File(REGULAR, b"1")})
    box.run("mkdir -p s/.git s/.GIT .gIt; touch s/.git/x s/.GIT/x .gIt/x s/kept; echo gitdir: x > s/.Git; mkdir t")
    assert box.changes() == {"s/kept": File(REGULAR, b"")}
    box.run("echo 1 > s/.git/x; mkdir -p 't/.git\u200c' && touch 't/.git\u200c/x' t/git~1; rm s/.Git")
    assert box.changes() == {}


def test_while_services_run_everything_is_looked_at(box: SupervisedSandbox) -> None:
    """A shared mapping that is read before it is written leaves no trace on a tmpfs."""
    box.load({"f": File(REGULAR, b"old" * 2000)})
    assert box.changes() == {}
    script = (
        "import mmap,os,time; m=mmap.mmap(os.open('f',os.O_RDWR),0); m[0]; open('go','w'); time.sleep(.1)\n"
        "m[0:3]=b'new'; open('done','w'); time.sleep(100)"
    )
    box.start_service("writer", f"exec python3 -c {shlex.quote(script)}")
    seen: dict[str, File | None] = {}

    def done() -> bool:
        seen.update(box.changes())
        return "done" in seen

    assert until(done)
    assert seen["f"] == File(REGULAR, b"new" + b"old" * 1999)
    box.stop_service("writer")
    assert box.changes() == {}


def test_a_snapshot_that_was_lost_costs_nothing_but_time(box: SupervisedSandbox) -> None:
    box.load({"a": File(REGULAR, b"1"), "b": File(REGULAR, b"1")})
    box.run("echo 2 > a")
    # The sandbox told somebody who did not keep it.
    box._look("changes", base=box._token)
    box.run("echo 2 > b")
    assert box.changes() == {"a": File(REGULAR, b"2\n"), "b": File(REGULAR, b"2\n")}


def test_more_than_a_snapshot_may_hold(opener: Opener) -> None:
    box = opener("bubblewrap", workspace="20m")
    box.load({"a": File(REGULAR, b"1" * 12_000_000)})
    box.run("truncate -s 12000000 b")
    for _ in range(2):
        with pytest.raises(SandboxError, match=r"\[sandbox\] workspace"):
            box.changes()
    box.run("truncate -s 3 b")
    assert box.changes() == {"b": File(REGULAR, b"\0\0\0")}


def test_apply_clears_the_way(box: SupervisedSandbox) -> None:
    box.load({"a/b/c": File(REGULAR, b"1"), "f": File(REGULAR, b"1"), "g/h": File(REGULAR, b"1")})
    box.run(
        "mkfifo pipe; mkdir -p junk/.git shut; touch junk/.git/x shut/x; chmod 000 shut; chmod 500 g; ln -s /etc out"
    )
    box.changes()
    box.apply({
        "a/b/c": None, "a": File(REGULAR, b"2"), "f": None, "f/x": File(EXECUTABLE, b"3"), "g/h": None, "absent": None,
        "pipe/y": File(REGULAR, b"4"), "junk": File(SYMLINK, b"a"), "shut/z": File(REGULAR, b"5"),
        "out/passwd": File(REGULAR, b"6"), "g": None,
    })  # fmt: skip
    there = {
        "a": File(REGULAR, b"2"), "f/x": File(EXECUTABLE, b"3"), "pipe/y": File(REGULAR, b"4"),
        "junk": File(SYMLINK, b"a"), "shut/x": File(REGULAR, b""), "shut/z": File(REGULAR, b"5"),
        "out/passwd": File(REGULAR, b"6"),
    }  # fmt: skip
    told = box.changes()
    assert box.export() == there
    assert told == {path: file for path, file in there.items() if path != "shut/x"} | {
        "a/b/c": None, "f": None, "g/h": None, "out": None,
    }  # fmt: skip
    for path in ("../x", "/x", "a/../b", ".git/config", ""):
        for file in (None, File(REGULAR, b"")):
            with pytest.raises(SandboxError, match="cannot be laid"):
                box.apply({path: file})


def test_restore_goes_back_and_forth(box: SupervisedSandbox) -> None:
    box.load(FILES)
    box.run("rm -r *; mkdir a.txt; echo 1 > a.txt/x; chmod 000 a.txt; ln -s / bin; mkdir dangling; touch .new")
    changed = box.export()
    for files in (FILES, changed, FILES):
        box.restore(files)
        assert box.changes() == {}
        assert box.export() == files
    assert box.run("git log --oneline").exit_code in (0, 127)


def test_a_rebuilt_sandbox_goes_on_with_changes(box: SupervisedSandbox) -> None:
    box.load(FILES)
    box.run("echo 2 > a.txt; touch $HOME/junk")
    assert box.changes() == {"a.txt": File(REGULAR, b"2\n")}
    box.run("rm -rf *")
    box.rebuild()
    assert box.changes() == {}
    assert box.export() == FILES | {"a.txt": File(REGULAR, b"2\n")}
    assert box.run("test -e $HOME/junk").exit_code == 1
    box.run("echo 3 > a.txt")
    assert box.changes() == {"a.txt": File(REGULAR, b"3\n")}


def test_a_dead_sandbox_is_rebuilt_from_its_last_snapshot(box: SupervisedSandbox) -> None:
    box.load(FILES)
    box.run("echo 2 > a.txt")
    box.changes()
    box._channel.kill()
    with pytest.raises(SandboxError, match="gone"):
        box.run("true")
    assert not box.alive
    box.rebuild()
    assert box.alive
    assert box.run("cat a.txt").stdout == b"2\n"
    assert box.export() == FILES | {"a.txt": File(REGULAR, b"2\n")}
    box.close()
    with pytest.raises(SandboxError, match="gone"):
        box.rebuild()


@pytest.mark.docker
def test_a_container_that_the_engine_killed_is_rebuilt(opener: Opener) -> None:
    import docker

    box = opener("docker", FILES)
    engine = docker.from_env()
    try:
        engine.api.kill(box._channel._container)  # type: ignore[attr-defined]
    finally:
        engine.close()
    assert until(lambda: not box.alive)
    box.rebuild()
    assert box.export() == FILES
