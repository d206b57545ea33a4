"""What the log keeps of a command holds no secret and no terminal control."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from backspace_tui.core import events as ev
from backspace_tui.core.protocols import Audit
from backspace_tui.core.redact import Redactor
from backspace_tui.engine.audit import COMMAND_LIMIT, audited
from backspace_tui.sessions.log import decode, encode

SECRET = "hunter2-hunter2-hunter2"


def test_secrets_and_control_sequences_are_taken_out() -> None:
    job: Any = SimpleNamespace(parts=SimpleNamespace(redactor=Redactor([SECRET], salt=b"salt")))
    found = audited(job, Audit(command=f"curl -u me:{SECRET} x\x1b]52;c;aa\x07", uid=1000), "agent")
    assert SECRET not in found.command
    assert "\x1b" not in found.command
    assert (found.user, found.uid) == ("agent", 1000)
    long = audited(job, Audit(command="x" * 100_000), "verifier")
    assert len(long.command) < COMMAND_LIMIT + 200


def test_the_log_gives_it_back_and_old_logs_have_none() -> None:
    audit = Audit(command="cat caf\udce9", user="agent", uid=1000, started=datetime(2026, 1, 2, tzinfo=UTC), memory=5)
    event = ev.ToolFinished(call_id="c", tool="run_command", ok=True, text="", audit=audit, earlier=(audit,))
    assert decode(encode(event)) == event
    bare = encode(ev.ToolFinished(call_id="c", tool="run_command", ok=True, text=""))
    old = decode(bare.replace(b',"audit":null', b"").replace(b',"earlier":[]', b""))
    assert isinstance(old, ev.ToolFinished)
    assert old.audit is None
    verified = ev.Verification(tree="t", verdict="passes", audit=audit)
    assert decode(encode(verified)) == verified
