"""The only way between the window and the rest: threads that read, ask and send, and messages that come back.

Three daemon threads of our own, since a worker of Textual's that hangs would keep the program from ending: one
follows the log, one reads objects and computes the review, one sends commands in the order of the keys pressed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from msgspec.structs import replace
from textual.message import Message

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState, fold

if TYPE_CHECKING:
    from backspace_tui.sessions.client import Client
    from backspace_tui.sessions.objects import Objects
    from backspace_tui.sessions.review import Review, ReviewFile

POLL: Final = 0.03
EAGER_POLL: Final = 0.008
"""Seconds between two looks at a log that rests, and at one that grew within the last :data:`EAGER`."""
EAGER: Final = 2.0
DEBOUNCE: Final = 0.1
_CHUNK: Final = 500
_MANY: Final = 10_000
_TURN: Final = 0.0005
"""Seconds for which a thread that lexes may keep the window from drawing; Python allows ten times as many."""

_DRAWING: Final = 0.2
"""Seconds for which the rest of a review waits for its first hunks to be drawn."""

T = TypeVar("T")
Post = Callable[[Message], object]


class Batch(NamedTuple):
    """Events in order, and the state after the last of them."""

    events: Sequence[ev.AnyEvent]
    state: SessionState


class LogGrew(Message):
    """Batches wait in :attr:`Follower.batches`."""


class Reviewed(Message):
    """The review as it is after the event ``seq``; ``work`` is the tree W that it shows.

    ``failing`` are the lines of the newest verdict's output by the path under review that they name.
    """

    def __init__(self, review: Review, seq: int, work: str, failing: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.review, self.seq, self.work, self.failing = review, seq, work, failing


class Glimpsed(Message):
    """The first hunks of a review that is still being computed, or will be once they are :attr:`drawn`."""

    def __init__(self, file: ReviewFile) -> None:
        super().__init__()
        self.file = file
        self.drawn = threading.Event()


class Replied(Message):
    """A command was answered; ``error`` is one line, or empty. ``lost``: whether it was carried out is not known."""

    def __init__(self, command: cmd.AnyCommand, seq: int, error: str, *, lost: bool = False) -> None:
        super().__init__()
        self.command, self.seq, self.error, self.lost = command, seq, error, lost


class Launched(Message):
    """A new session stands in ``directory``; or, with ``error``, it does not."""

    def __init__(self, directory: str, error: str = "", prompt: str = "") -> None:
        super().__init__()
        self.directory, self.error, self.prompt = directory, error, prompt


class Forked(Message):
    """A fork stands in ``directory`` and runs; or, with ``error``, it does not."""

    def __init__(self, directory: str, error: str = "") -> None:
        super().__init__()
        self.directory, self.error = directory, error


class Failed(Message):
    """Something in the background failed; ``text`` is one line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Done(Message):
    """A task of :class:`Background` is finished: call ``deliver`` on the loop."""

    def __init__(self, deliver: Callable[[], None]) -> None:
        super().__init__()
        self.deliver = deliver


class Background:
    """One daemon thread that does tasks in order."""

    def __init__(self, name: str, post: Post) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._post = post
        sys.setswitchinterval(_TURN)
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, task: Callable[[], T], deliver: Callable[[T], None] | None = None) -> None:
        """Do ``task`` in the thread, then hand its result to ``deliver`` on the loop."""

        def done() -> None:
            result = task()
            if deliver is not None:
                self._post(Done(lambda: deliver(result)))

        self._tasks.put(done)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task()
            except Exception as error:
                self._post(Failed(one_line(error)))


class Follower:
    """Follows the log of one session in a thread of its own and folds it."""

    def __init__(self, directory: Path, post: Post) -> None:
        self.batches: deque[Batch] = deque()
        self.read_all = False
        """Whether everything that the log held at first is in a batch, or was."""
        self._directory, self._post = directory, post
        self._stop = threading.Event()
        self._posted = False
        self._wake = threading.Event()
        threading.Thread(target=self._follow, name="log", daemon=True).start()

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._wake.set()

    def hurry(self) -> None:
        """Something has just been written: look now."""
        self._wake.set()

    def drain(self, seconds: float) -> list[Batch]:
        """What has come, as far as it can be taken; :class:`LogGrew` follows again when more comes."""
        self._posted = False
        taken: list[Batch] = []
        until = time.monotonic() + seconds
        while self.batches and (not taken or time.monotonic() < until):
            taken.append(self.batches.popleft())
        return taken

    def _follow(self) -> None:
        from backspace_tui.sessions.log import LogTail

        tail = LogTail(self._directory)
        state = SessionState()
        grew = 0.0
        try:
            while not self._stop.is_set():
                events = tail.read()
                now = time.monotonic()
                grew = now if events else grew
                for start in range(0, len(events), _CHUNK):
                    chunk = events[start : start + _CHUNK]
                    state = fold(chunk, state)
                    self.batches.append(Batch(chunk, state))
                first, self.read_all = not self.read_all, True
                if first or (events and not self._posted):
                    self._posted = True
                    self._post(LogGrew())
                if not events:
                    self._wake.wait(EAGER_POLL if now - grew < EAGER else POLL)
                    self._wake.clear()
        except Exception as error:
            self._post(Failed(one_line(error)))


class Reviewer:
    """Computes the review of the newest state: at once after a pause, else at most every 100 ms.

    Renames whose new path is in :attr:`split` are shown as two files. While it is :attr:`computing`, no garbage is
    collected; afterwards it is.
    """

    def __init__(self, background: Background, post: Post, objects: Callable[[], Objects]) -> None:
        self._background, self._post, self._objects = background, post, objects
        self.split: frozenset[str] = frozenset()
        self._newest: SessionState | None = None
        self._mutex = threading.Lock()
        self._scheduled = False
        self._last = 0.0
        self._hurry = threading.Event()
        self._glimpsed = False
        self.computing = False

    def want(self, state: SessionState, *, now: bool = False) -> None:
        """``state`` changed in a way that the review shows; ``now`` does not wait for more changes."""
        if not (state.accepted_tree and state.work_tree):
            return
        with self._mutex:
            self._newest = state
            if now:
                self._hurry.set()
            if self._scheduled:
                return
            self._scheduled = True
        self._background.run(self._compute)

    def _compute(self) -> None:
        from backspace_tui.sessions.failing import failing, newest
        from backspace_tui.sessions.review import review

        wait = DEBOUNCE - (time.monotonic() - self._last)
        if wait > 0:
            self._hurry.wait(wait)
        with self._mutex:
            state, self._newest = self._newest, None
            self._scheduled = False
            self._hurry.clear()
            split = self.split
        self._last = time.monotonic()
        if state is not None:
            self.computing = True
            try:
                with _uncollected():
                    if not self._glimpsed:
                        self._glimpse(state)
                    found = review(self._objects(), state, split=split)
            finally:
                self.computing = False
            named = failing(newest(state), [file.path for file in found.files])
            self._post(Reviewed(found, state.last_seq, state.work_tree, named))

    def _glimpse(self, state: SessionState) -> None:
        from backspace_tui.sessions.glimpse import glimpse

        self._glimpsed = True
        if (file := glimpse(self._objects(), state)) is not None:
            message = Glimpsed(file)
            self._post(message)
            # Computing would hold up the drawing.
            message.drawn.wait(_DRAWING)


class Sender:
    """Sends commands to a session's process, one after the other, starting it again where it has ended."""

    def __init__(self, background: Background, post: Post, directory: Path) -> None:
        self._background, self._post, self._directory = background, post, directory
        self._client: Client | None = None

    def send(self, command: cmd.AnyCommand, *, start: bool = True) -> None:
        """Send ``command``; :class:`Replied` follows. Without ``start`` an ended process stays ended."""
        self._background.run(lambda: self._deliver(command, start=start))

    def _deliver(self, command: cmd.AnyCommand, *, start: bool) -> None:
        from backspace_tui.sessions.errors import SessionError

        try:
            reply = self._ask(command, start=start)
        except SessionError as error:
            self._post(Replied(command, 0, one_line(error), lost=True))
        else:
            self._post(Replied(command, reply.seq, reply.error))

    def _ask(self, command: cmd.AnyCommand, *, start: bool) -> cmd.Reply:
        from backspace_tui.sessions.client import Client, ensure_running
        from backspace_tui.sessions.errors import SessionError
        from backspace_tui.sessions.store import is_running

        if self._client is not None and not is_running(self._directory):
            self._drop()
        if self._client is None:
            if start:
                ensure_running(self._directory)
            self._client = Client.connect(self._directory)
        try:
            return self._client.send(command)
        except SessionError:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: a large review is a million objects, none of them garbage."""
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > _MANY:
            # Nor are they to be looked through once it is made.
            gc.freeze()
        gc.enable()


def start_session(template: ev.SessionStarted, prompt: str) -> Launched:
    """Make a session for ``prompt`` and start its process (for a background thread)."""
    from backspace_tui.sessions.client import launch
    from backspace_tui.sessions.errors import SessionError
    from backspace_tui.sessions.store import new_session, remove

    directory: Path | None = None
    try:
        directory = new_session()
        started = replace(template, session=directory.name, prompt=prompt, interactive=True)
        launch(cmd.HostRequest(directory=os.fspath(directory), started=started))
    except SessionError as error:
        if directory is not None and not (directory / "events.jsonl").exists():
            # Nothing happened in it: an empty session would only stand in the user's list.
            with contextlib.suppress(SessionError):
                remove(directory)
        return Launched("", str(error), prompt)
    return Launched(os.fspath(directory))


def fork_session(source: Path, at: int, prompt: str) -> Forked:
    """Fork a session after its event ``at`` and start the new one's process (for a background thread)."""
    from backspace_tui.sessions.client import ensure_running
    from backspace_tui.sessions.errors import SessionError
    from backspace_tui.sessions.fork import fork

    try:
        directory = fork(source, at, prompt)
        ensure_running(directory)
    except SessionError as error:
        return Forked("", one_line(error))
    return Forked(os.fspath(directory))


def one_line(error: BaseException) -> str:
    """An error for the status line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
