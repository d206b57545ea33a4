"""A real terminal for tests: tmux on a server of its own, and an sshd on loopback."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.program import wait_for


class Tmux:
    """One tmux server; leaves nothing behind when closed."""

    def __init__(self) -> None:
        self._name = f"backspace-{uuid.uuid4().hex[:12]}"

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._name, "-f", os.devnull, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout

    def start(self, command: list[str], env: Mapping[str, str], size: tuple[int, int] = (160, 50)) -> None:
        """Run a command in a new window of that many columns and rows; its last screen stays."""
        line = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in env.items()), *command])
        columns, rows = (str(number) for number in size)
        self._tmux("new-session", "-d", "-x", columns, "-y", rows, f"{line}; echo EXIT=$?; exec sleep 600")

    def keys(self, *names: str) -> None:
        for name in names:
            # A lone ESC byte and the next key would be read as one Alt key; this form of Escape stands for itself.
            self._tmux("send-keys", *(("-l", "\x1b[27u") if name == "Escape" else (name,)))

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def wait_for(self, text: str, seconds: float = 60.0) -> str:
        """The first screen that shows ``text``."""

        def shown() -> str:
            screen = self.screen()
            return screen if text in screen else ""

        try:
            return str(wait_for(shown, f"{text!r} on the screen", seconds))
        except AssertionError:
            raise AssertionError(f"no {text!r} on the screen:\n{self.screen()}") from None

    def pid(self) -> int:
        """The process id of the window's shell."""
        return int(self._tmux("list-panes", "-F", "#{pane_pid}"))

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._name, "kill-server"], check=False, capture_output=True)


class Sshd:
    """A real sshd on a free port of loopback that lets this user in by a key made for it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._key = folder / "key"
        for name in ("key", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        (folder / "authorized_keys").write_bytes((folder / "key.pub").read_bytes())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        config = folder / "sshd_config"
        config.write_text(
            f"Port {self._port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\nPermitUserEnvironment no\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        daemon = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        assert daemon is not None
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen([daemon, "-D", "-e", "-f", str(config)], stderr=self._log)
        wait_for(self._answers, "sshd", 20)

    def _answers(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def refusal(self) -> str:
        """Why this user cannot log in here (a locked account, say); empty when it works."""
        tried = subprocess.run(
            self.command(["true"], {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return "" if tried.returncode == 0 else Path(self._log.name).read_text().strip().rpartition("\n")[2]

    def command(self, remote: list[str], env: Mapping[str, str]) -> list[str]:
        """An ssh command that runs ``remote`` with a terminal and just this environment."""
        line = shlex.join(["env", *(f"{name}={value}" for name, value in env.items()), *remote])
        return [
            "ssh", "-tt", "-F", os.devnull, "-i", str(self._key), "-p", str(self._port), "-o", "BatchMode=yes",
            "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}", "-o", "LogLevel=ERROR",
            f"{getpass.getuser()}@127.0.0.1", line,
        ]  # fmt: skip

    def connections(self) -> list[int]:
        """The process ids of the sshd's children: one or two for each connection."""
        found, parents = [], [self._process.pid]
        while parents:
            done = subprocess.run(
                ["pgrep", "-P", ",".join(map(str, parents)), "-f", "^(sshd|/.*/sshd)"],
                check=False, capture_output=True, text=True,
            )  # fmt: skip
            parents = [int(pid) for pid in done.stdout.split()]
            found += parents
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()
