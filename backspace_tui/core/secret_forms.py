"""What secrets look like: tokens of well-known kinds, private keys, and values that are given to a telling name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

PLACEHOLDER: Final = re.compile(r"\[secret:[0-9a-f]{8,64}\]")

# Every form starts where no word goes on and has bounded or exclusive repeats: time is linear in the text. Possessive
# repeats of groups are not used: Python 3.11.2, which Debian 12 has, misses matches of them. Before each stand the
# words (in small letters too, where it takes either) of which it needs one: most texts hold none.
_TOKENS: Final = (
    (("sk-",), r"(?<![\w-])sk-(?=[A-Za-z_-]{0,200}\d)(?![\w-]{0,20}(?i:your|xxxx))[\w-]{20,}+"),
    (("k_live_", "k_test_"), r"(?<![\w-])[sr]k_(?:live|test)_[A-Za-z0-9]{16,}+"),
    (("whsec_",), r"(?<![\w-])whsec_[A-Za-z0-9+/=]{24,}+"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(?<![\w-])gh[pousr]_[A-Za-z0-9]{30,}+"),
    (("github_pat_",), r"(?<![\w-])github_pat_\w{22,}+"),
    (("glpat-", "glrt-", "glptt-", "gldt-"), r"(?<![\w-])gl(?:pat|rt|ptt|dt)-[\w-]{20,}+"),
    (("gsk_",), r"(?<![\w-])gsk_[A-Za-z0-9]{30,}+"),
    (("hf_",), r"(?<![\w-])hf_[A-Za-z0-9]{30,}+"),
    (("npm_",), r"(?<![\w-])npm_[A-Za-z0-9]{36,}+"),
    (("pypi-AgE",), r"(?<![\w-])pypi-AgE[\w-]{50,}+"),
    (("dckr_",), r"(?<![\w-])dckr_(?:pat|oat)_[\w-]{20,}+"),
    (("_v1_",), r"(?<![\w-])(?:dop|doo|dor)_v1_[0-9a-f]{64}(?![\w-])"),
    (("shpat_", "shpca_", "shppa_", "shpss_"), r"(?<![\w-])shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}(?![\w-])"),
    (("lin_api", "xai", "r8"), r"(?<![\w-])(?:lin_api|xai|r8)[_-](?=[A-Za-z]{0,200}\d)[A-Za-z0-9]{32,}+"),
    (("hvs.", "hvb.", "hvr."), r"(?<![\w.-])hv[sbr]\.[\w-]{24,}+"),
    (("SG.",), r"(?<![\w.-])SG\.[\w-]{16,40}\.[\w-]{30,}+"),
    (("ya29.",), r"(?<![\w.-])ya29\.[\w-]{30,}+"),
    (("GOCSPX-",), r"(?<![\w-])GOCSPX-[\w-]{20,}+"),
    (("AGE-SECRET-KEY-1",), r"(?<![\w-])AGE-SECRET-KEY-1[A-Z0-9]{50,}+"),
    ((":AA",), r"(?<![\w:-])\d{8,10}:AA[\w-]{33}(?![\w-])"),
    (("AKIA", "ASIA"), r"(?<![\w-])A(?:KI|SI)A[A-Z0-9]{16}(?![\w-])"),
    (("xox",), r"(?<![\w-])xox[abeoprs]-[A-Za-z0-9-]{10,}+"),
    (("xapp-",), r"(?<![\w-])xapp-[A-Za-z0-9-]{10,}+"),
    (("AIza",), r"(?<![\w-])AIza[\w-]{35}(?![\w-])"),
    # A JSON Web Token.
    (("eyJ",), r"(?<![\w-])eyJ[\w-]{10,}+\.eyJ[\w-]{10,}+\.[\w-]{10,}+"),
    (("hooks.slack.com/",), r"(?<=hooks\.slack\.com/services/)(?P<slack>[\w/]{20,}+)"),
    (("/api/webhooks/",), r"(?<=/api/webhooks/)(?P<discord>\d{17,20}/[\w-]{40,}+)"),
    (
        ("secret_access_key",),
        r"(?i:(?<=secret_access_key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)(?P<aws>[A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])",
    ),
    (
        ("authorization",),
        r"(?i:(?<=authorization)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer|basic|token)\s{1,4})(?P<header>[\w.~+/=-]{8,}+)",
    ),
    # A URL's password, or a user long enough to be a token. Templates such as ${TOKEN} are none.
    (("://",), r"(?<=://)(?:[^\s/@:\[\]{}<>$\"']{0,200}+:)(?P<password>[^\s/@\[\]{}<>$\"']{1,500}+)(?=@)"),
    (("://",), r"(?<=://)(?P<user>[\w.~%-]{16,500}+)(?=@)"),
    # A line of .netrc.
    (("login ",), r"(?<=login )(?:[^\s\[\]]{1,200}+\s{1,4}password\s{1,4})(?P<netrc>[^\s\[\]]{4,200}+)(?=\s|$)"),
)


def tokens(text: str, low: str) -> re.Pattern[str] | None:
    """What finds the tokens in ``text``, and placeholders, which are none; ``None`` where there can be no token.

    ``low`` is the text in small letters. A named group holds the secret where it is not the whole match.
    """
    wanted = tuple(form for words, form in _TOKENS if any(word in text or word in low for word in words))
    return _union(wanted) if wanted else None


@lru_cache(maxsize=256)
def _union(forms: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(f"{PLACEHOLDER.pattern}|(?:{'|'.join(forms)})")


# Private keys.

_KEY_LABEL: Final = r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
KEY_BEGIN: Final = re.compile(f"-----BEGIN {_KEY_LABEL}")
_KEY_END: Final = re.compile(f"-----END {_KEY_LABEL}")
_KEY_LIMIT: Final = 20_000
_KEY_HEADER: Final = re.compile(r"\s{0,2}[A-Za-z-]{1,40}: [^\n]{0,200}")
_KEY_LINE: Final = re.compile(r"(?:\s|\\[nr])*[A-Za-z0-9+/=]{40,}")
_KEY_REST: Final = re.compile(r"(?:\s|\\[nr]){0,4}[A-Za-z0-9+/=]{1,76}")
_KEY_BODY: Final = re.compile(r"[A-Za-z0-9+/=]{40,}")


def key_end(text: str, start: int) -> int:
    """Where a private key block ends whose first line ends at ``start``; 0 where none stands there.

    One without its last line (a clipped output) goes as far as its base64 does.
    """
    next_block = text.find("-----BEGIN", start, start + _KEY_LIMIT)
    if found := _KEY_END.search(text, start, next_block if next_block >= 0 else start + _KEY_LIMIT):
        return found.end()
    at = start
    while header := _KEY_HEADER.match(text, at):
        at = header.end()
    body = at
    while line := _KEY_LINE.match(text, at):
        at = line.end()
    if at == body:
        return 0
    rest = _KEY_REST.match(text, at)
    return rest.end() if rest else at


def key_lines(block: str) -> list[str]:
    """The lines of a private key that are secret wherever they stand alone."""
    return _KEY_BODY.findall(block)


# Values that are given to a telling name

_PASSWORD, _KEY, _WEAK = "password", "key", "weak"
_STEMS: Final = {
    "password": _PASSWORD, "passwd": _PASSWORD, "passphrase": _PASSWORD, "passcode": _PASSWORD, "pwd": _PASSWORD,
    "pass": _PASSWORD, "secret": _KEY, "token": _KEY, "credential": _KEY, "credentials": _KEY, "auth": _KEY,
    "key": _KEY, "salt": _WEAK, "cookie": _WEAK, "session": _WEAK, "hmac": _WEAK,
}  # fmt: skip
_ALONE: Final = ("pass", "auth")
_STRONG_KEY: Final = re.compile(
    r"(?:api|app|access|auth|account|private|signing|encryption|master|license|service|storage|shared)[_-]?\Z"
)
_SUFFIX: Final = (
    r"(?i:[_-]?(?:key|value|base|prod(?:uction)?|dev|test|staging|live|main|primary|secondary|default|old|new|root|admin"
    r"|\d{1,3})(?![a-z])){0,3}(?![A-Za-z0-9_])"
)
_BETWEEN: Final = (
    r"\\{0,3}[\"'`]?\]?\)?"
    r"(?:(?P<wide>\s{0,4}(?::\s{0,2}[A-Za-z_][\w.\[\] |]{0,30}?\s{0,4}(?==))?(?::=|=>|={1,3}|:)\s{0,4})"
    r"|(?P<item>[\s,]{0,80}[\"']?value[\"']?\s{0,4}[:=]\s{0,4})"
    r"|(?P<listed>\s{0,4},\s{0,4}(?=[\"']))"
    r"|(?P<element>>))"
)
_VALUE: Final = (
    r"[rbu]?(?:\"(?P<double>(?:[^\"\n\\]|\\[^\n]){6,512})\"|'(?P<single>(?:[^'\n\\]|\\[^\n]){6,512})'"
    r"|`(?P<back>[^`\n]{6,512})`|\\{1,3}[\"'](?P<escaped>[^\"'\n\\]{6,512})\\{1,3}[\"']"
    r"|(?P<bare>[^\s\"'`,;&<>(){}\[\]$|\\]{6,512}(?=[\s\"'`,;&<>|)}\]\\]|$)))"
)
_GIVEN: Final = re.compile(_SUFFIX + _BETWEEN + _VALUE)

_NOT_NAMES: Final = re.compile(
    r"public|pub_|example|next|page|continuation|max|min|num|(?<!ac)count|hash|digest|field|column|label|header|type|name$",
    re.IGNORECASE,
)
_EXAMPLE: Final = re.compile(
    r"(?i:your|example|change[_ -]?(?:me|it|this)|place[_-]?holder|dummy|fake|redacted|replace|insert|to_?do|x{4,}"
    r"|\*{3,}|\.{3}|\bnone\b|\bnull\b|\btrue\b|\bfalse\b|undefined)|[$%]\{|\{\{|%\(|^\$|<\w|^(.)\1*$"
)
_REFERENCE: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//|[./~]{1,2}/|/\w|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|sha\d{1,3}[-:]|[\w./-]+\.(?:pem|key|crt"
    r"|json|ya?ml|toml|txt|env|py|js|ts|go|rs|md)$|(?:process|os|secrets|env|vars|settings|config|self|this)\."
)
_COMMON: Final = {
    "postgres", "postgresql", "mysql", "mariadb", "password", "passwd", "admin", "administrator", "root", "guest",
    "secret", "default", "required", "optional", "string", "unknown", "disabled", "enabled", "bcrypt", "argon2",
    "argon2id", "scrypt", "sha256", "sha512", "base64", "bearer", "basic",
}  # fmt: skip
_PART: Final = re.compile(r"[A-Za-z0-9]+")
_CLASS: Final = re.compile(r"[a-z]+|[A-Z]+|[0-9]+")
_NAME_BEFORE: Final = re.compile(r"[\w-]{0,60}\Z")
_NAME_AFTER: Final = re.compile(r"[\w-]{0,60}")
_CODE: Final = re.compile(r"pass|pwd|token|secret|key|hash|input|raw|user|cred|auth", re.IGNORECASE)


class Found(NamedTuple):
    """A value that is secret: where it stands, and whether it is telling enough to be masked elsewhere too."""

    start: int
    end: int
    telling: bool


def assigned(text: str, low: str) -> Iterator[Found]:
    """The secret values that ``text`` gives to names such as ``DB_PASSWORD`` or ``"api_key"``.

    ``low`` is the text in small letters, as long as the text.
    """
    at = 0
    for start, end, kind in _stems(low):
        if start < at:
            continue
        found = _GIVEN.match(text, end)
        if found is not None and _is_secret(text, start, found, kind):
            first, at = found.span(found.lastgroup or 0)
            yield Found(first, at, telling(text[first:at]))


def _stems(low: str) -> list[tuple[int, int, str]]:
    """Where a name stands or ends that tells of a secret, and what kind of."""
    found = []
    for stem, kind in _STEMS.items():
        at = low.find(stem)
        while at >= 0:
            end = at + len(stem)
            before = low[max(0, at - 12) : at]
            if stem == "key" and not _STRONG_KEY.search(before):
                if not before[-1:].isalpha():
                    found.append((at, end, _WEAK))
            elif stem not in _ALONE or before[-1:] in ("_", "-"):
                found.append((at, end, kind))
            at = low.find(stem, end)
    return sorted(found)


def telling(value: str) -> bool:
    """Whether a value is so much its own that it is the same secret wherever it stands."""
    return len(value) >= 16 or (len(value) >= 8 and any(map(str.isdigit, value)) and _changes(value) >= 3)


def _is_secret(text: str, start: int, found: re.Match[str], kind: str) -> bool:
    group = found.lastgroup or ""
    value = found.group(group)
    if PLACEHOLDER.search(value) or (text[start - 1 : start] == "[" and PLACEHOLDER.match(text, start - 1)):
        return False
    if _EXAMPLE.search(value) or value.lower() in _COMMON or _REFERENCE.match(value):
        return False
    name = _identifier(text, start)
    if _NOT_NAMES.search(name):
        return False
    separator = found.group("wide") or ""
    settings = group == "bare" and separator == "=" and name.isupper()
    if kind == _WEAK:
        return len(value) >= 24 and _changes(value) >= len(value) // 4 and not re.fullmatch(r"[0-9a-fA-F-]+", value)
    if kind == _PASSWORD:
        return settings or _is_password(text, found, group, value, separator)
    if settings:
        return len(value) >= 8 and not value.isdigit()
    return len(value) >= 8 and is_random(value) and not (group == "bare" and _is_code(text, found, value))


def _identifier(text: str, at: int) -> str:
    """The whole name around ``at``."""
    before, after = _NAME_BEFORE.search(text[max(0, at - 60) : at]), _NAME_AFTER.match(text, at)
    assert before is not None
    assert after is not None
    return before.group() + after.group()


def _is_password(text: str, found: re.Match[str], group: str, value: str, separator: str) -> bool:
    digits = any(map(str.isdigit, value))
    if group != "bare":
        # Sentences and plain words are labels and messages.
        return digits or bool(re.search(r"[!#%^&*+=?@~|]", value) and " " not in value)
    if not digits and not re.search(r"[!#%^*+=?@~]", value):
        return False
    if found.group("element") or is_random(value):
        return not _is_code(text, found, value)
    ends = text[found.end() : found.end() + 1] in ("", "\n", ";", "&", " ", "\r")
    return ends and bool(separator) and not _CODE.search(value)


def _is_code(text: str, found: re.Match[str], value: str) -> bool:
    """Whether a value without quotes is an expression of a program."""
    return text[found.end() : found.end() + 1] in ("(", "[", "{") or bool(
        re.fullmatch(r"[A-Za-z_]\w*", value) and _CODE.search(value)
    )


def is_random(value: str) -> bool:
    """Whether nobody would choose ``value`` as a word or as a name."""
    if " " in value:
        return False
    longest = max((len(part) for part in _PART.findall(value)), default=0)
    return _changes(value) >= 4 or (longest >= 20 and (value.islower() or value.isdigit()) and "_" not in value)


def _changes(value: str) -> int:
    """How often the kind of character changes within the words of ``value``; a capital that begins one is none."""
    changes = 0
    for part in _PART.findall(value):
        runs = _CLASS.findall(part)
        capitals = sum(one.isupper() and len(one) == 1 and two.islower() for one, two in pairwise(runs))
        words = sum(one.islower() and two.isupper() for one, two in pairwise(runs))
        if re.search(r"\d", part):
            changes += len(runs) - 1
        else:
            # camelCase is a name; capitals in other places are not.
            changes += max(0, len(runs) - 1 - capitals - min(words, capitals))
    return changes
