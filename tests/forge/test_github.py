from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backspace_tui.config import GithubSettings
from backspace_tui.core.protocols import Forge, ForgeError, OpenedPullRequest, PullRequest
from backspace_tui.forge import choose_forge, parse_github_remote
from tests.forge.github_api import NAME, OWNER, TOKEN, GithubApi

REQUEST = PullRequest("Fix the total", "## What was asked\n", "backspace/fix", "main", labels=("agent",))
REMOTE = f"http://127.0.0.1:1/{OWNER}/{NAME}.git"


def forge(api: GithubApi, token: str = TOKEN) -> Forge:
    return choose_forge(REMOTE, None, GithubSettings(api_url=api.url), token)


def opened(api: GithubApi, **changes: Any) -> OpenedPullRequest:
    fields = {name: getattr(REQUEST, name) for name in REQUEST.__struct_fields__} | changes
    return forge(api).open_request(PullRequest(**fields))


def refused(api: GithubApi, token: str = TOKEN, **changes: Any) -> ForgeError:
    fields = {name: getattr(REQUEST, name) for name in REQUEST.__struct_fields__} | changes
    with pytest.raises(ForgeError) as caught:
        forge(api, token).open_request(PullRequest(**fields))
    text = str(caught.value)
    assert "\n" not in text
    assert token not in text
    return caught.value


def test_a_request_is_opened_once_and_then_kept_up_to_date(api: GithubApi) -> None:
    first = opened(api, reviewers=("ada", "octo/core"))
    assert first == OpenedPullRequest(f"https://github.test/{OWNER}/{NAME}/pull/1", 1, True, ())
    pull = api.pulls[0]
    assert (pull["title"], pull["body"], pull["draft"]) == (REQUEST.title, REQUEST.body, True)
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("backspace/fix", "main")
    assert [label["name"] for label in pull["labels"]] == ["agent"]
    assert [user["login"] for user in pull["requested_reviewers"]] == ["ada"]
    assert [team["slug"] for team in pull["requested_teams"]] == ["core"]
    writes = [path for method, path, _ in api.requests if method != "GET"]
    assert opened(api, reviewers=("ada", "octo/core")).created is False
    assert [path for method, path, _ in api.requests if method != "GET"] == writes
    again = opened(api, title="Fix it better", body="more")
    assert (again.number, again.created) == (1, False)
    assert (api.pulls[0]["title"], api.pulls[0]["body"]) == ("Fix it better", "more")
    assert len(api.pulls) == 1


def test_a_closed_request_and_those_of_forks_are_not_ours(api: GithubApi) -> None:
    api.filters = False
    api.add("backspace/fix", {"title": "of a fork", "base": "main"}, owner="stranger")
    api.add("backspace/fix", {"title": "closed", "base": "main"})["state"] = "closed"
    assert opened(api).number == 3


def test_a_lost_answer_does_not_make_a_second_request(api: GithubApi) -> None:
    api.fault("POST", "/pulls", None, after=True)
    assert refused(api).retryable
    assert len(api.pulls) == 1
    found = opened(api)
    assert (found.number, found.created) == (1, False)
    assert api.calls("POST", "/pulls") == 1
    assert [label["name"] for label in api.pulls[0]["labels"]] == ["agent"]


def test_writes_are_not_repeated_and_reads_a_few_times(api: GithubApi) -> None:
    api.fault("POST", "/pulls", (502, {"message": "Bad gateway"}, {}), after=True)
    assert refused(api).retryable
    assert api.calls("POST", "/pulls") == 1
    api.fault("GET", "/pulls", (503, "<html>", {}))
    assert opened(api).number == 1
    for _ in range(9):
        api.fault("GET", f"/{NAME}", (500, {}, {}))
    before = len(api.requests)
    assert refused(api).retryable
    assert len(api.requests) - before == 3


def test_somebody_who_was_faster_is_found(api: GithubApi) -> None:
    api.add("backspace/fix", {"title": "x", "base": "main"})
    api.fault("GET", "/pulls", (200, [], {}))
    found = opened(api)
    assert (found.number, found.created) == (1, False)
    assert api.pulls[0]["title"] == REQUEST.title


def test_where_drafts_are_not_to_be_had(api: GithubApi) -> None:
    api.drafts = False
    found = opened(api)
    assert found.created
    assert "no drafts" in found.notes[0]
    assert api.pulls[0]["draft"] is False


def test_an_unknown_base_or_none(api: GithubApi) -> None:
    assert "does not exist" in str(refused(api, base="local-only"))
    assert opened(api, base="").created
    assert api.pulls[0]["base"]["ref"] == "main"


def test_labels_and_reviewers_that_are_refused_are_notes(api: GithubApi) -> None:
    found = opened(api, labels=("nobody-knows",), reviewers=("stranger",))
    assert found.created
    assert "nobody-knows" in found.notes[0]
    assert "stranger" in found.notes[1]
    assert all("\n" not in note for note in found.notes)


LIMIT = "API rate limit exceeded for user ID 1."
SLOW = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected", "retryable"),
    [
        (401, {"message": "Bad credentials"}, {}, "check GITHUB_TOKEN", False),
        (
            403,
            {"message": "Resource not accessible by personal access token"},
            {"X-Accepted-GitHub-Permissions": "pull_requests=write"},
            "needs pull_requests=write",
            False,
        ),
        (
            403,
            {"message": "Resource protected by organization SAML enforcement."},
            {"X-GitHub-SSO": "required; url=https://github.com/orgs/octo/sso?x=1"},
            "https://github.com/orgs/octo/sso",
            False,
        ),
        (403, {"message": LIMIT}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "rate limit", True),
        (403, {"message": SLOW}, {"Retry-After": "42"}, "42 seconds", True),
        (429, {"message": SLOW}, {"Retry-After": "7"}, "7 seconds", True),
        (404, {"message": "Not Found"}, {}, "does not exist", False),
        (
            422,
            {"message": "Validation Failed", "errors": [{"message": "No commits between main and x"}]},
            {},
            "No commits between main and x",
            False,
        ),
        (422, {"message": "Validation Failed", "errors": [{"field": "title", "code": "missing"}]}, {}, "title", False),
        (418, {"message": "\x1b[31mtea\n\u202epot"}, {}, "tea pot", False),
    ],
)
def test_each_refusal_has_its_line(
    api: GithubApi, status: int, body: Any, headers: dict[str, str], expected: str, retryable: bool
) -> None:
    api.fault("POST", "/pulls", (status, body, headers))
    problem = refused(api)
    assert expected in str(problem)
    assert problem.retryable is retryable
    assert "\x1b" not in str(problem)
    assert api.pulls == []


def test_a_wrong_token_a_wrong_place_and_nobody_there(api: GithubApi) -> None:
    assert "GITHUB_TOKEN" in str(refused(api, token="ghp_wrong_wrong"))
    other = choose_forge("http://127.0.0.1/o/none.git", None, GithubSettings(api_url=api.url), TOKEN)
    with pytest.raises(ForgeError, match="o/none does not exist"):
        other.open_request(REQUEST)
    gone = choose_forge(REMOTE, None, GithubSettings(api_url="http://127.0.0.1:9/api/v3"), TOKEN)
    with pytest.raises(ForgeError, match="cannot be reached") as caught:
        gone.open_request(REQUEST)
    assert caught.value.retryable
    api.fault("GET", f"/{NAME}", (200, {"id": [], "url": 5, "default_branch": 7}, {}))
    with pytest.raises(ForgeError):
        forge(api).open_request(PullRequest("t", "b", "backspace/fix", ""))
    api.fault("GET", f"/{NAME}", (200, "<html>a proxy's login page</html>", {"Content-Type": "text/html"}))
    with pytest.raises(ForgeError):
        forge(api).open_request(REQUEST)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/o/r.git", ("github.com", "o", "r", "https://github.com/o/r.git")),
        ("https://u:p@GitHub.com/o/r", ("github.com", "o", "r", "https://github.com/o/r.git")),
        ("git@github.com:o/r.git", ("github.com", "o", "r", "https://github.com/o/r.git")),
        ("ssh://git@ssh.github.com:443/o/r.git", ("github.com", "o", "r", "https://github.com/o/r.git")),
        ("git://github.com/o/r", ("github.com", "o", "r", "https://github.com/o/r.git")),
        ("https://ghe.example.com:8443/o/r/", ("ghe.example.com", "o", "r", "https://ghe.example.com:8443/o/r.git")),
        ("http://github.com/o/r", ("github.com", "o", "r", "https://github.com/o/r.git")),
        ("http://localhost:80/o/r", ("localhost", "o", "r", "http://localhost:80/o/r.git")),
        ("https://github.com/o/r/tree/main", None),
        ("https://github.com/o", None),
        ("https://github.com/../r", None),
        ("https://github.com:x/o/r", None),
        ("file:///o/r.git", None),
        ("/srv/o/r", None),
        ("o/r", None),
        ("", None),
    ],
)
def test_addresses_of_repositories(url: str, expected: tuple[str, ...] | None) -> None:
    assert parse_github_remote(url) == expected


@pytest.mark.parametrize(
    ("remote", "api_url", "token", "expected"),
    [
        ("git@github.com:o/r.git", "", "t", "github"),
        ("git@github.com:o/r.git", "", "", "local"),
        (None, "", "t", "local"),
        ("git@gitlab.com:o/r.git", "", "t", "local"),
        ("https://github.com.evil.example/o/r", "", "t", "local"),
        ("https://ghe.example.com/o/r", "https://ghe.example.com/api/v3", "t", "github"),
        ("https://tenant.ghe.com/o/r", "https://api.tenant.ghe.com", "t", "github"),
        ("git@github.com:o/r.git", "https://ghe.example.com/api/v3", "t", "local"),
    ],
)
def test_which_forge_is_chosen(remote: str | None, api_url: str, token: str, expected: str) -> None:
    settings = GithubSettings(api_url=api_url) if api_url else None
    assert choose_forge(remote, Path("/x"), settings, token).name == expected


def test_the_local_forge_says_where_the_branch_is() -> None:
    here = choose_forge(None, Path("/home/me/shop"), None, "")
    assert here.push("/s/repo.git", "1" * 40, "backspace/fix", ()) == "backspace/fix is in /home/me/shop"
    assert here.open_request(REQUEST) == OpenedPullRequest("local:backspace/fix", None, True)
    nowhere = choose_forge(None, None, None, "t")
    assert "git fetch /s/repo.git backspace/fix" in nowhere.push("/s/repo.git", "1" * 40, "backspace/fix", ())
    tokenless = choose_forge("git@github.com:o/r.git", Path("/x"), None, "")
    assert "GITHUB_TOKEN" in tokenless.push("/s/repo.git", "1" * 40, "backspace/fix", ())


def test_choosing_loads_no_heavy_library() -> None:
    code = (
        "import sys; from backspace_tui.forge import choose_forge\n"
        "choose_forge('git@github.com:o/r.git', None, None, 't')\n"
        "assert not {'git', 'github', 'requests', 'litellm'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
