"""The options of ``backspace-tui review``."""

from __future__ import annotations

import argparse
from typing import Final

DESCRIPTION: Final = """\
See and decide a session's hunks. A unit is named as ID (the hunk), ID/2 (its second change block, ID/1-2,4 several)
or ID:3-5,8 (lines, by their position in the hunk). Options are carried out in the order of this list, each for one or
more units, or 'all'. Once they leave no hunk undecided, what is accepted is verified and committed."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare them on ``parser``."""
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--json", action="store_true", help="print the review as JSON")
    parser.add_argument(
        "--roll-back",
        metavar="STEP",
        type=int,
        help="put the agent's files back as they were after STEP, the number of an event that changed them "
        "(sessions show and --why print them); what you decided stays",
    )
    parser.add_argument(
        "--as-of",
        metavar="STEP",
        type=int,
        help="the units are named as in the review after STEP: where a name means another place since then, "
        "what it meant is decided about, or nothing",
    )
    parser.add_argument("--undo", action="store_true", help="take back the last decision")
    _several(parser, "--unstage", "take it back out")
    _several(parser, "--mark", "mark as reviewed, undecided")
    _several(parser, "--unmark", "take that mark off")
    _each(parser, "--comment", "UNIT=TEXT", "a comment to the agent")
    _several(parser, "--reject", "reject: it leaves the agent's files at its next turn")
    _each(parser, "--redo", "UNIT=TEXT", "reject, and ask the agent for another version")
    _each(parser, "--edit", "HUNK=FILE", "accept FILE's text (-: standard input) in place of the hunk's new side")
    _several(parser, "--accept", "accept; 'all' leaves out what changed after you decided")
    parser.add_argument("--accept-protected", action="store_true", help="also what runs on someone's machine")
    parser.add_argument("--verify", action="store_true", help="run the tests on what is accepted")
    parser.add_argument("--pull-request", action="store_true", help="commit what is accepted and open the request")
    parser.add_argument("--send-failures", action="store_true", help="have the agent work on what the tests printed")
    parser.add_argument("--why", metavar="HUNK", default="", help="print what made it instead of the review")
    parser.add_argument("--split", nargs="+", action="extend", default=[], metavar="PATH", help="show a rename as two")


def _several(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    parser.add_argument(name, nargs="+", action="extend", default=[], metavar="UNIT", help=text)


def _each(parser: argparse.ArgumentParser, name: str, metavar: str, text: str) -> None:
    parser.add_argument(name, action="append", default=[], metavar=metavar, help=text)
