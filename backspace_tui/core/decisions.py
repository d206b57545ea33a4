"""What the human's decisions add up to: the part of the fold that has to take thousands of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backspace_tui.core import events as ev

Group = tuple[ev.Decision, ...]


class Decisions:
    """Takes decisions one after the other; every attribute is a copy and safe to keep once the last one is in.

    The fields mean what they mean in :class:`~backspace_tui.core.state.SessionState`; ``restorations`` are those that
    came with these decisions.
    """

    def __init__(
        self,
        tree: str,
        group: int,
        standing: Sequence[Group],
        rejected: Mapping[int, ev.Rejected],
        marks: Mapping[int, ev.Decision],
        voided: Mapping[int, ev.Rejected | ev.Decision],
    ) -> None:
        self.tree, self.group = tree, group
        self.rejected, self.marks, self.voided = dict(rejected), dict(marks), dict(voided)
        self.restorations: list[ev.Rejected] = []
        # Of all groups only the last can change.
        self._closed = list(standing[:-1])
        self._last = list(standing[-1]) if standing else []

    @property
    def standing(self) -> tuple[Group, ...]:
        """The groups that an undo can take back, oldest first."""
        return (*self._closed, tuple(self._last)) if self._last else tuple(self._closed)

    def take(self, event: ev.Decision) -> None:
        """One more decision."""
        self.tree, self.group = event.tree, max(self.group, event.group)
        if event.action == "undo":
            self._undo(event)
            return
        for seq in event.voids:
            self._void(seq)
        if event.action in ("reject", "redo"):
            self.rejected[event.seq] = _rejected(event)
        elif event.action in ("review", "comment", "edit"):
            self.marks[event.seq] = event
        if event.action == "comment":
            return
        if self._last and self._last[0].group != event.group:
            self._closed.append(tuple(self._last))
            self._last = []
        self._last.append(event)

    def _void(self, seq: int) -> None:
        """What the decision ``seq`` did to the review is over."""
        if (rejection := self.rejected.pop(seq, None)) is not None:
            self.voided[seq] = rejection
        elif (mark := self.marks.pop(seq, None)) is not None:
            self.voided[seq] = mark

    def _undo(self, event: ev.Decision) -> None:
        """One ``undo`` event takes back one decision of the group; the group leaves with its last one."""
        if not self._last or self._last[0].group != event.undoes:
            return
        undone = self._last.pop()
        if not self._last and self._closed:
            self._last = list(self._closed.pop())
        rejection = self.rejected.pop(undone.seq, None)
        if rejection is not None and rejection.applied and not rejection.overtaken:
            self.restorations.append(rejection)
        self.marks.pop(undone.seq, None)
        for seq in undone.voids:
            again = self.voided.pop(seq, None)
            if isinstance(again, ev.Rejected):
                self.rejected[seq] = again
            elif again is not None:
                self.marks[seq] = again


def _rejected(decision: ev.Decision) -> ev.Rejected:
    return ev.Rejected(
        decision.hunk,
        decision.path,
        decision.comment,
        decision.lines,
        decision.seq,
        part=decision.part,
        spot=decision.spot,
        redo=decision.action == "redo",
    )
