"""A session's process reduced to its outside: request, lock, log, socket, and the one line."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from backspace_tui.core import commands as cmd
from backspace_tui.core import events as ev
from backspace_tui.sessions.client import read_request
from backspace_tui.sessions.codec import to_json
from backspace_tui.sessions.log import EventLog
from backspace_tui.sessions.store import Lock, SessionError, socket_path


def main() -> int:
    request = read_request(sys.stdin.buffer.read())
    directory = Path(request.directory)
    prompt = request.started.prompt if request.started else ""
    if prompt == "die":
        raise RuntimeError("no engine here")
    if prompt == "hang":
        signal.pause()
    lock = Lock(directory)
    try:
        lock.acquire()
    except SessionError as error:
        return say(cmd.HostReady(error=str(error), exit_code=2))
    if prompt == "refuse":
        return say(cmd.HostReady(error="no such model", exit_code=2))
    log = EventLog.open(directory)
    if request.started is not None:
        log.append(request.started)
    for command in request.commands:
        log.append(ev.Message(role="user", text=type(command).__name__))
    path = socket_path(directory)
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.fspath(path))
    server.listen()
    say(cmd.HostReady(pid=os.getpid()))
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                command = cmd.decode_command(line)
                match command:
                    case cmd.Say(text=text):
                        event = log.append(ev.Message(role="user", text=text))
                        stream.write(cmd.encode(cmd.Reply(seq=event.seq)))
                    case cmd.Undo():
                        stream.write(cmd.encode(cmd.Reply(error="nothing to undo")))
                    case cmd.Stop():
                        break
                    case cmd.Quit():
                        event = log.append(ev.SessionFinished(outcome="stopped"))
                        stream.write(cmd.encode(cmd.Reply(seq=event.seq)))
                        stream.flush()
                        path.unlink()
                        return 0
                stream.flush()


def say(ready: cmd.HostReady) -> int:
    os.write(1, to_json(ready) + b"\n")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    return ready.exit_code


if __name__ == "__main__":
    sys.exit(main())
