"""A plain process with rlimits in a temporary folder: no isolation at all, for the demo's own commands alone."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from typing import Final

from backspace_tui.core.protocols import SandboxError
from backspace_tui.paths import resource_dir
from backspace_tui.sandbox.bubblewrap import base_python, rlimits
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.docker import environment
from backspace_tui.sandbox.limits import Limits
from backspace_tui.sandbox.local import ProcessChannel

LABEL: Final = "plain process, no isolation"


def open_process(limits: Limits) -> SupervisedSandbox:
    """Start a supervisor in a temporary folder, which it removes when it ends, also after our death.

    Raises:
        SandboxError: it cannot be started.
    """

    def start() -> ProcessChannel:
        return _start(limits)

    return SupervisedSandbox(start(), LABEL, limits, start)


def _start(limits: Limits) -> ProcessChannel:
    try:
        folder = os.path.realpath(tempfile.mkdtemp(prefix="backspace-sandbox-"))
    except OSError as error:
        raise SandboxError(f"no temporary folder can be made ({error.strerror}); set TMPDIR") from None
    try:
        workspace, home = f"{folder}/workspace", f"{folder}/home"
        os.mkdir(workspace)
        os.mkdir(home)
        python = base_python()
        settings = {
            "workspace": workspace,
            "home": home,
            "python": python,
            "image_venv": "/nonexistent",
            "lay": "/nonexistent",
            "rlimits": rlimits(limits),
            "max_age": limits.max_age,
            "remove": folder,
        }
        env = environment(home)
        env["PATH"] += f":{os.path.dirname(python)}"
        script = str(resource_dir("sandbox") / "supervisor.py")
        return ProcessChannel([python, "-I", "-S", script, json.dumps(settings)], env, graceful=True, folder=folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
