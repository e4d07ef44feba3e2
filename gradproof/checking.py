"""The public checks: a candidate and a reference go in, a report comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
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

__tracebackhide__ = True  # a traceback shows the caller's code and the reference's, not ours

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
        TypeError, ValueError: `params` is no dict of floating arrays with entries, or the reference returns no scalar
            tensor.
    """
    _check_functions(candidate=candidate, **({} if reference is None else {"reference": reference}))
    _check_tolerances(rtol, atol)
    params = _checked_params(params)
    names = _data_names(candidate, params, data) or _data_names(reference, params, data)
    rate = candidate.learning_rate if isinstance(candidate, _UpdateGradient) else None
    problem = Problem(params, tuple(_as_input(one) for one in data), batch_axis, names, rate)
    _check_batch_axis(problem)
    with candidates.judging():
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
        return _unanswered((answer,), problem, warnings)
    loss_given, grads_given, findings = answer
    notes: tuple[str, ...] = ()
    if reference is None:
        own = _numerical_truth(candidate, problem, grads_given, loss_given)
        if isinstance(own, Finding):
            return _unanswered((own, *findings), problem, warnings)
        truth, notes = own
    else:
        truth = oracles.autograd(reference, problem.params, problem.data, strict=True)
    gradients, found = structure.check_arrays(grads_given, truth.gradients, "grads")
    loss, loss_found = structure.check_loss(loss_given, truth.loss)
    second = _ask(candidate, problem, quiet=True)
    findings = [*found, *loss_found, *findings, *_repeatable(gradients, loss, second)]
    floors = candidate.rounding(problem.params) if isinstance(candidate, _UpdateGradient) else {}
    for name, right in truth.gradients.items():
        unavoidable = structure.rounding_of_dtype(grads_given.get(name), right)
        if truth.oracle == "central differences":
            unavoidable = max(unavoidable, 1e-9 * abs(truth.loss))
        floors[name] = max(floors.get(name, 0.0), unavoidable)

    def ask(other: Problem) -> tuple[float | None, Arrays] | None:
        return _usable_answer(candidate, other)

    is_right, of_layer = output is not None and output.ok, output is not None
    case = Case(problem, reference, ask, truth, loss, gradients, rtol, atol, floors, is_right, of_layer)
    case.candidate = candidate
    case.own_loss = getattr(candidate, "own_loss", None) or (None if loss is None else partial(_own_loss, candidate))
    wrong = bool(case.wrong) or not case.loss_is_right
    if reference is not None and (wrong or "rounding" in vars(case)):  # a random one would pass for a rounding one
        _check_that_it_repeats(reference, problem, truth)
    modified = any(finding.code == "input-modified" for finding in findings)
    if wrong and not (modified and _belongs_to_modified_inputs(candidate, case)):
        repeats = all(finding.code != "not-repeatable" for finding in findings)
        findings += explain(case, diagnose and repeats)  # of numbers that change nothing can be found out
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


def _own_loss(candidate: Candidate, params: Any, *data: Any) -> Any:
    return candidate(params, *data)[0]


Answer = tuple[Any, dict[Any, Any], list[Finding]]


def _ask(candidate: Candidate, problem: Problem, quiet: bool = False) -> Finding | Answer:
    """The loss and the gradients as the candidate returned them; or the finding that says why there are none."""
    data_names = [*problem.data_names, *(f"data[{i}]" for i in range(len(problem.data_names), len(problem.data)))]
    outcome = candidates.call(candidate, ["", *data_names], problem.params, *problem.data, quiet=quiet)
    if outcome.raised is not None:
        return Finding("raised", (), outcome.raised)
    value = outcome.value
    expected = "your code must return (loss, grads), grads a dict of arrays by parameter"
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        hint = "; return (None, grads) where there is no loss" if isinstance(value, dict) else ""
        return Finding("wrong-type", (), f"{expected}; it returned {structure.described(value)}{hint}")
    loss, grads = value
    if not isinstance(grads, dict):
        expected = getattr(candidate, "expected", f"{expected}; its second part is")
        return Finding("wrong-type", (), f"{expected} {structure.described(grads)}")
    return loss, grads, structure.check_inputs(outcome.modified)


def _usable_answer(candidate: Candidate, problem: Problem) -> tuple[float | None, Arrays] | None:
    """The loss and the gradients on another problem; None where they are not all there."""
    answer = _ask(candidate, problem, quiet=True)
    if isinstance(answer, Finding):
        return None
    gradients, _ = structure.check_arrays(answer[1], problem.params, "grads")
    return structure.check_loss(answer[0])[0], gradients


def _belongs_to_modified_inputs(candidate: Candidate, case: Case) -> bool:
    """Whether the numbers are right for the inputs as the candidate left them: then there is no second mistake."""
    params, data = candidates.copied((case.problem.params, case.problem.data))
    outcome = candidates.call(lambda: candidate(params, *data), [], quiet=True)
    if outcome.raised is not None or case.reference is None:
        return False
    truth = oracles.autograd(case.reference, params, data)
    same = all(case.agrees(name, case.gradients[name], truth.gradients[name]) for name in case.gradients)
    return same and (case.loss is None or case.agrees("", case.loss, truth.loss))


def _check_that_it_repeats(reference: Reference, problem: Problem, truth: Truth) -> None:
    """Raise ValueError where the reference's own numbers change from call to call: nobody could match them."""
    again = oracles.autograd(reference, problem.params, problem.data)
    pairs = [(again.gradients[name], value) for name, value in truth.gradients.items()]
    for one, other in [*pairs, (np.asarray(again.loss), np.asarray(truth.loss))]:
        if largest(one - other) > 1e-6 * largest(other):
            raise ValueError(
                "the reference gives other numbers when it is called again: it must not draw random numbers or keep"
                " anything between calls (dropout off, a torch.Generator with a fixed seed made inside)"
            )


def _repeatable(gradients: Arrays, loss: float | None, second: Finding | Answer) -> list[Finding]:
    if isinstance(second, Finding):
        return structure.check_repeatable({}, second.message)
    first = {} if loss is None else {"loss": np.asarray(loss)}
    again: Arrays = {}
    number, _ = structure.check_loss(second[0])
    if number is not None:
        again["loss"] = np.asarray(number)
    usable, _ = structure.check_arrays(second[1], gradients, "grads")
    return structure.check_repeatable(first | gradients, again | usable)


def _without_echoes(findings: list[Finding]) -> list[Finding]:
    """Drop what cannot be said of a candidate whose results change from call to call."""
    changing = [finding.parameters for finding in findings if finding.code == "not-repeatable"]
    echoes = {"unexplained"} if changing else set()
    if any("loss" in names or not names for names in changing):
        echoes.add("wrong-loss")
    return [finding for finding in findings if finding.code not in echoes]


def _unanswered(findings: tuple[Finding, ...], problem: Problem, warnings: tuple[str, ...]) -> Report:
    """The report of a candidate from which nothing came back that could be compared."""
    missing = {
        name: Comparison(name, None, np.full(value.shape, np.nan), float("inf"), 0.0, 0.0, False)
        for name, value in problem.params.items()
    }
    return Report(findings, missing, warnings=warnings)


class _Raised(Exception):
    """What a candidate raised while its loss was differentiated, in words."""


def _numerical_truth(
    candidate: Candidate, problem: Problem, grads: dict[Any, Any], loss: Any
) -> Finding | tuple[Truth, tuple[str, ...]]:
    """The derivative of the candidate's own loss; or the finding that says why there is none."""
    value, findings = structure.check_loss(loss)
    if value is None:
        nothing = "the loss is None, and without a reference there is nothing else to differentiate: return the loss"
        return findings[0] if findings else Finding("wrong-type", ("loss",), nothing)

    def own_loss(params: Arrays) -> Any:
        try:
            with candidates.guarded(quiet=True):
                answer = structure.converted(candidate(params, *candidates.copied(problem.data))[0])
        except (KeyboardInterrupt, candidates.TookTooLong):
            raise
        except BaseException as error:
            raise _Raised(candidates.what_was_raised(error)) from None
        if answer is None or answer.size != 1:
            raise _Raised("it returned no number for the loss")
        return answer

    try:
        derivative = oracles.numerical_gradients(own_loss, problem.params, np.random.default_rng(0))
    except candidates.TookTooLong as error:
        return Finding("raised", (), candidates.what_was_raised(error))
    except _Raised as error:
        return Finding("raised", (), f"at parameters moved a little, for a numerical derivative, {error}")
    gradients = {}
    for name, values in derivative.gradients.items():
        ours = structure.converted(grads.get(name))
        if ours is None or ours.shape != values.shape or ours.dtype.kind != "f":
            ours = np.zeros(values.shape)
        gradients[name] = np.where(np.isnan(values), ours, values).astype(problem.params[name].dtype)
    taken = sum(int(np.isfinite(values).sum()) for values in derivative.gradients.values())
    if not taken:
        raise ValueError(
            "your loss is too rough for a numerical derivative: differences over a small and a smaller step do not"
            " agree anywhere (is it computed in float32, or does it jump?). Compare with a reference in torch"
        )
    notes = (f"compared with the derivative of your own loss, taken by {derivative.method}",)
    if taken < derivative.entries:
        notes = (f"{notes[0]} at {taken} of {derivative.entries} entries",)
    return Truth(value, {"loss": value}, gradients, {"loss": gradients}, derivative.method), notes


def _check_functions(**functions: Any) -> None:
    for role, function in functions.items():
        if not callable(function):
            given = structure.described(function)
            raise TypeError(f"{role} must be a function; it is {given} (give the function itself, not its result)")


def _check_tolerances(rtol: float | None, atol: float | None) -> None:
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is not None and not (isinstance(value, (int, float, np.number)) and 0 <= value < np.inf):
            raise ValueError(f"{name} must be a number of at least 0, or None for the table's; it is {value!r}")


def _checked_params(params: Any, what: str = "params") -> Arrays:
    if not isinstance(params, dict) or not params:
        given = "empty" if isinstance(params, dict) else structure.described(params)
        raise TypeError(f"{what} must be a dict of arrays by name, with at least one; it is {given}")
    checked = {}
    for name, value in params.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"the keys of {what} must be names, such as 'W1'; one is {name!r}")
        array = structure.converted(value)
        if array is None:
            raise TypeError(f"{what}[{name!r}] must be an array of numbers; it is {structure.described(value)}")
        if array.dtype.kind != "f":
            hint = "np.asarray(..., dtype=float) makes it one"
            raise TypeError(f"{what}[{name!r}] must be a floating-point array; its dtype is {array.dtype} ({hint})")
        if not array.size:
            raise ValueError(f"{what}[{name!r}] has no entries (shape {array.shape})")
        checked[name] = _as_torch_can(array, f"{what}[{name!r}]")
    return checked


def _as_torch_can(array: Array, label: str) -> Array:
    """An array in the machine's own byte order, of a precision that torch has."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        raise TypeError(f"{label} is of dtype {array.dtype}, which torch does not have; use float64")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _as_input(value: Any) -> Any:
    """Lists, numbers and tensors as arrays, so that both sides are given the same; what is no number as it is."""
    if isinstance(value, (list, tuple, float, int, np.generic)) or type(value).__module__.startswith("torch"):
        try:
            array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        except (ValueError, TypeError):  # rows of unequal length, for example
            return value
        value = array if array.dtype.kind in "fiucb" else value
    return _as_torch_can(value, "a data array") if isinstance(value, np.ndarray) else value


def _check_batch_axis(problem: Problem) -> None:
    axis = problem.batch_axis
    if axis is None:
        return
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        raise TypeError(f"batch_axis must be an axis of the data arrays, or None where there is none; it is {axis!r}")
    shapes = {name: value.shape for name, value in problem.named_data.items() if value.ndim}
    if shapes and not any(-len(shape) <= axis < len(shape) for shape in shapes.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"batch_axis={axis} is no axis of any data array ({listed}); None says that there is none")


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
    return None if value is None or np.ma.is_masked(value) else structure.converted(value)


def _require(report: Report) -> None:
    if not report.ok:
        raise GradientMismatch(report)


class _UpdateGradient:
    """A candidate made of an update: its gradient is the step taken, over the learning rate."""

    expected = "the update must return the new parameters as a dict; it returned"

    def __init__(self, update: Callable[..., Any], learning_rate: float) -> None:
        self.update = update
        self.learning_rate = learning_rate

    def __call__(self, params: Arrays, *data: Any) -> Any:
        before = candidates.copied(params)
        after = self.update(params, *data)
        if not isinstance(after, dict):
            return None, after
        return None, {name: self._gradient(before.get(name), value) for name, value in after.items()}

    def _gradient(self, before: Any, after: Any) -> Any:
        """The step over the learning rate, in the kind that `after` is of; `after` itself where it does not fit."""
        array = structure.converted(after)
        if before is None or array is None or array.shape != before.shape:
            return after
        gradient = (before - array) / self.learning_rate
        if isinstance(after, list):
            return gradient.tolist()
        return after.new_tensor(gradient) if hasattr(after, "new_tensor") else np.asarray(gradient)

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
    _check_functions(update=update)
    if not isinstance(learning_rate, (int, float, np.number)) or not np.isfinite(learning_rate) or learning_rate == 0:
        raise ValueError(f"learning_rate must be a finite number other than 0; it is {learning_rate!r}")
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
    _check_functions(forward=forward, backward=backward, reference=reference)
    _check_tolerances(rtol, atol)
    if not isinstance(inputs, dict):
        raise TypeError(f"inputs must be a dict of arrays by name; it is {structure.described(inputs)}")
    arrays = {name: _as_input(value) for name, value in inputs.items()}
    fixed = {name: value for name, value in arrays.items() if getattr(value, "dtype", np.dtype(int)).kind != "f"}
    if inputs and len(fixed) == len(inputs):
        raise TypeError(f"inputs must be a dict of floating-point arrays (at least one); it has {', '.join(inputs)}")
    floating = _checked_params({name: value for name, value in arrays.items() if name not in fixed}, "inputs")
    with candidates.judging():
        right = oracles.layer_output(reference, arrays)
        output_grad = np.random.default_rng(20).standard_normal(right.shape).astype(right.dtype)
        layer = _Layer(forward, backward, tuple(fixed))
        problem = Problem(floating, (output_grad, *fixed.values()), batch_axis, ("output_grad", *fixed))
        _check_batch_axis(problem)
        findings, comparison = _compare_output(forward, right, arrays, replace(problem, data=(output_grad,)))
        if comparison is None:
            report = _unanswered(tuple(findings), problem, quality.of_inputs(problem))
            return replace(report, subject="layer")

        def loss(params: dict[str, Any], direction: Any, *others: Any) -> Any:
            return _weighted(reference({**dict(zip(fixed, others, strict=True)), **params}), direction)

        layer.says_its_output = any(finding.code == "unexplained" for finding in findings)
        report = _compare(layer, loss, problem, rtol, atol, diagnose, output=comparison)
    return replace(report, findings=_of_layer(findings, report.findings), output=comparison, subject="layer")


def _of_layer(of_output: list[Finding], others: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The output's findings, then the gradients'. What mends the output as well is all there is to say of it."""
    told = [finding for finding in others if "output" in finding.parameters and finding.code != "unexplained"]
    if told and any(finding.code == "unexplained" for finding in of_output):
        of_output = [*(one for one in of_output if one.code != "unexplained"), *told]
    return (*of_output, *(one for one in others if one not in of_output and one.parameters != ("output",)))


def _weighted(output: Any, output_grad: Any) -> Any:
    """The number whose derivative by an output is the output gradient: what stands for a layer's loss on both sides."""
    return (output * output_grad).sum()


class _Layer:
    """A layer as a candidate: its gradients for an output gradient, and as its loss the output, weighted by that.

    An output that is right needs no such number.
    """

    expected = "backward must return grads, a dict of arrays by input; it returned"

    def __init__(self, forward: Any, backward: Any, fixed: tuple[str, ...]) -> None:
        self.forward, self.backward, self.fixed = forward, backward, fixed
        self.says_its_output = False

    def __call__(self, params: Arrays, output_grad: Array, *others: Any) -> tuple[Any, Any]:
        output, cache = self._ahead(params, others)
        grads = self.backward(output_grad, cache)
        if isinstance(grads, dict):
            grads = {name: value for name, value in grads.items() if name not in self.fixed}
        return _weighted(output, output_grad) if self.says_its_output else None, grads

    def own_loss(self, params: Any, output_grad: Any, *others: Any) -> Any:
        """What the gradients are those of: the output, weighted by the output gradient."""
        output, _ = self._ahead(params, others)
        return _weighted(output, output_grad)

    def _ahead(self, params: Any, others: tuple[Any, ...]) -> Any:
        return self.forward({**dict(zip(self.fixed, others, strict=True)), **params})


def _compare_output(
    forward: Any, right: Array, inputs: Arrays, problem: Problem
) -> tuple[list[Finding], Comparison | None]:
    """The output's findings and its comparison; no comparison where there is no output to compare."""
    outcome = candidates.call(forward, [""], inputs)
    if outcome.raised is not None:
        return [Finding("raised", (), f"in forward {outcome.raised}")], None
    if not isinstance(outcome.value, (tuple, list)) or len(outcome.value) != 2:
        message = f"forward must return (output, cache); it returned {structure.described(outcome.value)}"
        return [Finding("wrong-type", (), message)], None
    given = outcome.value[0]
    output, findings = structure.check_arrays({"output": given}, {"output": right}, "output")
    findings += structure.check_inputs(outcome.modified)
    again = candidates.call(forward, [""], inputs, quiet=True)
    if again.raised is not None:
        findings += structure.check_repeatable({}, again.raised)
    elif output:
        other = again.value[0] if isinstance(again.value, (tuple, list)) and again.value else None
        usable, _ = structure.check_arrays({"output": other}, output, "output")
        findings += structure.check_repeatable(output, usable)
    raw = None if given is None or np.ma.is_masked(given) else structure.converted(given)
    truth = Truth(0.0, {}, {"output": right}, {})
    floors = {"output": structure.rounding_of_dtype(given, right)}
    case = Case(  # no parameter has to do with it: the output gradient stands for one of its shape and dtype
        replace(problem, params={"output": problem.data[0]}),
        None,
        lambda _: None,
        truth,
        None,
        output,
        floors=floors,
        of_layer=True,
    )
    if case.wrong:
        repeats = all(finding.code != "not-repeatable" for finding in findings)
        findings += [_of_the_output(one) for one in explain(case, repeats)]
    return _without_echoes(findings), case.comparison("output", raw)


def _of_the_output(finding: Finding) -> Finding:
    """What was found of an array, in the words for an output and not for a gradient."""
    mend = finding.mend.replace("doutput", "output")
    return replace(finding, message=finding.message.replace("your gradient", "your output"), mend=mend)


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
    _check_functions(step=step, reference=reference)
    _check_tolerances(rtol, atol)
    params = _checked_params(params)
    gradients = _checked_gradients(params, gradients)
    with candidates.judging():
        return _compare_updates(step, reference, params, gradients, rtol, atol, diagnose)


def _compare_updates(
    step: Callable[..., Any],
    reference: Callable[[Any], Any],
    params: Arrays,
    gradients: list[Arrays],
    rtol: float | None,
    atol: float | None,
    diagnose: bool,
) -> Report:
    right = updates.run_reference(reference, params, gradients)
    run = updates.run_candidate(step, params, gradients, right)
    findings = list(run.findings)
    if len(run.steps) == len(right):
        again = updates.run_candidate(step, params, gradients, right, quiet=True)
        answered = len(again.steps) == len(right)
        findings += structure.check_repeatable(
            run.steps[-1], again.steps[-1] if answered else again.findings[0].message
        )
    comparisons = updates.compare_trajectories(params, run.steps, right, rtol, atol)
    if any(not one.ok and one.candidate is not None for one in comparisons.values()):
        findings += diagnose_updates(step, reference, params, gradients, run.steps, comparisons, search=diagnose)
    warnings = quality.of_updates(params, gradients)
    return Report(tuple(_without_echoes(findings)), comparisons, warnings=warnings, subject="update")


def _checked_gradients(params: Arrays, gradients: Sequence[Arrays]) -> list[Arrays]:
    if isinstance(gradients, dict) or not isinstance(gradients, Iterable):
        given = structure.described(gradients)
        raise TypeError(f"gradients must be a list of dicts of arrays, one for each step; it is {given}")
    gradients = list(gradients)
    if not gradients:
        raise ValueError("gradients is empty: give one dict of arrays for each step")
    checked = []
    for count, grads in enumerate(gradients, start=1):
        if not isinstance(grads, dict):
            raise TypeError(f"gradients of step {count} must be a dict of arrays; it is {structure.described(grads)}")
        if set(grads) != set(params):
            keys, names = ", ".join(map(str, grads)) or "none", ", ".join(params)
            raise ValueError(f"gradients of step {count} have other keys ({keys}) than params ({names})")
        arrays = {name: np.asarray(grads[name], dtype=params[name].dtype) for name in params}
        for name, value in arrays.items():
            if value.shape != params[name].shape:
                expected = params[name].shape
                raise ValueError(f"step {count}: the gradient of {name} has shape {value.shape}, not {expected}")
        checked.append(arrays)
    return checked
