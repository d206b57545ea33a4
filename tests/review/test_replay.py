"""Real histories, replayed: a commit's tree is the base, the next one's is the agent's work, decisions are random."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from backspace_tui.core.trees import File
from tests.review import oracle
from tests.review.scene import Scene, Store, scene

ROOT = Path(__file__).resolve().parents[2]
PAIRS = 15
FILES = 8
"""How many changed files of a commit are looked at."""


def git(*arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, input=data, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def pairs() -> list[tuple[str, str]]:
    """Commits with one parent, spread over the history."""
    if Path(git("rev-parse", "--show-toplevel").decode().strip() or "/") != ROOT:
        return []
    commits = git("rev-list", "--no-merges", "--min-parents=1", "HEAD").decode().split()
    known = set(git("rev-list", "HEAD").decode().split())
    found = [(git("rev-parse", f"{commit}^").decode().strip(), commit) for commit in commits[:: len(commits) // 60 + 1]]
    found = [(parent, commit) for parent, commit in found if parent in known]
    return random.Random(3).sample(found, min(PAIRS, len(found))) if len(commits) >= 10 else []


REPLAYED = pairs()


def changed(old: str, new: str) -> dict[str, tuple[File | None, File | None]]:
    """Some paths that differ, with both contents."""
    fields = git("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new).split(b"\0")
    found = {}
    for facts, path in list(zip(fields[0::2], fields[1::2], strict=False))[:FILES]:
        old_mode, new_mode, old_oid, new_oid, _ = facts[1:].decode().split()
        sides = [
            File(int(mode, 8), git("cat-file", "blob", oid)) if int(mode, 8) else None
            for mode, oid in ((old_mode, old_oid), (new_mode, new_oid))
        ]
        found[path.decode("utf-8", "surrogateescape")] = (sides[0], sides[1])
    return found


@pytest.mark.skipif(not REPLAYED, reason="the checkout has no history of 10 commits")
@pytest.mark.parametrize("number", range(PAIRS))
def test_a_commit_as_an_agents_work(number: int, store: Store, tmp_path: Path) -> None:
    if number >= len(REPLAYED):
        pytest.skip("fewer commits than that")
    files = changed(*REPLAYED[number])
    base = {path: old for path, (old, _) in files.items() if old is not None}
    with scene(tmp_path, base | {"kept": b"k\n"}, store) as found:
        found.agent({path: new for path, (_, new) in files.items()})
        pick = random.Random(number)
        every = [item.hunk.id for item in found.open()]
        found.decide("accept", *every, protected=True)
        assert found.tree("accepted") == found.tree("work")
        found.undo()
        assert found.tree("accepted") == found.tree("base")
        assert [item.hunk.id for item in found.open()] == every
        for _ in range(6):
            decide(found, pick)
        if rest := [item.hunk.id for item in found.open()]:
            found.decide("accept", *rest, protected=True)
        assert found.tree("accepted") == found.tree("work")
        found.decide("unstage", *(item.hunk.id for item in found.of("accepted")))
        assert found.tree("accepted") == found.tree("base")
        found.decide("reject", *(item.hunk.id for item in found.open()))
        found.boundary()
        assert found.tree("work") == found.tree("base")


def decide(found: Scene, pick: random.Random) -> None:
    """Accept random lines of one file's hunks, and compare with what the oracle makes of git's own diff."""
    texts: dict[str, list[str]] = {}
    named: dict[tuple[str, int], set[int]] = {}
    units = []
    renamed = {file.path for file in found.review.files if file.renamed_from}
    for item in found.open():
        if item.hunk.kind == "text" and item.hunk.path not in renamed:
            texts.setdefault(item.hunk.path, []).append(item.hunk.id)
    if not texts:
        return
    path = pick.choice(sorted(texts))
    for item in found.open(path):
        if item.hunk.kind != "text" or pick.random() < 0.3:
            continue
        places = [place for place, (sign, _) in enumerate(item.hunk.lines, 1) if sign != " "]
        some = {place for place in places if pick.random() < 0.4} or {places[0]}
        units.append(f"{item.hunk.id}:{','.join(map(str, sorted(some)))}")
        named[path, texts[path].index(item.hunk.id) + 1] = some
    if not units:
        return
    before = found.tree("accepted")
    held = before.get(path)
    new = found.tree("work")[path]
    old = held.data if held is not None else b""
    diff = oracle.git_diff(found.store.repository.path, old, new.data)
    expected = oracle.stage(old, new.data, diff, lambda hunk, place: place in named.get((path, hunk), ()))
    found.decide("accept", *units, protected=True)
    after = found.tree("accepted")
    assert after.pop(path) == File(held.mode if held is not None else new.mode, expected)
    assert after == {other: file for other, file in before.items() if other != path}
