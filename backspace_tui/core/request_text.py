"""Commit messages and pull requests: what was asked, what changed and why, how it was verified."""

from __future__ import annotations

import re
import textwrap
from typing import Final

import msgspec

SUBJECT_LIMIT: Final = 72
WHY_LIMIT: Final = 300


class ChangedFile(msgspec.Struct, frozen=True):
    """One accepted path: ``what`` is added, deleted or changed; ``why`` in the agent's words, may be empty."""

    path: str
    what: str
    added: int
    removed: int
    why: str = ""


class Work(msgspec.Struct, frozen=True):
    """What a request tells about; ``accepted`` and ``left_out`` count hunks. ``unseen``: nobody reviewed them."""

    prompts: tuple[str, ...]
    summary: str
    files: tuple[ChangedFile, ...]
    verdict: str
    command: str
    base_failed: bool
    accepted: int
    left_out: int
    models: tuple[str, ...]
    unseen: bool = False


def subject(work: Work) -> str:
    """The first line of the first prompt, cut at a word."""
    line = " ".join(work.prompts[0].split("\n", 1)[0].split()) or "Accepted changes"
    if len(line) <= SUBJECT_LIMIT:
        return line[:1].upper() + line[1:]
    cut = line[: SUBJECT_LIMIT - 3]
    return (cut[:1].upper() + cut[1:]).rsplit(" ", 1)[0] + "..."


def commit_message(work: Work) -> str:
    """Subject, the agent's summary, and what the tests say."""
    parts = [subject(work)]
    if work.summary:
        # In a commit message a number sign would refer to an issue, and may close it.
        parts.append(_wrap(re.sub(r"#(?=\d)", "no. ", work.summary)))
    parts.append(_verified(work))
    return "\n\n".join(part for part in parts if part) + "\n"


def title(work: Work) -> str:
    """The request's title: plain text, in which a forge makes no mention or reference of anything."""
    return subject(work)


def body(work: Work) -> str:
    """The request's body in Markdown. What others wrote stands in it as text: it mentions, closes and hides nothing."""
    asked = "\n\n".join(quote(prompt) for prompt in work.prompts)
    parts = [f"## What was asked\n\n{asked}"]
    if work.summary:
        parts.append(f"## What was done\n\n{quote(work.summary)}")
    parts.append("## Changes\n\n" + "\n".join(_file(file) for file in work.files))
    parts.append(f"## Verification\n\n{_verified(work, markdown=True)}")
    parts.append(f"## Review\n\n{_reviewed(work)}")
    return "\n\n".join(parts) + "\n"


def _file(file: ChangedFile) -> str:
    why = " ".join(file.why.split())
    if len(why) > WHY_LIMIT:
        why = why[: WHY_LIMIT - 3].rsplit(" ", 1)[0] + "..."
    counts = f"+{file.added} -{file.removed}"
    return f"- {code(file.path)} ({file.what}, {counts})" + (f": {harmless(why)}" if why else "")


def _verified(work: Work, *, markdown: bool = False) -> str:
    command = code(work.command) if markdown else f"`{work.command}`"
    match work.verdict:
        case "passes" if work.base_failed:
            return f"{command} passes on exactly the accepted changes; it failed before them."
        case "passes":
            return f"{command} passes on exactly the accepted changes."
        case "fails as before":
            return f"{command} fails on the accepted changes as it did before them; no test fails newly."
        case "newly fails":
            return f"{command} fails on the accepted changes; it did not before them."
        case _:
            return "Not verified: the project has no test command that was found or configured."


def _reviewed(work: Work) -> str:
    accepted = "1 hunk was" if work.accepted == 1 else f"{work.accepted} hunks were"
    left_out = "none was" if not work.left_out else "1 was" if work.left_out == 1 else f"{work.left_out} were"
    models = ", ".join(code(name) for name in work.models) or "an agent"
    how = "accepted automatically, without a review," if work.unseen else "accepted in review"
    return f"{accepted} {how} and {left_out} left out. The changes were proposed by {models}."


def quote(text: str) -> str:
    """Somebody's words as a Markdown quotation without power."""
    return "\n".join(f"> {harmless(line)}".rstrip() for line in text.strip().split("\n"))


def code(text: str) -> str:
    """Text as a Markdown code span on one line, whatever back quotes it holds."""
    line = " ".join(text.split("\n"))
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


_CODE_SPAN: Final = re.compile(r"((?<![`\\])`[^`\n]+`(?!`))")
_ACTIVE: Final = re.compile(r"[@#<>\[\]!`*_~|\\]|://|(?i:www\.)|\bGH-(?=\d)")


def harmless(text: str) -> str:
    """Text that Markdown shows as it is, but for code spans: it mentions, links, closes, embeds and hides nothing."""
    parts = _CODE_SPAN.split(text)
    return "".join(part if at % 2 else _ACTIVE.sub(_disarm, part) for at, part in enumerate(parts))


def _disarm(match: re.Match[str]) -> str:
    found = match[0]
    if found == "@":
        # A zero-width space would be invisible; the entity keeps the character and mentions nobody.
        return "&#64;"
    if found == "#":
        return "&#35;"
    if found == "<":
        return "&lt;"
    if found == ">":
        return "&gt;"
    if len(found) == 1:
        return "\\" + found
    return found[0] + "&#8203;" + found[1:] if found != "://" else "&#58;//"


def _wrap(text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(
        textwrap.fill(paragraph, 72, break_long_words=False, break_on_hyphens=False)
        if "\n" not in paragraph
        else paragraph
        for paragraph in paragraphs
    )
