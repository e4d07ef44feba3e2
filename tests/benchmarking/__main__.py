"""Measure the benchmarks and print their table in Markdown: python -m tests.benchmarking"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.benchmarking import measure, plot, table
from tests.benchmarking.contest import TOLERANCE, Contest, find_contests, load_contest
from tests.benchmarking.peers import PEERS, checked_peer

ROOT = Path(__file__).parents[2]

EXPLANATION = """
Every number after the second column is a ratio of times: how many times as long as the best hand-written form (**1**:
the vectorised or the tuned, whichever is faster at this size) this form takes for the same results on the same arrays.
Above 1 the hand-written NumPy is ahead. torch is eager autograd, others as named: median over the rounds, and in
brackets the smallest. Before a subject is timed, all its forms are asserted to give equal results.
"""
GROWTH = """
The cost grows as size^p: the exponent p fitted over all sizes, and in brackets between the last two. Small sizes
cost what the calls cost, whatever the size: there p is near 0.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m tests.benchmarking",
        description="Times each subject's forms (per-sample loop, vectorised, tuned, torch) side by side, and prints"
        " the table of their ratios, and of how their cost grows, in Markdown. Progress goes to the standard error.",
        epilog="In each round every form runs once, in rotated order, after a call that is not timed; ratios are taken"
        " within a round. With one thread CPU time is counted, with more the time on the wall.",
    )
    result.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help="which subjects (default: all with a benchmark file)"
    )
    result.add_argument("--rounds", type=int, default=15, metavar="N", help="rounds per size (default: 15)")
    result.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of NumPy's BLAS and of torch (default: 1)"
    )
    result.add_argument("--dtype", choices=sorted(TOLERANCE), default="float64", help="default: float64")
    result.add_argument(
        "--peer",
        action="append",
        default=[],
        choices=sorted(PEERS),
        help="a further way to the same gradients (repeatable); torch.compile needs a C++ compiler, and up to a minute"
        " a size; vmap(grad) is left out where the loss is no mean over samples, jax where JAX is not installed or"
        " lacks one of the loss's operations",
    )
    result.add_argument("--plot", type=Path, metavar="FILE", help="draw time against size, both logarithmic, as a PNG")
    return result


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_row(contest: Contest, axis: str, size: int, options: argparse.Namespace, peers: list[str]) -> table.Row:
    """Assert that the forms agree at this size, then time them. A peer that fails is said so, and taken off `peers`."""
    contest.check(axis, size, options.dtype, extra=True)
    contestants = contest.contestants(axis, size, options.dtype, extra=True)
    for name in peers[:]:
        try:
            contestants[name] = checked_peer(name, contest, axis, size, options.dtype)
        except Exception as error:  # a compiler that is missing, an operation that a transform does not know ...
            peers.remove(name)
            say(f"  {name} left out: {str(error).strip().splitlines()[0]}")
    times = measure.time_rounds(contestants, options.rounds, measure.clock_for(options.threads))
    return table.Row(contest.subject, axis, size, times)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, draw. Returns 2 where a subject has no benchmark file."""
    options = parser().parse_args(arguments)
    found = {subject.name: (subject, path) for subject, path in find_contests(ROOT)}
    unknown = [name for name in options.subjects if name not in found]
    if unknown or not found:
        say(f"no benchmark file for {', '.join(unknown) or 'any subject'}; there are: {', '.join(found) or 'none'}")
        return 2
    rows, start = [], time.monotonic()
    with measure.pinned(options.threads):
        for name in options.subjects or found:
            contest, peers = load_contest(*found[name]), list(options.peer)
            for axis, sizes in contest.axes.items():
                for size in sizes:
                    say(f"[{time.monotonic() - start:4.0f} s] {name}: {size:,} {axis}")
                    rows.append(measure_row(contest, axis, size, options, peers))
    threads = f"{options.threads} thread{'s' * (options.threads > 1)} ({measure.clock_name(options.threads)})"
    print(f"{table.machine()}; {threads}, {options.dtype}, {options.rounds} rounds.")
    print(EXPLANATION, *table.ratio_table(rows), GROWTH, *table.growth_table(rows), sep="\n")
    if options.plot:
        plot.draw(rows, options.plot)
        say(f"wrote {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
