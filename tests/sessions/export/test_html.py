"""The page: closed to the network and to its own content, and what a real browser shows of it."""

from __future__ import annotations

import base64
import hashlib
import html as entities
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from backspace_tui.core import events as ev
from backspace_tui.core.redact import Redactor
from backspace_tui.sessions.export.html import as_json, html
from backspace_tui.sessions.objects import Objects
from tests.conftest import missing
from tests.sessions.export.conftest import HOSTILE, SECRET
from tests.ui.sample import Sample


def page(sample: Sample, redactor: Redactor, title: str = "") -> str:
    with Objects(sample.repository.path) as objects:
        return html("the-id", title or f"a title {HOSTILE}", sample.log.events, objects, redactor)


def data(text: str) -> dict[str, list[list[object]]]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    value: dict[str, list[list[object]]] = json.loads(found)
    return value


def test_nothing_of_the_session_is_markup_and_nothing_is_loaded(sample: Sample, redactor: Redactor) -> None:
    text = page(sample, redactor)
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    assert SECRET not in text
    assert not re.search(r"""(?:src|href|url|import)\s*[=(]\s*["'(]?\s*(?:https?:)?//""", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    for kind, tag in (("script", r"<script>(.*?)</script>"), ("style", r"<style>(.*?)</style>")):
        (source,) = re.findall(tag, text, re.S)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy[1]
    assert as_json("</script><!--&") == '"\\u003c/script\\u003e\\u003c!--\\u0026"'


def test_the_story_has_every_step(sample: Sample, redactor: Redactor) -> None:
    story = data(page(sample, redactor))
    titles = [str(step[3]) for step in story["steps"]]
    assert titles[0].startswith("request: total ignores")
    assert "edit: shop/cart.py  +5 -5" in titles
    assert "exit code 3" in titles
    assert [step[0] for step in story["steps"]] == sorted({event.seq for event in sample.log.events} & {
        int(str(step[0])) for step in story["steps"]
    })  # fmt: skip
    ((when, changes),) = story["edits"]
    assert isinstance(when, int)
    assert titles[when].startswith("edit: shop/cart.py")
    assert isinstance(changes, list)
    assert {path for path, _ in changes} == {"shop/cart.py", "shop/tax.py", "tests/test_cart.py", "notes.md"}


def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        missing("no browser is installed: apt-get install chromium")
    return found or ""


def dump(file: Path, fragment: str, *options: str) -> str:
    """The page's document after its script ran, as a real browser has it."""
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={file.parent / 'profile'}", "--virtual-time-budget=10000", *options, "--dump-dom",
        f"{file.as_uri()}{fragment}",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def pane(document: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', document, re.S)
    assert found is not None
    return entities.unescape(re.sub(r"<[^>]+>", "", re.sub(r"</(pre|div|button)>", "\n", found[1])))


@pytest.mark.browser
def test_a_browser_steps_through(sample: Sample, redactor: Redactor, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(sample, redactor), "utf-8")
    titles = [str(step[3]) for step in data(file.read_text("utf-8"))["steps"]]
    first = dump(file, "")
    assert 'data-step="1"' in first
    assert "total ignores quantities" in pane(first, "thinking")
    assert "nothing is changed yet" in pane(first, "changes")
    assert "passed" not in pane(first, "output")
    number = titles.index("edit: shop/cart.py  +5 -5") + 1
    edited = dump(file, f"#step={number}")
    assert f'data-step="{number}"' in edited
    assert "shop/tax.py+5 -0" in pane(edited, "files")
    assert "Quantities were ignored" in pane(edited, "thinking")
    assert "passed" not in pane(edited, "output")
    last = dump(file, "#step=99999")
    assert f'data-step="{len(titles)}"' in last
    assert "2 passed in 0.31s" in pane(last, "output")
    assert "<img src=x onerror=alert(1)>" in pane(last, "output")
    assert "<img" not in last.replace("&lt;img", "")
    assert re.search(r'<div class="a">\+', last)
    # Played from there on, by the page's own clock.
    played = re.search(r'data-step="(\d+)"', dump(file, f"#step={number},play"))
    assert played is not None
    assert int(played[1]) > number + 2


@pytest.mark.browser
def test_a_browser_shows_thousands_of_events(sample: Sample, redactor: Redactor, tmp_path: Path) -> None:
    for number in range(3000):
        sample.log.extend([
            ev.ModelReplied(model="m", text=f"thought {number}"),
            ev.ToolStarted(call_id=f"x{number}", tool="read_file", title=f"read {number}"),
        ])  # fmt: skip
    text = page(sample, redactor)
    file = tmp_path / "page.html"
    file.write_text(text, "utf-8")
    document = dump(file, "#step=99999")
    assert "thought 2999" in pane(document, "thinking")
    assert "earlier entries" in pane(document, "thinking")
    assert "thought 10\n" not in pane(document, "thinking")
    assert "thought 10\n" in pane(dump(file, "#step=80"), "thinking")
