"""The scripted review: everything that the keys do, with stable hunk ids."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final, TextIO

from backspace_tui import headless
from backspace_tui.core import commands as cmd
from backspace_tui.core.events import StageStarted
from backspace_tui.core.stages import AGENT_STAGES, RESTING
from backspace_tui.core.state import SessionState, apply, fold
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, review, to_json

OPEN: Final = ("pending", "reviewed", "changed")

Commands = list[cmd.AnyCommand]


def run(options: argparse.Namespace) -> int:
    """``backspace-tui review``: decisions first, then verification or the request, then the review is printed."""
    directory = store.find(options.session)
    decisions = _decisions(directory, options)
    if decisions:
        _decide(directory, decisions)
    exit_code = 0
    if work := _next(directory, decisions, options):
        exit_code = _carry_out(directory, work, sys.stderr if options.json else sys.stdout)
    _print(directory, as_json=options.json)
    return exit_code


def _decisions(directory: Path, options: argparse.Namespace) -> Commands:
    """What is asked for, in the order of the help. Ids are looked at first, so that a wrong one changes nothing."""
    _, shown = load(directory)
    comments = [_comment(item) for item in options.comment]
    if not options.undo:
        named = [*options.unstage, *options.reject, *options.accept, *(hunk for hunk, _ in comments)]
        _check_ids(shown, named)
    found: Commands = []
    if options.undo:
        found.append(cmd.Undo())
    if options.unstage:
        found.append(cmd.Decide(hunks=_ids(shown, options.unstage, ("accepted",)), action="unstage"))
    found += [cmd.Decide(hunks=(hunk,), action="comment", comment=text) for hunk, text in comments]
    rejected = _ids(shown, options.reject, OPEN)
    if rejected:
        found.append(cmd.Decide(hunks=rejected, action="reject"))
    if options.accept:
        ids = _ids(shown, options.accept, OPEN, protected=options.accept_protected)
        if "all" in options.accept:
            ids = tuple(name for name in ids if name not in rejected)
        found.append(cmd.Decide(hunks=ids, action="accept", accept_protected=options.accept_protected))
    return [item for item in found if not isinstance(item, cmd.Decide) or item.hunks]


def _comment(given: str) -> tuple[str, str]:
    hunk, equals, text = given.partition("=")
    if not equals or not text.strip():
        raise SessionError(f"--comment {given!r} is not HUNK=TEXT", 2)
    return hunk, text


def _check_ids(shown: Review, given: list[str]) -> None:
    known = {item.hunk.id for file in shown.files for item in file.hunks}
    for name in given:
        if name != "all" and name not in known:
            raise SessionError(f"there is no hunk {name} in this review; --json lists them, nothing was decided", 2)


def _ids(shown: Review, given: list[str], states: tuple[str, ...], *, protected: bool = True) -> tuple[str, ...]:
    """The hunks that are named; ``all`` stands for every one in a state that allows the action."""
    if "all" not in given:
        return tuple(given)
    return tuple(
        item.hunk.id
        for file in shown.files
        for item in file.hunks
        if item.state in states and (protected or not file.protected)
    )


def load(directory: Path) -> tuple[SessionState, Review]:
    """A session's state and review as its log stands."""
    state = fold(read_events(directory))
    with Objects(directory / "repo.git") as objects:
        return state, review(objects, state)


def _decide(directory: Path, decisions: Commands) -> None:
    """Have the session's process record the decisions; one that has to be started for it does nothing else."""
    if not store.is_running(directory) and fold(read_events(directory)).stage not in RESTING:
        # It would go on with the agent's work, which nobody asked for.
        decisions = [*decisions, cmd.Quit()]
    if _send(directory, decisions):
        _until_gone(directory)


def _send(directory: Path, commands: Commands) -> bool:
    """Bring commands to the session's process; returns whether it was started for them and ends by itself.

    Raises:
        SessionError: one was refused (those before it stand), or the process does not start.
    """
    running = store.is_running(directory)
    try:
        return _try_to_send(directory, commands, running)
    except SessionError:
        # It ended, or another window started it, between the question and the call.
        if store.is_running(directory) == running:
            raise
    return _try_to_send(directory, commands, not running)


def _try_to_send(directory: Path, commands: Commands, running: bool) -> bool:
    if not running:
        client.launch(cmd.HostRequest(directory=str(directory), commands=tuple(commands), exit_when_waiting=True))
        return True
    with client.Client.connect(directory) as connection:
        for command in commands:
            if error := connection.send(command).error:
                raise SessionError(error)
    return False


def _until_gone(directory: Path) -> None:
    for _ in client.follow(directory):
        pass


def _next(directory: Path, decisions: Commands, options: argparse.Namespace) -> cmd.Verify | cmd.Publish | None:
    """What follows the decisions: what the options say, or the commit once nothing is left to decide."""
    if options.pull_request:
        return cmd.Publish(pull_request=True)
    if any(not isinstance(item, cmd.Decide) or item.action != "comment" for item in decisions):
        state, shown = load(directory)
        fresh = state.accepted_tree not in (state.base_tree, state.committed_tree)
        if fresh and shown.pending == 0 and state.stage in RESTING:
            return cmd.Publish(pull_request=False)
    return cmd.Verify() if options.verify else None


def _carry_out(directory: Path, command: cmd.Verify | cmd.Publish, output: TextIO) -> int:
    state = fold(read_events(directory))
    if state.accepted_tree == state.base_tree:
        raise SessionError("nothing is accepted yet; accept a hunk first")
    before = state.last_seq
    if not store.is_running(directory) and state.stage not in RESTING:
        # What was cut off after the review goes on by itself; an agent that was cut off has done what it has done.
        _send(directory, [cmd.Stop()] if state.stage in AGENT_STAGES else [])
        state = _follow(directory, before, output, to_the_end=True)
        if state.status == "failed" or _is_done(state, command):
            return _outcome(state, command)
        before = state.last_seq
    started_here = _send(directory, [command])
    return _outcome(_follow(directory, before, output, to_the_end=started_here), command)


def _follow(directory: Path, before: int, output: TextIO, *, to_the_end: bool) -> SessionState:
    """Print what happens after the event ``before``, until the work that was asked for is over."""
    state = SessionState()
    worked = False
    for event in client.follow(directory):
        state = apply(state, event)
        if event.seq <= before:
            continue
        if line := headless.describe(event):
            print(line, file=output, flush=True)
        worked = worked or (isinstance(event, StageStarted) and event.stage not in RESTING)
        rests = worked and state.stage in RESTING and state.stage_open
        if not to_the_end and (rests or state.status in ("failed", "stopped")):
            break
    return state


def _is_done(state: SessionState, command: cmd.Verify | cmd.Publish) -> bool:
    if isinstance(command, cmd.Verify):
        return state.verdict is not None
    if state.accepted_tree != state.committed_tree:
        return False
    return not command.pull_request or (state.request is not None and state.request.commit == state.commit)


def _outcome(state: SessionState, command: cmd.Verify | cmd.Publish) -> int:
    """The exit code, with the line that goes with it on stderr."""
    verdict = state.verdict
    if verdict is not None and verdict.verdict == "newly fails":
        print("backspace-tui: the accepted changes make tests fail that passed before", file=sys.stderr)
        return 3
    if _is_done(state, command):
        return 0
    print(f"backspace-tui: {state.error or 'the session ended before it was done'}", file=sys.stderr)
    return state.exit_code if state.status == "failed" and state.exit_code else 1


def _print(directory: Path, *, as_json: bool) -> None:
    state, shown = load(directory)
    if as_json:
        print(json.dumps(to_json(shown, state), ensure_ascii=True))
        return
    for file in shown.files:
        mark = "  runs on someone's machine" if file.protected else ""
        print(f"{visible(file.path)}  {file.state}{mark}")
        for item in file.hunks:
            print(f"  {item.hunk.id}  {item.state}" + (f"  ({clean(item.comment)})" if item.comment else ""))
            for sign, text in item.hunk.lines:
                print(f"    {sign}{clean(text)}".rstrip("\n"))
    print(f"{shown.decided} of {shown.total} hunks decided" if shown.total else "no changes")
    left = sum(item.state in OPEN for file in shown.files if file.protected for item in file.hunks)
    if left:
        print(f"{left} of the undecided run on someone's machine; --accept-protected accepts them as well")
    if state.verdict is not None:
        print(f"tests: {state.verdict.verdict}")
