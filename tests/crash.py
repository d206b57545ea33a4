"""A session for the tests of crashes: a model that answers by the conversation alone, and a human who comes back."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from backspace_tui.config import Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold
from backspace_tui.sandbox.engine import connect
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from backspace_tui.sessions.store import is_running
from tests.models.openai_server import OpenAIServer, Request
from tests.models.turns import Turn, call, text
from tests.program import make_repository, wait_for

HOST = (sys.executable, "-m", "tests.crash_host")
PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).resolve().parent.parent


class Script(OpenAIServer):
    """Answers by the conversation alone; ``gates`` hold back every answer whose call's text contains their name."""

    def __init__(self, agent: Callable[[Mapping[str, Any]], Turn], *gates: str) -> None:
        super().__init__(agent)
        self.agent = agent
        self.gates = {name: threading.Event() for name in gates}

    def take(self, request: Request) -> Turn:
        turn = self.agent(request.body)
        for name, gate in self.gates.items():
            if any(name in str(dict(part.arguments)) for part in turn.calls):
                while not gate.wait(0.02) and not self.closing.is_set():
                    pass
        return super().take(request)


def steps(*turns: Turn) -> Callable[[Mapping[str, Any]], Turn]:
    """An agent that takes these turns in order, however often it is asked for each, and then finishes."""

    def agent(body: Mapping[str, Any]) -> Turn:
        if not body.get("tools"):
            return text("1. do it") if "# Changes" not in body["messages"][-1]["content"] else text("APPROVE")
        taken = sum(message["role"] == "assistant" for message in body["messages"])
        return turns[taken] if taken < len(turns) else call("finish", summary="Done.")

    return agent


@dataclass
class Human:
    """Drives one session over its socket, starting its process again whenever it has died."""

    directory: Path
    repository: Path
    started: ev.SessionStarted
    env: Mapping[str, str]
    headless: bool = False
    raises_budget: bool = False
    starts: int = 0
    acknowledged: list[int] = field(default_factory=list)

    def events(self) -> list[ev.AnyEvent]:
        try:
            return read_events(self.directory)
        except SessionError:
            return []

    def state(self) -> SessionState:
        return fold(self.events())

    def keep_running(self) -> None:
        """Start the process unless it runs; one that dies while it starts is started again by the next call."""
        if is_running(self.directory):
            return
        self.starts += 1
        with contextlib.suppress(SessionError):
            self.start()

    def until(self, condition: Callable[[SessionState], bool], what: str, seconds: float = 60.0) -> SessionState:
        """Wait for the log, through any number of deaths."""

        def there() -> SessionState | None:
            self.keep_running()
            state = self.state()
            if condition(state):
                return state
            if self.raises_budget and state.paused.startswith("budget"):
                with contextlib.suppress(SessionError):
                    self.send(cmd.Resume())
            return None

        found: SessionState = wait_for(there, what, seconds)
        return found

    def ask(self, make: Callable[[], cmd.AnyCommand], stands: Callable[[list[ev.AnyEvent]], bool]) -> None:
        """Have a command carried out once: what the log holds already is not sent again after a crash.

        Every acknowledged command must stand in the log at once.
        """

        def carried_out() -> bool:
            if stands(self.events()):
                return True
            self.keep_running()
            try:
                with client.Client.connect(self.directory) as connection:
                    reply = connection.send(make())
            except SessionError:
                return stands(self.events())
            if reply.error:
                return False
            assert stands(self.events()), f"acknowledged and not in the log: {make()}"
            self.acknowledged.append(reply.seq)
            return True

        wait_for(carried_out, "a command to be carried out")

    def hunks(self, *paths: str) -> tuple[str, ...]:
        with Objects(self.directory / "repo.git") as objects:
            shown = review(objects, self.state())
        return tuple(item.hunk.id for file in shown.files if file.path in paths for item in file.hunks)

    def decide(self, action: Any, *paths: str, comment: str = "") -> None:
        """Decide about every hunk of ``paths`` as one group."""
        before = len(_decisions(self.events(), action))
        self.ask(
            lambda: cmd.Decide(hunks=self.hunks(*paths), action=action, comment=comment),
            lambda events: len(_decisions(events, action)) > before,
        )

    def undo(self) -> None:
        before = len(_decisions(self.events(), "undo"))
        self.ask(cmd.Undo, lambda events: len(_decisions(events, "undo")) > before)

    def say(self, words: str) -> None:
        self.ask(
            lambda: cmd.Say(text=words),
            lambda events: any(isinstance(event, ev.Message) and event.text == words for event in events),
        )

    def answer(self, words: str) -> None:
        self.ask(
            lambda: cmd.Answer(text=words),
            lambda events: any(isinstance(event, ev.Answer) and event.text == words for event in events),
        )

    def publish(self) -> None:
        before = len(_published(self.events()))
        self.ask(cmd.Publish, lambda events: len(_published(events)) > before)

    def kill(self) -> None:
        """SIGKILL the process, if it runs."""
        if is_running(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(store.holder(self.directory), signal.SIGKILL)
        wait_for(lambda: not is_running(self.directory), "the process to be gone")

    def ended(self) -> SessionState:
        """Wait for the process to end by itself."""
        wait_for(lambda: not is_running(self.directory), "the process to end")
        return self.state()

    def send(self, command: cmd.AnyCommand) -> cmd.Reply:
        """Ask the running process for something."""
        with client.Client.connect(self.directory) as connection:
            return connection.send(command)

    def start(self, *commands: cmd.AnyCommand) -> cmd.HostReady:
        """Start the process once; raises :class:`SessionError`."""
        begun = bool(self.events())
        request = cmd.HostRequest(
            directory=str(self.directory),
            started=None if begun else self.started,
            commands=commands,
            exit_when_waiting=self.headless,
        )
        with _environment(self.env):
            return client.launch(request, argv=HOST)

    def quit(self) -> None:
        """End the process in an orderly way."""

        def ended() -> bool:
            if isinstance(self.events()[-1], ev.SessionFinished) and not is_running(self.directory):
                return True
            self.keep_running()
            with contextlib.suppress(SessionError), client.Client.connect(self.directory) as connection:
                connection.send(cmd.Quit())
            return False

        wait_for(ended, "the process to end")


def _decisions(events: list[ev.AnyEvent], action: str) -> list[ev.Decision]:
    return [event for event in events if isinstance(event, ev.Decision) and event.action == action]


def _published(events: list[ev.AnyEvent]) -> list[ev.StageFinished]:
    return [e for e in events if isinstance(e, ev.StageFinished) and e.stage == "review" and e.outcome == "ok"]


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def scene(
    folder: Path,
    server: Script,
    backend: str,
    *,
    mode: str = "",
    only: str = "",
    headless: bool = False,
    files: Mapping[str, str | bytes] | None = None,
    settings: Settings | None = None,
    **more: Any,
) -> Iterator[Human]:
    """A session to be started on a repository of its own; afterwards nothing of it may be left but its folder.

    ``mode`` and ``only`` (the beginnings of positions) say where its process kills itself; see tests/crash_host.py.
    """
    directory = store.new_session(folder / "sessions")
    repository = make_repository(folder / "repository", files)
    plan, scratch = folder / "plan", folder / "scratch"
    plan.mkdir()
    scratch.mkdir()
    (plan / "mode").write_text(mode)
    if only:
        (plan / "only").write_text(only)
    started = ev.SessionStarted(
        session=directory.name,
        repository=str(repository),
        prompt="Mend the total",
        version="0",
        models=("test",),
        interactive=not headless,
        sandbox=backend,
        settings=msgspec.to_builtins(settings or Settings()),
        **more,
    )
    env = {"PYTHONPATH": str(ROOT), "CRASH_URL": server.url, "TMPDIR": str(scratch)}
    env |= {"CRASH_PLAN": str(plan)} if mode else {}
    with server, nothing_left(directory.name, backend):
        human = Human(directory, repository, started, {**os.environ, **env}, headless)
        try:
            yield human
        finally:
            human.kill()
        assert not server.problems
        wait_for(lambda: not list(scratch.iterdir()), "temporary folders to be gone", 20)


@contextlib.contextmanager
def nothing_left(session: str, backend: str) -> Iterator[None]:
    """Whatever dies in between, no process and no container of ours outlives it."""
    assert ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    before = set(children())
    yield
    wait_for(lambda: not set(children()) - before, "every process to be gone", 20)
    if backend == "docker":
        wait_for(lambda: not resources(session), "containers, volumes and networks to be gone", 30)


def resources(session: str) -> list[object]:
    """The containers, volumes and networks of a session."""
    engine = connect()
    filters: dict[str, Any] = {"label": f"io.backspace-tui.session={session}"}
    try:
        return [
            *engine.api.containers(all=True, filters=filters),
            *engine.volumes.list(filters=filters),
            *engine.networks.list(filters=filters),
        ]
    finally:
        engine.close()


def kill_container(session: str) -> None:
    """End a session's one container as the engine would that ran out of memory: at once."""
    engine = connect()
    try:
        (container,) = engine.api.containers(filters={"label": f"io.backspace-tui.session={session}"})
        engine.api.kill(container["Id"])
    finally:
        engine.close()


def children() -> list[str]:
    """This process's living children, orphans included: process ids with their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if parent == str(os.getpid()) and state != "Z":
                found.append(f"{entry.name} " + (entry / "cmdline").read_text().replace("\0", " ")[:300])
    return found
