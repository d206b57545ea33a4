"""Keeps secrets out of logs, events, prompts and messages.

Each secret is replaced by a placeholder such as ``[secret:1a2b3c4d]`` that stands for the same secret every time, so
that a model can move it around and :meth:`Redactor.restore` puts the secret back where a file is written.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

from backspace_tui.core.secret_forms import KEY_BEGIN, PLACEHOLDER, assigned, key_end, key_lines, tokens

MIN_LENGTH: Final = 4
"""Shorter known secrets are not masked: they would black out half of every text."""

MAX_KNOWN: Final = 1_000
"""How many secrets that were found in texts are masked in other texts too; a text made of nothing else is hostile."""


class Redactor:
    """Masks known secrets, whatever has the form of a well-known kind of secret, and what telling names are given.

    ``secrets`` are masked wherever they stand, also percent-encoded, in base64 and as JSON writes them; so is what was
    found once, as far as it cannot be an ordinary word. ``salt`` (a session's id, say) keys the placeholders: with the
    same salt, they are the same in another process.

    ``lookup``, where set, gives texts in which the secret of a placeholder may stand that this redactor has not made:
    another process with the same salt has.
    """

    def __init__(self, secrets: Iterable[str], salt: bytes = b"") -> None:
        self.lookup: Callable[[], Iterable[str]] | None = None
        self._salt = hashlib.sha256(salt).digest()
        self._values: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._unknown: set[str] = set()
        known = {form for secret in secrets for form in _spellings(secret.strip())}
        self._known = dict.fromkeys(sorted(known))
        for form in self._known:
            self._name(form)

    def redact(self, text: str) -> str:
        """``text`` with placeholders for its secrets; redacting twice is redacting once."""
        masked = self._once(text)
        # A secret glued to the one before it shows as one only after that is masked, so look again until all is.
        while masked != text:
            text = masked
            masked = self._once(text)
        return text

    def learn(self, text: str) -> None:
        """Find the secrets of ``text``, to mask them elsewhere and to put them back."""
        self.redact(text)

    def restore(self, text: str) -> str:
        """``text`` with the secrets this redactor has masked in the place of their placeholders.

        Placeholders that it never made, and whose secret is nowhere to be found, stay as they are.
        """
        missing = {name for name in PLACEHOLDER.findall(text) if name not in self._values} - self._unknown
        if missing and self.lookup is not None:
            for other in self.lookup():
                self.learn(other)
                if missing <= self._values.keys():
                    break
            self._unknown |= missing - self._values.keys()
        return self._put_back(text)

    def _put_back(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda found: self._values.get(found.group(), found.group()), text)

    def _once(self, text: str) -> str:
        text = self._without_values(self._without_keys(text))
        present = [secret for secret in list(self._known) if secret in text]
        if present:
            text = _either(present).sub(self._mask, text)
        found = tokens(text, text.lower())
        return text if found is None else found.sub(self._mask, text)

    def _without_values(self, text: str) -> str:
        parts, at = [], 0
        for start, end, telling in assigned(text, low if len(low := text.lower()) == len(text) else _lower(text)):
            if telling:
                self._remember(text[start:end])
            parts += [text[at:start], self._name(text[start:end])]
            at = end
        return "".join([*parts, text[at:]])

    def _remember(self, secret: str) -> None:
        if secret not in self._known and len(self._known) < MAX_KNOWN:
            self._known.update(dict.fromkeys(sorted(_spellings(self._put_back(secret)))))

    def _without_keys(self, text: str) -> str:
        parts, at = [], 0
        while found := KEY_BEGIN.search(text, at):
            end = key_end(text, found.end())
            if end:
                block = self._put_back(text[found.start() : end])
                for line in key_lines(block):
                    self._remember(line)
                parts += [text[at : found.start()], self._name(block)]
            else:
                parts.append(text[at : found.end()])
            at = end or found.end()
        return "".join([*parts, text[at:]])

    def _mask(self, found: re.Match[str]) -> str:
        text = found.group()
        if found.lastgroup is not None:
            secret = found.group(found.lastgroup)
            # Named groups stand at the end of their form, before lookaheads alone.
            return text[: len(text) - len(secret)] + self._name(secret)
        return text if PLACEHOLDER.fullmatch(text) else self._name(text)

    def _name(self, secret: str) -> str:
        # A key block may hold a known secret that is masked already.
        secret = self._put_back(secret)
        if secret in self._names:
            return self._names[secret]
        digest = hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=self._salt).hexdigest()
        length = 8
        while (name := f"[secret:{digest[:length]}]") in self._values:
            length += 1
        self._names[secret] = name
        self._values[name] = secret
        return name


def _either(secrets: Iterable[str]) -> re.Pattern[str]:
    """Any of ``secrets``, or a placeholder, which is none."""
    # The longest first, so that no part of a secret that contains another is left standing.
    forms = sorted(secrets, key=lambda form: (-len(form), form))
    return re.compile(f"{PLACEHOLDER.pattern}|(?:{'|'.join(map(re.escape, forms))})")


def _lower(text: str) -> str:
    """Small letters, as many as there were letters: some of other scripts become two."""
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


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
