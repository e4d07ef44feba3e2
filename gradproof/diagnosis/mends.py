"""The mended formula of a finding: what the wrong line should have been, where that is known exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch

from gradproof.case import Case, Problem
from gradproof.diagnosis.elementwise import RegionHook
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.transforms import Transform
from gradproof.formulas import Written, free_name, of_function, on_lines, written
from gradproof.source_names import called_at, target_at
from gradproof.tape import Node, Tape, Tensor

FEW = 4  # terms of a loss that are all told
MOST = 2  # operations whose rules are told for one finding
# Broken in the forward pass, the operation itself has to be told as well; of other such faults the rule says nothing.
FORWARD = ("different-function", "wrong-axis", "wrong-reduction")
ROUNDING = 1e-9

# Functions that may have been written out in several operations.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "silu": torch.nn.functional.silu,
    "_softmax": lambda z: torch.softmax(z, -1),
    "_log_softmax": lambda z: torch.log_softmax(z, -1),
}
ROWS = ("_softmax", "_log_softmax")


def of_fault(case: Case, fault: Fault) -> str:
    """The right rule at the place where a fault broke one; empty where nothing exact can be said."""
    tape = case.tape
    if fault.inputs is not None:
        return _of_inputs(case.problem, fault) if fault.code == "broadcast" else ""
    if tape is None or fault.custom is not None:
        return ""
    if fault.term is not None or (fault.values and set(fault.values) <= set(tape.terms.values())):
        if len(tape.terms) == 1:
            return ""
        return _of_terms(list(tape.terms), fault)
    if fault.rewired or (fault.forward and fault.code not in FORWARD):
        return ""
    if fault.code == "extra-derivative" and fault.nodes:
        return _cancelled(case, tape, tape.nodes[max(fault.nodes)])
    taken = {*tape.parameters, *case.problem.named_data}
    rules = [rule.only(_broken(tape, fault, rule)) for rule in _rules(tape, fault, taken)]
    return "\n".join(dict.fromkeys(rule.text(bool(fault.forward)) for rule in rules))


def _of_terms(terms: Sequence[str], fault: Fault) -> str:
    """The gradient as the sum of its terms' gradients; or what puts the weight of one of them right."""
    names = {term: "d_" + re.sub(r"\W", "_", term) for term in terms}
    if fault.term is not None and fault.constant:
        sign = "-" if fault.constant < 0 else ""
        mended = _rescaled(names[fault.term], abs(fault.constant))
        return mended.replace(" = ", f" = {sign}", 1)
    shown = list(names.values())
    if len(shown) > FEW:
        shown[1:-1] = ["..."]
    return f"the gradient is {' + '.join(shown)}, the sum of all terms'"


def _rules(tape: Tape, fault: Fault, taken: set[str]) -> list[Written]:
    """The rules of the operations concerned, the same operation done again and again once; none where they are many."""
    places = sorted(fault.about or fault.forward or fault.nodes)
    nodes = [tape.nodes[index] for index in places] or list(_at_values(tape, fault))
    if not nodes:
        return list(_written_out(tape, fault, taken))
    passages: dict[tuple[object, str], Node] = {}
    for node in nodes:
        before = passages.setdefault((node.site, node.name), node)
        if before.constants != node.constants:
            return []
        passages[node.site, node.name] = node
    rules = [written(tape, node, taken) for node in passages.values()]
    return [rule for rule in rules if rule is not None] if len(rules) <= MOST else []


def _broken(tape: Tape, fault: Fault, rule: Written) -> set[int]:
    """Which of an operation's operands get another gradient, in any of its passages; all where that is not known."""
    found: set[int] = set()
    for index, hook in fault.nodes.items():
        node = tape.nodes[index]
        if (node.site, node.name) == (rule.node.site, rule.node.name) and index in tape.clean.local:
            arriving = [tape.clean.totals.get(value) for value in node.outputs]
            try:
                made = hook(tape, node, arriving, tape.clean.seen)
            except (RuntimeError, IndexError, ValueError, TypeError):  # it fits no gradients but the broken ones
                continue
            right = tape.clean.local[index]
            found |= {i for i, (one, other) in enumerate(zip(made, right, strict=True)) if not _same(one, other)}
    return found or set(range(len(rule.values)))


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool((one == other).all())


def _at_values(tape: Tape, fault: Fault) -> Iterator[Node]:
    """The operations at a fault's place that take the values at which it acts, and nothing else made of them."""
    for value, hook in fault.values.items():
        nodes = hook.region.nodes if isinstance(hook, RegionHook) else ()
        if len(nodes) > 1 and (nodes[0].part is not None or called_at(nodes[0].site)):
            continue  # the formula of a part of a fused operation, or of a call's, is not that of the whole
        for index in tape.consumers.get(value, ()):
            node = tape.nodes[index]
            others = [one for one in node.inputs if one != value and one in tape.producer]
            made_of_it = any(tape.ancestors[one] & _users(tape, value) for one in others)
            if node.site == fault.site and not made_of_it:
                yield node


def _users(tape: Tape, value: int) -> int:
    return sum(1 << index for index in tape.consumers.get(value, ()))


def _written_out(tape: Tape, fault: Fault, taken: set[str]) -> Iterator[Written]:
    """The rule of a function that the reference writes out in several operations, known by its numbers.

    A Jacobian that couples a row may begin behind the exponential, and have something entry by entry behind it.
    """
    start = max(fault.values, default=None)
    last = max((node.index for node in tape.nodes if node.site == fault.site), default=-1)
    if start is None or last < 0 or not tape.values[start].dim():
        return
    coupled = fault.code == "diagonal-jacobian"
    made_by = tape.nodes[tape.producer[start]] if start in tape.producer else None
    if coupled and made_by is not None and made_by.name == "exp":
        start = made_by.inputs[0]
    for node in reversed(tape.nodes[: last + 1] if coupled else tape.nodes[last : last + 1]):
        for name in ROWS if coupled else FUNCTIONS:
            if _equal(tape.values[node.outputs[0]], FUNCTIONS[name](tape.values[start])):
                rule = of_function(tape, name, start, node, taken)
                if rule is not None:
                    yield rule
                return


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.allclose(one, other, ROUNDING, 0)


def _cancelled(case: Case, tape: Tape, node: Node) -> str:
    """What arrives at an output's input from a loss that has cancelled its derivative: dz = (a - y) / n."""
    z = tape.values[node.outputs[0]]
    right = tape.clean.totals.get(node.outputs[0])
    named = target_at(node.site)
    activations: list[tuple[str, Callable[[Tensor], Tensor]]] = [("1 / (1 + np.exp(-{z}))", torch.sigmoid)]
    if z.dim() > 1:
        activations.append(("np.exp({z}) / np.exp({z}).sum(axis=-1, keepdims=True)", FUNCTIONS["_softmax"]))
    for formula, activation in activations:
        for name, target in _targets(case.problem, tape, z):
            divisor = _divisor(activation(z) - target, right) if right is not None else None
            if divisor is not None:
                own = named or free_name("z", {name})
                a = free_name("a", {name, own})
                count = f"len({name})" if divisor == len(target) == case.problem.samples else f"{divisor}"
                delta = f"{a} - {name}" if divisor == 1 else f"({a} - {name}) / {count}"
                where = f"where {a} = {formula.format(z=own)}"
                return on_lines([f"d{own} = {delta}"], where + ("" if named else f" and {own} is this line's result"))
    return ""


def _targets(problem: Problem, tape: Tape, z: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What an output may be compared with: data of its shape, a class for each row of it, or a part of the data."""
    for name, array in problem.named_data.items():
        if array.shape == tuple(z.shape) and array.dtype.kind == "f":
            yield name, torch.as_tensor(array)
        elif array.dtype.kind in "iu" and array.shape == tuple(z.shape[:-1]) and array.size and array.min() >= 0:
            if int(array.max()) < z.shape[-1]:
                hot = torch.nn.functional.one_hot(torch.as_tensor(array).long(), z.shape[-1])
                yield f"np.eye({z.shape[-1]})[{name}]", hot.to(z.dtype)
    for node in tape.nodes:
        value, name = node.outputs[0], node.site.expression
        part = tape.values[value]
        if value not in tape.differentiable and part.shape == z.shape and part.dtype == z.dtype and "[" in name:
            yield name, part


def _divisor(difference: Tensor, right: Tensor) -> int | None:
    """The whole number by which one array has to be divided to be the other."""
    if difference.shape != right.shape or not bool(right.any()):
        return None
    index = int(right.abs().argmax())
    found = round(float(difference.flatten()[index] / right.flatten()[index]))
    return found if found > 0 and torch.allclose(difference / found, right, ROUNDING, 1e-15) else None


def _of_inputs(problem: Problem, fault: Fault) -> str:
    """The axis that an array lacked, or had too much."""
    assert fault.inputs is not None
    other = fault.inputs(problem)
    for name, array in problem.named_data.items() if other is not None else ():
        assert other is not None
        if other.named_data[name].ndim > array.ndim:
            return f"{name} = {name}[:, None]"
        if other.named_data[name].ndim < array.ndim:
            return f"{name} = {name}[:, 0]"
    return ""


def of_gradients(code: str, names: Sequence[str], transforms: Sequence[Transform]) -> str:
    """What puts whole gradients right that are the right ones transposed, reversed, or times a constant."""
    called = [f"d{name}" if name.isidentifier() else f"grads[{name!r}]" for name in names]
    mended = [_whole(code, name, one) for name, one in zip(called, transforms, strict=True)]
    if not all(mended):
        return ""
    return ", ".join(mended[:MOST]) + (", and so on" if len(mended) > MOST else "")


def _whole(code: str, name: str, transform: Transform) -> str:
    kind, _, where = transform.arrangement.partition(" ")
    axes = [int(digit) for digit in where if digit.isdigit()]
    if code == "wrong-sign":
        return f"{name} = -{name}"
    if code == "transposed":
        return f"{name} = {name}.{_exchanged(name, where, axes)}"
    if code == "flipped":
        return f"{name} = np.flip({name}, axis={axes[0] if len(axes) == 1 else tuple(axes)})"
    if transform.count > 1:
        return _rescaled(name, 1 / transform.count)
    return _rescaled(name, abs(transform.factor)) if code == "wrong-scale" else ""


def _exchanged(name: str, where: str, axes: Sequence[int]) -> str:
    if len(axes) > 2:  # their entries lie in another order
        back = ", ".join(str(axes.index(i)) for i in range(len(axes)))
        return f"reshape([{name}.shape[i] for i in {tuple(axes)}]).transpose({back})"
    if axes:
        return f"swapaxes({axes[0]}, {axes[1]})"
    return "T" if where else "swapaxes(-1, -2)"


def _rescaled(name: str, factor: float) -> str:
    """The factor taken back, where it is a fraction of whole numbers."""
    fraction = Fraction(factor).limit_denominator(4096)
    if not fraction or not np.isclose(float(fraction), factor, rtol=ROUNDING, atol=0):
        return ""
    top, bottom = fraction.numerator, fraction.denominator
    times = f"{bottom} * {name}" if bottom != 1 else name
    return f"{name} = {times}" + (f" / {top}" if top != 1 else "")
