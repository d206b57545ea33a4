"""``backspace-tui doctor``: what works here, and for what does not the one command that mends it."""

from __future__ import annotations

import json

import msgspec

from backspace_tui.core.terminal_text import clean
from backspace_tui.doctor.checks import exit_code, judge
from backspace_tui.doctor.machine import probe


def run(*, as_json: bool) -> int:
    """Print all findings; 0 when all that is needed works."""
    checks = judge(probe())
    if as_json:
        print(json.dumps([msgspec.to_builtins(check) for check in checks], ensure_ascii=True))
    else:
        for check in checks:
            print(f"{check.status:<5} {check.name:<10} {clean(check.detail)}")
            if check.fix:
                print(f"{'':<16} {'mend it' if check.status != 'ok' else 'use it'}: {check.fix}")
    return exit_code(checks)
