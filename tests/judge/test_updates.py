"""Update rules as candidates: step for step beside torch.optim, and nothing of ours raises."""

import numpy as np
import pytest
import torch

from gradproof import assert_updates_match, compare_updates
from gradproof import candidate as candidates

STEPS = 5


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    params = {"W": rng.normal(size=(3, 4)).astype(dtype), "s": np.array(0.5, dtype=dtype)}
    sizes = 10.0 ** rng.uniform(-2, 1, size=STEPS)
    gradients = [{k: (rng.normal(size=v.shape) * size).astype(dtype) for k, v in params.items()} for size in sizes]
    return params, gradients


def momentum(tensors):
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.9)


def step(params, grads, state):
    new = {}
    for name, value in params.items():
        state[name] = 0.9 * state.get(name, 0.0) + grads[name]
        new[name] = value - 0.1 * state[name]
    return new


def compare(rule=step, dtype=np.float64, **options):
    return compare_updates(rule, momentum, *problem(dtype), **options)


def returning(change):
    return lambda params, grads, state: change(step(params, grads, state))


def only_finding(report):
    assert len(report.findings) == 1, str(report)
    return report.findings[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_right(dtype):
    report = compare(dtype=dtype)
    assert report.ok, str(report)
    assert report.comparisons["W"].candidate.shape == (STEPS, 3, 4)
    assert report.comparisons["s"].reference.shape == (STEPS,)


def test_the_state_starts_empty_and_comes_back():
    seen = []

    def looking(params, grads, state):
        seen.append((id(state), len(state)))
        state[len(seen)] = state
        return step(params, grads, {} if "kept" not in state else state)

    compare(looking, diagnose=False)
    assert [size for _, size in seen] == [*range(STEPS)] * 2
    assert len({name for name, _ in seen[:STEPS]}) == 1


def test_a_class_with_its_own_memory_is_called_like_any_other():
    """It starts anew in nobody's hands: a second run goes on where the first has stopped."""
    kept = {}
    assert only_finding(compare(lambda params, grads, state: step(params, grads, kept))).code == "not-repeatable"


HANDED_BACK = {
    "None": (lambda new: None, "wrong-type", "step must return the new parameters as a dict; it returned None"),
    "a tuple": (lambda new: (new, {}), "wrong-type", "it returned a tuple of 2"),
    "a list": (lambda new: {**new, "W": new["W"].tolist()}, "wrong-type", "at step 1: the new W is a list of 3"),
    "a tensor": (lambda new: {**new, "W": torch.tensor(new["W"])}, "wrong-type", "the new W is a torch.Tensor"),
    "one missing": (lambda new: {"s": new["s"]}, "missing-gradient", "at step 1: the new params have no key 'W'"),
    "one too many": (lambda new: {**new, "v": 1.0}, "unexpected-gradient", "the new params have a key 'v', and there"),
    "None for one": (lambda new: {**new, "W": None}, "missing-gradient", "at step 1: the new W is None"),
    "wrong shape": (lambda new: {**new, "W": new["W"].T}, "wrong-shape", "the new W has shape (4, 3), W has (3, 4)"),
    "float32": (lambda new: {**new, "W": np.float32(new["W"])}, "wrong-dtype", "new W is of dtype float32, W of"),
    "integers": (lambda new: {**new, "W": new["W"].astype(int)}, "wrong-dtype", "new W is of dtype int64, W of"),
    "NaN": (lambda new: {**new, "W": new["W"] * np.nan}, "not-finite", "at step 1: the new W is nan at W[0, 0]"),
}


@pytest.mark.parametrize(("change", "code", "said"), HANDED_BACK.values(), ids=HANDED_BACK)
def test_what_it_hands_back(change, code, said):
    finding = only_finding(compare(returning(change)))
    assert finding.code == code
    assert said in finding.message


def test_later_steps_are_named():
    def late(params, grads, state):
        state["t"] = state.get("t", 0) + 1
        return {} if state["t"] == 4 else step(params, grads, state)

    report = compare(late)
    assert [one.message for one in report.findings] == [
        "at step 4: the new params have no key 'W'",
        "at step 4: the new params have no key 's'",
    ]


def test_raising():
    def failing(params, grads, state):
        return {"W": params["W"] @ grads["W"]}

    finding = only_finding(compare(failing))
    assert finding.code == "raised"
    assert finding.message.startswith("at step 1 it raised ValueError: matmul")
    assert finding.message.endswith("where params['W'] has shape (3, 4); grads['W'] has shape (3, 4)")


def test_other_arguments():
    finding = only_finding(compare(lambda params, grads: params))
    assert "takes 2 positional arguments but 3 were given" in finding.message


def test_a_rule_that_does_not_end(monkeypatch):
    monkeypatch.setattr(candidates, "TIME_LIMIT", 0.05)

    def forever(params, grads, state):
        while True:
            pass

    assert compare(forever).headline() == "your code did not finish (raised)"


def in_place(params, grads, state):
    new = step(params, grads, state)
    for name, value in new.items():
        params[name][...] = value
    return params


def in_place_of_the_gradient(params, grads, state):
    new = step(params, grads, state)
    grads["W"] *= 0.1
    return new


def by_rebinding(params, grads, state):
    new = step(params, grads, state)
    params.update(new)
    return new


@pytest.mark.parametrize(
    ("rule", "names"),
    [(in_place, ("W", "s")), (in_place_of_the_gradient, ("grads['W']",)), (by_rebinding, ("W", "s"))],
)
def test_inputs_changed(rule, names):
    finding = only_finding(compare(rule))
    assert (finding.code, finding.parameters) == ("input-modified", names)


def test_in_place_and_nothing_returned():
    report = compare(lambda *given: in_place(*given) and None)
    assert [one.code for one in report.findings] == ["wrong-type", "input-modified"]


def test_the_callers_arrays_are_never_touched():
    given, kept = problem(), problem()
    compare_updates(in_place, momentum, *given)
    np.testing.assert_equal(given, kept)


def test_random_numbers():
    rng = np.random.default_rng(0)
    noisy = returning(lambda new: {**new, "W": new["W"] + rng.normal(size=(3, 4))})
    finding = only_finding(compare(noisy))
    assert (finding.code, finding.parameters) == ("not-repeatable", ("W",))


def test_what_it_prints_is_seen_once(capsys):
    compare(returning(lambda new: print("step") or new))
    assert capsys.readouterr().out == "step\n"


def test_an_error_state_that_raises_at_everything_disturbs_nobody():
    with np.errstate(all="raise"):
        assert compare().ok


def test_where_it_differs_is_told_by_steps():
    def later(params, grads, state):
        state["t"] = state.get("t", 0) + 1
        new = step(params, grads, state)
        if state["t"] == 3:
            new["W"][1] += 0.25
        return new

    lines = str(compare(later, diagnose=False)).split("\n")
    assert lines[0] == "W: not torch's update (unexplained)"
    assert lines[1].startswith("  worst at W[1, ")
    assert " after step " in lines[1]
    assert lines[2].endswith("; 4 of 12 differ, from step 3 on")
    assert lines[3] == "  right already: s"


def test_a_scalar_parameter_that_differs():
    lines = str(compare(returning(lambda new: {**new, "s": new["s"] + 1}), diagnose=False)).split("\n")
    assert lines[1].startswith("  worst at s after step 5: yours ")
    assert lines[2].startswith("    relative error ")
    assert " differ" not in lines[2]


def test_tolerances_of_the_caller():
    nearly = returning(lambda new: {**new, "W": new["W"] * (1 + 1e-9)})
    assert not compare(nearly, diagnose=False).ok
    assert compare(nearly, rtol=1e-6).ok
    assert compare(nearly, atol=1e-6).ok


def test_the_distance_moved_is_what_counts():
    """A parameter of a million that moves by a millionth is held to that movement, as far as float64 can tell."""
    params, gradients = {"w": np.array([1e6])}, [{"w": np.array([1e-5])}] * 4

    def wrong_by_half(params, grads, state):
        return {"w": params["w"] - 0.05 * grads["w"]}

    report = compare_updates(wrong_by_half, lambda ps: torch.optim.SGD(ps, lr=0.1), params, gradients, diagnose=False)
    assert not report.ok


def test_the_rounding_of_a_large_parameter_is_allowed_for_unless_the_caller_says_otherwise():
    params, gradients = {"w": np.array([1e6])}, [{"w": np.array([1e-5])}] * 4

    def rounded_down(params, grads, state):
        return {"w": np.nextafter(params["w"] - 0.1 * grads["w"], 0.0)}

    def run(**options):
        sgd = lambda tensors: torch.optim.SGD(tensors, lr=0.1)  # noqa: E731
        return compare_updates(rounded_down, sgd, params, gradients, diagnose=False, **options)

    assert run().ok
    assert not run(rtol=1e-12).ok


def test_a_parameter_that_should_stay_where_it_is():
    params, gradients = {"w": np.ones(3)}, [{"w": np.zeros(3)}] * 4
    rule = lambda params, grads, state: {"w": params["w"] * 0.999}  # noqa: E731
    report = compare_updates(rule, lambda ps: torch.optim.SGD(ps, lr=0.1), params, gradients, diagnose=False)
    assert not report.ok
    assert report.warnings == ("all gradients of w are zero: any rule that keeps it where it is passes",)


def test_assert_form():
    assert_updates_match(step, momentum, *problem())
    with pytest.raises(AssertionError, match="W: not torch's update"):
        assert_updates_match(returning(lambda new: {**new, "W": new["W"] + 1}), momentum, *problem(), diagnose=False)


def test_a_gradient_that_is_kept_without_a_copy():
    """Nothing shows in the call itself: the array is written into at the next one."""

    def keeping(params, grads, state):
        after = {}
        for name in params:
            if name in state:
                state[name] *= 0.9
                state[name] += grads[name]
            else:
                state[name] = grads[name]
            after[name] = params[name] - 0.1 * state[name]
        return after

    report = compare(keeping)
    assert only_finding(report).code == "input-modified"
    assert "kept without a copy" in only_finding(report).message


class Clipped(torch.optim.SGD):
    """Gradients of a length of at most one."""

    def step(self):
        tensors = [one for group in self.param_groups for one in group["params"]]
        torch.nn.utils.clip_grad_norm_(tensors, 1.0, foreach=False)
        super().step()


def cut(grads):
    return min(1.0, 1.0 / (np.sqrt(sum(np.sum(g**2) for g in grads.values())) + 1e-6))


def clipped(params, grads, state):
    return step(params, {name: g * cut(grads) for name, g in grads.items()}, state)


def unclipped(params, grads, state):
    factor, new = cut(grads), {}
    for name, value in params.items():
        g = grads[name] * factor
        state[name] = 0.9 * state.get(name, 0.0) + grads[name]
        new[name] = value - 0.1 * state[name] + 0 * g
    return new


def of_clipped(tensors):
    return Clipped(tensors, lr=0.1, momentum=0.9)


def test_a_rule_that_the_judge_does_not_know_is_mended_in_the_candidates_code():
    assert compare_updates(clipped, of_clipped, *problem()).ok
    finding = only_finding(compare_updates(unclipped, of_clipped, *problem()))
    assert finding.code == "wrong-scale"
    assert finding.parameters == ("W", "s")
    assert "in your code, `grads[name]` should be `g`" in finding.message
    assert finding.mend == "state[name] = 0.9 * state.get(name, 0.0) + g"


def test_a_change_that_mends_the_first_steps_alone_is_no_explanation():
    def late(params, grads, state):
        state["t"] = state.get("t", 0) + 1
        new = unclipped(params, grads, state)
        return {name: value + (0.1 if state["t"] == 40 else 0.0) for name, value in new.items()}

    rng = np.random.default_rng(1)
    gradients = [{"w": rng.normal(size=5) * 3} for _ in range(40)]
    assert only_finding(compare_updates(late, of_clipped, {"w": rng.normal(size=5)}, gradients)).code == "unexplained"


def test_a_step_function_is_heard_once(capsys):
    def talking(params, grads, state):
        print("step")
        return unclipped(params, grads, state)

    assert compare_updates(talking, of_clipped, *problem()).findings[0].code == "wrong-scale"
    assert capsys.readouterr().out.count("step") <= STEPS
