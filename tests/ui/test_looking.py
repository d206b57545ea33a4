"""Filters, searching over files, renames as two files, and why a hunk is there."""

from __future__ import annotations

from backspace_tui.core import events as ev
from tests.ui.sample import CART, CART_NEW, WORK, Host, Sample
from tests.ui.test_tests_keys import fail
from tests.ui.test_units import PATH, settled
from tests.ui.windows import Window, launch_of, opened, scenario


async def filtered(window: Window, name: str) -> None:
    """Press ``f`` until this filter is in force."""
    for _ in range(6):
        if window.workspace.files.filter == name:
            return
        await window.press("f")
    raise AssertionError(f"there is no filter {name}")


@scenario
async def test_filters_show_files_and_lead_from_hunk_to_hunk(host: Host) -> None:
    sample = host.sample
    async with opened(launch_of(sample)) as window:
        await window.ready()
        workspace, diff = window.workspace, window.workspace.diff
        await window.press("m")
        await settled(window, 1)
        assert diff.hunk_index == 1
        await window.press("c", *"why?", "enter")
        await window.until(lambda: workspace.desk.places[1].item.comment, "the comment")
        sample.change(PATH, CART_NEW.replace("from shop import tax", "from shop import tax as rates"))
        await window.until(lambda: workspace.desk.places[0].state == "changed", "the change")
        await window.until(lambda: "↻ c 0/3" in window.pane_text("files"), "the badge")
        await filtered(window, "since")
        assert "filter: since" in workspace.status.text
        assert "tax.py" not in window.pane("files")
        await window.press("2", "G", "[")
        assert diff.hunk_index == 0
        await window.press("]")
        assert "no further hunk" in workspace.status.text
        assert diff.hunk_index == 0
        await filtered(window, "commented")
        await window.press("]")
        assert (diff.path, diff.hunk_index) == (PATH, 1)
        await window.press("]")
        assert (diff.path, diff.hunk_index) == (PATH, 1)
        await window.press("space")
        await settled(window, 2)
        await filtered(window, "undecided")
        await window.press("[", "]", "tab", "]", "]")
        assert diff.path == "tests/test_cart.py"
        await window.press("[", "[", "[")
        assert (diff.path, diff.hunk_index) == (PATH, 0)
        await window.press("]")
        assert (diff.path, diff.hunk_index) == (PATH, 2)
        fail(sample, "tests/test_cart.py:9: AssertionError\n")
        await window.until(lambda: "Nothing was committed" in window.text(), "the verdict")
        await window.press("escape")
        await filtered(window, "failing")
        await window.until(lambda: "test_cart.py" in window.pane("files"), "the file")
        assert " cart.py" not in window.pane("files")
        await window.press("]")
        assert diff.path == "tests/test_cart.py"
        await window.press("f")
        assert "filter" not in workspace.status.text.partition("decided")[2]


@scenario
async def test_progress_of_each_file_and_of_all(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        await window.press("space", "x")
        await settled(window, 2)
        await window.until(lambda: "2/5 decided" in str(window.workspace.files.border_title), "all")
        assert "2/3" in window.pane_text("files")
        assert "0/1" in window.pane_text("files")
        await window.press("space")
        await settled(window, 3)
        await window.until(lambda: "part" in window.pane_text("files"), "some of each")


@scenario
async def test_searching_goes_on_in_other_files_and_wraps(sample: Sample) -> None:
    async with opened(launch_of(sample)) as window:
        await window.ready()
        workspace, diff = window.workspace, window.workspace.diff
        await window.press("/", *"def ", "enter")
        assert diff.path == PATH
        seen = []
        for _ in range(40):
            seen.append((diff.path, diff.plain(diff.cursor).strip()))
            where = (diff.path, diff.cursor)
            await window.press("n")
            await window.until(lambda at=where: (diff.path, diff.cursor) != at, "the next")  # type: ignore[misc]
            if "wrapped" in workspace.status.text:
                break
        assert list(dict.fromkeys(path for path, _ in seen)) == [PATH, "shop/tax.py", "tests/test_cart.py"]
        assert all("def " in text for _, text in seen)
        assert ("shop/tax.py", "def rate(country):") in seen
        assert ("tests/test_cart.py", "def test_quantity():") in seen
        assert diff.path == PATH
        workspace.status.unsay()
        await window.press("N")
        await window.until(lambda: diff.path == "tests/test_cart.py", "the file before, around the end")
        assert diff.plain(diff.cursor) == "def test_quantity():"
        assert "wrapped" in workspace.status.text


@scenario
async def test_a_search_finds_lines_of_folded_hunks_and_says_what_is_nowhere(host: Host) -> None:
    async with opened(launch_of(host.sample)) as window:
        await window.ready()
        workspace, diff = window.workspace, window.workspace.diff
        await window.press("}", "space")
        await settled(window, 1)
        assert "RATES" not in window.pane("diff")
        await window.press("{", "/", *"rates.get", "enter")
        await window.until(lambda: diff.path == "shop/tax.py", "the file")
        assert "RATES.get" in diff.plain(diff.cursor)
        await window.press("/", *"nowhere", "enter")
        await window.until(lambda: "'nowhere' is in no changed file" in workspace.status.text, "the note")
        assert diff.path == "shop/tax.py"


@scenario
async def test_a_rename_is_shown_as_two_files_and_as_one_again(host: Host) -> None:
    sample = host.sample
    renamed = {path: text for path, text in WORK.items() if path != PATH}
    sample.work = sample.repository.tree(renamed | {"shop/basket.py": CART})
    sample.work_on("c7", "shop/basket.py", 0, 0, "A better name.", sample.work)
    async with opened(launch_of(sample)) as window:
        await window.until(lambda: "shop/basket.py" in window.workspace.desk.changed_paths(), "the rename")
        workspace, desk, diff = window.workspace, window.workspace.desk, window.workspace.diff
        assert PATH not in desk.changed_paths()
        await window.until(lambda: diff.path == "shop/basket.py" and diff.hunks, "the file")
        assert diff.hunk is not None
        assert diff.hunk.kind == "rename"
        await window.press("s")
        await window.until(lambda: PATH in desk.changed_paths(), "two files")
        await window.until(lambda: diff.hunk is not None and diff.hunk.kind == "text", "the new one")
        await window.press("space")
        await settled(window, 1)
        state = sample.state
        assert workspace.objects().entries(state.accepted_tree).keys() >= {PATH, "shop/basket.py"}
        await window.press("u")
        await settled(window, 0)
        workspace.show_file(PATH)
        assert diff.hunk.kind == "deleted"
        await window.press("2", "s")
        await window.until(lambda: PATH not in desk.changed_paths(), "one file")
        await window.until(lambda: diff.path == "shop/basket.py" and diff.hunk and diff.hunk.kind == "rename", "it")
    assert [action for action, _ in host.decisions()] == ["accept"]


@scenario
async def test_why_tells_of_the_command_that_made_a_hunk(host: Host) -> None:
    sample = host.sample
    sample.work = sample.repository.tree(WORK | {"generated.txt": "made\n"})
    output = "wrote generated.txt\n"
    start = ev.ToolStarted(call_id="c8", tool="run_command", arguments={"command": "make all"}, title="run make all")
    edit = ev.FileEdit(path="generated.txt", added=1, removed=0, tree=sample.work, by="c8")
    done = ev.ToolFinished(call_id="c8", tool="run_command", ok=True, text=output, exit_code=0, tree=sample.work)
    sample.emit("implement", start, edit, done)
    async with opened(launch_of(sample)) as window:
        await window.ready()
        assert window.workspace.diff.path == "generated.txt"
        await window.press("w")
        await window.until(lambda: "wrote generated.txt" in window.text(), "the output")
        assert "make all" in window.text()
