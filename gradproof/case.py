"""One comparison in hand: the inputs, what the reference says, what the candidate said, and when two arrays agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradproof import oracles
from gradproof.oracles import Array, Arrays, Truth
from gradproof.report import Comparison
from gradproof.tape import Recording, Tape, gives, record
from gradproof.tolerances import ROUNDING_MARGIN, largest, relative_error, relative_tolerance

FAR = 1000.0  # times the rounding that is seen once: what differs by more does so not by rounding
MOST_OPERATIONS = 3000  # of a candidate's own forward pass


@dataclass(frozen=True, eq=False)
class Problem:
    """What both sides are given."""

    params: Arrays
    data: tuple[Any, ...]
    batch_axis: int | None
    data_names: tuple[str, ...] = ()
    learning_rate: float | None = None  # of a candidate that is an update

    @property
    def named_data(self) -> dict[str, Array]:
        """The data's arrays, by the names that the caller's own functions give them."""
        return {self.data_name(i): one for i, one in enumerate(self.data) if isinstance(one, np.ndarray)}

    def data_name(self, index: int) -> str:
        return self.data_names[index] if index < len(self.data_names) else f"data[{index}]"

    @property
    def samples(self) -> int | None:
        """The batch size: the common length of the data's batch axes; None where there is none."""
        if self.batch_axis is None:
            return None
        lengths = {
            one.shape[self.batch_axis]
            for one in self.data
            if isinstance(one, np.ndarray) and -one.ndim <= self.batch_axis < one.ndim
        }
        return lengths.pop() if len(lengths) == 1 else None

    def take(self, samples: slice | list[int]) -> Problem:
        """The same problem with only these samples."""
        assert self.batch_axis is not None
        chosen = tuple(
            np.take(one, np.arange(one.shape[self.batch_axis])[samples], axis=self.batch_axis)
            if isinstance(one, np.ndarray) and -one.ndim <= self.batch_axis < one.ndim
            else one
            for one in self.data
        )
        return replace(self, data=chosen)


def recorded(
    reference: Callable[..., Any], problem: Problem, truth: Truth | None = None, how: Recording | None = None
) -> Tape | None:
    """The reference as a program, its data by the names that the caller gives them."""
    tape = record(reference, problem.params, problem.data, truth, how)
    if tape is not None:
        tape.data = {problem.data_name(int(key[5:-1])): value for key, value in tape.data.items()}
    return tape


def _said_by(tape: Tape) -> Truth:
    """A program's own loss and derivative, as autograd would say them."""
    loss, gradients = tape.loss(), tape.clean.arrays()
    return Truth(loss, {"loss": loss}, gradients, {"loss": gradients})


@dataclass
class Case:
    """A problem with the reference's answer and the candidate's, and the judgement of what counts as equal."""

    problem: Problem
    reference: Callable[..., Any] | None
    ask: Callable[[Problem], tuple[float | None, Arrays] | None]  # the candidate on another problem
    truth: Truth
    loss: float | None
    gradients: Arrays
    rtol: float | None = None
    atol: float | None = None
    floors: dict[str, float] = field(default_factory=dict)  # absolute rounding that the candidate cannot avoid
    output_is_right: bool = False  # whether that is known of a candidate that computes no loss
    of_layer: bool = False  # whether the loss is a layer's output, weighted by the output gradient
    how: Recording | None = None  # the only way in which the program is to be recorded
    candidate: Callable[..., Any] | None = None  # the code under test itself
    own_loss: Callable[..., Any] | None = None  # the candidate's loss, as NumPy computes it
    own_forward: Callable[..., Any] | None = None  # the same in torch, where that is the program and not the reference
    function: Callable[[Problem], Tape | None] | None = None  # another one, where the candidate is held to that

    @cached_property
    def known(self) -> dict[str, Any]:
        """What was worked out of single gradients; a comparison that is made of this one begins anew."""
        return {}

    @property
    def value(self) -> str:
        """What the forward pass comes to, in the caller's words."""
        return "output" if self.of_layer else "loss"

    @property
    def program(self) -> Callable[..., Any] | None:
        """The forward pass of which rules may have been broken: the reference's, or the candidate's own."""
        return self.own_forward or self.reference

    @cached_property
    def tape(self) -> Tape | None:
        """The program as a tape; None where it cannot be had as one that gives autograd's numbers."""
        if self.function is not None:
            return self.function(self.problem)
        return None if self.program is None else recorded(self.program, self.problem, self.truth, self.how)

    @cached_property
    def otherwise(self) -> tuple[Case, ...]:
        """The same comparison with other programs for the same function."""
        found = (self._of_probabilities, self._of_own_forward)
        return tuple(case for case in found if case is not None)

    @cached_property
    def _of_probabilities(self) -> Case | None:
        """With the sigmoid or softmax of fused losses as a part of its own; None where there are none."""
        if self.tape is None or not self.tape.of_probabilities or self.function is not None:
            return None
        other = replace(self, how=replace(self.tape.how, probabilities=True))
        return None if other.tape is None else other

    @cached_property
    def _own_program(self) -> Callable[..., Any] | None:
        """The candidate's own forward pass as a function of tensors, if there is one."""
        try:
            from gradproof import own_forward  # it stands on a part of torch that may move
        except ImportError:
            return None
        return None if self.own_loss is None else own_forward.as_reference(self.own_loss)

    @cached_property
    def _of_own_forward(self) -> Case | None:
        """With the candidate's own forward pass; None where it cannot be followed, or is another function."""
        program = self._own_program
        if program is None or (self.reference is not None and not self.loss_is_right):
            return None
        tape = self._own_tape
        if tape is None or len(tape.nodes) > MOST_OPERATIONS or not gives(tape, self.truth):
            return None
        other = replace(self, own_forward=program, own_loss=None, how=tape.how)
        other.tape = tape
        return other._by_its_own_derivative() if self.reference is None else other

    @cached_property
    def _own_tape(self) -> Tape | None:
        """The candidate's own forward pass as a tape, where it can be followed; what it writes into is made new."""
        program, torn = self._own_program, None
        if program is None:
            return None
        for functionalize in (False, True):
            try:
                tape = recorded(program, self.problem, how=Recording(functionalize=functionalize))
            except Exception as error:
                if type(error.__cause__) is type(error):  # it cannot be followed, however it is recorded
                    return None
                continue
            if tape is None or not tape.torn:
                return tape
            torn = tape
        return torn

    @cached_property
    def of_own_function(self) -> Case | None:
        """The candidate beside the derivative of its own loss, which is another function than the reference's."""
        program = self._own_program
        if program is None or self.loss is None:
            return None
        tape = self._own_tape
        if tape is None or tape.torn or not self.agrees("", self.loss, tape.loss()):
            return None
        try:
            truth = _said_by(tape)
        except Exception:  # torch cannot differentiate all of it
            return None
        moving = {name: one for name, one in self.gradients.items() if not self._held(name)}
        own = replace(self, reference=None, own_loss=None, own_forward=program, how=tape.how)
        own = replace(own, truth=truth, gradients=moving)
        own.tape = tape
        return own

    def of_another(self, function: Callable[[Problem], Tape | None]) -> Case | None:
        """The candidate beside another function, which is known as a program on each problem."""
        tape = function(self.problem)
        if tape is None:
            return None
        other = replace(self, reference=None, own_forward=self.program, own_loss=None, function=function)
        return replace(other, truth=_said_by(tape))

    def _held(self, name: str) -> bool:
        """Whether the reference holds a parameter constant, and the candidate does as well."""
        return not np.any(self.truth.gradients[name]) and not np.any(self.gradients[name])

    def _by_its_own_derivative(self) -> Case:
        """The same held to the program's own derivative, for a numerical one: exact where that is only nearly so."""
        assert self.tape is not None
        truth = replace(_said_by(self.tape), loss=self.truth.loss, terms=self.truth.terms)
        exact = replace(self, truth=truth)
        return exact if exact.wrong == self.wrong else replace(self, truth=replace(truth, oracle=self.truth.oracle))

    @property
    def searchable(self) -> Case | None:
        """The comparison with a program of which rules can be broken; None where there is none."""
        return self if self.tape is not None else self._of_own_forward

    def truth_of(self, problem: Problem) -> Truth:
        """What is right on another problem. Raises whatever the program raises there."""
        if self.reference is not None:
            return oracles.autograd(self.reference, problem.params, problem.data)
        assert self.tape is not None
        if self.function is not None:
            tape = self.function(problem)
        else:
            assert self.program is not None
            tape = recorded(self.program, problem, how=self.tape.how)
        assert tape is not None
        return replace(_said_by(tape), terms=self.truth.terms, oracle=self.truth.oracle)

    @cached_property
    def rounding(self) -> dict[str, float]:
        """How far each of the reference's numbers moves when its inputs move by one unit in the last place."""
        if self.reference is None:
            return {name: 0.0 for name in [*self.truth.gradients, ""]}
        more = [self._once, self._moved(seed=1), self._moved(seed=2)]
        return {name: max(one[name] for one in more) for name in self._once}

    @cached_property
    def _once(self) -> dict[str, float]:
        """The same, seen once only: most of what is wrong is so by far more, and each time takes a run."""
        return self._moved(seed=0)

    def _moved(self, seed: int) -> dict[str, float]:
        assert self.reference is not None
        rng = np.random.default_rng(seed)
        params, data = oracles.nudged(self.problem.params, rng), oracles.nudged(self.problem.data, rng)
        other = oracles.autograd(self.reference, params, data)
        found = {name: largest(value - self.truth.gradients[name]) for name, value in other.gradients.items()}
        found[""] = abs(other.loss - self.truth.loss)
        return {name: ROUNDING_MARGIN * value for name, value in found.items()}

    def tolerance(self, name: str) -> float:
        """The relative tolerance that a quantity is held to ("" is the loss)."""
        return self._tolerances[name]

    @cached_property
    def _tolerances(self) -> dict[str, float]:
        dtypes = {name: value.dtype for name, value in self.problem.params.items()}
        dtypes = {"": next(iter(dtypes.values()))} | dtypes
        if self.rtol is not None:
            return dict.fromkeys(dtypes, self.rtol)
        return {name: relative_tolerance(self.truth.oracle, dtype) for name, dtype in dtypes.items()}

    def agrees(self, name: str, actual: Any, desired: Any) -> bool:
        """Whether two values of a quantity are equal up to rounding."""
        actual, desired = np.asarray(actual), np.asarray(desired)
        if actual.shape != desired.shape:
            return False
        with np.errstate(all="ignore"):
            difference = largest(actual - desired)
        allowed = self.allowed(name, desired)
        if difference <= allowed:
            return bool(np.isfinite(difference))
        strict = self.rtol is not None or self.atol is not None
        if strict or not np.isfinite(difference):
            return False
        if self.reference is not None and difference > FAR * (allowed + self._once[name]) > FAR * allowed:
            return False
        return difference <= allowed + self.rounding.get(name, 0.0)

    def allowed(self, name: str, desired: Any) -> float:
        """The largest difference that passes, before the reference's own rounding is looked at."""
        return self.tolerance(name) * largest(desired) + (self.atol or 0.0) + self.floors.get(name, 0.0)

    @cached_property
    def wrong(self) -> tuple[str, ...]:
        """The parameters whose gradient is there, has the right shape, and is not the reference's."""
        return tuple(
            name
            for name, right in self.truth.gradients.items()
            if name in self.gradients and not self.agrees(name, self.gradients[name], right)
        )

    @property
    def loss_is_right(self) -> bool:
        return self.loss is None or self.agrees("", self.loss, self.truth.loss)

    @property
    def forward_is_right(self) -> bool:
        """Whether the candidate's forward pass is known to be right."""
        return self.output_is_right if self.loss is None else self.loss_is_right

    def comparison(self, name: str, raw: Array | None) -> Comparison:
        """What is reported of one parameter."""
        right = self.truth.gradients[name]
        comparable = raw is not None and raw.shape == right.shape and raw.dtype != object
        ok = name in self.gradients and name not in self.wrong
        with np.errstate(all="ignore"):
            error = relative_error(raw, right) if comparable and raw is not None else float("inf")
        return Comparison(name, raw, right, error, self.tolerance(name), self.allowed(name, right), ok)

    def loss_comparison(self) -> Comparison | None:
        if self.loss is None:
            return None
        right, ours = np.asarray(self.truth.loss), np.asarray(self.loss)
        error, allowed = relative_error(ours, right), self.allowed("", right)
        return Comparison("loss", ours, right, error, self.tolerance(""), allowed, self.loss_is_right)
