"""Arguments and wiring: the one module that sees every ring.

Nothing heavy is imported before it is known that it is needed: the window's first frame waits for this module.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from backspace_tui import __version__

PROGRAM: Final = "backspace-tui"

DESCRIPTION: Final = """\
A coding agent in your terminal. It works in a sandbox; you stage its changes hunk by hunk, the tests prove what you
staged, one key opens the pull request."""

COMMANDS_HELP: Final = """\
commands:
  run REPO -p PROMPT    without a window; ends in the review unless --accept says otherwise
  demo [--headless]     the whole job on a sample repository, with no account, key or network
  sessions              list the sessions
  attach SESSION        open the window of a session
  resume SESSION        continue a session that ended
  replay SESSION        step through a session, forward and back
  review SESSION        see and decide its hunks from a script
  sandbox COMMAND       build the image, run a command in a sandbox, open a session's shell, remove leftovers
  costs                 what the models cost, by model and by repository
  doctor                what works here, and the one command that mends what does not
'backspace-tui COMMAND --help' tells more. A SESSION is an id, its beginning, or 'last'."""


SHARING_HELP: Final = """\
also:
  sessions apply SESSION    put the accepted work into your checkout
  sessions export SESSION   write a session into one file
  sessions import FILE      make a session of such a file
  sessions prune            remove many
'backspace-tui sessions apply --help' tells more."""

EXPORT_HELP: Final = """\
markdown is a report, html a page to step through, cast a recording that asciinema plays, and jsonl the session's
events and objects, which 'backspace-tui sessions import' makes a session of again."""

ANSWER_HELP: Final = "answer the question that the session waits with: in your own words, or an option or its number"


class UsageError(Exception):
    """Wrong usage: the line that says so; exit code 2."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: {message}; see '{self.prog} --help'\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit code. Errors are one line on stderr, with ``--debug`` a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names and texts hold characters that not every terminal's encoding has.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(arguments)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Here, where a reader that went away is met in peace.
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as problem:
        if debug:
            import traceback

            traceback.print_exc()
        return _report(problem)


def _open_closed_streams() -> None:
    """Give every standard stream that the caller closed something to write to, so that nothing trips over it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it stays open for as long as the program runs


def _report(problem: Exception) -> int:
    if isinstance(problem, UsageError):
        code = 2
    elif isinstance(problem, OSError) and not hasattr(problem, "exit_code"):
        problem, code = _system_error(problem), 1
    else:
        code = getattr(problem, "exit_code", 1)
    text = str(problem) or type(problem).__name__
    if not getattr(problem, "exit_code", None) and code == 1 and type(problem).__module__ == "builtins":
        text = f"unexpected {type(problem).__name__}: {text} (--debug shows where)"
    from backspace_tui.core.terminal_text import clean

    # What it names may come from a repository or a log that somebody else wrote.
    print(f"{PROGRAM}: {clean(text)}", file=sys.stderr)
    return code


def _system_error(problem: OSError) -> Exception:
    from pathlib import Path

    from backspace_tui.sessions.errors import storage_error

    return storage_error(problem, Path(os.fsdecode(problem.filename or ".")))


def _dispatch(arguments: list[str]) -> int:
    # The first frame does not wait for the garbage collector; the window turns it on again behind it.
    gc.disable()
    if arguments and arguments[0] in COMMANDS:
        gc.enable()
        return COMMANDS[arguments[0]](arguments[1:])
    return _workspace(arguments)


def _parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"{PROGRAM} {name}".strip(),
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_session_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="a model, in order of preference; repeatable"
    )
    parser.add_argument("--sandbox", choices=("docker", "bubblewrap"), help="what isolates the agent (default docker)")
    parser.add_argument("--trust", action="store_true", help="use the [project] settings of its .backspace.toml")
    parser.add_argument("--include-dirty", action="store_true", help="start from your uncommitted changes as well")


def _workspace(arguments: list[str]) -> int:
    from backspace_tui.models.grammar import GRAMMAR

    parser = _parser("", DESCRIPTION, f"{COMMANDS_HELP}\n\n{GRAMMAR}")
    parser.add_argument("repository", nargs="?", default=".", metavar="REPO", help="a path or a URL (default: here)")
    _add_session_options(parser)
    parser.add_argument("--remote", action="store_true", help="draw less often, for slow connections")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    options = parser.parse_args(arguments)
    from backspace_tui import opening

    opening.check_terminal()
    template, notice = opening.session(options, prompt="", interactive=True)
    return opening.window(template=template, remote=options.remote, debug=options.debug, notice=notice)


def _run(arguments: list[str]) -> int:
    from backspace_tui.models.grammar import GRAMMAR

    parser = _parser("run", "Run the agent without a window.", GRAMMAR)
    parser.add_argument("repository", metavar="REPO", help="a path or a URL")
    parser.add_argument("-p", "--prompt", required=True, help="what you want")
    parser.add_argument("--json", action="store_true", help="print the log's events, one a line, as they happen")
    parser.add_argument(
        "--accept", choices=("all", "verified", "none"), default="none", help="what to accept (default none)"
    )
    parser.add_argument("--pull-request", action="store_true", help="also push and open the pull request")
    _add_session_options(parser)
    options = parser.parse_args(arguments)
    if options.pull_request and options.accept == "none":
        raise UsageError("--pull-request needs --accept all or verified; without it the run ends in the review")
    from backspace_tui import opening

    return opening.run(options)


def _demo(arguments: list[str]) -> int:
    parser = _parser("demo", "The whole job on a sample repository, with no account, key or network.")
    parser.add_argument("--headless", action="store_true", help="without a window: accept, verify, open the request")
    parser.add_argument("--sandbox", choices=("docker", "bubblewrap", "process"), help="use just this one")
    options = parser.parse_args(arguments)
    from backspace_tui import demo

    return demo.run(headless=options.headless, backend=options.sandbox or "", debug=options.debug)


def _sessions(arguments: list[str]) -> int:
    if arguments and arguments[0] in SHARING:
        return SHARING[arguments[0]](arguments[1:])
    if "prune" in arguments[:1]:
        from backspace_tui import pruning

        return pruning.main(_parser("sessions prune", pruning.DESCRIPTION), arguments[1:])
    parser = _parser("sessions", "List, show, fork, rename or delete sessions.", SHARING_HELP)
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--search", default="", metavar="TEXT", help="only those that hold it, in their prompt, name or log"
    )
    parser.add_argument("action", nargs="?", choices=("list", "show", "fork", "rename", "delete"), default="list")
    parser.add_argument("session", nargs="?", metavar="SESSION")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the new name (rename)")
    parser.add_argument("--at", type=int, metavar="STEP", help="fork: up to this step (default: all of it)")
    parser.add_argument("-p", "--prompt", help="fork: what the new session is to do next")
    parser.add_argument("--headless", action="store_true", help="fork: run it, without a window")
    options = parser.parse_args(arguments)
    if options.action != "list" and not options.session:
        raise UsageError(f"sessions {options.action} needs a session's id; 'backspace-tui sessions' lists them")
    if options.action == "fork":
        from backspace_tui import forking

        return forking.run(options)
    if options.at is not None or options.prompt is not None or options.headless:
        raise UsageError("--at, --prompt and --headless go with: backspace-tui sessions fork SESSION")
    from backspace_tui import listing

    if options.action == "list":
        return listing.listed(search=options.search, as_json=options.json)
    return listing.sessions(options.action, options.session or "", options.name or "", as_json=options.json)


def _sessions_apply(arguments: list[str]) -> int:
    parser = _parser("sessions apply", "Put the accepted work into your checkout: a merge, or uncommitted changes.")
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--uncommitted", action="store_true", help="as changes of files, without a commit")
    options = parser.parse_args(arguments)
    from backspace_tui import applying

    return applying.run(options.session, uncommitted=options.uncommitted)


def _sessions_export(arguments: list[str]) -> int:
    from backspace_tui.sharing import FORMATS, export

    parser = _parser("sessions export", "Write a session into one file, without its secrets.", EXPORT_HELP)
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--format", choices=tuple(FORMATS), default="markdown", help="which one (default markdown)")
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="- is standard output (default: by the id)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    options = parser.parse_args(arguments)
    return export(options.session, options.format, options.output, force=options.force)


def _sessions_import(arguments: list[str]) -> int:
    parser = _parser("sessions import", "Make a session of a file that sessions export --format jsonl wrote.")
    parser.add_argument("file", metavar="FILE")
    options = parser.parse_args(arguments)
    from backspace_tui import sharing

    return sharing.import_(options.file)


def _attach(arguments: list[str]) -> int:
    parser = _parser("attach", "Open the window of a session; one that rests is started again.")
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--answer", metavar="TEXT", help=ANSWER_HELP)
    parser.add_argument("--read-only", action="store_true", help="only look: nothing is asked of the session")
    parser.add_argument("--remote", action="store_true", help="draw less often, for slow connections")
    options = parser.parse_args(arguments)
    if options.read_only and options.answer is not None:
        raise UsageError("--answer asks something of the session; leave --read-only out")
    from backspace_tui import opening

    opening.check_terminal("resume SESSION --headless")
    return opening.attach(options.session, remote=options.remote, answer=options.answer, read_only=options.read_only)


def _resume(arguments: list[str]) -> int:
    parser = _parser("resume", "Continue a session: in a window, or without one where there is no terminal.")
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--headless", action="store_true", help="without a window also in a terminal")
    parser.add_argument("--answer", metavar="TEXT", help=ANSWER_HELP)
    parser.add_argument("--json", action="store_true", help="print the log's events, one a line, as they happen")
    options = parser.parse_args(arguments)
    from backspace_tui import opening

    return opening.resume(options)


def _replay(arguments: list[str]) -> int:
    parser = _parser("replay", "Step through a session, forward and back; nothing is run or changed.")
    from backspace_tui.core.playback import SPEEDS

    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--at", type=int, metavar="STEP", help="open at this event (the seq of its log)")
    parser.add_argument(
        "--speed",
        type=float,
        choices=SPEEDS,
        metavar="X",
        help="play at once: 0.5, 1, 2, 4, 8 or 16",
    )
    parser.add_argument("--remote", action="store_true", help="draw less often, for slow connections")
    options = parser.parse_args(arguments)
    from backspace_tui import opening

    opening.check_terminal("sessions show SESSION")
    return opening.replay(options.session, remote=options.remote, at=options.at, speed=options.speed or 0.0)


def _review(arguments: list[str]) -> int:
    from backspace_tui import review_options, reviewing

    parser = _parser("review", review_options.DESCRIPTION)
    review_options.add(parser)
    options = parser.parse_args(arguments)
    return reviewing.run(options)


def _sandbox(arguments: list[str]) -> int:
    parser = _parser("sandbox", "The sandbox's image, commands in it, a session's shell, and leftovers.")
    names = "build|exec|shell|prune"
    actions = parser.add_subparsers(dest="action", required=True, metavar=names, parser_class=_Parser)
    build = actions.add_parser("build", help="make the image, from a registry or from Debian packages")
    build.add_argument("--slim", action="store_true", help="the small image that the demo uses")
    execute = actions.add_parser("exec", help="run one command in a sandbox that holds a copy of a folder")
    execute.add_argument("--repo", required=True, metavar="DIR")
    execute.add_argument("--timeout", type=float, default=None, metavar="SECONDS")
    execute.add_argument("--sandbox", choices=("docker", "bubblewrap"), default="docker")
    execute.add_argument("--profile", choices=("default", "strict"), default="default")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    shell = actions.add_parser("shell", help="open a shell in the sandbox of a session's agent")
    shell.add_argument("session", metavar="SESSION")
    actions.add_parser("prune", help="remove what a crashed machine left behind")
    options = parser.parse_args(arguments)
    from backspace_tui import sandboxing

    return sandboxing.run(options)


def _costs(arguments: list[str]) -> int:
    parser = _parser("costs", "What the models cost over all sessions, deleted ones included.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--since", default="", metavar="DATE", help="only from this day on, such as 2026-01-31")
    options = parser.parse_args(arguments)
    from backspace_tui import costs

    return costs.run(after=options.since, as_json=options.json)


def _doctor(arguments: list[str]) -> int:
    parser = _parser("doctor", "What works here, what does not, and the one command that mends it.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
    from backspace_tui import doctor

    return doctor.run(as_json=options.json)


def _host(_arguments: list[str]) -> int:
    from backspace_tui import wiring

    return wiring.host()


SHARING: Final[dict[str, Callable[[list[str]], int]]] = {
    "apply": _sessions_apply,
    "export": _sessions_export,
    "import": _sessions_import,
}

COMMANDS: Final[dict[str, Callable[[list[str]], int]]] = {
    "run": _run,
    "demo": _demo,
    "sessions": _sessions,
    "attach": _attach,
    "resume": _resume,
    "replay": _replay,
    "review": _review,
    "sandbox": _sandbox,
    "costs": _costs,
    "doctor": _doctor,
    "_host": _host,
}
