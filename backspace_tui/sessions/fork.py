"""Forking: a new session that holds another one's past up to some step, and goes its own way from there.

The fork is self-contained: its source may go on meanwhile, change, or be deleted. It has its own id, branch, commit and
pull request, its own budget from the beginning, and nothing that its source paid stands as its own in the ledger.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from backspace_tui import config, private
from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.core.spending import REASON
from backspace_tui.core.stages import AGENT_STAGES, Stage
from backspace_tui.core.state import SessionState, apply, fold
from backspace_tui.core.terminal_text import clean
from backspace_tui.sessions.errors import SessionError, storage_error
from backspace_tui.sessions.imported import refuse_imported
from backspace_tui.sessions.log import LOG_NAME, encode, parse, read_log
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.store import Lock, new_session

__all__ = ["fork"]

_REPOSITORY: Final = "repo.git"
_PUBLISHED: Final[tuple[Stage, ...]] = ("push", "pull_request", "done")
"""Stages behind a commit, which is the source's."""

_PUBLISHING: Final[tuple[Stage, ...]] = ("verify", "commit", *_PUBLISHED)


def fork(source: Path, at: int | None = None, prompt: str = "", root: Path | None = None) -> Path:
    """A new session with the events of ``source`` up to the one with ``seq`` ``at`` (``None``: all); its directory.

    ``source`` may be running, and stays as it is. Events that only count together are taken or left together. What was
    under way at that step (a turn, a tool call) is done again when the fork is started, as after a crash; what the
    source published is not the fork's. With a ``prompt`` that is the user's next message, or the answer to the
    question that is open: the fork takes it up when it is started (``client.ensure_running``), also where its source
    was paused. ``root`` is the directory of sessions, by default the source's.

    Raises:
        SessionError: there is no such step (exit code 2), the source is damaged or was imported, or the disk is full.
    """
    refuse_imported(source)
    lines, events = _past(source, at)
    first = events[0]
    if not isinstance(first, ev.SessionStarted):
        raise SessionError(f"session {source.name} does not begin with session_started; it cannot be forked")
    directory = new_session(root or source.parent)
    try:
        with Lock(directory):
            started = replace(
                first,
                session=directory.name,
                forked_from=source.name,
                forked_at=max(event.seq for event in events),
                forked=datetime.now(UTC),
                masks=first.masks or first.session,
            )
            state = fold([started, *events[1:]])
            if state.base_tree:
                _copy_repository(source / _REPOSITORY, directory / _REPOSITORY)
                _check(directory / _REPOSITORY, source, state)
            lines[1] = encode(started) + _end_of(lines[1])
            lines += [encode(event) + b"\n" for event in _closing(state, _masked(prompt, started))]
            _write(directory, b"".join(lines))
    except BaseException as problem:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(problem, OSError):
            raise storage_error(problem, Path(os.fsdecode(problem.filename or directory))) from problem
        raise
    return directory


def _past(source: Path, at: int | None) -> tuple[list[bytes], list[ev.AnyEvent]]:
    """The lines of the log up to ``at``, its header first, and the events in them."""
    path, data = source / LOG_NAME, read_log(source)
    events, length = parse(data, str(path))
    if not events:
        raise SessionError(f"session {source.name} never began; there is nothing to fork", 2)
    lines = _lines(data[:length])
    if at is None or at == events[-1].seq:
        return lines, events
    count = next((number for number, event in enumerate(events, 1) if event.seq == at), 0)
    if not count:
        steps = f"{events[0].seq} to {events[-1].seq}"
        raise SessionError(
            f"session {source.name} has no step {at}: they go from {steps}; see 'sessions show {source.name}'", 2
        )
    # Parsed again, so that what counts only together with later lines is left out.
    events, length = parse(b"".join(lines[: count + 1]), str(path))
    return _lines(data[:length]), events


def _lines(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _end_of(line: bytes) -> bytes:
    return line[len(line.rstrip()) :]


def _masked(prompt: str, started: ev.SessionStarted) -> str:
    return Redactor(config.secrets(), salt=started.masks.encode()).redact(clean(prompt)).strip()


def _closing(state: SessionState, prompt: str) -> Iterable[ev.AnyEvent]:
    """What the fork's log says after its source's events; ``state`` is what those lead to."""
    assert state.started is not None
    now, seq = state.started.forked, state.started.forked_at

    def stored(event: ev.AnyEvent) -> ev.AnyEvent:
        nonlocal state, seq
        seq += 1
        numbered = replace(event, seq=seq, time=now)
        state = apply(state, numbered)
        return numbered

    def here(event: ev.AnyEvent) -> ev.AnyEvent:
        return stored(replace(event, stage=state.stage, attempt=max(1, state.attempt)))

    text = f"forked from session {state.started.forked_from} at step {state.started.forked_at}"
    yield here(ev.Message(role="program", text=text))
    # Asked for more, the fork does that before anything is published.
    while (stage := state.stage_now) in (_PUBLISHING if prompt else _PUBLISHED):
        if not state.stage_open:
            again = state.attempt + 1 if stage == state.stage else 1
            yield stored(ev.StageStarted(stage=stage, attempt=again))
        yield here(ev.StageFinished(outcome="again", detail="what was published is the source's"))
    if state.paused and (prompt or state.paused.startswith(REASON)):
        yield here(ev.Resumed())
    if prompt and state.question is not None:
        yield here(ev.Answer(question=state.question.seq, text=prompt))
    elif prompt:
        steers = state.stage_now in AGENT_STAGES
        yield here(ev.Message(role="user", text=prompt, kind="steer" if steers else "prompt"))
    rests = state.question is not None or (state.stage_now == "review" and state.unheard is None)
    yield here(ev.SessionFinished(outcome="waiting" if rests else "stopped", reason="forked", exit_code=4))


def _copy_repository(source: Path, target: Path) -> None:
    """What git needs of a bare repository that is ours, and nothing else that may lie in its folder.

    Objects never change once they have their name, so they are linked where that is possible. Writers of the source
    add objects only, so all that its log named when that was read is here.
    """
    for name in ("HEAD", "config", "shallow", "packed-refs"):
        if _is_file(source / name):
            _copy(source / name, target / name)
    for folder, folders, names in os.walk(source / "refs"):
        place = target / Path(folder).relative_to(source)
        private.make_directory(place)
        folders[:] = [name for name in folders if not (Path(folder) / name).is_symlink()]
        for name in names:
            if not name.endswith(".lock") and _is_file(Path(folder, name)):
                _copy(Path(folder, name), place / name)
    private.make_directory(target / "objects")
    for entry in _folders(source / "objects"):
        if len(entry.name) == 2:
            for name in os.listdir(entry):
                if len(name) == 38:
                    _link(entry / name, target / "objects" / entry.name / name)
        elif entry.name == "pack":
            _link_packs(entry, target / "objects" / "pack")


def _link_packs(source: Path, target: Path) -> None:
    for index in [name for name in os.listdir(source) if name.startswith("pack-") and name.endswith(".idx")]:
        # The index is what comes last into the folder, and without its pack it is of no use.
        for suffix in (".pack", ".rev", ".idx"):
            name = index.removesuffix(".idx") + suffix
            if _is_file(source / name):
                _link(source / name, target / name)


def _folders(place: Path) -> list[Path]:
    with os.scandir(place) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _copy(source: Path, target: Path) -> None:
    private.make_directory(target.parent)
    with source.open("rb") as reader, open(target, "wb", opener=private.opener) as writer:
        shutil.copyfileobj(reader, writer)


def _link(source: Path, target: Path) -> None:
    if not _is_file(source):
        return
    private.make_directory(target.parent)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # Another disk, or one that has no links.
        _copy(source, target)
        target.chmod(0o400)


def _check(repository: Path, source: Path, state: SessionState) -> None:
    """Raises SessionError when a tree of ``state`` is not there."""
    with Objects(repository) as objects:
        for tree in {state.base_tree, state.accepted_tree, state.work_tree, state.snapshot} - {""}:
            try:
                objects.entries(tree)
            except SessionError as problem:
                raise SessionError(f"session {source.name} is damaged and cannot be forked: {problem}") from None


def _write(directory: Path, data: bytes) -> None:
    with (directory / LOG_NAME).open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    for folder in (directory, directory.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
