"""A session's process that kills itself: the real host with a plain model client, and SIGKILL at chosen log writes.

``CRASH_PLAN`` names a folder: ``mode`` says how to die (see :func:`die_at`), ``seen`` holds the positions where it has
died before, so that a session which is started again and again dies once at each.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backspace_tui import wiring
from backspace_tui.core import events as ev
from backspace_tui.core.protocols import (
    Cancelled,
    CancelToken,
    ChatMessage,
    Estimate,
    Failure,
    ModelObserver,
    ModelReply,
    ModelRequest,
    ModelUnavailable,
    ToolCall,
)  # fmt: skip
from backspace_tui.core.redact import Redactor
from backspace_tui.engine import host
from backspace_tui.engine.job import Parts
from backspace_tui.models.prompts import load_prompts
from backspace_tui.sandbox.factory import Factory
from backspace_tui.sessions.client import read_request
from backspace_tui.sessions.errors import storage_error
from backspace_tui.sessions.log import EventLog


class PlainModel:
    """One request over HTTP a turn, without a library, so that a process starts in no time.

    ``window`` is how many tokens it says that it takes together (0: it does not say).
    """

    names = ("test",)

    def __init__(self, url: str, window: int = 0) -> None:
        self._url = urlsplit(url)
        self._window = window

    def estimate(self, request: ModelRequest) -> Estimate:
        if not self._window:
            return Estimate("test")
        tokens = len(json.dumps([_message(item) for item in request.messages])) // 4
        return Estimate("test", tokens, window=self._window)

    def complete(self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken) -> ModelReply:
        observer.may_call(self.estimate(request))
        observer.called("test", 1)
        tools = [{"type": "function", "function": {"name": tool.name, "parameters": {}}} for tool in request.tools]
        body: dict[str, Any] = {"model": "test", "messages": [_message(item) for item in request.messages]}
        connection = http.client.HTTPConnection(self._url.netloc, timeout=60)
        connection.connect()
        forget = cancel.on_cancel(lambda: connection.sock.shutdown(2))
        try:
            headers = {"Content-Type": "application/json", "Connection": "close"}
            data = json.dumps(body | ({"tools": tools} if tools else {}))
            connection.request("POST", f"{self._url.path}/chat/completions", data, headers)
            answer = json.loads(connection.getresponse().read())
            if answer.get("error", {}).get("code") == "context_length_exceeded":
                observer.failed(Failure("test", "context", "the conversation is too long"))
                raise ModelUnavailable("test: the conversation is too long")
            choice = answer["choices"][0]["message"]
        except (OSError, http.client.HTTPException, ValueError, KeyError) as problem:
            if cancel.cancelled:
                raise Cancelled from None
            observer.failed(Failure("test", "refused", str(problem)))
            raise ModelUnavailable(f"test: {problem}") from None
        finally:
            forget()
            connection.close()
        text = choice.get("content") or ""
        observer.streamed("text", text or "(thinking)")
        calls = tuple(
            ToolCall(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in choice.get("tool_calls", ())
        )
        return ModelReply("test", text, calls, tokens_in=100, tokens_out=20, usd=0.01, seconds=0.1)


def _message(item: ChatMessage) -> dict[str, Any]:
    result: dict[str, Any] = {"role": item.role, "content": item.text}
    if item.tool_calls:
        result["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
            for c in item.tool_calls
        ]
    if item.tool_call_id:
        result["tool_call_id"] = item.tool_call_id
    return result


def position(event: ev.AnyEvent, stage: str) -> str:
    """What kind of moment the writing of ``event`` is: its type, its stage, and what it is about."""
    stage = event.stage if isinstance(event, ev.StageStarted) else stage
    about: object = ""
    match event:
        case ev.StageFinished():
            about = event.outcome
        case ev.Message():
            about = (event.kind, event.text[:40])
        case ev.ToolStarted():
            about = (event.tool, *(event.arguments.get(name) for name in ("path", "command")))
        case ev.ToolFinished():
            about = (event.tool, event.text[:20])
        case ev.FileEdit():
            about = event.path
        case ev.Decision():
            about = (event.action, event.path)
        case ev.Verification():
            about = event.verdict
        case ev.GitOperation():
            about = (event.operation, event.commit[:7])
        case _:
            pass
    return f"{type(event).__name__} {stage} {about}"


def again(event: ev.AnyEvent) -> bool:
    """Whether a process that goes on writes it once more before it gets any further than the one that died."""
    match event:
        case ev.GitOperation(operation="commit" | "push") | ev.Verification(verdict="running"):
            return True
        case ev.Message(kind="plan") | ev.Message(role="program", kind="notice"):
            return True
        case ev.ModelReplied(stage="plan" | "critique"):
            return True
        case ev.StageStarted() | ev.ModelCalled() | ev.ToolStarted() | ev.ToolOutput() | ev.AgentThinking():
            return True
        case _:
            return isinstance(event, ev.PrCreation | ev.Error)


def die_at(plan: Path) -> None:
    """Die by SIGKILL at the first write of each new position: ``after`` it, or with ``torn`` inside it or before.

    With ``full`` the write fails as on a full disk, and the next one succeeds.

    With ``every`` in the mode, every event of the session is a position of its own, not only each kind. As long as the
    plan holds a file ``calm``, nothing dies.
    """
    mode, _, every = (plan / "mode").read_text().partition(" ")
    seen_file, calm = plan / "seen", plan / "calm"
    only = (plan / "only").read_text().splitlines() if (plan / "only").exists() else None
    extend, write = EventLog.extend, EventLog._write
    stage = "prepare"
    doomed = ""

    def dying_extend(self: EventLog, events: Iterable[ev.AnyEvent]) -> list[ev.AnyEvent]:
        nonlocal stage, doomed
        events = list(events)
        key = (
            " + ".join(position(event, stage) for event in events)
            .replace("\n", " ")
            .encode(errors="backslashreplace")
            .decode()
        )
        if every:
            key += f" #{sum(not again(event) for event in self._events)}"
        seen = seen_file.read_text().splitlines() if seen_file.exists() else []
        if not calm.exists() and key not in seen and (only is None or any(key.startswith(item) for item in only)):
            with seen_file.open("a") as file:
                file.write(key + "\n")
            doomed = key
        stored = extend(self, events)
        if doomed:
            os.kill(os.getpid(), signal.SIGKILL)
        stage = next((e.stage for e in events if isinstance(e, ev.StageStarted)), stage)
        return stored

    def dying_write(self: EventLog, data: bytes, *, durable: bool) -> None:
        nonlocal doomed
        if doomed and mode == "full":
            doomed = ""
            raise storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), self.path)
        if doomed and mode == "torn":
            draw = hashlib.sha256(doomed.encode()).digest()
            cut = int.from_bytes(draw[:4]) % len(data) if draw[4] % 4 else 0
            os.write(self._descriptor, data[:cut])
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, data, durable=durable)

    EventLog.extend = dying_extend  # type: ignore[method-assign]
    EventLog._write = dying_write  # type: ignore[method-assign]


def make_parts(started: ev.SessionStarted) -> Parts:
    settings = wiring.settings_of(started)
    return Parts(
        model=PlainModel(os.environ["CRASH_URL"], int(os.environ.get("CRASH_WINDOW", "0"))),
        sandboxes=Factory(wiring.spec(started, settings)),
        forge=lambda remote, source: wiring.make_forge(remote, source, settings),
        prompts=load_prompts(),
        settings=settings,
        redactor=Redactor([], salt=(started.masks or started.session).encode()),
    )


def jumping(file: Path) -> Callable[[], datetime]:
    """A clock that goes on from process to process and jumps back by an hour at about every fifth look at it."""
    offset = float(file.read_text())

    def clock() -> datetime:
        nonlocal offset
        now = datetime.now(UTC)
        if now.microsecond % 5 == 0:
            offset -= 3600
            file.write_text(str(offset))
        return now + timedelta(seconds=offset)

    return clock


def main() -> int:
    if plan := os.environ.get("CRASH_PLAN"):
        die_at(Path(plan))
    jumps = os.environ.get("CRASH_CLOCK")
    clock = {"clock": jumping(Path(jumps))} if jumps else {}
    exit_code = host.run(read_request(sys.stdin.buffer.read()), make_parts, host.announce, **clock)
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
