"""Editing a hunk: the text that it leads to, in the user's editor, accepted as the user leaves it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual.app import App, SuspendNotSupported

from backspace_tui.core import commands as cmd
from backspace_tui.ui.diff_rows import HunkView
from backspace_tui.ui.present import shown_path
from backspace_tui.ui.screens.deciding import PROTECTED, Deciding

if TYPE_CHECKING:
    from backspace_tui.core.hunks import Hunk

_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9_+-]{1,16}")
_READ: Final = 4 << 20
"""Bytes that are read back: more than a session takes, which refuses what is too long."""


class EditFailed(Exception):
    """Nothing was edited; the text is one line that says why."""


class Editing(Deciding):
    """The key that edits."""

    def action_edit(self) -> None:
        view = self.decidable()
        if view is None:
            return
        if view.kind != "text":
            self.say("there are no lines to edit here: it is accepted or rejected as it is", "muted")
        elif view.protected:
            from backspace_tui.ui.screens.dialogs import ConfirmDialog

            def confirmed(answer: str | None) -> None:
                if answer:
                    self._edit(view, protected=True)

            title = f"Edit {shown_path(self.diff.path)}"
            text = f"{PROTECTED} What you leave in the editor is accepted. Edit it?"
            self.app.push_screen(ConfirmDialog(title, text), confirmed)
        else:
            self._edit(view, protected=False)

    def _edit(self, view: HunkView, *, protected: bool) -> None:
        before, seen = new_side(view.hunk), self.desk.review_seq
        try:
            command = editor(os.environ)
            with released(self.app):
                after = edited(command, before, self.diff.path)
        except EditFailed as problem:
            self.say(f"{problem}: nothing was changed", "warn")
            return
        # Some editors end a last line that had no end whenever they write.
        if after in (before, before + b"\n" if view.hunk.new_open else before):
            self.say("the text is as it was: nothing was changed", "muted")
            return
        self.under_way((view.id,))
        self.send(cmd.Edit(hunk=view.id, result=after, accept_protected=protected, seen=seen))
        self.advance(view.id)

    def refused(self, command: cmd.AnyCommand, error: str) -> str:
        if not isinstance(command, cmd.Edit):
            return super().refused(command, error)
        with contextlib.suppress(OSError):
            kept = write_private(command.result, "")
            return f"{error}; your text is kept in {kept}"
        return error


def new_side(hunk: Hunk) -> bytes:
    """The lines that a hunk leads to: context and added ones, as they are in the file."""
    lines = [line for sign, line in hunk.lines if sign != "-"]
    return b"\n".join(lines) + (b"" if hunk.new_open or not lines else b"\n")


def editor(environ: Mapping[str, str]) -> list[str]:
    """The user's editor as a command.

    Raises:
        EditFailed: there is none, or it is not written as a shell would read it.
    """
    for name in ("VISUAL", "EDITOR"):
        if value := environ.get(name, "").strip():
            try:
                return shlex.split(value)
            except ValueError:
                raise EditFailed(f"{name} is no command: check its quotes") from None
    if found := shutil.which("vi"):
        return [found]
    raise EditFailed("no editor is known (set EDITOR)")


def edited(command: list[str], text: bytes, path: str) -> bytes:
    """What is left of ``text`` after the editor; ``path`` is where it is from, for the file's type.

    Raises:
        EditFailed: the editor cannot be run or failed, or no text is left.
    """
    try:
        file = write_private(text, _suffix(path))
    except OSError as error:
        raise EditFailed(f"no temporary file can be written ({error.strerror})") from None
    try:
        with _undisturbed():
            code = subprocess.run([*command, os.fspath(file)], check=False).returncode
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise EditFailed(f"{os.path.basename(command[0])} ended with {how}")
        with file.open("rb") as stream:
            after = stream.read(_READ)
    except FileNotFoundError as error:
        gone = os.fspath(error.filename) == os.fspath(file)
        raise EditFailed("the file is gone" if gone else f"{command[0]} is not there (set EDITOR)") from None
    except OSError as error:
        raise EditFailed(f"{command[0]} cannot be run ({error.strerror})") from None
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)
    if not after.strip():
        raise EditFailed("the file is empty")
    return after


def write_private(data: bytes, suffix: str) -> Path:
    """A new file that only the user can read, in a folder of its own."""
    file = Path(tempfile.mkdtemp(prefix="backspace-tui-")) / f"hunk{suffix}"
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
    return file


def _suffix(path: str) -> str:
    """The suffix of a file's name, if nothing in it can do harm on a command line or a screen."""
    suffix = os.path.splitext(path)[1]
    return suffix if _SUFFIX.fullmatch(suffix) else ""


@contextlib.contextmanager
def released(app: App[int]) -> Iterator[None]:
    """The terminal is somebody else's. A window without one (headless) has none to give away.

    Raises:
        EditFailed: this terminal cannot be handed over.
    """
    if app.is_headless:
        yield
        return
    problem: Exception | None = None
    try:
        with app.suspend():
            try:
                yield
            except Exception as error:  # the window takes the terminal back first
                problem = error
    except SuspendNotSupported:
        raise EditFailed("this terminal cannot be handed to another program") from None
    if problem is not None:
        raise problem


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """ctrl+c and ctrl+\\ are the editor's."""
    numbers = (signal.SIGINT, signal.SIGQUIT)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
