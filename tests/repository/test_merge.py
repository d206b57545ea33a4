from __future__ import annotations

from pathlib import Path

import pytest

from backspace_tui.repository.bare import BareRepository

BASE = b"one\ntwo\nthree\nfour\nfive\n"


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        (b"ONE\ntwo\nthree\nfour\nfive\n", b"one\ntwo\nthree\nfour\nFIVE\n", b"ONE\ntwo\nthree\nfour\nFIVE\n"),
        (BASE, b"one\r\n\xff\n", b"one\r\n\xff\n"),
        (b"ONE\ntwo\nthree\nfour\nfive\n", b"Uno\ntwo\nthree\nfour\nfive\n", None),
        (b"one\0", b"two\0", None),
    ],
)
def test_both_changes_or_none(tmp_path: Path, ours: bytes, theirs: bytes, merged: bytes | None) -> None:
    assert BareRepository.create(tmp_path / "repo.git").merge(BASE, ours, theirs) == merged
