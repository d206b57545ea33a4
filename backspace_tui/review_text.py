"""The scripted review in words: files, hunks with their states, and why a hunk came to be."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TextIO

from backspace_tui.core import units
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.failing import failing
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, ReviewHunk, review
from backspace_tui.sessions.why import why

_CHANGED: Final = {
    "seen": "changed since you looked",
    "accepted": "changes lines that you accepted",
    "rejected": "made again after you rejected it",
}


def write(shown: Review, state: SessionState, output: TextIO) -> None:
    """Print the whole review; positions of lines are those that name a unit."""
    lines = failing(state.verdict, [file.path for file in shown.files])
    for file in shown.files:
        source = f"  renamed from {visible(file.renamed_from)}" if file.renamed_from else ""
        mark = "  runs on someone's machine" if file.protected else ""
        print(f"{visible(file.path)}  {file.state}{source}{mark}", file=output)
        for item in file.hunks:
            _hunk(item, output)
        for line in lines.get(file.path, ()):
            print(f"    tests: {clean(line)}", file=output)
    print(f"{shown.decided} of {shown.total} hunks decided" if shown.total else "no changes", file=output)
    _left(shown, output)
    if state.verdict is not None:
        print(f"tests: {state.verdict.verdict}", file=output)


def _hunk(item: ReviewHunk, output: TextIO) -> None:
    notes = [_CHANGED.get(item.changed, "")]
    if item.kept:
        notes.append("the agent's version; yours is accepted")
    if item.redo:
        notes.append("another version was asked for" if item.state == "rejected" else "the version you asked for")
    notes.append(clean(item.comment))
    said = "; ".join(note for note in notes if note)
    print(f"  {item.hunk.id}  {item.state}" + (f"  ({said})" if said else ""), file=output)
    partly = item.rejected if item.rejected != units.changed(item.hunk) else frozenset()
    width = len(str(len(item.hunk.lines)))
    for position, (sign, text) in enumerate(item.hunk.lines, start=1):
        note = "  (rejected)" if position in partly else ""
        print(f"    {position:>{width}} {sign}{clean(text)}".rstrip("\n") + note, file=output)


def _left(shown: Review, output: TextIO) -> None:
    """What ``all`` leaves to be named."""
    opened = [(file, item) for file in shown.files for item in file.hunks if item.open]
    if count := sum(file.protected for file, _ in opened):
        print(
            f"{count} of the undecided run on someone's machine; --accept-protected accepts them as well", file=output
        )
    if count := sum(not item.sweeping for _, item in opened):
        print(
            f"{count} of the undecided changed after you decided; 'all' leaves them out, name them by id", file=output
        )


def tell_why(directory: Path, name: str, output: TextIO) -> None:
    """Print the thought, the tool call and its result that made a hunk.

    Raises:
        SessionError: there is no such hunk, or nothing is known of it.
    """
    events = read_events(directory)
    state = fold(events)
    with Objects(directory / "repo.git") as objects:
        shown = review(objects, state)
    wanted = name.partition(":")[0].partition("/")[0]
    found = next((item for file in shown.files for item in file.hunks if item.hunk.id == wanted), None)
    if found is None:
        raise SessionError(f"there is no hunk {wanted} in this review; --json lists them", 2)
    made = why(events, found.why)
    if made is None:
        raise SessionError(f"the log does not tell what made hunk {wanted}", 1)
    parts = (("step", str(found.why)), ("thought", made.thought), ("call", made.title), ("result", made.result))
    for label, text in parts:
        for line in clean(text).strip().split("\n") if text else ():
            print(f"{label:<8} {line}", file=output)
            label = ""
