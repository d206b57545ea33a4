"""What is found on a machine, and what it means. Pure: :mod:`backspace_tui.doctor.machine` does the looking."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from backspace_tui import paths
from backspace_tui.config import ModelSettings
from backspace_tui.models.choose import DEFAULTS, Choice, without_userinfo
from backspace_tui.models.local_server import LocalServer
from backspace_tui.sandbox.engine import EngineStatus
from backspace_tui.sandbox.images import ImageStatus

Status = Literal["ok", "warn", "fail"]

SMALLEST_GIT: Final = (2, 25)
"""``git fast-import`` and partial history as they are used here."""

INSIDE: Final = ("cat", "/proc/self/status", "/proc/net/dev", "/proc/mounts")
"""What is asked inside of a sandbox to see whether its isolation is in force."""

LITTLE_SPACE: Final = 1 << 30
NO_SPACE: Final = 64 << 20

INSTALLERS: Final[Mapping[str, tuple[str, dict[str, str]]]] = {
    "apt-get": ("sudo apt-get install -y", {"docker": "docker.io"}),
    "dnf": ("sudo dnf install -y", {"docker": "moby-engine"}),
    "pacman": ("sudo pacman -S", {}),
    "apk": ("sudo apk add", {}),
    "zypper": ("sudo zypper install", {}),
    "brew": ("brew install", {"docker": "--cask docker"}),
}

KEEP_PROCESSES: Final = (
    "sudo mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nKillUserProcesses=no\\n' | "
    "sudo tee /etc/systemd/logind.conf.d/50-backspace-tui.conf && sudo systemctl restart systemd-logind"
)


class Check(msgspec.Struct, frozen=True):
    """One finding. ``fix`` is the one command that mends it, empty where nothing needs mending."""

    name: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Terminal:
    """What is known of the terminal; ``size`` is columns and rows, ``None`` where there is no terminal."""

    term: str
    colorterm: str
    encoding: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class DataDir:
    """``problem`` is empty where it can be written (or created); ``free`` is in bytes."""

    path: str
    problem: str
    free: int


@dataclass(frozen=True)
class Logind:
    """``kill`` is ``KillUserProcesses`` where it is known; ``excluded`` are the users it spares."""

    running: bool
    kill: bool | None
    excluded: tuple[str, ...] = ("root",)


@dataclass(frozen=True)
class Facts:
    """Everything that was probed.

    ``bubblewrap`` is why it does not work, empty where it does. ``inside`` is what a sandbox of the best kind that
    works here, or of ``backend`` where the settings name another, says of itself (:data:`INSIDE`), empty where none was
    opened; ``sandbox_problem`` is why that failed.
    """

    git: str
    engine: EngineStatus
    image: ImageStatus | None
    bubblewrap: str
    inside: str
    sandbox_problem: str
    settings_problem: str
    models: Choice | str
    keys: tuple[str, ...]
    github_token: str
    terminal: Terminal
    data_dir: DataDir
    logind: Logind
    user: str
    root: bool
    installers: tuple[str, ...]
    backend: str = "docker"
    servers: tuple[LocalServer, ...] = ()


def exit_code(checks: Sequence[Check]) -> int:
    """0 unless something that is needed does not work."""
    return int(any(check.status == "fail" for check in checks))


def judge(facts: Facts) -> list[Check]:
    """What the facts mean. Needed are git, a data directory, readable settings and some isolation."""
    checks = [
        check_git(facts.git, facts.installers),
        *check_sandbox(facts),
        check_settings(facts.settings_problem),
        check_models(facts.models),
        check_servers(facts.servers, facts.models),
        check_keys(facts.keys),
        check_github(facts.github_token),
        check_terminal(facts.terminal),
        check_data_dir(facts.data_dir),
        check_logind(facts.logind, facts.user),
    ]
    if not facts.root:
        return checks
    return [msgspec.structs.replace(check, fix=check.fix.replace("sudo ", "")) for check in checks]


def install(package: str, installers: Sequence[str]) -> str:
    """The command that installs ``package`` with the first package manager that is here."""
    for name in installers:
        command, names = INSTALLERS[name]
        return f"{command} {names.get(package, package)}"
    return f"install {package} with your system's package manager"


def check_git(version: str, installers: Sequence[str]) -> Check:
    """``version`` is what ``git --version`` prints, empty where there is no git."""
    match = re.search(r"(\d+)\.(\d+)[.\w]*", version)
    if not match:
        return Check("git", "fail", "git is not installed", install("git", installers))
    if (int(match[1]), int(match[2])) < SMALLEST_GIT:
        wanted = ".".join(map(str, SMALLEST_GIT))
        return Check("git", "fail", f"git {match[0]} is too old, {wanted} is needed", install("git", installers))
    return Check("git", "ok", f"git {match[0]}")


def check_sandbox(facts: Facts) -> list[Check]:
    """Docker, its image, bubblewrap, and what of them isolates the agent."""
    engine, usable = facts.engine, not facts.bubblewrap
    context = f", context {engine.context}" if engine.context else ""
    if engine.ok:
        docker = Check("docker", "ok", f"engine {engine.version} at {engine.host}{context}")
    else:
        docker = Check("docker", "warn", engine.problem, _docker_fix(engine, facts.installers))
    checks = [docker, _image(engine, facts.image)]
    if usable:
        checks.append(Check("bubblewrap", "ok", "works (run --sandbox bubblewrap)"))
    else:
        checks.append(Check("bubblewrap", "warn", facts.bubblewrap, "" if engine.ok else docker.fix))
    checks.append(_isolation(facts, docker.fix))
    return checks


def _isolation(facts: Facts, fix: str) -> Check:
    """What is in force for the backend that the settings choose, as a sandbox that was opened tells it."""
    engine = facts.engine
    if facts.backend == "bubblewrap" and facts.bubblewrap:
        return Check("isolation", "fail", f"[sandbox] backend is bubblewrap: {facts.bubblewrap}", "backspace-tui demo")
    if not engine.ok and facts.bubblewrap:
        return Check("isolation", "fail", "neither docker nor bubblewrap works: nothing can be run", fix)
    if facts.sandbox_problem:
        return Check("isolation", "fail", f"no sandbox can be opened: {facts.sandbox_problem}", "backspace-tui demo")
    docker = engine.ok and facts.backend != "bubblewrap"
    holes = weaknesses(facts.inside, filtered=docker) if facts.inside else []
    if holes:
        return Check("isolation", "fail", f"a sandbox was opened, but {', '.join(holes)}", "docker info")
    seen = (
        "no network, no capabilities, not root, read-only root"
        if facts.inside
        else "not tried before the image is made"
    )
    if docker:
        own = "our own seccomp filter, " if facts.inside else ""
        return Check("isolation", "ok", f"docker: {own}{seen}; limits by {engine.isolation}")
    chosen = "bubblewrap" if facts.backend == "bubblewrap" else "only bubblewrap"
    filtered = _field(facts.inside, "Seccomp") == "2"
    missing = ["all memory together", "the processor", "the number of files"]
    missing += ["threads and services (you are root)"] if facts.root else []
    detail = (
        f"{chosen}, reduced isolation: {'our own seccomp filter' if filtered else 'no seccomp'}, {seen}; "
        f"the host's programs; no limit on {', '.join(missing[:-1])} or {missing[-1]}"
    )
    return Check("isolation", "warn", detail, fix if facts.backend != "bubblewrap" else "")


def _field(inside: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(\S+)", inside, re.M)
    return found[1] if found else ""


def weaknesses(inside: str, *, filtered: bool) -> list[str]:
    """What is open in the sandbox that answered :data:`INSIDE`; ``filtered`` expects a seccomp filter too."""
    fields = dict(re.findall(r"^(\w+):\s*(\S+)", inside, re.M))
    found = []
    if fields.get("Uid") == "0":
        found.append("commands run as root")
    if fields.get("CapEff", "").strip("0"):
        found.append("commands have capabilities")
    if fields.get("NoNewPrivs") != "1":
        found.append("commands can gain privileges")
    if filtered and fields.get("Seccomp") != "2":
        found.append("no system call is filtered")
    if set(re.findall(r"^\s*([\w.@-]+):\s*\d+(?:\s+\d+){15}\s*$", inside, re.M)) - {"lo"}:
        found.append("there is a network")
    root = re.search(r"^\S+ / \S+ (\S+)", inside, re.M)
    if root and "ro" not in root[1].split(","):
        found.append("its root can be written to")
    return found


def _docker_fix(engine: EngineStatus, installers: Sequence[str]) -> str:
    return install("docker", installers) if "not installed" in engine.problem else engine.fix


def _image(engine: EngineStatus, image: ImageStatus | None) -> Check:
    if not engine.ok or image is None:
        return Check("image", "warn", "cannot be looked for without an engine")
    if image.ok:
        return Check("image", "ok", f"{image.name}, {image.size / 1e6:.0f} MB")
    return Check("image", "warn", f"{image.name} is not made yet; the first run makes it", image.fix)


def check_settings(problem: str) -> Check:
    """``problem`` is the settings' own error line."""
    if problem:
        return Check("settings", "fail", problem, f"${{EDITOR:-nano}} {paths.config_file()}")
    return Check("settings", "ok", str(paths.config_file()))


def check_models(choice: Choice | str) -> Check:
    """What answers, or (a text) why nothing does."""
    if isinstance(choice, str):
        return Check("models", "warn", choice, "backspace-tui run --help")
    if choice.offline:
        return Check("models", "warn", choice.reason, f"export {DEFAULTS[0][1][0]}=YOUR-KEY")
    return Check("models", "ok", f"{', '.join(choice.names)} ({choice.reason})")


def check_servers(found: Sequence[LocalServer], choice: Choice | str) -> Check:
    """Servers of language models on this machine, and where none of them is used yet, the settings that use one."""
    if not found:
        return Check("local", "ok", "no server of language models answers here (Ollama, llama.cpp, vLLM, LM Studio)")
    told = "; ".join(f"{server.kind} at {without_userinfo(server.address)}: {_few(server.names)}" for server in found)
    used = () if isinstance(choice, str) else choice.models
    if "@" in found[0].address or any(model.api_base == server.address for model in used for server in found):
        return Check("local", "ok", told)
    return Check("local", "ok", told, settings_for(found[0].models[0]))


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def settings_for(model: ModelSettings) -> str:
    """The command that adds ``model`` to the user's settings."""
    file = paths.config_file()
    values = (f"{key} = {json.dumps(getattr(model, key), ensure_ascii=False)}" for key in ("name", "api_base"))
    lines = " ".join(shlex.quote(line) for line in ("", "[[models]]", *values))
    return f"mkdir -p {shlex.quote(str(file.parent))} && printf '%s\\n' {lines} >> {shlex.quote(str(file))}"


def check_keys(names: Sequence[str]) -> Check:
    """Names of variables that hold keys; values are never looked at."""
    if names:
        return Check("keys", "ok", ", ".join(names))
    return Check("keys", "warn", "no model provider's key is set", f"export {DEFAULTS[0][1][0]}=YOUR-KEY")


def check_github(variable: str) -> Check:
    """``variable`` is the name of the one that holds a token."""
    if variable:
        return Check("github", "ok", f"{variable} is set")
    detail = "no GITHUB_TOKEN or GITHUB_PAT: pull requests are written down locally"
    return Check("github", "warn", detail, "export GITHUB_TOKEN=$(gh auth token)")


def check_terminal(terminal: Terminal) -> Check:
    """Whether the workspace can be drawn well."""
    if terminal.term in ("", "dumb", "unknown"):
        return Check("terminal", "warn", "TERM names no terminal that can draw", "export TERM=xterm-256color")
    if terminal.encoding.lower().replace("-", "") not in ("utf8", "utf8mb4"):
        return Check("terminal", "warn", f"the locale is {terminal.encoding}, not UTF-8", "export LC_ALL=C.UTF-8")
    if terminal.size is None:
        return Check("terminal", "ok", f"{terminal.term}, {colours(terminal)}; its size is not known here")
    columns, rows = terminal.size
    detail = f"{terminal.term}, {columns}x{rows}, {colours(terminal)}, UTF-8"
    if columns < 80 or rows < 24:
        return Check("terminal", "warn", f"{detail}: small", "resize -s 40 140")
    if colours(terminal) == "16 colours":
        return Check("terminal", "warn", detail, "export TERM=xterm-256color")
    return Check("terminal", "ok", detail)


def colours(terminal: Terminal) -> str:
    """How many colours the terminal says it has."""
    if terminal.colorterm in ("truecolor", "24bit") or terminal.term.endswith("-direct"):
        return "true colour"
    return "256 colours" if "256color" in terminal.term else "16 colours"


def check_data_dir(found: DataDir) -> Check:
    """Sessions are written there."""
    elsewhere = "export BACKSPACE_TUI_DATA_DIR=/a/folder/with/space"
    if found.problem:
        return Check("data", "fail", f"{found.path} cannot be written: {found.problem}", elsewhere)
    detail = f"{found.path}, {found.free / 1e9:.1f} GB free"
    if found.free < NO_SPACE:
        return Check("data", "fail", f"{detail}: too little", elsewhere)
    return Check("data", "warn", detail, elsewhere) if found.free < LITTLE_SPACE else Check("data", "ok", detail)


def check_logind(logind: Logind, user: str) -> Check:
    """Whether a session survives the logout of the user who started it."""
    if not logind.running:
        return Check("logind", "ok", "no systemd-logind here: a session goes on when you log out")
    if user in logind.excluded or logind.kill is False:
        return Check("logind", "ok", "KillUserProcesses spares you: a session goes on when you log out")
    if logind.kill is None:
        return Check("logind", "ok", "KillUserProcesses is not set: your system's default decides")
    return Check("logind", "warn", "KillUserProcesses=yes ends running sessions when you log out", KEEP_PROCESSES)


def parse_logind(texts: Sequence[str]) -> tuple[bool | None, tuple[str, ...]]:
    """``KillUserProcesses`` and ``KillExcludeUsers`` of settings files, the later ones winning.

    A commented line states the default that the system was built with.
    """
    kill: bool | None = None
    excluded: tuple[str, ...] = ("root",)
    for text in texts:
        for match in re.finditer(r"^\s*(#?)\s*(KillUserProcesses|KillExcludeUsers)\s*=\s*(.*?)\s*$", text, re.M):
            comment, key, value = match.groups()
            if key == "KillExcludeUsers":
                excluded = excluded if comment else tuple(value.split())
            elif not comment or kill is None:
                kill = value.lower() in ("1", "yes", "true", "on", "y", "t")
    return kill, excluded
