"""A small process that forks those that wait for a command, in place of the supervisor.

A fork costs both sides by the pages that they have, once at the fork, again at the first write to each, and in the
child at exec. The supervisor is large, and in a hurry just after it forked. This one has a third of its pages and
nothing else to do. It is of the supervisor's own user, and dies of kill(-1) as everything else; then another is
started. It is never the parent of what it forked: that is an orphan at once, and so the supervisor's child.
"""

import contextlib
import errno
import functools
import marshal
import os
import sys

import supervisor_child as child
from supervisor_child import INT, socket

SECONDS = 5.0
# Already compiled: a compiler leaves a quarter more pages behind, and takes longer than all else here.
START = "import marshal, os; here = {}; exec(marshal.loads(os.read(0, 1 << 20)), here); here['serve']()"


@functools.lru_cache(maxsize=1)
def program():
    return marshal.dumps(child.__spec__.loader.get_code(child.__name__))


class Zygote:
    """The supervisor's end of one."""

    def __init__(self, settings):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = os.fork()
        except OSError:
            self.ours.close()
            theirs.close()
            raise
        if self.pid == 0:
            try:
                argv = [settings.python, "-I", "-S", "-c", START, __name__, str(settings.uid)]
                null = os.open("/dev/null", os.O_RDWR)
                os.dup2(theirs.fileno(), child.CHANNEL)
                os.dup2(null, 1)
                os.dup2(null, 2)
                os.execve(settings.python, [*argv, settings.workspace, settings.home], os.environ)
            finally:
                os._exit(127)
        theirs.close()
        self.ours.settimeout(SECONDS)
        # Where it is dead already, its exit code tells.
        with contextlib.suppress(OSError):
            self.ours.send(program())
        self.greeted = self.asked = False

    def fileno(self):
        return self.ours.fileno()

    def ask(self):
        """For another one that waits. One at a time."""
        self.ours.send(b"1")
        self.asked = True

    def take(self):
        """(pid, stdout, stderr, order) of the one that was asked for; None where none could be made. Raises OSError."""
        data, carried, _, _ = self.ours.recvmsg(64, socket.CMSG_SPACE(3 * INT))
        if data == child.HELLO:
            self.greeted = True
            return None
        self.asked = False
        if not data:
            raise ConnectionResetError
        if data == child.FAILED:
            return None
        given = b"".join(fds for _, _, fds in carried)
        fds = [int.from_bytes(given[at : at + INT], sys.byteorder) for at in range(0, len(given), INT)]
        for fd in fds:
            os.set_inheritable(fd, False)
        if len(fds) != 3:
            for fd in fds:
                os.close(fd)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return int(data[1:]), *fds

    def close(self):
        self.ours.close()
