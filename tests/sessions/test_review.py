from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.hunks import accept
from backspace_tui.core.state import SessionState, fold
from backspace_tui.core.trees import File
from backspace_tui.sessions.objects import Objects
from backspace_tui.sessions.review import Review, ReviewFile, protected, review, shown_lines, to_json
from tests.sessions.repository import Content, Repository

LINES = [f"line {n}\n" for n in range(40)]


def text(**changed: str) -> str:
    """Forty lines, some replaced: ``text(l3="new")``."""
    return "".join(changed.get(f"l{n}", line.rstrip("\n")) + "\n" for n, line in enumerate(LINES))


class Session:
    """A log that is written event by event."""

    def __init__(self, repo: Repository, base: dict[str, Content]) -> None:
        self.repo = repo
        self.files = dict(base)
        self.accepted = dict(base)
        self.base = repo.tree(base)
        self.state = SessionState()
        self.log(ev.GitOperation(operation="base", tree=self.base))

    def log(self, event: ev.AnyEvent) -> int:
        seq = self.state.last_seq + 1
        self.state = fold([replace(event, seq=seq)], self.state)
        return seq

    def edit(self, path: str, content: Content | None) -> int:
        known = path in self.files
        if content is None:
            del self.files[path]
        else:
            self.files[path] = content
        old = self.repo.git("rev-parse", f"{self.state.work_tree}:{path}") if known else ""
        tree = self.repo.tree(self.files)
        new = self.repo.git("rev-parse", f"{tree}:{path}") if path in self.files else ""
        seq = self.log(ev.FileEdit(path=path, added=1, removed=1, tree=tree, by="call", old=old, new=new))
        self.log(ev.ToolFinished(call_id="call", tool="edit_file", ok=True, text="", tree=tree))
        return seq

    def decide(self, objects: Objects, path: str, index: int, action: ev.Action, comment: str = "") -> str:
        shown = review(objects, self.state)
        hunk = one(shown, path).hunks[index].hunk
        before = self.state.accepted_tree
        if action == "accept":
            change = next(c for c in objects.changes(before, self.state.work_tree) if c.path == path)
            taken = accept(change, *objects.sides(change), [hunk.id])
            assert taken is not None
            self.accepted[path] = taken
        tree = self.repo.tree(self.accepted)
        self.log(
            ev.Decision(
                hunk=hunk.id,
                path=path,
                action=action,
                tree=tree,
                before=before,
                group=self.state.group + 1,
                comment=comment,
                lines=shown_lines(hunk),
            )
        )
        return hunk.id


def one(shown: Review, path: str) -> ReviewFile:
    return next(file for file in shown.files if file.path == path)


def states(shown: Review, path: str) -> list[str]:
    return [item.state for item in one(shown, path).hunks]


def test_before_the_base_there_is_nothing(objects: Objects) -> None:
    assert review(objects, SessionState()) == Review((), 0, 0, 0)


def test_decisions_move_hunks_from_pending_to_decided(repo: Repository, objects: Objects) -> None:
    session = Session(repo, {"a": text(), "b": "1\n"})
    session.edit("b", "2\n")
    edited = session.edit("a", text(l3="three", l20="twenty", l35="more"))
    shown = review(objects, session.state)
    assert (shown.pending, shown.decided, shown.total) == (4, 0, 4)
    assert [file.path for file in shown.files] == ["a", "b"]
    assert {item.why for item in one(shown, "a").hunks} == {edited}
    assert one(shown, "a").state == "pending"

    identity = session.decide(objects, "a", 1, "accept")
    shown = review(objects, session.state)
    assert states(shown, "a") == ["pending", "accepted", "pending"]
    assert one(shown, "a").hunks[1].hunk.id == identity
    assert one(shown, "a").state == "partial"
    session.decide(objects, "a", 0, "reject", "keep three")
    session.decide(objects, "a", 2, "review")
    session.decide(objects, "b", 0, "accept")
    shown = review(objects, session.state)
    assert states(shown, "a") == ["rejected", "accepted", "reviewed"]
    assert one(shown, "a").hunks[0].comment == "keep three"
    assert one(shown, "b").state == "accepted"
    assert (shown.pending, shown.decided, shown.total) == (1, 3, 4)


def test_a_rejected_hunk_stays_listed_when_it_is_taken_out(repo: Repository, objects: Objects) -> None:
    session = Session(repo, {"a": "x\n"})
    session.edit("a", "caf\u00e9\n")
    identity = session.decide(objects, "a", 0, "reject", "no")
    assert not one(review(objects, session.state), "a").hunks[0].gone
    session.log(ev.GitOperation(operation="rejected", tree=session.base, hunks=(identity,)))
    shown = review(objects, session.state)
    (item,) = one(shown, "a").hunks
    assert (item.state, item.gone, item.hunk.id, item.comment) == ("rejected", True, identity, "no")
    assert item.hunk.lines == (("-", b"x"), ("+", "caf\u00e9".encode()))
    assert (shown.pending, shown.decided) == (0, 1)
    assert one(shown, "a").change.old == one(shown, "a").change.new
    session.edit("a", "caf\u00e9\n")
    (item,) = one(review(objects, session.state), "a").hunks
    assert (item.state, item.gone) == ("changed", False), "the agent did it again"


def test_each_hunk_knows_the_edit_that_made_it(repo: Repository, objects: Objects) -> None:
    lines = {f"line{number}": f"line {number}\n" for number in range(30)}
    session = Session(repo, {"a.txt": "".join(lines.values())})
    first = session.edit("a.txt", "".join((lines | {"line2": "first\n"}).values()))
    second = session.edit("a.txt", "".join((lines | {"line2": "first\n", "line20": "second\n"}).values()))
    assert [item.why for item in one(review(objects, session.state), "a.txt").hunks] == [first, second]


def test_what_takes_the_place_of_a_reviewed_hunk_is_changed(repo: Repository, objects: Objects) -> None:
    session = Session(repo, {"a": text()})
    session.edit("a", text(l3="three", l20="twenty"))
    session.decide(objects, "a", 0, "review")
    session.edit("a", text(l3="THREE", l20="twenty"))
    assert states(review(objects, session.state), "a") == ["changed", "pending"]
    session.edit("a", text(l3="three", l20="twenty"))
    assert states(review(objects, session.state), "a") == ["reviewed", "pending"]


def test_what_changes_accepted_lines_is_changed(repo: Repository, objects: Objects) -> None:
    session = Session(repo, {"a": text()})
    session.edit("a", text(l3="three", l20="twenty"))
    session.decide(objects, "a", 0, "accept")
    session.edit("a", text(l3="tri", l20="twenty"))
    shown = review(objects, session.state)
    assert sorted(states(shown, "a")) == ["accepted", "changed", "pending"]
    assert shown.decided == 1


def test_a_decision_computes_only_its_own_file_again(
    repo: Repository, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(repo, {f"f{n}": text() for n in range(12)})
    for n in range(12):
        session.edit(f"f{n}", text(l3="three", l20=f"new {n}"))
    review(objects, session.state)
    session.decide(objects, "f5", 0, "accept")
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


def test_new_deleted_and_renamed_files(repo: Repository, objects: Objects) -> None:
    session = Session(repo, {"old": "content\n", "kept": "k\n"})
    session.edit("old", None)
    session.edit("moved", "content\n")
    session.edit("fresh", "f\n")
    shown = review(objects, session.state)
    assert [(file.path, file.renamed_from) for file in shown.files] == [("fresh", ""), ("moved", "old"), ("old", "")]
    assert one(shown, "old").change.new is None
    assert one(shown, "fresh").change.old is None


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


def test_the_json_form(repo: Repository, objects: Objects) -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    session = Session(repo, {odd: File(0o100644, b"a\n\xff\n")})
    seq = session.edit(odd, File(0o100644, b"b\n\xff\n"))
    shown = review(objects, session.state)
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
                        "why": seq,
                    }
                ],
            }
        ],
        "verification": {"tree": session.base, "verdict": ""},
    }
    session.log(ev.Verification(tree=session.base, verdict="passes"))
    assert to_json(shown, session.state)["verification"] == {"tree": session.base, "verdict": "passes"}
    session.decide(objects, odd, 0, "accept")
    tree = session.state.accepted_tree
    assert to_json(shown, session.state)["verification"] == {"tree": tree, "verdict": ""}
