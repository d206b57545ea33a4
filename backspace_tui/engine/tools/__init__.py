"""The agent's tools. All of them work in the sandbox; a bad call is answered, it never raises."""

from __future__ import annotations

from typing import Any, Final

from backspace_tui.engine.tools.base import Tool
from backspace_tui.engine.tools.files import DeleteFile, EditFile, MoveFile, ReadFile, ReadFiles, WriteFile, WriteFiles
from backspace_tui.engine.tools.find import ListFiles, Search
from backspace_tui.engine.tools.shell import ListProcesses, RunCommand, StartService, StopService
from backspace_tui.engine.tools.talk import AskUser, Finish

TOOLS: Final[dict[str, Tool[Any]]] = {
    tool.name: tool
    for tool in (
        ListFiles(), ReadFile(), ReadFiles(), Search(), WriteFile(), WriteFiles(), EditFile(), MoveFile(),
        DeleteFile(), RunCommand(), StartService(), ListProcesses(), StopService(), AskUser(), Finish(),
    )
}  # fmt: skip
"""Every tool by its name."""
