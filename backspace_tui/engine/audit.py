"""What the log keeps of each command: who wanted it, and nothing secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from backspace_tui.core.protocols import Audit
from backspace_tui.core.terminal_text import clean, clip

if TYPE_CHECKING:
    from backspace_tui.engine.job import Job

COMMAND_LIMIT = 4_000


def audited(job: Job, audit: Audit, user: Literal["agent", "verifier", "setup", "user"]) -> Audit:
    """``audit`` as it may be logged: with its user, its command cleaned, masked and not too long."""
    command = job.parts.redactor.redact(clean(audit.command))
    return replace(audit, user=user, command=clip(command, COMMAND_LIMIT))
