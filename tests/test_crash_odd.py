"""SIGKILL anywhere in a session on odd files, with questions, redos and edits of the user: the end is the same."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from tests.crash import Human, Script, scene
from tests.models.turns import Turn, call, text
from tests.program import git, tree

BASE: Mapping[str, str | bytes] = {
    'sp ace/naïve "q".go': "package main\r\n\r\nfunc main() {\r\n}\r\n",
    "no end": "one\ntwo\nthree",
    "run.sh": "#!/bin/sh\necho old\n",
    "gone.bin": b"\0\1\2" * 50,
}
ODD = r"""
printf 'caf\351\n' > "$(printf 'caf\351.txt')"; ln -s 'no end' link; chmod +x run.sh; rm gone.bin
printf 'one\ntwo\nthree\nfour' > 'no end'; mv run.sh 'sp ace/run.sh'; printf '\0\377' > new.bin
"""
POLITE = "Please greet politely."
EDITED = b"one\nTWO\nthree\nfour"
CAFE = os.fsdecode(b"caf\xe9.txt")


def agent(body: Mapping[str, Any]) -> Turn:
    """The next of its steps, by how many calls the conversation holds already."""
    messages = body["messages"]
    if not body.get("tools"):
        return text("APPROVE") if "# Changes" in messages[-1]["content"] else text("1. make odd files")
    said = " ".join(str(message["content"]) for message in messages if message["role"] == "user")
    steps = [
        call("ask_user", question="Which language?", options=["go", "sh"]),
        call("run_command", command=ODD),
        text("Careful.") + call("write_file", path="hello.txt", content="hey\n"),
        call("write_file", path="debug log.txt", content="x\n"),
    ]  # fmt: skip
    if POLITE in said:
        steps.append(call("write_file", path="hello.txt", content="good day\n"))
    taken = sum(bool(message.get("tool_calls")) for message in messages)
    made = [made["function"]["name"] for message in messages for made in message.get("tool_calls") or ()]
    taken -= made.count("finish")
    return steps[taken] if taken < len(steps) else call("finish", summary="Odd files stand.")


def in_review(state: SessionState) -> bool:
    return state.stage == "review" and state.stage_open and state.unheard is None and not state.pending_rejections


def decided(events: list[ev.AnyEvent], action: str) -> bool:
    return any(isinstance(event, ev.Decision) and event.action == action for event in events)


def play(human: Human) -> None:
    human.until(lambda state: state.question is not None, "the question")
    human.answer("go")
    human.until(lambda state: "debug log.txt" in state.edits and in_review(state), "the review", 200)
    human.decide("reject", "debug log.txt", comment="no logs")
    human.decide("redo", "hello.txt", comment=POLITE)
    human.until(lambda state: in_review(state) and len(state.edits["hello.txt"]) > 2, "another version", 200)
    human.ask(lambda: cmd.Edit(hunk=human.hunks("no end")[0], result=EDITED), lambda events: decided(events, "edit"))
    human.decide("accept", CAFE, "link", "gone.bin")
    human.undo()
    human.decide("accept", CAFE, "link", "gone.bin", "new.bin", "hello.txt", "run.sh", "sp ace/run.sh")
    human.publish()
    human.until(lambda state: state.stage == "done" and state.stage_open, "the request")
    human.quit()


def tell(folder: Path, mode: str = "") -> tuple[Human, dict[str, tuple[str, bytes]]]:
    with scene(folder, Script(agent), "process", mode=mode, files=BASE) as human:
        play(human)
    state = human.state()
    assert git(human.repository, "rev-list", "--count", f"main..{state.branch}") == "1\n"
    assert git(human.repository, "rev-parse", f"{state.branch}^{{tree}}").strip() == state.accepted_tree
    return human, tree(human.repository, state.branch)


def counted(human: Human) -> Counter[tuple[str, str, str]]:
    """The decisions, each as often as it stands in the log."""
    return Counter((d.action, d.path, d.comment) for d in human.events() if isinstance(d, ev.Decision))


@pytest.mark.parametrize("mode", ["after", "torn"])
def test_a_kill_at_every_kind_of_write_on_odd_files(tmp_path: Path, mode: str) -> None:
    calm, expected = tell(tmp_path / "calm")
    assert expected[CAFE] == ("100644", b"caf\xe9\n")
    assert expected["link"] == ("120000", b"no end")
    assert expected["sp ace/run.sh"][0] == "100755"
    assert expected["no end"] == ("100644", EDITED)
    assert expected["hello.txt"] == ("100644", b"good day\n")
    assert not {"gone.bin", "run.sh", "debug log.txt"} & set(expected)
    killed, found = tell(tmp_path / mode, mode)
    assert killed.starts > 40
    assert found == expected
    assert counted(killed) == counted(calm)
