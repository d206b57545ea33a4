"""The image that a repository's own Dockerfile describes, built by the engine from committed files alone."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from backspace_tui.core.protocols import CancelToken, SandboxError
from backspace_tui.core.trees import File
from backspace_tui.sandbox.setup_key import contents, digest
from backspace_tui.sandbox.setup_output import Told
from backspace_tui.sandbox.transfer import pack

if TYPE_CHECKING:
    from docker import DockerClient

LABEL: Final = "io.backspace-tui.setup"


def context(files: Mapping[str, File], dockerfile: str) -> dict[str, File]:
    """What the build sees of ``files``: what ``.dockerignore`` leaves, and always the Dockerfile.

    Raises:
        SandboxError: the Dockerfile is not among them.
    """
    path = posixpath.normpath(dockerfile)
    if path not in files:
        raise SandboxError(f"[sandbox] dockerfile = {dockerfile!r} is not among the repository's committed files")
    ignore = files.get(".dockerignore")
    if ignore is None:
        return dict(files)
    from docker.utils.build import PatternMatcher

    lines = [line.strip() for line in ignore.data.decode("utf-8", "replace").splitlines()]
    matcher: Any = PatternMatcher([line for line in lines if line and not line.startswith("#")])
    return {name: file for name, file in files.items() if name == path or not matcher.matches(name)}


def image_of(
    client: DockerClient,
    files: Mapping[str, File],
    dockerfile: str,
    *,
    network: bool,
    name: str,
    say: Callable[[str], None],
    cancel: CancelToken | None,
) -> str:
    """The name of the image, built where none of the same context is there; ``network``: its commands may use it.

    Raises:
        SandboxError: there is no such file, or the build failed; one line with the end of what it printed.
    """
    from docker.errors import APIError, ImageNotFound

    seen = context(files, dockerfile)
    path = posixpath.normpath(dockerfile)
    facts = [path.encode("utf-8", "surrogatepass"), b"network" if network else b"none"]
    tag = f"backspace-tui/dockerfile:{digest([*facts, *contents(seen, sorted(seen))])}"
    api: Any = client.api
    try:
        api.inspect_image(tag)
        return tag
    except ImageNotFound:
        pass
    say(f"building {path}")
    told = Told(say)
    try:
        lines = api.build(
            fileobj=io.BytesIO(b"".join(pack(seen))),
            custom_context=True,
            dockerfile=path,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            network_mode="bridge" if network else "none",
            labels={LABEL: name},
        )
        for line in lines:
            if cancel is not None and cancel.cancelled:
                raise SandboxError("the build of the image was stopped")
            told.take("stdout", str(line.get("stream", "")).encode())
            if "error" in line:
                told.end()
                raise SandboxError(_failed(dockerfile, str(line["error"]), told.tail, network))
    except APIError as error:
        raise SandboxError(_failed(dockerfile, str(error.explanation or error), told.tail, network)) from None
    told.end()
    return tag


def _failed(dockerfile: str, error: str, tail: str, network: bool) -> str:
    hint = "" if network else '; it was built without a network, which [sandbox] network = "setup" allows'
    said = f" (it printed: {tail})" if tail else ""
    return f"[sandbox] dockerfile = {dockerfile!r} cannot be built: {' '.join(error.split())[:300]}{said}{hint}"
