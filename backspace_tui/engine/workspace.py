"""The agent's sandbox and its snapshots: W and the rollback tree follow every change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.hunks import added_removed
from backspace_tui.core.protocols import CancelToken, Sandbox, SandboxFactory, SandboxGone
from backspace_tui.core.trees import EXECUTABLE, GITLINK, REGULAR, Entry, File, folders_above

if TYPE_CHECKING:
    from backspace_tui.engine.recorder import Recorder
    from backspace_tui.repository.bare import BareRepository
    from backspace_tui.sessions.objects import Objects

SESSION_LABEL = "agent"
REBUILT = "the sandbox was lost: another one holds the files of the last snapshot"


class Snapshot(msgspec.Struct, frozen=True):
    """W (``tree``) and the tree of every file (``full``) at one moment."""

    tree: str
    full: str


class Workspace:
    """The one live sandbox of a session, opened when it is first needed from the newest snapshot.

    Used by the workflow's thread; :meth:`close` may be called from any.
    """

    def __init__(
        self,
        session: str,
        sandboxes: SandboxFactory,
        repository: BareRepository,
        objects: Objects,
        recorder: Recorder,
        cancel: Callable[[], CancelToken] | None = None,
    ) -> None:
        self._session = session
        self._sandboxes = sandboxes
        self._repository = repository
        self._objects = objects
        self._recorder = recorder
        self._cancel = cancel
        self._box: Sandbox | None = None
        self._held = ""  # the tree that stands for what the sandbox last told
        self._lost = False
        self._sure = True  # nothing ran since everything was read
        self._closed = False
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether the sandbox is there already."""
        return self._box is not None

    @property
    def box(self) -> Sandbox:
        """The live sandbox, holding exactly the newest snapshot when it is opened here; a dead one is replaced.

        Raises:
            SandboxError: it cannot be opened.
        """
        self._drop_dead()
        if self._box is None:
            state = self._recorder.state
            box = self._sandboxes.open(
                self.files(state.snapshot),
                session=self._session,
                purpose=SESSION_LABEL,
                tag=state.base_tag,
                # Never with what the agent wrote: setup may have the network.
                setup=lambda: self.files(state.base_tree),
                cancel=self._cancel() if self._cancel else None,
            )
            with self._lock:
                if self._closed:
                    box.close()
                    raise SandboxGone("the session is ending")
                self._box, self._held, self._sure = box, state.snapshot, True
            if self._lost:
                self._lost = False
                self._recorder.emit(ev.Message(role="program", text=REBUILT))
        return self._box

    def files(self, tree: str) -> dict[str, File]:
        """Every file of ``tree`` with its content."""
        return {
            path: File(entry.mode, self._objects.blob(entry.oid))
            for path, entry in self._objects.entries(tree).items()
            if entry.mode != GITLINK
        }

    def discard(self) -> None:
        """Drop the sandbox; the next use opens a fresh one from the newest snapshot."""
        with self._lock:
            box, self._box = self._box, None
            self._lost = self._lost or box is not None
        if box is not None:
            box.close()

    def reopen(self) -> None:
        """Another sandbox with the newest snapshot in the place of one that died.

        Raises:
            SandboxError: it cannot be opened.
        """
        self.discard()
        _ = self.box

    def _drop_dead(self) -> None:
        if self._box is not None and not self._box.alive:
            self.discard()

    def close(self) -> None:
        """Drop the sandbox for good."""
        with self._lock:
            self._closed = True
        self.discard()

    def snapshot(self, touched: Mapping[str, bytes | None] | None = None, *, thorough: bool = False) -> Snapshot:
        """Store the workspace's files; ``touched`` holds the only paths that changed, where that is known.

        It costs what changed. With ``thorough`` everything is read, for what programs wrote without a trace.

        Raises:
            SandboxGone: the sandbox died; what it held since the last snapshot is lost.
        """
        state = self._recorder.state
        if touched is not None:
            return self._stored(self._with_modes(state.snapshot, touched))
        # Not another one in the place of one that died: its files are not those that are asked for.
        box = self._box or self.box
        # What the sandbox told once it does not tell again: until it is stored, nothing is known of it.
        held, self._held = self._held, ""
        changes = box.changes(thorough=thorough) if held else None
        self._sure = thorough or changes is None
        full = self._repository.write_tree(box.export()) if changes is None else self._amended(held, changes)
        near = changes is None or self._near_submodules(changes)
        if near:
            full = self._repository.amend_tree(full, self._submodules(state.base_tree, full))
        self._held = full
        if full == state.snapshot:
            return Snapshot(state.work_tree, full)
        if changes is None or near:
            return Snapshot(self._repository.work_tree(full, state.base_tree)[0], full)
        if held != state.snapshot:
            return self._followed(self._repository.differences(state.snapshot, full), full)
        return self._followed(changes, full)

    def settle(self) -> Snapshot | None:
        """A thorough snapshot where it could find anything, else ``None``; a sandbox that died has nothing to tell.

        Raises:
            SandboxError: the files cannot be read.
        """
        self._drop_dead()
        if self._box is None or self._sure:
            return None
        try:
            return self.snapshot(None, thorough=True)
        except SandboxGone:
            self.discard()
            return None

    def put(self, files: Mapping[str, File | None]) -> Snapshot:
        """Change some files (``None``: remove) and take a snapshot; needs no sandbox where none is live."""
        self._drop_dead()
        if self._box is None:
            return self._stored(files)
        self._box.apply(files)
        # Reading the files back tells what is really there, symbolic links and modes included.
        return self.snapshot(None)

    def roll_back(self, tree: str) -> Snapshot:
        """Make the workspace hold ``tree``, the full tree of an earlier step; only what differs is moved.

        Services go on; what they write meanwhile is in the snapshot too.
        """
        self._drop_dead()
        if self._box is None:
            return Snapshot(self._repository.work_tree(tree, self._recorder.state.base_tree)[0], tree)
        present = self.snapshot(None).full
        different = self._repository.differences(present, tree)
        files = {path: self._file(entry) for path, entry in different.items() if not _is_submodule(entry)}
        return self.put(files)

    def _stored(self, changes: Mapping[str, File | None]) -> Snapshot:
        """The last snapshot with ``changes``."""
        state = self._recorder.state
        full = self._amended(state.snapshot, changes)
        return Snapshot(state.work_tree, full) if full == state.snapshot else self._followed(changes, full)

    def _amended(self, tree: str, changes: Mapping[str, File | None]) -> str:
        return self._repository.amend_tree(tree, changes) if changes else tree

    def _followed(self, changes: Mapping[str, File | Entry | None], full: str) -> Snapshot:
        """``full`` and its W, where ``changes`` lead to it from the last snapshot."""
        state = self._recorder.state
        followed = self._repository.work_changes(state.base_tree, changes)
        if state.work_tree == state.snapshot and len(followed) == len(changes):
            return Snapshot(full, full)
        return Snapshot(self._repository.amend_tree(state.work_tree, followed), full)

    def _near_submodules(self, changes: Mapping[str, File | None]) -> bool:
        links = self._repository.tracked(self._recorder.state.base_tree).submodules
        return any(
            path == link or path.startswith(link + "/") or link.startswith(path + "/")
            for link in links
            for path in changes
        )

    def _file(self, entry: Entry | None) -> File | None:
        return None if entry is None else File(entry.mode, self._objects.blob(entry.oid))

    def _with_modes(self, tree: str, touched: Mapping[str, bytes | None]) -> dict[str, File | None]:
        # Writing keeps an executable file executable and replaces anything else by a plain file.
        entries = self._repository.lookup(tree, touched.keys()) if touched else {}
        result: dict[str, File | None] = {}
        for path, data in touched.items():
            entry = entries.get(path)
            mode = EXECUTABLE if entry is not None and entry.mode == EXECUTABLE else REGULAR
            result[path] = None if data is None else File(mode, data)
        return result

    def _submodules(self, base: str, full: str) -> dict[str, Entry]:
        # A sandbox holds no submodules, so those of the base are kept as they are where nothing took their place.
        links = self._repository.tracked(base).submodules
        if not links:
            return {}
        taken = self._objects.entries(full)
        return {
            path: entry
            for path, entry in links.items()
            if path not in taken
            and not any(above in taken for above in folders_above(path))
            and not any(other.startswith(path + "/") for other in taken)
        }

    def edits(self, new_tree: str, by: str) -> list[ev.FileEdit]:
        """One :class:`FileEdit` for each path that differs between the last W and ``new_tree``."""
        found = []
        for change in self._objects.changes(self._recorder.state.work_tree, new_tree):
            # A change of the mode alone has no lines, a new file none of its old side.
            old, new = _oid(change.old), _oid(change.new)
            added, removed = added_removed(b"" if old == new else self._objects.sides(change)[2])
            edit = ev.FileEdit(path=change.path, added=added, removed=removed, tree=new_tree, by=by, old=old, new=new)
            found.append(edit)
        return found


def _is_submodule(entry: Entry | None) -> bool:
    return entry is not None and entry.mode == GITLINK


def _oid(entry: Entry | None) -> str:
    return entry.oid if entry is not None else ""
