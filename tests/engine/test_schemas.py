"""What a model is told of the tools: complete, and short."""

from __future__ import annotations

import json

import pytest

from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import Tool
from backspace_tui.models.prompts import prompt
from backspace_tui.models.wire import tools


@pytest.mark.parametrize("name", TOOLS)
def test_every_argument_of_a_tool_is_told(name: str) -> None:
    tool: Tool = TOOLS[name]  # type: ignore[type-arg]
    schema = tool.schema()
    assert schema.description.endswith(".")
    names = set(tool.Arguments.__struct_encode_fields__)
    assert set(schema.parameters.get("properties", {})) == names
    assert set(schema.parameters.get("required", ())) <= names
    assert schema.parameters["additionalProperties"] is False


def test_the_system_prompt_and_all_schemas_are_short() -> None:
    """Under 3,000 tokens: three characters a token are more than any tokenizer takes of English and JSON."""
    told = json.dumps(tools([tool.schema() for tool in TOOLS.values()]), separators=(",", ":"))
    assert len(prompt("implement")) + len(told) < 9_000
