"""The review as a list of files and hunks: their states, their order, what made them, and the JSON form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.state import SessionState
from backspace_tui.core.trees import EXECUTABLE, File
from backspace_tui.engine.review import accept_all
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.protected import protected
from backspace_tui.sessions.review import Review, review
from backspace_tui.sessions.review_json import to_json
from tests.review.scene import Content, Scene, lines, scene

Make = Callable[[Mapping[str, Content]], Scene]


def text(**changed: str) -> bytes:
    """Forty lines, some replaced: ``text(l3="new")``."""
    return lines(*(changed.get(f"l{n}", f"line {n}") for n in range(40)))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:
        yield lambda base: stack.enter_context(scene(tmp_path, base))


def edit(session: Scene, identity: str, more: bytes) -> None:
    """Accept a hunk with another line at its end."""
    (item,) = (item for item in session.items() if item.hunk.id == identity)
    side = b"".join(line + b"\n" for sign, line in item.hunk.lines if sign != "-")
    session.edit(identity, side + more)


def newest(session: Scene, path: str) -> int:
    """The event of the newest edit of a path."""
    return session.state.edits[path][-1].seq


def test_before_the_base_there_is_nothing(objects: Objects) -> None:
    assert review(objects, SessionState()) == Review((), 0, 0, 0)


def test_decisions_move_hunks_from_pending_to_decided(make: Make) -> None:
    session = make({"a": text(), "b": b"1\n"})
    session.agent({"b": b"2\n"})
    session.agent({"a": text(l3="three", l20="twenty", l35="more")})
    shown = session.review
    assert (shown.pending, shown.decided, shown.total) == (4, 0, 4)
    assert [file.path for file in shown.files] == ["a", "b"]
    assert {item.why for item in session.items("a")} == {newest(session, "a")}
    assert session.file("a").state == "pending"

    first, second, third = (item.hunk.id for item in session.items("a"))
    session.decide("accept", second)
    assert session.states("a") == ["pending", "accepted", "pending"]
    assert session.items("a")[1].hunk.id == second
    assert session.file("a").state == "partial"
    session.decide("reject", first, comment="keep three")
    session.decide("review", third)
    session.decide("accept", session.only("b"))
    shown = session.review
    assert session.states("a") == ["rejected", "accepted", "reviewed"]
    assert session.items("a")[0].comment == "keep three"
    assert session.file("b").state == "accepted"
    assert (shown.pending, shown.decided, shown.total) == (1, 3, 4)
    assert [item.open for item in session.items("a")] == [False, False, True]
    session.decide("unreview", third)
    assert session.states("a") == ["rejected", "accepted", "pending"]


def test_each_hunk_knows_the_edit_that_made_it(make: Make) -> None:
    session = make({"a.txt": text()})
    session.agent({"a.txt": text(l2="first")})
    first = newest(session, "a.txt")
    session.agent({"a.txt": text(l2="first", l20="second")})
    assert [item.why for item in session.items()] == [first, newest(session, "a.txt")]


def test_a_decision_computes_only_its_own_file_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make({f"f{n}": text() for n in range(12)})
    session.agent({f"f{n}": text(l3="three", l20=f"new {n}") for n in range(12)})
    with Objects(session.directory / "repo.git") as objects:
        review(objects, session.state)
        session.decide("accept", session.items("f5")[0].hunk.id)
        calls: list[str] = []
        real = objects._git

        def counted(*arguments: str) -> bytes:
            calls.append(arguments[0])
            return real(*arguments)

        monkeypatch.setattr(objects, "_git", counted)
        assert review(objects, session.state).decided == 1
        assert sorted(calls) == ["diff", "diff", "diff-tree", "diff-tree"]
        calls.clear()
        review(objects, session.state)
        assert calls == []


def test_new_and_deleted_files(make: Make) -> None:
    session = make({"old": b"content\n", "kept": b"k\n"})
    session.agent({"old": None, "fresh": b"f\n"})
    assert [file.path for file in session.review.files] == ["fresh", "old"]
    assert session.file("old").change.new is None
    assert session.file("fresh").change.old is None
    assert [item.hunk.kind for item in session.items()] == ["text", "deleted"]


def test_a_file_of_one_piece_is_decided_by_that(make: Make) -> None:
    session = make({"run": b"#!\n", "data": b"\0a"})
    session.agent({"run": File(EXECUTABLE, b"#!\n"), "data": b"\0b"})
    session.decide("accept", session.only("run"))
    session.decide("reject", session.only("data"))
    assert (session.states("run"), session.states("data")) == (["accepted"], ["rejected"])
    assert (session.mode("run"), session.accepted("data")) == (EXECUTABLE, b"\0a")
    session.boundary()
    (item,) = session.items("data")
    assert (item.gone, item.hunk.kind, session.work("data")) == (True, "binary", b"\0a")


# What accepting everything takes


def test_everything_leaves_out_what_needs_a_look(make: Make) -> None:
    session = make({"a": text(), "b": text(), ".envrc": b"x\n"})
    session.agent({"a": text(l3="three", l12="twelve", l20="twenty", l35="more"), "b": text(l8="b"), ".envrc": b"y\n"})
    first, second, third, _ = (item.hunk.id for item in session.items("a"))
    session.decide("review", first)
    session.decide("accept", second)
    session.decide("reject", third)
    session.boundary()
    session.agent({"a": text(l3="THREE", l12="XII", l20="twenty", l35="more")})
    found = {item.changed or item.state: item for item in session.open("a")}
    assert set(found) == {"seen", "accepted", "rejected", "pending"}
    assert {reason for reason, item in found.items() if item.sweeping} == {"accepted", "pending"}
    edit(session, session.only("b"), b"mine\n")
    (kept,) = (item for item in session.items("b") if item.kept)
    assert (kept.open, kept.sweeping) == (False, False)
    assert session.file(".envrc").protected

    assert accept_all(session.job) == 2
    assert session.accepted("a") == text(l12="XII", l35="more")
    assert session.accepted(".envrc") == b"x\n"
    assert sorted(item.changed for item in session.open("a")) == ["rejected", "seen"]
    assert accept_all(session.job) == 0


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml", "sub/.github/workflows/x.yaml", ".gitattributes", "deep/er/.gitattributes",
        ".envrc",
        ".husky/pre-commit", ".vscode/tasks.json", ".VSCode/Tasks.json", ".gitlab-ci.yml", "Jenkinsfile",
        ".circleci/config.yml", ".devcontainer/devcontainer.json", ".pre-commit-config.yaml", ".gitmodules",
        ".backspace.toml",
    ],
)  # fmt: skip
def test_paths_that_run_elsewhere_are_protected(path: str) -> None:
    assert protected(path)


@pytest.mark.parametrize("path", ["src/a.py", "workflows/ci.yml", "README.md", "github/workflows/x", "tasks.json"])
def test_other_paths_are_not(path: str) -> None:
    assert not protected(path)


# JSON


def test_the_json_form(make: Make) -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    session = make({odd: b"a\n\xff\n"})
    session.agent({odd: b"b\n\xff\n"})
    shown = session.review
    base = session.state.accepted_tree
    data = json.loads(json.dumps(to_json(shown, session.state)).encode())
    assert data == {
        "files": [
            {
                "path": "caf\ufffd",
                "state": "pending",
                "hunks": [
                    {
                        "id": shown.files[0].hunks[0].hunk.id,
                        "state": "pending",
                        "old_start": 1,
                        "new_start": 1,
                        "lines": [["-", "a"], ["+", "b"], [" ", "\ufffd"]],
                        "why": newest(session, odd),
                    }
                ],
            }
        ],
        "verification": {"tree": base, "verdict": ""},
    }
    session.job.recorder.emit(ev.Verification(tree=base, verdict="passes"))
    assert to_json(shown, session.state)["verification"] == {"tree": base, "verdict": "passes"}
    session.decide("accept", session.only())
    tree = session.state.accepted_tree
    assert tree != base
    assert to_json(shown, session.state)["verification"] == {"tree": tree, "verdict": ""}


def test_the_json_form_says_more_where_there_is_more(make: Make) -> None:
    session = make({"a": text(), "b": text(), "run": b"#!\n", ".envrc": b"x\n", "was": text()})
    session.agent(
        {
            "a": text(l3="three", l20="twenty"),
            "b": text(l8="b"),
            "run": File(EXECUTABLE, b"#!\n"),
            ".envrc": b"y\n",
            "was": None,
            "is": text(),
        }
    )
    session.decide("reject", session.unit("-line 3", path="a"))
    session.decide("redo", session.unit("+twenty").partition(":")[0], comment="in digits")
    edit(session, session.only("b"), b"mine\n")
    session.decide("comment", session.only("run"), comment="why?")
    session.decide("review", session.only("is"))
    plain = {"id", "state", "old_start", "new_start", "lines", "why"}

    def more() -> dict[str, list[dict[str, object]]]:
        found = to_json(session.review, session.state)["files"]
        return {
            file["path"]: [{k: v for k, v in hunk.items() if k == "state" or k not in plain} for hunk in file["hunks"]]
            for file in found
        }

    assert more() == {
        ".envrc": [{"state": "pending"}],
        "a": [
            {"state": "pending", "rejected_lines": [4]},
            {"state": "rejected", "comment": "in digits", "redo": True},
        ],
        "b": [{"state": "accepted"}, {"state": "reviewed", "kept": True}],
        "is": [{"state": "reviewed", "kind": "rename"}],
        "run": [{"state": "pending", "kind": "mode", "comment": "why?"}],
    }
    files = {file["path"]: file for file in to_json(session.review, session.state)["files"]}
    assert files["is"]["renamed_from"] == "was"
    assert files[".envrc"]["protected"] is True
    assert {path for path, file in files.items() if file.keys() - {"path", "state", "hunks"}} == {"is", ".envrc"}
    session.boundary()
    gone = [hunk for hunk in more()["a"] if hunk.get("gone")]
    assert gone == [
        {"state": "rejected", "gone": True},
        {"state": "rejected", "comment": "in digits", "redo": True, "gone": True},
    ]
