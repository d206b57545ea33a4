"""The review as everybody sees it: the window, the scripted review and the engine.

Three trees: B the base, A what is accepted, W the agent's newest. What is open is diff(A, W), what is accepted is
diff(B, A). What was rejected stays listed after it was taken out of W, so that it can be undone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.hunks import Hunk
from backspace_tui.core.state import Edit, SessionState
from backspace_tui.core.trees import Entry, FileChange
from backspace_tui.sessions.objects import Objects

_LOOKED_BACK: Final = 100
"""How many edits of one path are searched for the one that made a hunk."""

HunkState = Literal["pending", "reviewed", "changed", "accepted", "rejected"]
FileState = Literal["pending", "partial", "accepted", "rejected"]

_PROTECTED_NAMES: Final = frozenset(
    {
        ".gitattributes", ".gitmodules", ".gitconfig", ".envrc", ".pre-commit-config.yaml", ".gitlab-ci.yml",
        ".travis.yml", ".drone.yml", ".woodpecker.yml", "azure-pipelines.yml", "bitbucket-pipelines.yml",
        "jenkinsfile", "appveyor.yml", ".appveyor.yml", "lefthook.yml", ".lefthook.yml", ".mise.toml", "mise.toml",
        ".backspace.toml", ".npmrc", ".yarnrc.yml", ".pypirc", "sitecustomize.py", "usercustomize.py", "codeowners",
        ".mcp.json",
    }
)  # fmt: skip
_PROTECTED_PATHS: Final = (
    ".github/workflows/*", ".github/actions/*", ".github/dependabot.yml", ".gitlab/*", ".circleci/*", ".buildkite/*",
    ".woodpecker/*", ".ci/*", ".husky/*", ".githooks/*", "githooks/*", ".vscode/tasks.json", ".vscode/settings.json",
    ".vscode/launch.json", ".vscode/extensions.json", ".idea/runconfigurations/*", ".idea/workspace.xml", ".run/*",
    ".devcontainer/*", ".devcontainer.json", ".cargo/config", ".cargo/config.toml", ".claude/*", ".cursor/*",
)  # fmt: skip


class ReviewHunk(msgspec.Struct, frozen=True):
    """A hunk with what the human did about it.

    ``why`` is the ``seq`` of the ``file_edit`` that made it (0: none is known), ``comment`` the human's. ``changed``
    is an open hunk that takes the place of one that was already looked at: accepted, rejected or marked as reviewed.
    ``gone`` marks a rejected hunk that is no longer in the agent's files: nothing but undo applies to it, and its
    starts are 0. ``local`` is the id that :mod:`backspace_tui.core.hunks` gives it in its own diff: of hunks with the
    same lines in one file, the second is ``...-2`` here whether or not the first is accepted, and there it is not.
    """

    hunk: Hunk
    state: HunkState
    why: int
    comment: str
    gone: bool = False
    local: str = ""


class ReviewFile(msgspec.Struct, frozen=True):
    """A path under review. ``change`` leads from B to W. ``protected`` paths run on someone's machine.

    ``renamed_from`` names the deleted path whose content this added one has, for display alone.
    """

    path: str
    state: FileState
    hunks: tuple[ReviewHunk, ...]
    change: FileChange
    protected: bool
    renamed_from: str = ""


class Review(msgspec.Struct, frozen=True):
    """All files, sorted by path. ``decided`` hunks are accepted or rejected, ``pending`` are all others."""

    files: tuple[ReviewFile, ...]
    pending: int
    decided: int
    total: int


def protected(path: str, allowed: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> bool:
    """Whether accepting ``path`` takes a second confirmation.

    So it does for what tools run on the machines of those who check it out, or their CI, for what a pattern of
    ``denied`` names, and for what none of ``allowed`` does, where there are any.
    """
    if _named(path, denied) or (allowed and not _named(path, allowed)):
        return True
    folded = path.casefold()
    name = folded.rpartition("/")[2]
    return name in _PROTECTED_NAMES or any(
        fnmatchcase(folded, pattern) or fnmatchcase(folded, "*/" + pattern) for pattern in _PROTECTED_PATHS
    )


def _named(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern names ``path``, or a folder that it is in."""
    return any(fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/") for pattern in patterns)


def _patterns(state: SessionState, name: str) -> tuple[str, ...]:
    """The patterns of a setting of ``[project]`` that the session was started with."""
    project = state.started.settings.get("project", {}) if state.started is not None else {}
    return tuple(project.get(name, ()))


def shown_lines(hunk: Hunk) -> tuple[str, ...]:
    """The hunk's deleted and added lines as text with their sign: what a ``decision`` event keeps of it."""
    return tuple(sign + _text(line) for sign, line in hunk.lines if sign != " ")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def review(objects: Objects, state: SessionState) -> Review:
    """The review of a session at ``state``. Costs two tree diffs, and the diffs of the files that changed since.

    Raises:
        SessionError: the session's repository cannot be read.
    """
    base, accepted, work = state.base_tree, state.accepted_tree, state.work_tree
    if not base:
        return Review((), 0, 0, 0)
    objects.prefetch(accepted, work)
    pending = {change.path: change for change in objects.changes(accepted, work)}
    taken = {change.path: change for change in objects.changes(base, accepted)}
    whole = {change.path: change for change in objects.changes(base, work)}
    gone: dict[str, list[ev.Rejected]] = {}
    for rejected in state.rejected.values():
        gone.setdefault(rejected.path, []).append(rejected)
    looked_at = _looked_at(state)
    renames = _renames(whole.values())
    allowed, denied = _patterns(state, "allow_paths"), _patterns(state, "deny_paths")
    files = []
    for path in sorted(pending.keys() | taken.keys() | gone.keys(), key=os.fsencode):
        hunks = _hunks(
            objects, state, pending.get(path), taken.get(path), gone.get(path, ()), looked_at.get(path, ()), path
        )
        if not hunks:
            continue
        change = whole.get(path) or _unchanged(objects, work, path)
        files.append(
            ReviewFile(path, _file_state(hunks), hunks, change, protected(path, allowed, denied), renames.get(path, ""))
        )
    total = sum(len(file.hunks) for file in files)
    decided = sum(hunk.state in ("accepted", "rejected") for file in files for hunk in file.hunks)
    return Review(tuple(files), total - decided, decided, total)


def _unchanged(objects: Objects, tree: str, path: str) -> FileChange:
    entry: Entry | None = objects.entries(tree).get(path)
    return FileChange(path, entry, entry)


def _hunks(
    objects: Objects,
    state: SessionState,
    pending: FileChange | None,
    taken: FileChange | None,
    rejected: Iterable[ev.Rejected],
    looked_at: Iterable[tuple[str, tuple[str, ...]]],
    path: str,
) -> tuple[ReviewHunk, ...]:
    edits = state.edits.get(path, ())
    accepted = objects.hunks(taken) if taken is not None else ()
    open_ = objects.hunks(pending) if pending is not None else ()
    accepted_hunks, pending_hunks = _numbered(accepted, open_)
    present = {hunk.id for hunk in (*pending_hunks, *accepted_hunks)}
    vanished = [set(lines) for hunk, lines in looked_at if hunk not in present]
    made = frozenset[int]().union(*(hunk.additions for hunk in accepted_hunks))
    result = [
        ReviewHunk(hunk, "accepted", _why(objects, edits, hunk), state.comments.get(hunk.id, ""), local=own.id)
        for hunk, own in zip(accepted_hunks, accepted, strict=True)
    ]
    for hunk, own in zip(pending_hunks, open_, strict=True):
        found = _pending_state(hunk, state, vanished, made)
        why = _why(objects, edits, hunk)
        result.append(ReviewHunk(hunk, found, why, state.comments.get(hunk.id, ""), local=own.id))
    result.sort(key=lambda item: (item.hunk.new_start, item.hunk.old_start))
    result.extend(
        ReviewHunk(_rejected_hunk(item), "rejected", edits[-1].seq if edits else 0, item.comment, gone=True)
        for item in rejected
        if item.hunk not in present
    )
    return tuple(result)


def _numbered(accepted: tuple[Hunk, ...], pending: tuple[Hunk, ...]) -> tuple[list[Hunk], list[Hunk]]:
    """Both with ids that are different: hunks with the same lines count through both, in the order of A's lines."""
    places = sorted(
        [(hunk.new_start, 0, index, hunk.id) for index, hunk in enumerate(accepted)]
        + [(hunk.old_start, 1, index, hunk.id) for index, hunk in enumerate(pending)]
    )
    seen: dict[str, int] = {}
    names: dict[tuple[int, int], str] = {}
    for _, side, index, own in places:
        name = own.partition("-")[0]
        seen[name] = seen.get(name, 0) + 1
        names[side, index] = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return (
        [msgspec.structs.replace(hunk, id=names[0, index]) for index, hunk in enumerate(accepted)],
        [msgspec.structs.replace(hunk, id=names[1, index]) for index, hunk in enumerate(pending)],
    )


def _why(objects: Objects, edits: tuple[Edit, ...], hunk: Hunk) -> int:
    """The ``seq`` of the newest edit that made a line of the hunk; the newest of all where no line tells."""
    if not edits:
        return 0
    lines = {(sign, text) for sign, text in hunk.lines if sign != " "}
    for edit in reversed(edits[-_LOOKED_BACK:]) if hunk.kind == "text" and len(edits) > 1 else ():
        if lines & objects.touched_lines(edit.old or None, edit.new or None):
            return edit.seq
    return edits[-1].seq


def _pending_state(hunk: Hunk, state: SessionState, vanished: list[set[str]], made: frozenset[int]) -> HunkState:
    rejected = state.rejected.get(hunk.id)
    if rejected is not None and not rejected.applied:
        return "rejected"
    if rejected is not None:
        # It was taken out and the agent made it again.
        return "changed"
    if hunk.id in state.reviewed:
        return "reviewed"
    if made & hunk.deletions:
        # It changes lines that were accepted; both count lines of A.
        return "changed"
    lines = shown_lines(hunk)
    # A deleted line ties a hunk to its place; a pure addition has nothing but its own lines.
    keys = {line for line in lines if line[0] == "-"} or set(lines)
    return "changed" if any(keys & old for old in vanished) else "pending"


def _looked_at(state: SessionState) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """By path, the hunks that were marked as reviewed or rejected and still are, with their lines."""
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for group in state.standing:
        for decision in group:
            if decision.action == "review" and decision.hunk in state.reviewed:
                found.setdefault(decision.path, []).append((decision.hunk, decision.lines))
    for rejected in state.rejected.values():
        found.setdefault(rejected.path, []).append((rejected.hunk, rejected.lines))
    return found


def _rejected_hunk(rejected: ev.Rejected) -> Hunk:
    """A hunk as its decision remembers it; it cannot be staged."""
    lines: list[tuple[Literal[" ", "-", "+"], bytes]] = []
    for line in rejected.lines:
        text = line[1:].encode("utf-8", "surrogateescape")
        if line[:1] == "-":
            lines.append(("-", text))
        elif line[:1] == "+":
            lines.append(("+", text))
    return Hunk(rejected.hunk, rejected.path, "text", 0, 0, tuple(lines))


def _file_state(hunks: tuple[ReviewHunk, ...]) -> FileState:
    states = {hunk.state for hunk in hunks}
    if states == {"accepted"}:
        return "accepted"
    if states == {"rejected"}:
        return "rejected"
    return "partial" if states & {"accepted", "rejected"} else "pending"


def _renames(changes: Iterable[FileChange]) -> dict[str, str]:
    """Added paths whose content one deleted path had, byte for byte."""
    changes = list(changes)
    deleted = {change.old.oid: change.path for change in changes if change.new is None and change.old is not None}
    return {
        change.path: deleted[change.new.oid]
        for change in changes
        if change.old is None and change.new is not None and change.new.oid in deleted
    }


def _told_state(file: ReviewFile) -> HunkState:
    """A file's state in the words for hunks: what is still open comes first."""
    states = {item.state for item in file.hunks}
    order: tuple[HunkState, ...] = ("pending", "changed", "reviewed", "accepted", "rejected")
    return next(state for state in order if state in states)


def to_json(review: Review, state: SessionState) -> dict[str, Any]:
    """The plain data that ``backspace-tui review --json`` prints.

    A file is in the first of the states pending, changed, reviewed, accepted and rejected that one of its hunks is in.
    ``verification`` tells of the tree that is accepted now: its verdict is ``""`` where the tests were not run on it.
    A line's text has neither sign nor line feed, and U+FFFD for bytes that are not UTF-8.
    """
    verdict = state.verdict
    return {
        "files": [
            {
                "path": os.fsencode(file.path).decode("utf-8", "replace"),
                "state": _told_state(file),
                "hunks": [
                    {
                        "id": item.hunk.id,
                        "state": item.state,
                        "old_start": item.hunk.old_start,
                        "new_start": item.hunk.new_start,
                        "lines": [[sign, _text(line)] for sign, line in item.hunk.lines],
                        "why": item.why,
                    }
                    for item in file.hunks
                ],
            }
            for file in review.files
        ],
        "verification": {"tree": state.accepted_tree, "verdict": verdict.verdict if verdict else ""},
    }
