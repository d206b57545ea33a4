"""Pull requests on GitHub, by PyGithub, which is imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from backspace_tui.core.protocols import ForgeError, OpenedPullRequest, PullRequest
from backspace_tui.core.terminal_text import visible
from backspace_tui.forge.errors import explain, messages, one_line
from backspace_tui.forge.push import push_branch
from backspace_tui.forge.remote import GithubRemote

if TYPE_CHECKING:
    from github.PullRequest import PullRequest as Pull
    from github.Repository import Repository

T = TypeVar("T")

_TIMEOUT: Final = 15
_RETRIES: Final = 2
_USER_AGENT: Final = "backspace-tui"


class GithubForge:
    """One repository on GitHub or GitHub Enterprise. ``token`` is sent to its host and its API alone."""

    def __init__(self, remote: GithubRemote, api_url: str, token: str) -> None:
        self._remote = remote
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._place = f"{remote.owner}/{remote.repo}"

    @property
    def name(self) -> str:
        """``github``."""
        return "github"

    def push(self, repository: str, commit: str, branch: str, previous: Sequence[str]) -> str:
        """See :meth:`backspace_tui.core.protocols.Forge.push`."""
        return push_branch(repository, self._remote.push_url, self._token, commit, branch, previous)

    def open_request(self, request: PullRequest) -> OpenedPullRequest:
        """Open the request, or bring the open one of the same branch up to date.

        It looks before it creates, so that repeating it after an answer that never came makes no second one. Labels
        and reviewers that GitHub refuses are named in ``notes``.

        Raises:
            ForgeError: see :func:`backspace_tui.forge.errors.explain`.
        """
        client = self._client()
        try:
            return self._ask(lambda: self._open(client, request))
        finally:
            client.close()

    def _open(self, client: Any, request: PullRequest) -> OpenedPullRequest:
        repository: Repository = client.get_repo(self._place)
        base = request.base or repository.default_branch
        notes: list[str] = []
        pull = self._find(repository, request.branch, base)
        created = pull is None
        if pull is None:
            pull, created = self._create(repository, request, base, notes)
        if not created and ((pull.title or ""), (pull.body or "")) != (request.title, request.body):
            pull.edit(title=request.title, body=request.body)
        self._label(pull, request.labels, notes)
        self._ask_reviewers(pull, request.reviewers, notes)
        return OpenedPullRequest(pull.html_url, pull.number, created, tuple(notes))

    def _find(self, repository: Repository, branch: str, base: str) -> Pull | None:
        head = f"{repository.owner.login}:{branch}"
        found = repository.get_pulls(state="open", head=head)
        # A server that knows no such filter answers with everybody's.
        ours = [pull for pull in found if pull.head.label.lower() == head.lower() and pull.head.ref == branch]
        return next((pull for pull in ours if pull.base.ref == base), ours[0] if ours else None)

    def _create(self, repository: Repository, request: PullRequest, base: str, notes: list[str]) -> tuple[Pull, bool]:
        from github import GithubException

        def create(draft: bool) -> Pull:
            return repository.create_pull(
                base=base, head=request.branch, title=request.title, body=request.body, draft=draft
            )

        try:
            return create(request.draft), True
        except GithubException as problem:
            if problem.status != 422:
                raise
            said = messages(problem.data).lower()
            if request.draft and "draft" in said:
                notes.append("this repository takes no drafts, so the request is open for review")
                return create(False), True
            if "already exists" in said and (found := self._find(repository, request.branch, base)):
                return found, False
            if "base" in said and "invalid" in said:
                raise ForgeError(
                    f"the branch {visible(base)} does not exist in {self._place}: push it first, then resume"
                ) from None
            raise

    def _label(self, pull: Pull, labels: Sequence[str], notes: list[str]) -> None:
        missing = [name for name in labels if name not in {label.name for label in pull.labels}]
        if missing:
            self._try(lambda: pull.add_to_labels(*missing), f"labels {', '.join(missing)} were not set", notes)

    def _ask_reviewers(self, pull: Pull, reviewers: Sequence[str], notes: list[str]) -> None:
        if not reviewers:
            return

        def ask() -> None:
            known = {user.login.lower() for user in pull.requested_reviewers}
            # Who has reviewed already would be told a second time.
            # The account of a review may be gone.
            known |= {str(getattr(review.user, "login", "")).lower() for review in pull.get_reviews()}
            teams = {team.slug.lower() for team in pull.requested_teams}
            people = [name for name in reviewers if "/" not in name and name.lower() not in known]
            groups = [name.rpartition("/")[2] for name in reviewers if "/" in name]
            groups = [name for name in groups if name.lower() not in teams]
            if people or groups:
                pull.create_review_request(reviewers=people, team_reviewers=groups)

        self._try(ask, f"{', '.join(reviewers)} were not asked for a review", notes)

    def _try(self, call: Callable[[], Any], what: str, notes: list[str]) -> None:
        try:
            self._ask(call)
        except ForgeError as problem:
            notes.append(one_line(f"{what}: {problem}"))

    def _client(self) -> Any:
        from github import Auth, Github
        from urllib3 import Retry

        # Reads alone are repeated, a few times; rate limits are for the caller, who can say how long they last.
        retry = Retry(
            total=_RETRIES,
            allowed_methods=frozenset({"GET"}),
            status_forcelist=(500, 502, 503, 504),
            backoff_factor=0.2,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        return Github(
            auth=Auth.Token(self._token),
            base_url=self._api_url,
            timeout=_TIMEOUT,
            user_agent=_USER_AGENT,
            retry=retry,
            seconds_between_requests=None,
            seconds_between_writes=None,
        )

    def _ask(self, call: Callable[[], T]) -> T:
        from github import BadAttributeException, GithubException
        from requests import RequestException

        try:
            return call()
        except GithubException as problem:
            raise explain(problem.status, problem.data, problem.headers, self._place) from None
        except RequestException as problem:
            reason = one_line(type(problem).__name__)
            raise ForgeError(f"GitHub's API at {self._api_url} cannot be reached ({reason})", retryable=True) from None
        except (BadAttributeException, AssertionError, AttributeError, LookupError, TypeError, ValueError):
            raise ForgeError(f"{self._api_url} does not answer like GitHub's API: check [github] api_url") from None
