"""Commands that start at once: their process is forked ahead, since forking is what takes the time."""

import contextlib
import gc
import os
import warnings  # noqa: F401  os.execvpe imports it, which takes longer than all else that a child does

import supervisor_process as process
import supervisor_wire as wire


class Ready:
    """A child that waits, as this program's own user, to be told what to become; it has its streams already."""

    def __init__(self):
        self.out, out = process.output_pipe()
        self.err, err = process.output_pipe()
        order, self.order = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            self.close()
            raise
        finally:
            if getattr(self, "pid", None) != 0:
                for fd in (out, err, order):
                    os.close(fd)
        if self.pid == 0:
            self.wait(order, out, err)

    def wait(self, order, out, err):
        """In the child."""
        try:
            gc.disable()
            os.close(self.order)
            process.take_streams(out, err)
            process.limit_child()
            parser = wire.Parser()
            # Going through it once makes the memory that it needs our own before there is any hurry.
            list(parser.feed(wire.encode({"argv": [""], "cwd": "", "env": dict(os.environ)})))
            os.get_exec_path({})
            while data := os.read(order, wire.CHUNK):
                for wanted, _ in parser.feed(data):
                    process.become(wanted["argv"], wanted["cwd"], wanted["env"])
        finally:
            os._exit(127)

    def start(self, argv, cwd, env):
        """Tell it; False where it is dead. The streams are the caller's to close then or later."""
        try:
            wire.write_all(self.order, wire.encode({"argv": argv, "cwd": cwd, "env": env}))
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
