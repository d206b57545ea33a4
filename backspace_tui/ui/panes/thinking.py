"""The two panes that follow what happens."""

from __future__ import annotations

from backspace_tui.ui.feed import LABEL, Fed
from backspace_tui.ui.panes.transcript import TranscriptView


class ThinkingView(TranscriptView):
    """One line an event, in few words; what the model streams stands at the end while it comes."""

    TITLE = "Thinking"
    indent = LABEL

    def take(self, fed: Fed) -> None:
        """Show what some events added."""
        if fed.thinking and not fed.streaming:
            self.close_stream(keep=False)
        self.extend(fed.thinking)
        if fed.stream is not None:
            self.stream(fed.stream)
        elif not fed.streaming:
            self.close_stream(keep=False)


class SandboxView(TranscriptView):
    """Commands and their output, broken at the edge as a terminal would."""

    TITLE = "Sandbox"
    words = False

    def take(self, fed: Fed) -> None:
        """Show what some events added."""
        self.extend(fed.sandbox)
