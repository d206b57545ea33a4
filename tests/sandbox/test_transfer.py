"""What leaves a sandbox is checked; paths, tar streams, frames and sizes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.core.protocols import SandboxError
from backspace_tui.core.trees import EXECUTABLE, REGULAR, SYMLINK, File
from backspace_tui.sandbox.kept import Increment, Kept
from backspace_tui.sandbox.limits import Limits, adjust, parse_size, show_size
from backspace_tui.sandbox.transfer import LISTING, acceptable, check, pack, unpack
from backspace_tui.sandbox.wire import Parser, ProtocolError, encode

NAME = st.binary(min_size=1, max_size=20).filter(lambda b: b"/" not in b and b"\0" not in b).map(os.fsdecode)
TREE = st.dictionaries(
    st.lists(NAME, min_size=1, max_size=4).map("/".join).filter(acceptable),
    st.builds(File, st.sampled_from([REGULAR, EXECUTABLE]), st.binary(max_size=50))
    | st.builds(lambda n: File(SYMLINK, os.fsencode(n)), NAME),
    max_size=8,
)


@given(TREE)
def test_trees_go_through_a_tar_unchanged(files: dict[str, File]) -> None:
    try:
        check(files)
    except SandboxError:
        return
    assert unpack(pack(files), max_bytes=10_000, max_files=100) == Increment(files)


@given(
    st.lists(st.tuples(st.dictionaries(st.text(), st.text()), st.binary(max_size=99)), max_size=5), st.integers(1, 9)
)
def test_frames_survive_any_cut(frames: list[tuple[dict[str, str], bytes]], size: int) -> None:
    stream = b"".join(encode(header, payload) for header, payload in frames)
    parser = Parser()
    found = [frame for at in range(0, len(stream), size) for frame in parser.feed(stream[at : at + size])]
    assert found == frames


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad", encode({}).replace(b"{}", b"[]"), b"\0\0\0\1\0\0\0\0{"])
def test_a_stream_that_is_not_ours_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Parser().feed(data))


@pytest.mark.parametrize(
    "path",
    [
        *("", "/a", "a/", "a//b", ".", "..", "a/../b", "a\0b", "x" * 256, "a/" * 3000 + "b"),
        *(".git", ".GIT/x", "a/.Git/b", ".git.", ".git ", "git~1", "GIT~1/x", ".git::$INDEX_ALLOCATION", "a\\.git\\b"),
        *(".g\u200cit", "\ufeff.git", ".gi\u00adt", "\uff0egit", ".g\u0131t".replace("\u0131", "i\u200d")),
    ],
)
def test_paths_that_git_or_a_file_system_would_misread(path: str) -> None:
    assert not acceptable(path)


@pytest.mark.parametrize(
    "path", ["a", ".gitignore", ".github/x", "git", "a b", "a\nb", "\udcff", "é", "a\\b", "...", "-rf"]
)
def test_odd_but_honest_paths(path: str) -> None:
    assert acceptable(path)


def test_only_files_and_links_come_out_of_a_hostile_tar() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as out:
        for name, kind in [
            *(("../up", tarfile.REGTYPE), ("/abs", tarfile.REGTYPE), ("a", tarfile.LNKTYPE), ("dev", tarfile.CHRTYPE)),
            *(("fifo", tarfile.FIFOTYPE), ("x/.git/config", tarfile.REGTYPE), ("good", tarfile.REGTYPE)),
            *(("good/below", tarfile.REGTYPE), ("folder", tarfile.DIRTYPE), ("sparse", tarfile.GNUTYPE_SPARSE)),
        ]:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.linkname = "/etc/passwd"
            out.addfile(entry)
    found = unpack([sink.getvalue()], max_bytes=100, max_files=10)
    assert found == Increment({"good": File(REGULAR, b"")})


def test_listings_of_folders() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name, data in ((".", b"Da\0Yb\0"), ("x" * 150, b""), ("a", b"Y\xff\0\0D..\0"), ("file", None)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.size = (tarfile.REGTYPE if data is None else LISTING), len(data or b"")
            out.addfile(entry, io.BytesIO(data or b""))
    found = unpack([sink.getvalue()], max_bytes=100, max_files=10)
    assert found.files == {"file": File(REGULAR, b"")}
    assert found.folders == {"": {"a": True, "b": False}, "x" * 150: {}, "a": {"\udcff": False, "..": True}}
    with pytest.raises(SandboxError, match="workspace"):
        unpack([sink.getvalue()], max_bytes=10, max_files=10)


def listings(files: dict[str, File]) -> dict[str, dict[str, bool]]:
    folders: dict[str, dict[str, bool]] = {"": {}}
    for path in files:
        is_folder = False
        while path:
            path, _, name = path.rpartition("/")
            folders.setdefault(path, {})[name] = is_folder
            is_folder = True
    return folders


@given(TREE, TREE, TREE)
def test_what_is_kept_follows_what_is_told(old: dict[str, File], new: dict[str, File], third: dict[str, File]) -> None:
    try:
        for files in (old, new, third):
            check(files)
    except SandboxError:
        return
    kept = Kept(old)
    for files in (new, third, old):
        told = {path: file for path, file in files.items() if kept.files.get(path) != file}
        difference = kept.difference(Increment(told, listings(files)))
        assert difference == kept.difference_to(files)
        size = sum(len(file.data) for file in files.values())
        assert kept.size_with(difference) == (size, len(files))
        kept.apply(difference)
        assert (kept.files, kept.size) == (files, size)
        assert kept.difference(Increment({}, {})) == {}
        gone = kept.difference(Increment({}, {"": {}}))
        assert gone == dict.fromkeys(files)


def test_caps_and_torn_streams() -> None:
    files = {f"f{n}": File(REGULAR, b"x" * 100) for n in range(5)}
    data = b"".join(pack(files))
    with pytest.raises(SandboxError, match="workspace"):
        unpack([data], max_bytes=499, max_files=10)
    with pytest.raises(SandboxError, match="too many"):
        unpack([data], max_bytes=500, max_files=4)
    with pytest.raises(SandboxError, match="broken"):
        unpack([data[:700]], max_bytes=500, max_files=10)


def test_sizes() -> None:
    assert [parse_size(text) for text in ("512m", "2g", "1.5G", "100", "4kb", "1GiB")] == [
        *(512 * 2**20, 2 * 2**30, 3 * 2**29, 100, 4096, 2**30),
    ]
    assert [show_size(size) for size in (2**30, 512 * 2**20, 1536, 1537)] == ["1g", "512m", "1536", "1537"]
    for text in ("", "0", "-1g", "2x", "g"):
        with pytest.raises(SandboxError, match="no size"):
            parse_size(text)
    assert adjust(Limits(), {"memory": "1g", "pids": 9}) == Limits(memory=2**30, pids=9)
    with pytest.raises(TypeError, match="colour"):
        adjust(Limits(), {"colour": 1})


def test_importing_the_package_loads_no_client_library() -> None:
    code = (
        "import sys, backspace_tui.sandbox as s, backspace_tui.sandbox.factory; "
        "assert not {'docker', 'requests', 'git', 'litellm'} & set(sys.modules); s.open_sandbox"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
