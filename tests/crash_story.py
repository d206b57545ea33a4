"""The story that the tests of crashes tell over and over: what the agent does, what its human does, what must hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from tests.crash import Human, Script
from tests.models.turns import Turn, call, text
from tests.program import CART, git

STEER = "Please leave a note in STEERED.md too."
FEEDBACK = "Also write HELPED.md."
FOLLOW_UP = "And now MORE.md."
WHY = "no debug files"
FIXED = CART.replace("price for", "price * quantity for")
NEW_FILES = {"tax.py": "RATE = 2\n", "built.txt": "built\n", "STEERED.md": "steered\n", "HELPED.md": "helped\n"}
ACCEPTED = {"cart.py": FIXED, **NEW_FILES, "MORE.md": "more\n"}
"""What the branch holds in the end, over the base."""

COMMAND = "python3 -m unittest discover -s tests; echo built > built.txt"


def agent(body: Mapping[str, Any]) -> Turn:
    """The agent's next turn: the first step whose calls are not in the conversation yet."""
    messages = body["messages"]
    said = [message["content"] for message in messages if message["role"] == "user"]
    if not body.get("tools"):
        if any("# Changes" in words for words in said):
            return text("APPROVE" if "HELPED.md" in said[0] else f"REVISE\n{FEEDBACK}")
        return text("1. mend cart.py\n2. run the tests")
    made = {
        (made["function"]["name"], made["function"]["arguments"])
        for message in messages
        for made in message.get("tool_calls") or ()
    }
    steps = [
        text("Let me look.") + call("list_files") + call("read_file", path="cart.py"),
        text("It is left out.") + call("edit_file", path="cart.py", old="price for", new="price * quantity for"),
        call("write_file", path="tax.py", content="RATE = 2\n") + call("write_file", path="debug.txt", content="x\n"),
        call("run_command", command=COMMAND),
    ]  # fmt: skip
    for heard, path in ((STEER, "STEERED.md"), (f"[feedback] {FEEDBACK}", "HELPED.md"), (FOLLOW_UP, "MORE.md")):
        if heard in said:
            steps.append(call("write_file", path=path, content=path.split(".")[0].lower() + "\n"))
        elif heard == STEER:
            steps.append(call("run_command", command="echo waiting"))
    for step in steps:
        if any((part.name, json.dumps(dict(part.arguments))) not in made for part in step.calls):
            return step
    return call("finish", summary="The total counts quantities.")


def play(human: Human, server: Script) -> None:
    """The whole story: steer and decide while the agent works, publish, decide again, ask for more."""
    human.until(lambda state: "built.txt" in state.edits, "the command's file")
    human.decide("accept", "cart.py")
    human.decide("reject", "debug.txt", comment=WHY)
    human.decide("accept", "built.txt")
    human.undo()
    human.say(STEER)
    server.gates["echo waiting"].set()
    human.until(lambda state: state.stage == "review" and state.stage_open, "the review")
    human.decide("accept", "tax.py", "STEERED.md", "HELPED.md")
    human.publish()
    human.until(lambda state: state.stage == "done" and state.stage_open, "the request")
    human.decide("accept", "built.txt")
    human.until(lambda state: state.stage == "review" and state.stage_open, "the reopened review")
    human.publish()
    human.until(lambda state: state.stage == "done" and state.stage_open, "the second request")
    human.say(FOLLOW_UP)
    human.until(
        lambda state: "MORE.md" in state.edits and state.stage == "review" and state.stage_open, "the follow-up"
    )
    human.decide("accept", "MORE.md")
    human.publish()
    human.until(lambda state: state.stage == "done" and state.stage_open, "the last request")
    human.quit()


def check_log(human: Human) -> None:
    """The log is whole, and every decision, message and commit stands in it once."""
    events = human.events()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    decisions = Counter((d.action, d.path) for d in events if isinstance(d, ev.Decision))
    assert decisions == {
        ("accept", "cart.py"): 1, ("reject", "debug.txt"): 1, ("accept", "built.txt"): 2, ("undo", "built.txt"): 1,
        ("accept", "tax.py"): 1, ("accept", "STEERED.md"): 1, ("accept", "HELPED.md"): 1, ("accept", "MORE.md"): 1,
    }  # fmt: skip
    said = Counter(e.text for e in events if isinstance(e, ev.Message) and e.kind in ("steer", "prompt", "feedback"))
    assert said == {STEER: 1, FEEDBACK: 1, FOLLOW_UP: 1}
    replies = [e for e in events if isinstance(e, ev.ModelReplied) and e.stage == "implement"]
    calls = Counter(call.id for reply in replies for call in reply.tool_calls)
    results = Counter(e.call_id for e in events if isinstance(e, ev.ToolFinished))
    assert calls == results
    edits = Counter((e.path, e.by) for e in events if isinstance(e, ev.FileEdit))
    assert set(edits.values()) == {1}
    commits = [e.commit for e in events if isinstance(e, ev.GitOperation) and e.operation == "commit"]
    assert len(set(commits)) == 3
    assert all(human.state().last_seq >= seq for seq in human.acknowledged)


def check_branch(repository: Path, state: SessionState, base: Mapping[str, str]) -> None:
    """One commit over the base with exactly the accepted content; the checkout is as it was."""
    assert git(repository, "rev-list", "--count", f"main..{state.branch}") == "1\n"
    assert git(repository, "rev-parse", f"{state.branch}^") == git(repository, "rev-parse", "main")
    assert git(repository, "rev-parse", state.branch).strip() == state.commit
    assert git(repository, "for-each-ref", "--format=%(refname:short)").split() == [state.branch, "main"]
    paths = git(repository, "ls-tree", "-r", "--name-only", state.branch).split()
    found = {path: git(repository, "show", f"{state.branch}:{path}") for path in paths}
    assert found == {**base, **ACCEPTED}
    assert git(repository, "status", "--porcelain") == ""


def check_requests(bodies: list[dict[str, Any]]) -> None:
    """Every result stands behind its call once, and what was said was told once, in every request."""
    talks = [body["messages"] for body in bodies if body.get("tools")]
    for talk in talks:
        open_calls: list[str] = []
        for message in talk:
            if message["role"] == "tool":
                assert message["tool_call_id"] == open_calls.pop(0)
                continue
            assert not open_calls
            open_calls = [made["id"] for made in message.get("tool_calls") or ()]
        assert not open_calls
        said = [message["content"] for message in talk if message["role"] == "user"]
        assert max(Counter(said).values()) == 1
        assert sum(WHY in words for words in said) <= 1
    last = [message["content"] for message in talks[-1] if message["role"] == "user"]
    assert [words for words in last if words in (STEER, f"[feedback] {FEEDBACK}", FOLLOW_UP)] == [
        STEER, f"[feedback] {FEEDBACK}", FOLLOW_UP,
    ]  # fmt: skip
    assert sum(WHY in words for words in last) == 1
