"""Models of one protocol for a whole session, their servers, and what is checked of them afterwards."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import pytest

from tests.fault_scene import (
    NAMES,
    POSITIONS,
    SERVERS,
    Agent,
    Clock,
    Fixed,
    Position,
    Protocol,
    Session,
    Waits,
    make_chain,
)
from tests.models.helpers import Recorder, Token, ask
from tests.models.turns import Turn

Mode = Literal["stream", "whole"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("openai", "anthropic")
MODES: Final[tuple[Mode, ...]] = ("stream", "whole")
BOTH: Final = list(itertools.product(PROTOCOLS, MODES))


@pytest.fixture(scope="module")
def warmed() -> None:
    """litellm imports more at the first request of each protocol."""
    for protocol in PROTOCOLS:
        with SERVERS[protocol](["hello"]) as server:
            make_chain(protocol, server, waits=Waits(), timeout=120).complete(ask("hello"), Recorder(), Token())


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No thread and no socket of a model outlives a session."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        # A reader of git's words is the session's process's own, and ends with it.
        if not thread.name.endswith("(_read_errors)"):
            thread.join(10)
            assert not thread.is_alive(), thread.name


Faults = Mapping[Position, Sequence[Turn]]


class Cast:
    """Models of one protocol with their servers in order of preference: what fails at each, and a ``good`` one."""

    def __init__(
        self,
        waits: Waits,
        protocol: Protocol,
        mode: Mode,
        *faults: Faults,
        good: bool = True,
        timeout: float = 20.0,
    ) -> None:
        self.clock = Clock()
        self.agents = [*map(Agent, faults), *([Agent()] if good else [])]
        self.servers = [SERVERS[protocol](agent) for agent in self.agents]
        self.names = NAMES[protocol][: len(self.servers)]
        self._waits, self._protocol, self._mode, self._timeout = waits, protocol, mode, timeout

    def __enter__(self) -> Cast:
        for server in self.servers:
            server.__enter__()
        self.chain = make_chain(
            self._protocol, *self.servers, waits=self._waits, timeout=self._timeout, clock=self.clock
        )
        self.chain.unstreamed = Fixed(streams=self._mode == "stream")
        for agent in self.agents:
            agent.clock = self.clock
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.__exit__(None, None, None)

    def check(self, played: Session, spoilt: int = 0) -> None:
        played.check(*self.servers, spoilt=spoilt)
        sent = sum(len(server.bodies) for server in self.servers)
        assert sent == len(played.calls)
        assert not any(agent.faults_left for agent in self.agents)
        streamed = {request.streamed for server in self.servers for request in server.requests}
        # What looks like no answer at all is asked for in the other way.
        if not {failure.kind for failure in played.failures} & {"empty", "garbled"}:
            assert streamed == {self._mode == "stream"}


def every(turn: Turn, places: Sequence[Position] = POSITIONS) -> dict[Position, list[Turn]]:
    return {place: [turn] for place in places}
