"""A whole session on a repository full of secrets: none leaves it, and all of them come through byte for byte."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.models.openai_server import OpenAIServer
from tests.models.turns import Turn, call, text
from tests.program import Program, git, make_repository, tree

# Put together here so that no scanner takes the tests for a leak.
ENVIRONMENT = "env-only-" + "Value-77aa88bb"
PASSWORD = "hunter2-" + "Sw0rdfish"
FLASK = "9f86d081" + "884c7d659a2feaa0c55ad015"
GITHUB = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6"
AWS = "AKIA" + "Q3EGRTYUIOPLKJHG"
STRIPE = "sk_live_" + "51HcQ2mN5pQ8sT1vW4yZ7bC0e"
WEBHOOK = "T0AAAA/B0BBBB/" + "aB3dE6gH9jK2mN5pQ8sT1vW4"
BODY = [f"{number}MIIE" + "aB3/" * 14 + "xyz" for number in range(12)]
KEY = "\n".join(["-----BEGIN RSA " + "PRIVATE KEY-----", *BODY, "-----END RSA " + "PRIVATE KEY-----", ""])
NEW = "glpat-" + "Qw3rTy9uIoP5aSdFgH2j"

SECRETS = [ENVIRONMENT, PASSWORD, FLASK, GITHUB, AWS, STRIPE, WEBHOOK, *BODY, NEW]

DOTENV = f"# Local settings\nDB_PASSWORD={PASSWORD}\nAWS_ACCESS_KEY_ID={AWS}\nDEBUG=1\n"
SETTINGS = f'''"""Settings."""

SECRET_KEY = "{FLASK}"
DATABASE_URL = "postgres://shop:{PASSWORD}@db/shop"
STRIPE = "{STRIPE}"
TIMEOUT = 30


def password():
    return "{PASSWORD}"
'''
TEST = f"""import unittest

from settings import TIMEOUT, password


class SettingsTest(unittest.TestCase):
    def test_timeout(self):
        print("logged in with", password(), "and {GITHUB}")
        self.assertEqual(TIMEOUT, 60)
"""
AGENTS = f"# For agents\n\nDeploy with `curl -H 'Authorization: Bearer {GITHUB}' https://example.org`.\n"
NOTIFY = f"notify:\n  url: https://hooks.slack.com/services/{WEBHOOK}\n  password: {PASSWORD}\n"
FILES = {
    ".env": DOTENV,
    "settings.py": SETTINGS,
    "tests/test_settings.py": TEST,
    "AGENTS.md": AGENTS,
    "deploy/notify.yml": NOTIFY,
    "deploy/id_rsa": KEY,
}
CHECK = "python3 -c 'import settings; print(settings.password(), settings.SECRET_KEY)'; cat deploy/id_rsa; exit 3"


def results(body: dict[str, Any]) -> list[str]:
    return [str(message["content"]) for message in body["messages"] if message["role"] == "tool"]


def content(numbered: str) -> str:
    """A file as a model copies it from what ``read_file`` shows."""
    lines = numbered.split("\n")[1:]
    return "".join(line.partition("\t")[2] + "\n" for line in lines)


Step = Callable[[dict[str, Any]], Turn]


def steps() -> list[Step]:
    """What the agent does; it knows of the secrets only what it is shown."""
    return [
        lambda _: (
            text("I read everything.")
            + call("read_files", paths=[".env", "settings.py", "deploy/notify.yml"])
            + call("read_file", path="deploy/id_rsa")
            + call("read_file", path="deploy/id_rsa", start_line=4, end_line=6)
            + call("search", pattern="PASSWORD|password|MIIE|hooks")
        ),
        lambda _: call("run_command", command=CHECK) + call("run_command", command=f"printf 'DB={ENVIRONMENT}'"),
        lambda _: call("write_file", path="token.txt", content=f"GITLAB_TOKEN={NEW}\n"),
        lambda _: (
            call("read_file", path="token.txt")
            + call("read_file", path=".env")
            + call("ask_user", question="Which timeout?", options=["60", "90"])
        ),
        # From here on in another process.
        lambda body: (
            call("write_file", path="copy/.env", content=content(results(body)[-2]) + "MORE=1\n")
            + call("write_file", path="copy/token.txt", content=content(results(body)[-3]))
            + call("write_file", path="copy/id_rsa", content=content(results(body)[1]))
            + call("edit_file", path="settings.py", old="TIMEOUT = 30", new="TIMEOUT = 60")
            + call("read_file", path="settings.py")
        ),
        lambda body: edited(results(body)[-1]),
        lambda _: call("run_command", command="git diff; cat token.txt; python3 -m unittest discover -s tests"),
        lambda body: call("finish", summary=f"Raised the timeout. {results(body)[-1][-200:]}"),
    ]


def edited(shown: str) -> Turn:
    """Change the line after the masked one, with the masked line as context."""
    line = next(line for line in content(shown).split("\n") if line.startswith("STRIPE"))
    assert "[secret:" in line
    return call("edit_file", path="settings.py", old=f"{line}\nTIMEOUT = 60", new=f"{line}\nRETRIES = 3\nTIMEOUT = 60")


class Ran(NamedTuple):
    program: Program
    repository: Path
    branch: str
    bodies: list[dict[str, Any]]
    outputs: list[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, bubblewrap: str) -> Ran:
    """The session: it stops at a question, and another process ends it."""
    folder = tmp_path_factory.mktemp("secrets")
    repository = make_repository(folder / "shop", FILES)
    program = Program(folder, OPENAI_API_KEY=ENVIRONMENT)
    script = iter(steps())
    with OpenAIServer(lambda body: next(script)(body), texts=lambda body: answer(body)) as server:
        program.env["OPENAI_BASE_URL"] = server.url
        options = ("--model", "openai/test", "--sandbox", bubblewrap, "--accept", "all", "--pull-request", "--json")
        first = program.run("run", str(repository), "-p", "Raise the timeout", *options)
        assert first.returncode == 4, first.stderr
        again = program.run("resume", program.session.name, "--answer", "60")
    assert server.problems == []
    assert again.returncode == 0, again.stderr
    branches = git(repository, "for-each-ref", "--format=%(refname:short)", "refs/heads/backspace").split()
    return Ran(program, repository, branches[0], server.bodies, [first, again])


def answer(body: dict[str, Any]) -> Turn:
    system, request = (message["content"] for message in body["messages"][:2])
    if "plan" in system.split("\n")[0]:
        return text("1. raise the timeout in settings.py")
    # A careless critic quotes what it was shown.
    return text("APPROVE\n" + request[-300:])


def leaks(what: str) -> list[str]:
    encoded = {base64.b64encode(secret.encode()).decode().rstrip("="): secret for secret in SECRETS}
    parts = {secret[:20]: secret for secret in SECRETS if len(secret) > 30}
    return [secret for form, secret in ({one: one for one in SECRETS} | parts | encoded).items() if form in what]


def test_no_request_holds_a_secret(ran: Ran) -> None:
    for number, body in enumerate(ran.bodies):
        assert leaks(str(body)) == [], number
    assert len(re.findall(r"\[secret:[0-9a-f]{8}\]", str(ran.bodies[-2]))) > 20


def test_no_file_of_the_session_and_no_output_holds_one(ran: Ran) -> None:
    directory = ran.program.session
    for path in (path for path in ran.program.data.rglob("*") if path.is_file()):
        data = path.read_bytes().decode("utf-8", "replace")
        assert leaks(data) == [], path
    assert (directory / "events.jsonl").exists()
    for output in ran.outputs:
        assert leaks(output.stdout + output.stderr) == []


def test_nothing_that_is_published_holds_one_but_the_files(ran: Ran) -> None:
    log = git(ran.repository, "log", "--format=%B%an%ae%D", ran.branch)
    assert leaks(log) == []
    requests = [event for event in ran.program.events() if event.__class__.__name__ == "PrCreation"]
    assert len(requests) == 1
    assert leaks(str(requests[0])) == []


def test_every_secret_came_through_byte_for_byte(ran: Ran) -> None:
    found = {path: data.decode() for path, (_, data) in tree(ran.repository, ran.branch).items()}
    expected = SETTINGS.replace("TIMEOUT = 30", "RETRIES = 3\nTIMEOUT = 60")
    assert found == FILES | {
        "settings.py": expected,
        "copy/.env": DOTENV + "MORE=1\n",
        "copy/id_rsa": KEY,
        "copy/token.txt": f"GITLAB_TOKEN={NEW}\n",
        "token.txt": f"GITLAB_TOKEN={NEW}\n",
    }


def test_what_is_no_secret_was_shown(ran: Ran) -> None:
    shown = str(ran.bodies[-2])
    for kept in (
        "DB_PASSWORD=",
        "AWS_ACCESS_KEY_ID=",
        "postgres://shop:",
        "@db/shop",
        "DEBUG=1",
        "exit code 3",
        "TIMEOUT = 60",
    ):
        assert kept in shown
