"""From a session's settings to its sandboxes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.core.trees import File
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.limits import Limits, limits_of

BACKENDS: Final = ("docker", "bubblewrap", "process")


class Factory:
    """Opens the sandboxes of one session; ``progress`` hears about an image that has to be made first.

    ``spec.image`` may be ``slim`` or ``default`` (also the empty text) for the program's own images, else it is the
    name of any image with Python 3 in it.
    """

    def __init__(self, spec: SandboxSpec, progress: Callable[[str], None] | None = None) -> None:
        self.spec = spec
        self._progress = progress
        self._image = ""
        self._pruned = False
        self._lock = threading.Lock()

    def open(self, files: Mapping[str, File], *, session: str, purpose: str, tag: str = "") -> SupervisedSandbox:
        """A started sandbox that holds ``files``, its throwaway ``.git`` with ``tag``; for the agent or to verify.

        Raises:
            SandboxError: no engine, no image, engine full: with the one thing to do.
        """
        sandbox = self.start(limits_of(self.spec), session, purpose)
        try:
            sandbox.load(files, tag=tag)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def start(self, limits: Limits, session: str, purpose: str) -> SupervisedSandbox:
        """A started sandbox with nothing in it; raises as :meth:`open` does."""
        spec = self.spec
        if spec.network != "none":
            raise SandboxError(f"[sandbox] network = {spec.network!r} is not supported; it is none")
        if spec.setup or spec.setup_root:
            name = "setup" if spec.setup else "setup_root"
            raise SandboxError(
                f"[project] {name} is not supported yet: bake what it installs into an image and name it in "
                "[sandbox] image"
            )
        if spec.backend == "docker":
            from backspace_tui.sandbox.docker import open_container

            self._prune_once()
            return open_container(self.image_id(), limits, session=session, purpose=purpose)
        if spec.image and spec.backend in BACKENDS and spec.image not in ("slim", "default"):
            raise SandboxError(f"[sandbox] image needs the docker backend, not {spec.backend}")
        if spec.backend == "bubblewrap":
            from backspace_tui.sandbox.bubblewrap import open_bubblewrap

            return open_bubblewrap(limits)
        if spec.backend == "process":
            from backspace_tui.sandbox.process import open_process

            return open_process(limits)
        raise SandboxError(f"[sandbox] backend = {spec.backend!r} is unknown; it is docker or bubblewrap")

    def _prune_once(self) -> None:
        """Containers end with their owners; what a crash of the engine itself left is removed here."""
        from backspace_tui.sandbox.docker import prune

        with self._lock:
            if self._pruned:
                return
            self._pruned = True
        prune()

    def image_id(self) -> str:
        """The id of the image that the sandboxes run, made first where it is one of ours and missing."""
        from backspace_tui.sandbox import images

        with self._lock:
            if not self._image:
                if self.spec.image == "slim":
                    self._image = images.ensure_image("slim", self._progress)
                elif self.spec.image in ("", "default"):
                    self._image = images.ensure_image("default", self._progress)
                else:
                    self._image = images.ensure_custom(self.spec.image, self._progress)
            return self._image
