"""What the sandbox tests share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.sandbox import engine
from backspace_tui.sandbox.dockerfile import LABEL

FILES = {
    "a.txt": File(REGULAR, b"hello\n"),
    "bin/run.sh": File(EXECUTABLE, b"#!/bin/sh\necho ran\n"),
    "link": File(SYMLINK, b"a.txt"),
    "dangling": File(SYMLINK, b"/nowhere/at/all"),
    "odd \udcff\n'\"name": File(REGULAR, b"\x00\xff"),
    "deep/er/" + "x" * 200 + "/f": File(REGULAR, b""),
    "back\\slash": File(REGULAR, b"b"),
}

CLIENT = """
import sys
from backspace_tui.core.protocols import SandboxSpec
from backspace_tui.sandbox.factory import Factory
box = Factory(SandboxSpec(backend=sys.argv[1])).open({}, session="killed", purpose="agent")
box.start_service("s", f"exec sleep {sys.argv[2]}1")
print("ready", flush=True)
box.run(f"(setsid sleep {sys.argv[2]}2 &); exec sleep {sys.argv[2]}3")
"""


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Poll a condition; returns whether it came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


class Token:
    """A cancel token as the engine's."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        if self.cancelled:
            callback()
            return lambda: None
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def cancel(self) -> None:
        self._event.set()
        for callback in list(self._callbacks):
            callback()


def setup_images(name: str) -> list[dict[str, Any]]:
    """The images that the setup of the repository ``name`` left in the engine."""
    client = engine.connect()
    try:
        api: Any = client.api
        return list(api.images(filters={"label": f"{LABEL}={name}"}))
    finally:
        client.close()


def remove_setup_images(name: str) -> None:
    """Remove them."""
    client = engine.connect()
    try:
        for image in setup_images(name):
            for tag in image.get("RepoTags") or ():
                client.api.remove_image(tag, force=True)
    finally:
        client.close()
