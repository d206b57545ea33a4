"""From a session's settings to its sandboxes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from backspace_tui.core.protocols import Audit, CancelToken, SandboxError, SandboxSpec
from backspace_tui.core.trees import File
from backspace_tui.sandbox import leftovers
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.limits import Limits, limits_of
from backspace_tui.sandbox.setup_key import digest, setup_key

BACKENDS: Final = ("docker", "bubblewrap", "process")


class Factory:
    """Opens the sandboxes of one session; ``progress`` hears about an image that has to be made first, ``audit`` of
    each command of the setup that was run for it.

    ``spec.image`` may be ``slim`` or ``default`` (also the empty text) for the program's own images, else it is the
    name of any image with Python 3 in it.
    """

    def __init__(
        self,
        spec: SandboxSpec,
        progress: Callable[[str], None] | None = None,
        audit: Callable[[Audit], None] | None = None,
    ) -> None:
        self.spec = spec
        self._progress = progress
        self._audit = audit
        self._image = ""
        self._pruned = False
        self._lock = threading.Lock()
        self._setting_up = threading.Lock()

    def setup_key(self, files: Mapping[str, File]) -> str:
        """What the setup of ``files`` depends on: equal keys, equal results. Empty where nothing is set up."""
        spec = self.spec
        if not _sets_up(spec):
            return ""
        described = [files[path].data for path in (spec.dockerfile, ".dockerignore") if path in files]
        image = digest([spec.image.encode(), *described])
        return setup_key(image, files, spec.setup_root, spec.setup, spec.network)

    def open(
        self,
        files: Mapping[str, File],
        *,
        session: str,
        purpose: str,
        tag: str = "",
        setup: Callable[[], Mapping[str, File]] | None = None,
        cancel: CancelToken | None = None,
    ) -> SupervisedSandbox:
        """A started sandbox that holds ``files``, its throwaway ``.git`` with ``tag``; for the agent or to verify.

        ``setup`` gives the files that the project's setup is run with, which are trusted with the network where the
        settings allow it; without it those are ``files``.

        Raises:
            SandboxError: no engine, no image, engine full, setup failed: with the one thing to do.
        """
        sandbox = self.start(limits_of(self.spec), session, purpose, setup or (lambda: files), cancel)
        try:
            sandbox.load(files, tag=tag)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def start(
        self,
        limits: Limits,
        session: str,
        purpose: str,
        setup: Callable[[], Mapping[str, File]] = dict,
        cancel: CancelToken | None = None,
    ) -> SupervisedSandbox:
        """A started sandbox with nothing in it but what setup left outside the workspace; raises as :meth:`open`."""
        spec = self.spec
        if problem := _refusal(spec):
            raise SandboxError(problem)
        most = None if purpose in leftovers.NOT_COUNTED else spec.max_sandboxes
        if spec.backend == "docker":
            from backspace_tui.sandbox.docker import open_container

            self._prune_once()
            if most is not None and _sets_up(spec):
                # What takes minutes is not begun for a sandbox that is refused at its end.
                leftovers.look_for_room(session, purpose, most)
            image = self._prepared(limits, setup, cancel)
            return open_container(image, limits, session=session, purpose=purpose, most=most)
        if spec.image and spec.backend in BACKENDS and spec.image not in ("slim", "default"):
            raise SandboxError(f"[sandbox] image needs the docker backend, not {spec.backend}")
        if spec.backend == "bubblewrap":
            return _with_seat(limits, session, most)
        if spec.backend == "process":
            from backspace_tui.sandbox.process import open_process

            return open_process(limits)
        raise SandboxError(f"[sandbox] backend = {spec.backend!r} is unknown; it is docker or bubblewrap")

    def _prune_once(self) -> None:
        """Containers end with their owners; what a crash of the engine itself left is removed here."""
        with self._lock:
            if self._pruned:
                return
            self._pruned = True
        leftovers.prune()

    def _prepared(self, limits: Limits, setup: Callable[[], Mapping[str, File]], cancel: CancelToken | None) -> str:
        """The id of the image with what the project's setup made; the plain image where there is no setup."""
        spec = self.spec
        if not _sets_up(spec):
            return self.image_id()
        from backspace_tui.sandbox import images
        from backspace_tui.sandbox.setup import prepared

        files, say = setup(), self._progress or (lambda _: None)
        with self._setting_up:
            image = images.ensure_dockerfile(files, spec, say, cancel) if spec.dockerfile else self.image_id()
            return prepared(image, files, spec, limits, say, self._audit, cancel)

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


def _with_seat(limits: Limits, session: str, most: int | None) -> SupervisedSandbox:
    from backspace_tui.sandbox import seats
    from backspace_tui.sandbox.bubblewrap import open_bubblewrap

    if most is None:
        return open_bubblewrap(limits)
    seat = seats.take(session, most)
    try:
        sandbox = open_bubblewrap(limits)
    except BaseException:
        seat.release()
        raise
    sandbox.when_closed(seat.release)
    return sandbox


def _sets_up(spec: SandboxSpec) -> bool:
    return bool(spec.setup or spec.setup_root or spec.dockerfile)


def _refusal(spec: SandboxSpec) -> str:
    """What the settings ask for and cannot have, in one line, or nothing."""
    if spec.network not in ("none", "setup"):
        return f'[sandbox] network = {spec.network!r} is not supported; it is "none", or "setup" for the setup alone'
    if spec.dockerfile and spec.image:
        return "[sandbox] image and dockerfile exclude each other; keep one of them"
    asked = ["[project] setup"] * bool(spec.setup) + ["[project] setup_root"] * bool(spec.setup_root)
    asked += ["[sandbox] dockerfile"] * bool(spec.dockerfile)
    if asked and spec.backend in BACKENDS and spec.backend != "docker":
        return f"{asked[0]} needs the docker backend, not {spec.backend}: use --sandbox docker, or take it out"
    return ""
