"""Redactor on what files and commands really hold: settings, programs, listings; and on what must stay readable."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core.redact import Redactor
from backspace_tui.core.secret_forms import PLACEHOLDER

RANDOM = "kJ8s" + "Zq2LmN4vXw7RtY1u"
HEX = "9f86d081" + "884c7d659a2feaa0c55ad015"
PASSWORD = "hunter2-" + "Sw0rdfish"

HOLDERS = [
    (f"DB_PASSWORD={PASSWORD}\n", PASSWORD),
    ("DB_PASSWORD=sword" + "fish\n", "sword" + "fish"),
    (f"export API_TOKEN={RANDOM}", RANDOM),
    (f'SECRET_KEY = "{HEX}"', HEX),
    (f"app.secret_key = '{RANDOM}'", RANDOM),
    (f'    password="{PASSWORD}",', PASSWORD),
    (f'{{"apiKey": "{RANDOM}", "user": "me"}}', RANDOM),
    (f'{{\\"api_key\\": \\"{RANDOM}\\"}}', RANDOM),
    (f"spring.datasource.password={PASSWORD}", PASSWORD),
    ("db:\n  password: hunter" + "2\n  host: db", "hunter" + "2"),
    (f"- name: DB_PASSWORD\n  value: {PASSWORD}\n", PASSWORD),
    (f'{{"name": "API_TOKEN", "value": "{RANDOM}"}}', RANDOM),
    (f'<add key="ApiKey" value="{RANDOM}" />', RANDOM),
    (f"<password>{PASSWORD}</password>", PASSWORD),
    (f"//registry.npmjs.org/:_authToken={RANDOM}", RANDOM),
    (f'const clientSecret: string = "{RANDOM}";', RANDOM),
    (f"Server=db;User Id=sa;Password={PASSWORD};Encrypt=true", PASSWORD),
    (f"AccountName=x;AccountKey={RANDOM}{RANDOM}==;EndpointSuffix=y", f"{RANDOM}{RANDOM}=="),
    (f"host=db user=me password={PASSWORD} dbname=x", PASSWORD),
    (f"jdbc:mysql://db/x?user=me&password={PASSWORD}", PASSWORD),
    (f'os.environ["DB_PASSWORD"] = "{PASSWORD}"', PASSWORD),
    (f'os.getenv("API_TOKEN", "{RANDOM}")', RANDOM),
    (f'12\tAPI_TOKEN="{RANDOM}"', RANDOM),
    (f"src/settings.py:3:API_TOKEN='{RANDOM}'", RANDOM),
    (f"+DB_PASSWORD={PASSWORD}", PASSWORD),
    (f"machine example.org login me password {PASSWORD}\n", PASSWORD),
    (f"postgres://me:{PASSWORD}@db/x", PASSWORD),
    (f"https://hooks.slack.com/services/T0/{RANDOM}", f"T0/{RANDOM}"),
    (f'token := "{RANDOM}"', RANDOM),
    (f"curl --token={RANDOM} x", RANDOM),
    (f'if password == "{PASSWORD}":', PASSWORD),
    (f'"cookie_key": "{RANDOM}{RANDOM}"', RANDOM + RANDOM),
]


@pytest.mark.parametrize(("text", "secret"), HOLDERS, ids=[text.strip()[:24] for text, _ in HOLDERS])
def test_given_values_are_masked_and_nothing_else_is(text: str, secret: str) -> None:
    redactor = Redactor([])
    masked = redactor.redact(text)
    before, after = text.split(secret)
    assert masked.startswith(before), masked
    assert masked.endswith(after), masked
    assert PLACEHOLDER.fullmatch(masked[len(before) : len(masked) - len(after)]), masked
    assert redactor.restore(masked) == text
    assert redactor.redact(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        # Lock files.
        '"integrity": "sha512-Z9LaBDTI0x1fSGn1kY8i+5qU5wTn0zH3tG0lU2Jr4ZSgQq1oGFVPnXrB0TKAW9VQk0FQAh6nTqQm=="',
        'content-hash = "2f1a6a3a2bf5a4c1c4b0a4c3a0a5f5b0f8f2e0f6c9d7c5a3b1e0d9c8b7a69584"',
        'checksum = "d41d8cd98f00b204e9800998ecf8427ed41d8cd98f00b204e9800998ecf8427e"',
        '{ url = "https://x.org", hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f" }',
        "golang.org/x/net v0.1.0 h1:hZ/3BUoy5aId7sCpA/Tc5lt8DkFgdVS2onTpJsZ/fl0=",
        "yarl==1.9.4 --hash=sha256:566db86717cf8080b99b58b083b773a908ae40f06681e87e589a976faf8246bf",
        # Ids.
        'id: "550e8400-e29b-41d4-a716-446655440000"',
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "image@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "uses: actions/checkout@b4ffde65f46336ab88eb53be808477a3936bae11",
        # Examples.
        "API_KEY=your-api-key",
        "OPENAI_API_KEY=sk-your-key-here-with-2-numbers",
        'api_key = "YOUR_API_KEY_1234567890"',
        "DB_PASSWORD=changeme",
        "DB_PASSWORD=<password>",
        "POSTGRES_PASSWORD=postgres",
        "password: ${DB_PASSWORD}",
        "password: {{ vault_password1 }}",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "API_TOKEN=$(cat /run/secrets/token1)",
        "postgres://user:${PASSWORD}@db/x",
        'SECRET_KEY = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"',
        # Programs.
        "password = get_password(user1)",
        "password: str = Field(min_length=8)",
        "token = tokens[index2]",
        "self.token = token2",
        "api_key = os.environ['OPENAI_API_KEY']",
        "api_key=settings.api_key2, timeout=30",
        "def login(password: Secret32, token: Token2) -> None:",
        'TOKEN_URL = "https://auth.example.org/oauth2/v2/token"',
        'password_field = "current-password"',
        'raise ValueError("wrong password: enter 8 characters or more")',
        "max_tokens=4096, token_count: 128000",
        'SECRET_NAME = "prod/db/main-password-1"',
        'PASSWORD_HASH = "$2b$12$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"',
        'key = "user:profile:v2"',
        '"key": "ArrowLeft"',
        "PUBLIC_KEY=pk1Aa2Bb3Cc4Dd5Ee6Ff7Gg8",
        'token_type = "bearer"',
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8s1kQ2LmN4vXw7RtY1uABCDEFGHIJKLMNOPQRSTUVWX me@host",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUZx1k9F3mYk1n0d2mYp4n8S0m1m8wCgYIK\n-----END CERTIFICATE-----",
        "keyboard: qwerty123, keyframes: fade2in, monkey=Banana1Split2",
        "tokenizer = Tokenizer2(vocab)",
        "secretary: MissMoneypenny1962",
    ],
)  # fmt: skip
def test_what_a_model_must_see_stays(text: str) -> None:
    assert Redactor([]).redact(text) == text


def test_a_found_secret_is_masked_wherever_it_stands() -> None:
    redactor = Redactor([])
    redactor.learn(f"DB_PASSWORD={PASSWORD}\nPOSTGRES_USER=shop\n")
    masked = redactor.redact(f"connecting as shop with {PASSWORD}")
    assert re.fullmatch(rf"connecting as shop with {PLACEHOLDER.pattern}", masked)


def test_a_word_that_somebody_chose_as_password_stays_a_word_elsewhere() -> None:
    redactor = Redactor([])
    redactor.learn("DB_PASSWORD=sword" + "fish\n")
    assert redactor.redact("a swordfish is a fish") == "a swordfish is a fish"


def private_key(lines: int = 6) -> str:
    body = [f"{number}MIIE" + "aB3/" * 14 + "xyz" for number in range(lines)]
    return "\n".join(["-----BEGIN RSA " + "PRIVATE KEY-----", *body, "-----END RSA " + "PRIVATE KEY-----"])


@pytest.mark.parametrize("sign", ["+", "-", " ", "  ", "> "])
def test_a_private_key_in_a_diff_or_a_quotation_is_masked(sign: str) -> None:
    text = "\n".join(sign + line for line in private_key().split("\n"))
    redactor = Redactor([])
    masked = redactor.redact(f"before\n{text}\nafter")
    assert "MIIE" not in masked
    assert masked.endswith("\nafter")
    assert redactor.restore(masked) == f"before\n{text}\nafter"


def test_a_line_of_a_private_key_that_was_seen_is_masked_alone() -> None:
    redactor = Redactor([])
    key = private_key()
    redactor.learn(key)
    for line in key.split("\n")[1:-1]:
        assert PLACEHOLDER.fullmatch(redactor.redact(line))


def test_another_process_finds_the_secret_of_a_placeholder_again() -> None:
    masked = Redactor([], b"session").redact(f"DB_PASSWORD={PASSWORD}\n")
    later = Redactor([], b"session")
    assert later.restore(masked) == masked
    asked: list[int] = []

    def lookup() -> list[str]:
        asked.append(1)
        return ["nothing", f"DB_PASSWORD={PASSWORD}\nmore\n"]

    later = Redactor([], b"session")
    later.lookup = lookup
    assert later.restore(masked) == f"DB_PASSWORD={PASSWORD}\n"
    assert later.restore("[secret:0123456789abcdef]") == later.restore("[secret:0123456789abcdef]")
    assert later.restore(masked) == f"DB_PASSWORD={PASSWORD}\n"
    assert len(asked) == 2, "a placeholder of nobody's is looked for once"


holders = st.sampled_from([text for text, _ in HOLDERS] + [secret for _, secret in HOLDERS] + [private_key(2)])
pieces = holders | st.sampled_from(
    ["\n", " ", "=", '"', "'", "password", "token: ", "_KEY=", "\\n", "\u0130", "[secret:"]
)
mixed = st.lists(pieces | st.text(max_size=4), max_size=9).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(mixed, min_size=1, max_size=3))
def test_masking_is_idempotent_and_reversible_and_stays_so(texts: list[str]) -> None:
    redactor = Redactor([PASSWORD])
    masked = [redactor.redact(text) for text in texts]
    for text, hidden in zip(texts, masked, strict=True):
        assert redactor.restore(hidden) == text
        assert PASSWORD not in hidden
        again = redactor.redact(hidden)
        assert redactor.restore(again) == text
        assert redactor.redact(again) == again


@settings(max_examples=300, deadline=None)
@given(mixed)
def test_one_text_is_masked_at_once(text: str) -> None:
    redactor = Redactor([])
    masked = redactor.redact(text)
    assert redactor.redact(masked) == masked
    assert redactor.restore(masked) == text


@pytest.mark.parametrize(
    "text",
    [
        "password=" * 60_000,
        'token: "' * 60_000,
        "secret" + ", " * 300_000,
        "api_key: str | " * 40_000,
        f"API_TOKEN={RANDOM}\n" * 20_000,
        "".join(f"TOKEN_{number}=a1B2c3D4e5{number}\n" for number in range(20_000)),
        f"ghp_{'a1B2' * 9}" * 15_000,
        "-----BEGIN PRIVATE " + "KEY-----\n" + "aB3/" * 100_000,
        "login " * 100_000,
    ],
    ids=["names", "quotes", "commas", "annotations", "same", "many", "glued", "key", "login"],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    def work(size: int) -> int:
        """The processor time of this thread, in nanoseconds: what a slow pattern takes."""
        began = time.thread_time_ns()
        Redactor([]).redact(text[:size])
        return time.thread_time_ns() - began

    work(len(text) // 8)
    assert work(len(text)) < 30 * max(work(len(text) // 8), 20_000_000)
