"""The typed events of a session's log: the only truth about a session.

Every event is a :class:`msgspec.Struct` tagged by ``type``. The writer of the log sets ``seq`` (1, 2, ...) and
``time`` (UTC). Text fields hold no terminal control sequences, and no secrets. Tree and blob fields are object
ids of the session's ``repo.git``. Paths are as in :mod:`backspace_tui.core.trees`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from backspace_tui.core.marks import Spot
from backspace_tui.core.protocols import Audit as Audit
from backspace_tui.core.protocols import ToolCall
from backspace_tui.core.stages import Outcome, Stage

SCHEMA_VERSION: Final = 1
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Verdict = Literal["passes", "fails as before", "newly fails", "not verified"]
Action = Literal["accept", "reject", "undo", "unstage", "review", "unreview", "comment", "edit", "redo"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What every event carries. ``attempt`` counts the runs of ``stage`` from 1.

    Events are trees of plain data, so the garbage collector need not look through the many of a long session.
    """

    seq: int = 0
    time: datetime = EPOCH
    stage: Stage = "prepare"
    attempt: int = 1


class SessionStarted(Event, frozen=True, tag="session_started"):
    """The first event: what was asked for. Nothing secret; keys are read again from the environment.

    ``repository`` is the path (absolute) or URL, ``models`` the chosen names in order (``offline`` and ``scripted``
    are not language models) and ``models_reason`` why these, ``sandbox`` the backend, ``settings`` the settings in
    force. A fork holds the events up to ``forked_at`` of the session ``forked_from``, and was made at ``forked``;
    ``masks`` is the session whose placeholders stand in them (empty: this one).
    """

    session: str
    repository: str
    prompt: str
    version: str
    models: tuple[str, ...] = ()
    models_reason: str = ""
    accept: Literal["all", "verified", "none"] = "none"
    pull_request: bool = False
    include_dirty: bool = False
    interactive: bool = True
    sandbox: str = "docker"
    settings: dict[str, Any] = {}
    forked_from: str = ""
    forked_at: int = 0
    forked: datetime = EPOCH
    masks: str = ""


class SessionFinished(Event, frozen=True, tag="session_finished"):
    """The process ended its work; a later event reopens the session."""

    outcome: Literal["done", "failed", "stopped", "waiting"]
    reason: str = ""
    exit_code: int = 0


class StageStarted(Event, frozen=True, tag="stage_started"):
    """``stage`` begins."""


class StageFinished(Event, frozen=True, tag="stage_finished"):
    """``stage`` ended; ``detail`` is a short human text, ``data`` what later stages need from it."""

    outcome: Outcome
    detail: str = ""
    data: dict[str, Any] = {}


class Message(Event, frozen=True, tag="message"):
    """Text between the human, the agent and the program.

    ``kind``: ``prompt`` (a follow-up), ``steer`` (read at the next turn), ``feedback`` (from the critique or a failed
    verification), ``plan``, ``reply`` (the agent's closing words), ``notice`` (for the human alone), ``compacted`` (the
    agent's conversation is told in short from here on: turns whose reply has a ``seq`` of at most ``until`` with their
    results cut, those up to ``folded`` as notes alone, and at most ``opening`` characters of what is known of the
    repository, 0: all). ``about`` names what the program wrote for the human with one key: ``redo`` of a hunk, the
    failing ``tests``; or to the agent: its ``services`` are gone, it runs in a ``loop``.
    ``audit`` is of the command of the project's setup that it tells of.
    """

    role: Literal["user", "agent", "program"]
    text: str
    kind: Literal["prompt", "steer", "feedback", "plan", "reply", "notice", "compacted"] = "notice"
    about: Literal["", "redo", "tests", "services", "loop"] = ""
    audit: Audit | None = None
    until: int = 0
    folded: int = 0
    opening: int = 0


class Question(Event, frozen=True, tag="question"):
    """The workflow waits for an answer. ``about`` is ``ask_user``, ``plan`` or ``budget``."""

    question: str
    options: tuple[str, ...] = ()
    about: Literal["ask_user", "plan", "budget"] = "ask_user"
    call_id: str = ""


class Answer(Event, frozen=True, tag="answer"):
    """The answer to the question with sequence number ``question``."""

    question: int
    text: str


class Paused(Event, frozen=True, tag="paused"):
    """The agent takes no further turn. ``reason`` is ``user``, or why the program paused itself.

    ``limit`` is the limit of the budget that was reached, and ``needs`` what the request that it did not allow may take
    of it: resuming extends that limit, and allows that request.
    """

    reason: str = "user"
    limit: Literal["", "usd", "tokens", "minutes", "turns"] = ""
    needs: float = 0.0


class Resumed(Event, frozen=True, tag="resumed"):
    """The agent goes on."""


class StopAsked(Event, frozen=True, tag="stop_asked"):
    """The user wants the agent's work to end: the end of a stage as ``stopped`` follows, also after a crash."""


class Error(Event, frozen=True, tag="error"):
    """Something failed; ``message`` is one line that says what happened and what to do."""

    message: str
    exit_code: int = 1
    retryable: bool = False


class AgentThinking(Event, frozen=True, tag="agent_thinking"):
    """A coalesced piece of what the model streams. ``void`` marks that earlier pieces of this turn are void."""

    text: str = ""
    kind: Literal["text", "thinking"] = "text"
    void: bool = False


class ModelCalled(Event, frozen=True, tag="model_called"):
    """A request went out; ``attempt_of_model`` counts from 1.

    ``heard`` is the ``seq`` of the last event that the request tells of, 0 outside the agent's conversation.
    """

    model: str
    attempt_of_model: int = 1
    heard: int = 0


class ModelFailed(Event, frozen=True, tag="model_failed"):
    """That request failed; ``retry_in`` seconds until the same model is asked again, else the next one is.

    ``kind`` is the kind of fault; tokens and ``usd`` (``None``: price not known) are what it cost all the same.
    """

    model: str
    reason: str
    retry_in: float | None = None
    kind: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = 0.0


class ModelReplied(Event, frozen=True, tag="model_replied"):
    """A complete turn: all that is needed to continue the conversation after a crash."""

    model: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = None
    seconds: float = 0.0
    tokens_cached: int = 0


class ToolStarted(Event, frozen=True, tag="tool_started"):
    """A tool call begins. ``title`` is its one-line form for the screen (``read src/cart.py``).

    ``by`` the user: a command (``run_command``) or ``shell`` of theirs in the agent's sandbox, no call of the model's.
    """

    call_id: str
    tool: str
    arguments: dict[str, Any] = {}
    title: str = ""
    by: Literal["agent", "user"] = "agent"


class ToolOutput(Event, frozen=True, tag="tool_output"):
    """A coalesced piece of a command's output, cleaned for the screen."""

    call_id: str
    stream: Literal["stdout", "stderr"]
    text: str


class ToolFinished(Event, frozen=True, tag="tool_finished"):
    """A tool call ended; ``text`` is exactly what the model is told.

    ``tree`` is W after the call, ``snapshot`` the tree of every file (the rollback point); both are empty when
    the call changed nothing since the last event that named them. ``audit`` is of the command that it ran, if any,
    and ``earlier`` of those before, where it needed several. ``by`` the user: what the model is told of it at its next
    turn (nothing where ``text`` is empty); what it changed stands in the ``snapshot`` before.
    """

    call_id: str
    tool: str
    ok: bool
    text: str
    exit_code: int | None = None
    seconds: float = 0.0
    tree: str = ""
    snapshot: str = ""
    audit: Audit | None = None
    earlier: tuple[Audit, ...] = ()
    by: Literal["agent", "user"] = "agent"


class FileEdit(Event, frozen=True, tag="file_edit"):
    """One path changed in W. ``by`` names who: a tool call's id, ``rejection``, ``undo`` or ``user``.

    ``added`` and ``removed`` are line counts (0 for binaries), ``old`` and ``new`` the path's blobs before and after
    (empty: absent).
    """

    path: str
    added: int
    removed: int
    tree: str
    by: str = ""
    old: str = ""
    new: str = ""

    @property
    def carries_out(self) -> bool:
        """Whether it carries out a decision of the user's."""
        return self.by in ("rejection", "undo")


class Decision(Event, frozen=True, tag="decision"):
    """The human decided about a hunk (or a whole set of them with one key: one event a hunk, same ``group``).

    ``tree`` is the accepted tree after the whole group, ``before`` the one before it. ``undoes`` is the ``group``
    that an ``undo`` takes back. ``part`` names lines or blocks of the hunk (:mod:`backspace_tui.core.units`), empty
    for all of it. ``lines`` are the unit's deleted and added lines as shown, for the message to the agent, and
    ``spot`` tells where they are, so that a mark is found again after further changes. ``voids`` are the ``seq`` of
    earlier decisions that this one ends: marks that are taken off, rejections that are accepted after all.
    """

    hunk: str
    path: str
    action: Action
    tree: str
    before: str
    group: int = 0
    comment: str = ""
    undoes: int = 0
    protected: bool = False
    part: str = ""
    lines: tuple[str, ...] = ()
    spot: Spot | None = None
    voids: tuple[int, ...] = ()


class Rejected(msgspec.Struct, frozen=True):
    """A rejection waiting for the agent's turn boundary, or carried out.

    ``overtaken`` tells that the agent changed the lines first, so that nothing was taken out. ``redo`` asks for
    another version.
    """

    hunk: str
    path: str
    comment: str
    lines: tuple[str, ...]
    seq: int
    applied: bool = False
    part: str = ""
    spot: Spot | None = None
    redo: bool = False
    overtaken: bool = False


class Verification(Event, frozen=True, tag="verification"):
    """What the tests say of ``tree``; ``baseline`` is the run on B alone (cached, shown once).

    ``audit`` is of the command, once it ended.
    """

    tree: str
    verdict: Verdict | Literal["running", "baseline"]
    command: str = ""
    exit_code: int | None = None
    output: str = ""
    seconds: float = 0.0
    audit: Audit | None = None


class GitOperation(Event, frozen=True, tag="git_operation"):
    """Something happened in a repository.

    ``operation``: ``base`` (B was imported: ``commit``, ``tree``, ``branch`` the user's branch or empty when
    detached, ``tag`` the nearest one, ``detail`` what the user should know, such as uncommitted changes left out),
    ``snapshot`` (W and the rollback tree outside a tool call; ``decisions`` are rejections that were carried out and
    wait again, since a roll back may have brought their lines back), ``rejected`` and ``restored`` (rejections carried
    out in W or put back into it: their ``hunks`` and, as ``decisions``, their ``seq``; ``before``, W until then, and
    ``accepted``, A at that moment; ``overtaken`` are those of them that the agent was faster than), ``commit``
    (``commit``, ``tree``, ``branch`` ours), ``push``, ``apply`` (``tree`` came into the user's checkout, whose HEAD is
    ``commit`` on ``branch`` then).
    """

    operation: Literal["base", "snapshot", "rejected", "restored", "commit", "push", "apply"]
    ok: bool = True
    detail: str = ""
    commit: str = ""
    tree: str = ""
    before: str = ""
    snapshot: str = ""
    branch: str = ""
    tag: str = ""
    command: str = ""
    output: str = ""
    hunks: tuple[str, ...] = ()
    accepted: str = ""
    decisions: tuple[int, ...] = ()
    overtaken: tuple[int, ...] = ()


class PrCreation(Event, frozen=True, tag="pr_creation"):
    """The pull request stands (forge ``github``) or is written down (forge ``local``)."""

    forge: str
    branch: str
    base: str
    title: str
    body: str
    commit: str
    url: str = ""
    number: int | None = None
    created: bool = True


class Unknown(Event, frozen=True, tag="unknown"):
    """An event of a newer version: kept as it was read in ``raw``, and skipped by the fold."""

    raw: dict[str, Any] = {}


AnyEvent = (
    SessionStarted | SessionFinished | StageStarted | StageFinished | Message | Question | Answer | Paused | Resumed
    | StopAsked | Error | AgentThinking | ModelCalled | ModelFailed | ModelReplied | ToolStarted | ToolOutput
    | ToolFinished | FileEdit | Decision | Verification | GitOperation | PrCreation | Unknown
)  # fmt: skip
