"""The parts of the status line, from a session's state: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backspace_tui.core.spending import MODELS, REASON, Spent, count, extended, limits_of, money
from backspace_tui.core.stages import RESTING
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


def of_session(
    state: SessionState,
    review: Review | None,
    *,
    position: str = "",
    shown: Filter = "all",
    read_only: bool = False,
) -> list[Part]:
    """The line of a session; ``position`` is the step of a replay with what else there is to say of it,
    parted by ``|``; ``shown`` the filter."""
    step, *rest = position.split("|")
    parts = [Part("read only" if read_only else "", "alert"), Part(step, "title")]
    parts += [Part(text, "muted", 1) for text in rest]
    parts.append(_stage(state))
    parts.append(Part(_short_model(state.model), "muted", 4))
    parts.extend(budget(state))
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
    # One that rests is begun anew whenever the session's process is.
    attempt = f" {state.attempt}/3" if state.attempt > 1 and state.stage not in RESTING else ""
    stage = f"{state.stage.replace('_', ' ')}{attempt}"
    match state.status:
        case "new":
            return Part("starting", "muted")
        case "paused":
            return Part(f"{stage} paused{_cause(state.paused)}", "alert")
        case "failed":
            return Part(f"failed: {clean(state.error)}" if state.error else "failed", "bad")
        case "stopped":
            return Part(f"{stage} stopped", "warn")
        case "waiting" if state.question is not None:
            return Part("waits for your answer", "alert")
        case "waiting" if state.paused:
            return Part(f"{stage} paused{_cause(state.paused)}", "alert")
        case "done":
            return Part("done", "good")
        case _:
            return Part(stage, "title")


def _cause(reason: str) -> str:
    """Why the program paused itself, in a word or two."""
    if reason.startswith(REASON):
        return ": budget"
    return ": no model answers" if reason.startswith(MODELS) else ""


def budget(state: SessionState) -> list[Part]:
    """What the models took so far, of what they may take; what gets near its limit stays longest."""
    spent = state.spent
    if not spent.turns and not spent.tokens:
        return []
    limits = extended(limits_of(state.started.settings if state.started else {}), spent)
    minutes = spent.minutes(state.last_time)
    shown = [_tokens(spent.tokens, limits.tokens)] if limits.tokens or (spent.unpriced and not spent.usd) else []
    if spent.usd or not spent.unpriced:
        shown.insert(0, _dollars(spent, limits.usd))
    if limits.turns:
        shown.append(_limited(f"{spent.turns} of {limits.turns:,.0f} turns", spent.turns / limits.turns, 7))
    if limits.minutes:
        shown.append(_limited(f"{minutes:.0f} of {count(limits.minutes)} min", minutes / limits.minutes, 7))
    return shown


def _dollars(spent: Spent, limit: float | None) -> Part:
    fine = limit is not None and limit < 0.1
    text = money(spent.usd) if fine else f"${spent.usd:.2f}"
    text += f" of {money(limit)}" if limit else ""
    text += f" + {spent.unpriced} unpriced" if spent.unpriced else ""
    return _limited(text, spent.usd / limit if limit else 0.0, 5)


def _tokens(tokens: int, limit: float | None) -> Part:
    text = f"{tokens:,} of {limit:,.0f} tokens" if limit else f"{tokens:,} tokens"
    return _limited(text, tokens / limit if limit else 0.0, 5)


def _limited(text: str, share: float, rank: int) -> Part:
    return Part(text, "warn", 3) if share >= 0.8 else Part(text, "muted", rank)


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
