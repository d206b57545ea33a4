"""A bare repository and trees in it, for tests of what reads them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from backspace_tui.core.trees import REGULAR, File

Content = File | bytes | str


class Repository:
    """A bare repository that trees can be written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "init", "-q", "--bare", path], check=True)

    def git(self, *arguments: str, data: bytes = b"", index: str = "") -> str:
        env = {**os.environ, "GIT_DIR": str(self.path)} | ({"GIT_INDEX_FILE": index} if index else {})
        done = subprocess.run(["git", *arguments], input=data, env=env, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=data)

    def tree(self, files: Mapping[str, Content]) -> str:
        index = str(self.path / "test-index")
        Path(index).unlink(missing_ok=True)
        lines = b""
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            file = data if isinstance(data, File) else File(REGULAR, data)
            lines += b"%o %s\t%s\0" % (file.mode, self.blob(file.data).encode(), os.fsencode(path))
        self.git("update-index", "-z", "--index-info", data=lines, index=index)
        return self.git("write-tree", index=index)
