"""Choosing lines of a diff: the bytes that hold the chosen changes and no others.

Rule R decides the order inside a block (a maximal run of changed lines): deletions that were not chosen stay in
order, and the i-th run of chosen additions goes where the i-th run of chosen deletions was.
"""

from __future__ import annotations

import msgspec

from backspace_tui.core.alignment import Span, align, split_lines


class Block(msgspec.Struct, frozen=True):
    """A maximal run of changed lines; lines hold their line feeds, where they have one.

    ``old_start`` and ``new_start`` count from 1. A side without lines is numbered by the line that follows.
    """

    old_start: int
    old: tuple[bytes, ...]
    new_start: int
    new: tuple[bytes, ...]


def blocks(base: bytes, work: bytes, diff: bytes) -> tuple[Block, ...]:
    """The blocks of ``diff``, which must lead from ``base`` to ``work``.

    Raises:
        ValueError: the diff is malformed or is not a diff of these two.
    """
    old, new = split_lines(base), split_lines(work)
    return tuple(
        Block(
            span.old_start + 1,
            tuple(old[span.old_start : span.old_end]),
            span.new_start + 1,
            tuple(new[span.new_start : span.new_end]),
        )
        for span in align(old, new, diff)
    )


def stage(base: bytes, work: bytes, diff: bytes, deletions: frozenset[int], additions: frozenset[int]) -> bytes:
    """``base`` with the chosen lines of ``diff`` applied; everything chosen gives ``work``, nothing ``base``.

    ``deletions`` are old line numbers of ``-`` lines, ``additions`` new line numbers of ``+`` lines, both from 1.
    ``diff`` is a unified diff from ``base`` to ``work`` of any context size and tells only which lines correspond:
    content is taken from the two blobs, byte for byte. Within a block, kept deletions stay in order; the
    i-th run of consecutive chosen additions goes where the i-th run of consecutive chosen deletions was, surplus
    runs follow the last one placed; with no deletion chosen, additions follow all the kept lines. A line without a
    line feed that is no longer the last one gets the file's dominant line ending.

    Raises:
        ValueError: a number names no such line of the diff, or the diff is not one of these two blobs.
    """
    old, new = split_lines(base), split_lines(work)
    changed = align(old, new, diff)
    result: list[bytes] = []
    at = taken = 0
    for span in changed:
        result += old[at : span.old_start]
        at = span.old_end
        offered_out = range(span.old_start + 1, span.old_end + 1)
        offered_in = range(span.new_start + 1, span.new_end + 1)
        # Whole blocks are by far the commonest choice, and these tests run in C.
        if deletions.isdisjoint(offered_out) and additions.isdisjoint(offered_in):
            result += old[span.old_start : span.old_end]
        elif deletions.issuperset(offered_out) and additions.issuperset(offered_in):
            result += new[span.new_start : span.new_end]
            taken += len(offered_out) + len(offered_in)
        else:
            out = [n - 1 for n in offered_out if n in deletions]
            into = [n - 1 for n in offered_in if n in additions]
            result += _order(old, new, span, out, into)
            taken += len(out) + len(into)
    result += old[at:]
    if taken != len(deletions) + len(additions):
        raise ValueError(_not_offered(changed, deletions, additions))
    if not (base.endswith(b"\n") and work.endswith(b"\n")):
        end_lines(result, base, work)
    return b"".join(result)


def _order(old: list[bytes], new: list[bytes], span: Span, out: list[int], into: list[int]) -> list[bytes]:
    """Rule R for one block: ``out`` are the positions of chosen deletions, ``into`` of chosen additions."""
    if not out:
        return old[span.old_start : span.old_end] + [new[n] for n in into]
    runs = _runs(into)
    gaps = _runs(out)
    result: list[bytes] = []
    at = span.old_start
    for index, (start, end) in enumerate(gaps):
        result += old[at:start]
        at = end
        for first, last in runs[index:] if index == len(gaps) - 1 else runs[index : index + 1]:
            result += new[first:last]
    result += old[at : span.old_end]
    return result


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Maximal runs of consecutive numbers, as half-open ranges."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def end_lines(lines: list[bytes], base: bytes, work: bytes) -> None:
    """Give every line but the last a line ending, in place: the commoner one of the two contents."""
    ending = b""
    for index in range(len(lines) - 1):
        if not lines[index].endswith(b"\n"):
            ending = ending or _dominant_ending(base, work)
            lines[index] += ending


def _dominant_ending(base: bytes, work: bytes) -> bytes:
    """The commoner line ending of ``base``; where it has none or as many of both, of ``work``; else a line feed."""
    for data in (base, work):
        windows = data.count(b"\r\n")
        plain = data.count(b"\n") - windows
        if windows != plain:
            return b"\r\n" if windows > plain else b"\n"
    return b"\n"


def _not_offered(changed: tuple[Span, ...], deletions: frozenset[int], additions: frozenset[int]) -> str:
    old = {n + 1 for span in changed for n in range(span.old_start, span.old_end)}
    new = {n + 1 for span in changed for n in range(span.new_start, span.new_end)}
    for what, numbers in (("deletion at old line", deletions - old), ("addition at new line", additions - new)):
        if numbers:
            named = ", ".join(str(n) for n in sorted(numbers)[:5])
            return f"the diff offers no {what} {named}"
    raise AssertionError("every chosen line is offered")
