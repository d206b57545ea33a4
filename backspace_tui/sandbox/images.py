"""The sandbox images: named after what they are made of, and made from whatever can be reached.

``backspace-tui/slim`` holds Python and a shell, ``backspace-tui/default`` what most projects need. An image has two
parts: the base, which takes its time, and the supervisor, which is a small layer on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from backspace_tui.core.protocols import CancelToken, SandboxError, SandboxSpec
from backspace_tui.core.trees import File
from backspace_tui.paths import resource_dir
from backspace_tui.sandbox import engine

if TYPE_CHECKING:
    from docker import DockerClient

Kind = Literal["default", "slim"]
Progress = Callable[[str], None]
REGISTRY: Final = ("registry-1.docker.io", 443)
REGISTRY_SECONDS: Final = 3.0
SUPERVISOR_FILES: Final = (
    "supervisor.py",
    "supervisor_child.py",
    "supervisor_files.py",
    "supervisor_jobs.py",
    "supervisor_places.py",
    "supervisor_process.py",
    "supervisor_setup.py",
    "supervisor_shell.py",
    "supervisor_snapshots.py",
    "supervisor_spawn.py",
    "supervisor_tree.py",
    "supervisor_walk.py",
    "supervisor_wire.py",
    "supervisor_zygote.py",
)
INSIDE: Final = "usr/lib/backspace"
CONFIG: Final = ["ENV LANG=C.UTF-8", "WORKDIR /workspace", "LABEL io.backspace-tui.image=1"]


@dataclass(frozen=True)
class ImageStatus:
    """Whether an image is there; ``id`` is empty where it is not, and ``fix`` then makes it."""

    kind: str
    name: str
    id: str = ""
    size: int = 0
    fix: str = ""

    @property
    def ok(self) -> bool:
        return bool(self.id)


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:12]


def _base_parts(kind: Kind) -> list[bytes]:
    folder = resource_dir("sandbox")
    names = ("Dockerfile", "debian_image.py", "finish.sh", f"packages-{kind}")
    return [kind.encode(), *((folder / name).read_bytes() for name in names)]


def _supervisor_parts() -> list[bytes]:
    folder = resource_dir("sandbox")
    return [(folder / name).read_bytes() for name in SUPERVISOR_FILES]


def base_name(kind: Kind) -> str:
    """The image without its supervisor."""
    return f"backspace-tui/{kind}-base:{_digest(_base_parts(kind))}"


def image_name(kind: Kind) -> str:
    """The name of the image that this version of the program uses."""
    return f"backspace-tui/{kind}:{_digest([*_base_parts(kind), *_supervisor_parts()])}"


def image_status(kind: Kind = "default") -> ImageStatus:
    """Whether the image is there.

    Raises:
        EngineError: no engine answers.
    """
    client = engine.connect()
    try:
        name = image_name(kind)
        found = _inspect(client, name)
        fix = "backspace-tui sandbox build" + (" --slim" if kind == "slim" else "")
        return ImageStatus(kind, name, found["Id"], found["Size"]) if found else ImageStatus(kind, name, fix=fix)
    finally:
        client.close()


def _inspect(client: DockerClient, name: str) -> dict[str, Any] | None:
    from docker.errors import ImageNotFound

    api: Any = client.api
    try:
        return dict(api.inspect_image(name))
    except ImageNotFound:
        return None


def ensure_image(kind: Kind = "default", progress: Progress | None = None) -> str:
    """The id of the image, made first where it is missing.

    Raises:
        EngineError: no engine answers.
        SandboxError: it cannot be made here; the text says why.
    """
    client = engine.connect()
    try:
        found = _inspect(client, image_name(kind))
        return str(found["Id"]) if found else build(kind, progress)
    finally:
        client.close()


def build(kind: Kind = "default", progress: Progress | None = None) -> str:
    """Make the image from a registry where one answers, else from Debian packages; returns its id."""
    say = progress or (lambda _: None)
    client = engine.connect()
    try:
        base = _inspect(client, base_name(kind))
        if base is None:
            _build_base(client, kind, say)
        found = add_supervisor(client, base_name(kind), image_name(kind))
        say(f"made {image_name(kind)}")
        return found
    finally:
        client.close()


def ensure_custom(image: str, progress: Progress | None = None) -> str:
    """A derived image of the user's own ``image`` (a local name or id; pulled where missing) with the supervisor.

    Raises:
        SandboxError: the image cannot be had or has no Python 3.
    """
    from docker.errors import APIError

    say = progress or (lambda _: None)
    client = engine.connect()
    try:
        found = _inspect(client, image)
        if found is None:
            say(f"pulling {image}")
            try:
                client.images.pull(image)
            except APIError as error:
                reason = " ".join(str(error.explanation or error).split())[:160]
                raise SandboxError(f"the image {image!r} is not there and cannot be pulled ({reason})") from None
            found = _inspect(client, image)
        if found is None:
            raise SandboxError(f"the image {image!r} is not there: docker pull {image}")
        name = f"backspace-tui/custom:{_digest([found['Id'].encode(), *_supervisor_parts()])}"
        derived = _inspect(client, name)
        return str(derived["Id"]) if derived else add_supervisor(client, found["Id"], name)
    finally:
        client.close()


def ensure_dockerfile(
    files: Mapping[str, File], spec: SandboxSpec, say: Progress, cancel: CancelToken | None = None
) -> str:
    """The id of the image of the repository's own Dockerfile, with the supervisor; built where it is missing.

    Raises:
        SandboxError: it is not among ``files``, or cannot be built.
    """
    from backspace_tui.sandbox import dockerfile

    client = engine.connect()
    try:
        built = dockerfile.image_of(
            client, files, spec.dockerfile, network=spec.network == "setup", name=spec.name, say=say, cancel=cancel
        )
    finally:
        client.close()
    return ensure_custom(built, say)


def add_supervisor(client: DockerClient, base: str, name: str) -> str:
    """Lay the supervisor over ``base`` and tag the result ``name``; returns its id."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as out:
        # Mount points, for images that are not ours.
        for path, owner in (
            ("workspace", 1000),
            ("home", 0),
            ("home/agent", 1000),
            ("opt/backspace", 1000),
            (INSIDE, 0),
        ):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, owner, owner
            out.addfile(entry)
        for file, data in zip(SUPERVISOR_FILES, _supervisor_parts(), strict=True):
            entry = tarfile.TarInfo(f"{INSIDE}/{file}")
            entry.size, entry.mode = len(data), 0o644
            out.addfile(entry, io.BytesIO(data))
    api = client.api
    container = api.create_container(base, ["true"], entrypoint=[], labels=_labels())["Id"]
    try:
        api.put_archive(container, "/", archive.getvalue())
        _add_user(api, container)
        repository, _, tag = name.partition(":")
        return str(api.commit(container, repository, tag, changes=CONFIG)["Id"])
    finally:
        api.remove_container(container, force=True)


def _add_user(api: Any, container: str) -> None:
    """Give uid and gid 1000 names where the image has none: programs look them up."""
    added = io.BytesIO()
    with tarfile.open(fileobj=added, mode="w") as out:
        for name, line in (("passwd", "agent:x:1000:1000:agent:/home/agent:/bin/sh"), ("group", "agent:x:1000:")):
            present = _read_file(api, container, f"/etc/{name}")
            if present is None or any(entry.split(b":")[2:3] == [b"1000"] for entry in present.splitlines()):
                continue
            data = present + (b"" if not present or present.endswith(b"\n") else b"\n") + line.encode() + b"\n"
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size, entry.mode = len(data), 0o644
            out.addfile(entry, io.BytesIO(data))
    api.put_archive(container, "/", added.getvalue())


def _read_file(api: Any, container: str, path: str) -> bytes | None:
    """A small file of a container; empty where there is none, ``None`` where it is no regular file."""
    from docker.errors import NotFound

    try:
        pieces, _ = api.get_archive(container, path)
    except NotFound:
        return b""
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        entry = archive.next()
        content = archive.extractfile(entry) if entry is not None and entry.isfile() else None
        return content.read() if content is not None else None


def _labels() -> dict[str, str]:
    from backspace_tui.sandbox.docker import owner_labels

    return owner_labels("", "build")


def _build_base(client: DockerClient, kind: Kind, say: Progress) -> None:
    reasons = []
    if registry_answers():
        try:
            _build_from_dockerfile(client, kind, say)
            return
        except SandboxError as error:
            reasons.append(str(error))
            say(f"{error}; trying Debian packages")
    else:
        reasons.append("no container registry answers")
        say("no container registry answers; making the image from Debian packages")
    problem = _no_debian(client)
    if problem:
        raise SandboxError(f"the sandbox image cannot be made here: {'; '.join(reasons)}; {problem}")
    _build_from_debian(client, kind, say)


def registry_answers() -> bool:
    """Whether Docker Hub answers soon; a firewall that swallows packets must not hold the user up."""
    if os.environ.get("BACKSPACE_TUI_NO_REGISTRY"):
        return False
    try:
        socket.create_connection(REGISTRY, timeout=REGISTRY_SECONDS).close()
    except OSError:
        return False
    return True


def _build_from_dockerfile(client: DockerClient, kind: Kind, say: Progress) -> None:
    from docker.errors import APIError

    folder = resource_dir("sandbox")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as out:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                out.add(path, path.name)
    context.seek(0)
    say(f"building {base_name(kind)} with docker")
    try:
        # The final stage, with the supervisor, is for people who build by hand; we add it as a layer of our own.
        lines = client.api.build(
            fileobj=context, custom_context=True, target=f"{kind}-base", tag=base_name(kind), rm=True, decode=True
        )
        for line in lines:
            if "error" in line:
                raise SandboxError(f"docker build failed: {' '.join(str(line['error']).split())[:200]}")
            if text := str(line.get("stream", "")).strip():
                say(text)
    except APIError as error:
        raise SandboxError(f"docker build failed: {' '.join(str(error.explanation).split())[:200]}") from None


def _no_debian(client: DockerClient) -> str:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            return "and without it the image needs a Debian or Ubuntu host"
    ours = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=False).stdout.strip()
    theirs = str(client.version().get("Arch", ours))
    if ours != theirs:
        return f"the engine is {theirs}, this machine {ours}: run backspace-tui sandbox build on the engine's machine"
    return ""


def _build_from_debian(client: DockerClient, kind: Kind, say: Progress) -> None:
    script = resource_dir("sandbox") / "debian_image.py"
    with tempfile.TemporaryDirectory(prefix="backspace-image-") as scratch:
        root = Path(scratch) / "root.tar"
        last = ""
        with subprocess.Popen(
            [sys.executable, "-I", str(script), kind, str(root)], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                last = line.strip()
                say(last)
        if process.returncode:
            raise SandboxError(f"the image cannot be made from Debian packages: {last}")
        say("handing the packages to the engine")
        imported = _import(client, root)
    say("setting the packages up inside a container without a network")
    try:
        _finish(client, imported, base_name(kind))
    finally:
        with contextlib.suppress(Exception):
            client.api.remove_image(imported)


def _import(client: DockerClient, root: Path) -> str:
    answer = client.api.import_image(src=str(root), changes=CONFIG[-1])
    for line in str(answer).splitlines():
        status = json.loads(line)
        if "error" in status:
            raise SandboxError(f"the engine refused the image: {status['error']}")
        if str(status.get("status", "")).startswith("sha256:"):
            return str(status["status"])
    raise SandboxError("the engine did not say which image it made")


def _finish(client: DockerClient, image: str, name: str) -> None:
    api = client.api
    container = api.create_container(
        image,
        [f"/{INSIDE}/finish.sh"],
        labels=_labels(),
        host_config=api.create_host_config(network_mode="none"),
    )["Id"]
    try:
        api.start(container)
        code = api.wait(container, timeout=900)["StatusCode"]
        if code:
            log = api.logs(container, tail=3).decode(errors="replace").strip().replace("\n", " / ")
            raise SandboxError(f"the image's packages could not be set up: {log[-300:]}")
        repository, _, tag = name.partition(":")
        api.commit(container, repository, tag, changes=CONFIG)
    finally:
        api.remove_container(container, force=True)
