"""The benchmarks' harness itself: what it asserts, how it times, what it prints. Clocks and contestants are fakes."""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.benchmarking import __main__ as command
from tests.benchmarking import in_jax, measure, peers, plot, table
from tests.benchmarking.contest import Contest, assert_equal, find_contests, leaves

pytest_plugins = ["pytester"]


class Clock:
    """Time that passes only where a fake contestant says so."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def contestant(self, name, seconds):
        durations = itertools.cycle(np.atleast_1d(seconds))

        def call():
            self.log.append(name)
            self.now += next(durations)

        return call


# ---------------------------------------------------------------- what is asserted before anything is timed


def test_equal_nests_of_arrays_and_tensors_pass():
    numpy_result = (1.5, {"W": np.array([1.0, 2.0]), "b": np.array(3.0)})
    torch_result = [torch.tensor(1.5), {"b": torch.tensor(3.0), "W": torch.tensor([1.0, 2.0 + 1e-12]).double()}]
    torch_result[1]["W"].requires_grad_()
    assert_equal({"vectorised": numpy_result, "torch": torch_result}, 1e-6, "toy")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ((1.5, {"W": np.array([1.0, 2.1])}), r"differ in result\[1\]\['W'\], by 4.5e-02 of its norm; allowed is 1e-10"),
        ((1.6, {"W": np.array([1.0, 2.0])}), r"differ in result\[0\]"),
        ((1.5, {"W": np.array([[1.0, 2.0]])}), r"result\[1\]\['W'\] has shape \(2,\) from loop, \(1, 2\) from torch"),
        ((1.5, {"V": np.array([1.0, 2.0])}), r"not give the same quantities: result\[1\]\['V'\], result\[1\]\['W'\]"),
        ((1.5, {"W": np.array([1.0, np.nan])}), r"differ in result\[1\]\['W'\]"),
    ],
)
def test_unequal_results_are_named(other, message):
    with pytest.raises(AssertionError, match=message):
        assert_equal({"loop": (1.5, {"W": np.array([1.0, 2.0])}), "torch": other}, 1e-10, "toy")


def test_all_forms_failing_alike_is_no_success():
    with pytest.raises(AssertionError, match="loop gives a result that is not finite"):
        assert_equal({"loop": np.nan, "torch": np.nan}, 1e-10, "toy")


def test_tiny_results_are_compared_as_strictly_as_large_ones():
    with pytest.raises(AssertionError, match=r"by 5.0e-01 of its norm"):
        assert_equal({"loop": 2e-200, "torch": 3e-200}, 1e-10, "toy")


def test_zero_equals_nothing_but_zero():
    assert_equal({"loop": 0.0, "torch": np.float64(0)}, 1e-10, "toy")
    with pytest.raises(AssertionError, match="by inf"):
        assert_equal({"loop": 0.0, "torch": 1e-30}, 1e-10, "toy")


def test_every_array_of_a_nest_has_its_path():
    found = dict(leaves({"b": (1.0, [2.0]), "a": torch.tensor([3.0])}))
    assert list(found) == ["result['a']", "result['b'][0]", "result['b'][1][0]"]


def contest(forms, found, **names):
    module = SimpleNamespace(__name__="bench_toy", SIZES=(2, 8, 32), UNIT="samples", FORMS=forms, **names)
    return Contest("toy", module, "impl", "reference", found)


def test_contestants_run_in_the_order_of_forms_and_may_lack_slow_ones():
    toy = contest(("loop", "vectorised", "torch"), lambda *_: {"torch": int, "vectorised": int})
    assert list(toy.contestants("samples", 8)) == ["vectorised", "torch"]


@pytest.mark.parametrize("found", [{"vectorised": int, "vectorized": int}, {"torch": int}])
def test_contestants_that_forms_does_not_announce_are_refused(found):
    toy = contest(("loop", "vectorised", "torch"), lambda *_: found)
    with pytest.raises(ValueError, match="FORMS says loop, vectorised, torch"):
        toy.contestants("samples", 8)


def test_contestants_get_size_dtype_and_one_further_axis_at_a_time():
    seen = []

    def make(impl, reference, size, dtype, steps=5):
        seen.append((impl, reference, size, dtype, steps))
        return {"vectorised": int}

    toy = contest(("vectorised",), make, AXES={"steps": (5, 20)})
    assert toy.axes == {"samples": (2, 8, 32), "steps": (5, 20)}
    toy.contestants("samples", 2, "float32")
    toy.contestants("steps", 20)
    assert seen == [("impl", "reference", 2, np.float32, 5), ("impl", "reference", 8, np.float64, 20)]


def test_libraries_that_only_the_table_asks_for():
    toy = contest(("vectorised",), lambda *_: {"vectorised": int}, extra_contestants=lambda *_: {"jax": int})
    assert list(toy.contestants("samples", 2)) == ["vectorised"]
    assert list(toy.contestants("samples", 2, extra=True)) == ["vectorised", "jax"]


# ---------------------------------------------------------------- other ways to the same gradients


def torch_contest(loss):
    """A contest whose torch form takes this loss of w and four samples x."""
    w, x = torch.tensor(3.0, dtype=torch.float64), torch.arange(1.0, 5.0, dtype=torch.float64)

    def make(impl, reference, size, dtype):
        def torch_form():
            tensor = w.clone().requires_grad_()
            value = reference.loss({"w": tensor}, x, scale=2.0)
            value = sum(value.values()) if isinstance(value, dict) else value
            return value, {"w": torch.autograd.grad(value, tensor)[0]}

        return {"vectorised": int, "torch": torch_form}

    toy = contest(("vectorised", "torch"), make)
    return replace(toy, reference=SimpleNamespace(loss=loss))


@pytest.mark.parametrize("name", ["mean", "terms"])
def test_vmap_grad_of_a_mean_over_samples_is_the_gradient(name):
    losses = {
        "mean": lambda params, x, scale: scale * (params["w"] * x).square().mean(),
        "terms": lambda params, x, scale: {
            "data": (params["w"] * x).square().mean(),
            "penalty": scale * params["w"] ** 2,
        },
    }
    toy = torch_contest(losses[name])
    value, grads = peers.checked_peer("vmap(grad)", toy, "samples", 2, "float64")()
    expected = {"mean": (135.0, 90.0), "terms": (67.5 + 18, 45.0 + 12)}[name]  # the mean of x * x is 7.5
    assert (value.item(), grads["w"].item()) == pytest.approx(expected, rel=1e-14)


def test_vmap_grad_of_a_sum_over_samples_is_refused():
    toy = torch_contest(lambda params, x, scale: scale * (params["w"] * x).square().sum())
    with pytest.raises(AssertionError, match=r"torch and vmap\(grad\) differ in result\[0\]"):
        peers.checked_peer("vmap(grad)", toy, "samples", 2, "float64")


def test_vmap_grad_without_a_loss_says_so():
    toy = contest(("vectorised", "torch"), lambda *_: {"vectorised": int, "torch": int})
    with pytest.raises(LookupError, match="does not call the reference's loss"):
        peers.checked_peer("vmap(grad)", toy, "samples", 2, "float64")


# JAX may be missing here: what stands for torch's operations is held against NumPy, which has the same names.
NUMPY_AS_JAX = SimpleNamespace(numpy=np, nn=SimpleNamespace(sigmoid=lambda z: 1 / (1 + np.exp(-z))))


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, x: torch.nn.functional.binary_cross_entropy_with_logits(x @ w, x[:, 1:3].abs() / 9, reduction="sum"),
        lambda w, x: (x[1:] - torch.tanh(x @ x[3])[1]).pow(2).mean() / w.sum() + (1 - torch.exp(-w)).sum(0)[1],
        lambda w, x: (w[0].expand(3, -1) * torch.sigmoid(x[:3, 3:])).sum() + (x.sum(1) * 2 + 1).sum(),
    ],
    ids=["cross-entropy", "vectors", "expand"],
)
def test_a_replayed_loss_is_the_loss(loss):
    w, x = (torch.randn(shape, generator=torch.manual_seed(0), dtype=torch.float64) for shape in ((4, 2), (5, 4)))
    run = in_jax.replayed(in_jax.traced(loss, w, x), NUMPY_AS_JAX)
    assert run(w.numpy(), x.numpy()) == pytest.approx(loss(w, x).item(), rel=1e-14)


def test_an_operation_without_a_line_is_named():
    graph = in_jax.traced(lambda w: torch.cumsum(w, 0).sum(), torch.ones(3))
    with pytest.raises(LookupError, match="no line for cumsum"):
        in_jax.replayed(graph, NUMPY_AS_JAX)


def test_jax_gives_the_loss_and_its_gradient():
    pytest.importorskip("jax")
    toy = torch_contest(lambda params, x, scale: scale * (params["w"] * x).square().sum())
    value, grads = peers.checked_peer("jax", toy, "samples", 2, "float64")()
    assert (float(value), float(grads["w"])) == (540.0, 360.0)  # 2 * 9 * 30, and its derivative by w = 3


def test_jax_that_is_not_installed_stays_out(toy_project, monkeypatch, capsys):
    monkeypatch.setattr(command, "ROOT", toy_project)
    monkeypatch.setitem(sys.modules, "jax", None)  # as if it were not
    assert command.main(["--rounds", "1", "--peer", "jax"]) == 0
    out, err = capsys.readouterr()
    assert "jax" not in out
    assert "  jax left out: " in err


def test_a_peer_that_fails_is_left_out_of_the_table_and_named(toy_project, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(command, "ROOT", toy_project)
    monkeypatch.setitem(peers.PEERS, "torch.compile", fail)
    assert command.main(["--rounds", "1", "--peer", "torch.compile"]) == 0
    out, err = capsys.readouterr()
    assert "torch.compile" not in out
    assert err.count("  torch.compile left out: no compiler\n") == 1  # and not tried again at the other sizes


# ---------------------------------------------------------------- how the forms are timed


def test_each_round_rotates_the_order_and_warms_up_before_it_times():
    clock = Clock()
    racing = {name: clock.contestant(name, 1.0) for name in "abc"}
    measure.time_rounds(racing, rounds=3, clock=clock)
    calibration = list("abc")  # one call a form fills a sample here
    assert clock.log == calibration + list("aabbcc") + list("bbccaa") + list("ccaabb")


def test_times_are_per_call_and_fast_functions_are_called_often():
    clock = Clock()
    times = measure.time_rounds({"fast": clock.contestant("fast", 1e-4)}, rounds=4, clock=clock)
    np.testing.assert_allclose(times["fast"], np.full(4, 1e-4), rtol=1e-9)
    assert measure.calls_per_sample(clock.contestant("fast", 1e-4), clock) == 32  # the power of two that fills 2 ms


def test_two_threads_are_timed_on_the_wall():
    assert measure.clock_for(2) is time.perf_counter
    assert measure.clock_name(2) == "wall time: other work on the machine counts as well"


def test_ratio_is_taken_within_a_round():
    times = {"torch": np.array([2.0, 40.0, 6.0]), "vectorised": np.array([1.0, 10.0, 2.0])}
    assert measure.ratio(times, "torch", "vectorised") == (3.0, 2.0)  # median and minimum of 2, 4, 3


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 3.0])
def test_exponent_of_a_power_is_found(p):
    sizes = np.array([4, 64, 1024])
    assert measure.exponent(sizes, 3e-6 * sizes**p) == pytest.approx(p, abs=1e-12)


def test_exponent_of_a_noisy_power_is_near():
    sizes, rng = np.geomspace(10, 1e5, 9), np.random.default_rng(0)
    assert measure.exponent(sizes, 1e-7 * sizes**2 * rng.uniform(0.9, 1.1, 9)) == pytest.approx(2, abs=0.02)


def test_one_size_alone_has_no_exponent():
    assert measure.exponent([64], [1e-3]) is None
    assert measure.exponent([64, 64], [1e-3, 2e-3]) is None


def test_threads_are_pinned_on_both_sides_and_restored():
    def counts():
        pools = measure.threadpoolctl.threadpool_info()
        return torch.get_num_threads(), {pool["filepath"]: pool["num_threads"] for pool in pools}

    before = counts()
    for threads in measure.thread_counts():
        with measure.pinned(threads):
            torch_threads, pools = counts()
            assert torch_threads == threads
            assert set(pools.values()) == {threads}
    assert counts() == before


def test_threads_are_restored_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), measure.pinned(before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


# ---------------------------------------------------------------- what is printed


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.23e-5, "12.3 us"), (9.999e-4, "1 ms"), (0.0456, "45.6 ms"), (1.5, "1.5 s")]
)
def test_durations(seconds, text):
    assert table.duration(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.712, "0.71"), (0.999, "1.0"), (4.04, "4.0"), (9.96, "10"), (1234.5, "1,234")]
)
def test_ratios_have_two_figures(ratio, text):
    assert table.figure(ratio) == text


def rows():
    """Two sizes of a subject without a tuned form, three rounds each; the loop is left out of the larger."""
    small = {
        "loop": [3e-4, 4e-4, 5e-4],
        "vectorised": [1e-5, 2e-5, 2e-5],
        "torch": [4e-5, 6e-5, 5e-5],
        "jax": [1e-4] * 3,
    }
    large = {"vectorised": [1e-4] * 3, "torch": [8e-5, 9e-5, 7e-5]}
    return [
        table.Row("toy", "samples", size, {name: np.array(value) for name, value in times.items()})
        for size, times in ((4, small), (40, large))
    ]


def test_ratio_table():
    assert table.ratio_table(rows()) == [
        "|                 | hand-written | loop | vectorised |       torch |        others |",
        "| --------------- | -----------: | ---: | ---------: | ----------: | ------------: |",
        "| toy, 4 samples  |        10 us |   25 |      **1** |   3.0 (2.5) | jax 5.0 (5.0) |",
        "| toy, 40 samples |       100 us |      |      **1** | 0.80 (0.70) |               |",
    ]


def test_the_faster_of_two_hand_written_forms_is_the_one_that_counts():
    small = {"vectorised": np.array([2.0, 2.0]), "tuned": np.array([3.0, 3.0]), "torch": np.array([8.0, 8.0])}
    large = {"vectorised": np.array([9.0, 9.0]), "tuned": np.array([3.0, 3.0]), "torch": np.array([6.0, 6.0])}
    rows = [table.Row("toy", "samples", size, times) for size, times in ((4, small), (40, large))]
    assert [line.split("|")[2:6] for line in table.ratio_table(rows)[2:]] == [
        ["          2 s ", "      **1** ", "   1.5 ", " 4.0 (4.0) "],
        ["          3 s ", "        3.0 ", " **1** ", " 2.0 (2.0) "],
    ]


def test_growth_table():
    assert table.growth_table(rows()) == [
        "|                   | loop |  vectorised |       torch |",
        "| ----------------- | ---: | ----------: | ----------: |",
        "| toy: samples 4 40 |      | 1.00 (1.00) | 0.24 (0.24) |",
    ]


def test_summary_of_a_run():
    timed = [
        table.Timed("toy", "samples", 1, size, form, seconds)
        for size, form, seconds in (
            (4, "torch", 4e-5),
            (4, "vectorised", 1e-5),
            (4, "loop", 1e-4),
            (40, "vectorised", 1e-4),
        )
    ]
    assert table.summary(timed) == [
        "",
        f"toy, 1 thread ({measure.clock_name(1)})",
        "     samples        loop  vectorised       torch  torch/hand-written",
        "           4      100 us       10 us       40 us                 4.0",
        "          40                  100 us                                ",
        "      growth           -      n^1.00           -",
    ]


def test_nothing_timed_gives_no_summary():
    assert table.summary([]) == []


def test_the_machine_is_named_with_its_blas_and_kernel():
    assert f"NumPy {np.__version__} (" in table.machine()
    assert "kernel" in table.machine()


@pytest.mark.parametrize(("size", "text"), [(64, "64"), (1_024, "1,024"), (5_000, "5k"), (10_000_000, "10M")])
def test_sizes_on_an_axis(size, text):
    assert plot.short(size) == text


def test_plot_is_a_picture(tmp_path):
    plot.draw(rows(), tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- the command and the fixture, on a toy project


TOY = {
    "numpy_impls/sums/toy.py": "def loss_and_grads(params, x):\n    return (params['w'] * x).sum(), {'w': x.sum()}\n",
    "reference_impls/sums/toy.py": "def loss(params, x):\n    return (params['w'] * x).sum()\n",
    "tests/sums/bench_toy.py": """
import numpy as np
import torch

SIZES, UNIT, FORMS = (2, 8, 32), "samples", ("loop", "vectorised", "torch")

def contestants(impl, reference, size, dtype=np.float64):
    x, w = np.arange(1, size + 1, dtype=dtype), dtype_of(dtype)(3)
    tensor, data = torch.tensor(w, requires_grad=True), torch.tensor(x)
    def peer():
        loss = reference.loss({"w": tensor}, data)
        return loss, {"w": torch.autograd.grad(loss, tensor)[0]}
    racing = {"vectorised": lambda: impl.loss_and_grads({"w": w}, x), "torch": peer}
    return racing | ({"loop": racing["vectorised"]} if size < 32 else {})

def dtype_of(dtype):
    return np.dtype(dtype).type

def test_speed(race):
    race(contestants)

def test_that_times_nothing():
    pass
""",
}


@pytest.fixture
def toy_project(tmp_path, monkeypatch):
    for name in TOY:  # each test writes its own, and modules are known by their dotted names
        monkeypatch.delitem(sys.modules, name.removesuffix(".py").replace("/", "."), raising=False)
    for name, text in TOY.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_command_prints_both_tables_and_draws(toy_project, monkeypatch, capsys):
    monkeypatch.setattr(command, "ROOT", toy_project)
    assert command.main(["--rounds", "2", "--plot", str(toy_project / "growth.png")]) == 0
    out, err = capsys.readouterr()
    assert f"1 thread ({measure.clock_name(1)}), float64, 2 rounds" in out.splitlines()[0]
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| toy")] == [
        "toy, 2 samples",
        "toy, 8 samples",
        "toy, 32 samples",
        "toy: samples 2 8 32",
    ]
    assert "toy: 32 samples" in err
    assert (toy_project / "growth.png").is_file()


def test_command_names_the_subjects_that_it_has(toy_project, monkeypatch, capsys):
    monkeypatch.setattr(command, "ROOT", toy_project)
    assert command.main(["tyo"]) == 2
    assert capsys.readouterr().err == "no benchmark file for tyo; there are: toy\n"


def test_benchmark_files_are_found_beside_their_subjects(toy_project):
    assert [(subject.name, path.name) for subject, path in find_contests(toy_project)] == [("toy", "bench_toy.py")]


@pytest.fixture
def run_toy(toy_project, pytester, pytestconfig):
    """Run pytest on the toy project, with this folder's conftest, and give its result."""
    pytester.makeini("[pytest]\naddopts = --import-mode=importlib\npython_files = bench_*.py\n")
    pytester.makeconftest((pytestconfig.rootpath / "tests" / "conftest.py").read_text())
    for name in TOY:
        (pytester.path / name).parent.mkdir(parents=True, exist_ok=True)
        (pytester.path / name).write_text((toy_project / name).read_text())
    return lambda *options: pytester.runpytest_inprocess(
        "-p", "gradproof.plugin", "-p", "no:hypothesispytest", *options
    )


def test_benchmarks_run_once_where_they_are_disabled(run_toy):
    result = run_toy("--benchmark-disable", "-v")
    result.assert_outcomes(passed=7)  # three forms at 2 and 8 samples (the largest is for those who time it), and one
    result.stdout.fnmatch_lines(["*test_speed?8-torch-1thread? PASSED*"])
    assert "side by side" not in result.stdout.str()


def test_benchmarks_end_with_the_forms_side_by_side(run_toy, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # in a worker, benchmarks are not timed
    result = run_toy("--benchmark-only", "--benchmark-max-time=0.001", "--benchmark-min-rounds=1", "-rs")
    counts = len(measure.thread_counts())
    result.assert_outcomes(passed=8 * counts, skipped=counts, deselected=1)
    result.stdout.fnmatch_lines(["SKIPPED*the loop form is too slow at 32 samples, and does not race there"])
    result.stdout.fnmatch_lines(
        [
            f"toy, 1 thread ({measure.clock_name(1)})",
            "     samples        loop  vectorised       torch  torch/hand-written",
            "          32*",
            "      growth*n^*n^*n^*",
        ]
    )


def test_a_benchmark_of_unequal_forms_fails(run_toy, pytester):
    wrong = pytester.path / "numpy_impls/sums/toy.py"
    wrong.write_text(wrong.read_text().replace("x.sum()}", "x.sum() + 1}"))
    result = run_toy("--benchmark-disable", "-k", "8-torch")
    result.assert_outcomes(failed=1)
    message = "AssertionError: toy, 8 samples, float64: loop and torch differ in result[1]['w'], by 2.7e-02 of its norm"
    assert message in result.stdout.str()
