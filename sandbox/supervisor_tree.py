"""The trees of processes in a sandbox: who is there, who ended and how, and the end of all that is left."""

import contextlib
import os
import signal
import sys
import time

import supervisor_process as process

KILL_SECONDS = 10.0


def parents():
    """pid -> parent pid of every process in sight."""
    if not os.path.isdir("/proc/self"):
        return parents_by_ps()
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open("/proc/" + name + "/stat", "rb") as file:
                    # The command's name may hold anything, parentheses too; the last one closes it.
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X"):
                    table[int(name)] = int(fields[1])
    return table


def parents_by_ps():
    import subprocess

    lines = subprocess.run(["ps", "-axo", "pid=,ppid=,state="], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    fields = [line.split() for line in lines]
    return {int(pid): int(parent) for pid, parent, state in fields if not state.startswith("Z")}


def descendants(table, roots):
    found = set(roots)
    grew = True
    while grew:
        more = {pid for pid, parent in table.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found


class Reaper:
    """Collects every dead child, remembers how the awaited ones ended, and adds up what all of them used."""

    def __init__(self):
        self.awaited = set()
        self.ended = {}
        self.signals = {}
        self.cpu = 0.0  # seconds, of all that were collected
        self.largest = 0  # bytes of the largest of them; set it to 0 to begin anew
        self.own = set()  # not collected yet: those that belong to this program and run nothing of the user's
        self.count = None  # gives the number of all processes, exactly

    def forget(self, pid):
        """A child that nobody waits for any longer."""
        self.awaited.discard(pid)
        self.ended.pop(pid, None)
        self.signals.pop(pid, None)

    def reap(self):
        """Returns whether any child is left."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.own.discard(pid)
            self.cpu += used.ru_utime + used.ru_stime
            self.largest = max(self.largest, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
            if pid in self.awaited:
                self.awaited.discard(pid)
                if os.WIFSIGNALED(status):
                    self.signals[pid] = os.WTERMSIG(status)
                self.ended[pid] = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def alone(self):
        """Whether it is certain that nobody is there but this process and its own."""
        return self.count is not None and self.count() == 1 + len(self.own)


def kill_all(reaper, keepers):
    """End every process but this one and the services' trees; returns how many could not be ended.

    Without services, PID 1's kill(-1) reaches everything at once, and ECHILD proves that nobody is left, since
    every orphan became a child of PID 1. So does the number of processes, which spares our own: none can leave the
    container's control group, and each counts there until it was collected. With services (or in a plain process) the
    victims are first stopped until no new one turns up, so that none can fork away, and then killed.
    """
    deadline = time.monotonic() + KILL_SECONDS
    struck = False
    while time.monotonic() < deadline:
        if process.settings.is_init and not keepers:
            # Looking for whom to kill goes through all processes of the whole machine. Afterwards our own die too.
            if not reaper.reap() or (not struck and reaper.alone()):
                return 0
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            struck = True
            if not reaper.reap():
                return 0
            time.sleep(0.0005)
            continue
        victims = others([*keepers, *reaper.own])
        if victims:
            stopped = set()
            while victims - stopped and time.monotonic() < deadline:
                for pid in victims - stopped:
                    signal_quietly(pid, signal.SIGSTOP)
                stopped |= victims
                victims = others([*keepers, *reaper.own])
            for pid in stopped:
                signal_quietly(pid, signal.SIGKILL)
        children = reaper.reap()
        if not victims or (not children and not process.settings.is_init):
            return 0
        time.sleep(0.0005)
    return len(others([*keepers, *reaper.own]))


def others(keepers):
    table = parents()
    me = os.getpid()
    kept = descendants(table, [pid for pid in keepers if pid in table])
    mine = set(table) if process.settings.is_init else descendants(table, [me])
    return mine - kept - {me}


def signal_quietly(pid, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
