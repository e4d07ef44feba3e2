"""Parameters that moved while the gradient was still being computed: one after the other, or sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradproof.diagnosis.fault import Fault, Model, run
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.samples import one_row_for_all
from gradproof.diagnosis.survey import Survey
from gradproof.oracles import Arrays

Outcome = tuple[Arrays, float]


def faults(survey: Survey) -> Iterator[Fault]:
    """Where the candidate is an update of known learning rate: what comes of stepping inside a loop.

    For any candidate: the gradients of the other parameters taken after one parameter has been updated.
    """
    tape, places, problem = survey.tape, survey.places, survey.problem
    rate = problem.learning_rate
    for name in problem.params:
        if len(problem.params) > 1:
            yield _moved_first(name, rate if rate is not None else 0.0, rate is None)
    count = problem.samples
    if rate is None or count is None or not 1 < count <= 256:
        return
    message = f"the parameters are moved after every one of the {count} samples, not once for all of them"
    again = ("wrong-scale", f"each of these steps is divided by the number of samples, {count}, once more")
    second = {1.0: None, 1.0 / count: again}
    for scale, besides in second.items():
        yield Fault("wrong-operand", message, None, 1.5, custom=_sample_by_sample(rate, scale), besides=besides)
    for place in places:
        if tuple(tape.values[place.nodes[0].outputs[0]].shape)[:1] == (count,):
            words = f"the parameters are moved once for every sample, with {place} of that sample for all of them"
            for scale, besides in second.items():
                custom = _row_by_row(place, rate, scale)
                yield Fault("wrong-operand", words, place.site, 1.7, custom=custom, besides=besides)


def _moved_first(name: str, rate: float, fitting: bool) -> Fault:
    message = f"the other gradients are taken after {name} has been moved (learning rate {rate:.4g}), not before"

    def custom(model: Model) -> Outcome | None:
        clean = model.tape.clean.arrays()
        moved = {**model.problem.params, name: model.problem.params[name] - rate * clean[name]}
        later = model.gradients(moved)
        return None if later is None else ({**later, name: clean[name]}, model.tape.loss())

    scaled = (lambda other: _moved_first(name, other, False)) if fitting else None
    return Fault("wrong-operand", message, None, 1.6, custom=custom, scaled=scaled)


def _sample_by_sample(rate: float, scale: float) -> Callable[[Model], Outcome | None]:
    def custom(model: Model) -> Outcome | None:
        return _stepped(model, rate, scale, lambda params, index: model.gradients(params, [index]))

    return custom


def _row_by_row(place: Place, rate: float, scale: float) -> Callable[[Model], Outcome | None]:
    def custom(model: Model) -> Outcome | None:
        def gradient(params: Arrays, index: int) -> Arrays | None:
            tape = model.at(params)
            if tape is None:
                return None
            fault = Fault("", "", forward={node.index: one_row_for_all(index) for node in place.nodes})
            found = run(Model(model.reference, model.problem, tape), [fault])
            return None if found is None else found[0]

        return _stepped(model, rate, scale, gradient)

    return custom


def _stepped(
    model: Model, rate: float, scale: float, gradient: Callable[[Arrays, int], Arrays | None]
) -> Outcome | None:
    """One step for each sample; the whole way, divided by the rate, is what passes for a gradient."""
    start = model.problem.params
    params = start
    for index in range(model.problem.samples or 0):
        found = gradient(params, index)
        if found is None:
            return None
        params = {name: value - rate * scale * found[name] for name, value in params.items()}
    return {name: (start[name] - value) / rate for name, value in params.items()}, model.tape.loss()
