"""What the dialogs say, as entries: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.core.terminal_text import clean, visible
from backspace_tui.sessions.failing import FAILURES
from backspace_tui.ui.keymap import KEYS, PALETTE_KEY, applies
from backspace_tui.ui.panes.transcript import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backspace_tui.sessions.why import Why

_TAIL: Final = 60
_SHORT: Final = 20

_VERDICTS: Final = {"passes": "good", "newly fails": "bad"}
_ARGUMENT: Final = 1200

COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    ("/verify", "run the tests on what is accepted"),
    ("/pr", "verify, commit and open the pull request"),
    ("/pause", "the agent takes no further turn"),
    ("/resume", "the agent goes on"),
    ("/plan", "edit the plan that waits for your word in $EDITOR"),
    ("/stop", "end the agent's work; the review keeps what there is"),
    ("/sessions", "all sessions"),
    ("/shell", "a shell in the agent's sandbox; !COMMAND runs one command there"),
    ("/help", "all keys"),
    ("/quit", "leave; the session goes on"),
)


def help_entries(keys: Mapping[str, str], *, replay: bool, read_only: bool = False) -> list[Entry]:
    """All keys that work, with their ids."""
    entries = [
        Entry(f"{key.text}  [{key.id}]", "text", " ".join(keys[key.id].split(",")), "key")
        for key in KEYS
        if applies(key, replay=replay, read_only=read_only)
    ]
    entries.append(Entry("every command by its name", "text", PALETTE_KEY, "key"))
    if not (replay or read_only):
        entries += [Entry("", "text"), Entry("On the prompt line:", "strong")]
        entries += [Entry(text, "text", name, "key") for name, text in COMMANDS]
    entries += [
        Entry("", "text"),
        Entry('Other keys: [keys] in the settings, such as "hunk.accept" = "space,y"', "muted"),
    ]
    return entries


def apply_entries(state: SessionState) -> list[Entry]:
    """The two ways into the user's checkout, and whether the first one is open."""
    if not state.commit or state.committed_tree != state.accepted_tree:
        merge = "needs a commit of what is accepted first (pull request, or backspace-tui sessions apply)"
    else:
        merge = f"{visible(state.branch)} ({state.commit[:10]}) into the branch that is checked out"
    where = visible(state.started.repository) if state.started else ""
    return [
        Entry(f"What is accepted comes into {where}; nothing of yours is overwritten.", "text"),
        Entry(merge, "text", "merge", "key"),
        Entry("as changes of the files; index and branches stay", "text", "uncommitted", "key"),
    ]


def why_entries(call: Why | None, comment: str) -> list[Entry]:
    """The thought, the tool call and its result."""
    if call is None:
        return [Entry("No tool call of the agent stands behind this: it was in the repository, or came back.", "muted")]
    entries = []
    if thought := clean(call.thought).strip():
        entries += [Entry(thought, "thought", "thought", "muted"), Entry("")]
    entries.append(Entry(clean(call.title or call.tool), "strong", "call", "muted"))
    for name, value in call.arguments.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        text = clean(text)
        cut = "" if len(text) <= _ARGUMENT else f" ... {len(text) - _ARGUMENT} more characters"
        entries.append(Entry(text[:_ARGUMENT].rstrip("\n") + cut, "text", clean(name)[:11], "muted"))
    if call.result:
        entries += [Entry(""), Entry(clean(call.result).strip(), "muted", "result", "muted")]
    if comment:
        entries += [Entry(""), Entry(clean(comment), "user", "you", "muted")]
    return entries


def request_entries(request: ev.PrCreation) -> list[Entry]:
    """A pull request, and what to do next."""
    entries = [Entry(clean(request.title), "strong"), Entry("")]
    entries += [Entry(line, "text") for line in clean(request.body).strip().split("\n")]
    entries.append(Entry(""))
    if request.url and request.forge != "local":
        entries.append(Entry(clean(request.url), "accent"))
    else:
        entries.append(Entry(f"branch {clean(request.branch)}, commit {request.commit[:10]}", "accent"))
        entries.append(Entry(f"next: git merge {clean(request.branch)}", "good"))
    return entries


def tests_entries(
    state: SessionState, verification: ev.Verification | None, path: str, lines: Sequence[str], *, stale: bool
) -> list[Entry]:
    """What the tests say of exactly what is accepted, and their ``lines`` about ``path``."""
    if state.verifying:
        entries = [Entry("verifying ...", "accent")]
    elif state.accepted_tree == state.base_tree:
        entries = [Entry("nothing is accepted yet, so there is nothing to verify", "muted")]
    elif verification is None:
        entries = [Entry("not verified yet: V verifies what is accepted", "muted")]
    elif stale:
        entries = [Entry("stale: decisions since the last verification changed what is accepted", "warn")]
    else:
        entries = []
    if verification is None:
        return entries
    words = "the last verdict" if entries else "verified"
    if verification.verdict == "not verified":
        entries.append(Entry("not verified: there is no test command ([project] test sets it)", "warn"))
        return entries
    code = "" if verification.exit_code is None else f" (exit {verification.exit_code})"
    entries.append(Entry(f"{words}: {verification.verdict}{code}", _VERDICTS.get(verification.verdict, "warn")))
    entries.append(Entry(f"$ {clean(verification.command)}", "strong"))
    if verification.verdict not in FAILURES:
        return entries
    entries.append(Entry(""))
    if lines:
        entries += [Entry(line, "text") for line in lines]
    elif path:
        entries.append(Entry(f"The output does not name {visible(path)}. It ends:", "muted"))
        entries += _tail(verification.output, _SHORT)
    return entries


def verdict_entries(verification: ev.Verification) -> list[Entry]:
    """A verdict with the end of the output."""
    code = "" if verification.exit_code is None else f", exit {verification.exit_code}"
    entries = [Entry(f"{verification.verdict}{code}", _VERDICTS.get(verification.verdict, "warn"))]
    if verification.verdict == "newly fails":
        entries.append(Entry("Nothing was committed: what is accepted fails tests that passed before.", "warn"))
    if verification.command:
        entries.append(Entry(f"$ {clean(verification.command)}", "strong"))
    return entries + _tail(verification.output, _TAIL)


def _tail(output: str, count: int) -> list[Entry]:
    lines = clean(output).rstrip("\n").split("\n")
    entries = [Entry(f"... {len(lines) - count} lines above", "faint")] if len(lines) > count else []
    return entries + [Entry(line, "text") for line in lines[-count:]]
