"""Verify: the project's tests on exactly what was accepted, in a fresh sandbox."""

from __future__ import annotations

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Result
from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.core.verdicts import verdict
from backspace_tui.engine.analysis import test_command
from backspace_tui.engine.job import Job, StageResult
from backspace_tui.engine.request_text import unattended
from backspace_tui.engine.stages.analyze import analysis

OUTPUT_LIMIT = 20_000
TIMEOUT = 900.0


def run(job: Job) -> StageResult:
    """Give a verdict on what is to be published, unless there is one already, and say whether it may be committed."""
    tree = job.published
    found = job.state.verdicts.get(tree) or _verify(job, tree)
    wanted = job.state.publishing
    if wanted == "verdict":
        return StageResult("again", found.verdict)
    if found.verdict == "newly fails":
        return StageResult("refused", "the accepted changes make tests fail that passed before", {"exit_code": 3})
    if job.started.accept == "verified" and found.verdict != "passes" and unattended(job.started, job.recorder.events):
        return StageResult("refused", f"--accept verified needs passing tests; verdict: {found.verdict}",
                           {"exit_code": 3})  # fmt: skip
    return StageResult("ok", found.verdict)


def _verify(job: Job, tree: str) -> ev.Verification:
    command = _command(job, tree)
    if not command:
        return job.recorder.emit(ev.Verification(tree=tree, verdict="not verified"))
    baseline = job.state.baseline
    if baseline is None or baseline.command != command:
        result, output = _test(job, job.state.base_tree, command)
        baseline = job.recorder.emit(_event(job.state.base_tree, "baseline", command, result, output))
    job.recorder.emit(ev.Verification(tree=tree, verdict="running", command=command))
    result, output = _test(job, tree, command)
    judged = verdict((result.exit_code, output), (baseline.exit_code, baseline.output))
    return job.recorder.emit(_event(tree, judged, command, result, output))


def _event(tree: str, judged: ev.Verdict | str, command: str, result: Result, output: str) -> ev.Verification:
    return ev.Verification(
        tree=tree,
        verdict=judged,  # type: ignore[arg-type]
        command=command,
        exit_code=result.exit_code,
        output=clip(output, OUTPUT_LIMIT),
        seconds=round(result.duration, 2),
    )


def _command(job: Job, tree: str) -> str:
    """The configured or found command; the accepted tree's own only where the base has no tests at all."""
    if command := analysis(job).test:
        return command
    entries = job.objects.entries(tree)
    return test_command(entries, lambda path: job.objects.blob(entries[path].oid))


def _test(job: Job, tree: str, command: str) -> tuple[Result, str]:
    box = job.parts.sandboxes.open(
        job.workspace.files(tree), session=job.started.session, purpose="verify", tag=job.state.base_tag
    )
    try:
        result = box.run(command, timeout=TIMEOUT, cancel=job.control.cancel)
    finally:
        box.close()
    job.check_stop()
    output = clean(result.stdout) + clean(result.stderr)
    if result.timed_out:
        output += f"\n(killed after {TIMEOUT:.0f} s)"
    if result.limit:
        output += f"\n(reached a limit of the sandbox: {result.limit})"
    return result, job.parts.redactor.redact(output)
