"""A session to look at: a real repository, a real log, and a stand-in for the session's process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core import hunks as core
from backspace_tui.core import units
from backspace_tui.core.marks import spot_of
from backspace_tui.core.protocols import ToolCall
from backspace_tui.core.stages import Stage
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.trees import REGULAR, File, FileChange
from backspace_tui.sessions.log import EventLog
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk, changes_between, review
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


_MARKS: Final = ("reject", "redo", "review", "comment", "edit")

Staging = Callable[[FileChange, bytes, bytes, bytes, core.Choices], dict[str, File | None]]


class Chosen(NamedTuple):
    """A unit that a command names."""

    file: ReviewFile
    item: ReviewHunk
    positions: frozenset[int]
    change: FileChange


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
        """Do what the engine does for a decision, but for its checks and for what it tells the agent."""
        state = self.state
        with Objects(self.repository.path) as objects:
            chosen = self._chosen(objects, command.hunks, command.action)
            tree = state.accepted_tree
            if command.action in ("accept", "unstage"):
                tree = self._staged(objects, chosen, core.take if command.action == "accept" else core.leave)
        events: list[ev.AnyEvent] = []
        for one in chosen:
            events.append(self._decision(one, command.action, tree, one.positions, command.comment))
            rest = one.item.rejected - one.positions
            if command.action == "accept" and one.item.rejections and rest:
                events.append(self._decision(one, "reject", tree, rest, one.item.comment))
        if command.action == "redo":
            events.append(ev.Message(role="user", kind="prompt", text=command.comment, about="redo"))
        self.emit(state.stage, *events)
        return self.log.last_seq

    def edit(self, command: cmd.Edit) -> int:
        """Do what the engine does for an edited hunk, but for the mark on what is left of the agent's version."""
        state = self.state
        with Objects(self.repository.path) as objects:
            (one,) = self._chosen(objects, (command.hunk,), "edit")
            old, new, _ = objects.sides(one.change)
            hunk, settled = one.item.hunk, one.item.state == "accepted"
            side = (hunk.new_start, hunk.new_end) if settled else (hunk.old_start, hunk.old_end)
            data, _ = core.replace_lines(new if settled else old, *side, command.result)
            tree = self._amended(objects, {one.change.path: File(REGULAR, data)})
        self.emit(state.stage, self._decision(one, "edit", tree, one.positions, ""))
        return self.log.last_seq

    def _chosen(self, objects: Objects, names: Sequence[str], action: str) -> list[Chosen]:
        """The units with these names; those of a rename that is shown as two files as well."""
        state = self.state
        shown = review(objects, state)
        split = frozenset(file.path for file in shown.files if file.renamed_from)
        for apart in (frozenset[str](), split):
            shown = review(objects, state, split=apart)
            found = {item.hunk.id: (file, item) for file in shown.files for item in file.hunks}
            wanted = [units.parse(name) for name in names]
            if all(unit.hunk in found for unit in wanted):
                break
        else:
            raise ValueError(f"hunk {names[0]} is not there (any more)")
        pending = changes_between(objects, state.accepted_tree, state.work_tree, apart)
        taken = changes_between(objects, state.base_tree, state.accepted_tree, apart)
        chosen = []
        for unit in wanted:
            file, item = found[unit.hunk]
            positions = units.positions(item.hunk, unit.part)
            if not unit.part and item.state != "rejected":
                positions -= item.rejected
            changes = taken if item.state == "accepted" else pending
            chosen.append(Chosen(file, item, positions, changes[file.path]))
        return chosen

    def _staged(self, objects: Objects, chosen: Sequence[Chosen], function: Staging) -> str:
        by_path: dict[str, dict[str, frozenset[int] | None]] = {}
        changes = {}
        for one in chosen:
            changes[one.file.path] = one.change
            named = one.positions if one.item.hunk.kind == "text" else None
            by_path.setdefault(one.file.path, {})[one.item.local] = named
        files: dict[str, File | None] = {}
        for path, choices in by_path.items():
            files |= function(changes[path], *objects.sides(changes[path]), choices)
        return self._amended(objects, files)

    def _amended(self, objects: Objects, files: Mapping[str, File | None]) -> str:
        """The accepted tree with these files."""
        content: dict[str, File | bytes | str] = {
            path: File(entry.mode, objects.blob(entry.oid))
            for path, entry in objects.entries(self.state.accepted_tree).items()
        }
        for path, file in files.items():
            content.pop(path, None)
            if file is not None:
                content[path] = file
        return self.repository.tree(content)

    def _decision(
        self, one: Chosen, action: ev.Action, tree: str, positions: frozenset[int], comment: str
    ) -> ev.Decision:
        state, item = self.state, one.item
        voids: tuple[int, ...] = item.reviews if action == "unreview" else ()
        if action in ("accept", "edit"):
            voids = item.rejections
        return ev.Decision(
            hunk=item.hunk.id,
            path=one.file.path,
            action=action,
            tree=tree,
            before=state.accepted_tree,
            group=state.group + 1,
            comment=comment,
            part=units.part_of(item.hunk, positions),
            lines=units.shown_lines(item.hunk, positions) if action in ("reject", "redo", "comment") else (),
            spot=spot_of(one.change, item.hunk, positions) if action in _MARKS else None,
            voids=voids,
        )

    def change(self, path: str, content: str, call: str = "c9") -> None:
        """The agent edits ``path`` once more."""
        with Objects(self.repository.path) as objects:
            files: dict[str, File | bytes | str] = {
                name: File(entry.mode, objects.blob(entry.oid))
                for name, entry in objects.entries(self.state.work_tree).items()
            }
        self.work = self.repository.tree(files | {path: content})
        self.work_on(call, path, 1, 1, "Another way.", self.work)

    def undo(self) -> int:
        """Take back the last group."""
        state = self.state
        if not state.standing:
            raise ValueError("nothing to undo")
        group = state.standing[-1]
        undone = [
            ev.Decision(
                hunk=decision.hunk,
                path=decision.path,
                action="undo",
                tree=group[0].before,
                before=state.accepted_tree,
                group=state.group + 1,
                undoes=decision.group,
            )
            for decision in reversed(group)
        ]
        self.emit(state.stage, *undone)
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
                case cmd.Edit():
                    return cmd.Reply(seq=sample.edit(command))
                case cmd.Undo():
                    return cmd.Reply(seq=sample.undo())
                case cmd.Say(text=text, about=about):
                    sample.emit(sample.state.stage, ev.Message(role="user", kind="steer", text=text, about=about))
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
