"""Which sessions a prune removes: pure, so that what is asked about is what is done."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backspace_tui.core.sizes import parse_size, parse_time


class Candidate(msgspec.Struct, frozen=True):
    """A session as pruning sees it: seconds since anything happened in it, and bytes on disk.

    ``running``: its process is alive. ``unsaved``: it holds accepted work that no commit holds, or nobody can tell.
    """

    id: str
    age: float
    size: int
    running: bool = False
    unsaved: bool = False


class Rule(msgspec.Struct, frozen=True):
    """What is asked for; a session has to meet every criterion that is set.

    ``older_than`` seconds, ``larger_than`` bytes, all but the newest ``keep``. ``force`` takes unsaved work along.
    """

    older_than: float | None = None
    larger_than: int | None = None
    keep: int | None = None
    force: bool = False

    @property
    def empty(self) -> bool:
        """Whether no criterion is set."""
        return self.older_than is None and self.larger_than is None and self.keep is None


def parse_rule(text: str) -> Rule:
    """The rule that a line says: ``older 30d``, ``larger 500m``, ``keep 20`` and ``force``, in any order.

    Raises:
        ValueError: it says something else, or no criterion.
    """
    words = text.split()
    older: float | None = None
    larger: int | None = None
    keep: int | None = None
    force = False
    while words:
        match words:
            case ["force", *rest]:
                force = True
            case ["older", value, *rest]:
                older = parse_time(value)
            case ["larger", value, *rest]:
                larger = parse_size(value)
            case ["keep", value, *rest] if value.isdecimal():
                keep = int(value)
            case _:
                raise ValueError(f"{words[0]!r} is not understood; write it like: older 30d larger 500m keep 20")
        words = rest
    rule = Rule(older, larger, keep, force)
    if rule.empty:
        raise ValueError("say what may go, like: older 30d larger 500m keep 20")
    return rule


class Plan(msgspec.Struct, frozen=True):
    """What goes, and what would go but for being at work or holding work that nothing else holds."""

    doomed: tuple[Candidate, ...]
    running: tuple[Candidate, ...]
    unsaved: tuple[Candidate, ...]

    @property
    def size(self) -> int:
        """The bytes that are freed."""
        return sum(item.size for item in self.doomed)


def plan(sessions: Sequence[Candidate], rule: Rule) -> Plan:
    """What ``rule`` removes of ``sessions``; nothing where it sets no criterion."""
    if rule.empty:
        return Plan((), (), ())
    newest = sorted(sessions, key=lambda item: (item.age, item.id))
    meant = [
        item
        for number, item in enumerate(newest)
        if (rule.keep is None or number >= rule.keep)
        and (rule.older_than is None or item.age > rule.older_than)
        and (rule.larger_than is None or item.size > rule.larger_than)
    ]
    running = tuple(item for item in meant if item.running)
    unsaved = tuple(item for item in meant if not item.running and item.unsaved and not rule.force)
    doomed = tuple(item for item in meant if not item.running and (not item.unsaved or rule.force))
    return Plan(doomed, running, unsaved)
