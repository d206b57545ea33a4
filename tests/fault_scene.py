"""A whole session in this process against servers that fail: a small task with known positions, and its human.

The agent answers by the conversation alone, in both protocols, so that every request has a position in the session
whatever failed before it, and a fault is injected at a position.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pytest

from backspace_tui import wiring
from backspace_tui.config import ModelSettings, Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import CancelToken
from backspace_tui.core.redact import Redactor
from backspace_tui.core.state import SessionState, fold
from backspace_tui.engine import host
from backspace_tui.engine.job import Parts
from backspace_tui.models import chain as chain_module
from backspace_tui.models.chain import FallbackChain
from backspace_tui.models.litellm_model import LiteLLMModel
from backspace_tui.models.prompts import load_prompts
from backspace_tui.sandbox.factory import Factory
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from tests.models.anthropic_server import AnthropicServer
from tests.models.openai_server import OpenAIServer
from tests.models.turns import Call, Turn, call, text
from tests.program import make_repository, tree, wait_for

Protocol = Literal["openai", "anthropic"]
Position = Literal["plan", "edit", "write", "finish", "critique", "follow", "end", "again"]
POSITIONS: Final[tuple[Position, ...]] = ("plan", "edit", "write", "finish", "critique", "follow", "end", "again")
"""Every request of a session: the plan, three turns, the critique; two turns after the follow-up, its critique."""

BASE: Final = {"notes.txt": "first\nsecond\n", "log.txt": ""}
PROMPT: Final = "Mend the notes"
FOLLOW: Final = "Now write the last part"
KEY: Final = "sk-test-key-0123456789abcdef"
NAMES: Final[Mapping[Protocol, tuple[str, ...]]] = {
    "openai": ("openai/one", "openai/two", "openai/three"),
    "anthropic": ("anthropic/claude-one", "anthropic/claude-two", "anthropic/claude-three"),
}
SERVERS: Final[Mapping[Protocol, type[OpenAIServer]]] = {"openai": OpenAIServer, "anthropic": AnthropicServer}
LONG: Final = "".join(f"line {number} of the part that is written\n" for number in range(12))


def marked(number: int) -> Call:
    """A command that leaves one line each time it runs, and whose result alone holds ``MARK`` and its number."""
    return Call("run_command", {"command": f"echo {number} >> log.txt; echo MARK$(({number - 1} + 1))"})


TURNS: Final[Mapping[Position, Turn]] = {
    "plan": text("1. mend the notes\n2. write the part"),
    "edit": text("Let me see. ", thinking="The second line is wrong.")
    + call("edit_file", path="notes.txt", old="second", new="zweite")
    + Turn(calls=(marked(1),)),
    "write": call("write_file", path="part.txt", content=LONG) + Turn(calls=(marked(2),)),
    "finish": call("finish", summary="The notes are mended."),
    "critique": text("APPROVE\nAll of it is there."),
    "follow": text("Now the last part. ")
    + Turn(calls=(marked(3),))
    + call("write_file", path="last.txt", content=LONG),
    "end": call("finish", summary="The last part is there."),
    "again": text("APPROVE\nThe last part is there as well."),
}
CALLS: Final = sum(len(turn.calls) for turn in TURNS.values())


def position(body: Mapping[str, Any]) -> Position:
    """Where in the session a request stands."""
    said = json.dumps(body["messages"])
    if not body.get("tools") and "```tool" not in said:
        if "# Changes" not in said:
            return "plan"
        return "again" if FOLLOW in said else "critique"
    if FOLLOW in said:
        return "end" if "MARK3" in said else "follow"
    return "finish" if "MARK2" in said else "write" if "MARK1" in said else "edit"


def in_text(turn: Turn) -> Turn:
    """The turn of a model that writes its calls as text."""
    blocks = [
        f"```tool\n{json.dumps({'tool': made.name, 'arguments': dict(made.arguments)})}\n```" for made in turn.calls
    ]
    return replace(turn, text="\n".join([turn.text, *blocks]), calls=())


class Agent:
    """A server's script: what each position answers, after the faults that are left for it.

    ``seen`` are the positions asked for, in order. A model in the text form answers in it.
    """

    def __init__(self, faults: Mapping[Position, Sequence[Turn]] | None = None) -> None:
        self._faults = {place: list(turns) for place, turns in (faults or {}).items()}
        self.seen: list[Position] = []
        self.clock: Clock | None = None

    def __call__(self, body: dict[str, Any]) -> Turn:
        place = position(body)
        self.seen.append(place)
        turn = TURNS[place]
        if not body.get("tools"):
            turn = in_text(turn)
        if left := self._faults.get(place):
            failing = left.pop(0)
            return replace(turn, fault=failing.fault, retry_after=failing.retry_after, cut=failing.cut)
        if self.clock is not None:
            self.clock.jump()
        return turn

    @property
    def faults_left(self) -> int:
        """Faults that no request met."""
        return sum(map(len, self._faults.values()))


class Clock:
    """A monotonic clock that the test moves on: :meth:`jump` ends every cooldown and no turn."""

    JUMP: Final = 700.0

    def __init__(self) -> None:
        self._real = time.monotonic
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._real() + self._ahead

    def jump(self) -> None:
        self._ahead += self.JUMP


class Session:
    """One session, whose process is a thread here, with its human."""

    def __init__(self, folder: Path, model: FallbackChain, settings: Settings | None = None) -> None:
        self.folder = folder
        self.model = model
        self.settings = settings or Settings()
        self.directory = store.new_session(folder / "data" / "sessions")
        self.repository = make_repository(folder / "repository", BASE)
        self._thread: threading.Thread | None = None
        self.exit_code: int | None = None

    def parts(self, started: ev.SessionStarted) -> Parts:
        """As the program's own wiring makes them, but for the model."""
        settings = wiring.settings_of(started)
        return Parts(
            model=self.model,
            sandboxes=Factory(wiring.spec(started, settings)),
            forge=lambda remote, source: wiring.make_forge(remote, source, settings),
            prompts=load_prompts(),
            settings=settings,
            redactor=Redactor([KEY], salt=(started.masks or started.session).encode()),
        )

    def start(self, *commands: cmd.AnyCommand, headless: bool = False) -> None:
        """Start the session, or go on with it."""
        begun = bool(self.events)
        started = ev.SessionStarted(
            session=self.directory.name,
            repository=str(self.repository),
            prompt=PROMPT,
            version="0",
            models=self.model.names,
            interactive=not headless,
            sandbox="process",
            settings=msgspec.to_builtins(self.settings),
        )
        request = cmd.HostRequest(
            directory=str(self.directory),
            started=None if begun else started,
            commands=commands,
            exit_when_waiting=headless,
        )
        ready = threading.Event()
        problems: list[str] = []

        def stands(told: cmd.HostReady) -> None:
            problems.append(told.error)
            ready.set()

        def run() -> None:
            self.exit_code = host.run(request, self.parts, stands)

        self.exit_code = None
        self._thread = threading.Thread(target=run, name="session")
        self._thread.start()
        assert ready.wait(30)
        assert problems == [""]

    @property
    def events(self) -> list[ev.AnyEvent]:
        try:
            return read_events(self.directory)
        except SessionError:
            return []

    @property
    def state(self) -> SessionState:
        return fold(self.events)

    def until(self, stage: str) -> SessionState:
        """Wait until the session rests in ``stage``, is paused or has ended."""
        seen: SessionState

        def there() -> bool:
            nonlocal seen
            seen = self.state
            if self.ended or seen.paused:
                return True
            return seen.stage == stage and seen.stage_open and seen.unheard is None

        wait_for(there, f"the stage {stage}", 60)
        return seen

    @property
    def ended(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def send(self, command: cmd.AnyCommand) -> cmd.Reply:
        """Ask the session for something; it is not refused."""
        with client.Client.connect(self.directory) as connection:
            reply = connection.send(command)
        assert not reply.error, reply.error
        return reply

    def accept_all(self) -> None:
        with Objects(self.directory / "repo.git") as objects:
            shown = review(objects, self.state)
        self.send(cmd.Decide(hunks=tuple(item.hunk.id for file in shown.files for item in file.hunks), action="accept"))

    def play(self) -> None:
        """The whole story: the work, a follow-up, and everything accepted."""
        self.start()
        self.to_the_end()

    def to_the_end(self) -> None:
        """Whatever of the story is left."""
        self._rests()
        if not self._followed:
            self.send(cmd.Say(text=FOLLOW))
            self._rests()
        self.accept_all()

    def to_the_follow_up(self) -> None:
        """Say what comes after the first review, from that review."""
        assert not self._followed
        self.send(cmd.Say(text=FOLLOW))

    @property
    def _followed(self) -> bool:
        return any(isinstance(event, ev.Message) and event.text == FOLLOW for event in self.events)

    def _rests(self) -> None:
        state = self.until("review")
        assert not state.paused, state.paused
        assert not self.ended, state.error

    def close(self) -> None:
        """End the session, if it runs."""
        if self._thread is None:
            return
        if not self.ended:
            with contextlib.suppress(SessionError), client.Client.connect(self.directory) as connection:
                connection.send(cmd.Quit())
        self._thread.join(30)
        if self._thread.is_alive():
            faulthandler.dump_traceback()
        assert not self._thread.is_alive(), "the session's process does not end"

    # What is to hold

    @property
    def failures(self) -> list[ev.ModelFailed]:
        return [event for event in self.events if isinstance(event, ev.ModelFailed)]

    @property
    def calls(self) -> list[ev.ModelCalled]:
        return [event for event in self.events if isinstance(event, ev.ModelCalled)]

    @property
    def replies(self) -> list[ev.ModelReplied]:
        return [event for event in self.events if isinstance(event, ev.ModelReplied)]

    def accepted(self) -> dict[str, tuple[str, bytes]]:
        """Every path of the accepted tree with its mode and content."""
        return tree(self.directory / "repo.git", self.state.accepted_tree)

    def check(self, *servers: OpenAIServer, spoilt: int = 0) -> None:
        """The accepted tree is that of a run without faults, and the log tells all, and nothing happened twice.

        ``spoilt`` turns held a call that was answered with its problem.
        """
        assert self.accepted() == expected_tree()
        for server in servers:
            assert server.problems == []
        sent = sum(len(server.bodies) for server in servers)
        assert sent <= len(self.calls), "a request that the log does not tell of"
        assert len(self.calls) == len(self.replies) + len(self.failures)
        assert len(self.replies) == len(POSITIONS) + spoilt
        ran = Counter(event.call_id for event in self.events if isinstance(event, ev.ToolStarted))
        told = Counter(event.call_id for event in self.events if isinstance(event, ev.ToolFinished))
        assert ran == told
        assert set(ran.values()) == {1}
        if not spoilt:
            assert sum(ran.values()) == CALLS
            assert all(event.ok for event in self.events if isinstance(event, ev.ToolFinished))
        for failure in self.failures:
            assert failure.kind
            assert failure.reason == failure.reason.strip() != ""
            assert "\n" not in failure.reason
            assert "litellm" not in failure.reason.lower()
        assert KEY not in (self.directory / "events.jsonl").read_text()


def expected_tree() -> dict[str, tuple[str, bytes]]:
    """What a run without faults leaves."""
    contents = {"notes.txt": "first\nzweite\n", "log.txt": "1\n2\n3\n", "part.txt": LONG, "last.txt": LONG}
    return {path: ("100644", content.encode()) for path, content in contents.items()}


class Waits(list[float]):
    """Waits a fiftieth of what the chain asks for, and writes down what it asked for."""

    def __call__(self, seconds: float, cancel: CancelToken) -> None:
        self.append(seconds)
        chain_module._sleep(seconds / 50, cancel)

    def __bool__(self) -> bool:
        return True


class Fixed(Counter[int]):
    """What a chain knows of servers that never stream, or always, whatever it learns."""

    def __init__(self, *, streams: bool) -> None:
        super().__init__()
        self._times = 0 if streams else 2

    def __getitem__(self, position: int) -> int:
        return self._times


def make_chain(
    protocol: Protocol,
    *servers: OpenAIServer | str,
    waits: Waits,
    timeout: float = 20.0,
    clock: Clock | None = None,
    names: Sequence[str] = (),
    chain_seconds: float = chain_module.CHAIN_SECONDS,
) -> FallbackChain:
    """A chain over these servers (or addresses)."""
    models = [
        LiteLLMModel(ModelSettings(name, server if isinstance(server, str) else server.url, timeout=timeout), KEY)
        for name, server in zip(names or NAMES[protocol], servers, strict=False)
    ]
    return FallbackChain(models, clock=clock or time.monotonic, sleep=waits, chain_seconds=chain_seconds)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """For the chain; a session in a thread cannot take signals."""
    monkeypatch.setattr(host, "_handle_signals", lambda job: None)
    return Waits()


@contextlib.contextmanager
def session(folder: Path, model: FallbackChain, settings: Settings | None = None) -> Iterator[Session]:
    """A session that has ended afterwards."""
    made = Session(folder, model, settings)
    try:
        yield made
    finally:
        made.close()
