"""The arena: one sandbox for each backend and profile, looked after between attacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core.protocols import Result, SandboxGone
from backspace_tui.core.trees import REGULAR, File
from backspace_tui.sandbox import open_sandbox
from backspace_tui.sandbox.client import SupervisedSandbox
from tests.sandbox.redteam.attacks import Attack, End

MARKER = b"what was here before\n"
BASELINE = {"marker": File(REGULAR, MARKER)}
ROOM = (
    "for place in /tmp ~ /dev/shm /workspace; do echo > $place/.room && rm $place/.room || exit 1; done; "
    "ls -A /tmp /dev/shm | grep -v ':$' | grep .; ls ~ | grep -v tmp; ls -A ~ | grep -v -e .venv -e tmp; :"
)
CENSUS = "ls /proc | grep -c '^[0-9]'"


@dataclass
class Arena:
    """A sandbox under attack."""

    box: SupervisedSandbox
    backend: str
    profile: str

    def attack(self, attack: Attack) -> Result | None:
        """Carry it out, prove that it was tried, and see that it ended as it must; ``None`` where the sandbox died."""
        end: End
        result: Result | None = None
        command = attack.command if isinstance(attack.command, str) else list(attack.command)
        heard = bytearray()
        try:
            result = self.box.run(command, timeout=attack.timeout, on_output=lambda _, data: heard.extend(data))
            end = "timeout" if result.timed_out else "exit"
        except SandboxGone:
            end = "gone"
        assert re.search(attack.said, heard.decode(errors="replace")), (bytes(heard[-600:]), result)
        assert end in attack.ends, (end, result)
        # Without a control group nobody counts the forks that failed.
        named = self.backend == "docker" or attack.limit != "pids"
        if attack.limit and result is not None and named:
            assert attack.limit in result.limit, result
        if self.box.alive:
            # The shell, ls, grep, the supervisor and the process that waits for the next command.
            assert int(self.box.run(CENSUS, timeout=20).stdout) <= 5
        return result

    def recover(self) -> None:
        """The sandbox works on, or its last snapshot brings it back; then it is as it was in the beginning."""
        if self.box.alive and not any(service.running for service in self.box.list_processes()):
            assert self.box.run("echo ok", timeout=20).stdout == b"ok\n"
        if not self.box.alive or not self.clean():
            self.box.rebuild()
            assert self.clean()
        self.box.load(BASELINE)
        assert self.box.export() == BASELINE
        assert self.box.read_file("marker") == MARKER

    def clean(self) -> bool:
        """Whether no service is left, and every place has room and nothing of an attack in it."""
        if self.box.list_processes():
            return False
        seen = self.box.run(ROOM, timeout=20)
        return seen.exit_code == 0 and seen.stdout == b""


def _open(request: pytest.FixtureRequest, folder: Path, kind: str) -> Iterator[Arena]:
    backend, _, profile = kind.partition("-")
    request.getfixturevalue("default_image" if backend == "docker" else "bubblewrap")
    folder.mkdir(exist_ok=True)
    (folder / "marker").write_bytes(MARKER)
    # Smaller, so that filling it does not take a minute; the strict one is as it is.
    smaller: dict[str, Any] = {"memory": "512m", "workspace": "256m"} if profile == "default" else {}
    with open_sandbox(folder, backend, profile, **smaller) as box:
        yield Arena(box, backend, profile)


DOCKER = [pytest.param(f"docker-{profile}", marks=pytest.mark.docker) for profile in ("default", "strict")]
EVERY = [*DOCKER, pytest.param("bubblewrap-default", marks=pytest.mark.bubblewrap)]


@pytest.fixture(scope="module", params=EVERY)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """One sandbox for a module's attacks."""
    yield from _open(request, tmp_path_factory.mktemp("arena"), request.param)


@pytest.fixture
def arena(shared: Arena) -> Iterator[Arena]:
    """The module's sandbox, whole again after each test."""
    yield shared
    shared.recover()


@pytest.fixture(params=EVERY)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    """A sandbox for one test alone."""
    yield from _open(request, tmp_path / "fresh", request.param)
