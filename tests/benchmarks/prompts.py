"""How many tokens the prompts cost, and how much of each is the one before: python -m tests.benchmarks.prompts.

A recorded task runs through the real program (its own process, the real loop, real tools) against a server on
loopback; everything is counted from the bodies of the requests that arrived there, with the tokenizer of gpt-4o. A
prompt counts in the order in which providers cache it: tools, system, messages.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from tests.benchmarks.prompts_task import PLAN, REQUEST, shop, turns
from tests.models.openai_server import OpenAIServer
from tests.program import Program, make_repository

TURN = 10
FIXED_LIMIT = 3_000
SHARE_LIMIT = 0.95

Body = dict[str, Any]
Count = Callable[[str], int]


def record(sandbox: str) -> list[Body]:
    """Run the task; returns the bodies of its requests, oldest first."""
    with tempfile.TemporaryDirectory() as folder, OpenAIServer(turns(), texts=[PLAN, "APPROVE"]) as server:
        program = Program(Path(folder), OPENAI_API_KEY="sk-test-key-0123456789", OPENAI_BASE_URL=server.url)
        repository = make_repository(Path(folder) / "shop", shop())
        options = ("--model", "openai/gpt-4o", "--sandbox", sandbox, "--accept", "all")
        done = program.run("run", str(repository), "-p", REQUEST, *options)
        if done.returncode not in (0, 3) or server.problems:
            raise SystemExit(f"the task did not go through: {done.stderr or done.stdout} {server.problems}")
        return server.bodies


def tokenizer() -> Count:
    """Tokens of a text, counted without a network."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    return lambda text: len(litellm.encode(model="gpt-4o", text=text))


def pieces(body: Body) -> list[str]:
    """A prompt's parts in the order in which providers cache them."""
    return [_json(body.get("tools", [])), *(_json(message) for message in body["messages"])]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def kept(before: Body, after: Body) -> list[str]:
    """The parts at the beginning of ``after`` that are those of ``before``, unchanged."""
    pairs = zip(pieces(before), pieces(after), strict=False)
    return [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]


def shares(bodies: Sequence[Body], count: Count) -> list[float]:
    """For each turn after the first: the share of its prompt that is an unchanged prefix of the last one."""
    return [sum(map(count, kept(one, two))) / sum(map(count, pieces(two))) for one, two in pairwise(bodies)]


def report(bodies: Sequence[Body], count: Count) -> str:
    """The table for CONTRIBUTING.md."""
    loop = [body for body in bodies if body.get("tools")]
    total = sum(count(piece) for body in bodies for piece in pieces(body))
    parts = pieces(loop[0])
    system, tools = count(parts[1]), count(parts[0])
    share = shares(loop, count)
    cached = sum(count(piece) for one, two in pairwise(loop) for piece in kept(one, two))
    whole = all(len(kept(one, two)) == len(pieces(one)) for one, two in pairwise(loop))
    texts = ", ".join(str(count(pieces(body)[1])) for body in bodies if not body.get("tools"))
    rows = [
        ("system prompt plus tool schemas", f"{system + tools} ({system} + {tools})", f"under {FIXED_LIMIT}"),
        ("system prompts of plan and critique", texts, ""),
        (f"unchanged prefix, turn {TURN}", f"{share[TURN - 2]:.1%}", f"over {SHARE_LIMIT:.0%}"),
        ("the last prompt comes back whole in each", "yes" if whole else "no", "yes"),
        (f"tokens of the task's {len(bodies)} prompts", f"{total}", ""),
        ("of them not seen in the prompt before", f"{total - cached}", ""),
    ]
    return "\n".join(["| tokens | measured | target |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    """Run the task and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandbox", choices=("docker", "bubblewrap"), default="bubblewrap")
    parser.add_argument("--turns", action="store_true", help="also the prompt of each turn")
    arguments = parser.parse_args()
    bodies, count = record(arguments.sandbox), tokenizer()
    print(report(bodies, count))
    if arguments.turns:
        loop = [body for body in bodies if body.get("tools")]
        print("\n| turn | tokens | unchanged |\n|---|---|---|")
        for number, (body, share) in enumerate(zip(loop, [0.0, *shares(loop, count)], strict=True), 1):
            print(f"| {number} | {sum(map(count, pieces(body)))} | {share:.1%} |")


if __name__ == "__main__":
    main()
