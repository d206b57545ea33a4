"""What a session is at one point of its log: a fold over its events.

``state = apply(state, event)`` is pure and cheap; running transcripts (model text, command output) are not part of
the state, a window reads them from the events themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeVar

import msgspec
from msgspec.structs import replace

from backspace_tui.core import events as ev
from backspace_tui.core.spending import COUNTED, Spent, spend
from backspace_tui.core.stages import Outcome, Stage, after

V = TypeVar("V")
Status = Literal["new", "running", "paused", "waiting", "done", "failed", "stopped"]


class Edit(msgspec.Struct, frozen=True):
    """One edit of a path: the ``seq`` of its event, and the path's blobs before and after (empty: absent)."""

    seq: int
    old: str
    new: str


class SessionState(msgspec.Struct, frozen=True):
    """A session, folded.

    ``status``: ``waiting`` means for a person (review, question); ``done``, ``failed`` and ``stopped`` have no work
    left that starts by itself. ``paused`` is the reason of a pause that nobody has ended. ``edits`` are those of each
    path, oldest first. ``group`` is the number of the last decision group; ``standing`` the groups that an undo can
    take back, oldest first. ``rejected`` and ``marks`` (reviews, comments, edits) hold what stands, by the ``seq`` of
    its decision; ``voided`` what a later decision ended, for the case that it is undone. ``restorations`` are undone
    rejections whose lines are to be put back into the agent's files at its next turn boundary. ``unheard`` is the
    newest message of the human that no turn has taken up and no stop has put off. ``publishing`` is how far the user
    asked to go after the review. ``spent`` is what the models cost.
    """

    started: ev.SessionStarted | None = None
    last_seq: int = 0
    last_time: datetime = ev.EPOCH
    status: Status = "new"
    paused: str = ""
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
    """The state after all of ``events``, starting from ``state`` or from nothing."""
    result = state or SessionState()
    for event in events:
        result = apply(result, event)
    return result


def apply(state: SessionState, event: ev.AnyEvent) -> SessionState:
    """The state after ``event``. Unknown events change only ``last_seq``."""
    spent = spend(state.spent, event, state.last_time) if type(event) in COUNTED else state.spent
    return replace(_apply(state, event), spent=spent, last_seq=event.seq, last_time=event.time)


def _apply(state: SessionState, event: ev.AnyEvent) -> SessionState:
    match event:
        case ev.SessionStarted():
            return replace(state, started=event, status="running", prompt=event.prompt)
        case ev.SessionFinished(outcome=outcome):
            return replace(state, status=outcome, error=event.reason, exit_code=event.exit_code)
        case ev.StageStarted():
            return _stage_started(state, event)
        case ev.StageFinished():
            return _stage_finished(state, event)
        case ev.Message(kind="prompt"):
            prompt = state.prompt if event.about else event.text
            return replace(state, prompt=prompt, revisions=0, unheard=event)
        case ev.Message(kind="steer", role="user"):
            return replace(state, unheard=event)
        case ev.Message(kind="plan"):
            return replace(state, plan=event.text)
        case ev.Question():
            return replace(state, question=event, status="waiting")
        case ev.Answer():
            return replace(state, question=None, status="paused" if state.paused else "running")
        case ev.Paused():
            return replace(state, status="paused", paused=event.reason)
        case ev.Resumed():
            status: Status = "running" if state.question is None else "waiting"
            return replace(state, status=status, paused="", error="", exit_code=0)
        case ev.Error():
            return replace(state, error=event.message, exit_code=event.exit_code)
        case ev.ModelCalled():
            heard = state.unheard is None or state.unheard.seq <= event.heard
            return replace(state, model=event.model, unheard=None if heard else state.unheard)
        case ev.ModelReplied():
            return replace(state, model=event.model)
        case ev.ToolFinished():
            return _moved(state, event.tree, event.snapshot)
        case ev.FileEdit():
            edits = (*state.edits.get(event.path, ()), Edit(event.seq, event.old, event.new))
            return replace(state, edits={**state.edits, event.path: edits})
        case ev.Decision():
            return _decided(state, event)
        case ev.Verification():
            return _verified(state, event)
        case ev.GitOperation():
            return _git(state, event)
        case ev.PrCreation():
            return replace(state, request=event)
        case _:
            return state


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
        state = replace(state, paused="", unheard=None if put_off else state.unheard)
    if event.outcome not in ("retry", "failed"):
        state = replace(state, question=None)
    return state


def _decided(state: SessionState, event: ev.Decision) -> SessionState:
    state = replace(state, accepted_tree=event.tree, group=max(state.group, event.group))
    if event.action == "undo":
        return _undone(state, event)
    for seq in event.voids:
        state = _voided(state, seq)
    if event.action in ("reject", "redo"):
        state = replace(state, rejected={**state.rejected, event.seq: _rejected(event)})
    elif event.action in ("review", "comment", "edit"):
        state = replace(state, marks={**state.marks, event.seq: event})
    if event.action == "comment":
        return state
    standing = state.standing
    if standing and standing[-1][0].group == event.group:
        standing = (*standing[:-1], (*standing[-1], event))
    else:
        standing = (*standing, (event,))
    return replace(state, standing=standing)


def _voided(state: SessionState, seq: int) -> SessionState:
    """What the decision ``seq`` did to the review is over."""
    if (rejection := state.rejected.get(seq)) is not None:
        return replace(state, rejected=_without(state.rejected, seq), voided={**state.voided, seq: rejection})
    if (mark := state.marks.get(seq)) is not None:
        return replace(state, marks=_without(state.marks, seq), voided={**state.voided, seq: mark})
    return state


def _undone(state: SessionState, event: ev.Decision) -> SessionState:
    """One ``undo`` event takes back one decision of the group; the group leaves with its last one."""
    if not state.standing or state.standing[-1][0].group != event.undoes:
        return state
    *rest, undone = state.standing[-1]
    rejection = state.rejected.get(undone.seq)
    if rejection is not None and rejection.applied and not rejection.overtaken:
        state = replace(state, restorations=(*state.restorations, rejection))
    state = replace(state, rejected=_without(state.rejected, undone.seq), marks=_without(state.marks, undone.seq))
    for seq in undone.voids:
        again = state.voided.get(seq)
        if isinstance(again, ev.Rejected):
            state = replace(state, rejected={**state.rejected, seq: again})
        elif again is not None:
            state = replace(state, marks={**state.marks, seq: again})
        state = replace(state, voided=_without(state.voided, seq))
    standing = (*state.standing[:-1], tuple(rest)) if rest else state.standing[:-1]
    return replace(state, standing=standing)


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
            applied = {
                seq: replace(
                    rejection,
                    applied=rejection.applied or seq in event.decisions,
                    overtaken=rejection.overtaken or seq in event.overtaken,
                )
                for seq, rejection in state.rejected.items()
            }
            return _moved(replace(state, rejected=applied), event.tree, event.snapshot)
        case "restored":
            waiting = tuple(item for item in state.restorations if item.seq not in event.decisions)
            return _moved(replace(state, restorations=waiting), event.tree, event.snapshot)
        case "commit":
            commits = state.commits if event.commit in state.commits else (*state.commits, event.commit)
            return replace(state, commits=commits, committed_tree=event.tree, branch=event.branch)
        case _:
            return state


def _waiting_again(rejected: dict[int, ev.Rejected], decisions: tuple[int, ...]) -> dict[int, ev.Rejected]:
    again = {seq: replace(rejected[seq], applied=False, overtaken=False) for seq in decisions if seq in rejected}
    return rejected | again if again else rejected


def _rejected(decision: ev.Decision) -> ev.Rejected:
    return ev.Rejected(
        decision.hunk,
        decision.path,
        decision.comment,
        decision.lines,
        decision.seq,
        part=decision.part,
        spot=decision.spot,
        redo=decision.action == "redo",
    )


def _without(mapping: dict[int, V], key: int) -> dict[int, V]:
    return {seq: value for seq, value in mapping.items() if seq != key}
