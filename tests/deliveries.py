"""What the human says must reach the model: a server that notes every request as it arrives, and what must hold."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.crash import Human, Script
from tests.models.openai_server import Request
from tests.models.turns import Turn

Messages = list[dict[str, Any]]


class Ear(Script):
    """Notes requests before they are answered; :attr:`held` names the conversations that get no answer for now."""

    def __init__(self, agent: Callable[[Mapping[str, Any]], Turn], *gates: str) -> None:
        super().__init__(agent, *gates)
        self.arrived: list[tuple[str, Messages]] = []
        self.held: set[str] = set()
        self._noting = threading.Lock()

    def take(self, request: Request) -> Turn:
        kind = conversation_of(request.body)
        with self._noting:
            self.arrived.append((kind, request.body["messages"]))
        while kind in self.held and not self.closing.wait(0.02):
            pass
        return super().take(request)

    def heard(self, kind: str) -> list[Messages]:
        """The requests of one conversation in the order of their arrival."""
        with self._noting:
            return [messages for name, messages in self.arrived if name == kind]


def conversation_of(body: Mapping[str, Any]) -> str:
    """Which of the agent's conversations a request belongs to."""
    if body.get("tools"):
        return "implement"
    return "critique" if "# Changes" in body["messages"][1]["content"] else "plan"


class Told:
    """Texts of the human, with the number of requests that had arrived when each was acknowledged."""

    def __init__(self, human: Human, ear: Ear) -> None:
        self._human, self._ear = human, ear
        self._since: list[tuple[str, str, int]] = []

    def note(self, *texts: str, conversation: str = "implement", since: int | None = None) -> None:
        """These stand in the log now: every request that is made from now on tells each of them once.

        ``since`` is the number of requests of the conversation up to now, where the log cannot be waited for.
        """
        for text in texts:
            self._since.append((text, conversation, len(self._ear.heard(conversation)) if since is None else since))

    def check(self, *conversations: str) -> None:
        """Each text stands in every later request of its conversation once, always at one place, before in none."""
        for text, conversation, since in self._since:
            requests = self._ear.heard(conversation)
            assert len(requests) > since, f"never delivered: {text}"
            places = [[n for n, item in enumerate(request) if text in (item["content"] or "")] for request in requests]
            assert not any(places[:since]), f"before it was said: {text}"
            # A request that was made before may arrive after.
            first = since if places[since] or len(places) == since + 1 else since + 1
            assert len({tuple(found) for found in places[first:]}) == 1, f"at several places: {text} {places}"
            assert len(places[first]) == 1, f"not once: {text} {places[first]}"
            (place,) = places[first]
            assert requests[-1][place]["content"].count(text) == 1
        for conversation in conversations:
            requests = self._ear.heard(conversation)
            for before, after in itertools.pairwise(requests):
                assert after[: len(before)] == before, "what was told is told in another way"
