"""The review as everybody sees it: the window, the scripted review and the engine.

Three trees: B the base, A what is accepted, W the agent's newest. What is open is diff(A, W), what is accepted is
diff(B, A). What was rejected stays listed after it was taken out of W, so that it can be undone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core import units
from backspace_tui.core.hunks import Hunk, Kind
from backspace_tui.core.marks import Accepted, Since, accepted_of, overtakes
from backspace_tui.core.state import Edit, SessionState
from backspace_tui.core.trees import Entry, FileChange
from backspace_tui.sessions.marks import NOTHING, Gone, Marks, Standing, halves
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.protected import patterns, protected

_LOOKED_BACK: Final = 100
"""How many edits of one path are searched for the one that made a hunk."""

HunkState = Literal["pending", "reviewed", "changed", "accepted", "rejected"]
Changed = Literal["", "seen", "accepted", "rejected"]
FileState = Literal["pending", "partial", "accepted", "rejected"]


class ReviewHunk(msgspec.Struct, frozen=True, gc=False):
    """A hunk with what the human did about it.

    ``why`` is the ``seq`` of the ``file_edit`` that made it (0: none is known), ``comment`` the human's. In state
    ``changed`` the reason is ``changed``: ``seen`` (the agent changed it after it was reviewed), ``accepted`` (it
    changes lines that were accepted) or ``rejected`` (it makes again what was rejected). ``rejected`` are the positions
    of lines that wait to be rejected. ``kept`` is what is left of the agent's version beside an edit of the user's:
    reviewed, and no longer open. ``redo`` waits for another version, or is that version. ``gone`` marks a rejected hunk
    that is no longer in the agent's files: nothing but undo applies to it, and its starts are 0.

    ``local`` is the id that :mod:`backspace_tui.core.hunks` gives it in its own diff: of hunks with the same lines in
    one file, the second is ``...-2`` here whether or not the first is accepted, and there it is not. ``reviews`` and
    ``rejections`` are the ``seq`` of the decisions that stand about it.
    """

    hunk: Hunk
    state: HunkState
    why: int
    comment: str
    gone: bool = False
    local: str = ""
    changed: Changed = ""
    rejected: frozenset[int] = frozenset()
    kept: bool = False
    redo: bool = False
    reviews: tuple[int, ...] = ()
    rejections: tuple[int, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it waits for a decision."""
        return self.state in ("pending", "reviewed", "changed") and not self.kept

    @property
    def sweeping(self) -> bool:
        """Whether accepting everything may take it: what changed after the user had turned to it needs a look."""
        return self.open and self.changed not in ("seen", "rejected")


class ReviewFile(msgspec.Struct, frozen=True):
    """A path under review. ``change`` leads from B to W. ``protected`` paths run on someone's machine.

    ``renamed_from`` names the path that it was renamed from, as git's ``-M`` sees it.
    """

    path: str
    state: FileState
    hunks: tuple[ReviewHunk, ...]
    change: FileChange
    protected: bool
    renamed_from: str = ""


class Review(msgspec.Struct, frozen=True):
    """All files, sorted by path. ``pending`` hunks wait for a decision, ``decided`` are all others."""

    files: tuple[ReviewFile, ...]
    pending: int
    decided: int
    total: int


def review(objects: Objects, state: SessionState, *, split: frozenset[str] = frozenset()) -> Review:
    """The review of a session at ``state``. Costs three tree diffs, and the diffs of the files that changed since.

    Renames whose new path is in ``split`` are shown as two files, of which one is deleted and one added.

    Raises:
        SessionError: the session's repository cannot be read.
    """
    base, accepted, work = state.base_tree, state.accepted_tree, state.work_tree
    if not base:
        return Review((), 0, 0, 0)
    objects.prefetch(accepted, work)
    split = splits(objects, state, split)
    pending = changes_between(objects, accepted, work, split)
    taken = changes_between(objects, base, accepted, split)
    whole = changes_between(objects, base, work, split)
    marks = Marks(objects, state, (*pending.values(), *taken.values(), *whole.values()))
    allowed, denied = patterns(state, "allow_paths"), patterns(state, "deny_paths")
    files = []
    under = dict(taken)
    for path, change in pending.items():
        # What was accepted under the old name belongs to the file under its new one.
        if path not in under and change.source in under:
            under[path] = under.pop(change.source)
    for path in sorted(pending.keys() | under.keys() | marks.paths, key=os.fsencode):
        sides = (pending.get(path), under.get(path))
        edits, alone = state.edits.get(path, ()), not marks.concern(path)
        key = (path, sides, whole.get(path), edits, marks.accepted_at(path), allowed, denied)
        if alone and (known := objects.remembered(key)) is not None:
            files.append(known)
            continue
        hunks = _hunks(objects, edits, *sides, marks, path)
        if not hunks:
            continue
        change = whole.get(path) or _unchanged(objects, work, path)
        source = next((side.source for side in (*sides, change) if side is not None and side.source), "")
        guarded = any(protected(name, allowed, denied) for name in (path, source) if name)
        file = ReviewFile(path, file_state(hunks), hunks, change, guarded, source)
        if alone:
            objects.remember(key, file)
        files.append(file)
    total = sum(len(file.hunks) for file in files)
    left = sum(item.open for file in files for item in file.hunks)
    return Review(tuple(files), left, total - left, total)


def splits(objects: Objects, state: SessionState, split: frozenset[str] = frozenset()) -> frozenset[str]:
    """The renames that a review with ``split`` shows as two files: these, and those with one half rejected."""
    if not state.pending_rejections:
        return split
    changes = objects.changes(state.accepted_tree, state.work_tree, renames=True)
    return split | halves(state, changes)


def changes_between(
    objects: Objects, old_tree: str, new_tree: str, split: frozenset[str] = frozenset()
) -> dict[str, FileChange]:
    """The changes from one tree to another by path; renames are one change each, but for those in ``split``."""
    found: dict[str, FileChange] = {}
    for change in objects.changes(old_tree, new_tree, renames=True):
        if change.source and change.path in split:
            found[change.source] = FileChange(change.source, change.old, None)
            change = FileChange(change.path, None, change.new)
        found[change.path] = change
    return found


def _unchanged(objects: Objects, tree: str, path: str) -> FileChange:
    entry: Entry | None = objects.entries(tree).get(path)
    return FileChange(path, entry, entry)


def _hunks(
    objects: Objects,
    edits: tuple[Edit, ...],
    pending: FileChange | None,
    taken: FileChange | None,
    marks: Marks,
    path: str,
) -> tuple[ReviewHunk, ...]:
    own_accepted = objects.hunks(taken) if taken is not None else ()
    shown = taken if taken is None or taken.path == path else msgspec.structs.replace(taken, path=path)
    accepted = objects.hunks(shown) if shown is not None else ()
    open_ = objects.hunks(pending) if pending is not None else ()
    held = pending.old if pending is not None else taken.new if taken is not None else None
    gone = [one for one in marks.gone(path, held) if not one.made_again(accepted, open_)]
    accepted_hunks, pending_hunks, names = _numbered(accepted, open_, gone)
    made_by = tuple(edit for edit in edits if not edit.carries_out) or edits
    result: list[ReviewHunk] = []
    if shown is not None:
        comments = marks.comments(shown, accepted, [hunk.id for hunk in accepted_hunks])
        for hunk, own, comment in zip(accepted_hunks, own_accepted, comments, strict=True):
            result.append(ReviewHunk(hunk, "accepted", _why(objects, made_by, hunk), comment, local=own.id))
    answered: set[int] = set()
    if pending is not None:
        made = accepted_of(accepted)
        since = marks.since(pending) if accepted else None
        standings = marks.pending(pending, open_, [hunk.id for hunk in pending_hunks])
        for hunk, own, standing in zip(pending_hunks, open_, standings, strict=True):
            result.append(_pending(hunk, own.id, standing, (made, since), _why(objects, made_by, hunk)))
            answered.update(standing.answers)
    result.sort(key=lambda item: (item.hunk.new_start, item.hunk.old_start))
    why = edits[-1].seq if edits else 0
    for one, name in zip(gone, names, strict=True):
        if left := [item for item in one.rejections if item.seq not in answered]:
            result.append(_gone(left, name, why))
    return tuple(result)


def _pending(hunk: Hunk, local: str, standing: Standing, taken: tuple[Accepted, Since | None], why: int) -> ReviewHunk:
    """One hunk of diff(A, W) in its state."""
    if standing is NOTHING and not overtakes(hunk, *taken):
        return ReviewHunk(hunk, "pending", why, "", local=local)
    text = hunk.kind == "text"
    left = units.changed(hunk) - standing.rejected if text and standing.rejected else None
    all_rejected = standing.rejected_whole or (left is not None and not left)
    kept = changed = False
    state: HunkState = "pending"
    reason: Changed = ""
    if all_rejected:
        state = "rejected"
    elif _covers(hunk, standing.kept, standing.kept_whole, left):
        state, kept = "reviewed", True
    else:
        reviewed = _covers(hunk, standing.seen, standing.seen_whole, left)
        changed = standing.touched or (bool(standing.seen or standing.kept) and not reviewed)
        if standing.again:
            reason = "rejected"
        elif changed:
            reason = "seen"
        elif not reviewed and overtakes(hunk, *taken):
            reason = "accepted"
        state = "changed" if reason else "reviewed" if reviewed else "pending"
    return ReviewHunk(
        hunk,
        state,
        why,
        standing.comment,
        local=local,
        changed=reason,
        rejected=frozenset(standing.rejected),
        kept=kept,
        redo=standing.redo,
        reviews=tuple(standing.reviews),
        rejections=tuple(standing.rejections),
    )


def _covers(hunk: Hunk, positions: set[int], whole: bool, left: frozenset[int] | None) -> bool:
    """Whether ``positions`` (or ``whole``) are all of the hunk, or all that is ``left`` of it."""
    if whole or not positions:
        return whole
    return positions.issuperset(units.changed(hunk) if left is None else left)


def _gone(rejections: Sequence[ev.Rejected], name: str, why: int) -> ReviewHunk:
    """A hunk that was rejected and is out of the agent's files, as its decisions remember it."""
    redo = any(item.redo for item in rejections)
    return ReviewHunk(_remembered(rejections, name), "rejected", why, rejections[-1].comment, gone=True, redo=redo)


def _remembered(rejections: Sequence[ev.Rejected], name: str) -> Hunk:
    """A hunk as its rejections remember it; it cannot be staged."""
    lines: list[tuple[Literal[" ", "-", "+"], bytes]] = []
    for line in (line for rejection in rejections for line in rejection.lines):
        text = line[1:].encode("utf-8", "surrogateescape")
        if line[:1] == "-":
            lines.append(("-", text))
        elif line[:1] == "+":
            lines.append(("+", text))
    spot = rejections[0].spot
    return Hunk(name, rejections[0].path, msgspec.convert(spot.kind if spot else "text", Kind), 0, 0, tuple(lines))


def _numbered(
    accepted: tuple[Hunk, ...], pending: tuple[Hunk, ...], gone: Sequence[Gone]
) -> tuple[list[Hunk], list[Hunk], list[str]]:
    """All with ids that are different: hunks with the same lines count through all three, in the order of A's lines."""
    places = sorted(
        [(hunk.new_start, 0, index, units.stem(hunk.id)) for index, hunk in enumerate(accepted)]
        + [(hunk.old_start, 1, index, units.stem(hunk.id)) for index, hunk in enumerate(pending)]
        + [(one.place[0], 2, index, one.name) for index, one in enumerate(gone)]
    )
    seen: dict[str, int] = {}
    names: dict[tuple[int, int], str] = {}
    for _, side, index, name in places:
        seen[name] = seen.get(name, 0) + 1
        names[side, index] = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return (
        [_named(hunk, names[0, index]) for index, hunk in enumerate(accepted)],
        [_named(hunk, names[1, index]) for index, hunk in enumerate(pending)],
        [names[2, index] for index in range(len(gone))],
    )


def _named(hunk: Hunk, name: str) -> Hunk:
    return hunk if hunk.id == name else msgspec.structs.replace(hunk, id=name)


def _why(objects: Objects, edits: tuple[Edit, ...], hunk: Hunk) -> int:
    """The ``seq`` of the newest edit that made a line of the hunk; the newest of all where no line tells."""
    if not edits:
        return 0
    if hunk.kind != "text" or len(edits) == 1:
        return edits[-1].seq
    lines = {(sign, text) for sign, text in hunk.lines if sign != " "}
    for edit in reversed(edits[-_LOOKED_BACK:]):
        if lines & objects.touched_lines(edit.old or None, edit.new or None):
            return edit.seq
    return edits[-1].seq


def file_state(hunks: tuple[ReviewHunk, ...]) -> FileState:
    """What is decided about a file with these hunks."""
    states = {hunk.state for hunk in hunks}
    if states == {"accepted"}:
        return "accepted"
    if states == {"rejected"}:
        return "rejected"
    return "partial" if states & {"accepted", "rejected"} else "pending"
