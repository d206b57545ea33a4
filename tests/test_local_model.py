"""Whole sessions with models that have no native tool calls: a real one that talks nonsense, and servers that script
one that knows the text form alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.state import fold
from tests.models.llama_server import LlamaServer
from tests.models.openai_server import OpenAIServer
from tests.models.turns import Turn, fault, text
from tests.program import CART, Program, kept, make_repository, processes_of, tree, wait_for

pytestmark = pytest.mark.bubblewrap

FIXED = CART.replace("price for", "price * quantity for")


def block(tool: str, **arguments: Any) -> str:
    return "```tool\n" + json.dumps({"tool": tool, "arguments": arguments}) + "\n```"


EDIT = {"path": "cart.py", "old": "price for", "new": "price * quantity for"}
FINISH = {"summary": "The quantity counts now."}


@pytest.fixture
def program(tmp_path: Path, bubblewrap: str) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    wait_for(lambda: not any(map(processes_of, program.sessions)), "the session's process to be gone")


def settings(tmp_path: Path, url: str, more: str = "") -> None:
    (tmp_path / "config.toml").write_text(f'[[models]]\nname = "openai/smollm2"\napi_base = "{url}"\n{more}')


# A model that knows the text form alone


def without_tools(replies: list[str], refuse: str = "") -> Callable[[dict[str, Any]], Turn]:
    """A server's script: its model calls by blocks where the system message tells of them, and talks otherwise.

    ``refuse`` is how the server answers a request that offers native tools; empty, it leaves them out.
    """
    left = iter(replies)

    def turn(body: dict[str, Any]) -> Turn:
        system = body["messages"][0]["content"]
        roles = [message["role"] for message in body["messages"]]
        assert "tool" not in roles or "tools" in body
        if "tools" in body:
            return fault(refuse) if refuse else text("I would edit cart.py so that it multiplies.")
        if "```tool" in system:
            return text(next(left))
        return text("APPROVE" if "APPROVE" in system else "1. Multiply by the quantity.")

    return turn


@pytest.mark.parametrize("refuse", ["", "no_tools"])
@pytest.mark.parametrize(
    "replies",
    [
        [block("read_file", path="cart.py"), block("edit_file", **EDIT), block("finish", **FINISH)],
        [
            "I look first.\n\n" + block("read_file", path="cart.py") + "\n\n" + block("search", pattern="total"),
            "Now I know.\n" + block("edit_file", **EDIT).replace("```tool", "```json") + "\nThat should do.",
            f"<tool_call>\n{json.dumps({'name': 'finish', 'arguments': FINISH})}\n</tool_call>",
        ],
        [
            block("edit_file", **EDIT)[:-12],
            block("edit_file", **EDIT).replace("```", "~~~") + "\nResult of edit_file:\nedited\n" + block("finish"),
            "```tool\nfinish(summary='done')\n```",
            block("no_such_tool"),
            block("finish", **FINISH),
        ],
    ],
    ids=["as told", "as they do", "broken"],
)
def test_a_session_in_the_text_form(tmp_path: Path, program: Program, replies: list[str], refuse: str) -> None:
    repository = make_repository(tmp_path / "repository")
    before = kept(repository)
    with OpenAIServer(without_tools(replies, refuse)) as server:
        settings(tmp_path, server.url)
        done = program.run(
            "run", "-p", "Mend the total", "--sandbox", "bubblewrap", "--accept", "verified", str(repository)
        )
    assert done.returncode == 0, done.stdout + done.stderr
    state = fold(program.events())
    assert tree(repository, state.branch)["cart.py"][1].decode() == FIXED
    assert kept(repository) == before
    calls = [event for event in program.events() if isinstance(event, ev.ToolFinished) and event.ok]
    assert [event.tool for event in calls if event.tool == "edit_file"] == ["edit_file"]
    assert calls[-1].tool == "finish"
    # It is asked with native tools once, and never again.
    assert sum("tools" in body for body in server.bodies) == 1


# A real model


def test_a_real_model_that_talks_nonsense_leads_to_an_orderly_end(
    tmp_path: Path, program: Program, local_model: LlamaServer
) -> None:
    repository = make_repository(tmp_path / "repository")
    before = kept(repository)
    settings(tmp_path, local_model.url, "max_output_tokens = 32\n[budget]\nturns = 4\n")
    ended = [program.run("run", "-p", "Mend the total", "--sandbox", "bubblewrap", "--accept", "all", str(repository))]
    if ended[0].returncode == 4:
        ended.append(program.run("resume", program.session.name))
    for done in ended:
        assert done.returncode in (0, 3, 4)
        assert len(done.stderr.splitlines()) == (done.returncode != 0)
        assert "Traceback" not in done.stdout + done.stderr
    events = program.events()
    assert fold(events).status in ("waiting", "paused", "done")
    replies = [event for event in events if isinstance(event, ev.ModelReplied)]
    assert len(replies) >= 3
    assert all(reply.tokens_in > 0 and reply.tokens_out > 0 and reply.usd is None for reply in replies)
    assert kept(repository) == before
    assert "Traceback" not in (program.session / "engine.log").read_text()
