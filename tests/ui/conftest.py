"""Nothing of the machine reaches the screen, and sessions to open windows on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ui.sample import Host, Sample


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings, colours and time zone of every test."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("BACKSPACE_TUI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BACKSPACE_TUI_CONFIG", str(tmp_path / "config" / "config.toml"))
    time.tzset()


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A session that waits in its review, without a process."""
    return Sample(tmp_path / "20260102-1504-abcd").run_to_review()


@pytest.fixture
def host(sample: Sample) -> Iterator[Host]:
    """The same session with its process."""
    running = Host(sample)
    yield running
    running.close()
