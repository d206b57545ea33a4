"""The keys and lines that ask the session for work: prompts, verifying, publishing, pausing."""

from __future__ import annotations

from collections.abc import Sequence

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.core.stages import AGENT_STAGES
from backspace_tui.sessions.failing import FAILURES, request
from backspace_tui.ui.bridge import Launched, start_session
from backspace_tui.ui.keymap import split
from backspace_tui.ui.panes.transcript import Entry
from backspace_tui.ui.screens.answering import Answering
from backspace_tui.ui.screens.editing import EditFailed, released


class Working(Answering):
    """What sets the agent, the tests and the forge to work."""

    asked_verdict = False
    _starting = False
    _sent_tests = 0

    # The workflow

    def action_verify(self) -> None:
        if self.desk.state.accepted_tree == self.desk.state.base_tree and not self.desk.busy:
            self.say("nothing is accepted yet: space accepts the hunk at the cursor", "muted")
            return
        self.asked_verdict = True
        self.send(cmd.Verify())

    def action_tests(self) -> None:
        from backspace_tui.ui.screens.texts import tests_entries

        path = self.diff.path
        verification, stale = self.desk.verdict
        lines = self.desk.failing.get(path, ())
        entries = tests_entries(self.desk.state, verification, path, lines, stale=stale)
        self.show_tests("What the tests say", entries, verification)

    def show_tests(self, title: str, entries: Sequence[Entry], verification: ev.Verification | None) -> None:
        """A dialog about a verdict, from which the output of a failing run can be sent."""
        from backspace_tui.ui.screens.dialogs import TextDialog

        def answered(answer: str | None) -> None:
            if answer:
                self.action_send_tests()

        key = self.keys["tests.send"]
        fails = verification is not None and verification.verdict in FAILURES and self.sender is not None
        sends = fails and verification is self.desk.state.verdict
        hint = f"{split(key)[0]}: send it to the agent   escape: close" if sends else "escape: close"
        dialog = TextDialog(title, entries, hint=hint, answers={key: "send"} if sends else {})
        self.app.push_screen(dialog, answered)

    def action_send_tests(self) -> None:
        verification, stale = self.desk.verdict
        if verification is None or stale:
            self.say("what is accepted now is not verified: V runs the tests", "muted")
        elif verification.verdict not in FAILURES:
            self.say("there is no failing output: T sends it to the agent when the tests fail", "muted")
        elif self._sent_tests == verification.seq:
            self.say("the agent has this output already", "muted")
        elif self.sender is not None:
            self._sent_tests = verification.seq
            self.send(cmd.Say(text=request(verification), about="tests"))
            self.say("the failing output goes to the agent", "accent")

    def action_pull_request(self) -> None:
        state = self.desk.state
        if state.request is not None and not state.request_stale and not self.desk.busy:
            self.show_request()
            return
        if state.accepted_tree == state.base_tree and not self.desk.busy:
            self.say("nothing is accepted yet: space accepts the hunk at the cursor", "muted")
            return
        busy = self.desk.busy_hunks
        left = sum(place.undecided and place.id not in busy for place in self.desk.places)
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

    def action_apply_work(self) -> None:
        """Ask how, then have the session put what is accepted into the user's checkout."""
        from backspace_tui.ui.screens.dialogs import TextDialog
        from backspace_tui.ui.screens.texts import apply_entries

        state = self.desk.state
        if self.sender is None or (state.accepted_tree == state.base_tree and not self.desk.busy):
            self.say("nothing is accepted yet: space accepts the hunk at the cursor", "muted")
            return

        def answered(answer: str | None) -> None:
            if answer in ("merge", "uncommitted"):
                self.say("putting it into your checkout ...", "accent")
                self.send(cmd.Apply(uncommitted=answer == "uncommitted"))

        answers = {"m": "merge", "u": "uncommitted"}
        hint = "m: merge   u: uncommitted   escape: close"
        self.app.push_screen(TextDialog("Apply", apply_entries(state), hint=hint, answers=answers), answered)

    def action_pause(self) -> None:
        paused = bool(self.desk.state.paused)
        self.send(cmd.Resume() if paused else cmd.Pause(), start=paused)

    def action_stop(self) -> None:
        from backspace_tui.ui.screens.dialogs import ConfirmDialog

        state = self.desk.state
        works = state.status in ("running", "paused", "waiting") and state.stage_now in AGENT_STAGES
        if self.sender is None or not works:
            self.say("the agent is not working", "muted")
            return

        def confirmed(answer: str | None) -> None:
            if answer:
                self.send(cmd.Stop(), start=False)

        text = "End the agent's work now? A running command is killed; the review keeps what there is."
        self.app.push_screen(ConfirmDialog("Stop", text), confirmed)

    # The agent's sandbox

    def action_command(self) -> None:
        """Begin a command for the agent's sandbox on the prompt line."""
        if self.launch.looks_only:
            self.action_refuse()
            return
        self.set_focus(self.prompt.input)
        self.prompt.input.value = "!"
        self.prompt.input.cursor_position = 1

    def action_shell(self) -> None:
        from backspace_tui.sessions.errors import SessionError
        from backspace_tui.sessions.shell import run_shell

        if self.launch.read_only:
            self.action_refuse()
            return
        if self.directory is None:
            self.say("there is no session yet: say what you want on the prompt line", "muted")
            return
        try:
            with released(self.app):
                said = run_shell(self.directory, stdin=0, stdout=1)
        except (EditFailed, SessionError) as problem:
            self.say(str(problem), "warn")
        else:
            self.say(said, "good")

    def _run(self, line: str) -> None:
        if self.directory is None:
            self.say("there is no session yet: say what you want on the prompt line", "muted")
        elif line:
            self.send(cmd.RunForUser(command=line))
        else:
            self.action_shell()

    # The prompt line

    def entered(self, text: str, *, answers: bool = False) -> None:
        if text.startswith("!"):
            self._run(text[1:].strip())
            return
        if text.startswith("/") and " " not in text and self._command(text):
            return
        if self.directory is None:
            self.start(text)
        elif answers:
            self.answer(self.question.meaning(text))
        else:
            self.send(cmd.Say(text=text))
            at_work = self.desk.state.stage_now in AGENT_STAGES
            self.say("the agent reads it at its next turn" if at_work else "sent", "muted")

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
            case "/plan":
                self.edit_plan()
            case "/stop":
                self.action_stop()
            case "/shell":
                self.action_shell()
            case "/sessions":
                self.action_sessions()
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

    def action_sessions(self) -> None:
        """Show all sessions."""
        raise NotImplementedError

    def attach(self, directory: str) -> None:
        """A session stands in ``directory``: follow it."""
        raise NotImplementedError
