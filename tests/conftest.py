"""The fixture of the benchmarks, `race`, and the table that ends a run of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gradproof.plugin import subject_of
from tests.benchmarking import measure, table
from tests.benchmarking.contest import Contest, Contestants

Race = Callable[[Callable[..., Contestants]], None]
TIMED = pytest.StashKey[list[table.Timed]]()
CHECKED = pytest.StashKey[set[tuple[str, int]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TIMED], config.stash[CHECKED] = [], set()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test id per size, form and number of threads, the forms of one size next to each other.

    Where nothing is timed (--benchmark-disable), one thread will do, and all sizes but the largest.
    """
    if "race" not in metafunc.fixturenames:
        return
    timing = not metafunc.config.getoption("benchmark_disable", False)
    sizes = metafunc.module.SIZES if timing else sorted(metafunc.module.SIZES)[:-1]
    # Where the forms are not equal, nothing is timed: that failure is to be seen, not a second one about the fixture.
    unused = pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all")
    entries = [
        pytest.param(
            (size, form, threads),
            id=f"{size}-{form}-{threads}thread{'s' * (threads > 1)}",
            marks=[unused, pytest.mark.benchmark(timer=measure.clock_for(threads))],
        )
        for threads in (measure.thread_counts() if timing else (1,))
        for size in sizes
        for form in metafunc.module.FORMS
    ]
    metafunc.parametrize("race", entries, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --benchmark-only all other tests are left out: skipped one by one they would fill the screen."""
    if not config.getoption("benchmark_only", False):
        return
    timed = [item for item in items if "race" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=list(set(items) - set(timed)))
    items[:] = timed


@pytest.fixture
def race(request: pytest.FixtureRequest, impl: Any, reference: Any, benchmark: Any) -> Race:
    """`race(contestants)`: assert that all forms give equal results, then time the one form of this test id.

    With --benchmark-disable the form runs once, untimed.
    """
    size, form, threads = request.param
    checked, timed = request.config.stash[CHECKED], request.config.stash[TIMED]

    def run(contestants: Callable[..., Contestants]) -> None:
        __tracebackhide__ = True
        contest = Contest(subject_of(request.module.__name__), request.module, impl, reference, contestants)
        with measure.pinned(threads):
            if (contest.subject, size) not in checked:
                contest.check(contest.unit, size)
                checked.add((contest.subject, size))
            call = contest.contestants(contest.unit, size).get(form)
            if call is None:
                pytest.skip(f"the {form} form is too slow at {size:,} {contest.unit}, and does not race there")
            benchmark.group = f"{contest.subject}, {size:,} {contest.unit}, {threads} thread{'s' * (threads > 1)}"
            benchmark(call)
        if benchmark.stats is not None:
            timed.append(table.Timed(contest.subject, contest.unit, threads, size, form, benchmark.stats.stats.min))

    return run


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """After pytest-benchmark's own tables: the forms side by side, and how their cost grows."""
    lines = table.summary(config.stash[TIMED])
    if lines:
        terminalreporter.section("hand-written NumPy beside torch: smallest time of each form")
        for line in lines:
            terminalreporter.write_line(line)
