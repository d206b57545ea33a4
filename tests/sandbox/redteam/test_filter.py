"""The filter for bubblewrap, run by a small machine of our own, as neither processor need be at hand."""

from __future__ import annotations

import errno
import struct

import pytest

from backspace_tui.sandbox import bpf

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def outcome(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers to one system call."""
    words = (*arguments, *[0] * 6)[:6]
    data = struct.pack("<IIQ6Q", number, MACHINES[machine] if architecture is None else architecture, 0, *words)
    program = list(struct.iter_unpack("=HBBI", bpf.program(machine)))
    at = accumulator = 0
    while True:
        code, true, false, value = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return int(value)
        else:
            met = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += true if met else false


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_refused_and_what_passes(machine: str) -> None:
    column = list(MACHINES).index(machine)
    for name, numbers in bpf.REFUSED.items():
        number = numbers[column]
        if number is not None:
            assert outcome(machine, number) == REFUSE | errno.EPERM, name
    clone, clone3, socket, personality = bpf._CALLS[machine]
    assert outcome(machine, clone, 17) == ALLOW
    assert outcome(machine, clone, 0x003D0F00) == ALLOW  # a thread
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert outcome(machine, clone, bit | 17) == REFUSE | errno.EPERM
    assert outcome(machine, clone3) == REFUSE | errno.ENOSYS
    assert [family for family in range(46) if outcome(machine, socket, family, 1) == ALLOW] == [1, 2, 10, 16]
    assert [outcome(machine, socket, 16, 3, kind) == ALLOW for kind in (0, 9, 15)] == [True, False, False]
    assert outcome(machine, personality, 0x40000) == REFUSE | errno.EPERM
    assert outcome(machine, personality, 0xFFFFFFFF) == ALLOW
    for number in {"x86_64": (0, 1, 2, 3, 59, 231), "aarch64": (56, 57, 63, 64, 93, 221)}[machine]:
        assert outcome(machine, number) == ALLOW  # read, write, open, close, exec, exit


def test_other_architectures_end_the_process() -> None:
    assert outcome("x86_64", 26, architecture=0x40000003) == KILL  # 32-bit calls
    assert outcome("x86_64", 0x40000000 + 39) == KILL
    assert outcome("aarch64", 26, architecture=0x40000028) == KILL
    assert bpf.program("riscv64") == b""
