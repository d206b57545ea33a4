"""A small process that forks those that wait for a command, in place of the supervisor.

A fork costs both sides by the pages that they have, once at the fork, again at the first write to each, and in the
child at exec. The supervisor is large, and in a hurry just after it forked. This one has a fraction of its pages and
nothing else to do. It is of the supervisor's own user, and dies of kill(-1) as everything else; then another is
started. It is never the parent of what it forked: that is an orphan at once, and so the supervisor's child.
"""

import errno
import os
import sys

try:
    import _socket as socket
except ImportError:  # another Python
    import socket

if __name__ == "__main__":
    # With -I the folder of this file is not on the path.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.dont_write_bytecode = True

import supervisor_child as child

CHANNEL = 0
HELLO, MADE, FAILED = b"h", b"m", b"f"
SECONDS = 5.0
INT = 4


def make(channel, uid, places):
    """Fork one that waits and hand it over: its pid, where its streams are read, where it is told."""
    fds = []
    try:
        fds += child.output_pipe(uid)
        fds += child.output_pipe(uid)
        fds += os.pipe()
        fds += os.pipe()
        out_read, out, err_read, err, order_read, order, pid_read, pid_write = fds
        between = os.fork()
        if between == 0:
            try:
                pid = os.fork()
                if pid == 0:
                    os.close(order)
                    child.wait(order_read, out, err, uid=uid, places=places, rlimits={})
                os.write(pid_write, b"%d" % pid)
            finally:
                os._exit(0)
        # Before anything is told: from here on this process has no child.
        os.waitpid(between, 0)
        os.close(fds.pop())
        pid = os.read(pid_read, 32)
        if pid:
            given = b"".join(fd.to_bytes(INT, sys.byteorder) for fd in (out_read, err_read, order))
            channel.sendmsg([MADE + pid], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
        else:
            channel.send(FAILED)
    except OSError:
        channel.send(FAILED)
    finally:
        for fd in fds:
            os.close(fd)


def main():
    import gc

    gc.disable()
    uid, *places = sys.argv[1:]
    channel = socket.socket(fileno=CHANNEL)
    channel.send(HELLO)
    while channel.recv(1):
        make(channel, int(uid), places)


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
                argv = [settings.python, "-I", "-S", os.path.abspath(__file__), str(settings.uid)]
                null = os.open("/dev/null", os.O_RDWR)
                os.dup2(theirs.fileno(), CHANNEL)
                os.dup2(null, 1)
                os.dup2(null, 2)
                os.execve(settings.python, [*argv, settings.workspace, settings.home], os.environ)
            finally:
                os._exit(127)
        theirs.close()
        self.ours.settimeout(SECONDS)
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
        if data == HELLO:
            self.greeted = True
            return None
        self.asked = False
        if not data:
            raise ConnectionResetError
        if data == FAILED:
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


if __name__ == "__main__":
    main()
