"""How the forms are timed, so that a ratio of two of them means something on a machine that has other things to do.

One process; in each round every form runs once, in rotated order, after a call that is not timed; what is reported is
the ratio of two times of the same round. Threads are pinned on both sides. On one thread CPU time is counted, which is
steadier than wall time.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import threadpoolctl

SAMPLE = 2e-3  # seconds that one sample lasts at least; a faster function is called several times


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """NumPy's BLAS and torch on this number of threads; both as they were afterwards."""
    import torch  # takes seconds, and the harness's own tests do without

    before = torch.get_num_threads()
    with threadpoolctl.threadpool_limits(limits=threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def thread_counts() -> tuple[int, ...]:
    """One thread, and two where the machine has a second core to run it on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (1, 2) if cores > 1 else (1,)


def clock_for(threads: int) -> Callable[[], float]:
    """CPU time for one thread, where it is counted finely. Two are timed on the wall: CPU time would add them up."""
    fine = time.get_clock_info("process_time").resolution <= 1e-6
    return time.process_time if threads == 1 and fine else time.perf_counter


def clock_name(threads: int) -> str:
    """What that clock counts, in words, with what a reader must know of it."""
    if clock_for(threads) is time.process_time:
        return "CPU time"
    return "wall time: other work on the machine counts as well"


def calls_per_sample(call: Callable[[], Any], clock: Callable[[], float], sample: float = SAMPLE) -> int:
    """How many calls it takes to fill a sample: a power of two."""
    calls = 1
    while calls < 2**20:
        start = clock()
        for _ in range(calls):
            call()
        if clock() - start >= sample:
            break
        calls *= 2
    return calls


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The names in order, starting from number `by`: no form always runs after the same other."""
    by %= len(names)
    return [*names[by:], *names[:by]]


def time_rounds(
    contestants: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float], sample: float = SAMPLE
) -> dict[str, np.ndarray]:
    """Seconds per call of each contestant in each round: arrays of shape (rounds,)."""
    names = list(contestants)
    calls = {name: calls_per_sample(call, clock, sample) for name, call in contestants.items()}
    times = {name: np.empty(rounds) for name in names}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for r in range(rounds):
            for name in rotated(names, r):
                call = contestants[name]
                call()  # brings this form's arrays and code back into the caches, whoever ran before
                start = clock()
                for _ in range(calls[name]):
                    call()
                times[name][r] = (clock() - start) / calls[name]
    finally:
        if collecting:
            gc.enable()
    return times


def ratio(times: Mapping[str, np.ndarray], name: str, base: str) -> tuple[float, float]:
    """(median, minimum) over the rounds of `name`'s time divided by `base`'s time of the same round."""
    ratios = times[name] / times[base]
    return float(np.median(ratios)), float(np.min(ratios))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float | None:
    """The p of the best fit of `seconds` to a constant times sizes**p; None where there is one size alone."""
    if len(set(sizes)) < 2:
        return None
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(seconds, float))
    x -= x.mean()
    return float(x @ y / (x @ x))
