"""A session to look at: a real repository, a real log, and a stand-in for the session's process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core import hunks as core
from backspace_tui.core.protocols import ToolCall
from backspace_tui.core.stages import Stage
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.trees import File
from backspace_tui.sessions.log import EventLog
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, review
from backspace_tui.sessions.store import Lock, socket_path
from tests.sessions.repository import Repository

CART = '''\
"""A shopping cart."""

from dataclasses import dataclass


@dataclass
class Item:
    name: str
    price: float
    qty: int = 1


def total(items):
    """The price of everything in the cart."""
    return sum(i.price for i in items)


def count(items):
    return len(items)


def heaviest(items):
    return max(items, key=lambda i: i.price)


def with_tax(items, country):
    amount = total(items)
    rate = 0.2
    return amount * (1 + rate)


def describe(items):
    # One line an item.
    return ", ".join(i.name for i in items)
'''
CART_NEW = (
    CART.replace("sum(i.price for i in items)", "sum(i.price * i.qty for i in items)")
    .replace("return len(items)", "return sum(i.qty for i in items)")
    .replace("    rate = 0.2\n", "    rate = tax.rate(country)\n")
    .replace('", ".join(i.name for i in items)', '", ".join(f"{i.qty} x {i.name}" for i in items)')
    .replace("from dataclasses import dataclass\n", "from dataclasses import dataclass\n\nfrom shop import tax\n")
)
TAX = 'RATES = {"de": 0.19, "fr": 0.2}\n\n\ndef rate(country):\n    return RATES.get(country, 0.2)\n'
TEST = "from shop.cart import Item, total\n\n\ndef test_total():\n    assert total([Item('a', 2.0)]) == 2.0\n"
TEST_NEW = TEST + "\n\ndef test_quantity():\n    assert total([Item('a', 2.0, 3)]) == 6.0\n"
BASE = {
    "shop/__init__.py": "",
    "shop/cart.py": CART,
    "tests/test_cart.py": TEST,
    "README.md": "# Shop\n\nA small shop.\n",
    "docs/usage.md": "Call `total`.\n",
    ".github/workflows/ci.yml": "on: push\n",
}
WORK = BASE | {"shop/cart.py": CART_NEW, "shop/tax.py": TAX, "tests/test_cart.py": TEST_NEW}
START = datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
LABEL = "docker, no net"


class Clock:
    """A second an event, so that nothing on the screen depends on when a test runs."""

    def __init__(self) -> None:
        self._now = START

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


class Sample:
    """A session's directory with a repository and the log of a run up to its review."""

    def __init__(self, directory: Path, work: dict[str, str] | None = None) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.repository = Repository(directory / "repo.git")
        self.base = self.repository.tree(BASE)
        self.work = self.repository.tree(work or WORK)
        self.log = EventLog.open(directory, Clock())

    def emit(self, stage: Stage, *events: ev.AnyEvent) -> None:
        """Write events of one stage."""
        from msgspec.structs import replace

        self.log.extend([replace(event, stage=stage) for event in events])

    def run_to_review(self) -> Sample:
        """What a run leaves in the log before the review."""
        self.begin()
        self.work_on("c1", "shop/cart.py", 5, 5, "Quantities were ignored, so every total was too small.", self.work)
        self.work_on("c2", "shop/tax.py", 5, 0, "The rate depends on the country. It gets its own module.")
        self.work_on("c3", "tests/test_cart.py", 4, 0, "A test that fails without the change.")
        self.command("c4", "pytest -q", "..                                  [100%]\n2 passed in 0.31s\n", 0)
        self.emit("implement", ev.StageFinished(outcome="ok"))
        self.emit("critique", ev.StageStarted(), ev.StageFinished(outcome="ok", detail="approved"))
        self.emit("review", ev.StageStarted())
        return self

    def begin(self) -> None:
        """Up to the first tool call."""
        started = ev.SessionStarted(
            session=self.directory.name,
            repository="/home/me/shop",
            prompt="total ignores quantities, and tax should depend on the country",
            version="0.1.0",
            models=("anthropic/claude-sonnet-4-5", "openai/gpt-5"),
            settings={"budget": {"usd": 3.0}},
        )
        self.emit("prepare", started, ev.StageStarted())
        self.emit("prepare", ev.Message(role="user", kind="prompt", text=started.prompt))
        self.emit("prepare", ev.GitOperation(operation="base", commit="1" * 40, tree=self.base, branch="main"))
        self.emit("prepare", ev.StageFinished(outcome="ok", data={"sandbox": LABEL}))
        self.emit("plan", ev.StageStarted())
        plan = "1. multiply by quantity\n2. look the tax rate up by country\n3. add a test"
        self.emit("plan", ev.Message(role="agent", kind="plan", text=plan), ev.StageFinished(outcome="ok"))
        self.emit("implement", ev.StageStarted())
        model = "anthropic/claude-sonnet-4-5"
        self.emit("implement", ev.ModelCalled(model=model))
        self.emit("implement", ev.ModelFailed(model=model, reason="529 overloaded", retry_in=None))
        self.emit("implement", ev.ModelCalled(model="openai/gpt-5"))
        self.emit("implement", ev.ToolStarted(call_id="c0", tool="read_file", title="read shop/cart.py"))
        self.emit("implement", ev.ToolFinished(call_id="c0", tool="read_file", ok=True, text=CART))

    def work_on(self, call: str, path: str, added: int, removed: int, thought: str, tree: str = "") -> None:
        """One turn that edits one file."""
        tree = tree or self.work
        arguments = {"path": path, "content": "..."}
        self.emit("implement", ev.AgentThinking(text=thought[:20]), ev.AgentThinking(text=thought[20:]))
        reply = ev.ModelReplied(
            model="openai/gpt-5",
            text=thought,
            tool_calls=(ToolCall(call, "edit_file", arguments),),
            tokens_in=900,
            tokens_out=100,
            usd=0.04,
        )
        start = ev.ToolStarted(call_id=call, tool="edit_file", arguments=arguments, title=f"edit {path}")
        edit = ev.FileEdit(path=path, added=added, removed=removed, tree=tree, by=call)
        done = ev.ToolFinished(call_id=call, tool="edit_file", ok=True, text="edited", tree=tree, snapshot=tree)
        self.emit("implement", reply, start, edit, done)

    def command(self, call: str, command: str, output: str, code: int) -> None:
        """One command in the sandbox."""
        start = ev.ToolStarted(call_id=call, tool="run_command", arguments={"command": command}, title=f"run {command}")
        done = ev.ToolFinished(call_id=call, tool="run_command", ok=not code, text=output, exit_code=code, seconds=0.9)
        self.emit("implement", start, ev.ToolOutput(call_id=call, stream="stdout", text=output), done)

    @property
    def state(self) -> SessionState:
        return fold(self.log.events)

    def review(self) -> Review:
        with Objects(self.repository.path) as objects:
            return review(objects, self.state)

    def decide(self, command: cmd.Decide) -> int:
        """Do what the engine does for a decision, reduced to accepting, rejecting and marks."""
        state = self.state
        tree = state.accepted_tree
        files = {item.hunk.id: file.path for file in self.review().files for item in file.hunks}
        missing = [hunk for hunk in command.hunks if hunk not in files]
        if missing:
            raise ValueError(f"hunk {missing[0]} is not there (any more)")
        if command.action in ("accept", "unstage"):
            tree = self._accepted(state, command, {files[hunk] for hunk in command.hunks})
        events = [
            ev.Decision(
                hunk=hunk,
                path=files[hunk],
                action=command.action,
                tree=tree,
                before=state.accepted_tree,
                group=state.group + 1,
                comment=command.comment,
            )
            for hunk in command.hunks
        ]
        self.emit(state.stage, *events)
        return self.log.last_seq

    def _accepted(self, state: SessionState, command: cmd.Decide, paths: Iterable[str]) -> str:
        with Objects(self.repository.path) as objects:
            accepting = command.action == "accept"
            pair = (state.accepted_tree, state.work_tree) if accepting else (state.base_tree, state.accepted_tree)
            content: dict[str, File | bytes | str] = {
                path: File(entry.mode, objects.blob(entry.oid))
                for path, entry in objects.entries(state.accepted_tree).items()
            }
            for change in objects.changes(*pair):
                ids = {hunk.id for hunk in objects.hunks(change)} & set(command.hunks)
                if change.path not in paths or not ids:
                    continue
                old = objects.blob(change.old.oid) if change.old else b""
                new = objects.blob(change.new.oid) if change.new else b""
                diff = objects.diff(change.old.oid if change.old else None, change.new.oid if change.new else None)
                take = core.accept if accepting else core.unaccept
                file = take(change, old, new, diff, ids)
                content.pop(change.path, None)
                if file is not None:
                    content[change.path] = file
            return self.repository.tree(content)

    def undo(self) -> int:
        """Take back the last group."""
        state = self.state
        if not state.standing:
            raise ValueError("nothing to undo")
        for decision in state.standing[-1]:
            undone = ev.Decision(
                hunk=decision.hunk,
                path=decision.path,
                action="undo",
                tree=decision.before,
                before=decision.tree,
                group=state.group,
                undoes=decision.group,
            )
            self.emit(state.stage, undone)
        return self.log.last_seq


class Host:
    """A session's process reduced to its socket: carries out decisions and records every command."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.commands: list[cmd.AnyCommand] = []
        self._lock = Lock(sample.directory)
        self._lock.acquire()
        self._server = socket.socket(socket.AF_UNIX)
        path = socket_path(sample.directory)
        path.unlink(missing_ok=True)
        self._server.bind(os.fspath(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()
        self._lock.release()

    def decisions(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """The actions and hunks that were asked for, in order."""
        return [(command.action, command.hunks) for command in self.commands if isinstance(command, cmd.Decide)]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                command = cmd.decode_command(line)
                self.commands.append(command)
                stream.write(cmd.encode(self._reply(command)))
                stream.flush()

    def _reply(self, command: cmd.AnyCommand) -> cmd.Reply:
        sample = self.sample
        try:
            match command:
                case cmd.Decide():
                    return cmd.Reply(seq=sample.decide(command))
                case cmd.Undo():
                    return cmd.Reply(seq=sample.undo())
                case cmd.Say(text=text):
                    sample.emit(sample.state.stage, ev.Message(role="user", kind="steer", text=text))
                case cmd.Pause():
                    sample.emit(sample.state.stage, ev.Paused())
                case cmd.Resume():
                    sample.emit(sample.state.stage, ev.Resumed())
                case cmd.Answer(text=text):
                    question = sample.state.question
                    assert question is not None
                    sample.emit(sample.state.stage, ev.Answer(question=question.seq, text=text))
                case _:
                    pass
        except ValueError as error:
            return cmd.Reply(error=str(error))
        return cmd.Reply(seq=sample.log.last_seq)
