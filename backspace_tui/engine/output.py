"""A command's output on its way to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from backspace_tui.core import events as ev
from backspace_tui.core.masked_stream import MaskedStream
from backspace_tui.core.terminal_text import Cleaner

if TYPE_CHECKING:
    from backspace_tui.engine.job import Job

LOGGED_OUTPUT: Final = 256_000
"""Characters of one command's output that go to the log as it comes; the result keeps head and tail."""


class CommandOutput:
    """Takes a command's raw output to the log: cleaned, masked, and no more than a cap."""

    def __init__(self, job: Job, call_id: str) -> None:
        self._job = job
        self._call_id = call_id
        self._cleaners = {"stdout": Cleaner(), "stderr": Cleaner()}
        # Whole lines only, so that a secret cut in two by the stream is still masked.
        self._masked = {name: MaskedStream(job.parts.redactor.redact) for name in self._cleaners}
        self._left = LOGGED_OUTPUT

    def __call__(self, stream: str, data: bytes) -> None:
        if self._left > 0:
            self._emit(stream, self._masked[stream].feed(self._cleaners[stream].feed(data)))

    def close(self) -> None:
        for stream, cleaner in self._cleaners.items():
            masked = self._masked[stream]
            self._emit(stream, masked.feed(cleaner.flush()) + masked.flush())

    def _emit(self, stream: str, text: str) -> None:
        if not text or self._left <= 0:
            return
        if len(text) > self._left:
            text = text[: self._left] + "\n(more output is not shown; the result keeps its end)\n"
            self._left = 0
        self._left -= len(text)
        name: Literal["stdout", "stderr"] = "stderr" if stream == "stderr" else "stdout"
        self._job.recorder.stream(ev.ToolOutput(call_id=self._call_id, stream=name, text=text))
