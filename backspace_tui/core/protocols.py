"""Model, Sandbox and Forge: all that the workflow knows of the outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from backspace_tui.core.trees import File


class Cancelled(Exception):
    """The user stopped what was going on."""


class CancelToken(Protocol):
    """A one-way switch that another thread may flip."""

    @property
    def cancelled(self) -> bool: ...

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` once, from the cancelling thread; at once if already cancelled.

        Returns a function that takes the registration back.
        """
        ...


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
    """One turn to be answered. ``purpose`` is the stage's name: analyze, plan, implement or critique."""

    messages: tuple[ChatMessage, ...]
    purpose: str
    tools: tuple[ToolSchema, ...] = ()


class ModelReply(msgspec.Struct, frozen=True):
    """A complete turn; ``usd`` is ``None`` where the price of the model is not known."""

    model: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = None
    seconds: float = 0.0


class ModelObserver(Protocol):
    """Hears what happens while a turn is made; called from the thread that called :meth:`Model.complete`."""

    def called(self, model: str, attempt: int) -> None:
        """A request goes out to ``model``."""

    def failed(self, model: str, reason: str, will_retry_in: float | None) -> None:
        """That request failed. Partial text streamed so far is void.

        ``will_retry_in`` is the wait in seconds before the same model is asked again, or ``None``.
        """

    def streamed(self, kind: Literal["text", "thinking"], text: str) -> None:
        """A piece of the reply arrived."""


class ModelUnavailable(Exception):
    """No configured model answered; the text lists each model with its reason in one line."""


class RequestRefused(Exception):
    """The model cannot do what was asked at all (the offline agent's grammar); the text says what works."""


class Model(Protocol):
    """A chain of one or more language models, or something that acts as one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The models in order of preference, as shown to the user."""
        ...

    def complete(self, request: ModelRequest, observer: ModelObserver, cancel: CancelToken) -> ModelReply:
        """Answer one turn.

        Raises:
            ModelUnavailable: every model failed.
            RequestRefused: the request is outside what this model can do.
            Cancelled: ``cancel`` was flipped; partial output is discarded.
        """
        ...


# Sandbox


class Result(msgspec.Struct, frozen=True):
    """How a command ended.

    ``exit_code`` is ``None`` when it was killed (``timed_out`` or ``cancelled``), and ``128 + n`` after signal
    ``n``. ``stdout`` and ``stderr`` are raw and capped; ``dropped`` counts the bytes left out of each stream's
    middle, where a line names the gap. ``limit`` names the setting to raise when a limit ended the command.
    ``duration`` is in seconds.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    duration: float = 0.0
    cancelled: bool = False
    dropped: int = 0
    limit: str = ""


class SandboxError(Exception):
    """The sandbox could not do what was asked; the text is one line that says what to do."""


class SandboxGone(SandboxError):
    """The sandbox died (engine restart, kill, crash): open another and load the last snapshot."""


class Service(msgspec.Struct, frozen=True):
    """A background command; ``output`` is the raw end of what it printed, both streams."""

    name: str
    command: str
    running: bool
    exit_code: int | None = None
    output: bytes = b""


OutputSink = Callable[[Literal["stdout", "stderr"], bytes], None]


class Sandbox(Protocol):
    """A running workspace that holds the agent's files. One command runs at a time; paths are relative to it."""

    @property
    def label(self) -> str:
        """What stands on the status line, such as ``docker, no net`` or ``bubblewrap, reduced isolation``."""
        ...

    def load(self, files: Mapping[str, File]) -> None:
        """Make the workspace hold exactly ``files`` (and a throwaway ``.git`` where git is installed)."""
        ...

    def export(self) -> dict[str, File]:
        """Every regular file and symbolic link outside ``.git``, validated; anything else is left out."""
        ...

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        on_output: OutputSink | None = None,
        cancel: CancelToken | None = None,
    ) -> Result:
        """Run a shell line or an argument list in the workspace and kill whatever it leaves behind.

        ``timeout`` is in seconds (default 120). ``on_output`` is called from the calling thread.
        """
        ...

    def read_file(self, path: str) -> bytes:
        """The content of a regular file; never follows a link out of the workspace.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError: as for :func:`open`.
        """
        ...

    def write_file(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Create or replace a file, with its folders; ``mode`` (a git mode) defaults to the present one or 100644."""
        ...

    def delete_file(self, path: str) -> None:
        """Remove a file or link, and folders that became empty."""
        ...

    def start_service(self, name: str, command: str) -> None:
        """Start a background command that outlives later commands, until stopped or :meth:`close`.

        Raises:
            ValueError: a service of that name is running.
        """
        ...

    def list_processes(self) -> list[Service]:
        """The services, running or ended."""
        ...

    def stop_service(self, name: str) -> None:
        """Kill a service with all that it started; raises :class:`KeyError` where there is none of that name."""
        ...

    def close(self) -> None:
        """End every process and remove all that was made; may be called twice, and from another thread."""
        ...


class SandboxSpec(msgspec.Struct, frozen=True):
    """What a session wants of its sandboxes. Sizes are docker's: ``512m``, ``2g``."""

    backend: str = "docker"
    image: str = ""
    memory: str = "2g"
    cpus: float = 2.0
    pids: int = 512
    workspace: str = "1g"
    network: str = "none"
    profile: str = "default"
    setup: tuple[str, ...] = ()
    setup_root: tuple[str, ...] = ()


class SandboxFactory(Protocol):
    """Opens sandboxes for a session: the agent's, and a fresh one for each verification."""

    def open(self, files: Mapping[str, File], *, session: str, purpose: str, tag: str = "") -> Sandbox:
        """A started sandbox that holds ``files``; ``purpose`` is ``agent`` or ``verify``.

        ``tag`` is a tag for the throwaway repository, since version numbers are often made from the nearest one.

        Raises:
            SandboxError: no engine, no image, engine full: with the one thing to do.
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
