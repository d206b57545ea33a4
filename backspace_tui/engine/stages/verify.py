"""Verify: the project's tests on exactly what was accepted, in a fresh sandbox."""

from __future__ import annotations

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Result
from backspace_tui.core.terminal_text import clean, clip
from backspace_tui.core.verdicts import verdict
from backspace_tui.engine.analysis import test_command
from backspace_tui.engine.audit import audited
from backspace_tui.engine.job import Job, StageResult
from backspace_tui.engine.questions import ask
from backspace_tui.engine.request_text import unattended
from backspace_tui.engine.stages.analyze import analysis

OUTPUT_LIMIT = 20_000


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
        result, output = _test(job, job.state.base_tree, command, job.state.base_tree)
        baseline = job.recorder.emit(_event(job, job.state.base_tree, "baseline", command, result, output))
    setup = _setup_tree(job, tree)
    job.recorder.emit(ev.Verification(tree=tree, verdict="running", command=command))
    result, output = _test(job, tree, command, setup)
    judged = verdict((result.exit_code, output), (baseline.exit_code, baseline.output))
    return job.recorder.emit(_event(job, tree, judged, command, result, output))


def _event(job: Job, tree: str, judged: ev.Verdict | str, command: str, result: Result, output: str) -> ev.Verification:
    return ev.Verification(
        tree=tree,
        verdict=judged,  # type: ignore[arg-type]
        command=command,
        exit_code=result.exit_code,
        output=clip(output, OUTPUT_LIMIT),
        seconds=round(result.duration, 2),
        audit=audited(job, result.audit, "verifier") if result.audit is not None else None,
    )


def _command(job: Job, tree: str) -> str:
    """The configured or found command; the accepted tree's own only where the base has no tests at all."""
    if command := analysis(job).test:
        return command
    entries = job.objects.entries(tree)
    return test_command(entries, lambda path: job.objects.blob(entries[path].oid))


def _setup_tree(job: Job, tree: str) -> str:
    """The tree whose files setup is run with: the base, unless the human wants it run again for changed dependencies.

    Raises:
        WaitsForPerson: the process ends before the human has answered.
    """
    base, sandbox, project = job.state.base_tree, job.parts.settings.sandbox, job.parts.settings.project
    if tree == base or not (project.setup or project.setup_root or sandbox.dockerfile):
        return base
    key = job.parts.sandboxes.setup_key(job.workspace.files(tree))
    if key == job.parts.sandboxes.setup_key(job.workspace.files(base)):
        return base
    declined = "verifying with the dependencies of the base, although the accepted changes touch what setup depends on"
    if job.exit_when_waiting:
        job.recorder.emit(ev.Message(role="program", text=declined))
        return base
    network = " It has the network, and could carry the source away." if sandbox.network == "setup" else ""
    question = (
        "The accepted changes touch what setup depends on. Run setup again for this verification?"
        f" That runs code that the agent wrote.{network}"
    )
    if ask(job, question, ("yes", "no"), call_id=f"setup {key}").strip().lower() in ("yes", "y"):
        return tree
    job.recorder.emit(ev.Message(role="program", text=declined))
    return base


def _test(job: Job, tree: str, command: str, setup: str) -> tuple[Result, str]:
    timeout = job.parts.settings.sandbox.timeout
    box = job.parts.sandboxes.open(
        job.workspace.files(tree),
        session=job.started.session,
        purpose="verify",
        tag=job.state.base_tag,
        setup=lambda: job.workspace.files(setup),
        cancel=job.control.cancel,
    )
    try:
        result = box.run(command, timeout=timeout, cancel=job.control.cancel)
    finally:
        box.close()
    job.check_stop()
    output = clean(result.stdout) + clean(result.stderr)
    if result.timed_out:
        output += f"\n(killed after {timeout:g} s; raise [sandbox] timeout (now {timeout:g}))"
    elif result.limit:
        output += f"\n(reached a limit of the sandbox; raise {result.limit})"
    return result, job.parts.redactor.redact(output)
