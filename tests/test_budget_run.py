"""The budget and the pause in the real program: models at real prices, over a real server, resumed both ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.spending import extended, limits_of
from backspace_tui.core.state import SessionState, apply, fold
from backspace_tui.sessions import client
from tests.crash import Script, nothing_left, steps
from tests.models.turns import Turn, call, fault
from tests.program import CART, Program, make_repository, processes_of, wait_for
from tests.terminal import Tmux

FIX = call("write_file", path="cart.py", content=CART.replace("price for", "price * quantity for"))
CHEAP, DEAR = "openai/gpt-4o", "openai/gpt-4-turbo"
LONG = "Mend the total\n\n" + "It is about prices and quantities.\n" * 1000

pytestmark = pytest.mark.bubblewrap
Agent = Callable[[Mapping[str, Any]], Turn]


@pytest.fixture
def program(tmp_path: Path, bubblewrap: str) -> Iterator[Program]:
    with nothing_left("", bubblewrap):
        program = Program(tmp_path, OPENAI_API_KEY="sk-never-to-be-shown-0123456789")
        yield program
        wait_for(lambda: not any(map(processes_of, program.sessions)), "the session's process to be gone")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


def counted(agent: Agent, tokens: float) -> Agent:
    """``agent`` on a server that counts so many tokens for each character that it is sent."""

    def answer(body: Mapping[str, Any]) -> Turn:
        size = sum(len(str(message.get("content") or "")) for message in body["messages"])
        return replace(agent(body), prompt_tokens=int(size * tokens), completion_tokens=50)

    return answer


def models(program: Program, **servers: Script) -> None:
    """These models in this order, each at its server."""
    lines = []
    for name, server in servers.items():
        model = {"cheap": CHEAP, "dear": DEAR}.get(name, f"openai/{name}")
        lines.append(f'[[models]]\nname = "{model}"\napi_base = "{server.url}"\nmax_output_tokens = 4000\n')
    Path(program.env["BACKSPACE_TUI_CONFIG"]).write_text("\n".join(lines))


def run(program: Program, repository: Path, *more: str, prompt: str = "Mend the total") -> tuple[int, str, str]:
    done = program.run("run", str(repository), "-p", prompt, "--sandbox", "bubblewrap", *more)
    return done.returncode, done.stdout, done.stderr


def resume(program: Program) -> tuple[int, str, str]:
    done = program.run("resume", "last")
    return done.returncode, done.stdout, done.stderr


def within_budget(events: list[ev.AnyEvent]) -> SessionState:
    """At no moment more was spent than was allowed then; the state at the end."""
    state = SessionState()
    for event in events:
        state = apply(state, event)
        if state.started is not None:
            limit = extended(limits_of(state.started.settings), state.spent).usd
            assert limit is not None
            assert state.usd <= limit
    return state


def test_faults_use_up_the_budget_and_a_dear_fallback_waits_for_a_person(program: Program, repository: Path) -> None:
    whole = steps(FIX)

    def fails_later(body: Mapping[str, Any]) -> Turn:
        return fault("eof") if len(body["messages"]) > 2 or "# Changes" in str(body["messages"]) else whole(body)

    with Script(counted(fails_later, 0.25)) as cheap, Script(counted(whole, 0.25)) as dear:
        models(program, cheap=cheap, dear=dear)
        # It would be enough if the broken answers were not counted.
        program.env["BACKSPACE_TUI_BUDGET_USD"] = "0.30"
        code, printed, told = run(program, repository, "--accept", "all", prompt=LONG)
        assert code == 4, printed + told
        assert f"spent of $0.30, and the next request to {DEAR} may take $0." in told
        assert "([budget] usd); let it spend as much again with: backspace-tui resume" in told
        assert told.count("\n") == 1
        state = within_budget(program.events())
        assert dear.bodies == []
        failed = [event for event in program.events() if isinstance(event, ev.ModelFailed)]
        assert [event.kind for event in failed] == ["cut"] * len(failed)
        lost = sum(event.usd or 0 for event in failed)
        assert 0.5 * state.usd < lost < state.usd
        asked = next(event for event in program.events() if isinstance(event, ev.Paused))
        assert state.usd - lost + asked.needs < 0.30 < state.usd + asked.needs
        assert "the next model is asked (cost $" in printed
        codes = [code]
        while codes[-1] == 4 and len(codes) < 6:
            codes.append(resume(program)[0])
        assert codes[-1] == 0
        assert dear.bodies
    state = within_budget(program.events())
    assert (state.status, len(state.commits)) == ("done", 1)
    assert sum(isinstance(event, ev.Resumed) for event in program.events()) == len(codes) - 1
    check_ledger(program, state)


def check_ledger(program: Program, state: SessionState) -> None:
    """It says what the log says, also when the session is gone."""
    assert program.run("sessions", "delete", "last").returncode == 0
    assert program.sessions == []
    total = json.loads(program.run("costs", "--json").stdout)
    assert total["total"]["usd"] == pytest.approx(state.usd)
    assert total["total"]["tokens_in"] + total["total"]["tokens_out"] == state.tokens
    assert total["total"]["calls"] - total["total"]["failed"] == state.turns
    assert total["total"]["unpriced"] == state.unpriced
    assert (program.data / "ledger.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("TURNS", "2", "budget: 2 turns taken of 2 ([budget] turns)"),
        ("TOKENS", "5500", "may take"),
        ("MINUTES", "0.01", "minutes worked of 0.01 ([budget] minutes)"),
    ],
)
def test_the_other_limits_hold_where_no_price_is_known(
    program: Program, repository: Path, setting: str, value: str, reason: str
) -> None:
    with Script(counted(steps(FIX, call("run_command", command="sleep 1")), 0.25)) as server:
        models(program, test=server)
        program.env[f"BACKSPACE_TUI_BUDGET_{setting}"] = value
        code, printed, told = run(program, repository)
        assert code == 4, printed + told
        assert reason in told
        assert f"([budget] {setting.lower()})" in told
        before = len(server.bodies)
        assert resume(program)[0] == 4
        assert len(server.bodies) > before
    events = program.events()
    said = [event.text for event in events if isinstance(event, ev.Message) and "is not known" in event.text]
    assert said == ["the price of openai/test is not known, so [budget] usd does not count it; the other limits hold"]
    check_ledger(program, fold(events))


@pytest.mark.parametrize("cause", ["budget", "no model answers"])
def test_a_pause_is_shown_in_the_window_and_ended_with_a_key(
    program: Program, repository: Path, tmux: Tmux, cause: str
) -> None:
    broken = cause != "budget"
    whole = steps(FIX)
    with Script(lambda body: fault("401") if broken else whole(body)) as server:
        models(program, cheap=server)
        program.env["BACKSPACE_TUI_BUDGET_TURNS"] = "60" if broken else "2"
        assert run(program, repository)[0] == 4
        broken = False
        tmux.start(program.command("attach", "last"), program.env)
        screen = tmux.wait_for(f"paused: {cause}")
        assert "p lets the agent go on" in screen
        tmux.keys("Escape", "p")
        wait_for(lambda: in_review(program), "the review")
        tmux.wait_for("$0.00 of $3.00")
        tmux.keys("q")
        tmux.wait_for("EXIT=0")
        with client.Client.connect(program.session) as connection:
            connection.send(cmd.Quit())
    events = program.events()
    assert [type(event) for event in events].count(ev.Paused) == 1
    assert [type(event) for event in events].count(ev.Resumed) == 1


def in_review(program: Program) -> bool:
    state = fold(program.events())
    return state.stage == "review" and state.stage_open
