"""Running update rules: a hand-written one and torch's, over the same gradients, from the same start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gradproof import candidate as candidates
from gradproof import oracles, structure
from gradproof.oracles import Array, Arrays
from gradproof.report import Comparison, Finding
from gradproof.tolerances import largest, relative_tolerance

__tracebackhide__ = True  # a traceback shows the caller's code and the reference's, not ours

Trajectory = list[Arrays]


@dataclass(frozen=True)
class Run:
    """The parameters after each step, as far as they came, and what was amiss on the way."""

    steps: Trajectory
    findings: tuple[Finding, ...]


def run_reference(reference: Callable[[Any], Any], params: Arrays, gradients: Sequence[Arrays]) -> Trajectory:
    """torch's parameters after each step. Raises TypeError where `reference` makes no optimizer."""
    tensors = {name: oracles.as_tensor(value, requires_grad=True) for name, value in params.items()}
    steps = []
    with _numbers_as_precise_as(params):
        with oracles.blamed_on_reference(list(tensors.values())):
            optimizer = reference(list(tensors.values()))
        if not hasattr(optimizer, "step") or not hasattr(optimizer, "param_groups"):
            raise TypeError(f"the reference must make a torch.optim.Optimizer; it made a {type(optimizer).__name__}")
        for grads in gradients:
            for name, tensor in tensors.items():
                tensor.grad = oracles.as_tensor(grads[name]) if name in grads else None
            with oracles.blamed_on_reference(list(tensors.values())):
                optimizer.step()
            steps.append({name: tensor.detach().numpy().copy() for name, tensor in tensors.items()})
    return steps


@contextmanager
def _numbers_as_precise_as(params: Arrays) -> Iterator[None]:
    """Let an optimizer keep its own numbers in float64 where all parameters are.

    NAdam keeps the product of its momenta as a tensor of torch's default dtype, float32: its steps would be right to
    1e-7 only, and a right candidate would differ from them.
    """
    before = torch.get_default_dtype()
    if all(value.dtype == np.float64 for value in params.values()):
        torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def run_candidate(
    step: Callable[..., Any], params: Arrays, gradients: Sequence[Arrays], right: Trajectory, quiet: bool = False
) -> Run:
    """The candidate's parameters after each step; it stops at the first step whose result cannot be gone on with."""
    state: dict[Any, Any] = {}
    steps: Trajectory = []
    current = params
    modified: tuple[str, ...] = ()
    first = candidates.Outcome()
    for count, grads in enumerate(gradients, start=1):
        outcome = candidates.call(
            lambda p, g: step(p, g, state), ["", "grads"], current, grads, quiet=quiet or count > 1
        )
        modified = modified or outcome.modified
        first = outcome if count == 1 else first
        after, findings = _result(outcome, right[count - 1], count)
        if findings:
            return Run(steps, (*findings, *structure.check_inputs(modified)))
        steps.append(after)
        current = after
    kept = () if modified else first.modified_since()
    return Run(steps, tuple(structure.check_inputs(modified) or structure.check_kept(kept)))


def _result(outcome: candidates.Outcome, right: Arrays, count: int) -> tuple[Arrays, list[Finding]]:
    if outcome.raised is not None:
        return {}, [Finding("raised", (), f"at step {count} {outcome.raised}")]
    if not isinstance(outcome.value, dict):
        kind = structure.described(outcome.value)
        return {}, [Finding("wrong-type", (), f"step must return the new parameters as a dict; it returned {kind}")]
    after, findings = structure.check_arrays(outcome.value, right, "params")
    return after, [replace(finding, message=f"at step {count}: {finding.message}") for finding in findings]


def compare_trajectories(
    params: Arrays, ours: Trajectory, right: Trajectory, rtol: float | None, atol: float | None
) -> dict[str, Comparison]:
    """Each parameter over all steps: arrays of shape (steps, ...). The tolerance is relative to the distance moved."""
    return {name: _compare_one(name, start, ours, right, rtol, atol) for name, start in params.items()}


def _compare_one(
    name: str, start: Array, ours: Trajectory, right: Trajectory, rtol: float | None, atol: float | None
) -> Comparison:
    theirs = np.stack([step[name] for step in right])
    tolerance = relative_tolerance("optimizer", start.dtype) if rtol is None else rtol
    moved = largest(theirs - start)
    rounding = 4 * float(np.finfo(start.dtype).eps) * largest(theirs) * len(right) ** 0.5
    allowed = tolerance * moved + (atol or 0.0) + (rounding if rtol is None else 0.0)
    if len(ours) < len(right):
        return Comparison(name, None, theirs, float("inf"), tolerance, allowed, False)
    mine = np.stack([step[name] for step in ours])
    error = largest(mine - theirs)
    return Comparison(name, mine, theirs, error / moved if moved else error, tolerance, allowed, error <= allowed)
