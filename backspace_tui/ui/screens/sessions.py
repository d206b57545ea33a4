"""The screen of all sessions: find one, and join, replay, rename or delete it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingsMap
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Input, Static

from backspace_tui.core.pruning import parse_rule
from backspace_tui.core.sizes import show_megabytes
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.sessions import pruning, searching, store
from backspace_tui.sessions.table import row
from backspace_tui.ui.bridge import Background, Done, Failed
from backspace_tui.ui.keymap import KEYS, SESSION_KEYS, SHARED, session_bindings, split
from backspace_tui.ui.panes.bars import Part, StatusBar
from backspace_tui.ui.panes.session_list import SessionList, Shown, details
from backspace_tui.ui.panes.transcript import Entry
from backspace_tui.ui.screens.dialogs import ConfirmDialog, LineDialog, TextDialog

if TYPE_CHECKING:
    from backspace_tui.core.pruning import Plan, Rule
    from backspace_tui.sessions.store import SessionInfo
    from backspace_tui.ui.window import BackspaceApp

STATES: Final = {
    "all": (),
    "running": (),
    "waiting": ("waiting", "paused"),
    "interrupted": ("interrupted",),
    "ended": ("done", "failed", "stopped", "broken"),
}
"""The filters by state, in the order of the key, and the states that each shows."""

_RELOAD: Final = 2.0
_SHOWN_AGAIN: Final = 0.1
_NAMED: Final = 8


class SessionsScreen(Screen[None]):
    """Reads and searches in threads of its own; the list is read anew every two seconds."""

    AUTO_FOCUS = "#sessions-list"

    def __init__(self, keys: dict[str, str], *, filter: str = "") -> None:
        super().__init__()
        self.keys = keys
        self._bindings = BindingsMap(session_bindings(keys))
        self._sessions: list[SessionInfo] = []
        self._filter = filter
        self._state = "all"
        self._searched = ""
        self._found: dict[str, str] | None = None
        self._stop = threading.Event()
        self._line_is = "filter"
        self._loaded = self._loading = self._planned = False

    @property
    def backspace(self) -> BackspaceApp:
        """The application, by its own type."""
        return cast("BackspaceApp", self.app)

    def compose(self) -> ComposeResult:
        self.header = Static(id="sessions-header", markup=False)
        self.rows = SessionList(id="sessions-list")
        self.detail = Static(id="sessions-detail", markup=False)
        self.mark = Static("/ ", id="prompt-mark", markup=False)
        self.line = Input(id="prompt-input", compact=True, select_on_focus=False)
        self.bar = StatusBar(id="status")
        yield self.header
        yield self.rows
        yield self.detail
        with Horizontal(id="sessions-line"):
            yield self.mark
            yield self.line
        yield self.bar

    def on_mount(self) -> None:
        self._work = Background("sessions", self.post_message)
        self._seek = Background("search", self.post_message)
        self.query_one("#sessions-line").display = False
        self._load()
        self.set_interval(_RELOAD, self._load)
        self._show()

    def on_unmount(self) -> None:
        self._stop.set()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.height < 20, "short")

    # The list

    def _load(self) -> None:
        if not self._loading:
            self._loading = True
            self._work.run(self._read, self._take)

    def _read(self) -> list[SessionInfo]:
        try:
            return store.list_sessions()
        finally:
            self._loading = False

    def _take(self, found: list[SessionInfo]) -> None:
        self._loaded = True
        self._sessions = found
        self._show()

    def _wanted(self, info: SessionInfo) -> bool:
        if self._state == "running" and not info.running:
            return False
        if STATES[self._state] and info.status not in STATES[self._state]:
            return False
        if self._found is not None and info.id not in self._found:
            return False
        return all(searching.mentions(info, word) or word in info.status for word in self._filter.split())

    def _show(self) -> None:
        self._planned = False
        shown = [Shown(info, row(info)) for info in self._sessions if self._wanted(info)]
        note = "reading the sessions ..."
        if self._loaded:
            note = "no session fits (escape: show all)" if self._sessions else "no sessions yet"
        self.rows.show(shown, note)
        few = f"{len(shown)} of {len(self._sessions)}" if len(shown) < len(self._sessions) else f"{len(shown)}"
        self.rows.headline(few)
        size = sum(info.summary.size for info in self._sessions if info.summary is not None)
        parts = [
            Part(f"state: {self._state}", "warn", 1) if self._state != "all" else Part(""),
            Part(f"/ {clean(self._filter)}", "warn", 1) if self._filter else Part(""),
            Part(f"logs: {clean(self._searched)}", "warn", 1) if self._searched else Part(""),
            *(Part(f"{split(self.keys[key.id])[0]} {_SHORT[key.id]}", "muted", n + 2) for n, key in enumerate(_TOLD)),
            Part(f"{show_megabytes(size)} in all", "muted", 1),
        ]
        self.bar.show(parts)
        self._detail()

    def on_session_list_moved(self, message: SessionList.Moved) -> None:
        message.stop()
        self._detail()

    def _detail(self) -> None:
        """The session at the cursor in more words."""
        self.header.update(Text(f"  {self.rows.header}", self.backspace.line_styles["muted"], no_wrap=True))
        info = self.rows.selected
        if info is None:
            self.detail.update("")
            return
        found = (self._found or {}).get(info.id, "")
        self.detail.update(details(info, found, self.backspace.line_styles))

    # Moving

    def action_line(self, count: int) -> None:
        self.rows.move(count)

    def action_page(self, direction: int) -> None:
        self.rows.move(direction * max(1, self.rows.page_height - 2))

    def action_edge(self, direction: int) -> None:
        self.rows.go_to(0 if direction < 0 else self.rows.line_count() - 1)

    # Finding

    def action_state(self) -> None:
        names = list(STATES)
        self._state = names[(names.index(self._state) + 1) % len(names)]
        self._show()

    def action_search(self) -> None:
        self._open_line("filter", "/ ", self._filter, "title, prompt, repository or state")

    def action_search_logs(self) -> None:
        self._open_line("logs", "s ", self._searched, "any text in the sessions' logs; enter searches")

    def _open_line(self, purpose: str, mark: str, value: str, hint: str) -> None:
        self._line_is = purpose
        self.mark.update(mark)
        self.line.placeholder = hint
        self.query_one("#sessions-line").display = True
        with self.prevent(Input.Changed):
            self.line.value = value
        self.line.cursor_position = len(value)
        self.line.focus()

    def _close_line(self) -> None:
        self.query_one("#sessions-line").display = False
        self.rows.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._line_is == "filter":
            self._filter = event.value.strip()
            self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_line()
        if self._line_is == "logs":
            self._search(event.value.strip())

    def _search(self, text: str) -> None:
        """Search the logs for ``text``; what was being searched for before is not any more."""
        self._stop.set()
        stop = self._stop = threading.Event()
        self._searched, self._found = text, {} if text else None
        self._show()
        if not text:
            return
        sessions = list(self._sessions)
        self.bar.say("searching ...   escape: stop", "accent", seconds=600)

        def seek() -> None:
            for info, where in searching.search(sessions, text, stop.is_set):
                self.post_message(Done(lambda info=info, where=where: self._hit(stop, info, where)))  # type: ignore[misc]

        self._seek.run(seek, lambda _: self._sought(stop))

    def _hit(self, stop: threading.Event, info: SessionInfo, where: str) -> None:
        if stop is self._stop and not stop.is_set() and self._found is not None:
            self._found[info.id] = where
            if not self._planned:
                self._planned = True
                self.set_timer(_SHOWN_AGAIN, self._show)

    def _sought(self, stop: threading.Event) -> None:
        if stop is self._stop and not stop.is_set():
            found = len(self._found or ())
            self._show()
            self.bar.say(f"found in {found} session{'' if found == 1 else 's'}   escape: show all", "good")

    def action_back(self) -> None:
        """One step back: the line, the search, the filters, the screen."""
        self.bar.unsay()
        if self.focused is self.line:
            if self._line_is == "filter":
                self._filter = ""
            self._close_line()
        elif self._found is not None:
            self._stop.set()
            self._searched, self._found = "", None
        elif self._filter or self._state != "all":
            self._filter, self._state = "", "all"
        else:
            self.dismiss()
            return
        self._show()

    def action_leave(self) -> None:
        # Leaving by the key that also leaves the workspace goes back there; by Ctrl+C, out of both.
        if self.backspace.pressed in ("ctrl+c", "ctrl+q"):
            self.app.exit(0)
        else:
            self.dismiss()

    def action_help(self) -> None:
        keys = (*SESSION_KEYS, *(key for key in KEYS if key.id in SHARED))
        entries = [Entry(f"{key.text}  [{key.id}]", "text", " ".join(split(self.keys[key.id])), "key") for key in keys]
        self.app.push_screen(TextDialog("Keys", entries, indent=max(len(entry.label) for entry in entries) + 2))

    # Doing

    def say(self, message: str, style: str = "warn") -> None:
        """One line on the status line for a while."""
        self.bar.say(message, style)

    def on_done(self, message: Done) -> None:
        message.stop()
        message.deliver()

    def on_failed(self, message: Failed) -> None:
        message.stop()
        self.say(message.text, "bad")

    def action_open(self) -> None:
        info = self.rows.selected
        if info is None:
            return
        if info.id == self.backspace.session and not self.backspace.launch.replay:
            self.dismiss()
        elif info.status == "broken":
            self.say(f"it cannot be opened: {info.title}", "bad")
        else:
            self.say("joining ..." if info.running else "starting its process ...", "accent")

            def start() -> None:
                from backspace_tui.sessions.client import ensure_running

                ensure_running(info.directory)

            self._work.run(start, lambda _: self.backspace.open_session(info.directory, info.repository, info.title))

    def action_replay(self) -> None:
        info = self.rows.selected
        if info is None:
            return
        if info.status == "broken":
            self.say(f"it cannot be replayed: {info.title}", "bad")
        else:
            self.backspace.open_session(info.directory, info.repository, info.title, replay=True)

    def action_rename(self) -> None:
        info = self.rows.selected
        if info is None:
            return

        def renamed(name: str | None) -> None:
            if name:
                self._work.run(lambda: store.rename(info.directory, name), lambda _: self._load())

        self.app.push_screen(LineDialog("Rename", "a name for this session", info.name), renamed)

    def action_delete(self) -> None:
        info = self.rows.selected
        if info is None:
            return
        if info.running:
            self.say("it is running: join it and stop it first", "warn")
        elif info.id == self.backspace.session:
            self.say("this window shows it", "warn")
        else:

            def confirmed(answer: str | None) -> None:
                if answer:
                    self._work.run(lambda: store.remove(info.directory), lambda _: self._load())

            loss = info.summary is not None and info.summary.uncommitted
            text = f"{visible(info.title)}\n\nDelete the session and all its snapshots for good?"
            text += " Its accepted work is in no commit and goes with it." if loss else ""
            self.app.push_screen(ConfirmDialog("Delete", text), confirmed)

    def action_prune(self) -> None:
        def given(text: str | None) -> None:
            if not text:
                return
            try:
                rule = parse_rule(text)
            except ValueError as problem:
                self.say(str(problem))
                return
            # The one that this window shows is in use, whatever its process does.
            others = [info for info in self._sessions if info.id != self.backspace.session]
            self._confirm_prune(pruning.choose(others, rule), rule)

        self.app.push_screen(LineDialog("Prune", "older 30d   larger 500m   keep 20   force"), given)

    def _confirm_prune(self, chosen: Plan, rule: Rule) -> None:
        stay = len(chosen.unsaved)
        spared = f"{stay} with accepted work that is in no commit stay{'s' if stay == 1 else ''} (force takes them too)"
        if not chosen.doomed:
            self.say(f"nothing to remove{f': {spared}' if stay else ''}", "muted")
            return
        titles = {info.id: info.title for info in self._sessions}
        lines = [f"{item.id}  {visible(titles[item.id])}" for item in chosen.doomed[:_NAMED]]
        lines += [f"... and {len(chosen.doomed) - _NAMED} more"] if len(chosen.doomed) > _NAMED else []
        many = "1 session" if len(chosen.doomed) == 1 else f"{len(chosen.doomed)} sessions"
        lines += ["", f"Remove {many} for good? {show_megabytes(chosen.size)} are freed."]
        lines += [spared] if stay else []

        def confirmed(answer: str | None) -> None:
            if answer:
                root = self._sessions[0].directory.parent
                self._work.run(lambda: pruning.carry_out(root, chosen, rule), self._pruned)

        self.app.push_screen(ConfirmDialog("Prune", "\n".join(lines)), confirmed)

    def _pruned(self, result: tuple[int, int, Sequence[str]]) -> None:
        gone, freed, stayed = result
        self._load()
        words = f"{gone} removed, {show_megabytes(freed)} freed"
        self.say(f"{words}; {stayed[0]}" if stayed else words, "warn" if stayed else "good")


_SHORT: Final = {
    "sessions.open": "open", "sessions.replay": "replay", "sessions.state": "state", "sessions.search": "search logs",
    "sessions.rename": "rename", "sessions.delete": "delete", "sessions.prune": "prune",
}  # fmt: skip
_TOLD: Final = SESSION_KEYS
