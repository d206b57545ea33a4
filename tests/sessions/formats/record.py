"""Record the sessions of a format anew. Run: python -m tests.sessions.formats.record FORMAT [NAME...]

For a format that was not released yet; released ones are never recorded again. The sessions are real ones, in
processes of their own: the demo, one in which everything happens that can happen, and one that is stopped. Git and a
shell are needed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from backspace_tui.config import BudgetSettings, ProjectSettings, Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.sessions.log import LOG_NAME
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, review
from tests.crash import Human, Script, scene, steps
from tests.models.turns import Turn, call, fault, text
from tests.program import Program, wait_for
from tests.sessions.formats.stored import EXPECTED, FORMATS, PACK, summary, unpack

NUMBERS: Final = "".join(f"{number}\n" for number in range(1, 41))
CHANGED: Final = NUMBERS.replace("\n5\n", "\nfive\n").replace("\n20\n", "\ntwenty\n").replace("\n35\n", "\n")
TEST: Final = "python3 -m unittest discover -s tests"
FILES: Final = {
    "cart.py": "def total(items):\n    return sum(price for price, quantity in items)\n",
    "numbers.txt": NUMBERS,
    "old name.txt": "one\ntwo\nthree\n",
    "tests/test_cart.py": (
        "import unittest\nfrom cart import total\n\n\nclass CartTest(unittest.TestCase):\n"
        "    def test_quantity(self):\n        self.assertEqual(total([(2, 3)]), 6)\n"
    ),
}
STEER: Final = "Please say hello in hello.txt too."
FOLLOW_UP: Final = "And now more.txt."


class Agent:
    """Answers by the conversation alone; ``broken`` as long as its server is to fail."""

    broken = False

    def __call__(self, body: Mapping[str, Any]) -> Turn:
        messages = body["messages"]
        said = [message["content"] for message in messages if message["role"] == "user"]
        if not body.get("tools"):
            if any("# Changes" in words for words in said):
                return text("APPROVE") if "hello" in str(messages) else text("REVISE\nAlso say hello.")
            return text("1. count the quantity\n2. run the tests")
        if self.broken:
            return fault("500")
        done = [
            (made["function"]["name"], made["function"]["arguments"])
            for message in messages
            for made in message.get("tool_calls") or ()
        ]
        for step in self.steps(said):
            if any((part.name, json.dumps(dict(part.arguments))) not in done for part in step.calls):
                return step
        return call("finish", summary="The total counts quantities.")

    def steps(self, said: list[str]) -> list[Turn]:
        found = [
            text("Let me look.") + call("list_files") + call("read_file", path="cart.py"),
            call("ask_user", question="Round the total?", options=["yes", "no"]),
            text("It is left out.") + call("edit_file", path="cart.py", old="price for", new="price * quantity for"),
            call("write_file", path="numbers.txt", content=CHANGED),
            call("write_file", path="debug.txt", content="x\n"),
            call("move_file", path="old name.txt", to="new name.txt"),
            call("run_command", command=TEST),
            call("run_command", command="printf 'to be or not' >&2; exit 3"),
            call("write_file", path="hello.txt", content="hello\n"),
        ]  # fmt: skip
        if any("# redo" in words.lower() or "another version" in words.lower() for words in said):
            found.append(call("write_file", path="hello.txt", content="good day\n"))
        if FOLLOW_UP in said:
            found.append(call("write_file", path="more.txt", content="more\n"))
        return found


def in_review(state: SessionState) -> bool:
    return state.stage == "review" and state.stage_open and state.unheard is None


def everything(folder: Path) -> Path:
    """A session with every kind of event: questions, pauses of all kinds, faults, and each way to decide."""
    agent = Agent()
    settings = Settings(budget=BudgetSettings(turns=6), project=ProjectSettings(test=TEST))
    server = Script(agent, "to be")
    with scene(folder, server, "process", files=FILES, settings=settings) as human:
        away = human.repository.with_name("away")
        human.repository.rename(away)
        with contextlib.suppress(Exception):
            human.start()
        wait_for(lambda: any(isinstance(event, ev.Error) for event in human.events()), "the error")
        human.kill()
        away.rename(human.repository)
        human.until(lambda state: state.question is not None, "the question")
        human.answer("no")
        human.raises_budget = True
        human.until(lambda state: "numbers.txt" in state.edits, "the edits")
        wait_for(lambda: human.hunks("numbers.txt"), "the hunks")
        human.decide("accept", "cart.py")
        human.decide("reject", "debug.txt", comment="no debug files")
        human.say(STEER)
        ask(human, cmd.Pause())
        agent.broken = True
        server.gates["to be"].set()
        ask(human, cmd.Resume())
        human.until(lambda state: state.paused.startswith("models"), "the fault")
        agent.broken = False
        ask(human, cmd.Resume())
        decide(human)
        human.quit()
        return human.directory


def decide(human: Human) -> None:
    """Everything that a person can do in review."""
    human.until(in_review, "the review")
    first, second, third = (hunk.id for hunk in hunks(human, "numbers.txt"))
    ask(human, cmd.Decide(hunks=(first,), action="review"))
    ask(human, cmd.Decide(hunks=(first,), action="unreview"))
    ask(human, cmd.Decide(hunks=(second,), action="review"))
    ask(human, cmd.Decide(hunks=(third,), action="comment", comment="why is it gone?"))
    ask(human, cmd.Decide(hunks=(first,), action="accept"))
    ask(human, cmd.Undo())
    ask(human, cmd.Edit(hunk=first, result=b"2\n3\n4\nFIVE\n6\n7\n8\n"))
    ask(human, cmd.Decide(hunks=human.hunks("cart.py"), action="unstage"))
    ask(human, cmd.Decide(hunks=human.hunks("cart.py"), action="accept"))
    ask(human, cmd.Verify())
    human.until(lambda state: in_review(state) and bool(state.verdicts), "the verdict")
    ask(human, cmd.RunForUser(command="echo mine > mine.txt"))
    human.until(lambda state: "mine.txt" in state.edits, "the user's file")
    edit = next(event for event in human.events() if isinstance(event, ev.FileEdit) and event.path == "hello.txt")
    ask(human, cmd.RollBack(seq=edit.seq))
    ask(human, cmd.Decide(hunks=human.hunks("hello.txt"), action="redo", comment="more polite"))
    human.until(lambda state: in_review(state) and len(state.edits["hello.txt"]) > 1, "another version")
    human.decide("accept", "hello.txt", "new name.txt")
    human.publish()
    human.until(lambda state: state.stage == "done" and state.stage_open, "the request")
    human.say(FOLLOW_UP)
    human.until(lambda state: in_review(state) and "more.txt" in state.edits, "the follow-up")
    human.decide("reject", "more.txt")
    human.undo()
    human.decide("accept", "more.txt")


def ask(human: Human, command: cmd.AnyCommand) -> None:
    """Send a command that must be carried out."""
    reply = human.send(command)
    assert not reply.error, f"{command}: {reply.error}"


def hunks(human: Human, path: str) -> tuple[Any, ...]:
    with Objects(human.directory / "repo.git") as objects:
        shown: Review = review(objects, human.state())
    return tuple(item.hunk for file in shown.files if file.path == path for item in file.hunks)


def demo(folder: Path) -> Path:
    """The demo, headless, in the first sandbox that there is."""
    program = Program(folder)
    done = program.run("demo", "--headless")
    assert done.returncode == 0, done.stderr
    return program.session


def stopped(folder: Path) -> Path:
    """An agent that is stopped in the middle of a command."""
    turns = (call("write_file", path="a.txt", content="a\n"), call("run_command", command="echo begun; sleep 600"))
    with scene(folder, Script(steps(*turns)), "process", files=FILES) as human:
        human.until(lambda _: any(isinstance(event, ev.ToolOutput) for event in human.events()), "the command")
        ask(human, cmd.Stop())
        human.until(in_review, "the review")
        human.decide("accept", "a.txt")
        human.quit()
        return human.directory


RECORDED: Final[Mapping[str, Callable[[Path], Path]]] = {"demo": demo, "everything": everything, "stopped": stopped}


def store(session: Path, folder: Path, target: Path) -> None:
    """Put the log and all objects of ``session`` into ``target``, with neutral paths, and what is read out of them."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    log = (session / LOG_NAME).read_bytes().replace(os.fsencode(folder), b"/home/me")
    (target / LOG_NAME).write_bytes(log)
    repository = session / "repo.git"
    listed = subprocess.run(
        ["git", "-C", repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)"],
        check=True,
        capture_output=True,
    )
    with (target / PACK).open("wb") as pack:
        subprocess.run(
            ["git", "-C", repository, "pack-objects", "-q", "--stdout", "--threads=1"],
            input=listed.stdout,
            stdout=pack,
            check=True,
        )
    with tempfile.TemporaryDirectory() as name:
        found = summary(unpack(target, Path(name) / "session"))
    (target / EXPECTED).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECORDED)}; default: all")
    arguments = parser.parse_args()
    for name in arguments.names or RECORDED:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            store(RECORDED[name](folder), folder, FORMATS / arguments.format / name)
        print(FORMATS / arguments.format / name)


if __name__ == "__main__":
    main()
