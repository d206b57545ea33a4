"""Model, Sandbox and Forge: all that the workflow knows of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from backspace_tui.core.cancellation import Cancelled as Cancelled
from backspace_tui.core.cancellation import CancelToken as CancelToken
from backspace_tui.core.sandboxes import Audit as Audit
from backspace_tui.core.sandboxes import OutputSink as OutputSink
from backspace_tui.core.sandboxes import Result as Result
from backspace_tui.core.sandboxes import Sandbox as Sandbox
from backspace_tui.core.sandboxes import SandboxError as SandboxError
from backspace_tui.core.sandboxes import SandboxFactory as SandboxFactory
from backspace_tui.core.sandboxes import SandboxGone as SandboxGone
from backspace_tui.core.sandboxes import SandboxSpec as SandboxSpec
from backspace_tui.core.sandboxes import Service as Service
from backspace_tui.core.sandboxes import Shell as Shell

# Model


class ToolCall(msgspec.Struct, frozen=True):
    """One call the model asks for.

    ``arguments`` is ``None`` when the model's text was not a JSON object; ``problem`` then says why, and the
    call is answered with that text instead of being run.
    """

    id: str
    name: str
    arguments: dict[str, Any] | None
    problem: str = ""


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation. ``tool_call_id`` is set on ``tool`` messages alone."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class ToolSchema(msgspec.Struct, frozen=True):
    """A tool as a model sees it; ``parameters`` is a JSON schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelRequest(msgspec.Struct, frozen=True):
    """One turn to be answered. ``purpose`` is the stage's name: analyze, plan, implement or critique.

    ``schema`` is a JSON schema that the text of the reply has to follow, as far as the server can see to that.
    """

    messages: tuple[ChatMessage, ...]
    purpose: str
    tools: tuple[ToolSchema, ...] = ()
    schema: dict[str, Any] | None = None


class ModelReply(msgspec.Struct, frozen=True):
    """A complete turn; ``usd`` is ``None`` where the price of the model is not known.

    ``tokens_cached`` of ``tokens_in`` were read from the provider's prompt cache. ``cut`` tells that the model had
    more to say than its length limit allows.
    """

    model: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = None
    seconds: float = 0.0
    tokens_cached: int = 0
    cut: bool = False


class Estimate(msgspec.Struct, frozen=True):
    """What a request to ``model`` will take, as far as that can be known before it is made.

    ``tokens_in`` are those of the request, ``tokens_out`` the most that may come back, ``usd`` what both cost
    (``None``: the price is not known), ``window`` the tokens that the model takes together (0: not known).
    """

    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = 0.0
    window: int = 0


class Failure(msgspec.Struct, frozen=True):
    """A request that failed: its kind (:data:`backspace_tui.models.faults.Kind`), why in one line, and its cost.

    ``retry_in`` is the wait in seconds before the same model is asked again, or ``None``. ``usd`` is ``None`` where
    tokens were used whose price is not known.
    """

    model: str
    kind: str
    reason: str
    retry_in: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = 0.0


class OverBudget(Exception):
    """The request would take more than may be spent; the text says which limit, and how to raise it."""


class ModelObserver(Protocol):
    """Hears what happens while a turn is made; called from the thread that called :meth:`Model.complete`."""

    def may_call(self, estimate: Estimate) -> None:
        """A request is about to go out, the first one or another try or the next model's.

        Raises:
            OverBudget: it may not; the turn ends with this exception.
        """

    def called(self, model: str, attempt: int) -> None:
        """A request goes out to ``model``."""

    def failed(self, failure: Failure) -> None:
        """That request failed. Partial text streamed so far is void."""

    def streamed(self, kind: Literal["text", "thinking"], text: str) -> None:
        """A piece of the reply arrived."""


class ModelUnavailable(Exception):
    """No configured model answered; the text lists each model with its reason in one line."""


class BadRequest(ModelUnavailable):
    """A provider says that the request itself is wrong: no model and no later try would take it."""


class RequestRefused(Exception):
    """The model cannot do what was asked at all (the offline agent's grammar); the text says what works."""


class Model(Protocol):
    """A chain of one or more language models, or something that acts as one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The models in order of preference, as shown to the user."""
        ...

    def estimate(self, request: ModelRequest) -> Estimate:
        """What the request will take of the model that would be asked now; quick, and without the network."""
        ...

    def complete(self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken) -> ModelReply:
        """Answer one turn.

        Raises:
            ModelUnavailable: every model failed.
            BadRequest: the request itself is wrong.
            RequestRefused: the request is outside what this model can do.
            OverBudget: the observer does not allow a request that would be made.
            Cancelled: ``cancel`` was flipped; partial output is discarded.
        """
        ...


# Forge


class PullRequest(msgspec.Struct, frozen=True):
    """What is to be opened: ``branch`` into ``base``, both plain branch names."""

    title: str
    body: str
    branch: str
    base: str
    draft: bool = True
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()


class OpenedPullRequest(msgspec.Struct, frozen=True):
    """What the forge holds now. ``created`` is false where an open one was found and brought up to date.

    ``notes`` tell the human what was asked for and not done (a label, a reviewer, a draft), one line each.
    """

    url: str
    number: int | None
    created: bool
    notes: tuple[str, ...] = ()


class ForgeError(Exception):
    """The forge refused or could not be reached; one line, no secrets, with what to do.

    ``retryable`` tells whether the same call may succeed later.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class Forge(Protocol):
    """Where accepted work goes. Every call may be repeated after a crash and then finds what it already did."""

    @property
    def name(self) -> str:
        """``local`` or ``github``."""
        ...

    def push(self, repository: str, commit: str, branch: str, previous: Sequence[str]) -> str:
        """Bring ``commit`` of the bare ``repository`` (a path) to ``branch``; returns what was done, in one line.

        The branch may be absent, at ``commit``, or at one of ``previous`` (commits of this session): anything
        else is somebody's work and raises :class:`ForgeError`.
        """
        ...

    def open_request(self, request: PullRequest) -> OpenedPullRequest:
        """Open the request, or update the open one of the same branch."""
        ...
