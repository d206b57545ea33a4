"""Starting, joining and continuing sessions, with a window or without one."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from backspace_tui import __version__, config
from backspace_tui.core import commands as cmd
from backspace_tui.core.events import AnyEvent, SessionStarted
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError
from backspace_tui.sessions.log import read_events

REPOSITORY_SETTINGS = ".backspace.toml"
SMALLEST = (40, 10)


def check_terminal(instead: str = "run REPO -p PROMPT") -> None:
    """Raise :class:`SessionError` where no window can be drawn; ``instead`` is what to run there."""
    # Textual draws on stderr.
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise SessionError(f"the window needs a terminal; without one use: backspace-tui {instead}", 2)
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        raise SessionError("TERM is not set to a terminal that can draw; set it, such as: TERM=xterm-256color", 2)
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    # Some terminals do not tell their size at first.
    if (columns, rows) != (0, 0) and (columns < SMALLEST[0] or rows < SMALLEST[1]):
        raise SessionError(
            f"the terminal is {columns}x{rows}; make it at least {SMALLEST[0]}x{SMALLEST[1]} (80x24 is comfortable)", 2
        )


def session(options: argparse.Namespace, *, prompt: str, interactive: bool) -> tuple[SessionStarted, str]:
    """The first event of a session as the command line, the environment and the settings ask for it.

    Also what the user should know before it starts, in one line or none.

    Raises:
        ConfigError: the settings are wrong.
        SessionError: the repository or a model cannot be used.
    """
    from backspace_tui.models.choose import choose

    settings = config.load()
    repository = _repository(options.repository)
    project, notice = _project(settings.project, repository, trust=options.trust)
    try:
        choice = choose(options.model, settings.models, os.environ)
    except ValueError as problem:
        raise SessionError(str(problem), 2) from None
    started = SessionStarted(
        session="",
        repository=repository,
        prompt=prompt,
        version=__version__,
        models=choice.names,
        models_reason=choice.reason,
        accept=getattr(options, "accept", "none"),
        pull_request=getattr(options, "pull_request", False),
        include_dirty=options.include_dirty,
        interactive=interactive,
        sandbox=options.sandbox or settings.sandbox.backend,
        settings=msgspec.to_builtins(replace(settings, models=choice.models, project=project)),
    )
    return started, notice


def _project(own: config.ProjectSettings, repository: str, *, trust: bool) -> tuple[config.ProjectSettings, str]:
    """The project's settings: what the user did not set is the repository's to say, once the user trusts that."""
    from backspace_tui.repository import urls
    from backspace_tui.repository.check import committed_file

    data = None if urls.is_url(repository) else committed_file(repository, REPOSITORY_SETTINGS)
    if data is None:
        if trust:
            raise SessionError(f"--trust: the repository has no {REPOSITORY_SETTINGS} in its last commit", 2)
        return own, ""
    digest = config.digest(data)
    if trust:
        theirs = config.repository_settings(data)
        config.trust(repository, digest)
    elif config.trusted(repository, digest):
        theirs = config.repository_settings(data)
    else:
        return own, f"the repository's {REPOSITORY_SETTINGS} is not used: read it, then start once with --trust"
    unset = msgspec.structs.asdict(config.ProjectSettings())
    chosen = {name: value for name, value in msgspec.structs.asdict(own).items() if value != unset[name]}
    return replace(theirs, **chosen), ""


def _repository(given: str) -> str:
    """A repository as the session is to know it: a URL as it is, a path made absolute, once looked at."""
    from backspace_tui.repository import urls
    from backspace_tui.repository.check import check_path

    if urls.is_url(given) and not Path(given).exists():
        if problem := urls.unsupported(given):
            raise SessionError(f"{urls.without_credentials(given)} {problem}", 2)
        if (bare := urls.without_credentials(given)) != given:
            # The session's log and git's command line would show them.
            raise SessionError(
                f"the address holds a user name or password; give {bare} and let git's credential helper "
                "(or GITHUB_TOKEN) bring them",
                2,
            )
        return given
    if problem := check_path(given):
        raise SessionError(problem, 2)
    return str(Path(given).expanduser().absolute())


def run(options: argparse.Namespace) -> int:
    """``backspace-tui run``."""
    from backspace_tui import headless

    started, notice = session(options, prompt=options.prompt, interactive=False)
    if not options.prompt.strip():
        raise SessionError("the prompt is empty; say what you want with -p", 2)
    if notice:
        print(f"backspace-tui: {notice}", file=sys.stderr)
    with headless.Interrupts() as interrupts:
        directory = start(started)
        interrupts.attend(directory)
        state = headless.follow(directory, headless.print_json if options.json else headless.Teller())
    return headless.outcome(directory, state)


def start(started: SessionStarted, idle_timeout: float = 900.0) -> Path:
    """Make the session and start its process; leaves nothing behind when that fails."""
    directory = store.new_session()
    try:
        client.launch(
            cmd.HostRequest(
                directory=str(directory),
                started=replace(started, session=directory.name),
                exit_when_waiting=not started.interactive,
                idle_timeout=idle_timeout,
            )
        )
    except SessionError:
        if not store.is_running(directory):
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def window(
    *,
    template: SessionStarted | None = None,
    directory: Path | None = None,
    replay: bool = False,
    read_only: bool = False,
    at: int = 0,
    speed: float = 0.0,
    prompt: str = "",
    remote: bool = False,
    notice: str = "",
    debug: bool = False,
) -> int:
    """Open the window on a new session, a present one, or a replay."""
    from backspace_tui.ui.launch import Launch

    settings = config.load()
    launch = Launch(
        repository=template.repository if template else "",
        title=Path(template.repository).name if template else (directory.name if directory else ""),
        template=template,
        session=str(directory or ""),
        replay=replay,
        read_only=read_only,
        at=at,
        speed=speed,
        initial_prompt=prompt,
        keys=settings.keys,
        theme=settings.ui.theme,
        notice=notice,
        remote=remote,
        debug=debug,
    )
    from backspace_tui.ui.app import run as run_window

    return run_window(launch)


def attach(name: str, *, remote: bool, answer: str | None = None, read_only: bool = False) -> int:
    """``backspace-tui attach``: starts the session's process if it is not running, and opens the window.

    With ``read_only`` nothing is started, and the window never speaks with the session's process.
    """
    directory = store.find(name)
    if read_only:
        # An answer in one line where there is nothing to show.
        read_events(directory)
        return window(directory=directory, remote=remote, read_only=True)
    client.ensure_running(directory, commands=_answer(directory, answer))
    return window(directory=directory, remote=remote)


def replay(name: str, *, remote: bool, at: int | None = None, speed: float = 0.0) -> int:
    """``backspace-tui replay``: what is logged, read only; from the event ``at``, playing at ``speed``."""
    directory = store.find(name)
    if at is not None:
        events = read_events(directory)
        last = events[-1].seq if events else 0
        if not 1 <= at <= last:
            raise SessionError(f"--at {at}: session {directory.name} has the steps 1 to {last}", 2)
    return window(directory=directory, replay=True, remote=remote, at=at or 0, speed=speed)


def resume(options: argparse.Namespace) -> int:
    """``backspace-tui resume``: the session's process goes on where its log ends."""
    directory = store.find(options.session)
    commands = _answer(directory, options.answer)
    if not options.headless and not options.json and sys.stdin.isatty() and sys.stdout.isatty():
        check_terminal()
        client.ensure_running(directory, commands=commands)
        return window(directory=directory)
    from backspace_tui import headless

    events, running = read_events(directory), store.is_running(directory)
    printer = headless.print_json if options.json else headless.Teller()
    with headless.Interrupts() as interrupts:
        _start(directory, commands, _unpause(events))
        interrupts.attend(directory)
        serves = running and bool(events) and isinstance(events[0], SessionStarted) and events[0].interactive
        rest = read_events(directory)[-1].seq if serves else None
        state = headless.follow(directory, printer, after=events[-1].seq if events else 0, rest=rest)
    if serves and store.is_running(directory) and state.status in ("waiting", "paused"):
        return headless.resting(directory, state)
    return headless.outcome(directory, state)


def _start(directory: Path, commands: tuple[cmd.AnyCommand, ...], unpause: tuple[cmd.AnyCommand, ...]) -> None:
    """Have the session go on; somebody else may have ended its pause first."""
    try:
        client.ensure_running(directory, exit_when_waiting=True, commands=(*commands, *unpause))
    except SessionError:
        if commands or _unpause(read_events(directory)) or not store.is_running(directory):
            raise


def _answer(directory: Path, text: str | None) -> tuple[cmd.AnyCommand, ...]:
    """The answer to the question that the session waits with; an option's number stands for the option.

    Raises:
        SessionError: there is no answer in ``text``, or no question in the session.
    """
    from backspace_tui.core.state import fold

    if text is None:
        return ()
    if not text.strip():
        raise SessionError("--answer: the answer is empty", 2)
    question = fold(read_events(directory)).question
    if question is None:
        raise SessionError(f"--answer: session {directory.name} asks nothing", 2)
    return (cmd.Answer(text=option(question.options, text.strip()), question=question.seq),)


def option(options: Sequence[str], text: str) -> str:
    """What an answer means: an option's number or its text in any case the option, everything else itself."""
    for choice in options:
        if choice.casefold() == text.casefold():
            return choice
    if text.isdecimal() and 0 < int(text) <= len(options):
        return options[int(text) - 1]
    return text


def _unpause(events: Sequence[AnyEvent]) -> tuple[cmd.AnyCommand, ...]:
    """Resuming a session that paused itself means that it may go on."""
    from backspace_tui.core.state import fold

    return (cmd.Resume(),) if fold(events).paused else ()
