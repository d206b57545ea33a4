"""The recorded sessions: where they lie, how they are unpacked, and everything that a program reads out of one."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.sessions.log import LOG_NAME, read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import review
from backspace_tui.sessions.timeline import Timeline

FORMATS: Final = Path(__file__).parent
PACK: Final = "objects.pack"
EXPECTED: Final = "expected.json"
SESSIONS: Final = sorted(folder.parent for folder in FORMATS.glob(f"*/*/{LOG_NAME}"))


def unpack(stored: Path, folder: Path) -> Path:
    """A directory of a session as the program makes it, from a stored one."""
    folder.mkdir()
    (folder / LOG_NAME).write_bytes((stored / LOG_NAME).read_bytes())
    repository = folder / "repo.git"
    subprocess.run(["git", "init", "-q", "--bare", repository], check=True)
    with (stored / PACK).open("rb") as pack:
        subprocess.run(["git", "-C", repository, "index-pack", "--stdin"], stdin=pack, check=True, capture_output=True)
    return folder


def summary(folder: Path) -> dict[str, Any]:
    """What the program makes of the session in ``folder``: its end, its steps, its review after each decided group."""
    events = read_events(folder)
    timeline = Timeline(events)
    reviews: dict[str, Any] = {}
    with Objects(folder / "repo.git") as objects:
        for index, event in enumerate(events):
            state = timeline.state_at(index)
            if not state.accepted_tree or isinstance(events[min(index + 1, len(events) - 1)], ev.Decision):
                continue
            if isinstance(event, ev.Decision | ev.SessionFinished):
                reviews[str(event.seq)] = _reviewed(objects, state)
    return {
        "events": dict(sorted(Counter(event.__struct_config__.tag for event in events).items())),
        "end": _end(timeline.state_at(len(events) - 1)),
        "steps": [_step(events, index, timeline.state_at(index)) for index in timeline.steps()],
        "reviews": reviews,
    }


def _end(state: SessionState) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(state, str_keys=True)
    # Each is an event of the log as it stands there.
    for name in ("started", "request", "baseline", "unheard"):
        found[name] = found[name] and found[name]["seq"]
    found["edits"] = {path: [edit["seq"] for edit in edits] for path, edits in found["edits"].items()}
    found["rejected"] = {
        seq: [item["path"], item["applied"], item["overtaken"], item["redo"]] for seq, item in found["rejected"].items()
    }
    found["restorations"] = [item["seq"] for item in found["restorations"]]
    found["verdicts"] = {tree: verdict["verdict"] for tree, verdict in found["verdicts"].items()}
    found["standing"] = [[decision["seq"] for decision in group] for group in found["standing"]]
    found["marks"] = sorted(found["marks"], key=int)
    found["voided"] = sorted(found["voided"], key=int)
    return found


def _step(events: Sequence[ev.AnyEvent], index: int, state: SessionState) -> list[Any]:
    tag = events[index].__struct_config__.tag
    return [state.last_seq, tag, state.stage_now, state.status, state.accepted_tree[:10], state.work_tree[:10]]


def _reviewed(objects: Objects, state: SessionState) -> dict[str, list[str]]:
    return {
        f"{file.path}: {file.state}": [
            f"{one.hunk.id} {one.state} why {one.why}{f' ({one.comment})' if one.comment else ''}" for one in file.hunks
        ]
        for file in review(objects, state).files
    }
