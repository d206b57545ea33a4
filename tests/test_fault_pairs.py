"""Two faults in a row, all models failing, the budget, a killed process: the session still ends with the same tree."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from backspace_tui.config import BudgetSettings, ModelSettings, Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, apply
from backspace_tui.sessions import client, store
from tests.crash import nothing_left
from tests.fault_cast import BOTH, PROTOCOLS, Cast, Mode, nothing_is_left, warmed
from tests.fault_scene import (
    KEY,
    NAMES,
    POSITIONS,
    PROMPT,
    SERVERS,
    TURNS,
    Agent,
    Clock,
    Position,
    Protocol,
    Session,
    Waits,
    make_chain,
    session,
    waits,
)
from tests.models.anthropic_server import AnthropicServer
from tests.models.helpers import ask
from tests.models.openai_server import OpenAIServer
from tests.models.turns import Turn, fault
from tests.program import wait_for

__all__ = ["nothing_is_left", "waits", "warmed"]
pytestmark = pytest.mark.usefixtures("warmed", "nothing_is_left")

KINDS: Final = (
    "401", "429", "500", "eof", "cut_call", "html", "empty", "context", "quota", "filter_stop", "reset_stream",
    "error_event",
)  # fmt: skip
HOPELESS: Final = ("401", "quota", "filter_stop")
PAIRS: Final = list(itertools.product(KINDS, repeat=2))
EACH: Final = len(POSITIONS) // 2


@pytest.mark.parametrize("number", range(len(PAIRS) // EACH))
def test_two_faults_in_a_row(tmp_path: Path, waits: Waits, number: int) -> None:
    protocol, mode = BOTH[number // 2 % len(BOTH)]
    first: dict[Position, list[Turn]] = {}
    second: dict[Position, list[Turn]] = {}
    # A turn without faults between them: a model that failed for good is otherwise probed with one request.
    places = POSITIONS[number % 2 :: 2]
    for place, (one, two) in zip(places, PAIRS[number * EACH : (number + 1) * EACH], strict=True):
        if not TURNS[place].calls:
            one, two = ("eof" if kind == "cut_call" else kind for kind in (one, two))
        first[place] = [fault(one, partial=Turn(cut=0.8))]
        # What is hopeless is not asked again, so the second fault is the next model's.
        (second if one in HOPELESS else first).setdefault(place, []).append(fault(two, partial=Turn(cut=0.6)))
    with Cast(waits, protocol, mode, first, second, good=False) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played, spoilt=len(played.replies) - len(POSITIONS))
        assert len(played.failures) >= 2 * EACH - (len(played.replies) - len(POSITIONS))


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_when_every_model_fails_the_session_pauses_and_goes_on(
    tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode
) -> None:
    places: tuple[Position, ...] = ("plan", "write", "critique", "end")
    first = {place: [fault("401")] for place in places}
    # The last hope is asked once more.
    second = {place: [fault("quota")] * 2 for place in places}
    with Cast(waits, protocol, mode, first, second, good=False) as cast, session(tmp_path, cast.chain) as played:
        played.start()
        go_on(played, len(places))
        cast.check(played)
        pauses = [event.reason for event in played.events if isinstance(event, ev.Paused)]
        assert len(pauses) == len(places)
        for reason in pauses:
            assert reason.startswith("models: ")
            assert all(name in reason for name in cast.names)
        assert len(played.failures) == 3 * len(places)


def go_on(played: Session, pauses: int) -> None:
    """Resume after each of so many pauses, and play the rest."""
    for _ in range(pauses):
        state = played.until("review")
        if not state.paused and not played.ended:
            played.to_the_follow_up()
            state = played.until("review")
        assert state.paused, state.error
        played.send(cmd.Resume())
    played.to_the_end()


def test_without_a_window_the_pause_is_exit_code_4(tmp_path: Path, waits: Waits) -> None:
    with (
        Cast(
            waits, "anthropic", "stream", {"write": [fault("401")]}, {"write": [fault("403")] * 2}, good=False
        ) as cast,
        session(tmp_path, cast.chain) as played,
    ):
        played.start(headless=True)
        wait_for(lambda: played.ended, "the session's process to end")
        assert played.exit_code == 4
        assert played.state.error.startswith("models: ")
        played.start(cmd.Resume())
        played.to_the_end()
        cast.check(played)


def test_a_wait_is_as_long_as_the_provider_says(tmp_path: Path, waits: Waits) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    faults: dict[Position, list[Turn]] = {
        "plan": [fault("429", retry_after=3)],
        "edit": [fault("429", retry_after=7), fault("429")],
        "write": [fault("503", retry_after="5")],
        "finish": [fault("429", retry_after="soon")],
        "critique": [fault("529", retry_after=120)],
        "follow": [fault("429", retry_after=date)],
    }
    with Cast(waits, "openai", "stream", faults) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played)
        told = [failure.retry_in for failure in played.failures]
        assert told == [3.0, 7.0, 4.0, 5.0, 2.0, None, None]
        assert waits == [wait for wait in told if wait is not None]
        assert cast.agents[1].seen == ["critique", "follow"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_that_failed_is_spared_and_then_preferred_again(
    tmp_path: Path, waits: Waits, protocol: Protocol
) -> None:
    clock = Clock()
    agents = (Agent({"plan": [fault("403")]}), Agent())
    with (
        SERVERS[protocol](agents[0]) as one,
        SERVERS[protocol](agents[1]) as two,
        session(tmp_path, make_chain(protocol, one, two, waits=waits, clock=clock)) as played,
    ):
        played.start()
        played.until("review")
        assert agents[0].seen == ["plan"]
        clock.jump()
        played.to_the_end()
        played.check(one, two)
        assert agents[0].seen == ["plan", "follow", "end", "again"]
        assert agents[1].seen == ["plan", "edit", "write", "finish", "critique"]
        preferred, other, _ = NAMES[protocol]
        assert [reply.model for reply in played.replies] == [other] * 5 + [preferred] * 3


@pytest.mark.parametrize("kind", ["403", "hang", "eof"])
def test_a_conversation_goes_on_in_the_other_protocol(tmp_path: Path, waits: Waits, kind: str) -> None:
    clock = Clock()
    # Often enough for the next model to take over.
    faults: dict[Position, Sequence[Turn]] = {"write": [fault(kind)] * 3, "follow": [fault(kind)] * 3}
    agents = (Agent(faults), Agent())
    for agent in agents:
        agent.clock = clock
    names = (NAMES["anthropic"][0], NAMES["openai"][1])
    with AnthropicServer(agents[0]) as one, OpenAIServer(agents[1]) as two:
        chain = make_chain("anthropic", one, two, waits=waits, clock=clock, names=names, timeout=1.0)
        with session(tmp_path, chain) as played:
            played.play()
            played.check(one, two)
    assert agents[1].seen == ["write", "follow"]
    assert [reply.model == names[1] for reply in played.replies] == [
        place in ("write", "follow") for place in POSITIONS
    ]


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("openai", ("openai/gpt-4.1-mini", "openai/gpt-4-turbo")),
        ("anthropic", ("anthropic/claude-haiku-4-5", "anthropic/claude-opus-4-5")),
    ],
)
def test_a_dear_fallback_waits_for_a_person(
    tmp_path: Path, waits: Waits, protocol: Protocol, names: tuple[str, str]
) -> None:
    agents = (Agent({"write": [fault("eof"), fault("401")]}), Agent())
    with SERVERS[protocol](agents[0]) as one, SERVERS[protocol](agents[1]) as two:
        chain = make_chain(protocol, one, two, waits=waits, names=names)
        cheap, dear = (model.estimate(ask("x" * 4000)).usd for model in chain.models)
        assert cheap is not None
        assert dear is not None
        assert cheap * 2 < dear
        limit = dear * 0.9
        with session(tmp_path, chain, Settings(budget=BudgetSettings(usd=limit))) as played:
            played.start()
            state = played.until("review")
            assert state.paused.startswith("budget: ")
            assert names[1] in state.paused
            assert two.bodies == []
            while state.paused:
                within(played.events, limit)
                played.send(cmd.Resume())
                state = played.until("review")
            played.send(cmd.Say(text="Now write the last part"))
            while (state := played.until("review")).paused:
                within(played.events, limit)
                played.send(cmd.Resume())
            played.to_the_end()
            played.check(one, two)
            within(played.events, limit)
            assert all(reply.usd for reply in played.replies)
            assert [failure.kind for failure in played.failures] == ["cut", "auth"]
            assert played.failures[0].usd


def within(events: Sequence[ev.AnyEvent], limit: float) -> None:
    """At no moment more was spent than the budget and the times that it was extended."""
    state, times = SessionState(), 1
    for event in events:
        state = apply(state, event)
        times += isinstance(event, ev.Resumed)
        assert state.usd <= limit * times


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_process_that_is_killed_while_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits, protocol: Protocol
) -> None:
    """The real process with the real waits: killed in one, it repeats the turn when it is started again."""
    agent = Agent({"write": [fault("429", retry_after=19)]})
    monkeypatch.setenv("SOME_KEY", KEY)
    with SERVERS[protocol](agent) as server, nothing_left("", "process"):
        model = ModelSettings(NAMES[protocol][0], server.url, "SOME_KEY")
        chain = make_chain(protocol, server, waits=waits)
        with session(tmp_path, chain, Settings(models=(model,))) as played:
            started = ev.SessionStarted(
                session=played.directory.name, repository=str(played.repository), prompt=PROMPT, version="0",
                models=chain.names, interactive=False, sandbox="process",
                settings=msgspec.to_builtins(played.settings),
            )  # fmt: skip
            client.launch(cmd.HostRequest(directory=str(played.directory), started=started))
            wait_for(lambda: played.failures, "the refusal")
            os.kill(store.holder(played.directory), signal.SIGKILL)
            wait_for(lambda: not store.is_running(played.directory), "the process to be gone")
            assert [failure.retry_in for failure in played.failures] == [19.0]
            client.launch(cmd.HostRequest(directory=str(played.directory)))
            played.to_the_end()
            with client.Client.connect(played.directory) as connection:
                connection.send(cmd.Quit())
            wait_for(lambda: not store.is_running(played.directory), "the process to end")
            played.check(server)
            assert server.bodies[2] == server.bodies[3]
