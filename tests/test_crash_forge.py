"""SIGKILL at every event of a run that ends at GitHub, and between each effect and its event: one of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backspace_tui.config import GithubSettings, Settings
from backspace_tui.core import events as ev
from tests.crash import Human, Script, scene, steps
from tests.crash_story import agent, check_branch, check_log, check_requests, play
from tests.forge.github_api import NAME, OWNER, TOKEN, GithubApi, github_api
from tests.forge.gitserver import git_server
from tests.models.turns import call
from tests.program import CART, TEST_CART, git, tree, wait_for

pytestmark = pytest.mark.gitserver
BASE = {"cart.py": CART, "tests/test_cart.py": TEST_CART}
FIXED = call("edit_file", path="cart.py", old="price for", new="price * quantity for")
COMMAND = call("run_command", command="echo built > built.txt")
RECEIVED = 'while read old new ref; do echo "$old $new $ref" >> "$GIT_DIR/received"; done\n'
HELD = 'echo waiting >> "$GIT_DIR/waiting"; while [ ! -e "$GIT_DIR/go" ]; do sleep 0.05; done\n'


@dataclass
class Remote:
    """The repository at the server, which writes down every change of a branch, and the API beside it."""

    folder: Path
    url: str
    api: GithubApi

    def hook(self, name: str, script: str) -> None:
        path = self.folder / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def received(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "received").read_text().splitlines()]

    def waiting(self) -> int:
        file = self.folder / "waiting"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def adopt(self, human: Human) -> None:
        """Be the remote of the human's repository, which holds its base already."""
        git(human.repository, "push", "-q", str(self.folder), "main")
        git(human.repository, "remote", "add", "origin", self.url)
        (self.folder / "received").write_text("")


@pytest.fixture
def remote(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with git_server(tmp_path_factory.mktemp("g")) as server, github_api() as api:
        api.branches.add("backspace/mend-the-total")
        running = Remote(server.create(OWNER, NAME), f"{server.url}/{OWNER}/{NAME}.git", api)
        running.hook("post-receive", RECEIVED)
        yield running


def settings(remote: Remote) -> Settings:
    return Settings(github=GithubSettings(api_url=remote.api.url, labels=("agent",)))


def check_remote(remote: Remote, human: Human, commits: int) -> None:
    """One branch at our commit, which every push brought there once; one open request that says what was committed."""
    state = human.state()
    assert git(remote.folder, "for-each-ref", "--format=%(refname:short)").split() == [state.branch, "main"]
    assert git(remote.folder, "rev-parse", state.branch).strip() == state.commit
    assert git(remote.folder, "rev-list", "--count", f"main..{state.branch}") == "1\n"
    ref = f"refs/heads/{state.branch}"
    operations = [event for event in human.events() if isinstance(event, ev.GitOperation)]
    made = list(dict.fromkeys(event.commit for event in operations if event.operation == "commit"))
    assert len(made) == commits
    assert remote.received() == [[old, new, ref] for old, new in zip(["0" * 40, *made], made, strict=False)]
    (pull,) = remote.api.pulls
    assert (pull["state"], pull["head"]["ref"], [label["name"] for label in pull["labels"]]) == (
        "open", state.branch, ["agent"],
    )  # fmt: skip
    assert state.request is not None
    assert (state.request.number, state.request.commit) == (1, state.commit)
    assert (pull["title"], pull["body"]) == (state.request.title, state.request.body)


def test_a_kill_at_every_event_of_a_run_to_the_pull_request(tmp_path: Path, remote: Remote) -> None:
    server = Script(steps(FIXED, COMMAND))
    with scene(
        tmp_path,
        server,
        "process",
        mode="torn every",
        headless=True,
        settings=settings(remote),
        accept="all",
        pull_request=True,
    ) as human:
        remote.adopt(human)
        until_finished(human)
    events = human.events()
    assert human.state().status == "done"
    assert human.starts > 30
    assert len([event for event in events if isinstance(event, ev.Decision)]) == 2
    check_remote(remote, human, 1)
    assert {path: data.decode() for path, (_, data) in tree(remote.folder, human.state().branch).items()} == {
        **BASE, "cart.py": CART.replace("price for", "price * quantity for"), "built.txt": "built\n",
    }  # fmt: skip


PUBLISHING = ("GitOperation commit", "StageFinished commit", "StageStarted push", "GitOperation push",
              "StageFinished push", "StageStarted pull_request", "PrCreation",
              "StageFinished pull_request")  # fmt: skip


def test_three_pushes_and_one_request_whose_every_step_is_killed(tmp_path: Path, remote: Remote) -> None:
    server = Script(agent, "echo waiting")
    with scene(
        tmp_path,
        server,
        "process",
        mode="torn every",
        only="\n".join(PUBLISHING),
        files=BASE,
        settings=settings(remote),
    ) as human:
        remote.adopt(human)
        play(human, server)
    assert human.starts > 3 * 6
    check_log(human)
    check_branch(human.repository, human.state(), BASE)
    check_requests(server.bodies)
    check_remote(remote, human, 3)


def until_finished(human: Human) -> None:
    """Until the session is done, through any number of deaths; what is done is not started once more."""

    def there() -> bool:
        if not finished(human):
            human.keep_running()
        return finished(human)

    wait_for(there, "the end", 280)


def finished(human: Human) -> bool:
    return any(isinstance(event, ev.SessionFinished) and event.outcome == "done" for event in human.events())


def test_a_killed_push_goes_on_beside_the_one_that_is_made_again(tmp_path: Path, remote: Remote) -> None:
    with scene(
        tmp_path, Script(steps(FIXED)), "process", headless=True, settings=settings(remote), accept="all",
        pull_request=True,
    ) as human:  # fmt: skip
        remote.adopt(human)
        remote.hook("pre-receive", HELD)
        human.start()
        wait_for(lambda: remote.waiting() == 1, "the server to hold the push back")
        human.kill()
        human.start()
        wait_for(lambda: remote.waiting() == 2, "the second push")
        (remote.folder / "go").touch()
        until_finished(human)
    assert human.starts == 0
    assert not [event for event in human.events() if isinstance(event, ev.Error)]
    check_remote(remote, human, 1)


def test_a_kill_while_the_server_answers_that_the_request_is_open(tmp_path: Path, remote: Remote) -> None:
    remote.api.fault("POST", "/pulls", None, after=True)
    with scene(
        tmp_path, Script(steps(FIXED)), "process", mode="after", only="Error pull_request", headless=True,
        settings=settings(remote), accept="all", pull_request=True,
    ) as human:  # fmt: skip
        remote.adopt(human)
        until_finished(human)
    assert human.starts == 2
    assert remote.api.calls("POST", "/pulls") == 1
    check_remote(remote, human, 1)
