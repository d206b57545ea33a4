"""Endless and hostile output, on its way from the command to the drawn line."""

from __future__ import annotations

import re
import unicodedata

import pytest

from backspace_tui.core.terminal_text import clean, visible
from tests.sandbox.redteam.conftest import Arena

ENDLESS = {
    "lines on stdout": ("yes", "stdout"),
    "lines on stderr": ("yes >&2", "stderr"),
    "lines on both": ("yes & yes >&2", "stderr"),
    "one line": ("tr '\\0' x < /dev/zero", "stdout"),
    "NUL bytes": ("cat /dev/zero", "stdout"),
    "single bytes": ("python3 -uc 'import os\nwhile True: os.write(1, b\"x\")'", "stdout"),
    "control sequences": (r"yes \"$(printf '\033]52;c;aGk=\007\033[2J')\"", "stdout"),
}

# (bytes, what of them a reader may see)
ESCAPES: dict[str, tuple[bytes, str | None]] = {
    "OSC 52": (b"a\x1b]52;c;ZXZpbA==\x07b", "ab"),
    "OSC 52 with ST": (b"a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
    "OSC 52 in C1": (b"a\x9d52;c;ZXZpbA==\x9cb", "ab"),
    "OSC 52 in C1 as UTF-8": ("a\x9d52;c;ZXZpbA==\x9cb".encode(), "ab"),
    "OSC 8 link": (b"\x1b]8;;file:///etc/passwd\x1b\\click\x1b]8;;\x1b\\", "click"),
    "title": (b"\x1b]0;owned\x07x", "x"),
    "screen title": (b"\x1bkowned\x1b\\x", "x"),
    "clear": (b"\x1b[2J\x1b[Hx", "x"),
    "CSI in C1": (b"\x9b2Jx", "x"),
    "cursor report": (b"\x1b[6nx", "x"),
    "device control": (b"\x1bP+q544e\x1b\\x", "x"),
    "device control in C1": (b"\x90+q544e\x9cx", "x"),
    "application command": (b"\x1b_Gf=24;AAAA\x1b\\x", "x"),
    "privacy message": (b"\x1b^hidden\x1b\\x", "x"),
    "start of string": (b"\x1bXhidden\x1b\\x", "x"),
    "alternate screen": (b"\x1b[?1049hx", "x"),
    "bracketed paste": (b"\x1b[201~rm -rf /\n", "rm -rf /\n"),
    "answerback": (b"\x05x", "x"),
    "shift out": (b"\x0ex\x0f", "x"),
    "backspaces": (b"good\x08\x08\x08\x08evil", "goodevil"),
    "carriage return": (b"good\revil", "good\nevil"),
    "delete": (b"a\x7fb", "ab"),
    "bidi override": ("a\u202ecod.exe\u202cb".encode(), "acod.exeb"),
    "bidi isolate": ("a\u2066x\u2069b".encode(), "axb"),
    "zero width": ("a\u200b\u200c\u200d\u2060\ufeffb".encode(), "ab"),
    "tags": ("a\U000e0041\U000e0042b".encode(), "ab"),
    "invalid UTF-8": (b"a\xff\xc0\xafb", "a\ufffd\ufffd\ufffdb"),
    "overlong escape": (b"a\xc0\x9bb", None),
    "line separator": ("a\u2028b".encode(), "a\nb"),
    "form feed": (b"a\x0cb\x0bc", "abc"),
    "escape that is cut": (b"a\x1b[31", "a"),
    "string that never ends": (b"a\x1b]52;c;AAAA\nnext line\n", "a\nnext line\n"),
}
PRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def harmless(text: str) -> bool:
    """Whether nothing in it acts on a terminal or hides."""
    return not PRINTED.search(text) and all(unicodedata.category(char) not in ("Cf", "Cs") for char in text)


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_output_is_capped_and_ended(arena: Arena, name: str) -> None:
    line, stream = ENDLESS[name]
    result = arena.box.run(line, timeout=0.6)
    assert result.timed_out
    assert "timeout" in result.limit
    kept = result.stdout if stream == "stdout" else result.stderr
    assert len(kept) > 1000
    assert len(result.stdout) + len(result.stderr) < 2 * arena.box.limits.output + 200
    if name != "single bytes":
        assert result.dropped > 0
        assert b"bytes left out" in kept
    assert harmless(clean(kept))


def test_what_is_streamed_is_bounded_too(arena: Arena) -> None:
    heard = [0]

    def take(_: str, data: bytes) -> None:
        heard[0] += len(data)

    assert arena.box.run("yes", timeout=0.5, on_output=take).timed_out
    assert 0 < heard[0] < 2 * arena.box.limits.output


def test_escapes_on_their_way_to_the_screen(arena: Arena) -> None:
    script = "import sys\nfor stream in (sys.stdout.buffer, sys.stderr.buffer):\n"
    script += "".join(f"    stream.write({data!r} + b'\\0|\\0')\n" for data, _ in ESCAPES.values())
    result = arena.box.run(["python3", "-Ic", script])
    for stream in (result.stdout, result.stderr):
        arrived = stream.split(b"\0|\0")[:-1]
        assert arrived == [data for data, _ in ESCAPES.values()]
        for name, data in zip(ESCAPES, arrived, strict=True):
            wanted = ESCAPES[name][1]
            assert harmless(clean(data)), name
            assert wanted is None or clean(data) == wanted, name
            assert harmless(visible(data)), name
            assert "\n" not in visible(data)


def test_escapes_in_file_names_and_content(arena: Arena) -> None:
    script = "import os\nos.chdir(b'/workspace')\n" + "".join(
        f"open({b'n%d-' % n + data.replace(b'/', b'_')!r}, 'wb').write({data!r})\n"
        for n, (data, _) in enumerate(ESCAPES.values())
    )
    assert arena.box.run(["python3", "-Ic", script]).exit_code == 0
    files = arena.box.export()
    arrived = {path: file for path, file in files.items() if path != "marker"}
    assert len(arrived) == len(ESCAPES)
    for path, file in arrived.items():
        assert harmless(visible(path))
        assert "\n" not in visible(path)
        assert harmless(clean(path))
        assert harmless(clean(file.data))
        assert all(harmless(visible(line)) for line in file.data.split(b"\n"))


def test_errors_of_the_sandbox_are_of_one_line(arena: Arena) -> None:
    with pytest.raises(OSError, match=r".") as found:
        arena.box.read_file("\x1b]52;c;aGk=\x07\nmissing")
    assert harmless(visible(str(found.value)))
    result = arena.box.run(["\x1b[2Jno-such"])
    assert result.exit_code == 127
