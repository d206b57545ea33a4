"""A run that ends in a pull request: a real push over HTTP, the API's stand-in, and a token that shows nowhere."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from tests.forge.github_api import NAME, OWNER, TOKEN, GithubApi, github_api
from tests.forge.gitserver import GitServer, git_server
from tests.program import Program, git, kept, make_repository, processes_of, tree

pytestmark = [pytest.mark.gitserver, pytest.mark.bubblewrap, pytest.mark.usefixtures("bubblewrap")]
BRANCH = "backspace/replace-hello-with-goodbye"
RUN = ("-p", "replace hello with goodbye", "--model", "offline", "--sandbox", "bubblewrap")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with git_server(tmp_path_factory.mktemp("g")) as running:
        yield running


class Watch:
    """Looks at the command lines of all processes until it is told to stop."""

    def __init__(self, secrets: list[bytes]) -> None:
        self.seen: list[bytes] = []
        self.looked = 0
        self._secrets = secrets
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.002):
            self.looked += 1
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        line = (entry / "cmdline").read_bytes()
                    except OSError:
                        continue
                    if any(secret in line for secret in self._secrets):
                        self.seen.append(line)


def test_a_run_opens_a_pull_request_and_a_review_brings_it_up_to_date(server: GitServer, tmp_path: Path) -> None:
    remote = server.create(OWNER, NAME)
    repository = make_repository(tmp_path / "repository", {"greeting.txt": "hello\n", "other.txt": "hello too\n"})
    git(repository, "remote", "add", "origin", f"{server.url}/{OWNER}/{NAME}.git")
    git(repository, "push", "-q", str(remote), "main")
    git(repository, "config", "branch.main.remote", "origin")
    git(repository, "config", "branch.main.merge", "refs/heads/main")
    kept(repository)
    before = kept(repository)
    program = Program(tmp_path, GITHUB_TOKEN=TOKEN)
    secrets = [TOKEN.encode(), base64.b64encode(f"x-access-token:{TOKEN}".encode())]
    with github_api() as api, Watch(secrets) as watch:
        api.branches.add(BRANCH)
        (tmp_path / "config.toml").write_text(f'[github]\napi_url = "{api.url}"\nlabels = ["agent"]\n')
        done = program.run("run", str(repository), *RUN, "--accept", "all", "--pull-request")
        assert done.returncode == 0, done.stdout + done.stderr
        check_request(api, program, repository, remote)
        assert f"request    https://github.test/{OWNER}/{NAME}/pull/1" in done.stdout
        # A decision afterwards brings branch and request up to date; there is one of each.
        shown = program.run("review", "last", "--unstage", "all")
        assert "0 of 2 hunks decided" in shown.stdout
        hunk = next(
            line.split()[0] for line in shown.stdout.splitlines() if line.endswith("  pending") and line[:2] == "  "
        )
        again = program.run("review", "last", "--accept", hunk, "--pull-request")
        assert again.returncode == 0, again.stderr
        check_request(api, program, repository, remote)
    assert watch.looked > 10
    assert watch.seen == []
    assert kept(repository) == before
    outputs = [done.stdout, done.stderr, shown.stdout, shown.stderr, again.stdout, again.stderr]
    kept_files = [path.read_bytes() for path in program.data.rglob("*") if path.is_file()]
    bodies = [repr(request).encode() for request in api.requests]
    for text in [*(output.encode() for output in outputs), *kept_files, *bodies]:
        assert not any(secret in text for secret in secrets)
    assert processes_of(program.session) == []


def check_request(api: GithubApi, program: Program, repository: Path, remote: Path) -> None:
    """One open request, whose branch at the remote is the user's branch: one commit on what they have."""
    (pull,) = api.pulls
    assert (pull["head"]["ref"], pull["base"]["ref"], pull["draft"]) == (BRANCH, "main", True)
    assert [label["name"] for label in pull["labels"]] == ["agent"]
    request = [event for event in program.events() if isinstance(event, ev.PrCreation)][-1]
    assert (request.forge, request.number, request.url) == ("github", 1, pull["html_url"])
    assert (pull["title"], pull["body"]) == (request.title, request.body)
    assert "replace hello with goodbye" in pull["body"]
    assert "greeting.txt" in pull["body"]
    assert git(remote, "rev-parse", BRANCH) == git(repository, "rev-parse", BRANCH)
    assert git(remote, "rev-parse", f"{BRANCH}^") == git(repository, "rev-parse", "main")
    assert tree(remote, BRANCH)["greeting.txt"][1] == b"goodbye\n"


def test_without_a_token_the_request_stays_local_and_says_why(server: GitServer, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"greeting.txt": "hello\n"})
    git(repository, "remote", "add", "origin", f"{server.url}/{OWNER}/elsewhere.git")
    program = Program(tmp_path)
    (tmp_path / "config.toml").write_text('[github]\napi_url = "http://127.0.0.1:1"\n')
    done = program.run("run", str(repository), *RUN, "--accept", "all", "--pull-request")
    assert done.returncode == 0, done.stderr
    (request,) = (event for event in program.events() if isinstance(event, ev.PrCreation))
    assert request.forge == "local"
    assert "GITHUB_TOKEN" in done.stdout


def test_a_refused_push_ends_as_failed_and_can_be_resumed(server: GitServer, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"greeting.txt": "hello\n"})
    remote = server.create(OWNER, "late")
    git(repository, "remote", "add", "origin", f"{server.url}/{OWNER}/late.git")
    program = Program(tmp_path, GITHUB_TOKEN="ghp_" + "wrong0wrong1wrong2" * 2)
    with github_api() as api:
        (tmp_path / "config.toml").write_text(f'[github]\napi_url = "{api.url}"\n')
        done = program.run("run", str(repository), *RUN, "--accept", "all", "--pull-request")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "does not accept the token: check GITHUB_TOKEN" in done.stderr
        git(repository, "push", "-q", str(remote), "main")
        program.env["GITHUB_TOKEN"] = TOKEN
        # The stand-in knows one repository by its name.
        resumed = program.run("resume", "last")
        assert "pushed to" in resumed.stdout
    assert git(remote, "rev-parse", BRANCH) == git(repository, "rev-parse", BRANCH)
    commits = [
        event for event in program.events() if isinstance(event, ev.GitOperation) and event.operation == "commit"
    ]
    assert len({event.commit for event in commits}) == 1
