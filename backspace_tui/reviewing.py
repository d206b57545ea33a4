"""The scripted review: everything that the keys do, with stable hunk ids."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from backspace_tui import headless
from backspace_tui.core import commands as cmd
from backspace_tui.core.events import PrCreation
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, review, to_json

IDLE_SECONDS = 60.0
"""How long a process that was started for a script outlives one that was killed."""


def run(options: argparse.Namespace) -> int:
    """``backspace-tui review``: decisions first, then verification or the request, then the review is printed."""
    directory = store.find(options.session)
    decisions = _decisions(directory, options)
    exit_code = 0
    if decisions or options.verify or options.pull_request:
        exit_code = _carry_out(directory, decisions, options)
    _print(directory, as_json=options.json)
    return exit_code


def _decisions(directory: Path, options: argparse.Namespace) -> list[cmd.Decide | cmd.Undo]:
    found: list[cmd.Decide | cmd.Undo] = []
    if options.undo:
        found.append(cmd.Undo())
    if options.unstage:
        found.append(cmd.Decide(hunks=_ids(directory, options.unstage, ("accepted",)), action="unstage"))
    for item in options.comment:
        hunk, equals, text = item.partition("=")
        if not equals or not text.strip():
            raise SessionError(f"--comment {item!r} is not HUNK=TEXT", 2)
        found.append(cmd.Decide(hunks=(hunk,), action="comment", comment=text))
    open_states = ("pending", "reviewed", "changed")
    if options.reject:
        found.append(cmd.Decide(hunks=_ids(directory, options.reject, open_states), action="reject"))
    if options.accept:
        ids = _ids(directory, options.accept, open_states, protected=options.accept_protected)
        found.append(cmd.Decide(hunks=ids, action="accept", accept_protected=options.accept_protected))
    return [item for item in found if isinstance(item, cmd.Undo) or item.hunks]


def _ids(directory: Path, given: list[str], states: tuple[str, ...], *, protected: bool = True) -> tuple[str, ...]:
    """The hunks that are named; ``all`` stands for every one in a state that allows the action."""
    if given != ["all"]:
        return tuple(given)
    _, shown = load(directory)
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


def _carry_out(directory: Path, decisions: list[cmd.Decide | cmd.Undo], options: argparse.Namespace) -> int:
    started_here = not store.is_running(directory)
    if started_here:
        client.launch(cmd.HostRequest(directory=str(directory), idle_timeout=IDLE_SECONDS))
    try:
        with client.Client.connect(directory) as connection:
            for command in decisions:
                _send(connection, command)
            if options.verify or options.pull_request:
                before = fold(read_events(directory)).last_seq
                publish = cmd.Publish(pull_request=True) if options.pull_request else cmd.Verify()
                _send(connection, publish)
                return _await(directory, before, options)
            return 0
    finally:
        if started_here:
            _quit(directory)


def _send(connection: client.Client, command: cmd.AnyCommand) -> None:
    reply = connection.send(command)
    if reply.error:
        raise SessionError(reply.error)


def _await(directory: Path, before: int, options: argparse.Namespace) -> int:
    """Follow the session until the verdict or the request stands; print it on stderr where stdout is JSON's."""
    output = sys.stderr if options.json else sys.stdout
    state = fold(event for event in read_events(directory) if event.seq <= before)
    rested = False

    def done() -> bool:
        return rested

    from backspace_tui.core.state import apply

    for event in client.follow(directory, done):
        if event.seq <= before:
            continue
        state = apply(state, event)
        if (line := headless.describe(event)) and not (isinstance(event, PrCreation) and options.json):
            print(line, file=output, flush=True)
        arrived = state.stage in ("review", "done") and state.stage_open and event.seq > before + 1
        rested = arrived or state.status in ("failed", "stopped")
    verdict = state.verdict
    if state.status == "failed":
        print(f"backspace-tui: {state.error}", file=sys.stderr)
        return state.exit_code or 1
    if verdict is not None and verdict.verdict == "newly fails":
        print("backspace-tui: the accepted changes make tests fail that passed before", file=sys.stderr)
        return 3
    if options.pull_request and state.stage != "done":
        print(f"backspace-tui: the session did not get to the request; {state.error or state.status}", file=sys.stderr)
        return 1
    return 0


def _quit(directory: Path) -> None:
    """End the process that was started for this script, and wait until it is gone."""
    try:
        with client.Client.connect(directory) as connection:
            connection.send(cmd.Quit())
    except SessionError:
        return
    for _ in client.follow(directory):
        pass


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
    if state.verdict is not None:
        print(f"tests: {state.verdict.verdict}")
