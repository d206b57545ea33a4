"""The workflow as a transition table: what follows each stage's outcome, and how often it may be tried."""

from __future__ import annotations

from typing import Final, Literal

Stage = Literal[
    "prepare", "analyze", "plan", "implement", "critique", "review", "verify", "commit", "push", "pull_request",
    "done",
]  # fmt: skip
Outcome = Literal["ok", "revise", "refused", "retry", "failed", "again", "stopped"]

STAGES: Final[tuple[Stage, ...]] = (
    "prepare", "analyze", "plan", "implement", "critique", "review", "verify", "commit", "push", "pull_request",
    "done",
)  # fmt: skip

AGENT_STAGES: Final[tuple[Stage, ...]] = ("prepare", "analyze", "plan", "implement", "critique")
"""In these a stop ends the agent's work; in the others it ends the process."""

RESTING: Final[tuple[Stage, ...]] = ("review", "done")
"""In these the session waits for the human."""

MAX_ATTEMPTS: Final = 3
"""How often one stage is run before its failure ends the session."""

MAX_REVISIONS: Final = 3
"""How often the critique may send the work back."""

NEXT: Final[dict[tuple[Stage, Outcome], Stage]] = {
    ("prepare", "ok"): "analyze",
    ("analyze", "ok"): "plan",
    ("plan", "ok"): "implement",
    ("implement", "ok"): "critique",
    ("critique", "ok"): "review",
    ("critique", "revise"): "implement",
    # A follow-up prompt or a redo request during review goes back to the agent.
    ("review", "revise"): "implement",
    # Stopping the agent keeps what it did for the review.
    ("analyze", "stopped"): "review",
    ("plan", "stopped"): "review",
    ("implement", "stopped"): "review",
    ("critique", "stopped"): "review",
    ("review", "ok"): "verify",
    ("verify", "ok"): "commit",
    # The user only asked for the verdict.
    ("verify", "again"): "review",
    # The accepted tree fails what the base passed.
    ("verify", "refused"): "review",
    ("commit", "ok"): "push",
    ("push", "ok"): "pull_request",
    ("pull_request", "ok"): "done",
    # A decision after the commit reopens the review.
    ("done", "again"): "review",
    ("done", "revise"): "implement",
    # A fork makes a commit of its own in the place of its source's.
    ("push", "again"): "commit",
    ("pull_request", "again"): "commit",
    # One that was asked for more does that first.
    ("commit", "again"): "review",
}


def after(stage: Stage, outcome: Outcome, revisions: int = 0) -> Stage:
    """The stage that follows ``stage`` when it ended with ``outcome``.

    ``retry`` stays on the stage. ``revisions`` counts how often the critique has sent the work back already;
    past :data:`MAX_REVISIONS` the work goes to the human as it is.

    Raises:
        KeyError: the table has no such transition (``failed`` ends the run instead).
    """
    if outcome == "retry":
        return stage
    if stage == "critique" and outcome == "revise" and revisions >= MAX_REVISIONS:
        return "review"
    return NEXT[stage, outcome]


def backoff(attempt: int) -> float:
    """Seconds to wait before attempt ``attempt + 1`` of a failed stage: 0.5, 1, 2, ..."""
    return float(0.5 * 2 ** (attempt - 1))
