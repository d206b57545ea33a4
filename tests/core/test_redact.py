"""Redactor: known secrets and secret forms go, come back on request, and nothing else is touched."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backspace_tui.core.redact import Redactor
from tests.growth import grows_linearly

PLACEHOLDER = re.compile(r"\[secret:[0-9a-f]{8}\]")
BODY = "\n".join(["MIIEowIBAAKCAQEA" + "x" * 48] * 5)
# Put together here so that no scanner takes the test for a leak.
BEGIN, END = "-----BEGIN RSA " + "PRIVATE KEY-----", "-----END RSA " + "PRIVATE KEY-----"
KEY_BLOCK = f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\n{BODY}\n{END}"

FORMS = [
    ("sk-ant-api03-" + "a1B2_" * 6, ""),
    ("sk-proj-" + "a1B2" * 8, ""),
    ("sk_live_" + "a1B2" * 6, ""),
    ("ghp_" + "a1B2" * 9, ""),
    ("ghs_" + "a1B2" * 9, ""),
    ("github_pat_" + "11AB_" * 6, ""),
    ("AKIA" + "IOSFODNN7EXAMPLE", ""),
    ("xoxb-" + "1234567890-abc", ""),
    ("AIza" + "a-B_c" * 7, ""),
    ("gsk_" + "a1B2" * 10, ""),
    ("hf_" + "aBcD" * 9, ""),
    ("eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c_-" * 8, ""),
    (KEY_BLOCK, ""),
    ("abcdef1234.x-y", "Authorization: Bearer "),
    ("dXNlcjpwYXNz", "authorization: Basic "),
    ("abcdef1234", '"Authorization": "token '),
    ("pw-123!", "https://user:"),
    ("a1B2" * 5, "https://"),
    ("a/B+" * 10, "aws_secret_access_key = "),
]


def surround(secret: str, before: str) -> str:
    after = "@host/path" if "://" in before else ""
    return f"see {before}{secret}{after} and more"


@pytest.mark.parametrize(("secret", "before"), FORMS, ids=[form[0][:8] + form[1][:6] for form in FORMS])
def test_known_forms_are_masked_and_restored(secret: str, before: str) -> None:
    redactor = Redactor([])
    text = surround(secret, before)
    masked = redactor.redact(text)
    assert secret not in masked
    assert PLACEHOLDER.search(masked)
    assert PLACEHOLDER.sub(secret.replace("\\", r"\\"), masked) == text
    assert redactor.restore(masked) == text
    assert redactor.redact(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn-some-long-identifier-name",
        "task-force-1234567890123456789012",
        "git@github.com:owner/repo.git ssh://git@github.com/owner/repo",
        "f'Authorization: Bearer {token}'  Authorization: Bearer $TOKEN",
        "postgres://user:${PASSWORD}@host/db http://localhost:8000/@x",
        "a" * 40 + " 0123456789abcdef0123456789abcdef01234567",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "[secret:12345678] was never made here",
    ],
)
def test_what_only_looks_alike_stays(text: str) -> None:
    redactor = Redactor(["unrelated-secret"])
    assert redactor.redact(text) == text
    assert redactor.restore(text) == text


def test_a_key_without_its_end_is_masked_as_far_as_it_goes() -> None:
    masked = Redactor([]).redact(f"{BEGIN}\n{BODY}\n\n[... 5 characters left out ...]")
    assert "MIIE" not in masked
    assert masked.endswith("[... 5 characters left out ...]")


def test_known_secrets_go_in_every_spelling() -> None:
    secret = 'p"q\\x/y z\u00e9'
    redactor = Redactor([secret, "", "  ", "abc"])
    encoded = base64.b64encode(secret.encode()).decode()
    text = f'{secret}|p%22q%5Cx%2Fy%20z%C3%A9|p\\"q\\\\x/y z\u00e9|{encoded}|abc'
    masked = redactor.redact(text)
    assert re.fullmatch(rf"(?:{PLACEHOLDER.pattern}\|){{4}}abc", masked)
    assert redactor.restore(masked) == text


def test_a_secret_within_another_does_not_leave_a_part() -> None:
    redactor = Redactor(["hunter2", "hunter2-and-more"])
    assert PLACEHOLDER.fullmatch(redactor.redact("hunter2-and-more"))


def test_placeholders_are_stable_and_keyed() -> None:
    one, two = Redactor(["hunter22"], b"session"), Redactor(["other", "hunter22"], b"session")
    assert one.redact("hunter22") == two.redact("x hunter22")[2:]
    assert one.redact("hunter22") == one.redact("hunter22")
    assert Redactor(["hunter22"], b"elsewhere").redact("hunter22") != one.redact("hunter22")


def test_a_known_secret_inside_a_key_block_comes_back() -> None:
    redactor = Redactor(["DEK-Info: AES"])
    assert redactor.restore(redactor.redact(KEY_BLOCK)) == KEY_BLOCK


pieces = st.sampled_from([surround(*form) for form in FORMS] + [form[0] for form in FORMS] + ["secret", "[secret:"])
mixed = st.lists(pieces | st.text(alphabet="ab1-_/:@=. \n[]", max_size=6), max_size=8).map("".join)


@settings(max_examples=300, deadline=None)
@given(mixed, st.lists(st.sampled_from(["secret", "ecre", "hunter22", "sk-a", "abcdef1234", "://u"]), max_size=3))
def test_redact_is_idempotent_and_reversible(text: str, secrets: list[str]) -> None:
    redactor = Redactor(secrets)
    masked = redactor.redact(text)
    assert redactor.redact(masked) == masked
    assert redactor.restore(masked) == text
    rest = PLACEHOLDER.sub("", masked)
    for secret in secrets:
        assert secret not in PLACEHOLDER.sub("\0", masked), rest


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        ("", f"{BEGIN}\n"),
        (BEGIN, "- "),
        ("", "sk-"),
        ("sk-", "a-"),
        ("://", "a:"),
        ("", "://a"),
        ("", "eyJaaaaaaaaaaa."),
        ("", "authorization: bearer "),
        (f"{BEGIN}\n", "a: b\n"),
    ],
    ids=["begin", "dashes", "sk", "sk-dashes", "colons", "urls", "jwt", "header", "key-headers"],
)
def test_hostile_text_takes_linear_time(begin: str, again: str) -> None:
    redactor = Redactor(["hunter22"])
    grows_linearly(redactor.redact, lambda size: begin + again * (size // len(again)), 100_000)
