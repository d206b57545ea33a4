"""The agent's services over the life of a session: a sandbox that was started anew does not hold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backspace_tui.core import events as ev

if TYPE_CHECKING:
    from backspace_tui.engine.job import Job


def believed(events: Iterable[ev.AnyEvent]) -> tuple[str, ...]:
    """The services that the agent started and did not stop, as far as it was told; in order."""
    names: dict[str, str] = {}
    running: dict[str, None] = {}
    for event in events:
        match event:
            case ev.ToolStarted(tool="start_service" | "stop_service"):
                names[event.call_id] = str(event.arguments.get("name", ""))
            case ev.ToolFinished(tool="start_service", ok=True):
                running[names.get(event.call_id, "")] = None
            case ev.ToolFinished(tool="stop_service", ok=True):
                running.pop(names.get(event.call_id, ""), None)
            case ev.Message(about="services"):
                running.clear()
            case _:
                pass
    return tuple(name for name in running if name)


def tell_lost(job: Job) -> None:
    """Tell the agent once that its services are gone, where the sandbox is not the one that it started them in."""
    names = believed(job.recorder.events)
    if not names or {service.name for service in job.workspace.box.list_processes()} & set(names):
        return
    them = f"The service {names[0]} is" if len(names) == 1 else f"The services {', '.join(names)} are"
    job.recorder.emit(
        ev.Message(
            role="program",
            kind="steer",
            about="services",
            text=f"{them} gone: the sandbox was started anew from its last snapshot. "
            "Start what you still need with start_service.",
        )
    )
