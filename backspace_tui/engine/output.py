"""A command's output on its way to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from backspace_tui.core import events as ev
from backspace_tui.core.terminal_text import Cleaner

if TYPE_CHECKING:
    from backspace_tui.engine.job import Job

LOGGED_OUTPUT: Final = 256_000
"""Characters of one command's output that go to the log as it comes; the result keeps head and tail."""

LONGEST_PARTIAL: Final = 4_096
"""Characters of a line without an end that are held back."""


class CommandOutput:
    """Takes a command's raw output to the log: cleaned, masked, and no more than a cap."""

    def __init__(self, job: Job, call_id: str) -> None:
        self._job = job
        self._call_id = call_id
        self._cleaners = {"stdout": Cleaner(), "stderr": Cleaner()}
        self._partial = {"stdout": "", "stderr": ""}
        self._left = LOGGED_OUTPUT

    def __call__(self, stream: str, data: bytes) -> None:
        # Whole lines only, so that a secret cut in two by the stream is still masked.
        text = self._partial[stream] + self._cleaners[stream].feed(data)
        end = text.rfind("\n") + 1 or (len(text) if len(text) > LONGEST_PARTIAL else 0)
        self._partial[stream] = text[end:]
        self._emit(stream, text[:end])

    def close(self) -> None:
        for stream, cleaner in self._cleaners.items():
            self._emit(stream, self._partial[stream] + cleaner.flush())

    def _emit(self, stream: str, text: str) -> None:
        if not text or self._left <= 0:
            return
        if len(text) > self._left:
            text = text[: self._left] + "\n(more output is not shown; the result keeps its end)\n"
            self._left = 0
        self._left -= len(text)
        name: Literal["stdout", "stderr"] = "stderr" if stream == "stderr" else "stdout"
        text = self._job.parts.redactor.redact(text)
        self._job.recorder.stream(ev.ToolOutput(call_id=self._call_id, stream=name, text=text))
