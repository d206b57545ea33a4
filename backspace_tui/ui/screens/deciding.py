"""The keys that ask something of the session: decisions, verifying, publishing, pausing, prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from backspace_tui.core import commands as cmd
from backspace_tui.ui.bridge import Background, Launched, Replied, Sender, start_session
from backspace_tui.ui.screens.navigation import Navigation

Decided = Literal["accept", "reject", "unstage", "review", "unreview"]

_SAID: Final = {
    "accepted": "accepted already: x takes it back",
    "rejected": "rejected already: u undoes the last decision",
}


class Deciding(Navigation):
    """Everything goes over the socket; what became of it is read from the log alone."""

    sender: Sender | None = None
    _starting = False

    def connect(self) -> None:
        """The session's directory is known: commands can be sent."""
        assert self.directory is not None
        self.sender = Sender(Background("sender", self.post_message), self.post_message, self.directory)

    def send(self, command: cmd.AnyCommand, *, start: bool = True) -> None:
        """Send ``command``, starting the session's process again if it has ended."""
        if self.sender is None:
            self.say("there is no session yet: say what you want on the prompt line", "muted")
        else:
            self.sender.send(command, start=start)

    # Decisions

    def action_decide(self, action: Literal["accept", "reject", "review"]) -> None:
        hunk = self.diff.hunk
        if hunk is None or self.sender is None:
            self.say("no hunk here", "muted")
            return
        if hunk.id in self.desk.busy:
            return
        wanted: Decided = action
        if action == "reject" and hunk.state == "accepted":
            wanted = "unstage"
        elif action == "review":
            wanted = "unreview" if hunk.state == "reviewed" else "review"
        if (
            wanted in ("accept", "reject", "review")
            and hunk.state in _SAID
            and not (wanted == "accept" and hunk.state == "rejected" and not hunk.gone)
        ):
            self.say(_SAID[hunk.state], "muted")
            return
        if wanted == "accept" and hunk.protected:
            self._confirm_protected((hunk.id,))
            return
        self._decide((hunk.id,), wanted)
        if wanted in ("accept", "reject", "review"):
            self._advance(hunk.id)

    def _decide(self, hunks: Sequence[str], action: Decided, *, protected: bool = False) -> None:
        self.desk.sent(hunks)
        self.diff.mark_busy(self.desk.busy)
        self.send(cmd.Decide(hunks=tuple(hunks), action=action, accept_protected=protected))

    def _advance(self, hunk: str) -> None:
        """Go on to the next undecided hunk at once, so that a second key cannot mean the same hunk."""
        place = self.desk.next_open(self.diff.path, hunk)
        if place is None:
            self.say("that was the last undecided hunk   V: verify   P: pull request", "good")
        elif place.path == self.diff.path:
            self.diff.select_id(place.id)
        else:
            self.show_file(place.path, place.id)

    def _confirm_protected(self, hunks: Sequence[str]) -> None:
        from backspace_tui.ui.screens.dialogs import ConfirmDialog

        def confirmed(answer: str | None) -> None:
            if answer:
                self._decide(hunks, "accept", protected=True)
                self._advance(hunks[-1])

        text = "This file is run by tools or by CI on the machines of those who check it out. Accept it all the same?"
        self.app.push_screen(ConfirmDialog(f"Accept {self.diff.path}", text), confirmed)

    def action_accept_file(self) -> None:
        hunks = self.desk.open_hunks(self.diff.path)
        file = self.desk.file(self.diff.path)
        if not hunks or file is None:
            self.say("nothing in this file is undecided", "muted")
        elif file.protected:
            self._confirm_protected(hunks)
        else:
            self._decide(hunks, "accept")
            self._advance(hunks[-1])

    def action_undo(self) -> None:
        if not self.desk.state.standing and not self.desk.busy:
            self.say("nothing to undo", "muted")
        else:
            self.send(cmd.Undo())

    def action_comment(self) -> None:
        from backspace_tui.ui.screens.dialogs import LineDialog

        hunk = self.diff.hunk
        if hunk is None or self.sender is None:
            self.say("no hunk here", "muted")
            return

        def written(text: str | None) -> None:
            if text:
                self.send(cmd.Decide(hunks=(hunk.id,), action="comment", comment=text))

        title = f"Comment on hunk {self.diff.hunk_index + 1} of {self.diff.path}"
        self.app.push_screen(LineDialog(title, "what should the agent know about this hunk?"), written)

    # The workflow

    def action_verify(self) -> None:
        if self.desk.state.accepted_tree == self.desk.state.base_tree and not self.desk.busy:
            self.say("nothing is accepted yet: space accepts the hunk at the cursor", "muted")
            return
        self.asked_verdict = True
        self.send(cmd.Verify())

    def action_pull_request(self) -> None:
        state = self.desk.state
        if state.request is not None and not state.request_stale and not self.desk.busy:
            self.show_request()
            return
        if state.accepted_tree == state.base_tree and not self.desk.busy:
            self.say("nothing is accepted yet: space accepts the hunk at the cursor", "muted")
            return
        left = sum(place.undecided and place.id not in self.desk.busy for place in self.desk.places)
        if not left:
            self.publish("yes")
            return
        from backspace_tui.ui.screens.dialogs import ConfirmDialog

        which = "One hunk is" if left == 1 else f"{left} hunks are"
        text = (
            f"{which} undecided and will be left out. Verify, commit and open the pull request with what is accepted?"
        )
        self.app.push_screen(ConfirmDialog("Pull request", text), self.publish)

    def publish(self, answer: str | None) -> None:
        """Ask for the pull request, if the answer is yes."""
        if answer:
            self.say("verifying, then committing ...", "accent")
            self.send(cmd.Publish(pull_request=True))

    def show_request(self) -> None:
        """The pull request that stands."""
        from backspace_tui.ui.screens.dialogs import TextDialog
        from backspace_tui.ui.screens.texts import request_entries

        request = self.desk.state.request
        if request is not None:
            title = f"Pull request #{request.number}" if request.number else f"Pull request ({request.forge})"
            self.app.push_screen(TextDialog(title, request_entries(request)))

    asked_verdict = False

    def action_pause(self) -> None:
        paused = bool(self.desk.state.paused)
        self.send(cmd.Resume() if paused else cmd.Pause(), start=paused)

    def action_stop(self) -> None:
        from backspace_tui.ui.screens.dialogs import ConfirmDialog

        if self.sender is None or self.desk.state.status != "running":
            self.say("the agent is not working", "muted")
            return

        def confirmed(answer: str | None) -> None:
            if answer:
                self.send(cmd.Stop(), start=False)

        text = "End the agent's work now? A running command is killed; the review keeps what there is."
        self.app.push_screen(ConfirmDialog("Stop", text), confirmed)

    # The prompt line

    def entered(self, text: str) -> None:
        if text.startswith("/") and " " not in text and self._command(text):
            return
        if self.directory is None:
            self.start(text)
        elif self.desk.state.question is not None:
            self.send(cmd.Answer(text=self.question.answer(text)))
        else:
            self.send(cmd.Say(text=text))
            self.say("the agent reads it at its next turn" if self.desk.state.status == "running" else "sent", "muted")

    def _command(self, text: str) -> bool:
        match text:
            case "/verify":
                self.action_verify()
            case "/pr":
                self.action_pull_request()
            case "/pause":
                self.send(cmd.Pause(), start=False)
            case "/resume":
                self.send(cmd.Resume())
            case "/stop":
                self.action_stop()
            case "/help":
                self.action_help()
            case "/quit":
                self.action_leave()
            case _ if "/" in text[1:]:  # a path is a prompt like another
                return False
            case _:
                self.say(f"{text} is no command: /help lists them", "warn")
        return True

    def start(self, prompt: str) -> None:
        """The first prompt: make the session and start its process, in the background."""
        template = self.launch.template
        if template is None or self._starting:
            self.say("the session is starting" if self._starting else "no session can be started here", "muted")
            return
        self._starting = True
        self.say("starting the session ...", "accent")
        self.content_work.run(lambda: self.post_message(start_session(template, prompt)))

    def on_launched(self, message: Launched) -> None:
        self._starting = False
        if message.error:
            self.say(message.error, "bad")
            self.prompt.input.value = message.prompt
            self.prompt.input.cursor_position = len(message.prompt)
            self.prompt.input.focus()
            return
        self.status.unsay()
        self.attach(message.directory)

    def attach(self, directory: str) -> None:
        """A session stands in ``directory``: follow it."""
        raise NotImplementedError

    def on_replied(self, message: Replied) -> None:
        if isinstance(message.command, cmd.Decide):
            self.desk.replied(message.command.hunks, message.seq, message.error)
            self.diff.mark_busy(self.desk.busy)
        if message.error:
            self.say(message.error, "bad")
        self.answered(message.seq)

    def answered(self, seq: int) -> None:
        """A command was carried out as the event ``seq`` (0: refused)."""
        raise NotImplementedError
