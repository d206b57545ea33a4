"""Commands that start at once: their process is forked ahead, since forking is what takes the time."""

import contextlib
import gc
import os
import signal

import supervisor_child as child
import supervisor_process as process
import supervisor_wire as wire
import supervisor_zygote


class Ready:
    """A child that waits, as this program's own user, to be told what to become; it has its streams already."""

    def __init__(self, pid, out, err, order):
        self.pid, self.out, self.err, self.order = pid, out, err, order

    def start(self, argv, cwd, env):
        """Tell it; False where it is dead. The streams are the caller's to close then or later."""
        try:
            wire.write_all(self.order, child.order(argv, cwd, env))
        except BrokenPipeError:
            self.close()
            return False
        os.close(self.order)
        return True

    def close(self):
        """Drop one that never ran."""
        for fd in (self.out, self.err, self.order):
            with contextlib.suppress(OSError):
                os.close(fd)


def fork():
    """One that is forked from this program itself. Raises OSError."""
    out_read, out = process.output_pipe()
    err_read, err = process.output_pipe()
    source, order = os.pipe()
    pid = None
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            for fd in (out, err, source, *(() if pid else (out_read, err_read, order))):
                os.close(fd)
    if pid == 0:
        try:
            gc.disable()
            os.close(order)
            settings = process.settings
            child.wait(source, out, err, uid=settings.uid, places=process.places(), rlimits=settings.rlimits)
        finally:
            os._exit(127)
    return Ready(pid, out_read, err_read, order)


class Spares:
    """Keeps a child ready: from a zygote where its presence can be told from a command's leftovers, else by forking.

    The commands run as another user than both, so that none can reach them, and in a control group of the container's
    own, whose number of processes is exact: see :meth:`supervisor_tree.Reaper.alone`.
    """

    def __init__(self, meters, reaper):
        self.meters, self.reaper = meters, reaper
        self.ready = self.zygote = None
        self.refused = False
        self.small = process.settings.uid is not None and meters.read("processes") == 1
        if self.small:
            reaper.count = lambda: meters.read("processes")

    def grow(self):
        """Start a zygote, if there is to be one."""
        if self.zygote is None and self.small:
            with contextlib.suppress(OSError):
                self.zygote = supervisor_zygote.Zygote(process.settings)
                self.reaper.own.add(self.zygote.pid)
                self.reaper.awaited.add(self.zygote.pid)
                self.refused = False

    def check(self):
        """Call it just after a child was collected: older kernels go on counting it for a while."""
        self.reaper.reap()
        if self.zygote is not None and not self.reaper.alone():
            self.small, self.reaper.count = False, None
            self.end_zygote()

    def end_zygote(self):
        # Once collected, its pid may be another's.
        if self.zygote.pid in self.reaper.own:
            os.kill(self.zygote.pid, signal.SIGKILL)

    def tend(self):
        """Between two jobs."""
        if self.ready is not None and self.ready.pid in self.reaper.ended:
            self.drop()
        zygote = self.zygote
        if zygote is not None and zygote.pid not in self.reaper.own:
            # Whatever ended the last job ended it too. One that ends by itself before it comes up never will.
            if not zygote.greeted and self.reaper.signals.get(zygote.pid) != signal.SIGKILL:
                self.small = False
            self.reaper.forget(zygote.pid)
            zygote.close()
            self.zygote = zygote = None
        if zygote is None:
            self.grow()
        if self.ready is None and (zygote is None or not zygote.greeted):
            with contextlib.suppress(OSError):
                self.keep(fork())
        elif self.ready is None and not zygote.asked and not self.refused:
            with contextlib.suppress(OSError):
                zygote.ask()

    def keep(self, ready):
        self.ready = ready
        self.reaper.own.add(ready.pid)
        self.reaper.awaited.add(ready.pid)

    def sources(self):
        """What is to be read as soon as it can be."""
        zygote = self.zygote
        return [] if zygote is None or (zygote.greeted and not zygote.asked) else [zygote.fileno()]

    def read(self, _fd=None):
        try:
            made = self.zygote.take()
        except OSError:
            self.refused = True
            self.end_zygote()
            return
        if made is not None:
            self.keep(Ready(*made))
        elif not self.zygote.asked:
            self.refused = True

    def settle(self):
        """Before a job: afterwards nothing comes by itself."""
        if self.zygote is not None and self.zygote.asked:
            self.read()
        self.refused = False

    def give(self):
        """The child that is ready, None where there is none; from now on it is a command."""
        ready, self.ready = self.ready, None
        if ready is not None:
            self.reaper.own.discard(ready.pid)
        return ready

    def drop(self):
        if self.ready is not None:
            self.reaper.forget(self.ready.pid)
            self.ready.close()
            self.ready = None
