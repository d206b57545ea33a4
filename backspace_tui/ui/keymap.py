"""Every key of the workspace and of the screen of sessions, by id, and the check of the user's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from textual.binding import Binding

Mode = Literal["always", "review", "live", "replay"]


class Key(NamedTuple):
    """``keys`` is a comma-separated list; ``mode`` says where the key does something."""

    id: str
    keys: str
    action: str
    text: str
    mode: Mode = "always"


KEYS: Final[tuple[Key, ...]] = (
    Key("line.down", "j,down", "line(1)", "next line"),
    Key("line.up", "k,up", "line(-1)", "previous line"),
    Key("page.down", "ctrl+d,pagedown", "page(1)", "page down"),
    Key("page.up", "ctrl+u,pageup", "page(-1)", "page up"),
    Key("line.first", "g,home", "edge(-1)", "first line"),
    Key("line.last", "G,end", "edge(1)", "last line"),
    Key("scroll.left", "<", "shift(-1)", "scroll left"),
    Key("scroll.right", ">", "shift(1)", "scroll right"),
    Key("hunk.next", "]", "hunk(1)", "next hunk"),
    Key("hunk.previous", "[", "hunk(-1)", "previous hunk"),
    Key("file.next", "}", "file(1)", "next changed file"),
    Key("file.previous", "{", "file(-1)", "previous changed file"),
    Key("hunk.undecided", "tab", "undecided", "next undecided hunk"),
    Key("hunk.accept", "space,y", "decide('accept')", "accept the hunk, block or lines and advance", "review"),
    Key("hunk.reject", "x", "decide('reject')", "reject it; an accepted one goes back to undecided", "review"),
    Key("decision.undo", "u", "undo", "undo the last decision", "review"),
    Key("hunk.review", "m", "decide('review')", "mark as reviewed, undecided", "review"),
    Key("unit.cycle", "s", "unit", "decide by hunk, block or line; a rename: as two files, or as one again"),
    Key("range.start", "v", "range", "select a range of lines; again or escape: end it"),
    Key("file.accept", "a", "accept_file", "accept the rest of the file", "review"),
    Key("hunk.comment", "c", "comment", "comment to the agent", "review"),
    Key("hunk.edit", "e", "edit", "edit the hunk's result in $EDITOR and accept it", "review"),
    Key("hunk.redo", "r", "redo", "have the agent do just this anew", "review"),
    Key("hunk.why", "w", "why", "why: the tool call and the thought behind it"),
    Key("tests.show", "t", "tests", "what the tests say of this hunk"),
    Key("tests.send", "T", "send_tests", "send the failing output to the agent", "review"),
    Key("hunk.fold", "z", "fold", "fold or unfold"),
    Key("context.more", "+", "context(1)", "more context"),
    Key("context.less", "-", "context(-1)", "less context"),
    Key("diff.side_by_side", "\\", "side_by_side", "both sides beside each other, or below"),
    Key("diff.emphasis", "E", "emphasis", "mark the words that differ, or do not"),
    Key("files.filter", "f", "filter", "all, changed, undecided, changed since you looked, commented, failing"),
    Key("search", "/", "search", "search; in Diff all changed files; in a replay the whole session"),
    Key("search.next", "n", "search_next(1)", "next match"),
    Key("search.previous", "N", "search_next(-1)", "previous match"),
    Key("pane.files", "1", "pane('files')", "Files"),
    Key("pane.diff", "2", "pane('diff')", "Diff"),
    Key("pane.thinking", "3", "pane('thinking')", "Thinking"),
    Key("pane.sandbox", "4", "pane('sandbox')", "Sandbox"),
    Key("verify", "V", "verify", "verify what is accepted", "review"),
    Key("pull_request", "P", "pull_request", "verify, commit and open the pull request", "review"),
    Key("apply", "A", "apply_work", "put what is accepted into your checkout: merge, or uncommitted changes", "review"),
    Key("agent.pause", "p", "pause", "pause or resume the agent", "live"),
    Key("agent.stop", "S", "stop", "stop the agent's work", "live"),
    Key("sandbox.command", "!", "command", "a command of yours in the agent's sandbox", "live"),
    Key("sandbox.shell", "$", "shell", "a shell in the agent's sandbox", "live"),
    Key("prompt", "i,enter", "prompt", "go to the prompt line; in Files: to the file"),
    Key("step.back", "left,h", "step(-1)", "one step back", "replay"),
    Key("step.forward", "right,l", "step(1)", "one step forward", "replay"),
    Key("stage.back", "H", "stage(-1)", "one stage back", "replay"),
    Key("stage.forward", "L", "stage(1)", "one stage forward", "replay"),
    Key("sessions", "o", "sessions", "all sessions: join, replay, search, rename, delete, prune"),
    Key("session.rejoin", "ctrl+r", "rejoin", "rejoin the session that this repository has", "live"),
    Key("play", "space", "play", "play or pause", "replay"),
    Key("play.slower", "comma", "speed(-1)", "play slower", "replay"),
    Key("play.faster", ".", "speed(1)", "play faster", "replay"),
    Key("scrub.back", "ctrl+left,(", "scrub(-1)", "back by a twentieth of the session", "replay"),
    Key("scrub.forward", "ctrl+right,)", "scrub(1)", "on by a twentieth of the session", "replay"),
    Key("scrub.first", "ctrl+home,^", "ends(-1)", "to the beginning of the session", "replay"),
    Key("scrub.last", "ctrl+end,&", "ends(1)", "to its end", "replay"),
    Key("mark.next", "m", "mark(1)", "next mark of the chosen kind", "replay"),
    Key("mark.previous", "M", "mark(-1)", "previous mark of the chosen kind", "replay"),
    Key("mark.kind", "b", "mark_kind", "choose the kind: all, stages, edits, commands, failures, decisions", "replay"),
    Key("fork", "F", "fork", "go on from here as a new session", "replay"),
    Key("help", "?,f1", "help", "all keys"),
    Key("back", "escape", "back", "back"),
    Key("interrupt", "ctrl+c", "interrupt", "pause the agent; again: stop it or leave", "live"),
    Key("quit", "q,ctrl+q", "leave", "leave; the session goes on"),
)

SESSION_KEYS: Final[tuple[Key, ...]] = (
    Key("sessions.open", "enter,l,right", "open", "join it if it runs, else open it"),
    Key("sessions.replay", "R", "replay", "replay it"),
    Key("sessions.state", "f", "state", "all, running, waiting, interrupted, ended"),
    Key("sessions.search", "s", "search_logs", "search in everything that the logs say"),
    Key("sessions.rename", "r", "rename", "rename it"),
    Key("sessions.delete", "d,delete", "delete", "delete it"),
    Key("sessions.prune", "D", "prune", "remove many, by age, size or number"),
)
"""The keys of the screen of sessions alone."""

SHARED: Final = frozenset({
    "line.down", "line.up", "page.down", "page.up", "line.first", "line.last", "search", "help", "back", "quit",
})  # fmt: skip
"""The keys of the workspace that mean the same on the screen of sessions."""

PALETTE_KEY: Final = "ctrl+p"
_ALWAYS: Final = frozenset({"ctrl+c", "ctrl+q"})

TO_THE_LINE: Final = frozenset({"prompt", "search", "command"})
"""Actions that lead to the prompt line: at once, since the keys that follow in one burst are text."""

_AT_ONCE: Final = TO_THE_LINE | {"rejoin"}
"""Actions whose keys count in the prompt line too: it has the focus when a window opens without a session."""


def applies(key: Key, *, replay: bool, read_only: bool = False) -> bool:
    """Whether ``key`` does something in a live window, in one that is read only, or in a replay."""
    if read_only:
        # Sessions are renamed and deleted behind that key.
        return key.mode == "always" and key.id != "sessions"
    return key.mode == "always" or (key.mode == "replay") == replay


def split(keys: str) -> tuple[str, ...]:
    """The single keys of a comma-separated list, without blanks."""
    return tuple(part.strip() for part in keys.split(",") if part.strip())


def resolve(overrides: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The keys in force by id, and one line for each override that cannot be used.

    An override is refused when its id is unknown, when it names no key, or when it takes a key that another id
    holds and keeps. The default then stays.
    """
    defaults = {key.id: key.keys for key in (*KEYS, *SESSION_KEYS)}
    problems = [f"[keys] has no action {name!r}" for name in overrides if name not in defaults]
    wanted = {}
    for name, keys in overrides.items():
        if name not in defaults:
            continue
        if split(keys):
            wanted[name] = ",".join(split(keys))
        else:
            problems.append(f"[keys] {name} names no key")
    while clash := _clash(defaults | wanted, wanted):
        name, key, other = clash
        del wanted[name]
        problems.append(f"[keys] {name} = {key!r} is taken by {other}")
    return defaults | wanted, problems


def _clash(keys: Mapping[str, str], overridden: Mapping[str, str]) -> tuple[str, str, str] | None:
    """An overridden id whose key another id that can be active with it holds as well."""
    for name in overridden:
        for key in split(keys[name]):
            if key == PALETTE_KEY:
                return name, key, "the palette"
            for other, others in keys.items():
                if other != name and key in split(others) and _together(name, other):
                    return name, key, other
    return None


def _together(first: str, second: str) -> bool:
    """Whether both ids can be active at once."""
    listed = {key.id for key in SESSION_KEYS}
    if listed & {first, second}:
        return {first, second} <= listed | SHARED
    modes = {key.id: key.mode for key in KEYS if key.id in (first, second)}
    return not ({"replay"} < set(modes.values()) and "always" not in modes.values())


def session_bindings(keys: Mapping[str, str]) -> list[Binding]:
    """The bindings of the screen of sessions. What leads to its line comes at once, as in the workspace."""
    return [
        Binding(single, key.action, key.text, show=False, id=key.id, priority=single in _ALWAYS)
        for key in (*SESSION_KEYS, *(key for key in KEYS if key.id in SHARED))
        for single in split(keys[key.id])
    ]


def bindings(keys: Mapping[str, str], *, replay: bool, read_only: bool = False) -> list[Binding]:
    """Textual's bindings for the keys in force. Leaving works from everywhere, also from the prompt line.

    In a window that is ``read_only`` the keys that would ask something of the session say so.
    """

    def action(key: Key) -> str:
        refused = read_only and not applies(key, replay=replay, read_only=True) and key.id != "interrupt"
        return "refuse" if refused else key.action

    return [
        Binding(
            single,
            action(key),
            key.text,
            show=False,
            id=key.id,
            priority=single in _ALWAYS or action(key) in _AT_ONCE,
        )
        for key in KEYS
        if applies(key, replay=replay)
        for single in split(keys[key.id])
    ]
