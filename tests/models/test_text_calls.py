"""Calls in plain text, as models really write them; and a server that knows nothing of tools, through the chain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.core.protocols import ChatMessage, ModelReply, ModelRequest, ToolCall
from backspace_tui.models import text_calls
from backspace_tui.models.chain import FallbackChain
from tests.models import openai_server
from tests.models.helpers import WRITE_FILE, Recorder, Token, ask, model
from tests.models.openai_server import OpenAIServer
from tests.models.turns import STATUS_FAULTS, Turn, call, fault, text

NAMES = frozenset({"write_file", "read_file", "finish"})
CALL = '{"tool": "write_file", "arguments": {"path": "a", "content": "b"}}'
MADE = ("write_file", {"path": "a", "content": "b"})


def found(reply: str, *, ended: bool = True) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in text_calls.parse(reply, NAMES, ended=ended)[1]]


@pytest.mark.parametrize(
    "reply",
    [
        f"```tool\n{CALL}\n```",
        f"I write it.\n\n```tool\n{CALL}\n```\n\nThen I look.",
        f"``` tool\n{CALL}\n```",
        f"```tool {CALL}```",
        f"```TOOL_CALL\r\n{CALL}\r\n```\r\n",
        f"````tool\n{CALL}\n````",
        f"~~~tool\n{CALL}\n~~~",
        f"  ```tool\n  {CALL}\n  ```",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        f"```\n```tool\n{CALL}\n```",
        f"```tool\n{CALL}",
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}",
        f"<|tool_call|>{CALL}<|/tool_call|>",
        f"[TOOL_CALLS] [{CALL}]",
        f"<|python_tag|>{CALL}",
        CALL,
        f"\n {CALL} \n",
        CALL.replace("tool", "name"),
        CALL.replace("tool", "name").replace("arguments", "parameters"),
        '```tool\n{"tool": "write_file", "path": "a", "content": "b"}\n```',
        '```tool\n{"function": {"name": "write_file", "arguments": {"path": "a", "content": "b"}}}\n```',
        '```tool\n{"tool": "write_file", "arguments": "{\\"path\\": \\"a\\", \\"content\\": \\"b\\"}"}\n```',
        f"```tool\n{CALL}\n```\nResult of write_file:\nwrote a\n\n```tool\n{CALL}\n```",
        f"```python\nx = '''\n```\n```tool\n{CALL}\n```",
    ],
)
def test_what_models_write_for_a_call_is_read(reply: str) -> None:
    assert found(reply) == [MADE]


@pytest.mark.parametrize(
    "reply",
    [
        f"```tool\n{CALL}\n```\n```tool\n{CALL}\n```",
        f"First:\n```tool\n{CALL}\n```\nand then:\n```tool\n{CALL}\n```\nDone.",
        f"```tool\n{CALL}\n{CALL}\n```",
        f"```tool\n[{CALL}, {CALL}]\n```",
        f"```tool\n{CALL}\n```tool\n{CALL}\n```",
        f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>",
        f"```json\n{CALL}\n```\n```tool\n{CALL}\n```",
    ],
)
def test_several_calls_are_read_in_order(reply: str) -> None:
    assert found(reply) == [MADE, MADE]


@pytest.mark.parametrize(
    "reply",
    [
        "Use the ```tool block, or <tool_call>, as described.",
        f"```python\n{CALL}\n```",
        f"```markdown\nWrite:\n\n  ~~~tool\n  {CALL}\n  ~~~\n```",
        f"````md\n```tool\n{CALL}\n```\n````",
        '```json\n{"name": "some-package", "version": "1"}\n```',
        '```json\n{"tool": "write_file", "arguments": 3}\n```',
        '```json\n{"tool": "write_file", "arguments": {"path": "a"',
        '{"name": "some-package", "parameters": {}}',
        f"The call is {CALL} as you see.",
        "[]",
    ],
)
def test_what_is_no_call_stays_text(reply: str) -> None:
    assert text_calls.parse(reply, NAMES, ended=True) == (reply, ())


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (f"```tool\n{CALL[:-9]}\n```", "not valid JSON"),
        (f"```tool\n{CALL[:-9]}", "not closed"),
        (f"<tool_call>{CALL[:-9]}", "not valid JSON"),
        ("```tool\nwrite_file(path='a')\n```", "holds no object"),
        ("```tool\n```", "holds no JSON object"),
        (f"```tool\n{CALL}\nand so on\n```", "more than the JSON object"),
        ('```tool\n{"tool": "write_file", "arguments": {"path": NaN}}\n```', "not valid JSON"),
        ('```tool\n{"tool": "write_file", "arguments": {"path": "\\ud800"}}\n```', "surrogate"),
        ("```tool\n" + "[" * 100_000, "not closed"),
    ],
)
def test_a_broken_block_is_a_problem_and_stays_to_be_seen(reply: str, problem: str) -> None:
    words, calls = text_calls.parse(f"Now:\n{reply}", NAMES, ended=True)
    assert [made.arguments for made in calls] == [None]
    assert problem in calls[0].problem
    assert words == f"Now:\n{reply}"


def test_a_cut_reply_is_not_carried_out() -> None:
    whole = f"Now:\n```tool\n{CALL}\n```"
    for end in range(len(whole)):
        assert found(whole[:end], ended=False) in ([], [("", None)])
    # An object that is whole is what the model meant, whether it closed its fence or not.
    for end in range(len(whole)):
        assert found(whole[:end]) in ([], [("", None)]) or whole[:end].rstrip("`\n").endswith(CALL)


def test_a_line_break_inside_of_a_string_is_read() -> None:
    assert found('```tool\n{"tool": "write_file", "arguments": {"content": "a\n```\nb"}}\n```') == [
        ("write_file", {"content": "a\n```\nb"})
    ]


def test_a_reply_full_of_blocks_is_read_up_to_a_limit() -> None:
    assert len(found(f"```tool\n{CALL}\n```\n" * 500)) == text_calls.MAX_BLOCKS


@given(st.lists(st.sampled_from(["```", "~~~", "tool", "json", "\n", CALL, "<tool_call>", "</tool_call>", "{", "]"])))
def test_any_mixture_is_read_without_an_error(parts: list[str]) -> None:
    reply = "".join(parts)
    for ended in (False, True):
        words, calls = text_calls.parse(reply, NAMES, ended=ended)
        assert len(words) <= len(reply)
        for made in calls:
            assert (made.arguments is None) == bool(made.problem)
            assert made.arguments is None or (made.name, made.arguments) == MADE


def test_ids_are_never_used_twice() -> None:
    reply = ModelReply("m", f"```tool\n{CALL}\n```\n```tool\n{CALL}\n```")
    ids = [call.id for _ in range(20) for call in text_calls.read_reply(reply, ask("x")).tool_calls]
    assert len(set(ids)) == 40


def test_a_reply_keeps_what_it_cost() -> None:
    reply = ModelReply("m", CALL, thinking="t", tokens_in=9, tokens_out=8, usd=0.1, seconds=2.0, tokens_cached=7)
    read = text_calls.read_reply(reply, ask("x"))
    assert (read.tokens_in, read.tokens_out, read.usd, read.tokens_cached, read.thinking) == (9, 8, 0.1, 7, "t")
    assert (read.text, len(read.tool_calls)) == ("", 1)


def test_users_and_assistants_take_turns_and_broken_calls_are_not_made_up() -> None:
    broken = ToolCall("2", "write_file", None, "not JSON")
    request = ModelRequest(
        (
            *ask("do it", "and quickly").messages,
            ChatMessage("assistant", "ok", (ToolCall("1", "write_file", {"path": "a"}), broken)),
            ChatMessage("tool", "wrote a", tool_call_id="1"),
            ChatMessage("tool", "not JSON", tool_call_id="2"),
            ChatMessage("user", "[feedback] go on"),
            ChatMessage("assistant", "", (broken,)),
        ),
        "implement",
        (WRITE_FILE,),
    )
    sent = text_calls.rewrite(request)
    assert [message.role for message in sent.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert sent.messages[1].text == "do it\n\nand quickly"
    assert sent.messages[2].text.count("```tool") == 1
    assert sent.messages[3].text == (
        "Result of write_file:\nwrote a\n\nResult of write_file:\nnot JSON\n\n[feedback] go on"
    )
    assert all(message.text for message in sent.messages)


# Through the chain, with servers that know nothing of tools

BLOCK = f"I write it.\n```tool\n{CALL}\n```"


def chance(server: OpenAIServer) -> FallbackChain:
    """A chain as the program builds it."""
    return FallbackChain([model(server.url, "openai/one")], second_chance=True)


def has_text_form(body: dict[str, Any]) -> bool:
    return "```tool" in body["messages"][0]["content"] and "tools" not in body


def made(reply: ModelReply) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in reply.tool_calls]


def test_a_server_that_ignores_tools_gets_the_text_form() -> None:
    def turn(body: dict[str, Any]) -> Turn:
        return text(BLOCK if has_text_form(body) else "I would write the file.")

    recorder = Recorder()
    with OpenAIServer(turn) as server:
        asked = chance(server)
        first = asked.complete(ask("x"), recorder, Token())
        second = asked.complete(ask("y"), recorder, Token())
        # What the others ask is asked as it is.
        assert asked.complete(ask("plan", tools=False), recorder, Token()).text == "I would write the file."
    assert made(first) == made(second) == [MADE]
    assert first.text == "I write it."
    assert [has_text_form(body) for body in server.bodies] == [False, True, True, False]
    assert [reason for _, reason, _ in recorder.failures] == [
        "it called no tool; asked once more with the tools described as text"
    ]


@pytest.mark.parametrize(
    "refusal",
    [
        "registry.ollama.ai/library/smollm2:135m does not support tools",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "tools param requires --jinja flag",
        "This model does not support function calling.",
        "No endpoints found that support tool use.",
    ],
)
@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_server_that_refuses_tools_gets_the_text_form(
    refusal: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        openai_server,
        "STATUS_FAULTS",
        {**STATUS_FAULTS, "no_tools": (status, "invalid_request", refusal)},
    )

    def turn(body: dict[str, Any]) -> Turn:
        return text(BLOCK) if has_text_form(body) else fault("no_tools")

    with OpenAIServer(turn) as server:
        asked = chance(server)
        assert made(asked.complete(ask("x"), Recorder(), Token())) == [MADE]
        assert made(asked.complete(ask("y"), Recorder(), Token())) == [MADE]
    assert [has_text_form(body) for body in server.bodies] == [False, True, True]


@pytest.mark.parametrize("written", [f"<tool_call>\n{CALL.replace('tool', 'name')}\n</tool_call>", BLOCK, CALL])
def test_calls_that_the_server_did_not_read_are_read(written: str) -> None:
    with OpenAIServer([written]) as server:
        reply = chance(server).complete(ask("x"), Recorder(), Token())
    assert made(reply) == [MADE]
    assert len(server.bodies) == 1


def test_a_model_with_nothing_to_call_is_asked_twice_once_and_its_first_words_stand() -> None:
    recorder = Recorder()
    with OpenAIServer([text("Hello."), text("Hello again."), text("Nothing to do.")]) as server:
        asked = chance(server)
        assert asked.complete(ask("x"), recorder, Token()).text == "Hello."
        assert asked.complete(ask("y"), recorder, Token()).text == "Nothing to do."
    assert [has_text_form(body) for body in server.bodies] == [False, True, False]


def test_the_first_words_stand_also_where_the_second_request_fails() -> None:
    with OpenAIServer([text("Hello."), fault("400"), text("Done.")]) as server:
        asked = chance(server)
        reply = asked.complete(ask("x"), Recorder(), Token())
        # Its cost was told with the reason to ask again.
        assert (reply.text, reply.tokens_in, reply.usd) == ("Hello.", 0, 0.0)
        assert asked.complete(ask("y"), Recorder(), Token()).text == "Done."
    assert len(server.bodies) == 3


@pytest.mark.parametrize("kind", ["500", "429", "reset", "eof", "empty"])
def test_a_passing_fault_of_the_second_request_is_waited_out(kind: str) -> None:
    left = iter([fault(kind, retry_after=0)])

    def turn(body: dict[str, Any]) -> Turn:
        return next(left, text(BLOCK)) if has_text_form(body) else text("I would write the file.")

    with OpenAIServer(turn) as server:
        assert made(chance(server).complete(ask("x"), Recorder(), Token())) == [MADE]
    assert [has_text_form(body) for body in server.bodies] == [False, True, True]


def test_a_model_that_called_once_may_answer_in_words() -> None:
    with OpenAIServer([call("write_file", path="a", content="b"), text("Done."), text("Done.")]) as server:
        asked = chance(server)
        assert made(asked.complete(ask("x"), Recorder(), Token())) == [MADE]
        assert asked.complete(ask("y"), Recorder(), Token()).text == "Done."
        # So may one that takes over from another that called.
        history = (ChatMessage("assistant", "", (ToolCall("1", "write_file", {}),)), ChatMessage("tool", "ok", (), "1"))
        request = ModelRequest((*ask("x").messages, *history), "implement", (WRITE_FILE,))
        assert chance(server).complete(request, Recorder(), Token()).text == "Done."
    assert len(server.bodies) == 3


def test_the_text_form_is_found_again_after_a_restart() -> None:
    def turn(body: dict[str, Any]) -> Turn:
        return text(BLOCK if has_text_form(body) else "I would write the file.")

    with OpenAIServer(turn) as server:
        first = chance(server).complete(ask("x"), Recorder(), Token())
        results = [ChatMessage("tool", "wrote it", (), one.id) for one in first.tool_calls]
        history = (*ask("x").messages, ChatMessage("assistant", first.text, first.tool_calls), *results)
        request = ModelRequest(history, "implement", (WRITE_FILE,))
        assert made(chance(server).complete(request, Recorder(), Token())) == [MADE]


def test_a_broken_block_is_asked_for_once_more_with_its_form_enforced() -> None:
    broken = f"```tool\n{CALL[:-3]}\n```"

    def turn(body: dict[str, Any]) -> Turn:
        if "response_format" in body:
            return text(CALL)
        return text(broken) if has_text_form(body) else fault("no_tools")

    recorder = Recorder()
    with OpenAIServer(turn) as server:
        assert made(chance(server).complete(ask("x"), recorder, Token())) == [MADE]
    form = server.bodies[-1]["response_format"]["json_schema"]["schema"]["anyOf"]
    assert [one["properties"]["tool"] for one in form] == [{"const": "write_file"}]
    assert recorder.failures[-1][1].startswith("a broken call: the block is not valid JSON")


@pytest.mark.parametrize("again", [CALL, CALL[:-3]], ids=["mended", "broken"])
def test_a_whole_block_beside_a_broken_one_is_not_run(again: str) -> None:
    def turn(body: dict[str, Any]) -> Turn:
        if "response_format" in body:
            return text(again)
        both = f"```tool\n{CALL}\n```\n```tool\n{CALL[:-3]}"
        return text(both) if has_text_form(body) else fault("no_tools")

    with OpenAIServer(turn) as server:
        calls = chance(server).complete(ask("x"), Recorder(), Token()).tool_calls
    if again == CALL:
        assert [made.arguments for made in calls] == [MADE[1]]
    else:
        assert [made.arguments for made in calls] == [None, None]
        assert "not run" in calls[0].problem


def test_a_server_that_cannot_enforce_a_form_is_not_asked_to_again() -> None:
    def turn(body: dict[str, Any]) -> Turn:
        if "response_format" in body:
            return fault("400")
        return text(f"```tool\n{CALL[:-3]}\n```") if has_text_form(body) else fault("no_tools")

    with OpenAIServer(turn) as server:
        asked = chance(server)
        for _ in range(2):
            [problem] = asked.complete(ask("x"), Recorder(), Token()).tool_calls
            assert problem.arguments is None
            assert "not valid JSON" in problem.problem
    assert sum("response_format" in body for body in server.bodies) == 1


def test_a_reply_cut_by_its_limit_before_a_call_is_not_the_last_word() -> None:
    cut = replace(text("Let me think about it. "), finish_reason="length")
    with OpenAIServer(lambda body: cut if has_text_form(body) else fault("no_tools")) as server:
        [problem] = chance(server).complete(ask("x"), Recorder(), Token()).tool_calls
    assert problem.arguments is None
    assert "length limit" in problem.problem
