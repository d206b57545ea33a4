"""The keys that decide: accept, reject, mark, comment, do anew, undo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from backspace_tui.core import commands as cmd
from backspace_tui.core.stages import AGENT_STAGES
from backspace_tui.ui.bridge import Background, Replied, Sender
from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.keymap import split
from backspace_tui.ui.panes.diff import DiffView
from backspace_tui.ui.present import shown_path
from backspace_tui.ui.screens.navigation import Navigation
from backspace_tui.ui.selection import hunk_of

Decided = Literal["accept", "reject", "unstage", "review", "unreview", "redo"]

PROTECTED: Final = "This file is run by tools or by CI on the machines of those who check it out."


class Deciding(Navigation):
    """Everything goes over the socket; what became of it is read from the log alone."""

    sender: Sender | None = None
    _warned = ""

    def connect(self) -> None:
        """The session's directory is known: commands can be sent."""
        assert self.directory is not None
        if self.launch.read_only:
            return
        self.sender = Sender(Background("sender", self.post_message), self.post_message, self.directory)

    def send(self, command: cmd.AnyCommand, *, start: bool = True) -> None:
        """Send ``command``, starting the session's process again if it has ended."""
        if self.launch.read_only:
            self.action_refuse()
        elif self.sender is None:
            self.say("there is no session yet: say what you want on the prompt line", "muted")
        else:
            self.sender.send(command, start=start)

    def decidable(self) -> HunkView | None:
        """The hunk at the cursor, if a decision about it can be made now; else that is said."""
        view = self.diff.hunk
        if self.unseen:
            self.say(f"{split(self.keys['pane.diff'])[0]}: look at the hunk first", "muted")
        elif view is None or self.sender is None:
            self.say("no hunk here", "muted")
        elif self.desk.review is None:
            self.say("the review is still being read: one moment", "muted")
        elif view.id in self.desk.busy_hunks:
            self.say("a decision about this hunk is under way: one moment", "muted")
        elif view.gone:
            self.say("it is out of the agent's files already: u undoes the last decision", "muted")
        else:
            return view
        return None

    @property
    def unseen(self) -> bool:
        """Whether the hunk at the cursor is behind a pane that has nothing to do with it."""
        return not self.wide and self._pane in ("thinking", "sandbox")

    # Decisions

    def action_decide(self, action: Literal["accept", "reject", "review"]) -> None:
        view = self.decidable()
        if view is None:
            return
        wanted: Decided = action
        if action == "reject" and view.settled:
            wanted = "unstage"
        elif action == "review" and view.state == "reviewed" and not view.kept:
            wanted = "unreview"
        if refusal := _refusal(view, wanted):
            self.say(refusal, "muted")
            return
        if wanted == "accept" and self._first_look(view):
            return
        unit = self.diff.unit
        if wanted == "accept" and view.protected:
            self._confirm_protected(unit)
            return
        self.decide((unit,), wanted)
        if wanted in ("accept", "reject", "review"):
            self.advance(unit)

    def decide(
        self,
        units: Sequence[str],
        action: Decided,
        *,
        protected: bool = False,
        comment: str = "",
        seen: int | None = None,
    ) -> None:
        """Send a decision; its hunks take no other one until the review shows what became of it.

        ``seen`` is the review that ``units`` were chosen in, where it may be another one by now.
        """
        seen = self.desk.review_seq if seen is None else seen
        self.send(cmd.Decide(tuple(units), action, comment=comment, accept_protected=protected, seen=seen))
        self.under_way(units, action)

    def under_way(self, units: Sequence[str], action: str = "") -> None:
        """A decision about ``units`` is being sent; where ``action`` tells what it will lead to, that shows at once."""
        if self.desk.sent(units, action):
            self.refresh_diff()
            self.refresh_status()
        else:
            self.diff.mark_busy(self.desk.deciding)

    def advance(self, unit: str) -> None:
        """Go on to what is undecided next: in this hunk where units are smaller, else the next hunk."""
        if self.diff.unit == unit and self.diff.advance_unit():
            return
        hunk = self.diff.hunk.id if self.diff.hunk else ""
        place = self.desk.next_open(self.diff.path, hunk, self.files.filter)
        if place is not None:
            if place.path == self.diff.path:
                self.diff.select_id(place.id)
            else:
                self.show_file(place.path, place.id)
        elif self.files.filter not in ("all", "changed"):
            self.say(f"no other undecided hunk is {self.files.filter}   f: the next filter", "good")
        elif unit != hunk_of(unit):
            self.say("no other hunk is undecided", "muted")
        else:
            self.say("that was the last undecided hunk   V: verify   P: pull request", "good")

    def _first_look(self, view: HunkView) -> bool:
        """Whether the key is to be pressed again, since the agent changed the hunk after the user had decided."""
        if view.changed not in ("seen", "rejected") or self._warned == view.id:
            self._warned = ""
            return False
        self._warned = view.id
        what = "changed since you looked" if view.changed == "seen" else "made again after you rejected it"
        self.say(f"{what}: {split(self.keys['hunk.accept'])[0]} again accepts it", "warn")
        return True

    def on_diff_view_hunk_changed(self, message: DiffView.HunkChanged) -> None:
        super().on_diff_view_hunk_changed(message)
        if self.diff.hunk is None or self.diff.hunk.id != self._warned:
            self._warned = ""

    def _confirm_protected(self, unit: str) -> None:
        from backspace_tui.ui.screens.dialogs import ConfirmDialog

        seen = self.desk.review_seq

        def confirmed(answer: str | None) -> None:
            if answer:
                self.decide((unit,), "accept", protected=True, seen=seen)
                self.advance(unit)

        title = f"Accept {shown_path(self.diff.path)}"
        self.app.push_screen(ConfirmDialog(title, f"{PROTECTED} Accept it all the same?"), confirmed)

    def action_accept_file(self) -> None:
        path = self.diff.path
        hunks, left = self.desk.sweep(path)
        file = self.desk.file(path)
        if self.unseen:
            self.say(f"{split(self.keys['pane.diff'])[0]}: look at the file first", "muted")
            return
        if self.sender is None or not (hunks or left) or file is None:
            self.say("nothing in this file is undecided", "muted")
            return
        why = "the file runs on someone's machine" if file.protected else "changed since you looked"
        one_by_one = f"left out, to be accepted one by one: {why}"
        if hunks:
            self.decide(hunks, "accept")
        if not left:
            self.advance(hunks[-1])
            return
        self.diff.select_id(left[0])
        done = f"{_count(len(hunks))} accepted, {len(left)}" if hunks else _count(len(left))
        self.say(f"{done} {one_by_one}", "warn")

    def action_undo(self) -> None:
        if not self.desk.state.standing and not self.desk.busy:
            self.say("nothing to undo", "muted")
        else:
            self.send(cmd.Undo())

    def action_comment(self) -> None:
        from backspace_tui.ui.screens.dialogs import LineDialog

        if self.decidable() is None:
            return
        unit, seen = self.diff.unit, self.desk.review_seq

        def written(text: str | None) -> None:
            if text:
                self.send(cmd.Decide(hunks=(unit,), action="comment", comment=text, seen=seen))
                when = "at its next turn" if self.desk.state.stage_now in AGENT_STAGES else "with what you ask for next"
                self.say(f"the agent reads it {when}", "muted")

        self.app.push_screen(
            LineDialog(f"Comment on {self._unit_name(unit)}", "what should the agent know about it?"), written
        )

    def action_redo(self) -> None:
        from backspace_tui.ui.screens.dialogs import LineDialog

        view = self.decidable()
        if view is None:
            return
        if refusal := _refusal(view, "redo"):
            self.say(refusal, "muted")
            return
        unit, seen = self.diff.unit, self.desk.review_seq

        def written(text: str | None) -> None:
            if text and view.id not in self.desk.busy_hunks:
                self.decide((unit,), "redo", comment=text, seen=seen)
                self.advance(unit)

        self.app.push_screen(LineDialog(f"Do {self._unit_name(unit)} anew", "what should be different?"), written)

    def _unit_name(self, unit: str) -> str:
        part = unit.removeprefix(hunk_of(unit))
        what = f"{'block' if part[0] == '/' else 'line'} {part[1:]} of " if part else ""
        return f"{what}hunk {self.diff.hunk_index + 1} of {shown_path(self.diff.path)}"

    # Answers

    def on_replied(self, message: Replied) -> None:
        other = False
        match message.command:
            case cmd.Decide(hunks=units):
                other = self.desk.replied(units, message.seq, message.error)
            case cmd.Edit(hunk=hunk):
                other = self.desk.replied((hunk,), message.seq, message.error)
        if other:
            self.refresh_diff()
            self.refresh_status()
        self.diff.mark_busy(self.desk.deciding)
        if message.error:
            self.say(self.refused(message.command, message.error), "bad")
            if isinstance(message.command, cmd.Say) and not (message.command.about or message.lost):
                self.prompt.give_back(message.command.text)
        self.answered(message.seq)

    def refused(self, command: cmd.AnyCommand, error: str) -> str:
        """A command was refused; the line that says so."""
        return error

    def answered(self, seq: int) -> None:
        """A command was carried out as the event ``seq`` (0: refused)."""
        raise NotImplementedError


def _refusal(view: HunkView, action: Decided) -> str:
    """Why the hunk's state does not allow the action, or empty."""
    if view.settled and action == "redo":
        return "accepted already: x takes it back first"
    if view.settled and action in ("accept", "review"):
        return "accepted already: x takes it back"
    if view.state == "rejected" and action in ("reject", "review", "redo"):
        return "rejected already: u undoes the last decision"
    if view.kept and action == "review":
        return "decided already: your own version is accepted here"
    return ""


def _count(hunks: int) -> str:
    return "1 hunk" if hunks == 1 else f"{hunks} hunks"
