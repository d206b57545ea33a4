"""The agent's sandbox and its snapshots: W and the rollback tree follow every change."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from backspace_tui.core import events as ev
from backspace_tui.core.hunks import added_removed
from backspace_tui.core.protocols import Sandbox, SandboxFactory, SandboxGone
from backspace_tui.core.trees import EXECUTABLE, GITLINK, REGULAR, Entry, File

if TYPE_CHECKING:
    from backspace_tui.engine.recorder import Recorder
    from backspace_tui.repository.bare import BareRepository
    from backspace_tui.sessions.objects import Objects

SESSION_LABEL = "agent"


class Snapshot(msgspec.Struct, frozen=True):
    """W (``tree``) and the tree of every file (``full``) at one moment; ``left_out`` paths are in ``full`` alone."""

    tree: str
    full: str
    left_out: int = 0


class Workspace:
    """The one live sandbox of a session, opened when it is first needed from the newest snapshot.

    Used by the workflow's thread; :meth:`close` may be called from any.
    """

    def __init__(
        self, session: str, sandboxes: SandboxFactory, repository: BareRepository, objects: Objects, recorder: Recorder
    ) -> None:
        self._session = session
        self._sandboxes = sandboxes
        self._repository = repository
        self._objects = objects
        self._recorder = recorder
        self._box: Sandbox | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def box(self) -> Sandbox:
        """The live sandbox, holding exactly the newest snapshot when it is opened here.

        Raises:
            SandboxError: it cannot be opened.
        """
        if self._box is None:
            state = self._recorder.state
            box = self._sandboxes.open(
                self.files(state.snapshot), session=self._session, purpose=SESSION_LABEL, tag=state.base_tag
            )
            with self._lock:
                if self._closed:
                    box.close()
                    raise SandboxGone("the session is ending")
                self._box = box
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
        if box is not None:
            box.close()

    def close(self) -> None:
        """Drop the sandbox for good."""
        with self._lock:
            self._closed = True
        self.discard()

    def snapshot(self, touched: Mapping[str, bytes | None] | None = None) -> Snapshot:
        """Store the workspace's files; ``touched`` holds the only paths that changed, where that is known."""
        state = self._recorder.state
        if touched is None:
            full = self._repository.write_tree(self.box.export())
            if links := self._submodules(state.base_tree, full):
                full = self._repository.amend_tree(full, links)
        else:
            full = self._repository.amend_tree(state.snapshot, self._with_modes(state.snapshot, touched))
        if full == state.snapshot:
            return Snapshot(state.work_tree, full)
        tree, left_out = self._repository.work_tree(full, state.base_tree)
        return Snapshot(tree, full, left_out)

    def put(self, files: Mapping[str, File | None]) -> Snapshot:
        """Change some files (``None``: remove) and take a snapshot; needs no sandbox where none is live."""
        if self._box is None:
            state = self._recorder.state
            full = self._repository.amend_tree(state.snapshot, files)
            tree, left_out = self._repository.work_tree(full, state.base_tree)
            return Snapshot(tree, full, left_out)
        for path, file in files.items():
            if file is None:
                self._box.delete_file(path)
            else:
                self._box.write_file(path, file.data, file.mode)
        # Reading the files back tells what is really there, symbolic links and modes included.
        return self.snapshot(None)

    def _with_modes(self, tree: str, touched: Mapping[str, bytes | None]) -> dict[str, File | None]:
        # Writing keeps an executable file executable and replaces anything else by a plain file.
        entries = self._objects.entries(tree)
        result: dict[str, File | None] = {}
        for path, data in touched.items():
            entry = entries.get(path)
            mode = EXECUTABLE if entry is not None and entry.mode == EXECUTABLE else REGULAR
            result[path] = None if data is None else File(mode, data)
        return result

    def _submodules(self, base: str, full: str) -> dict[str, Entry]:
        # A sandbox holds no submodules, so those of the base are kept as they are where nothing took their place.
        links = {path: entry for path, entry in self._objects.entries(base).items() if entry.mode == GITLINK}
        if not links:
            return {}
        taken = self._objects.entries(full)
        return {
            path: entry
            for path, entry in links.items()
            if path not in taken and not any(other.startswith(path + "/") for other in taken)
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


def _oid(entry: Entry | None) -> str:
    return entry.oid if entry is not None else ""
