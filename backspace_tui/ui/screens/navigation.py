"""Moving about: lines, hunks, files and panes, and how they are shown. Nothing here changes the session."""

from __future__ import annotations

from backspace_tui.ui.bridge import Reviewer
from backspace_tui.ui.file_tree import FILTER_NAMES
from backspace_tui.ui.panes.bars import PromptBar
from backspace_tui.ui.panes.diff import LEAST_PAIRED, DiffView
from backspace_tui.ui.panes.files import FilesView
from backspace_tui.ui.present import shown_path
from backspace_tui.ui.screens.searching import Searching


class Navigation(Searching):
    """The keys that only look."""

    reviewer: Reviewer

    def on_files_view_chosen(self, message: FilesView.Chosen) -> None:
        if message.path != self.diff.path:
            self.show_file(message.path)
        if message.enter:
            self.activate("diff")

    def on_diff_view_hunk_changed(self, message: DiffView.HunkChanged) -> None:
        message.stop()

    # Keys

    def action_line(self, count: int) -> None:
        self.active_pane.move(count)

    def action_page(self, direction: int) -> None:
        self.active_pane.move(direction * max(1, self.active_pane.page_height - 2))

    def action_edge(self, direction: int) -> None:
        self.active_pane.go_to(0 if direction < 0 else self.active_pane.line_count() - 1)

    def action_shift(self, direction: int) -> None:
        self.diff.shift(direction)

    def action_hunk(self, step: int) -> None:
        places, shown = self.desk.places, self.files.filter
        current = self.diff.hunk.id if self.diff.hunk else ""
        at = next((n for n, place in enumerate(places) if (place.path, place.id) == (self.diff.path, current)), -1)
        way = range(at + 1, len(places)) if step > 0 or at < 0 else range(at - 1, -1, -1)
        place = next((places[n] for n in way if places[n].wanted(shown)), None)
        if place is None:
            self.say(self._none("no further hunk") if places else "no changes yet", "muted")
        else:
            self._go_to(place.path, place.id)

    def action_file(self, step: int) -> None:
        shown, here = self.files.filter, self.diff.path
        everything = self.desk.changed_paths()
        first: dict[str, str] = {here: ""}
        if shown not in ("all", "changed"):
            for place in self.desk.places:
                if place.wanted(shown):
                    first.setdefault(place.path, place.id)
        else:
            first |= dict.fromkeys(everything, "")
        paths = [path for path in everything if path in first]
        at = paths.index(here) + step if here in paths else 0
        if not 0 <= at < len(paths):
            self.say(self._none("no further file") if everything else "no changes yet", "muted")
            return
        self._go_to(paths[at], first[paths[at]])

    def action_undecided(self) -> None:
        here = self.diff.hunk.id if self.diff.hunk else ""
        place = self.desk.next_open(self.diff.path, here, self.files.filter)
        if place is None:
            self.say(self._none("no other hunk is undecided"), "muted")
        else:
            self._go_to(place.path, place.id)

    def _none(self, words: str) -> str:
        """``words``, and which filter is to blame."""
        shown = self.files.filter
        return words if shown in ("all", "changed") else f"{words} (f: the filter shows {FILTER_NAMES[shown]})"

    def _go_to(self, path: str, hunk: str) -> None:
        if path != self.diff.path:
            self.show_file(path, hunk)
        elif hunk:
            self.diff.select_id(hunk)
        if not self.wide or not isinstance(self.focused, FilesView):
            self.activate("diff")

    def action_fold(self) -> None:
        if self._pane == "files":
            self.files.enter_folder()
        else:
            self.diff.fold()

    def action_context(self, step: int) -> None:
        self.diff.change_context(step * 3)

    def action_filter(self) -> None:
        shown = self.files.cycle_filter()
        self.refresh_status()
        if shown not in ("all", "changed"):
            count = sum(place.wanted(shown) for place in self.desk.places)
            hunks = "1 hunk" if count == 1 else f"{count} hunks"
            self.say(f"{hunks} {FILTER_NAMES[shown]}: ] and tab stop at no others", "muted")

    def action_unit(self) -> None:
        if self._split_or_join():
            return
        what = {"hunk": "whole hunks", "block": "single blocks of changed lines", "line": "single changed lines"}
        self.say(f"the keys decide about {what[self.diff.cycle_unit()]}", "muted")

    def _split_or_join(self) -> bool:
        """Show the rename at the cursor as two files, or its two files as one again."""
        view, path = self.diff.hunk, self.diff.path
        file = self.desk.file(path)
        if view is None or file is None or self.directory is None:
            return False
        if view.kind == "rename" and not view.gone:
            self.splits[path] = file.renamed_from
            self.say("shown as two files; s on the deleted one joins them again", "muted")
        elif target := next((new for new, old in self.splits.items() if path == old and view.kind == "deleted"), ""):
            del self.splits[target]
            self.show_file(target)
        else:
            return False
        self.reviewer.split = frozenset(self.splits)
        self.reviewer.want(self.desk.state, now=True)
        return True

    def action_range(self) -> None:
        if self.diff.start_range():
            self.say("move to the other end of the range   escape: no range", "muted")
        elif self.diff.hunk is None or not self.diff.hunk.parted:
            self.say("there are no lines to choose from here", "muted")

    def action_side_by_side(self) -> None:
        if not self.diff.toggle_side_by_side():
            self.say(f"both sides beside each other need {LEAST_PAIRED} columns in this pane", "muted")

    def action_emphasis(self) -> None:
        marked = self.diff.toggle_emphasis()
        self.say("words that differ are marked" if marked else "words that differ are not marked", "muted")

    def action_pane(self, name: str) -> None:
        self.activate(name)

    def action_prompt(self) -> None:
        if isinstance(self.focused, FilesView):
            self.files.enter()
        elif self.launch.looks_only:
            self.activate("diff")
        else:
            self.set_focus(self.prompt.input)

    def action_back(self) -> None:
        self.status.unsay()
        if self.prompt.purpose != self.prompt.home:
            self.prompt.use_for(self.prompt.home)
            self.prompt.display = not self.launch.looks_only
        elif self.focused is self.diff and self.diff.end_range():
            return
        elif self.focused is not self.prompt.input:
            self.unmark()
        self.active_pane.focus()

    def on_prompt_bar_sent(self, message: PromptBar.Sent) -> None:
        message.stop()
        if message.purpose == "search":
            self.search_for(message.text)
        else:
            self.active_pane.focus()
            if message.text:
                self.entered(message.text, answers=message.purpose == "answer")

    def entered(self, text: str, *, answers: bool = False) -> None:
        """A line was entered for the session; ``answers`` what the agent asks."""
        raise NotImplementedError

    def action_help(self) -> None:
        from backspace_tui.ui.screens.dialogs import TextDialog
        from backspace_tui.ui.screens.texts import help_entries

        entries = help_entries(self.keys, replay=self.launch.replay, read_only=self.launch.read_only)
        self.app.push_screen(TextDialog("Keys", entries, indent=max(len(entry.label) for entry in entries) + 2))

    def action_why(self) -> None:
        from backspace_tui.ui.screens.dialogs import TextDialog
        from backspace_tui.ui.screens.texts import why_entries

        shown = self.diff.hunk
        item = self.desk.item(self.diff.path, shown.id) if shown is not None else None
        if item is None:
            self.say("no hunk here", "muted")
            return
        entries = why_entries(self.desk.call_of(item.why), item.comment)
        self.app.push_screen(TextDialog(f"Why  {shown_path(self.diff.path)}", entries, indent=12))

    def action_refuse(self) -> None:
        self.say("read only: this window asks nothing of the session", "muted")

    def action_leave(self) -> None:
        self.app.exit(0)
