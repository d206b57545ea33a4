"""Running commands and services in the sandbox."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backspace_tui.core.protocols import Result
from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.engine.tools.base import TEXT_LIMIT, Tool, ToolContext, ToolError, ToolOutcome

DEFAULT_TIMEOUT: Final = 120.0
MAX_TIMEOUT: Final = 900.0


class RunCommandArguments(msgspec.Struct, frozen=True):
    command: Annotated[str, Meta(min_length=1)]
    timeout: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT, description="seconds, 120 when left out")] = DEFAULT_TIMEOUT


class RunCommand(Tool[RunCommandArguments]):
    name = "run_command"
    description = "Run a shell command in the workspace, without network. What it leaves running is killed."
    Arguments = RunCommandArguments

    def title(self, arguments: RunCommandArguments) -> str:
        return f"$ {arguments.command}"

    def run(self, arguments: RunCommandArguments, context: ToolContext) -> ToolOutcome:
        result = context.run(
            context.redactor.restore(arguments.command), timeout=arguments.timeout, on_output=context.output
        )
        return ToolOutcome(
            describe(result, context), ok=result.exit_code == 0, exit_code=result.exit_code, touched=None
        )


def describe(result: Result, context: ToolContext) -> str:
    """How a command ended and what it printed, as the model is told."""
    if result.timed_out:
        head = (
            f"timed out after {result.duration:.0f} s and was killed; "
            f"raise timeout (at most {MAX_TIMEOUT:.0f}), or do less at once"
        )
    elif result.cancelled:
        head = "stopped by the user"
    else:
        head = f"exit code {result.exit_code}"
    if result.limit and not result.timed_out:
        head += f" (it reached a limit of the sandbox; {raise_setting(result.limit)})"
    if result.dropped:
        head += f" ({result.dropped} bytes of its output are left out; send long output to a file)"
    text, errors = (_masked(data, context) for data in (result.stdout, result.stderr))
    room = TEXT_LIMIT - len(head) - 20
    # Each has half of the room, and what the other leaves.
    text, errors = clip(text, max(room // 2, room - len(errors))), clip(errors, max(room // 2, room - len(text)))
    parts = [head, text]
    if errors.strip():
        parts.append("stderr:\n" + errors)
    return "\n".join(part for part in parts if part)


def _masked(data: bytes, context: ToolContext) -> str:
    """Masked before it is clipped to its final length, so that no secret is cut in two by that and shown in part."""
    return context.redactor.redact(clip(clean(data), 4 * TEXT_LIMIT)).rstrip("\n")


def raise_setting(limit: str) -> str:
    """What can be done about a limit: most have a setting that the user may raise."""
    return limit.removeprefix("none: ") if limit.startswith("none: ") else f"the user can raise {limit}"


class StartServiceArguments(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,40}$")]
    command: Annotated[str, Meta(min_length=1)]


class StartService(Tool[StartServiceArguments]):
    name = "start_service"
    description = "Start a server under test in the background; it runs until stop_service."
    Arguments = StartServiceArguments

    def title(self, arguments: StartServiceArguments) -> str:
        return f"start  {arguments.name}: {arguments.command}"

    def run(self, arguments: StartServiceArguments, context: ToolContext) -> ToolOutcome:
        try:
            service = context.box.start_service(arguments.name, context.redactor.restore(arguments.command))
        except ValueError as problem:
            raise ToolError(str(problem)) from None
        context.note(service.audit)
        return ToolOutcome(f"started {arguments.name}", touched=None)


class NoArguments(msgspec.Struct, frozen=True):
    pass


class ListProcesses(Tool[NoArguments]):
    name = "list_processes"
    description = "List the services with the end of their output."
    Arguments = NoArguments

    def title(self, arguments: NoArguments) -> str:
        return "list processes"

    def run(self, arguments: NoArguments, context: ToolContext) -> ToolOutcome:
        lines = []
        for process in context.box.list_processes():
            state = "running" if process.running else f"ended with exit code {process.exit_code}"
            lines.append(f"{process.name}: {state}\n{clip(clean(process.output), 2_000)}".rstrip())
        return ToolOutcome(context.redactor.redact("\n".join(lines)) or "(no services)")


class StopServiceArguments(msgspec.Struct, frozen=True):
    name: str


class StopService(Tool[StopServiceArguments]):
    name = "stop_service"
    description = "Stop a service."
    Arguments = StopServiceArguments

    def title(self, arguments: StopServiceArguments) -> str:
        return f"stop   {arguments.name}"

    def run(self, arguments: StopServiceArguments, context: ToolContext) -> ToolOutcome:
        try:
            service = context.box.stop_service(arguments.name)
        except (KeyError, ValueError):
            raise ToolError(f"there is no service {arguments.name!r}; list_processes shows them") from None
        context.note(service.audit)
        return ToolOutcome(f"stopped {arguments.name}", touched=None)
