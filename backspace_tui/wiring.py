"""Putting the rings together: from the first event of a session to its model, sandboxes and forge."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backspace_tui.config import Settings, secrets
from backspace_tui.core import commands as cmd
from backspace_tui.core.events import SessionStarted
from backspace_tui.core.protocols import Forge, Model, SandboxSpec
from backspace_tui.sessions.errors import SessionError

if TYPE_CHECKING:
    from backspace_tui.engine.job import Parts


def token() -> str:
    """The GitHub token of the environment, or an empty string."""
    return os.environ.get("GITHUB_TOKEN") or os.environ.get("GITHUB_PAT") or ""


def spec(started: SessionStarted, settings: Settings) -> SandboxSpec:
    """What a session's sandboxes are to be."""
    fields = msgspec.structs.asdict(settings.sandbox)
    fields["backend"] = started.sandbox
    name = started.repository.rstrip("/").rpartition("/")[2]
    return SandboxSpec(**fields, setup=settings.project.setup, setup_root=settings.project.setup_root, name=name)


def settings_of(started: SessionStarted) -> Settings:
    """The settings that a session was started with.

    Raises:
        SessionError: its log comes from a version that knew other settings.
    """
    try:
        return msgspec.convert(started.settings, Settings)
    except msgspec.ValidationError as problem:
        raise SessionError(f"the session's settings are not of this version: {problem}") from None


def make_parts(started: SessionStarted) -> Parts:
    """Model, sandboxes and forge of a session, made in its own process.

    Raises:
        SessionError: a model is not known or has no key.
    """
    from backspace_tui.core.redact import Redactor
    from backspace_tui.engine.job import Parts, Progress
    from backspace_tui.models.prompts import load_prompts
    from backspace_tui.sandbox.factory import Factory

    settings, progress = settings_of(started), Progress()
    offline = started.models == ("offline",)
    if offline and (problem := refusal(started.prompt)):
        raise SessionError(problem, exit_code=2)
    return Parts(
        model=make_model(started, settings),
        sandboxes=Factory(spec(started, settings), progress, progress.audit),
        forge=lambda remote, source: make_forge(remote, source, settings),
        prompts=load_prompts(),
        settings=settings,
        redactor=Redactor(secrets(), salt=(started.masks or started.session).encode()),
        progress=progress,
        refuse=refusal if offline else lambda _prompt: "",
    )


def refusal(prompt: str) -> str:
    """Why the offline agent cannot do what is asked, or an empty string."""
    from backspace_tui.models.offline import GrammarError, check_prompt

    try:
        check_prompt(prompt)
    except GrammarError as problem:
        return str(problem)
    return ""


def make_model(started: SessionStarted, settings: Settings) -> Model:
    """The session's chain of models, the offline agent, or the demo's script."""
    if started.models == ("scripted",):
        from backspace_tui.demo import scripted_model

        return scripted_model(started.interactive)
    from backspace_tui.models.choose import Choice, build

    try:
        choice = Choice(settings.models, started.models_reason)
        if not choice.offline:
            from backspace_tui.models.litellm_model import warm

            warm()
        return build(choice, os.environ)
    except ValueError as problem:
        raise SessionError(str(problem), exit_code=2) from None


def make_forge(remote: str | None, source: Path | None, settings: Settings) -> Forge:
    """GitHub where there is a GitHub remote and a token, the local one elsewhere."""
    from backspace_tui.forge import choose_forge

    return choose_forge(remote, source, settings.github, token())


def host() -> int:
    """The hidden command that is a session's process: reads its :class:`HostRequest` from standard input."""
    from backspace_tui.engine import host as engine_host
    from backspace_tui.sessions.client import read_request

    try:
        request = read_request(sys.stdin.buffer.read())
    except SessionError as problem:
        engine_host.announce(cmd.HostReady(error=str(problem), exit_code=problem.exit_code))
        return problem.exit_code
    exit_code = engine_host.run(request, make_parts, engine_host.announce)
    sys.stderr.flush()
    # litellm and its clients take a second to tear down, and nothing of theirs is worth keeping.
    os._exit(exit_code)
