"""Moving about: lines, hunks, files, panes and searching. Nothing here changes the session."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.file_tree import FileTree
from backspace_tui.ui.highlight import Span, spans
from backspace_tui.ui.panes.bars import PromptBar
from backspace_tui.ui.panes.diff import DiffView
from backspace_tui.ui.panes.files import FilesView
from backspace_tui.ui.present import badges, hunk_views, shown_lines
from backspace_tui.ui.screens.base import WorkspaceBase

_MAX_SHOWN: Final = 4 << 20
_LIST_SECONDS: Final = 20.0


class Navigation(WorkspaceBase):
    """The keys that only look."""

    _search = ""
    _content: tuple[str, str, str] = ("", "", "")
    _tree_of: tuple[str, int] = ("", -1)

    # Showing files

    def show_file(self, path: str, hunk: str = "") -> None:
        """Show ``path`` in the diff pane, at ``hunk`` or at its first undecided one."""
        self.diff.show(path, self._views(path), empty="reading ...")
        if hunk:
            self.diff.select_id(hunk)
        self.files.select(path)
        self.load_content()

    def refresh_diff(self) -> None:
        """The review changed: show the same file as it is now, or the first one there is."""
        paths = self.desk.changed_paths()
        if not self.diff.path or (not self.diff.hunks and self.diff.path not in paths and self._pane != "files"):
            place = self.desk.next_open("", "")
            if place is not None or paths:
                self.show_file(place.path if place else paths[0], place.id if place else "")
        else:
            self.diff.show(self.diff.path, self._views(self.diff.path), empty="no changes")
            self.load_content()
        self.diff.mark_busy(self.desk.busy)

    def _views(self, path: str) -> tuple[HunkView, ...]:
        file = self.desk.file(path)
        if file is None:
            return ()
        return hunk_views(file, {item.why: self.desk.thought_of(item.why) for item in file.hunks})

    def load_content(self) -> None:
        """Read the shown file's two sides in the background: first its lines, then its colours."""
        path, state = self.diff.path, self.desk.state
        old_tree, new_tree = state.accepted_tree, self.desk.work_tree or state.work_tree
        if not path:
            return
        if self.directory is None:
            self.content_work.run(lambda: _read_file(Path(self.launch.repository), path), self._plain(path))
            return
        if not (old_tree and new_tree):
            return

        def blobs() -> tuple[str, str]:
            sides = (self.objects().entries(tree).get(path) for tree in (old_tree, new_tree))
            old, new = (side.oid if side and side.mode in (0o100644, 0o100755, 0o120000) else "" for side in sides)
            return old, new

        def found(oids: tuple[str, str]) -> None:
            if path != self.diff.path or self._content == (path, *oids):
                return
            self._content = (path, *oids)
            self._load_blobs(path, *oids)

        self.content_work.run(blobs, found)

    def _load_blobs(self, path: str, old: str, new: str) -> None:
        def lines() -> tuple[list[str], list[str]]:
            before, after = (self._blob_lines(oid) for oid in (old, new))
            return before, after

        def deliver(sides: tuple[list[str], list[str]]) -> None:
            before, after = sides
            self.diff.load(path, after, {})
            self.content_work.run(
                lambda: {"old": spans(path, "\n".join(before)), "new": spans(path, "\n".join(after))},
                lambda colours: self._coloured(path, (path, old, new), after, colours),
            )

        self.content_work.run(lines, deliver)

    def _coloured(
        self, path: str, content: tuple[str, str, str], lines: list[str], colours: dict[str, list[list[Span]]]
    ) -> None:
        if content == self._content:
            self.diff.load(path, lines, colours)

    def _blob_lines(self, oid: str) -> list[str]:
        if not oid:
            return []
        if self.objects().size(oid) > _MAX_SHOWN:
            return [f"{self.objects().size(oid):,} bytes: too large to show"]
        return shown_lines(self.objects().blob(oid))

    def _plain(self, path: str):  # type: ignore[no-untyped-def]
        def deliver(lines: list[str]) -> None:
            self._content = ("", "", "")
            self.diff.load(path, lines, {})
            self.content_work.run(
                lambda: spans(path, "\n".join(lines)), lambda new: self.diff.load(path, lines, {"new": new})
            )

        return deliver

    # The tree of files

    def list_files(self) -> None:
        """Build the tree of files in the background."""
        if self.directory is None:
            self.content_work.run(
                lambda: FileTree(_tracked(self.launch.repository), {}),
                lambda tree: self.files.show(tree, "no files here: they come with the session"),
            )
            return
        state, review = self.desk.state, self.desk.review
        tree = self.desk.work_tree or state.work_tree
        if not tree or self._tree_of == (tree, self.desk.review_seq):
            return
        self._tree_of = (tree, self.desk.review_seq)
        marks = badges(review) if review is not None else {}
        self.content_work.run(
            lambda: FileTree(list(self.objects().entries(tree)), marks),
            lambda found: self.files.show(found, "no files"),
        )

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
        places = self.desk.places
        current = self.diff.hunk.id if self.diff.hunk else ""
        at = next((n for n, place in enumerate(places) if (place.path, place.id) == (self.diff.path, current)), None)
        target = (0 if at is None else at + step) if places else -1
        if not 0 <= target < len(places):
            self.say("no further hunk" if places else "no changes yet", "muted")
            return
        self._go_to(places[target].path, places[target].id)

    def action_file(self, step: int) -> None:
        paths = self.desk.changed_paths()
        at = paths.index(self.diff.path) + step if self.diff.path in paths else 0
        if not 0 <= at < len(paths):
            self.say("no further file" if paths else "no changes yet", "muted")
            return
        self._go_to(paths[at], "")

    def action_undecided(self) -> None:
        place = self.desk.next_open(self.diff.path, self.diff.hunk.id if self.diff.hunk else "")
        if place is None:
            self.say("no other hunk is undecided", "muted")
        else:
            self._go_to(place.path, place.id)

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
        self.files.cycle_filter()

    def action_pane(self, name: str) -> None:
        self.activate(name)

    def action_prompt(self) -> None:
        if isinstance(self.focused, FilesView):
            self.files.enter()
        elif self.launch.replay:
            self.activate("diff")
        else:
            self.prompt.input.focus()

    def action_search(self) -> None:
        self.prompt.display = True
        self.prompt.use_for("search", "/ ")
        self.prompt.input.focus()

    def action_search_next(self, direction: int) -> None:
        if not self._search:
            self.say("search first with /", "muted")
        elif not self.active_pane.find(self._search, direction, again=True):
            self.say(f"{self._search!r} is not in this pane", "muted")

    def search_for(self, text: str) -> None:
        """The line after ``/`` was entered."""
        self._search = text
        self.prompt.display = not self.launch.replay
        self.active_pane.focus()
        if not text:
            self._unmark()
        elif not self.active_pane.find(text, 1, again=False):
            self.say(f"{text!r} is not in this pane", "muted")

    def _unmark(self) -> None:
        for pane in (self.files, self.diff, self.thinking, self.sandbox):
            pane.unmark()

    def action_back(self) -> None:
        self.status.unsay()
        if self.prompt.purpose != "prompt":
            self.prompt.use_for("prompt")
            self.prompt.display = not self.launch.replay
        elif self.focused is not self.prompt.input:
            self._unmark()
        self.active_pane.focus()

    def on_prompt_bar_sent(self, message: PromptBar.Sent) -> None:
        message.stop()
        if message.purpose == "search":
            self.search_for(message.text)
        else:
            self.active_pane.focus()
            if message.text:
                self.entered(message.text)

    def entered(self, text: str) -> None:
        """A line was entered for the session."""
        raise NotImplementedError

    def action_help(self) -> None:
        from backspace_tui.ui.screens.dialogs import TextDialog
        from backspace_tui.ui.screens.texts import help_entries

        entries = help_entries(self.keys, replay=self.launch.replay)
        self.app.push_screen(TextDialog("Keys", entries, indent=max(len(entry.label) for entry in entries) + 2))

    def action_why(self) -> None:
        from backspace_tui.ui.screens.dialogs import TextDialog
        from backspace_tui.ui.screens.texts import why_entries

        file = self.desk.file(self.diff.path)
        if file is None or self.diff.hunk is None:
            self.say("no hunk here", "muted")
            return
        shown = self.diff.hunk
        why = next((item.why for item in file.hunks if item.hunk.id == shown.id), 0)
        entries = why_entries(self.desk.call_of(why), shown.comment)
        self.app.push_screen(TextDialog(f"Why  {self.diff.path}", entries, indent=12))

    def action_leave(self) -> None:
        self.app.exit(0)


def _tracked(repository: str) -> list[str]:
    """The files git knows in the user's checkout; for a background thread. Empty for a URL."""
    if not os.path.isdir(repository):
        return []
    done = subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--full-name", ":/"],
        cwd=repository,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_LIST_SECONDS,
        env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
    )
    return sorted({os.fsdecode(path) for path in done.stdout.split(b"\0") if path})


def _read_file(repository: Path, path: str) -> list[str]:
    """A file of the user's checkout, before there is a session; links are not followed out of it."""
    file = repository / path
    if file.is_symlink() or not file.resolve().is_relative_to(repository.resolve()) or not file.is_file():
        return ["(not a regular file)"]
    if file.stat().st_size > _MAX_SHOWN:
        return [f"{file.stat().st_size:,} bytes: too large to show"]
    return shown_lines(file.read_bytes())
