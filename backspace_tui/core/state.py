"""What a session is at one point of its log: a fold over its events.

``state = apply(state, event)`` is pure and cheap; running transcripts (model text, command output) are not part of
the state, a window reads them from the events themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.decisions import Decisions
from backspace_tui.core.spending import COUNTED, Spent, spend
from backspace_tui.core.stages import AGENT_STAGES, Outcome, Stage, after

Status = Literal["new", "running", "paused", "waiting", "done", "failed", "stopped"]


class Edit(msgspec.Struct, frozen=True, gc=False):
    """One edit of a path: the ``seq`` of its event, and the path's blobs before and after (empty: absent).

    ``carries_out`` a rejection, or the undoing of one: it made no line, it took some away or put them back.
    """

    seq: int
    old: str
    new: str
    carries_out: bool = False


class SessionState(msgspec.Struct, frozen=True):
    """A session, folded.

    ``status``: ``waiting`` means for a person (review, question); ``done``, ``failed`` and ``stopped`` have no work
    left that starts by itself. ``paused`` is the reason of a pause that nobody has ended; ``stopping`` tells of a stop
    that is not carried out yet. ``edits`` are those of each
    path, oldest first. ``group`` is the number of the last decision group; ``standing`` the groups that an undo can
    take back, oldest first. ``rejected`` and ``marks`` (reviews, comments, edits) hold what stands, by the ``seq`` of
    its decision; ``voided`` what a later decision ended, for the case that it is undone. ``restorations`` are undone
    rejections whose lines are to be put back into the agent's files at its next turn boundary. ``unheard`` is the
    newest message of the human that no turn has taken up and no stop has put off. ``publishing`` is how far the user
    asked to go after the review. ``spent`` is what the models cost. Of what came with a fork neither
    the costs nor the commit and the request are the session's own.
    """

    started: ev.SessionStarted | None = None
    last_seq: int = 0
    last_time: datetime = ev.EPOCH
    status: Status = "new"
    paused: str = ""
    stopping: bool = False
    stage: Stage = "prepare"
    attempt: int = 0
    stage_open: bool = False
    outcome: Outcome | None = None
    revisions: int = 0
    prompt: str = ""
    plan: str = ""
    base_commit: str = ""
    base_tree: str = ""
    base_branch: str = ""
    base_tag: str = ""
    branch: str = ""
    accepted_tree: str = ""
    work_tree: str = ""
    snapshot: str = ""
    edits: dict[str, tuple[Edit, ...]] = {}
    group: int = 0
    standing: tuple[tuple[ev.Decision, ...], ...] = ()
    rejected: dict[int, ev.Rejected] = {}
    marks: dict[int, ev.Decision] = {}
    voided: dict[int, ev.Rejected | ev.Decision] = {}
    restorations: tuple[ev.Rejected, ...] = ()
    verdicts: dict[str, ev.Verification] = {}
    baseline: ev.Verification | None = None
    verifying: str = ""
    question: ev.Question | None = None
    unheard: ev.Message | None = None
    commits: tuple[str, ...] = ()
    committed_tree: str = ""
    request: ev.PrCreation | None = None
    publishing: Literal["", "verdict", "commit", "request"] = ""
    model: str = ""
    spent: Spent = Spent()
    sandbox: str = ""
    error: str = ""
    exit_code: int = 0

    @property
    def usd(self) -> float:
        """US dollars spent, as far as prices are known."""
        return self.spent.usd

    @property
    def unpriced(self) -> int:
        """Calls whose price is not known."""
        return self.spent.unpriced

    @property
    def tokens(self) -> int:
        """Tokens of requests and replies together."""
        return self.spent.tokens

    @property
    def turns(self) -> int:
        """Turns that a model answered."""
        return self.spent.turns

    @property
    def next_stage(self) -> Stage:
        """Where the workflow goes on: an open, failed or stopped-with-the-session stage is run again."""
        if not self.attempt:
            return "prepare"
        if self.stage_open or self.outcome in (None, "failed"):
            return self.stage
        if self.outcome == "stopped" and self.stage == "prepare":
            return "prepare"
        return after(self.stage, self.outcome, self.revisions - (self.outcome == "revise"))

    @property
    def stage_now(self) -> Stage:
        """The stage that runs, or is about to."""
        return self.stage if self.stage_open else self.next_stage

    @property
    def commit(self) -> str:
        """The newest commit of the accepted work, or empty."""
        return self.commits[-1] if self.commits else ""

    @property
    def request_stale(self) -> bool:
        """Whether decisions since the commit changed what is accepted."""
        return bool(self.committed_tree) and self.committed_tree != self.accepted_tree

    @property
    def verdict(self) -> ev.Verification | None:
        """What the tests say of exactly the tree that is accepted now, if they ran."""
        return self.verdicts.get(self.accepted_tree)

    @property
    def pending_rejections(self) -> tuple[ev.Rejected, ...]:
        """Rejections that the agent's workspace has not seen yet, oldest first."""
        return tuple(sorted((r for r in self.rejected.values() if not r.applied), key=lambda r: r.seq))


def fold(events: Iterable[ev.AnyEvent], state: SessionState | None = None) -> SessionState:
    """The state after all of ``events``, starting from ``state`` or from nothing.

    Costs about a microsecond an event, however many paths, edits and decisions there are.
    """
    result = state or SessionState()
    # What changes with nearly every event is put into the state once, at the end; no handler reads it.
    seq, time, spent = result.last_seq, result.last_time, result.spent
    edits: dict[str, list[Edit]] = {}
    decisions: Decisions | None = None
    for event in events:
        kind = type(event)
        if kind in COUNTED and not _of_source(result, event):
            spent = spend(spent, event, time)
        if kind in _HANDLERS:
            if decisions is not None:
                result, decisions = _decided(result, decisions), None
            result = _HANDLERS[kind](result, event)
        elif isinstance(event, ev.FileEdit):
            edits.setdefault(event.path, []).append(Edit(event.seq, event.old, event.new, event.carries_out))
        elif isinstance(event, ev.Decision):
            decisions = decisions or _decisions(result)
            decisions.take(event)
        seq, time = event.seq, event.time
    if decisions is not None:
        result = _decided(result, decisions)
    grown = {path: (*result.edits.get(path, ()), *new) for path, new in edits.items()}
    return replace(
        result,
        last_seq=seq,
        last_time=time,
        spent=spent,
        edits={**result.edits, **grown} if grown else result.edits,
    )


def apply(state: SessionState, event: ev.AnyEvent) -> SessionState:
    """The state after ``event``. Unknown events change only ``last_seq`` and ``last_time``."""
    return fold((event,), state)


def _of_source(state: SessionState, event: ev.AnyEvent) -> bool:
    """Whether ``event`` came with a fork: what it cost and what it published is its source's."""
    return state.started is not None and event.seq <= state.started.forked_at


def _session_started(state: SessionState, event: ev.SessionStarted) -> SessionState:
    return replace(state, started=event, status="running", prompt=event.prompt)


def _session_finished(state: SessionState, event: ev.SessionFinished) -> SessionState:
    # Going on after an orderly end is wanted; only a death leaves a stop to be carried out.
    return replace(state, status=event.outcome, stopping=False, error=event.reason, exit_code=event.exit_code)


def _message(state: SessionState, event: ev.Message) -> SessionState:
    match event.kind:
        case "prompt":
            prompt = state.prompt if event.about else event.text
            return replace(state, prompt=prompt, revisions=0, unheard=event)
        case "steer" if event.role == "user":
            return replace(state, unheard=event)
        case "plan":
            return replace(state, plan=event.text)
        case _:
            return state


def _question(state: SessionState, event: ev.Question) -> SessionState:
    return replace(state, question=event, status="waiting")


def _answer(state: SessionState, _: ev.Answer) -> SessionState:
    return replace(state, question=None, status="paused" if state.paused else "running")


def _paused(state: SessionState, event: ev.Paused) -> SessionState:
    return replace(state, status="paused", paused=event.reason)


def _resumed(state: SessionState, _: ev.Resumed) -> SessionState:
    status: Status = "running" if state.question is None else "waiting"
    return replace(state, status=status, paused="", error="", exit_code=0)


def _stop_asked(state: SessionState, _: ev.StopAsked) -> SessionState:
    return replace(state, stopping=True)


def _error(state: SessionState, event: ev.Error) -> SessionState:
    return replace(state, error=event.message, exit_code=event.exit_code)


def _model_called(state: SessionState, event: ev.ModelCalled) -> SessionState:
    unheard = None if state.unheard is None or state.unheard.seq <= event.heard else state.unheard
    if (state.model, state.unheard) == (event.model, unheard):
        return state
    return replace(state, model=event.model, unheard=unheard)


def _model_replied(state: SessionState, event: ev.ModelReplied) -> SessionState:
    return state if state.model == event.model else replace(state, model=event.model)


def _tool_finished(state: SessionState, event: ev.ToolFinished) -> SessionState:
    return _moved(state, event.tree, event.snapshot) if event.tree or event.snapshot else state


def _requested(state: SessionState, event: ev.PrCreation) -> SessionState:
    return state if _of_source(state, event) else replace(state, request=event)


def _moved(state: SessionState, tree: str, snapshot: str) -> SessionState:
    return replace(state, work_tree=tree or state.work_tree, snapshot=snapshot or state.snapshot)


def _stage_started(state: SessionState, event: ev.StageStarted) -> SessionState:
    waits = event.stage == "review" or state.question is not None
    status: Status = "waiting" if waits else "done" if event.stage == "done" else "running"
    return replace(
        state,
        stage=event.stage,
        attempt=event.attempt,
        stage_open=True,
        outcome=None,
        status="paused" if state.paused and status == "running" else status,
        stopping=state.stopping and event.stage in AGENT_STAGES,
        error="",
        exit_code=0,
    )


def _stage_finished(state: SessionState, event: ev.StageFinished) -> SessionState:
    sent_back = event.stage == "critique" and event.outcome == "revise"
    state = replace(
        state,
        stage_open=False,
        outcome=event.outcome,
        revisions=state.revisions + sent_back,
        sandbox=event.data.get("sandbox", state.sandbox),
    )
    if event.stage == "review":
        state = replace(state, publishing=event.data.get("publish", ""))
    if event.outcome == "stopped":
        # What was said before the stop waits for the next prompt; what came after it is that prompt.
        put_off = state.unheard is not None and state.unheard.kind == "steer"
        state = replace(state, paused="", unheard=None if put_off else state.unheard, stopping=False)
    if event.outcome not in ("retry", "failed"):
        state = replace(state, question=None)
    return state


def _decisions(state: SessionState) -> Decisions:
    return Decisions(state.accepted_tree, state.group, state.standing, state.rejected, state.marks, state.voided)


def _decided(state: SessionState, decisions: Decisions) -> SessionState:
    return replace(
        state,
        accepted_tree=decisions.tree,
        group=decisions.group,
        standing=decisions.standing,
        rejected=decisions.rejected,
        marks=decisions.marks,
        voided=decisions.voided,
        restorations=(*state.restorations, *decisions.restorations),
    )


def _verified(state: SessionState, event: ev.Verification) -> SessionState:
    match event.verdict:
        case "running":
            return replace(state, verifying=event.tree)
        case "baseline":
            return replace(state, baseline=event)
        case _:
            return replace(state, verifying="", verdicts={**state.verdicts, event.tree: event})


def _git(state: SessionState, event: ev.GitOperation) -> SessionState:
    if not event.ok:
        return state
    match event.operation:
        case "base":
            return replace(
                state,
                base_commit=event.commit,
                base_tree=event.tree,
                base_branch=event.branch,
                base_tag=event.tag,
                accepted_tree=event.tree,
                work_tree=event.tree,
                snapshot=event.tree,
            )
        case "snapshot":
            state = replace(state, rejected=_waiting_again(state.rejected, event.decisions))
            return _moved(state, event.tree, event.snapshot)
        case "rejected":
            applied = _carried_out(state.rejected, event.decisions, event.overtaken)
            return _moved(replace(state, rejected=applied), event.tree, event.snapshot)
        case "restored":
            waiting = tuple(item for item in state.restorations if item.seq not in event.decisions)
            return _moved(replace(state, restorations=waiting), event.tree, event.snapshot)
        case "commit" if not _of_source(state, event):
            commits = state.commits if event.commit in state.commits else (*state.commits, event.commit)
            return replace(state, commits=commits, committed_tree=event.tree, branch=event.branch)
        case _:
            return state


def _waiting_again(rejected: dict[int, ev.Rejected], decisions: tuple[int, ...]) -> dict[int, ev.Rejected]:
    again = {seq: replace(rejected[seq], applied=False, overtaken=False) for seq in decisions if seq in rejected}
    return rejected | again if again else rejected


def _carried_out(
    rejected: dict[int, ev.Rejected], decisions: tuple[int, ...], overtaken: tuple[int, ...]
) -> dict[int, ev.Rejected]:
    done = {
        seq: replace(
            rejected[seq],
            applied=rejected[seq].applied or seq in decisions,
            overtaken=rejected[seq].overtaken or seq in overtaken,
        )
        for seq in {*decisions, *overtaken}
        if seq in rejected
    }
    return rejected | done


_HANDLERS: Final[dict[type[ev.Event], Callable[[SessionState, Any], SessionState]]] = {
    ev.SessionStarted: _session_started,
    ev.SessionFinished: _session_finished,
    ev.StageStarted: _stage_started,
    ev.StageFinished: _stage_finished,
    ev.Message: _message,
    ev.Question: _question,
    ev.Answer: _answer,
    ev.Paused: _paused,
    ev.Resumed: _resumed,
    ev.StopAsked: _stop_asked,
    ev.Error: _error,
    ev.ModelCalled: _model_called,
    ev.ModelReplied: _model_replied,
    ev.ToolFinished: _tool_finished,
    ev.Verification: _verified,
    ev.GitOperation: _git,
    ev.PrCreation: _requested,
}
