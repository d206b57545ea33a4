"""Which services the agent believes in, told from the log alone."""

from __future__ import annotations

from backspace_tui.core import events as ev
from backspace_tui.engine.services import believed


def made(tool: str, name: str, *, ok: bool = True, call: str = "") -> list[ev.AnyEvent]:
    call_id = call or f"{tool} {name}"
    return [
        ev.ToolStarted(call_id=call_id, tool=tool, arguments={"name": name}),
        ev.ToolFinished(call_id=call_id, tool=tool, ok=ok, text=""),
    ]


LOST: list[ev.AnyEvent] = [ev.Message(role="program", kind="steer", about="services", text="gone")]


def test_services_count_from_their_start_to_their_stop() -> None:
    web, db = made("start_service", "web"), made("start_service", "db")
    assert believed([]) == ()
    assert believed(web + db) == ("web", "db")
    assert believed(web[:1]) == ()
    assert believed(made("start_service", "web", ok=False)) == ()
    assert believed(web + db + made("stop_service", "web")) == ("db",)
    assert believed(web + made("stop_service", "web", ok=False)) == ("web",)
    assert believed(made("run_command", "web")) == ()


def test_what_was_told_to_be_gone_is_not_told_again() -> None:
    web = made("start_service", "web")
    assert believed(web + LOST) == ()
    assert believed(web + LOST + made("start_service", "web", call="2")) == ("web",)
    other: list[ev.AnyEvent] = [ev.Message(role="user", kind="steer", text="go on")]
    assert believed(web + other) == ("web",)
