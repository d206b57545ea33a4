"""Whose a container is, what is left over, and how many sessions may hold sandboxes."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core.protocols import SandboxError, SandboxGone, SandboxSpec
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sandbox import engine, leftovers
from backspace_tui.sandbox.factory import Factory
from tests.sandbox.conftest import Opener
from tests.sandbox.support import until


def own() -> list[Any]:
    found: list[Any] = json.loads(leftovers.owner_labels("s", "agent")[leftovers.LABEL])
    return found


def dead_pid() -> int:
    gone = subprocess.Popen(["true"])
    gone.wait()
    return gone.pid


def test_an_owner_is_judged_only_where_that_is_certain() -> None:
    boot, pid, started, machine, namespace = own()
    cases = {
        "alive": ([boot, pid, started, machine, namespace], False),
        "dead": ([boot, dead_pid(), "1", machine, namespace], True),
        "its pid is another's now": ([boot, pid, "1", machine, namespace], True),
        "before a reboot of this machine": (["other boot", pid, started, machine, namespace], True),
        "another machine": (["other boot", pid, started, "other machine", namespace], False),
        "another machine with our boot": ([boot, dead_pid(), "1", "other machine", namespace], False),
        "inside a container of this machine": ([boot, dead_pid(), "1", machine, "pid:[1]"], False),
        "of a version that named no machine": ([boot, dead_pid(), "1"], True),
        "of that version, and some other boot": (["other boot", dead_pid(), "1"], False),
    }
    for name, (label, gone) in cases.items():
        assert leftovers.owner_is_gone(json.dumps(label)) is gone, name
    for damaged in ("", "{", "[]", "7", "null", '["a"]', json.dumps([boot, "x", "1"])):
        assert not leftovers.owner_is_gone(damaged)


def entry(age: float, labels: dict[str, str]) -> dict[str, Any]:
    return {"Labels": leftovers.owner_labels("s", "agent", 100) | labels, "Created": 1000.0 - age}


def test_a_container_that_is_too_old_is_left_over_whoever_made_it() -> None:
    foreign = {leftovers.LABEL: json.dumps(["boot", 1, "1", "machine", "pid:[1]"])}
    assert not leftovers.is_leftover(entry(0.0, {}), 1000.0)
    assert not leftovers.is_leftover(entry(399.0, foreign), 1000.0)
    assert leftovers.is_leftover(entry(401.0, foreign), 1000.0)
    assert not leftovers.is_leftover({"Labels": foreign, "Created": 0}, 1e9)
    assert not leftovers.is_leftover({"Labels": None}, 1e9)
    assert not leftovers.is_leftover(entry(0.0, {leftovers.MAX_AGE: "soon"}), 1e9)


def test_sessions_are_counted_not_containers() -> None:
    user = leftovers.user_label()
    held = [
        {"Labels": leftovers.owner_labels("one", "agent")},
        {"Labels": leftovers.owner_labels("one", "verify")},
        {"Labels": leftovers.owner_labels("two", "agent")},
        {"Labels": leftovers.owner_labels("three", "agent") | {leftovers.USER: "somebody else"}},
        {"Labels": leftovers.owner_labels("", "build")},
        {"Labels": leftovers.owner_labels("", "library")},
        {"Labels": leftovers.owner_labels("", "library")},
        {"Labels": {leftovers.LABEL: "x"}},
    ]
    assert len(leftovers.holders(held, user)) == 3
    leftovers.check_room(held, leftovers.owner_labels("one", "verify"), 1)  # it holds one: no deadlock with itself
    leftovers.check_room(held, leftovers.owner_labels("four", "agent"), 4)
    with pytest.raises(SandboxError) as refused:
        leftovers.check_room(held, leftovers.owner_labels("four", "agent"), 3)
    text = str(refused.value)
    assert text.startswith("3 sessions hold sandboxes already, and [sandbox] max_sandboxes = 3")
    assert "backspace-tui sessions" in text
    assert "\n" not in text


def hold(folder: str, inside: Any, leave: Any) -> None:
    os.environ["BACKSPACE_TUI_DATA_DIR"] = folder
    with leftovers.one_at_a_time():
        inside.set()
        leave.wait(20)


def test_only_one_process_counts_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path))
    context = multiprocessing.get_context("spawn")
    inside, leave = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(tmp_path), inside, leave))
    other.start()
    try:
        assert inside.wait(20)
        monkeypatch.setattr(leftovers, "LOCK_SECONDS", 0.05)
        lock = os.open(tmp_path / "sandboxes.lock", os.O_RDWR)
        assert not leftovers._locked(lock)
        with leftovers.one_at_a_time():
            pass  # a process that hangs with the lock does not keep the others away for ever
        leave.set()
        other.join(20)
        assert until(lambda: leftovers._locked(lock))
        os.close(lock)
    finally:
        leave.set()
        other.join(20)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path / "file"))
    with leftovers.one_at_a_time():
        pass


# On a real engine


@pytest.fixture
def api(docker_engine: object) -> Iterator[Any]:
    client = engine.connect()
    yield client.api
    client.close()


def ids(api: Any, session: str) -> list[str]:
    found = api.containers(all=True, filters={"label": f"{leftovers.SESSION}={session}"})
    return [item["Id"] for item in found]


@pytest.mark.docker
def test_dead_containers_go_and_live_ones_stay(api: Any, slim_image: str, opener: Opener) -> None:
    boot, _pid, _started, machine, namespace = own()
    dead = json.dumps([boot, dead_pid(), "1", machine, namespace])
    foreign = json.dumps(["boot", 1, "1", "elsewhere", "pid:[1]"])

    def make(session: str, owner: str, purpose: str = "agent") -> None:
        labels = leftovers.owner_labels(session, purpose) | {leftovers.LABEL: owner}
        api.create_container(slim_image, ["true"], labels=labels)

    box = opener("docker", image="slim")
    for purpose in ("agent", "verify", "build", "setup", "doctor"):
        make(f"dead-{purpose}", dead, purpose)
    make("foreign", foreign)
    try:
        # Opening any sandbox removes what is dead; another machine's is never touched.
        second = opener("docker", image="slim")
        for purpose in ("agent", "verify", "build", "setup", "doctor"):
            assert ids(api, f"dead-{purpose}") == []
        assert len(ids(api, "foreign")) == 1
        assert box.run("echo 1").stdout == second.run("echo 1").stdout == b"1\n"
    finally:
        for name in ids(api, "foreign"):
            api.remove_container(name, force=True)


@pytest.mark.docker
def test_a_users_own_container_of_our_image_is_not_ours(api: Any, slim_image: str) -> None:
    # The image may hold the owner label of the container in which it was made.
    boot, _pid, _started, machine, namespace = own()
    dead = json.dumps([boot, dead_pid(), "1", machine, namespace])
    maker = api.create_container(slim_image, ["true"], labels={leftovers.LABEL: dead, "test": "inherits"})
    image = api.commit(maker["Id"])["Id"]
    api.remove_container(maker["Id"], force=True)
    theirs = api.create_container(image, ["true"])["Id"]
    try:
        leftovers.prune()
        assert api.inspect_container(theirs)["Config"]["Labels"][leftovers.LABEL] == dead
    finally:
        api.remove_container(theirs, force=True)
        api.remove_image(image, force=True)


@pytest.mark.docker
def test_volumes_and_half_made_images_go(api: Any, slim_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    boot, pid, started, machine, namespace = own()
    dead = json.dumps([boot, dead_pid(), "1", machine, namespace])
    name = f"backspace-test-{os.getpid()}"
    api.create_volume(name, labels={leftovers.LABEL: dead})
    api.create_volume(name + "-live", labels={leftovers.LABEL: json.dumps([boot, pid, started, machine, namespace])})
    maker = api.create_container(slim_image, ["true"], labels={leftovers.IMAGE: "1"})
    image = api.commit(maker["Id"], message=f"half made by {os.getpid()}")["Id"]
    api.remove_container(maker["Id"], force=True)

    def images() -> set[str]:
        return {item["Id"] for item in api.images(filters={"label": leftovers.IMAGE})}

    def volumes() -> set[str]:
        return {item["Name"] for item in api.volumes()["Volumes"] or ()}

    try:
        leftovers.prune()
        assert {name, name + "-live"} & volumes() == {name + "-live"}
        assert image in images()  # somebody may be at it
        monkeypatch.setattr(leftovers, "HALF_MADE_SECONDS", -1.0)
        leftovers.prune()
        assert image not in images()
        assert slim_image in {item["Id"] for item in api.images()}
    finally:
        api.remove_volume(name + "-live", force=True)


@pytest.mark.docker
def test_the_session_too_many_is_refused(slim_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path))
    # A user of our own, so that nobody else's sandboxes on this engine count.
    monkeypatch.setattr(leftovers, "user_label", lambda: f"test:{os.getpid()}")
    factory = Factory(SandboxSpec(image="slim", max_sandboxes=1))
    agent = factory.open({}, session="first", purpose="agent")
    try:
        with pytest.raises(SandboxError, match=r"1 session holds a sandbox already, and \[sandbox\] max_sandboxes = 1"):
            factory.open({}, session="second", purpose="agent")
        with factory.open({"a": File(REGULAR, b"1")}, session="first", purpose="verify") as verifier:
            assert verifier.run("cat a").stdout == b"1"
    finally:
        agent.close()
    with factory.open({}, session="second", purpose="agent") as box:
        assert box.run("echo 1").stdout == b"1\n"


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
        "process",
    ],
)
def test_a_sandbox_ends_at_its_greatest_age(backend: str, opener: Opener) -> None:
    box = opener(backend, {"a": File(REGULAR, b"1")}, max_age="3s")
    with pytest.raises(SandboxGone) as gone:
        box.run("sleep 60", timeout=60)
    assert str(gone.value).startswith("the sandbox reached its greatest age, [sandbox] max_age (now 3s); ")
    assert not box.alive
    with pytest.raises(SandboxGone, match="greatest age"):
        box.read_file("a")
    fresh = opener(backend, {"a": File(REGULAR, b"1")})
    assert fresh.read_file("a") == b"1"


def test_a_time_that_is_none_is_refused() -> None:
    for text in ("", "24", "h", "-1h", "0m"):
        with pytest.raises(SandboxError, match=r"\[sandbox\] max_age"):
            Factory(SandboxSpec(backend="process", max_age=text)).open({}, session="", purpose="agent")
