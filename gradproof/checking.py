"""The public checks: a candidate and a reference go in, a report comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradproof import candidate as candidates
from gradproof import oracles, quality, structure, updates
from gradproof.case import Case, Problem
from gradproof.diagnosis import diagnose as explain
from gradproof.diagnosis.update_rules import diagnose_updates
from gradproof.oracles import Array, Arrays, Truth
from gradproof.report import Comparison, Finding, GradientMismatch, Report
from gradproof.tolerances import largest

Candidate = Callable[..., Any]
Reference = Callable[..., Any]


def assert_gradients_match(
    candidate: Candidate,
    reference: Reference | None,
    params: Arrays,
    *data: Any,
    rtol: float | None = None,
    atol: float | None = None,
    batch_axis: int | None = 0,
    diagnose: bool = True,
) -> None:
    """Raise GradientMismatch unless `candidate` gives the gradients (and the loss) of `reference`.

    The arguments are those of `compare_gradients`; the report is on the exception's `.report`.
    """
    __tracebackhide__ = True
    _require(
        compare_gradients(
            candidate, reference, params, *data, rtol=rtol, atol=atol, batch_axis=batch_axis, diagnose=diagnose
        )
    )


def compare_gradients(
    candidate: Candidate,
    reference: Reference | None,
    params: Arrays,
    *data: Any,
    rtol: float | None = None,
    atol: float | None = None,
    batch_axis: int | None = 0,
    diagnose: bool = True,
) -> Report:
    """Compare a hand-written gradient with torch's.

    Args:
        candidate: `candidate(params, *data) -> (loss, grads)`; `loss` a number, or None where it computes none;
            `grads` a dict with the keys and shapes of `params`.
        reference: `reference(params, *data) -> loss`, the same mathematics in torch, forward only: a scalar tensor, or
            a dict of named scalar tensors whose sum is the loss. None compares with a numerical derivative of the
            candidate's own loss.
        params: the arrays to differentiate by, floating point, by name.
        data: arrays handed to both sides (floats become float tensors, integers int64 tensors).
        rtol: relative tolerance, of each array's largest entry. None takes the table in `gradproof.tolerances`.
        atol: absolute tolerance, added to the relative one.
        batch_axis: the axis of every data array that counts samples; None where there is none.
        diagnose: whether to search for the mistake where the numbers differ.

    Raises:
        TypeError, ValueError: `params` is no dict of floating arrays, or the reference returns no scalar tensor.
    """
    names = _data_names(candidate, params, data) or _data_names(reference, params, data)
    rate = candidate.learning_rate if isinstance(candidate, _UpdateGradient) else None
    problem = Problem(_checked_params(params), tuple(_as_input(one) for one in data), batch_axis, names, rate)
    return _compare(candidate, reference, problem, rtol, atol, diagnose)


def _compare(
    candidate: Candidate,
    reference: Reference | None,
    problem: Problem,
    rtol: float | None,
    atol: float | None,
    diagnose: bool,
    output: Comparison | None = None,
) -> Report:
    warnings = quality.of_inputs(problem)
    answer = _ask(candidate, problem)
    if isinstance(answer, Finding):
        return _unanswered(answer, problem, warnings)
    loss_given, grads_given, findings = answer
    notes: tuple[str, ...] = ()
    if reference is None:
        truth, notes = _numerical_truth(candidate, problem, grads_given, loss_given)
    else:
        truth = oracles.autograd(reference, problem.params, problem.data)
    gradients, found = structure.check_arrays(grads_given, truth.gradients, "grads")
    loss, loss_found = structure.check_loss(loss_given, truth.loss)
    second = _ask(candidate, problem, quiet=True)
    repeated = None if isinstance(second, Finding) else second[1]
    findings = [*found, *loss_found, *findings, *_repeatable(gradients, loss, repeated, second)]
    floors = candidate.rounding(problem.params) if isinstance(candidate, _UpdateGradient) else {}
    if truth.oracle == "central differences":
        floors = {name: 1e-9 * abs(truth.loss) for name in truth.gradients}
    for name, right in truth.gradients.items():
        coarser = structure.rounding_of_dtype(grads_given.get(name), right)
        floors[name] = max(floors.get(name, 0.0), coarser)

    def ask(other: Problem) -> tuple[float | None, Arrays] | None:
        return _usable_answer(candidate, other)

    case = Case(problem, reference, ask, truth, loss, gradients, rtol, atol, floors)
    if case.wrong or not case.loss_is_right:
        findings += explain(case, diagnose)
    findings = _without_echoes(findings)
    return Report(
        findings=tuple(findings),
        comparisons={name: case.comparison(name, _raw(grads_given, name)) for name in truth.gradients},
        loss=case.loss_comparison() if output is None else None,
        output=output,
        warnings=(*warnings, *quality.of_gradients(truth)),
        judged_by="torch" if reference is not None else truth.oracle,
        notes=notes,
    )


Answer = tuple[Any, dict[Any, Any], list[Finding]]


def _ask(candidate: Candidate, problem: Problem, quiet: bool = False) -> Finding | Answer:
    """The loss and the gradients as the candidate returned them; or the finding that says why there are none."""
    watched = dict.fromkeys([*problem.params, *problem.named_data])
    outcome = candidates.call(candidate, watched, problem.params, *problem.data, quiet=quiet)
    if outcome.raised is not None:
        return Finding("raised", (), outcome.raised)
    expected = "the candidate must return (loss, grads), grads a dict of arrays by parameter"
    value = outcome.value
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        hint = "; return (None, grads) where there is no loss" if isinstance(value, dict) else ""
        return Finding("wrong-type", (), f"{expected}; it returned {_described(value)}{hint}")
    loss, grads = value
    if not isinstance(grads, dict):
        return Finding("wrong-type", (), f"{expected}; its second part is {_described(grads)}")
    return loss, grads, structure.check_inputs(outcome.modified)


def _usable_answer(candidate: Candidate, problem: Problem) -> tuple[float | None, Arrays] | None:
    """The loss and the gradients on another problem; None where they are not all there."""
    answer = _ask(candidate, problem, quiet=True)
    if isinstance(answer, Finding):
        return None
    gradients, _ = structure.check_arrays(answer[1], problem.params, "grads")
    return structure.check_loss(answer[0], 0.0)[0], gradients


def _described(value: Any) -> str:
    if value is None:
        return "None (is a return statement missing?)"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _repeatable(gradients: Arrays, loss: float | None, repeated: dict[Any, Any] | None, second: Any) -> list[Finding]:
    first = dict(gradients) | ({} if loss is None else {"loss": np.asarray(loss)})
    if repeated is None:
        return structure.check_repeatable(first, None)
    again: Arrays = {}
    for name, value in first.items():
        other = second[0] if name == "loss" and name not in gradients else repeated.get(name)
        array, _ = structure.check_array(name, other, value, "grads")
        if name == "loss" and name not in gradients:
            number, _ = structure.check_loss(other, 0.0)
            array = None if number is None else np.asarray(number)
        if array is not None:
            again[name] = array
    return structure.check_repeatable(first, again)


def _without_echoes(findings: list[Finding]) -> list[Finding]:
    """Drop `unexplained` numbers of a candidate whose results change from call to call: nothing can be said of them."""
    if not any(finding.code == "not-repeatable" for finding in findings):
        return findings
    return [finding for finding in findings if finding.code != "unexplained"]


def _unanswered(finding: Finding, problem: Problem, warnings: tuple[str, ...]) -> Report:
    """The report of a candidate from which nothing came back."""
    missing = {
        name: Comparison(name, None, np.full(value.shape, np.nan), float("inf"), 0.0, 0.0, False)
        for name, value in problem.params.items()
    }
    return Report((finding,), missing, warnings=warnings)


def _numerical_truth(
    candidate: Candidate, problem: Problem, grads: dict[Any, Any], loss: Any
) -> tuple[Truth, tuple[str, ...]]:
    if loss is None:
        raise ValueError("without a reference the candidate's own loss is differentiated, but it returned None for it")

    def own_loss(params: Arrays) -> Any:
        return candidate(params, *candidates.copied(problem.data))[0]

    derivative = oracles.numerical_gradients(own_loss, problem.params, np.random.default_rng(0))
    gradients = {}
    for name, values in derivative.gradients.items():
        ours = np.asarray(grads.get(name, 0.0))
        fill = ours if ours.shape == values.shape and ours.dtype.kind == "f" else np.zeros(values.shape)
        gradients[name] = np.where(np.isnan(values), fill, values).astype(problem.params[name].dtype)
    unchecked = sum(int(np.isnan(values).sum()) for values in derivative.gradients.values())
    notes = (f"compared with the derivative of your own loss, taken by {derivative.method}",)
    if unchecked:
        notes = (f"{notes[0]} at {derivative.entries - unchecked} of {derivative.entries} entries",)
    value = float(np.real(np.asarray(loss)).reshape(()))
    return Truth(value, {"loss": value}, gradients, {"loss": gradients}, derivative.method), notes


def _checked_params(params: Any) -> Arrays:
    if not isinstance(params, dict) or not params:
        raise TypeError(f"params must be a dict of arrays by name, with at least one; it is {_described(params)}")
    checked = {}
    for name, value in params.items():
        array = np.asarray(value)
        if array.dtype.kind != "f":
            raise TypeError(f"params[{name!r}] must be a floating-point array; its dtype is {array.dtype}")
        if not array.size:
            raise ValueError(f"params[{name!r}] has no entries (shape {array.shape})")
        checked[name] = array
    return checked


def _as_input(value: Any) -> Any:
    """Lists and numbers as arrays, so that both sides are given the same; anything that is no number as it is."""
    array = np.asarray(value) if isinstance(value, (list, tuple, float, int, np.generic)) else value
    return value if isinstance(array, np.ndarray) and array.dtype == object else array


def _data_names(function: Any, params: Any, data: tuple[Any, ...]) -> tuple[str, ...]:
    """What a function calls the data in its own signature; empty where that cannot be told, or clashes with params."""
    function = function.update if isinstance(function, _UpdateGradient) else function
    try:
        found = list(inspect.signature(function).parameters.values())[1 : 1 + len(data)]
    except (TypeError, ValueError):
        return ()
    names = tuple(one.name for one in found if one.kind is one.POSITIONAL_OR_KEYWORD)
    return names if len(names) == len(data) and not set(names) & set(params) else ()


def _raw(grads: dict[Any, Any], name: str) -> Array | None:
    value = grads.get(name)
    array = structure.converted(value) if value is not None else None
    return array


def _require(report: Report) -> None:
    __tracebackhide__ = True
    if not report.ok:
        raise GradientMismatch(report)


class _UpdateGradient:
    """A candidate made of an update: its gradient is the step taken, over the learning rate."""

    def __init__(self, update: Callable[..., Any], learning_rate: float) -> None:
        self.update = update
        self.learning_rate = learning_rate

    def __call__(self, params: Arrays, *data: Any) -> tuple[None, Any]:
        before = candidates.copied(params)
        after = self.update(params, *data)
        if not isinstance(after, dict):
            raise TypeError(f"the update must return the new parameters as a dict; it returned {_described(after)}")
        return None, {
            name: (before[name] - value) / self.learning_rate if name in before else value
            for name, value in after.items()
        }

    def rounding(self, params: Arrays) -> dict[str, float]:
        """What the subtraction loses: the parameter's own rounding, over the learning rate."""
        return {
            name: 4 * float(np.finfo(value.dtype).eps) * largest(value) / abs(self.learning_rate)
            for name, value in params.items()
        }


def gradients_of_update(update: Callable[..., Any], learning_rate: float) -> Candidate:
    """Turn `update(params, *data) -> params` into a candidate, by `(before - after) / learning_rate`.

    The parameters' rounding, divided by the learning rate, is allowed for: the smaller the rate, the less can be seen.
    """
    if not np.isfinite(learning_rate) or learning_rate == 0:
        raise ValueError(f"learning_rate must be a finite number other than 0; it is {learning_rate}")
    return _UpdateGradient(update, float(learning_rate))


def assert_layer_matches(
    forward: Callable[[Arrays], Any],
    backward: Callable[[Array, Any], Any],
    reference: Callable[[Any], Any],
    inputs: Arrays,
    rtol: float | None = None,
    atol: float | None = None,
    batch_axis: int | None = 0,
    diagnose: bool = True,
) -> None:
    """Raise GradientMismatch unless a hand-written layer gives the output and the gradients of `reference`.

    The arguments are those of `compare_layers`; the report is on the exception's `.report`.
    """
    __tracebackhide__ = True
    _require(compare_layers(forward, backward, reference, inputs, rtol, atol, batch_axis, diagnose))


def compare_layers(
    forward: Callable[[Arrays], Any],
    backward: Callable[[Array, Any], Any],
    reference: Callable[[Any], Any],
    inputs: Arrays,
    rtol: float | None = None,
    atol: float | None = None,
    batch_axis: int | None = 0,
    diagnose: bool = True,
) -> Report:
    """Compare a hand-written layer with torch: its output first, then its gradients under a random output gradient.

    Args:
        forward: `forward(inputs) -> (output, cache)`.
        backward: `backward(output_grad, cache) -> grads`, `grads` a dict with the keys of the floating inputs.
        reference: `reference(inputs) -> output` in torch.
        inputs: activations and weights alike, by name; an integer input has no gradient.
        rtol, atol, batch_axis, diagnose: as for `compare_gradients`.

    Raises:
        TypeError, ValueError: `inputs` holds no floating array, or the reference returns no tensor.
    """
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    floating = _checked_params({name: value for name, value in arrays.items() if value.dtype.kind == "f"})
    fixed = {name: value for name, value in arrays.items() if name not in floating}
    right = oracles.layer_output(reference, arrays)
    output_grad = np.random.default_rng(20).standard_normal(right.shape).astype(right.dtype)
    layer = _Layer(forward, backward, fixed)
    problem = Problem(floating, (output_grad,), batch_axis, ("output_grad",))
    outcome = candidates.call(forward, dict.fromkeys(arrays), arrays)
    findings, comparison = _check_output(outcome, right, arrays)
    if comparison is None:
        report = _unanswered(findings[0], problem, quality.of_inputs(problem))
        return Report(tuple(findings), report.comparisons, warnings=report.warnings, subject="layer")

    def loss(params: dict[str, Any], direction: Any) -> Any:
        tensors = {name: oracles.as_tensor(value) for name, value in fixed.items()}
        return (reference({**tensors, **params}) * direction).sum()

    report = _compare(layer, loss, problem, rtol, atol, diagnose, output=comparison)
    return Report(
        (*findings, *report.findings),
        report.comparisons,
        output=comparison,
        warnings=report.warnings,
        subject="layer",
        notes=report.notes,
    )


class _Layer:
    """A layer as a candidate: no loss, and the gradients that its backward pass gives for an output gradient."""

    def __init__(self, forward: Any, backward: Any, fixed: Arrays) -> None:
        self.forward, self.backward, self.fixed = forward, backward, fixed

    def __call__(self, params: Arrays, output_grad: Array) -> tuple[None, Any]:
        _, cache = self.forward({**candidates.copied(self.fixed), **params})
        grads = self.backward(output_grad, cache)
        if isinstance(grads, dict):
            grads = {name: value for name, value in grads.items() if name not in self.fixed}
        return None, grads


def _check_output(
    outcome: candidates.Outcome, right: Array, inputs: Arrays
) -> tuple[list[Finding], Comparison | None]:
    """The output's findings and its comparison; no comparison where there is no output to compare."""
    if outcome.raised is not None:
        return [Finding("raised", (), f"forward: {outcome.raised}")], None
    if not isinstance(outcome.value, (tuple, list)) or len(outcome.value) != 2:
        message = f"forward must return (output, cache); it returned {_described(outcome.value)}"
        return [Finding("wrong-type", (), message)], None
    output, findings = structure.check_arrays({"output": outcome.value[0]}, {"output": right}, "forward's result")
    findings += structure.check_inputs(outcome.modified)
    ours = output.get("output")
    raw = structure.converted(outcome.value[0])
    case = Case(
        Problem({"output": right}, (), None), None, lambda _: None, Truth(0.0, {}, {"output": right}, {}), None, output
    )
    if ours is not None and case.wrong:
        findings += explain(case)
    return findings, case.comparison("output", raw)


def assert_updates_match(
    step: Callable[..., Any],
    reference: Callable[[Any], Any],
    params: Arrays,
    gradients: Sequence[Arrays],
    rtol: float | None = None,
    atol: float | None = None,
    diagnose: bool = True,
) -> None:
    """Raise GradientMismatch unless a hand-written optimizer moves the parameters as torch's does, step for step.

    The arguments are those of `compare_updates`; the report is on the exception's `.report`.
    """
    __tracebackhide__ = True
    _require(compare_updates(step, reference, params, gradients, rtol, atol, diagnose))


def compare_updates(
    step: Callable[..., Any],
    reference: Callable[[Any], Any],
    params: Arrays,
    gradients: Sequence[Arrays],
    rtol: float | None = None,
    atol: float | None = None,
    diagnose: bool = True,
) -> Report:
    """Compare a hand-written optimizer with one of torch's, over several steps.

    Args:
        step: `step(params, grads, state) -> params`, one update; `state` is a dict that starts empty and is handed
            back.
        reference: makes the optimizer, for example `lambda ps: torch.optim.Adam(ps, lr=1e-3)`.
        params: where both start, by name.
        gradients: one dict of arrays for each step.
        rtol: relative tolerance, of the largest distance that a parameter moves. None takes the table.
        atol: absolute tolerance, added to the relative one.
        diagnose: whether to search for the mistake where the numbers differ.

    Raises:
        TypeError, ValueError: `params` is no dict of floating arrays, `gradients` is empty or lacks a parameter, or
            `reference` makes no optimizer.
    """
    params = _checked_params(params)
    gradients = _checked_gradients(params, gradients)
    right = updates.run_reference(reference, params, gradients)
    run = updates.run_candidate(step, params, gradients, right)
    findings = list(run.findings)
    if len(run.steps) == len(right):
        again = updates.run_candidate(step, params, gradients, right, quiet=True)
        last = again.steps[-1] if len(again.steps) == len(right) else None
        findings += structure.check_repeatable(run.steps[-1], last)
    comparisons = updates.compare_trajectories(params, run.steps, right, rtol, atol)
    if any(not one.ok and one.candidate is not None for one in comparisons.values()):
        findings += diagnose_updates(reference, params, gradients, run.steps, comparisons, search=diagnose)
    warnings = quality.of_updates(params, gradients)
    return Report(tuple(_without_echoes(findings)), comparisons, warnings=warnings, subject="update")


def _checked_gradients(params: Arrays, gradients: Sequence[Arrays]) -> list[Arrays]:
    if not gradients:
        raise ValueError("gradients is empty: give one dict of arrays for each step")
    checked = []
    for count, grads in enumerate(gradients, start=1):
        if set(grads) != set(params):
            raise ValueError(f"gradients of step {count} have the keys {sorted(grads)}, params have {sorted(params)}")
        arrays = {name: np.asarray(grads[name], dtype=params[name].dtype) for name in params}
        for name, value in arrays.items():
            if value.shape != params[name].shape:
                expected = params[name].shape
                raise ValueError(f"step {count}: the gradient of {name} has shape {value.shape}, not {expected}")
        checked.append(arrays)
    return checked
