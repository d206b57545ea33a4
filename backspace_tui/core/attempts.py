"""What the user is told of the requests to models: each that failed, what follows, and which model is asked then."""

from __future__ import annotations

from backspace_tui.core import events as ev
from backspace_tui.core.spending import money


class Attempts:
    """Turns a session's events, in order, into one line for each failed request and each change of the model."""

    def __init__(self) -> None:
        self._order: tuple[str, ...] = ()
        self._asked = ""
        self._given_up = 0

    def tell(self, event: ev.AnyEvent) -> str:
        """The line for ``event``, or an empty string."""
        match event:
            case ev.SessionStarted():
                self._order = event.models
            case ev.ModelCalled():
                before, self._asked = self._asked, event.model
                return self._changed(before, event.model) if before not in ("", event.model) else ""
            case ev.ModelFailed():
                self._given_up += event.retry_in is None
                return f"{event.model}: {event.reason.rstrip('.')}; {self._next(event)}{_cost(event)}"
            case ev.ModelReplied() | ev.Paused() | ev.StageStarted():
                self._given_up = 0
            case _:
                pass
        return ""

    def _changed(self, before: str, now: str) -> str:
        order = self._order
        recovered = before in order and now in order and order.index(now) < order.index(before)
        return f"back to {now}" if recovered else f"{now} is asked"

    def _next(self, event: ev.ModelFailed) -> str:
        if event.retry_in is None:
            if event.kind == "request":
                return "no other model would take it either"
            left = not self._order or self._given_up < len(self._order)
            return "the next model is asked" if left else "no other model is left"
        match event.kind:
            case "context":
                return "asked again with less of the conversation"
            case "no_tools":
                return "asked again with the tools as text"
            case _:
                return f"again in {event.retry_in:.3g} s" if event.retry_in > 0 else "again at once"


def _cost(event: ev.ModelFailed) -> str:
    tokens = event.tokens_in + event.tokens_out
    if event.usd:
        return f" (cost {money(event.usd)})"
    return f" (cost {tokens:,} tokens)" if tokens else ""
