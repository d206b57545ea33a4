"""A session as one row of a table: the same words in a terminal's list and in the window."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from backspace_tui.core.spending import money
from backspace_tui.core.summary import Summary
from backspace_tui.core.terminal_text import visible
from backspace_tui.sessions.store import SessionInfo

RUNS: Final = "\N{BLACK CIRCLE}"
"""Stands before the state of a session whose process runs."""

_VERDICTS: Final = {
    "passes": "passes", "fails as before": "as before", "newly fails": "fails", "not verified": "untested",
}  # fmt: skip
_AGES: Final = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "m"))

LEAST_TITLE: Final = 16
_GAP: Final = 2


class Row(NamedTuple):
    """The cells of one session; texts are clean, and one line each."""

    id: str
    state: str
    age: str
    cost: str
    hunks: str
    verdict: str
    request: str
    title: str
    repository: str


HEADER: Final = Row("ID", "STATE", "AGE", "COST", "HUNKS", "TESTS", "PR", "TITLE", "REPOSITORY")

_RIGHT: Final = frozenset({"age", "cost", "hunks"})
_LESS: Final = ("repository", "request", "cost", "verdict", "hunks", "age")
"""What is left out first where there is no room."""


def row(info: SessionInfo, now: float | None = None) -> Row:
    """The cells of ``info`` at ``now`` (seconds since the epoch)."""
    summary = info.summary
    state = info.status if not info.running else f"{RUNS} {info.status}"
    seen = age(info.updated, time.time() if now is None else now)
    if summary is None:
        return Row(info.id, state, seen, "", "", "", "", visible(info.title), "")
    hunks = f"{summary.decided}/{summary.hunks}" if summary.hunks is not None else str(summary.decided or "")
    if not summary.hunks and not summary.decided:
        hunks = ""
    return Row(
        id=info.id,
        state=state,
        age=seen,
        cost=cost(summary.usd, summary.unpriced),
        hunks=hunks,
        verdict=_VERDICTS.get(summary.verdict, visible(summary.verdict)),
        request=_request(summary),
        title=visible(info.title),
        repository=visible(info.repository),
    )


def _request(summary: Summary) -> str:
    """The pull request's number, or where it is; with ``!`` when decisions since then are not in it."""
    if not summary.requested:
        return ""
    local = summary.request.startswith("local:")
    mark = f"#{summary.request_number}" if summary.request_number else "local" if local else "url"
    return mark + ("!" if summary.request_stale else "")


def cost(usd: float, unpriced: int) -> str:
    """An amount; a ``+`` says that some calls' price is not known, nothing that nothing was spent."""
    if usd <= 0:
        return "?" if unpriced else ""
    return money(usd) + ("+" if unpriced else "")


def age(when: datetime, now: float) -> str:
    """How long ago ``when`` was, in one unit: ``3h``."""
    seconds = max(0.0, now - when.timestamp())
    for length, unit in _AGES:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


class Columns(NamedTuple):
    """The columns that there is room for, by name, and how wide each is."""

    widths: dict[str, int]

    def line(self, cells: Row) -> str:
        """The row as one line; a cell that is too long ends in an ellipsis."""
        return (" " * _GAP).join(self.cell(name, getattr(cells, name)) for name in self.widths).rstrip()

    def cell(self, name: str, text: str) -> str:
        """One cell, as wide as its column."""
        width = self.widths[name]
        text = shortened(text, width)
        rest = " " * (width - cell_width(text))
        return rest + text if name in _RIGHT else text + rest


def fit(rows: Sequence[Row], width: int | None, *, without: Sequence[str] = (), header: bool = True) -> Columns:
    """The columns of ``rows`` for a terminal of ``width`` columns (``None``: as wide as they are).

    The title takes what is left. Columns that would leave less than :data:`LEAST_TITLE` to it are left out, the
    repository first. A column without content is left out too.
    """
    shown = [*rows, HEADER] if header else rows
    widths = {}
    for name in Row._fields:
        if name not in without and any(getattr(cells, name) for cells in rows):
            widths[name] = max(cell_width(getattr(cells, name)) for cells in shown)
    if width is None or not widths:
        return Columns(widths)

    def left(names: Sequence[str]) -> int:
        return width - sum(widths[name] + _GAP for name in names if name in widths and name != "title")

    title = widths.get("title", 0)
    if "repository" in widths and left(tuple(widths)) < title:
        # A path says enough by its end.
        widths["repository"] = max(12, widths["repository"] - (title - left(tuple(widths))))
    for name in _LESS:
        if left(tuple(widths)) >= min(title, LEAST_TITLE):
            break
        widths.pop(name, None)
    if "title" in widths:
        widths["title"] = max(1, min(title, left(tuple(widths))) if "repository" in widths else left(tuple(widths)))
    return Columns(widths)


def cell_width(text: str) -> int:
    """The terminal columns that ``text`` takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shortened(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns; a path keeps its end."""
    if cell_width(text) <= width:
        return text
    if text.startswith(("/", "~", "https:", "ssh:")):
        while text and cell_width(text) > width - 1:
            text = text[1:]
        return "\N{HORIZONTAL ELLIPSIS}" + text
    while text and cell_width(text) > width - 1:
        text = text[:-1]
    return text + "\N{HORIZONTAL ELLIPSIS}"
