"""A stateful stand-in for the parts of GitHub's REST API that a pull request needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

OWNER, NAME, TOKEN = "octo", "shop", "ghp_" + "s3cr3tTokenOfATest" * 2

Answer = tuple[int, Any, dict[str, str]]


class GithubApi:
    """``branches`` are what can be a head or a base. ``faults`` answer the next requests that they fit, in order.

    A fault is (method, ending of the path, answer), or ``None`` in the answer's place to drop the connection; with
    ``after`` the request takes effect first, as when only the reply is lost.
    """

    def __init__(self) -> None:
        self.pulls: list[dict[str, Any]] = []
        self.branches = {"main", "backspace/fix"}
        self.drafts = True
        self.known_labels = {"agent", "bug"}
        self.members = {"ada", "grace"}
        self.faults: list[tuple[str, str, Answer | None, bool]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.filters = True
        self.url = ""

    def fault(self, method: str, ending: str, answer: Answer | None, *, after: bool = False) -> None:
        """Let the next fitting request fail."""
        self.faults.append((method, ending, answer, after))

    def calls(self, method: str, ending: str) -> int:
        """How many requests came."""
        return sum(made == method and path.endswith(ending) for made, path, _ in self.requests)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """The reply to one request."""
        parts = path.strip("/").split("/")
        if [part.lower() for part in parts[:3]] != ["repos", OWNER, NAME]:
            return 404, {"message": "Not Found"}, {}
        match method, *parts[3:]:
            case ("GET",):
                return 200, self._repository(), {}
            case "GET", "pulls":
                return 200, self._listed(query), {}
            case "POST", "pulls":
                return self._create(body)
            case "PATCH", "pulls", number:
                pull = self.pulls[int(number) - 1]
                pull.update({key: body[key] for key in ("title", "body", "state") if key in body})
                return 200, pull, {}
            case "POST", "issues", number, "labels":
                pull = self.pulls[int(number) - 1]
                names = body["labels"] if isinstance(body, dict) else body
                if not set(names) <= self.known_labels:
                    return 403, {"message": "Resource not accessible by personal access token"}, {}
                pull["labels"] += [{"id": 1, "name": name, "url": f"{self.url}/l/{name}"} for name in names]
                return 200, pull["labels"], {}
            case "GET", "pulls", number, "reviews":
                return 200, [], {}
            case "POST", "pulls", number, "requested_reviewers":
                pull = self.pulls[int(number) - 1]
                if not set(body["reviewers"]) <= self.members:
                    return 422, {"message": "Reviews may only be requested from collaborators."}, {}
                pull["requested_reviewers"] += [{"login": name, "id": 9} for name in body["reviewers"]]
                pull["requested_teams"] += [{"slug": name, "id": 8} for name in body.get("team_reviewers", ())]
                return 201, pull, {}
        return 404, {"message": "Not Found"}, {}

    def _repository(self) -> dict[str, Any]:
        return {
            "id": 1,
            "name": NAME,
            "full_name": f"{OWNER}/{NAME}",
            "default_branch": "main",
            "owner": {"login": OWNER, "id": 2},
            "url": f"{self.url}/repos/{OWNER}/{NAME}",
        }

    def _listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        state, head = query.get("state", ["open"])[0], query.get("head", [""])[0]
        found = [pull for pull in self.pulls if state in ("all", pull["state"])]
        return [pull for pull in found if not head or not self.filters or pull["head"]["label"] == head]

    def _create(self, body: dict[str, Any]) -> Answer:
        def refused(**error: str) -> Answer:
            return 422, {"message": "Validation Failed", "errors": [{"resource": "PullRequest", **error}]}, {}

        if body.get("draft") and not self.drafts:
            message = "Draft pull requests are not supported in this repository."
            return 422, {"message": message, "documentation_url": ""}, {}
        for side in ("head", "base"):
            if body[side] not in self.branches:
                return refused(field=side, code="invalid")
        label = f"{OWNER}:{body['head']}"
        if any(p["state"] == "open" and p["head"]["label"] == label for p in self.pulls):
            return refused(code="custom", message=f"A pull request already exists for {label}.")
        return 201, self.add(body["head"], body), {}

    def add(self, head: str, body: dict[str, Any], owner: str = OWNER) -> dict[str, Any]:
        """A pull request that is there."""
        number = len(self.pulls) + 1
        url = f"{self.url}/repos/{OWNER}/{NAME}"
        pull: dict[str, Any] = {
            "id": 100 + number,
            "number": number,
            "state": "open",
            "title": body.get("title"),
            "body": body.get("body"),
            "draft": bool(body.get("draft")),
            "html_url": f"https://github.test/{OWNER}/{NAME}/pull/{number}",
            "url": f"{url}/pulls/{number}",
            "issue_url": f"{url}/issues/{number}",
            "head": {"ref": head, "label": f"{owner}:{head}", "sha": "1" * 40, "repo": None},
            "base": {"ref": body.get("base"), "label": f"{OWNER}:main", "sha": "2" * 40, "repo": self._repository()},
            "labels": [],
            "requested_reviewers": [],
            "requested_teams": [],
        }
        self.pulls.append(pull)
        return pull


@contextmanager
def github_api() -> Iterator[GithubApi]:
    """The stand-in on loopback, under ``/api/v3`` as GitHub Enterprise has it."""
    api, lock = GithubApi(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            path = parts.path.removeprefix("/api/v3")
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            with lock:
                answer = self._answer(path, parse_qs(parts.query), body)
            if answer is None:
                self.close_connection = True
                return
            status, data, headers = answer
            encoded = data.encode() if isinstance(data, str) else json.dumps(data).encode()
            self.send_response(status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(encoded))} | headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(encoded)

        def _answer(self, path: str, query: dict[str, list[str]], body: Any) -> Answer | None:
            api.requests.append((self.command, path, body))
            if self.headers.get("Authorization") not in (f"token {TOKEN}", f"Bearer {TOKEN}"):
                return 401, {"message": "Bad credentials"}, {}
            for fault in api.faults:
                method, ending, answer, after = fault
                if method == self.command and path.endswith(ending):
                    api.faults.remove(fault)
                    if after:
                        api.answer(self.command, path, query, body)
                    return answer
            return api.answer(self.command, path, query, body)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}/api/v3"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
