"""An agent that calls tools in a real sandbox, as the engine does."""

from __future__ import annotations

from typing import Any

import pytest

from backspace_tui.core.protocols import Sandbox
from backspace_tui.core.redact import Redactor
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.engine.cancel import Cancel
from backspace_tui.engine.tools import TOOLS
from backspace_tui.engine.tools.base import ToolContext, ToolError, ToolOutcome

SECRET = "hunter2-hunter2-hunter2"
FILES = {
    "src/main.py": File(REGULAR, b"def f():\n    return 1\n\n\ndef g():\n    return 1\n"),
    "crlf.txt": File(REGULAR, b"one\r\ntwo\r\n"),
    "open.txt": File(REGULAR, b"first\nlast"),
    "run.sh": File(EXECUTABLE, b"#!/bin/sh\necho ran\n"),
    "image.bin": File(REGULAR, b"\x00\x01"),
    "empty": File(REGULAR, b""),
    "link": File(SYMLINK, b"src/main.py"),
    "folder": File(SYMLINK, b"src"),
    "out": File(SYMLINK, b"/etc"),
    "dangling": File(SYMLINK, b"nothing"),
    "caf\udce9": File(REGULAR, b"latin \xe9\n"),
    "new\nline": File(REGULAR, b"odd\n"),
    ".env": File(REGULAR, b"PASSWORD=" + SECRET.encode() + b"\nPORT=80\n"),
}
BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]


class Agent:
    """Calls tools as the engine does, and checks that each tells the truth about what it changed."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.output: list[bytes] = []
        self.questions: list[tuple[str, tuple[str, ...]]] = []
        self.context = ToolContext(
            box=box,
            redactor=Redactor([SECRET], salt=b"salt"),
            cancel=Cancel(),
            output=lambda stream, data: self.output.append(data),
            ask=self._ask,
        )

    def _ask(self, question: str, options: tuple[str, ...]) -> str:
        self.questions.append((question, options))
        return "blue"

    def call(self, name: str, /, **arguments: Any) -> ToolOutcome:
        tool = TOOLS[name]
        before = self.box.export()
        try:
            outcome = tool.run(tool.validate(arguments), self.context)
        except ToolError as problem:
            outcome = ToolOutcome(str(problem), ok=False)
        after = self.box.export()
        if outcome.touched is not None:
            for path, data in outcome.touched.items():
                assert (after[path].data if path in after else None) == data
            others = (before.keys() | after.keys()) - outcome.touched.keys()
            assert {path for path in others if before.get(path) != after.get(path)} == set()
        return outcome

    def refused(self, name: str, /, **arguments: Any) -> str:
        outcome = self.call(name, **arguments)
        assert not outcome.ok
        return outcome.text

    def file(self, path: str) -> File | None:
        return self.box.export().get(path)
