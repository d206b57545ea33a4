"""The scripted review: everything that the keys do, with stable hunk ids."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from msgspec.structs import replace

from backspace_tui import headless, review_text
from backspace_tui.core import commands as cmd
from backspace_tui.core import units
from backspace_tui.core.events import StageStarted
from backspace_tui.core.stages import AGENT_STAGES, RESTING
from backspace_tui.core.state import SessionState, apply, fold
from backspace_tui.sessions import client, failing, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, ReviewFile, ReviewHunk, review
from backspace_tui.sessions.review_json import to_json

Commands = list[cmd.AnyCommand]


def run(options: argparse.Namespace) -> int:
    """``backspace-tui review``: decisions first, then verification or the request, then the review is printed."""
    directory = store.find(options.session)
    decisions = _decisions(directory, options)
    if decisions:
        _decide(directory, decisions)
    exit_code = 0
    if work := _next(directory, decisions, options):
        exit_code = carry_out(directory, work, sys.stderr if options.json else sys.stdout)
    if options.send_failures:
        _send_failures(directory)
    if options.why:
        review_text.tell_why(directory, options.why, sys.stdout)
    else:
        _print(directory, options)
    return exit_code


def _decisions(directory: Path, options: argparse.Namespace) -> Commands:
    """What is asked for, in the order of the help. Names are looked at first, so that a wrong one changes nothing."""
    state, shown = load(directory, options.as_of)
    comments = [_with_text("--comment", item) for item in options.comment]
    redone = [_with_text("--redo", item) for item in options.redo]
    edits = [(hunk, _read(file)) for hunk, file in (_with_text("--edit", item) for item in options.edit)]
    if not options.undo and options.roll_back is None:
        plain = [*options.unstage, *options.mark, *options.unmark, *options.reject, *options.accept]
        _check_names(directory, state, [*plain, *(name for name, _ in (*comments, *redone, *edits))])
    before: Commands = [cmd.RollBack(seq=options.roll_back)] if options.roll_back is not None else []
    before += [cmd.Undo()] if options.undo else []
    # After those the names are of a review that nobody has seen.
    seen = 0 if before else state.last_seq
    found: Commands = []
    found.append(cmd.Decide(hunks=_named(shown, options.unstage, _is_accepted), action="unstage"))
    found.append(cmd.Decide(hunks=_named(shown, options.mark, _is_unseen), action="review"))
    found.append(cmd.Decide(hunks=_named(shown, options.unmark, _is_reviewed), action="unreview"))
    found += [cmd.Decide(hunks=(name,), action="comment", comment=text) for name, text in comments]
    rejected = _named(shown, options.reject, _is_open)
    found.append(cmd.Decide(hunks=rejected, action="reject"))
    found += [cmd.Decide(hunks=(name,), action="redo", comment=text) for name, text in redone]
    protected = options.accept_protected
    found += [cmd.Edit(hunk=name, result=data, accept_protected=protected) for name, data in edits]
    taken = _whole(shown, [*rejected, *(name for name, _ in redone)]) | {name for name, _ in edits}
    accepted = _named(shown, options.accept, lambda file, item: item.sweeping and (protected or not file.protected))
    if "all" in options.accept:
        accepted = tuple(name for name in accepted if name not in taken)
    found.append(cmd.Decide(hunks=accepted, action="accept", accept_protected=protected))
    return before + [_as_seen(item, seen) for item in found if not isinstance(item, cmd.Decide) or item.hunks]


def _as_seen(command: cmd.AnyCommand, seen: int) -> cmd.AnyCommand:
    return replace(command, seen=seen) if isinstance(command, cmd.Decide | cmd.Edit) else command


def _with_text(option: str, given: str) -> tuple[str, str]:
    name, equals, text = given.partition("=")
    if not equals or not text.strip():
        raise SessionError(f"{option} {given!r} is not HUNK={'FILE' if option == '--edit' else 'TEXT'}", 2)
    return name, text


def _read(file: str) -> bytes:
    """The edited text of a hunk, from a file or (``-``) from the standard input."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise SessionError(f"--edit: {file} cannot be read: {error.strerror}; nothing was decided", 2) from error


def _check_names(directory: Path, state: SessionState, given: list[str]) -> None:
    """Every unit must be there, also those of renames that are shown as one."""
    if not any(name != "all" for name in given):
        return
    with Objects(directory / "repo.git") as objects:
        whole = review(objects, state)
        split = review(objects, state, split=frozenset(file.path for file in whole.files if file.renamed_from))
    known = {item.hunk.id: item for shown in (split, whole) for file in shown.files for item in file.hunks}
    for name in given:
        if name == "all":
            continue
        try:
            unit = units.parse(name)
            if unit.hunk not in known:
                raise ValueError(f"there is no hunk {unit.hunk} in this review; --json lists them")
            if not known[unit.hunk].gone:
                units.positions(known[unit.hunk].hunk, unit.part)
        except ValueError as problem:
            raise SessionError(f"{problem}; nothing was decided", 2) from None


def _named(shown: Review, given: list[str], wanted: Callable[[ReviewFile, ReviewHunk], bool]) -> tuple[str, ...]:
    """The units that are named; ``all`` stands for every hunk that is ``wanted``."""
    if "all" not in given:
        return tuple(given)
    return tuple(item.hunk.id for file in shown.files for item in file.hunks if wanted(file, item))


def _whole(shown: Review, names: Iterable[str]) -> frozenset[str]:
    """The hunks that these units are all of; what is left of the others is still to be decided."""
    named: dict[str, set[int]] = {}
    hunks = {item.hunk.id: item for file in shown.files for item in file.hunks}
    for name in names:
        unit = units.parse(name)
        if (item := hunks.get(unit.hunk)) is not None:
            named.setdefault(unit.hunk, set(item.rejected)).update(units.positions(item.hunk, unit.part))
    return frozenset(name for name, found in named.items() if found.issuperset(units.positions(hunks[name].hunk, "")))


def _is_accepted(_: ReviewFile, item: ReviewHunk) -> bool:
    return item.state == "accepted"


def _is_open(_: ReviewFile, item: ReviewHunk) -> bool:
    return item.open


def _is_unseen(_: ReviewFile, item: ReviewHunk) -> bool:
    return item.open and item.state != "reviewed"


def _is_reviewed(_: ReviewFile, item: ReviewHunk) -> bool:
    return item.state == "reviewed" and bool(item.reviews)


def load(directory: Path, as_of: int | None = None) -> tuple[SessionState, Review]:
    """A session's state and review as its log stands, or as they were after the event ``as_of``."""
    events = read_events(directory)
    if as_of is not None and not 0 < as_of <= len(events):
        raise SessionError(f"--as-of {as_of} is no step of this session: it has 1 to {len(events)}", 2)
    state = fold(events[:as_of])
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
    if any(_may_complete(item) for item in decisions):
        state, shown = load(directory)
        fresh = state.accepted_tree not in (state.base_tree, state.committed_tree)
        if fresh and shown.pending == 0 and state.stage in RESTING:
            return cmd.Publish(pull_request=False)
    return cmd.Verify() if options.verify else None


def _may_complete(command: cmd.AnyCommand) -> bool:
    """Whether it can leave nothing to decide: then what is accepted is committed."""
    if isinstance(command, cmd.Decide):
        return command.action in ("accept", "reject", "unstage")
    return not isinstance(command, cmd.RollBack)


def carry_out(directory: Path, command: cmd.Verify | cmd.Publish, output: TextIO) -> int:
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
    teller = headless.Teller()
    for event in client.follow(directory):
        state = apply(state, event)
        line = teller.see(event)
        if event.seq <= before:
            continue
        if line:
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


def _send_failures(directory: Path) -> None:
    """Have the agent read what the tests printed of what is accepted, and work on it."""
    verdict = fold(read_events(directory)).verdict
    if verdict is None or verdict.verdict not in failing.FAILURES:
        raise SessionError("no failing output is there: --verify runs the tests on what is accepted", 2)
    _decide(directory, [cmd.Say(text=failing.request(verdict), about="tests")])


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


def _print(directory: Path, options: argparse.Namespace) -> None:
    state = fold(read_events(directory))
    with Objects(directory / "repo.git") as objects:
        shown = review(objects, state, split=frozenset(options.split))
    if options.json:
        print(json.dumps(to_json(shown, state), ensure_ascii=True))
    else:
        review_text.write(shown, state, sys.stdout)
