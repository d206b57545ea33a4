"""A seccomp filter for bubblewrap, assembled here because the library that would do it is not on every machine.

The container's profile (sandbox/seccomp.json) names what is allowed. This one is the reverse, since the host's
programs are unknown: everything passes but the calls that attack the kernel, other processes or the isolation.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

# Name: its number on x86-64 and on 64-bit ARM; None where there is no such call.
REFUSED: Final[dict[str, tuple[int | None, int | None]]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
PERSONALITIES: Final = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
FAMILIES: Final = (1, 2, 10)
"""AF_UNIX, AF_INET and AF_INET6; AF_NETLINK for NETLINK_ROUTE alone."""

_NAMESPACES: Final = 0x7E020000  # every CLONE_NEW flag
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CALLS: Final = {  # clone, clone3, socket, personality
    "x86_64": (56, 435, 41, 135),
    "aarch64": (220, 435, 198, 92),
}

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_ABOVE: Final = 0x35
_JUMP_BITS: Final = 0x45
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

Instruction = tuple[int, int, int, int]


def _argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _refuse(code: int) -> Instruction:
    return (_RETURN, 0, 0, _REFUSE | code)


def _call(number: int, body: list[Instruction]) -> list[Instruction]:
    """``body``, which returns on every way, for one system call."""
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _any_of(values: tuple[int, ...]) -> list[Instruction]:
    found: list[Instruction] = []
    for value in values:
        found += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return found


def program(machine: str = "") -> bytes:
    """The filter as bubblewrap takes it with ``--seccomp``; empty for a machine that it does not know."""
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        return b""
    column, architecture = _ARCHITECTURES[machine]
    clone, clone3, socket, personality = _CALLS[machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        # The x32 calls have numbers of their own, which nobody needs.
        code += [(_JUMP_ABOVE, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            code += _call(number, [_refuse(errno.EPERM)])
    code += _call(clone, [_argument(0), (_JUMP_BITS, 0, 1, _NAMESPACES), _refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)])
    # Its flags lie in memory that a filter cannot read; every C library falls back to clone.
    code += _call(clone3, [_refuse(errno.ENOSYS)])
    route: list[Instruction] = [
        (_JUMP_EQUAL, 0, 3, 16),
        _argument(2),
        (_JUMP_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        _refuse(errno.EPERM),
    ]
    code += _call(socket, [_argument(0), *_any_of(FAMILIES), *route])
    code += _call(personality, [_argument(0), *_any_of(PERSONALITIES), _refuse(errno.EPERM)])
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
