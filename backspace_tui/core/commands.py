"""What a window may ask of a session, as JSON lines over its socket.

Each command is answered by one :class:`Reply` line: the ``seq`` of the event it caused, or an error.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from backspace_tui.core.events import SessionStarted


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", omit_defaults=True):
    """Base of all commands."""


class Say(Command, frozen=True, tag="say"):
    """A message of the human: steers a working agent at its next turn, or is a follow-up when it rests.

    With ``about`` the text is the program's, sent with one key.
    """

    text: str
    about: Literal["", "tests"] = ""


class Pause(Command, frozen=True, tag="pause"):
    """No further turn until :class:`Resume`."""


class Resume(Command, frozen=True, tag="resume"):
    """Go on after a pause."""


class Stop(Command, frozen=True, tag="stop"):
    """End the agent's work now (the running command is killed). During work the review keeps what there is."""


class Quit(Command, frozen=True, tag="quit"):
    """End the session's process in an orderly way; the session can be resumed."""


class Answer(Command, frozen=True, tag="answer"):
    """Answer the open question: the one with sequence number ``question``, 0 for whichever is open."""

    text: str
    question: int = 0


class Decide(Command, frozen=True, tag="decide"):
    """Decide about units by name (:mod:`backspace_tui.core.units`), as one undoable group: all of them or none.

    ``redo`` rejects and asks the agent for another version. ``accept_protected`` confirms hunks of paths that run on
    someone's machine. ``seen`` is the ``seq`` of the last event of the review that the names were read in (0: whichever
    review there is): where they mean something else by now, what they meant is decided about, or nothing.
    """

    hunks: tuple[str, ...]
    action: Literal["accept", "reject", "unstage", "review", "unreview", "comment", "redo"]
    comment: str = ""
    accept_protected: bool = False
    seen: int = 0


class Edit(Command, frozen=True, tag="edit"):
    """Accept ``result`` in the place of a hunk's new side (context and added lines); the agent's files stay.

    ``seen`` is as in :class:`Decide`.
    """

    hunk: str
    result: bytes
    accept_protected: bool = False
    seen: int = 0


class Undo(Command, frozen=True, tag="undo"):
    """Take back the last group of decisions that still stands."""


class Verify(Command, frozen=True, tag="verify"):
    """Run the tests on the accepted tree and come back to the review."""


class Publish(Command, frozen=True, tag="publish"):
    """Verify what is accepted, commit it, and with ``pull_request`` push it and open the request."""

    pull_request: bool = True


class RunForUser(Command, frozen=True, tag="run_for_user", rename={"command": "line"}):
    """Run the user's shell line in the agent's sandbox: at once in the review, else at the agent's turn boundary.

    :class:`Stop` ends it. What it changes is a snapshot marked as the user's.
    """

    command: str


class Shell(Command, frozen=True, tag="shell"):
    """Open an interactive shell in the agent's sandbox, under the same terms; there is one at a time.

    After the reply the connection carries :mod:`backspace_tui.core.frames` both ways. Closing it ends the shell.
    ``term`` is the terminal's ``TERM``.
    """

    rows: int
    cols: int
    term: str = ""


class RollBack(Command, frozen=True, tag="roll_back"):
    """Put the agent's files back as they were after the step ``seq``: an event that changed them.

    In the review, or while the agent is paused between two steps. What is accepted stays accepted.
    """

    seq: int


class Apply(Command, frozen=True, tag="apply"):
    """Put the accepted work into the user's checkout: merge its commit, or write it as ``uncommitted`` changes.

    Refused where it would overwrite anything of the user's; again is nothing.
    """

    uncommitted: bool = False


class Ping(Command, frozen=True, tag="ping"):
    """Answered with the newest ``seq``; keeps the session from idling out."""


AnyCommand = (
    Say | Pause | Resume | Stop | Quit | Answer | Decide | Edit | Undo | Verify | Publish | RunForUser | Shell
    | RollBack | Apply | Ping
)  # fmt: skip


class HostRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What starts a session's process: one JSON document on its standard input.

    ``directory`` is the session's. ``started`` is the first event of a new session and ``None`` for one that goes
    on. ``commands`` are carried out before the workflow goes on, as if they came over the socket. With
    ``exit_when_waiting`` the process ends as soon as it waits for a person (headless runs), otherwise after
    ``idle_timeout`` seconds of waiting without a window.
    """

    directory: str
    started: SessionStarted | None = None
    commands: tuple[AnyCommand, ...] = ()
    exit_when_waiting: bool = False
    idle_timeout: float = 900.0


class HostReady(msgspec.Struct, frozen=True, omit_defaults=True):
    """The one line a session's process prints when its socket stands, or why it could not start."""

    pid: int = 0
    error: str = ""
    exit_code: int = 0


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a command: ``error`` is one line, empty when the command was carried out."""

    seq: int = 0
    error: str = ""


def encode(message: AnyCommand | Reply) -> bytes:
    """One line, with its line feed."""
    return msgspec.json.encode(message) + b"\n"


def decode_command(line: bytes) -> AnyCommand:
    """Raises :class:`msgspec.DecodeError` (a ``ValueError``) for anything that is not a command."""
    command: AnyCommand = msgspec.json.decode(line, type=AnyCommand)
    return command


def decode_reply(line: bytes) -> Reply:
    """Raises :class:`msgspec.DecodeError` for anything that is not a reply."""
    return msgspec.json.decode(line, type=Reply)
