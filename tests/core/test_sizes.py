"""Sizes and times as settings write them."""

from __future__ import annotations

import pytest

from backspace_tui.core.sizes import MIB, parse_size, parse_time, show_megabytes, show_size, show_time


def test_sizes() -> None:
    assert [parse_size(text) for text in ("512m", "2G", "1.5k", "7", "1GiB")] == [512 * MIB, 2048 * MIB, 1536, 7, 2**30]
    assert [show_size(size) for size in (2**30, 100 * MIB, 1000)] == ["1g", "100m", "1000"]
    for text in ("", "m", "0", "-1m", "1x", "1m1"):
        with pytest.raises(ValueError, match="is no size"):
            parse_size(text)


def test_a_size_over_a_limit_never_looks_like_the_limit() -> None:
    assert show_megabytes(312 * MIB) == "312 MB"
    assert show_megabytes(100 * MIB + 1) == "100.1 MB"
    assert show_megabytes(1) == "0.1 MB"
    assert show_megabytes(5000 * MIB + 1) == "5001 MB"


def test_times() -> None:
    assert [parse_time(text) for text in ("90s", "30m", "24h", "7d", "1.5h")] == [90, 1800, 86400, 604800, 5400]
    assert [show_time(value) for value in (90, 1800, 86400, 604800, 5400, 2.5)] == [
        "90s", "30m", "24h", "7d", "90m", "2.5s",
    ]  # fmt: skip
    for text in ("", "24", "h", "0h", "-1h", "1 day"):
        with pytest.raises(ValueError, match="is no time"):
            parse_time(text)
