"""Answers in shapes that servers have although no protocol describes them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from backspace_tui.core.protocols import ToolCall
from backspace_tui.models import wire
from tests.models.helpers import Recorder, Token, ask
from tests.models.openai_server import OpenAIServer
from tests.models.test_partial_turns import make_chain
from tests.models.turns import call, text

WHOLE = [("read", '{"path": "a"}'), ("read", '{"path": "b"}'), ("write_file", '{"path": "c", "content": "}"}')]


def piece(name: str | None, arguments: str, call_id: str | None = "", index: int | None = 0) -> SimpleNamespace:
    return SimpleNamespace(index=index, id=call_id, function=SimpleNamespace(name=name, arguments=arguments))


def calls_of(*pieces: Any) -> tuple[ToolCall, ...]:
    """The calls of a stream with one piece in each chunk."""
    turn = wire.Assembly(ask("x"))
    for one in pieces:
        delta = SimpleNamespace(content=None, tool_calls=[one])
        turn.add(SimpleNamespace(choices=[SimpleNamespace(delta=delta)]))
    return turn.reply("m", usd=None, seconds=0.0).tool_calls


def test_calls_that_have_one_number_and_no_id_are_told_apart_by_their_names() -> None:
    made = calls_of(*(piece(name, arguments) for name, arguments in WHOLE))
    assert [(call.name, call.problem) for call in made] == [(name, "") for name, _ in WHOLE]
    assert [call.arguments and call.arguments["path"] for call in made] == ["a", "b", "c"]
    assert len({call.id for call in made}) == 3


@pytest.mark.parametrize("call_id", ["", "one"])
def test_a_name_that_is_repeated_with_each_piece_begins_no_call(call_id: str) -> None:
    pieces = [piece("read", part, call_id) for part in ('{"path"', ': "a}', 'b"}', "")]
    [call] = calls_of(*pieces)
    assert call.arguments == {"path": "a}b"}


@pytest.mark.parametrize(("streams", "asked"), [(True, True), (False, True), (True, False)])
def test_content_in_parts_is_text(streams: bool, asked: bool) -> None:
    turn = replace(text("Hello there.") + call("write_file", path="a", content="b"), parts=True)
    with OpenAIServer([turn], streams=streams) as server:
        seen = Recorder()
        reply = make_chain(server, streams=asked).complete(ask("x"), seen, Token())
    assert reply.text == seen.text() == "Hello there."
    assert [made.arguments for made in reply.tool_calls] == [{"path": "a", "content": "b"}]
    assert seen.failures == []
