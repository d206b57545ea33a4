"""Sessions on one file, for tests of what the review says of its hunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from backspace_tui.sessions.review import ReviewHunk
from tests.review.scene import Scene, scene

Make = Callable[[bytes, bytes], Scene]


@contextmanager
def maker(folder: Path) -> Iterator[Make]:
    """Makes a session on one file and what the agent made of it; ends it afterwards."""
    with ExitStack() as stack:

        def make(base: bytes, work: bytes) -> Scene:
            session = stack.enter_context(scene(folder, {"a": base}))
            session.agent({"a": work})
            return session

        yield make


def at(session: Scene, line: str) -> ReviewHunk:
    """The hunk with this changed line (``"+new"``) that is not accepted."""
    wanted = (line[0], line[1:].encode())
    (found,) = (item for item in session.items("a") if wanted in item.hunk.lines and item.state != "accepted")
    return found


def name(session: Scene, line: str) -> str:
    """The id of that hunk."""
    return at(session, line).hunk.id
