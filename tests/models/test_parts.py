"""The pure parts: faults and decisions, text calls, compaction, scripts, prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.core.protocols import Cancelled, ChatMessage, ModelReply, ModelRequest, ToolCall
from backspace_tui.models import text_calls
from backspace_tui.models.compact import LEVELS, compact
from backspace_tui.models.faults import (
    Accept,
    AsText,
    Compact,
    Decision,
    Fault,
    GiveUp,
    Kind,
    Next,
    Wait,
    counted_in,
    decide,
    kind_of,
    one_line,
    retry_after,
    told_wait,
    window_in,
)
from backspace_tui.models.prompts import NAMES, load_prompts
from backspace_tui.models.scripted import PAST_THE_END, ScriptedModel
from backspace_tui.models.wire import parse_arguments
from tests.models.helpers import WRITE_FILE, Recorder, Token, ask


@pytest.mark.parametrize(
    ("kind", "after", "attempt", "decision"),
    [
        ("rate", None, 1, Wait(2.0)),
        ("rate", None, 2, Wait(4.0)),
        ("rate", None, 3, Next(15.0)),
        ("rate", 7.0, 1, Wait(7.0)),
        ("rate", 0.0, 1, Wait(0.1)),
        ("rate", 20.5, 1, Next(20.5)),
        ("server", None, 3, Next(15.0)),
        ("quota", 1.0, 1, Next(600.0)),
        ("auth", None, 1, Next(600.0)),
        ("hang", None, 1, Wait(0.0)),
        ("hang", None, 2, Next(60.0)),
        ("cut", None, 2, Wait(1.0)),
        ("context", None, 1, Compact()),
        ("context", None, 4, Compact()),
        ("context", None, 5, Next(0.0)),
        ("filter", None, 1, Next(0.0)),
        ("no_tools", None, 1, AsText()),
        ("request", None, 1, Wait(0.5)),
        ("request", None, 2, GiveUp()),
        ("call", None, 1, Wait(0.0)),
        ("call", None, 2, Next(15.0)),
    ],
)
def test_decisions(kind: Kind, after: float | None, attempt: int, decision: Decision) -> None:
    assert decide(Fault(kind, "x", after), attempt) == decision


@pytest.mark.parametrize(
    ("kind", "after", "attempt", "decision"),
    [
        ("auth", None, 1, Wait(1.0)),
        ("auth", None, 2, Next(600.0)),
        ("filter", None, 1, Wait(1.0)),
        ("rate", 45.0, 1, Wait(45.0)),
        ("rate", 45.0, 2, Next(45.0)),
        ("rate", 90.0, 1, Next(90.0)),
        ("slow", None, 1, Next(600.0)),
    ],
)
def test_decisions_where_no_other_model_is_left(
    kind: Kind, after: float | None, attempt: int, decision: Decision
) -> None:
    assert decide(Fault(kind, "x", after), attempt, last=True) == decision


def test_a_broken_call_is_accepted_of_the_last_model_alone_and_not_at_once() -> None:
    fault = Fault("call", "x")
    fault.reply = ModelReply("m", "")
    assert [decide(fault, attempt, last=True) for attempt in (1, 2)] == [Wait(0.0), Accept()]
    assert decide(fault, 2) == decide(Fault("call", "x"), 2, last=True) == Next(15.0)


def test_a_conversation_that_fits_is_sent_again_before_it_is_shortened() -> None:
    fault = Fault("context", "x")
    fault.fits = True
    assert [decide(fault, attempt) for attempt in (1, 2)] == [Wait(0.0), Compact()]


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "API key not valid. Please pass a valid API key.", "auth"),
        (400, "Your credit balance is too low to access the API", "quota"),
        (400, "foo/bar is not a valid model ID", "missing"),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "context"),
        (400, "registry.ollama.ai/library/x does not support tools", "no_tools"),
        (400, "messages: roles must alternate", "request"),
        (400, "tools.0.name: String should match pattern", "request"),
        (404, "No endpoints found that support tool use; tools are not supported", "no_tools"),
        (429, "Rate limit reached", "rate"),
        (413, "too large", "context"),
        (400, "Request exceeds the maximum size", "context"),
        (400, "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000", "context"),
        (504, "x", "server"),
        (408, "x", "server"),
        (529, "Overloaded", "server"),
        (422, "x", "request"),
        (400, "You have reached your specified API usage limits. You will regain access on 2026-12-01", "quota"),
        (400, "Billing hard limit has been reached", "quota"),
        (400, "This organization has been disabled.", "auth"),
        (400, "API key expired. Please renew the API key.", "auth"),
        (400, "Failed to call a function. Please adjust your prompt. See 'failed_generation'", "call"),
        (400, "{'error': {'message': 'tool call validation failed', 'code': 'tool_use_failed'}}", "call"),
        (400, "The model `llama3-70b-8192` has been decommissioned and is no longer supported.", "missing"),
        (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens.", "context"),
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "context"),
        (422, "`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens", "context"),
        (400, "Please reduce the length of the messages or completion.", "context"),
        (400, "Function calling is not enabled for models/gemma-3-27b-it", "no_tools"),
        (400, "Unknown parameter: 'tools'.", "no_tools"),
        (400, "Unrecognized request argument supplied: tools", "no_tools"),
        (422, "tools: Extra inputs are not permitted", "no_tools"),
        (422, "Extra inputs are not permitted: tools", "no_tools"),
        (422, "Insufficient credits: billing", "quota"),
        (400, "BadRequestError: <html><h1>400 Bad Request</h1></html>", "garbled"),
        (422, "<!DOCTYPE html>\n<html>", "garbled"),
        (413, "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000", "rate"),
        # Of our own making, although they speak of the same things.
        (400, "Unknown parameter: 'tools[0].function.strict'.", "request"),
        (400, "tools.0.custom.name: Extra inputs are not permitted", "request"),
        (400, "Error code: 400 - {'error': {'message': 'bad input: <html>'}}", "request"),
        (400, "`temperature` is no longer supported by this model", "request"),
        (400, "messages.3: `tool_use` ids were found without `tool_result` blocks", "request"),
        (400, "Invalid value: 'function'. Supported values are: 'user'", "request"),
        (None, "x", "refused"),
    ],
)
def test_kinds(status: int | None, message: str, kind: Kind) -> None:
    assert kind_of(status, message) == kind


def test_reasons_are_one_line_without_noise_and_secrets() -> None:
    raw = (
        "litellm.RateLimitError: RateLimitError: OpenAIException - bad\nkey hunter2secret at "
        "https://user:pw@host/v1?key=abc Bearer xyz123 sk-ant-0123456789abcdef AIzaSyA0123456789012345678901234567890"
    )
    line = one_line(raw, ["hunter2secret"])
    assert line == "bad key [key] at https://host/v1?key=[key] Bearer [key] [key] [key]"
    assert len(one_line("x" * 1000)) == 200
    body = '{"type":"error","error":{"type":"overloaded_error","message":"Over\\nloaded"}}'
    assert one_line(f"litellm.InternalServerError: AnthropicException - b'{body}'.") == "Over loaded."
    assert one_line("what {this} is") == "what {this} is"


def test_retry_after_headers() -> None:
    assert retry_after("3", 0) == 3.0
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 20.0) == 40.0
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 90.0) == 0.0
    assert [retry_after(value, 0) for value in (None, "", "soon", "nan", "inf", "1e99")] == [None] * 6


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "3"}, "try again in 9s", 3.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
        ({}, "Rate limit reached. Please try again in 1.5s. Visit", 1.5),
        ({}, "Please retry in 250ms", 0.25),
        ({}, "try again in 2m", 120.0),
        ({}, "try again later", None),
    ],
)
def test_waits_that_providers_ask_for(headers: dict[str, str], message: str, seconds: float | None) -> None:
    assert told_wait(headers, message, 0) == seconds


@pytest.mark.parametrize(
    ("message", "window", "counted"),
    [
        ("maximum context length is 4096 tokens. However, your messages resulted in 9000 tokens.", 4096, 9000),
        ("maximum context length is 4096 tokens and your request has 100 input tokens", 4096, 100),
        ("maximum context length is 4096 tokens, you requested 9 tokens (8 in the messages, 1 in the", 4096, 8),
        ("prompt is too long: 213425 tokens > 200000 maximum", 200_000, 213_425),
        ("exceed context limit: 188240 + 21333 > 200000, decrease", 200_000, 188_240),
        ("request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096, 9000),
        ("maximum prompt length is 131072 but the request contains 537812 tokens", 131_072, 537_812),
        ("The input token count (12000) exceeds the maximum number of tokens allowed (8192).", 8192, 12_000),
        ("too long", 0, 0),
    ],
)
def test_limits_that_refusals_name(message: str, window: int, counted: int) -> None:
    assert (window_in(message), counted_in(message)) == (window, counted)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), JSON, max_size=3)


@given(st.lists(st.tuples(st.from_regex(r"\A[a-z_]{1,10}\Z"), ARGUMENTS), max_size=3))
def test_text_calls_are_read_back(calls: list[tuple[str, dict[str, object]]]) -> None:
    made = [ToolCall(f"text_{number}", name, arguments) for number, (name, arguments) in enumerate(calls, 1)]
    text = "\n".join(["Before.", *map(text_calls.format_call, made), "After."])
    words, found = text_calls.parse(text)
    assert found == tuple(made)
    assert words.split() == ["Before.", "After."]


@given(st.text())
def test_any_text_can_be_searched_for_calls(text: str) -> None:
    text_calls.parse(text)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("```tool\n{bad}\n```", "not valid JSON"),
        ("```tool\n[]\n```", "JSON object"),
        ('```tool\n{"arguments": {}}\n```', '"tool"'),
        ('```tool\n{"tool": "x", "arguments": 3}\n```', '"arguments"'),
        ('```tool\n{"tool": "x", "arguments": {}}', "not closed"),
    ],
)
def test_broken_blocks_are_problems(block: str, problem: str) -> None:
    _, [call] = text_calls.parse("Now:\n" + block)
    assert call.arguments is None
    assert problem in call.problem


def test_a_code_block_that_is_no_tool_block_is_text() -> None:
    text = '```python\nx\n```\n```toolbox\n{"tool": "x"}\n```'
    assert text_calls.parse(text) == (text, ())


def test_a_rewritten_conversation_has_no_native_calls() -> None:
    calls = (ToolCall("1", "write_file", {"path": "a"}), ToolCall("2", "write_file", {"path": "b"}))
    results = [
        ChatMessage("tool", f"wrote {name}", tool_call_id=call.id) for name, call in zip("ab", calls, strict=True)
    ]
    request = ask("do it")
    request = ModelRequest(
        (*request.messages, ChatMessage("assistant", "ok", calls), *results), "implement", (WRITE_FILE,)
    )
    sent = text_calls.rewrite(request)
    assert [message.role for message in sent.messages] == ["system", "user", "assistant", "user"]
    assert text_calls.parse(sent.messages[2].text)[1][1].arguments == {"path": "b"}
    assert "Result of write_file:\nwrote a" in sent.messages[3].text
    assert sent.tools == ()
    reply = ModelReply("m", text_calls.format_call(calls[0]))
    assert text_calls.read_reply(reply, request).tool_calls[0].id.startswith("text_")


def test_compaction_keeps_what_was_asked_and_the_newest_turns() -> None:
    messages = [ChatMessage("system", "s" * 900), ChatMessage("user", "u" * 900)]
    for number in range(10):
        messages.append(ChatMessage("assistant", "t", (ToolCall(str(number), "x", {"content": "c" * 900}),)))
        messages.append(ChatMessage("tool", "r" * 900, tool_call_id=str(number)))
    sizes = []
    for level in (1, 2, 3):
        shorter = compact(tuple(messages), level)
        assert shorter is not None
        assert shorter[:2] == tuple(messages[:2])
        assert shorter[-1] == messages[-1]
        assert [message.role for message in shorter] == [message.role for message in messages]
        assert compact(shorter, level) is None
        sizes.append(len(str(shorter)))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    assert compact(tuple(messages[:2]), 1) is None


def test_the_last_level_of_compaction_cuts_the_middle_of_what_is_longest() -> None:
    result = ChatMessage("tool", "a" * 5000 + "b" * 5000, tool_call_id="1")
    messages = (
        ChatMessage("system", "s" * 20_000),
        ChatMessage("user", "u" * 20_000),
        ChatMessage("assistant", "", (ToolCall("1", "read_file", {}),)),
        result,
    )
    assert all(compact(messages, level) is None for level in range(1, LEVELS))
    shorter = compact(messages, LEVELS)
    assert shorter is not None
    assert [len(message.text) for message in shorter] == [20_000, 6029, 0, 6028]
    assert shorter[3].text.startswith("aaa")
    assert shorter[3].text.endswith("bbb")
    assert compact(shorter, LEVELS) is None


@given(st.text(st.characters(codec="utf-8")), ARGUMENTS)
def test_arguments_are_parsed_strictly(text: str, arguments: dict[str, object]) -> None:
    assert parse_arguments(json.dumps(arguments)) == (arguments, "")
    value, problem = parse_arguments(text)
    assert (value is None) == bool(problem)


def test_a_lone_surrogate_in_arguments_is_a_problem() -> None:
    assert parse_arguments('{"a": "\\ud800"}')[0] is None
    assert parse_arguments('{"a": ' + "[" * 100_000)[0] is None


SCRIPT = """
plan = "1. Look."

[[turns]]
thinking = "What is there?"
text = "I look."
calls = [{ tool = "read_file", arguments = { path = "a" } }, { tool = "list_files" }]

[[turns]]
calls = [{ tool = "finish", arguments = { summary = "done" } }]
"""


def test_a_script_is_replayed_by_the_turns_in_the_conversation(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(SCRIPT)
    model = ScriptedModel.from_file(path)
    assert model.names == ("scripted",)
    messages = list(ask("x").messages)
    seen = Recorder()
    names = []
    for _ in range(3):
        reply = model.complete(ModelRequest(tuple(messages), "implement"), seen, Token())
        names.append([call.name for call in reply.tool_calls])
        messages.append(ChatMessage("assistant", reply.text, reply.tool_calls))
    assert names == [["read_file", "list_files"], ["finish"], []]
    assert seen.text("thinking") == "What is there?"
    assert seen.text() == "I look." + PAST_THE_END
    assert len(seen.pieces) > 4
    assert len({call.id for message in messages for call in message.tool_calls}) == 3
    for purpose, text in (("plan", "1. Look."), ("critique", "APPROVE")):
        assert model.complete(ask("x", purpose=purpose), Recorder(), Token()).text == text


def test_a_paced_script_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(SCRIPT)
    token = Token()
    with pytest.raises(Cancelled):
        ScriptedModel.from_file(path, pace=0.01).complete(ask("x"), Recorder(on_text=token.cancel), token)


def test_a_broken_script_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text("[[turns]]\ncall = []\n")
    with pytest.raises(ValueError, match=r"demo.toml: .*call"):
        ScriptedModel.from_file(path)


def test_prompts() -> None:
    prompts = load_prompts()
    assert set(prompts) == set(NAMES) == {"plan", "implement", "critique"}
    for text in prompts.values():
        assert 200 < len(text) < 4000
    assert "APPROVE or REVISE" in prompts["critique"]
