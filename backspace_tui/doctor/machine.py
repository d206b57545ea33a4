"""Looking at this machine, for the doctor; never raises for what does not work."""

from __future__ import annotations

import getpass
import locale
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from backspace_tui import config, paths
from backspace_tui.doctor.checks import INSIDE, INSTALLERS, DataDir, Facts, Logind, Terminal, parse_logind
from backspace_tui.models.choose import DEFAULTS, Choice, ChoiceError, choose
from backspace_tui.models.local_server import LocalServer, servers
from backspace_tui.sandbox.bubblewrap import probe_bubblewrap
from backspace_tui.sandbox.engine import EngineStatus, probe_engine
from backspace_tui.sandbox.images import ImageStatus, image_status

LOGIND_FOLDERS: Final = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")


def probe() -> Facts:
    """Look at this machine; never raises for what does not work."""
    from backspace_tui.core.protocols import SandboxError

    engine = probe_engine()
    image: ImageStatus | None = None
    if engine.ok:
        try:
            image = image_status()
        except SandboxError as problem:
            engine = EngineStatus(False, str(problem), "docker info")
    bubblewrap = probe_bubblewrap()
    settings, settings_problem = config.Settings(), ""
    try:
        settings = config.load()
    except config.ConfigError as problem:
        settings_problem = str(problem)
    local = tuple(servers(os.environ))
    inside = sandbox_problem = ""
    wanted = settings.sandbox.backend
    backend = "docker" if engine.ok and wanted != "bubblewrap" else "bubblewrap"
    if (backend == "docker" and image is not None and image.ok) or (backend == "bubblewrap" and not bubblewrap):
        try:
            inside = _inside(backend)
        except SandboxError as problem:
            sandbox_problem = str(problem)
    return Facts(
        git=_output("git", "--version"),
        engine=engine,
        image=image,
        bubblewrap=bubblewrap,
        inside=inside,
        sandbox_problem=sandbox_problem,
        settings_problem=settings_problem,
        models=_models(settings, local),
        keys=tuple(name for _, names, _ in DEFAULTS for name in names if os.environ.get(name)),
        github_token=next((name for name in ("GITHUB_TOKEN", "GITHUB_PAT") if os.environ.get(name)), ""),
        terminal=_terminal(),
        data_dir=_data_dir(paths.data_dir()),
        logind=_logind(),
        user=_user(),
        root=os.geteuid() == 0,
        installers=tuple(name for name in INSTALLERS if shutil.which(name)),
        backend=wanted,
        servers=local,
    )


def _output(*command: str) -> str:
    """What a command prints; empty where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _models(settings: config.Settings, local: Sequence[LocalServer]) -> Choice | str:
    found = next((model for server in local for model in server.models), None)
    try:
        return choose([], settings.models, os.environ, probe=lambda _env: found)
    except ChoiceError as problem:
        return str(problem)


def _inside(backend: str) -> str:
    """What a sandbox that is opened for it says of itself. Raises :class:`SandboxError` where none can be opened."""
    from backspace_tui.core.protocols import SandboxError, SandboxSpec
    from backspace_tui.sandbox.factory import Factory

    box = Factory(SandboxSpec(backend=backend)).open({}, session="doctor", purpose="doctor")
    try:
        result = box.run(list(INSIDE), timeout=10)
    finally:
        box.close()
    if result.exit_code != 0:
        raise SandboxError("a command does not run in it")
    return result.stdout.decode("ascii", "replace")


def _terminal() -> Terminal:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        size = (columns, rows) if columns and rows else None
    except (OSError, ValueError):
        size = None
    term, colorterm = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "").lower()
    return Terminal(term, colorterm, locale.getpreferredencoding(False), size)


def _data_dir(path: Path) -> DataDir:
    """Try it out in the folder itself, or in the one in which it will be created; nothing is left there."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
        return DataDir(str(path), "", shutil.disk_usage(there).free)
    except OSError as problem:
        return DataDir(str(path), problem.strerror or str(problem), 0)


def _logind() -> Logind:
    if not Path("/run/systemd/system").is_dir():
        return Logind(running=False, kill=None)
    kill, excluded = parse_logind(logind_texts(LOGIND_FOLDERS))
    answer = _output(
        "busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager", "KillUserProcesses",
    )  # fmt: skip
    return Logind(True, answer.split() == ["b", "true"] if answer.startswith("b ") else kill, excluded)


def logind_texts(folders: Sequence[str], read: Callable[[Path], str] = Path.read_text) -> list[str]:
    """The settings files of logind in the order in which they count: the main file, then drop-ins by name.

    Of main files and of drop-ins with the same name only the one in the first of ``folders`` counts.
    """
    main = next((path for folder in folders if (path := Path(folder, "logind.conf")).is_file()), None)
    drop_ins = {
        path.name: path for folder in reversed(folders) for path in Path(folder, "logind.conf.d").glob("*.conf")
    }
    texts = []
    for path in [*([main] if main else []), *(drop_ins[name] for name in sorted(drop_ins))]:
        try:
            texts.append(read(path))
        except (OSError, UnicodeDecodeError):
            continue
    return texts


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
