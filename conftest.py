"""What all tests share: the plugin (also where the project is not installed), one thread, one seed."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

pytest_plugins = ["gradproof.plugin", "pytester"]

# With these and no other arguments, all tests run.
ALL = {"-q", "-v", "--benchmark-disable"}
MOST = 4  # processes: each takes seconds to load torch


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """All tests take more than a minute: where they are asked for, side by side (`-n 0`: one after the other)."""
    asked = set(config.invocation_params.args) <= ALL and "PYTEST_XDIST_WORKER" not in os.environ
    if asked and config.pluginmanager.hasplugin("xdist") and (cores := os.cpu_count() or 1) > 1:
        config.option.numprocesses = min(cores, MOST)
        config.option.dist = "worksteal"  # tests of one file stay together, and what they share is made once


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Benchmarks run when they are asked for: --benchmark-only times them, --benchmark-disable runs each once."""
    asked = config.getoption("benchmark_only", False) or config.getoption("benchmark_disable", False)
    return True if collection_path.name.startswith("bench_") and not asked else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays, and need not be searched for garbage again: that would be a tenth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small pairs are faster on one thread, and sums are added in one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def rng():
    """A generator with a fixed seed, fresh for every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def report(request, impl, reference):
    """The comparison that the test module defines as `compare`, made once for all of its tests."""
    return request.module.compare(impl, reference)
