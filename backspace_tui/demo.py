"""``backspace-tui demo``: the whole job on a sample repository, with no account, key or network.

Only the model is a stand-in: it replays a script, and is labelled as scripted. Sandbox, tools, snapshots, review,
verification and the local pull request are those of every session.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from backspace_tui import __version__, config, headless, opening, paths, private
from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.git_environment import of_user
from backspace_tui.core.state import SessionState, apply
from backspace_tui.core.verdicts import failing_tests
from backspace_tui.demo_data import DOUBTFUL, FAILING_TEST, PROMPT, SCRIPT, TEST_COMMAND, shop
from backspace_tui.sessions import client, store
from backspace_tui.sessions.errors import SessionError, storage_error
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, review

if TYPE_CHECKING:
    from backspace_tui.core.protocols import Model

PACE: Final = 0.07
"""Seconds a word of the script, for somebody who reads along."""

IDLE_SECONDS: Final = 120.0
"""How long the session's process outlives a headless demo that was killed."""

IMAGE: Final = "slim"
IDENTITY: Final = ("Demo", "demo@example.invalid")
NOT_ISOLATED: Final = "a plain process: no isolation, only limits; good enough for this script alone"

Say = Callable[[str], None]


class Ground(NamedTuple):
    """Where the demo's commands run, and why there."""

    backend: str
    reason: str


def run(*, headless: bool, backend: str, debug: bool) -> int:
    """Run the demo; ``backend`` forces a sandbox. Returns the exit code.

    Raises:
        SessionError, SandboxError: it cannot start here.
    """
    if not headless and not (sys.stdin.isatty() and sys.stdout.isatty()):
        _say("demo       there is no terminal here, so this is 'demo --headless'")
        headless = True
    if not headless:
        opening.check_terminal()
    ground = choose_ground(backend, _say)
    repository = create_repository()
    _say(f"sandbox    {ground.reason}")
    _say(f"repository {repository}")
    started = first_event(repository, ground, interactive=not headless)
    if headless:
        return _headless(started)
    return opening.window(template=started, prompt=PROMPT, notice=_notice(ground), debug=debug)


def _say(line: str) -> None:
    print(line, flush=True)


def _notice(ground: Ground) -> str:
    return f"A scripted model works, in {ground.reason}. One of its changes is not good: find it."


def scripted_model(interactive: bool) -> Model:
    """The demo's model; for somebody who watches it takes its time."""
    from backspace_tui.models.scripted import ScriptedModel

    return ScriptedModel.from_file(SCRIPT, pace=PACE if interactive else 0.0)


def first_event(repository: Path, ground: Ground, *, interactive: bool) -> ev.SessionStarted:
    """What the demo's session is started with; the user's own settings have no part in it."""
    settings = config.Settings(
        project=config.ProjectSettings(test=TEST_COMMAND), sandbox=config.SandboxSettings(image=IMAGE)
    )
    return ev.SessionStarted(
        session="",
        repository=str(repository),
        prompt=PROMPT,
        version=__version__,
        models=("scripted",),
        interactive=interactive,
        sandbox=ground.backend,
        settings=msgspec.to_builtins(settings),
    )


# Where it runs


def choose_ground(forced: str, say: Say) -> Ground:
    """Docker, else bubblewrap, else a plain process, with the reason in words; ``forced`` allows one alone.

    Raises:
        SandboxError: the forced one does not work here.
    """
    from backspace_tui.core.protocols import SandboxError

    problems: list[str] = []
    for backend in (forced,) if forced else ("docker", "bubblewrap", "process"):
        try:
            label = _try_out(backend, say)
        except SandboxError as problem:
            if forced or backend == "process":
                raise
            problems.append(f"{backend}: {problem}")
            continue
        return Ground(backend, describe_ground(backend, label, problems))
    raise AssertionError("the last backend returns or raises")


def describe_ground(backend: str, label: str, problems: list[str]) -> str:
    """The sandbox in words, and what kept the better ones from being used."""
    words = NOT_ISOLATED if backend == "process" else label
    return words + (f" ({'; '.join(problems)})" if problems else "")


def _try_out(backend: str, say: Say) -> str:
    """The label of a sandbox that was opened, asked for Python, and closed; makes the image where it is missing."""
    from backspace_tui.core.protocols import SandboxError, SandboxSpec
    from backspace_tui.sandbox.factory import Factory

    factory = Factory(SandboxSpec(backend=backend, image=IMAGE), lambda line: say(f"image      {line}"))
    box = factory.open({}, session="demo", purpose="verify")
    try:
        if box.run(["python3", "-c", "print()"], timeout=30).exit_code != 0:
            raise SandboxError("python3 does not run in it")
        return box.label
    finally:
        box.close()


# The repository


def create_repository(root: Path | None = None) -> Path:
    """A fresh sample repository in a folder of its own below ``root`` (default: ``demo`` in the data directory).

    Raises:
        SessionError: the folder cannot be written, or git does not work.
    """
    root = root or paths.data_dir() / "demo"
    try:
        private.make_directory(root)
        folder = _fresh(root)
        for name, text in shop().files.items():
            path = folder / name
            private.make_directory(path.parent)
            private.write(path, text.encode())
    except OSError as error:
        raise storage_error(error, root) from error
    # The accepted work is delivered into it later, with the modes that its own settings say.
    _git(folder, "init", "--quiet", "--template=", "--shared=0600", "--initial-branch=main")
    for key, value in zip(("user.name", "user.email"), IDENTITY, strict=True):
        _git(folder, "config", key, value)
    _git(folder, "add", "--all")
    _git(folder, "-c", "commit.gpgSign=false", "commit", "--quiet", "--message", shop().commit)
    return folder


def _fresh(root: Path) -> Path:
    """``shop-N`` with the first number that was never used."""
    numbers = [int(match[1]) for path in root.iterdir() if (match := re.fullmatch(r"shop-(\d+)", path.name))]
    number = max(numbers, default=0) + 1
    while True:
        try:
            (root / f"shop-{number}").mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return root / f"shop-{number}"


def _git(folder: Path, *arguments: str) -> None:
    ours = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=of_user(os.environ) | ours,
            capture_output=True,
            check=False,
            text=True,
            umask=private.UMASK,
        )
    except FileNotFoundError:
        raise SessionError("git is not installed; on Debian: sudo apt-get install git") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SessionError(f"git {arguments[0]} failed in {folder}: {reason}")


# Without a window


def _headless(started: ev.SessionStarted) -> int:
    previous = signal.signal(signal.SIGTERM, _interrupt)
    directory = store.new_session()
    try:
        return _whole_job(directory, msgspec.structs.replace(started, session=directory.name))
    finally:
        _quit(directory)
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _whole_job(directory: Path, started: ev.SessionStarted) -> int:
    try:
        client.launch(cmd.HostRequest(directory=str(directory), started=started, idle_timeout=IDLE_SECONDS))
    except SessionError:
        store.remove(directory)
        raise
    _say(f"session    {directory}")
    log = _Log(directory)
    log.until(lambda state: state.stage == "review" and state.stage_open)
    with client.Client.connect(directory) as connection:
        with Objects(directory / "repo.git") as objects:
            good, doubtful = sort_hunks(review(objects, log.state))
        _send(connection, cmd.Decide(hunks=good, action="accept"))
        why = "an unknown country must stay an error: this would sell without tax"
        _send(connection, cmd.Decide(hunks=doubtful, action="reject", comment=why))
        _send(connection, cmd.Verify())
        log.until(lambda state: state.verdict is not None and state.stage == "review" and state.stage_open)
    problem, exit_code = judge(log.state)
    if problem:
        print(f"backspace-tui: {problem}", file=sys.stderr)
        return exit_code
    _quit(directory)
    client.launch(
        cmd.HostRequest(directory=str(directory), commands=(cmd.Publish(pull_request=True),), exit_when_waiting=True)
    )
    log.until(lambda state: state.status == "done" and state.request is not None)
    log.until_gone()
    return _report(log.state)


def sort_hunks(shown: Review) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the hunks that are good, and of those that a careful reviewer rejects.

    Raises:
        SessionError: the agent's work is not what the script makes.
    """
    good: list[str] = []
    doubtful: list[str] = []
    for file in shown.files:
        for item in file.hunks:
            added = b"".join(line for sign, line in item.hunk.lines if sign == "+")
            (doubtful if DOUBTFUL.encode() in added else good).append(item.hunk.id)
    if len(doubtful) != 1 or len(good) < 5:
        raise SessionError(f"the script went wrong: {len(good)} good hunks and {len(doubtful)} doubtful ones")
    return tuple(good), tuple(doubtful)


def judge(state: SessionState) -> tuple[str, int]:
    """What is wrong with the verification, and the exit code that goes with it; empty and 0 when nothing is."""
    verdict, baseline = state.verdict, state.baseline
    if verdict is None or baseline is None:
        return "the tests were not run", 1
    if verdict.verdict == "newly fails":
        return "the accepted changes make tests fail that passed before", 3
    if not any(name.startswith(f"{FAILING_TEST} ") for name in failing_tests(baseline.output)):
        return f"{FAILING_TEST} did not fail on the base", 1
    passed = re.search(rf"^{FAILING_TEST} \(.*\) \.\.\. ok$", verdict.output, re.M)
    if verdict.verdict != "passes" or not passed:
        return f"{FAILING_TEST} does not pass on what was accepted ({verdict.verdict})", 1
    return "", 0


def _report(state: SessionState) -> int:
    request, started = state.request, state.started
    assert request is not None
    assert started is not None
    count = sum(len(group) for group in state.standing if group[0].action == "accept")
    _say(f"\n{FAILING_TEST} failed before and passes now; {count} hunks accepted, {len(state.rejected)} rejected")
    _say(f"branch     {request.branch}, one commit: git -C {started.repository} show --stat {request.branch}")
    _say(f"again      backspace-tui replay {started.session}   or with a window: backspace-tui demo")
    return 0


class _Log:
    """The session's events, each printed once; ``state`` is their fold."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._events: Iterator[ev.AnyEvent] = iter(())
        self._teller = headless.Teller()
        self.state = SessionState()

    def until(self, ready: Callable[[SessionState], bool]) -> None:
        """Read on until ``ready``.

        Raises:
            SessionError: the session ended before.
        """
        while not ready(self.state):
            event = self._next()
            if event is None:
                gone = f"the session's process went away; {self._directory / 'engine.log'} may say why"
                raise SessionError(self.state.error or gone, self.state.exit_code or 1)

    def until_gone(self) -> None:
        """Read on until the session's process is gone."""
        while self._next() is not None:
            pass

    def _next(self) -> ev.AnyEvent | None:
        # The second one is for a process that was started after the first one had ended.
        for events in (self._events, client.follow(self._directory)):
            self._events = events
            for event in events:
                if event.seq > self.state.last_seq:
                    self.state = apply(self.state, event)
                    if not isinstance(event, ev.SessionStarted | ev.SessionFinished):
                        self._teller(event)
                    return event
        return None


def _send(connection: client.Client, command: cmd.AnyCommand) -> None:
    if error := connection.send(command).error:
        raise SessionError(error)


def _quit(directory: Path) -> None:
    """End the session's process if it runs, and wait until it is gone."""
    try:
        with client.Client.connect(directory, timeout=1.0) as connection:
            connection.send(cmd.Quit())
    except SessionError:
        return
    for _ in client.follow(directory):
        pass
