"""A project's setup: run once in a build container, kept in an image, and found again by what it depends on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from backspace_tui.core.protocols import Audit, CancelToken, SandboxError, SandboxSpec
from backspace_tui.core.sizes import MIB
from backspace_tui.core.terminal_text import clean
from backspace_tui.core.trees import File
from backspace_tui.sandbox import engine
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.docker import HOME, SYSTEM_PATH, Kind, environment, open_kind
from backspace_tui.sandbox.dockerfile import LABEL
from backspace_tui.sandbox.limits import Limits
from backspace_tui.sandbox.setup_key import setup_key
from backspace_tui.sandbox.setup_output import Told

if TYPE_CHECKING:
    from docker import DockerClient

LINE_SECONDS: Final = 1800.0
KEPT_IMAGES: Final = 5
VENV: Final = "/opt/venv"
LAID: Final = "/opt/backspace"
# Images that were made from packages know no archive.
SOURCES: Final = """
[ -d /etc/apt ] && [ ! -s /etc/apt/sources.list ] && [ -z "$(ls /etc/apt/sources.list.d)" ] || exit 0
. /etc/os-release
case "$ID" in
debian)
    echo "deb http://deb.debian.org/debian $VERSION_CODENAME main"
    echo "deb http://deb.debian.org/debian $VERSION_CODENAME-updates main"
    echo "deb http://deb.debian.org/debian-security $VERSION_CODENAME-security main"
    ;;
ubuntu)
    for suite in "" -updates -security; do
        echo "deb http://archive.ubuntu.com/ubuntu $VERSION_CODENAME$suite main universe"
    done
    ;;
esac >/etc/apt/sources.list
"""
PACK: Final = "/usr/lib/backspace/supervisor_setup.py"

Progress = Callable[[str], None]


class _Build:
    """One preparation of an image for one set of files."""

    def __init__(
        self,
        spec: SandboxSpec,
        limits: Limits,
        files: Mapping[str, File],
        say: Progress,
        audit: Callable[[Audit], None] | None,
        cancel: CancelToken | None,
    ) -> None:
        self.spec, self.limits, self.files, self.say, self.cancel = spec, limits, files, say, cancel
        self.audit = audit

    def run(self, image: str, client: DockerClient) -> str:
        spec = self.spec
        name = f"backspace-tui/setup:{setup_key(image, self.files, spec.setup_root, spec.setup, spec.network)}"
        if spec.setup and (found := _image_id(client, name)):
            return found
        if spec.setup_root:
            key = setup_key(image, self.files, spec.setup_root, (), spec.network)
            root_name = f"backspace-tui/setup-root:{key}"
            image = _image_id(client, root_name) or self._stage(image, root_name, root=True)
        return self._stage(image, name, root=False) if spec.setup else image

    def _stage(self, image: str, name: str, *, root: bool) -> str:
        network = "bridge" if self.spec.network == "setup" else "none"
        kind = Kind(build=True, root=root, network=network)
        self.say("setting up" + (" with the network" if network == "bridge" else " without a network"))
        box, channel = open_kind(image, self.limits, kind, purpose="setup")
        with box:
            box.load(self.files)
            variables = _root_environment() if root else _user_environment(box)
            if root:
                box.run(["/bin/sh", "-c", SOURCES])
            lines = self.spec.setup_root if root else self.spec.setup
            for number, line in enumerate(lines, 1):
                self._line(box, line, variables, f"[project] {'setup_root' if root else 'setup'} line {number}")
            if not root:
                self._pack(box)
            label = json.dumps(self.spec.name or "repository")
            found = channel.commit(name, [f"LABEL {LABEL}={label}"])
        self.say("set up")
        return found

    def _line(self, box: SupervisedSandbox, line: str, variables: Sequence[str], what: str) -> None:
        self.say(f"$ {clean(line)}")
        told = Told(self.say)
        result = box.run(
            ["env", *variables, "/bin/sh", "-c", line],
            timeout=LINE_SECONDS,
            on_output=told.take,
            cancel=self.cancel,
            cap=None,
        )
        told.end()
        if self.audit is not None and result.audit is not None:
            self.audit(replace(result.audit, command=line))
        if result.exit_code == 0:
            return
        if result.cancelled:
            raise SandboxError("setup was stopped")
        short = " ".join(clean(line).split())[:120]
        if result.timed_out:
            raise SandboxError(f"{what} ({short}) took more than {LINE_SECONDS / 60:.0f} minutes; make it do less")
        said = f": {told.tail[-400:]}" if told.tail else ""
        if result.limit:
            todo = f"raise {result.limit}"
        elif self.spec.network == "none":
            todo = 'mend it, or give setup the network with [sandbox] network = "setup"'
        else:
            todo = "mend it, or what it runs"
        raise SandboxError(f"{what} ({short}) failed with exit code {result.exit_code}{said}; {todo}")

    def _pack(self, box: SupervisedSandbox) -> None:
        result = box.run(["python3", "-I", "-S", PACK, "/workspace", HOME, LAID], timeout=LINE_SECONDS)
        if result.exit_code != 0:
            tail = " ".join(clean(result.stderr).split())[-200:]
            raise SandboxError(f"what setup made cannot be kept: {tail or 'the engine is out of space?'}")
        kept: dict[str, Any] = json.loads(result.stdout)
        self.say(f"kept {_shown(kept['workspace'])} of the workspace and {_shown(kept['home'])} of the home folder")
        if kept["left_out"]:
            names = ", ".join(clean(str(name)) for name in kept["left_out"])
            more = kept["left_out_count"] - len(kept["left_out"])
            self.say(f"not kept, since .gitignore does not name it: {names}" + (f" and {more} more" if more else ""))


def _shown(size: int) -> str:
    return f"{-(-size // MIB)} MiB" if size > MIB else f"{-(-size // 1024)} KiB" if size else "nothing"


def prepared(
    image: str,
    files: Mapping[str, File],
    spec: SandboxSpec,
    limits: Limits,
    say: Progress,
    audit: Callable[[Audit], None] | None = None,
    cancel: CancelToken | None = None,
) -> str:
    """The id of ``image`` (an id) with what the setup of ``spec`` makes of ``files``; run where it is not there yet.

    Raises:
        SandboxError: a line failed, took too long or was stopped; the text names it and says what to do.
    """
    client = engine.connect()
    try:
        return _Build(spec, limits, files, say, audit, cancel).run(image, client)
    finally:
        client.close()


def _image_id(client: DockerClient, name: str) -> str:
    from docker.errors import ImageNotFound

    api: Any = client.api
    try:
        return str(api.inspect_image(name)["Id"])
    except ImageNotFound:
        return ""


def _user_environment(box: SupervisedSandbox) -> list[str]:
    """What the agent's commands see, but packages go into the image's venv, which no sandbox has to be laid again."""
    variables = ["PIP_NO_CACHE_DIR=1", "PIP_NO_INPUT=1", f"npm_config_cache={HOME}/tmp/npm", "npm_config_fund=false",
                 "npm_config_update_notifier=false"]  # fmt: skip
    if box.run(["test", "-w", f"{VENV}/bin"]).exit_code == 0:
        path = box.run(["printenv", "PATH"]).stdout.decode().strip() or environment()["PATH"]
        own = [folder for folder in path.split(":") if not folder.startswith(f"{HOME}/.venv")]
        variables += [f"VIRTUAL_ENV={VENV}", f"PATH={':'.join(own)}"]
    return variables


def _root_environment() -> list[str]:
    return ["-u", "VIRTUAL_ENV", "HOME=/root", "USER=root", "LOGNAME=root", "TMPDIR=/var/tmp", f"PATH={SYSTEM_PATH}",
            "DEBIAN_FRONTEND=noninteractive"]  # fmt: skip


def _made(api: Any, image: Mapping[str, Any]) -> str:
    """When an image was made, in a form that compares; empty where it is gone meanwhile."""
    from docker.errors import ImageNotFound

    try:
        made: str = api.inspect_image(image["Id"])["Created"].rstrip("Z")
    except ImageNotFound:
        return ""
    return made


def prune_images(keep: int = KEPT_IMAGES, name: str = "") -> int:
    """Remove the setup images beyond the newest ``keep`` of each kind and repository (or of the one with ``name``).

    Returns how many.

    Raises:
        EngineError: no engine answers.
    """
    from docker.errors import APIError

    client = engine.connect()
    try:
        api: Any = client.api
        kept: dict[tuple[str, str], int] = {}
        removed = 0
        label = f"{LABEL}={name}" if name else LABEL
        images = api.images(filters={"label": label})
        # The list tells whole seconds, in which several may be made.
        for found in sorted(images, key=lambda image: _made(api, image), reverse=True):
            for tag in found.get("RepoTags") or ():
                kind = tag.rpartition(":")[0]
                if not kind.startswith("backspace-tui/"):
                    continue
                group = (kind, found["Labels"][LABEL])
                kept[group] = kept.get(group, 0) + 1
                if kept[group] > keep:
                    with contextlib.suppress(APIError):  # in use
                        api.remove_image(tag)
                        removed += 1
        return removed
    finally:
        client.close()
