"""Every fault of a model at every position of a session, in both protocols, streamed and whole.

However a model fails, the session ends with the accepted tree of a run without faults, its log tells every request
and why it failed, and no tool call is run twice or cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from backspace_tui.core import events as ev
from tests.fault_cast import BOTH, PROTOCOLS, Cast, Mode, every, nothing_is_left, warmed
from tests.fault_scene import POSITIONS, SERVERS, TURNS, Agent, Position, Protocol, Waits, make_chain, session, waits
from tests.models.openai_server import refused_url
from tests.models.turns import Turn, fault

__all__ = ["nothing_is_left", "waits", "warmed"]
pytestmark = pytest.mark.usefixtures("warmed", "nothing_is_left")


WITH_CALLS: Final = tuple(place for place in POSITIONS if TURNS[place].calls)

SAME_MODEL: Final[Mapping[str, set[str]]] = {
    # What passes is asked again of the same model; the kinds by which the log may tell of it.
    "400": {"request"},
    "408": {"hang", "server"},
    "429": {"rate"},
    "500": {"server"},
    "502": {"server"},
    "503": {"server"},
    "504": {"hang", "server"},
    "529": {"server"},
    "reset": {"refused"},
    "reset_stream": {"cut", "refused"},
    "eof": {"cut", "refused"},
    "eof_done": {"cut"},
    "cut_call": {"cut", "call", "empty"},
    "bad_chunk": {"cut", "garbled"},
    "bad_chunk_on": {"cut", "garbled"},
    "error_event": {"cut", "server"},
    "rate_event": {"cut", "rate", "server"},
    "bad_json": {"garbled", "empty"},
    "html": {"garbled", "empty", "server"},
    "empty": {"empty"},
    "empty_choices": {"empty"},
}
STREAM_ALONE: Final = {"eof_done", "bad_chunk", "bad_chunk_on"}
NEXT_MODEL: Final[Mapping[str, str]] = {
    "401": "auth",
    "403": "forbidden",
    "404": "missing",
    "quota": "quota",
    "filter_400": "filter",
    "filter_stop": "filter",
}
HANGS: Final = ("hang", "hang_headers", "hang_stream")


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_without_faults(tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode) -> None:
    with Cast(waits, protocol, mode, {}) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played)
        assert played.failures == []
        assert cast.agents[0].seen == list(POSITIONS)
        assert cast.agents[1].seen == []
        assert waits == []


def in_threes(mode: Mode) -> list[tuple[str, ...]]:
    kinds = [kind for kind in SAME_MODEL if mode == "stream" or kind not in STREAM_ALONE]
    # Far from each other in the table: three faults of one sort would go to the next model.
    apart = -(-len(kinds) // 3)
    return [tuple(kinds[at::apart]) for at in range(apart)]


@pytest.mark.parametrize(
    ("protocol", "mode", "kinds"),
    [(protocol, mode, kinds) for protocol, mode in BOTH for kinds in in_threes(mode)],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_passes_is_asked_again(
    tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode, kinds: tuple[str, ...]
) -> None:
    # Each fault at each position; a cut call where there is one.
    faults = {
        place: [fault(kind, partial=Turn(cut=0.8)) for kind in kinds if kind != "cut_call" or place in WITH_CALLS]
        for place in POSITIONS
    }
    with Cast(waits, protocol, mode, faults) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played)
        assert cast.agents[1].seen == []
        expected = [turn.fault for place in POSITIONS for turn in faults[place]]
        assert len(played.failures) == len(expected)
        for failure, kind in zip(played.failures, expected, strict=True):
            assert failure.kind in SAME_MODEL[kind], failure
            assert failure.retry_in is not None
            assert failure.model == cast.names[0]
        assert waits == [failure.retry_in for failure in played.failures]
        assert max(waits) <= 4


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
@pytest.mark.parametrize("kinds", [("401", "403"), ("404", "quota"), ("filter_400", "filter_stop")], ids="-".join)
def test_what_is_hopeless_goes_to_the_next_model_and_back(
    tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode, kinds: tuple[str, ...]
) -> None:
    with (
        Cast(waits, protocol, mode, *(every(fault(kind)) for kind in kinds)) as cast,
        session(tmp_path, cast.chain) as played,
    ):
        played.play()
        cast.check(played)
        # The clock ends the cooldowns after each turn: the preferred model is asked first each time.
        for agent in cast.agents:
            assert agent.seen == list(POSITIONS)
        assert {reply.model for reply in played.replies} == {cast.names[2]}
        assert [(failure.model, failure.kind, failure.retry_in) for failure in played.failures] == [
            (name, NEXT_MODEL[kind], None) for _ in POSITIONS for name, kind in zip(cast.names, kinds, strict=False)
        ]
        assert waits == []


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_a_hang_is_cut_off_and_asked_again(tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode) -> None:
    # Each takes its time, so the positions are shared out.
    shift = BOTH.index((protocol, mode))
    faults: dict[Position, list[Turn]] = {
        POSITIONS[(2 * at + shift) % len(POSITIONS)]: [fault(kind)] for at, kind in enumerate((*HANGS, HANGS[0]))
    }
    with Cast(waits, protocol, mode, faults, timeout=1.0) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played)
        assert cast.agents[1].seen == []
        assert [failure.kind for failure in played.failures] == ["hang"] * len(faults)
        cast.servers[0].wait_for_disconnects(len(faults))


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_a_context_overflow(tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode) -> None:
    faults: dict[Position, list[Turn]] = {place: [fault("context"), fault("413")] for place in POSITIONS}
    with Cast(waits, protocol, mode, faults) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played)
        # What can be shortened is asked again of the same model, the rest goes to the next one.
        assert [failure.kind for failure in played.failures] == ["context"] * 2 * len(POSITIONS)


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_the_output_limit_inside_a_call(tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode) -> None:
    # Once it is asked again, then another model is; one that failed so is probed with one request.
    faults = lengths()
    with Cast(waits, protocol, mode, faults) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played)
        assert [failure.kind for failure in played.failures] == ["call"] * sum(map(len, faults.values()))
        assert cast.agents[1].seen == ["write", "finish", "follow", "end"]


def lengths() -> dict[Position, list[Turn]]:
    """A reply that is cut once or twice in a row at each position with calls."""
    cuts: Mapping[Position, tuple[float, ...]] = {
        "edit": (0.9,), "write": (0.3, 0.9), "finish": (0.9,), "follow": (0.9, 0.9), "end": (0.9,)
    }  # fmt: skip
    return {place: [fault("length", partial=Turn(cut=cut)) for cut in shares] for place, shares in cuts.items()}


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_the_output_limit_inside_a_call_of_the_only_model(
    tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode
) -> None:
    # Once it is asked again, then the model itself is told, which makes the whole turn anew.
    faults = lengths()
    spoilt = sum(len(turns) - 1 for turns in faults.values())
    with Cast(waits, protocol, mode, faults, good=False) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played, spoilt)
        assert [failure.kind for failure in played.failures] == ["call"] * len(WITH_CALLS)
        told = [event.text for event in played.events if isinstance(event, ev.ToolFinished) and not event.ok]
        assert sum("length limit" in words for words in told) == spoilt
        # What ran, ran once.
        done = [event for event in played.events if isinstance(event, ev.ToolFinished) and event.ok]
        assert len(done) == sum(len(TURNS[place].calls) for place in WITH_CALLS)


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_a_model_without_tools(tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode) -> None:
    with Cast(waits, protocol, mode, {"edit": [fault("no_tools")]}) as cast, session(tmp_path, cast.chain) as played:
        played.play()
        cast.check(played)
        assert [failure.kind for failure in played.failures] == ["no_tools"]
        assert cast.agents[1].seen == []
        assert sum("tools" in body for body in cast.servers[0].bodies) == 1


@pytest.mark.parametrize(("protocol", "mode"), BOTH)
def test_a_bad_request_of_ours_fails_the_session_which_can_be_resumed(
    tmp_path: Path, waits: Waits, protocol: Protocol, mode: Mode
) -> None:
    with (
        Cast(waits, protocol, mode, {place: [fault("400")] * 2 for place in POSITIONS}) as cast,
        session(tmp_path, cast.chain) as played,
    ):
        played.start()
        for _ in POSITIONS:
            state = played.until("review")
            if not played.ended:
                played.to_the_follow_up()
                state = played.until("review")
            assert played.ended
            assert played.exit_code == 1
            assert "temperature" in state.error
            played.start()
        played.to_the_end()
        cast.check(played)
        assert [failure.kind for failure in played.failures] == ["request"] * 2 * len(POSITIONS)
        # Never carried to the next provider.
        assert cast.agents[1].seen == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_listens_at_the_preferred_model(tmp_path: Path, waits: Waits, protocol: Protocol) -> None:
    agent = Agent()
    with (
        SERVERS[protocol](agent) as server,
        session(tmp_path, make_chain(protocol, refused_url(), server, waits=waits)) as played,
    ):
        played.play()
        played.check(server)
        # The first turn finds it out, the others ask the next one first.
        assert {failure.kind for failure in played.failures} == {"refused"}
        assert len(played.failures) == 2
        assert agent.seen == list(POSITIONS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_answers_whole_whatever_is_asked(tmp_path: Path, waits: Waits, protocol: Protocol) -> None:
    faults = {place: [fault(kind)] for place, kind in zip(POSITIONS, itertools.cycle(("429", "500", "html", "eof")))}
    agent = Agent(faults)
    with (
        SERVERS[protocol](agent, streams=False) as server,
        session(tmp_path, make_chain(protocol, server, waits=waits)) as played,
    ):
        played.play()
        played.check(server)
        assert agent.faults_left == 0
