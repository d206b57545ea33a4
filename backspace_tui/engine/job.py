"""What a stage works with, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from backspace_tui.config import Settings
from backspace_tui.core import commands as cmd
from backspace_tui.core.protocols import Audit, Forge, Model, SandboxFactory
from backspace_tui.core.redact import Redactor
from backspace_tui.core.stages import Outcome
from backspace_tui.core.state import SessionState
from backspace_tui.engine.cancel import Cancel
from backspace_tui.engine.recorder import Recorder

if TYPE_CHECKING:
    from backspace_tui.core.events import AnyEvent, SessionStarted
    from backspace_tui.engine.rollback import RollBack
    from backspace_tui.engine.user_commands import Asked
    from backspace_tui.engine.visit import Visit
    from backspace_tui.engine.workspace import Workspace
    from backspace_tui.repository.bare import BareRepository
    from backspace_tui.sessions.ledger import Ledger
    from backspace_tui.sessions.objects import Objects


class Progress:
    """Takes lines of slow work (an image being made) to whoever listens by then."""

    def __init__(self) -> None:
        self.listener: Callable[[str], None] | None = None
        self.auditor: Callable[[Audit], None] | None = None

    def __call__(self, line: str) -> None:
        if self.listener is not None:
            self.listener(line)

    def audit(self, audit: Audit) -> None:
        """A command of the project's setup ended."""
        if self.auditor is not None:
            self.auditor(audit)


@dataclass(frozen=True)
class Parts:
    """The outside, as the wiring hands it in.

    ``forge`` takes the remote's URL (or ``None``) and the checkout; ``refuse`` says why the model cannot take a
    prompt at all, or nothing.
    """

    model: Model
    sandboxes: SandboxFactory
    forge: Callable[[str | None, Path | None], Forge]
    prompts: Mapping[str, str]
    settings: Settings
    redactor: Redactor
    progress: Progress = field(default_factory=Progress)
    refuse: Callable[[str], str] = lambda _prompt: ""


class StageResult(msgspec.Struct, frozen=True):
    """How a stage ended: its outcome, a short text for the log, and what later stages need."""

    outcome: Outcome = "ok"
    detail: str = ""
    data: dict[str, Any] = {}


class StageFailed(Exception):
    """A stage cannot go on; the text is one line that says what happened and what to do."""

    def __init__(self, message: str, *, exit_code: int = 1, retryable: bool = False) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.retryable = retryable


class WaitsForPerson(Exception):
    """The process was told not to wait: it ends with exit code 4 and ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TurnPaused(Exception):
    """A turn ended in a pause that the log tells of; once a person resumed, the stage goes on from its log."""


class Stopped(Exception):
    """The user stopped the agent (``quit`` false) or the whole process (``quit`` true)."""

    def __init__(self, *, quit: bool) -> None:
        super().__init__("stopped")
        self.quit = quit


WorkCommand = cmd.Verify | cmd.Publish


@dataclass
class Control:
    """What the socket's thread tells the workflow's thread; guarded by the recorder's ``changed``.

    ``user`` is what the user wants in the sandbox, oldest first; ``visit`` the one window in its shell, or about to be;
    ``user_cancel`` ends the user's command that runs.
    """

    stop: bool = False
    quit: bool = False
    work: list[WorkCommand] = field(default_factory=list)
    windows: int = 0
    cancel: Cancel = field(default_factory=Cancel)
    user: list[Asked | RollBack | Visit] = field(default_factory=list)
    visit: Visit | None = None
    user_cancel: Cancel | None = None


@dataclass
class Job:
    """One session at work in this process."""

    directory: Path
    recorder: Recorder
    repository: BareRepository
    objects: Objects
    workspace: Workspace
    parts: Parts
    control: Control
    exit_when_waiting: bool
    idle_timeout: float
    review_lock: threading.RLock = field(default_factory=threading.RLock)
    ledger: Ledger | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    learned: str = ""

    @property
    def state(self) -> SessionState:
        return self.recorder.state

    @property
    def started(self) -> SessionStarted:
        """What the session was started with."""
        started = self.state.started
        if started is None:
            raise StageFailed("this session's log has no beginning; start a new session")
        return started

    def stage_data(self, stage: str) -> dict[str, Any]:
        """The data of the newest successful run of ``stage``, empty when there is none."""
        from backspace_tui.core.events import StageFinished

        for event in reversed(self.recorder.events):
            if isinstance(event, StageFinished) and event.stage == stage and event.outcome == "ok":
                return event.data
        return {}

    @property
    def published(self) -> str:
        """The tree that the human asked to verify or publish last: decisions made since then do not change it."""
        tree: str = self.stage_data("review").get("tree", self.state.accepted_tree)
        return tree

    def keep_account(self, event: AnyEvent) -> None:
        """Write what ``event`` cost into the ledger of all sessions."""
        if self.ledger is not None:
            self.ledger.add(event)

    def check_stop(self) -> None:
        """Raise :class:`Stopped` if the user wants it."""
        with self.recorder.changed:
            if self.control.quit or self.control.stop:
                raise Stopped(quit=self.control.quit)

    def end_stop(self) -> None:
        """The stop has been carried out; what comes next may run."""
        with self.recorder.changed:
            self.control.stop = False
            if not self.control.quit:
                self.control.cancel = Cancel()
