"""``backspace-tui sessions prune``: removing sessions by age, size or number."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from backspace_tui.core.pruning import Candidate, Plan, Rule
from backspace_tui.core.sizes import parse_size, parse_time, show_megabytes
from backspace_tui.paths import sessions_dir
from backspace_tui.sessions import pruning, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.table import row

DESCRIPTION: Final = """\
Remove sessions that meet every criterion given. Never one that runs, and one with accepted work that is in no commit
only with --force."""

T = TypeVar("T")


def main(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Read the command line, say what goes, ask, and remove it; returns the exit code."""
    parser.add_argument("--older-than", metavar="TIME", help="nothing happened in it for so long: 30d, 12h")
    parser.add_argument("--larger-than", metavar="SIZE", help="it takes more on disk: 500m, 2g")
    parser.add_argument("--keep", type=int, metavar="N", help="leave the newest N alone")
    parser.add_argument("--force", action="store_true", help="also those with accepted work that is in no commit")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    rule = Rule(
        older_than=_parsed("--older-than", parse_time, options.older_than),
        larger_than=_parsed("--larger-than", parse_size, options.larger_than),
        keep=options.keep,
        force=options.force,
    )
    if rule.empty:
        raise SessionError("say what may go: --older-than 30d, --larger-than 500m or --keep 20", 2)
    if rule.keep is not None and rule.keep < 0:
        raise SessionError("--keep: give 0 or more", 2)
    sessions = store.list_sessions()
    chosen = pruning.choose(sessions, rule)
    _say(chosen, sessions, would=options.dry_run)
    if not chosen.doomed or options.dry_run:
        return 0
    if not options.yes and not _confirmed(len(chosen.doomed)):
        print("nothing was removed")
        return 0
    gone, freed, stayed = pruning.carry_out(sessions_dir(), chosen, rule)
    for line in stayed:
        print(line, file=sys.stderr)
    print(f"{_count(gone)} removed, {show_megabytes(freed)} freed")
    return 1 if stayed else 0


def _parsed(option: str, parse: Callable[[str], T], text: str | None) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as problem:
        raise SessionError(f"{option}: {problem}", 2) from None


def _say(chosen: Plan, sessions: Sequence[store.SessionInfo], *, would: bool) -> None:
    rows = {session.id: row(session) for session in sessions}

    def line(item: Candidate, why: str) -> str:
        cells = rows[item.id]
        return f"{item.id}  {cells.age:>4}  {show_megabytes(item.size):>9}  {cells.title}{why}"

    for item in chosen.doomed:
        print(line(item, ""))
    for item in chosen.running:
        print(line(item, "  (stays: it is running)"))
    for item in chosen.unsaved:
        print(line(item, "  (stays: accepted work is in no commit; --force takes it too)"))
    verb = "would be removed" if would else "to remove"
    print(f"{_count(len(chosen.doomed))} {verb}, {show_megabytes(chosen.size)}")


def _confirmed(count: int) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SessionError("there is nobody to ask: add --yes to remove them, --dry-run to look", 2)
    return input(f"Remove {_count(count)} for good? [y/N] ").strip().casefold() in ("y", "yes")


def _count(number: int) -> str:
    return "1 session" if number == 1 else f"{number} sessions"
