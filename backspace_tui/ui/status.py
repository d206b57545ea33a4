"""The parts of the status line, from a session's state: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import clean
from backspace_tui.ui.file_tree import Filter
from backspace_tui.ui.panes.bars import Part

if TYPE_CHECKING:
    from backspace_tui.sessions.review import Review


def before_session(title: str, models: tuple[str, ...], notice: str) -> list[Part]:
    """The line while there is no session yet."""
    chosen = ", ".join(models) or "no model"
    return [
        Part(clean(title), "strong", 2),
        Part(clean(chosen), "muted", 1),
        Part(clean(notice), "warn", 0),
        Part("enter: start   ?: keys" if not notice else "", "faint", 3),
    ]


def of_session(state: SessionState, review: Review | None, *, position: str = "", shown: Filter = "all") -> list[Part]:
    """The line of a session; ``position`` is the step of a replay, and behind a ``|`` its bar; ``shown`` the filter."""
    step, _, bar = position.partition("|")
    parts = [Part(step, "title"), Part(bar, "muted", 6)]
    parts.append(_stage(state))
    parts.append(Part(_short_model(state.model), "muted", 4))
    parts.append(Part(cost(state), "muted", 5))
    if review is not None and review.total:
        style = "good" if review.decided == review.total else "accent"
        parts.append(Part(f"{review.decided} of {review.total} decided", style, 1))
    if shown != "all":
        parts.append(Part(f"filter: {shown}", "accent", 1))
    parts.append(_verified(state))
    if state.request is not None:
        stale = state.request_stale
        parts.append(Part("pull request stale" if stale else "pull request", "warn" if stale else "good", 3))
    parts.append(_sandbox(state))
    return [part for part in parts if part.text]


def _stage(state: SessionState) -> Part:
    attempt = f" {state.attempt}/3" if state.attempt > 1 else ""
    stage = f"{state.stage.replace('_', ' ')}{attempt}"
    match state.status:
        case "new":
            return Part("starting", "muted")
        case "paused":
            return Part(f"{stage} paused", "alert")
        case "failed":
            return Part(f"failed: {clean(state.error)}" if state.error else "failed", "bad")
        case "stopped":
            return Part(f"{stage} stopped", "warn")
        case "waiting" if state.question is not None:
            return Part("waits for your answer", "alert")
        case "done":
            return Part("done", "good")
        case _:
            return Part(stage, "title")


def cost(state: SessionState) -> str:
    """What the models cost so far, of the budget if there is one."""
    if not state.turns:
        return ""
    budget: Any = (state.started.settings if state.started else {}).get("budget", {})
    limit = budget.get("usd") if isinstance(budget, Mapping) else None
    text = f"${state.usd:.2f}"
    if isinstance(limit, int | float) and limit > 0:
        text += f" of ${limit:.2f}"
    if state.unpriced:
        text = f"{state.tokens:,} tokens" if not state.usd else f"{text} + {state.unpriced} unpriced"
    return text


def _verified(state: SessionState) -> Part:
    if state.verifying:
        return Part("verifying ...", "accent", 2)
    verdict = state.verdict
    if verdict is not None:
        word, style = {
            "passes": ("verified ok", "good"),
            "fails as before": ("fails as before", "warn"),
            "newly fails": ("newly fails", "bad"),
        }.get(verdict.verdict, ("not verified", "warn"))
        return Part(word, style, 2)
    if state.verdicts and state.accepted_tree != state.base_tree:
        return Part("verified stale", "warn", 2)
    return Part("", "muted", 2)


def _sandbox(state: SessionState) -> Part:
    label = clean(state.sandbox)
    weak = "reduced" in label or "no isolation" in label
    return Part(label, "alert" if weak else "muted", 0 if weak else 3)


def _short_model(name: str) -> str:
    return clean(name).rsplit("/", 1)[-1]
