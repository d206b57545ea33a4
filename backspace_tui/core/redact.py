"""Keeps secrets out of logs, events, prompts and messages.

Each secret is replaced by a placeholder such as ``[secret:1a2b3c4d]`` that stands for the same secret every time, so
that a model can move it around and :meth:`Redactor.restore` puts the secret back where a file is written.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MIN_LENGTH: Final = 4
"""Shorter known secrets are not masked: they would black out half of every text."""

_PLACEHOLDER = re.compile(r"\[secret:[0-9a-f]{8,64}\]")

_KEY_LABEL: Final = r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_KEY_BEGIN: Final = re.compile(f"-----BEGIN {_KEY_LABEL}")
_KEY_END: Final = re.compile(f"-----END {_KEY_LABEL}")
_KEY_LIMIT: Final = 20_000
_KEY_HEADER: Final = re.compile(r"\s{0,2}[A-Za-z-]{1,40}: [^\n]{0,200}")
_KEY_LINE: Final = re.compile(r"(?:\s|\\[nr])*[A-Za-z0-9+/=]{40,}")
_KEY_REST: Final = re.compile(r"(?:\s|\\[nr]){0,4}[A-Za-z0-9+/=]{1,76}")

# Every form starts where no word goes on and has bounded or exclusive repeats: time is linear in the text. Possessive
# repeats of groups are not used: Python 3.11.2, which Debian 12 has, misses matches of them.
_FORMS: Final = (
    r"(?<![\w-])sk-(?=[A-Za-z_-]{0,200}\d)[\w-]{20,}+",
    r"(?<![\w-])[sr]k_(?:live|test)_[A-Za-z0-9]{16,}+",
    r"(?<![\w-])gh[pousr]_[A-Za-z0-9]{30,}+",
    r"(?<![\w-])github_pat_\w{22,}+",
    r"(?<![\w-])glpat-[\w-]{20,}+",
    r"(?<![\w-])gsk_[A-Za-z0-9]{30,}+",
    r"(?<![\w-])hf_[A-Za-z0-9]{30,}+",
    r"(?<![\w-])npm_[A-Za-z0-9]{36,}+",
    r"(?<![\w-])pypi-AgE[\w-]{50,}+",
    r"(?<![\w-])A(?:KI|SI)A[A-Z0-9]{16}(?![\w-])",
    r"(?<![\w-])xox[abeoprs]-[A-Za-z0-9-]{10,}+",
    r"(?<![\w-])xapp-[A-Za-z0-9-]{10,}+",
    r"(?<![\w-])AIza[\w-]{35}(?![\w-])",
    # A JSON Web Token.
    r"(?<![\w-])eyJ[\w-]{10,}+\.eyJ[\w-]{10,}+\.[\w-]{10,}+",
    r"(?i:(?<=secret_access_key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)(?P<aws>[A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])",
    r"(?i:(?<=authorization)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer|basic|token)\s{1,4})(?P<header>[\w.~+/=-]{8,}+)",
    # A URL's password, or a user long enough to be a token. Templates such as ${TOKEN} are none.
    r"(?<=://)(?:[^\s/@:\[\]{}<>$\"']{0,200}+:)(?P<password>[^\s/@\[\]{}<>$\"']{1,500}+)(?=@)",
    r"(?<=://)(?P<user>[\w.~%-]{16,500}+)(?=@)",
)
_SECRET_FORM = re.compile(f"{_PLACEHOLDER.pattern}|(?:{'|'.join(_FORMS)})")


class Redactor:
    """Masks known secrets, and whatever has the form of a well-known kind of secret.

    ``secrets`` are masked wherever they stand, also percent-encoded, in base64 and as JSON writes them. ``salt``
    (a session's id, say) keys the placeholders: with the same salt, they are the same in another process.
    """

    def __init__(self, secrets: Iterable[str], salt: bytes = b"") -> None:
        self._salt = hashlib.sha256(salt).digest()
        self._values: dict[str, str] = {}
        self._names: dict[str, str] = {}
        known = {form for secret in secrets for form in _spellings(secret.strip())}
        self._known: re.Pattern[str] | None = None
        if known:
            # The longest first, so that no part of a secret that contains another is left standing.
            either = "|".join(re.escape(form) for form in sorted(known, key=lambda form: (-len(form), form)))
            self._known = re.compile(f"{_PLACEHOLDER.pattern}|(?:{either})")
            for form in sorted(known):
                self._name(form)

    def redact(self, text: str) -> str:
        """``text`` with placeholders for its secrets; redacting twice is redacting once."""
        if self._known is not None:
            text = self._known.sub(self._mask, text)
        # A secret glued to the one before it shows as one only after that is masked, so look again until all is.
        text = self._without_keys(text)
        while (masked := self._without_keys(_SECRET_FORM.sub(self._mask, text))) != text:
            text = masked
        return text

    def restore(self, text: str) -> str:
        """``text`` with the secrets this redactor has masked in the place of their placeholders.

        Placeholders that it never made stay as they are.
        """
        return _PLACEHOLDER.sub(lambda found: self._values.get(found.group(), found.group()), text)

    def _without_keys(self, text: str) -> str:
        parts, at = [], 0
        while found := _KEY_BEGIN.search(text, at):
            end = _key_end(text, found.end())
            parts += (
                [text[at : found.start()], self._name(text[found.start() : end])] if end else [text[at : found.end()]]
            )
            at = end or found.end()
        return "".join([*parts, text[at:]])

    def _mask(self, found: re.Match[str]) -> str:
        text = found.group()
        if found.lastgroup is not None:
            secret = found.group(found.lastgroup)
            # Named groups stand at the end of their form, before lookaheads alone.
            return text[: len(text) - len(secret)] + self._name(secret)
        return text if _PLACEHOLDER.fullmatch(text) else self._name(text)

    def _name(self, secret: str) -> str:
        # A key block may hold a known secret that is masked already.
        secret = self.restore(secret)
        if secret in self._names:
            return self._names[secret]
        digest = hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=self._salt).hexdigest()
        length = 8
        while (name := f"[secret:{digest[:length]}]") in self._values:
            length += 1
        self._names[secret] = name
        self._values[name] = secret
        return name


def _key_end(text: str, start: int) -> int:
    """Where a private key block ends whose first line ends at ``start``; 0 where none stands there.

    One without its last line (a clipped output) goes as far as its base64 does.
    """
    closing = text.find("-----", start, start + _KEY_LIMIT)
    if closing >= 0 and (found := _KEY_END.match(text, closing)):
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


def _spellings(secret: str) -> set[str]:
    if len(secret) < MIN_LENGTH:
        return set()
    raw = secret.encode("utf-8", "surrogatepass")
    return {
        secret,
        quote(raw, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        base64.b64encode(raw).decode(),
    }
