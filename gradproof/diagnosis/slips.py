"""One slip inside a local rule: a factor or a term of its formula left out, a sign, a transpose, another axis.

The rules of `gradproof.local_rules` are programs. Each is recorded at its place, operation by operation, and run again
with one of them changed, as somebody mistypes the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from gradproof.diagnosis.branches import Branch, branches, of_some_uses, restricted
from gradproof.diagnosis.constants import named
from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, OneInput, constants_of, neighbours, other_constant, rule_with_constant
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.pool import fitted
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import Gradients, Node, NodeHook, Recorder, Tape, Tensor, Totals, reached

Changed = Callable[[Node, list[Tensor]], Tensor]
SYMBOLS = {"mul": "*", "add": "+", "sub": "-", "div": "/", "mm": "@", "bmm": "@", "mv": "@"}
LONG = 90  # characters of a formula in a sentence
SILENT = ("expand", "view", "_unsafe_view", "unsqueeze", "squeeze", "clone", "_to_copy", "reshape")
SQUARE = ("mm", "bmm", "mv")


@dataclass(frozen=True)
class Program:
    """A local rule as it was recorded: `given` are the numbers of its inputs, its output and what arrived there."""

    nodes: list[Node]
    values: list[Tensor]
    given: list[int]
    results: list[int | None]
    names: dict[int, str]

    @cached_property
    def spine(self) -> frozenset[int]:
        """The values that depend on what arrived."""
        return reached(self.nodes, self.given[-1:])

    @cached_property
    def moving(self) -> frozenset[int]:
        """The values that depend on the operation's inputs or output."""
        return reached(self.nodes, self.given[:-1])

    @cached_property
    def summed(self) -> frozenset[int]:
        """The values in which entries of a row have been added up."""
        found: set[int] = set()
        for node in self.nodes:
            if node.name == "sum" or found & set(node.inputs):
                found.update(node.outputs)
        return frozenset(found)

    def text(self, value: int, inner: bool = False) -> str:
        """A value as a formula of the operation's input (first, second ...), its output and d_output."""
        if value in self.names:
            return self.names[value]
        node = next((one for one in self.nodes if value in one.outputs), None)
        if node is None:
            one = self.values[value]
            return f"{float(one):g}" if one.numel() == 1 else "constant"
        parts = [self.text(one, True) for one in node.inputs]
        numbers = [f"{one:g}" for one in node.constants if isinstance(one, (int, float))]
        if node.name in SILENT:
            return self.text(node.inputs[0], inner)
        if node.name in ("t", "transpose", "permute"):
            return f"{parts[0]}.T"
        if node.name == "neg":
            return f"-{parts[0]}"
        if node.name == "rsub":
            parts, symbol = [numbers[0], parts[0]], "-"
        elif node.name == "pow":
            parts, symbol = [parts[0], numbers[0]], "**"
        elif node.name in SYMBOLS:
            parts, symbol = [*parts, *numbers][:2], SYMBOLS[node.name]
        elif node.name in ("gt", "ge", "lt", "le"):
            parts, symbol = [*parts, *numbers][:2], {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}[node.name]
        else:
            return f"{node.name}({', '.join(self.text(one) for one in node.inputs)})"
        made = f" {symbol} ".join(parts)
        return f"({made})" if inner else made

    def run(self, given: Sequence[Tensor], index: int, changed: Changed) -> list[Tensor | None]:
        """The rule's results for other tensors, with operation number `index` changed."""
        values: dict[int, Tensor] = dict(zip(self.given, given, strict=True))
        for node in self.nodes:
            inputs = [values.get(one, self.values[one]) for one in node.inputs]
            outputs = (changed(node, inputs),) if node.index == index else node.run(inputs)
            values.update(zip(node.outputs, outputs, strict=True))
        return [None if one is None else values.get(one, self.values[one]) for one in self.results]


def faults(survey: Survey) -> Iterator[Fault]:
    """For each operation whose rule is written out, and each operation in that rule: what may go wrong there."""
    tape, places = survey.tape, survey.places
    for place in places:
        known = [branches(tape, place, position) for position in range(len(place.model.inputs))]
        yield from _other_constants(survey, place)
        program = recorded(tape, place.model)
        if program is not None and place.name not in (*SYMBOLS, "convolution"):
            yield from _other_factors(survey, place, program, known)
            yield from _other_outputs(survey, place, program)
            yield from _input_for_output(survey, place, program)
            yield from _scaled_terms(survey.tape, place, program)
        elif program is not None and place.name in ("mul", "div"):
            yield from _constant_for_a_factor(survey, place, program)
        varying = any(len({node.constants[i] for node in place.nodes}) > 1 for i, _ in constants_of(place))
        for index, code, words, changed in _changes(program) if program is not None else ():
            assert program is not None
            code = "missing-derivative" if varying and code == "wrong-scale" else code
            for position in _touched(tape, place, program, index):
                target = origin(tape, place.model, position)
                whose = f"the derivative of {place}"
                whose += f" by {target}" if len(place.model.inputs) > 1 else ""
                for where, nodes in survey.subsets(place):
                    hook = _slipped(program, index, changed, position)
                    likely = 0.97 if code == "wrong-scale" else 1.2  # a constant left out: told before a route's scale
                    likely = 1.02 if likely < 1 and place.name == "leaky_relu" else likely  # it is the whole derivative
                    rank = likely if nodes == place.nodes else 1.35
                    message = f"in {whose}, {words}{where}"
                    fault = Fault(code, message, place.site, rank, {node.index: hook for node in nodes})
                    yield fault
                    if nodes == place.nodes:
                        yield from restricted(place, position, dict(fault.nodes), fault, known[position])
                        yield from of_some_uses(survey, place, dict(fault.nodes), fault)


def _other_constants(survey: Survey, place: Place) -> Iterator[Fault]:
    """The derivative of the same function with another constant: the slope of a leaky ReLU, a power."""
    for which, value in constants_of(place):
        for other in neighbours(value):
            yield _with_constant(place, which, value, other)
        if place.name not in SYMBOLS and _is_affine(survey.tape, place.model, which):
            yield _with_constant(place, which, value, 0.0, fitting=True)
        if len({node.constants[which] for node in place.nodes}) > 1 and len(place.nodes) > 2:  # two tell no sequence
            yield from _constants_of_the_neighbour(place, which, survey.pool.in_time(len(place.nodes)))


def _with_constant(place: Place, which: int, value: float, other: float, fitting: bool = False) -> Fault:
    message = f"the derivative of {place} is taken with {number(other)} where its constant is {number(value)}"
    hooks = {node.index: rule_with_constant(which, other) for node in place.nodes}
    code = "wrong-scale" if place.name in ("mul", "div") else "different-function"
    scaled = (lambda constant: _with_constant(place, which, value, constant)) if fitting else None
    return Fault(code, message, place.site, 1.35, hooks, scaled=scaled)


def _is_affine(tape: Tape, node: Node, which: int) -> bool:
    """Whether a derivative is a multiple of a constant, and what does not depend on it: so it is with slopes."""
    ones = [torch.ones_like(tape.values[value]) for value in node.outputs]
    try:
        low, middle, high = (tape.vjp(other_constant(node, which, one), ones, at={})[0] for one in (0.0, 0.5, 1.0))
    except (RuntimeError, ValueError, TypeError):
        return False
    if low is None or middle is None or high is None or bool((low == high).all()):
        return False
    return bool(torch.allclose(low + high, 2 * middle, rtol=1e-12, atol=0.0))


def _constants_of_the_neighbour(place: Place, which: int, in_time: bool) -> Iterator[Fault]:
    """A constant that changes from step to step: that of the step after, or of the one before."""
    what, code = ("step", "shifted-in-time") if in_time else ("passage", "wrong-operand")
    own = [float(node.constants[which]) for node in place.nodes]
    beyond = 2 * own[-1] - own[-2], 2 * own[0] - own[1]
    for words, moved in (("after", [*own[1:], beyond[0]]), ("before", [beyond[1], *own[:-1]])):
        message = f"in the derivative of {place}, each {what} takes the constant of the {what} {words} its own"
        hooks = {node.index: rule_with_constant(which, one) for node, one in zip(place.nodes, moved, strict=True)}
        yield Fault(code, message, place.site, 1.3, hooks)


def _other_factors(survey: Survey, place: Place, program: Program, known: list[list[Branch]]) -> Iterator[Fault]:
    """A factor of the rule, with another array of the same shape in its place."""
    first = [node.inputs[0] for node in place.nodes]
    for node in program.nodes:
        on_spine = [value in program.spine for value in node.inputs]
        if node.name != "mul" or len(node.inputs) != 2 or sum(on_spine) != 1:
            continue
        factor = 1 - on_spine.index(True)
        if program.values[node.inputs[factor]].shape != survey.tape.values[first[-1]].shape:
            continue
        words = program.text(node.inputs[factor])
        for row in survey.pool.fitting(place, first):
            for position in _touched(survey.tape, place, program, node.index) if not row.transposed else ():
                message = f"in the derivative of {place}, {row.words} stands for `{words}`"
                pairs = [(one, value) for one, value in zip(place.nodes, row.values, strict=True) if value is not None]
                hooks = {one.index: _with_factor(program, node.index, factor, value, position) for one, value in pairs}
                fault = Fault("wrong-operand", message, place.site, 1.55, hooks)
                yield fault
                if len(hooks) == len(place.nodes):
                    yield from restricted(place, position, hooks, fault, known[position])


def _other_outputs(survey: Survey, place: Place, program: Program) -> Iterator[Fault]:
    """A rule in terms of the operation's output, taken at another array: at the state before the step, say."""
    if not any(program.given[-2] in node.inputs for node in program.nodes):
        return
    for row in survey.pool.fitting(place, place.results):
        if not row.transposed:
            step = {1: "the one of the step after: ", -1: "the one of the step before: "}.get(row.shift, "")
            message = f"the derivative of {place}, written in terms of its output, is given {step}{row.words}"
            pairs = zip(place.nodes, row.values, strict=True)
            hooks = {node.index: _at_output(program, value) for node, value in pairs if value is not None}
            yield Fault(row.code, message, place.site, 1.5 if row.shift == 0 else 1.24, hooks)


def _input_for_output(survey: Survey, place: Place, program: Program) -> Iterator[Fault]:
    """Where a rule has the operation's input or its output several times: one of the two, once for the other."""
    if len(program.given) != 3 or not _keeps_shape(survey.tape, place.model):
        return
    for node in program.nodes:
        for factor, value in enumerate(node.inputs):
            if value in program.given[:2]:
                words, other = ("input", "output") if value == program.given[0] else ("output", "input")
                message = f"in the derivative of {place}, its {other} stands for `{words}`"
                message += f" in `{program.text(node.outputs[0])}`"
                hooks = {}
                for one in place.nodes:
                    taken = one.outputs[0] if other == "output" else one.inputs[0]
                    hooks[one.index] = _with_factor(program, node.index, factor, taken, 0)
                yield Fault("derivative-at-wrong-point", message, place.site, 1.3, hooks)


def _scaled_terms(tape: Tape, place: Place, program: Program) -> Iterator[Fault]:
    """A sum, of which one term alone has a factor: `p / n - y` for `(p - y) / n`."""
    for node in program.nodes:
        if node.name in ("add", "sub") and len(node.inputs) == 2 and program.spine.issuperset(node.inputs):
            for position in _touched(tape, place, program, node.index):
                yield _scaled_term(place, program, node, 0, position, 2.0)
                yield _scaled_term(place, program, node, 1, position, 2.0)


def _scaled_term(place: Place, program: Program, inside: Node, which: int, position: int, constant: float) -> Fault:
    whole, term = (f"`{program.text(value)}`" for value in (inside.outputs[0], inside.inputs[which]))
    message = f"in the derivative of {place}, the term {term} of {whole} is {number(constant)} times the right one"

    def changed(node: Node, inputs: list[Tensor]) -> Tensor:
        return node.run(_replaced(inputs, which, constant * inputs[which]))[0]

    hooks = {node.index: _slipped(program, inside.index, changed, position) for node in place.nodes}
    scaled = partial(_scaled_term, place, program, inside, which, position)
    return Fault("wrong-scale", message, place.site, 1.4, hooks, scaled=scaled)


def _constant_for_a_factor(survey: Survey, place: Place, program: Program) -> Iterator[Fault]:
    """A number in the place of an array that multiplies or divides: a mean over all of them, padding too."""
    for node in program.nodes:
        on_spine = [value in program.spine for value in node.inputs]
        if node.name in ("mul", "div") and len(node.inputs) == 2 and sum(on_spine) == 1:
            if program.values[node.inputs[1 - on_spine.index(True)]].numel() > 1:
                for position in _touched(survey.tape, place, program, node.index):  # with 1, the factor is left out
                    yield _with_a_constant(survey, place, program, node, position, 0.5)


def _with_a_constant(
    survey: Survey, place: Place, program: Program, inside: Node, position: int, constant: float
) -> Fault:
    kept = 0 if inside.inputs[0] in program.spine else 1
    factor = f"`{'1 / ' * (inside.name == 'div')}{_shortened(program.text(inside.inputs[1 - kept], True))}`"
    words = named(constant, survey.problem) or number(constant)
    message = f"in the derivative of {place} by {origin(survey.tape, place.model, position)}, {words} stands for"
    message += f" {factor} in `{_shortened(program.text(inside.outputs[0]))}`"

    def changed(node: Node, inputs: list[Tensor]) -> Tensor:
        return constant * _kept(kept)(node, inputs)

    hooks = {node.index: _slipped(program, inside.index, changed, position) for node in place.nodes}
    scaled = partial(_with_a_constant, survey, place, program, inside, position)
    return Fault("wrong-operand", message, place.site, 1.24, hooks, scaled=scaled)


def _at_output(program: Program, value: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is not None:
            output = tape.values[node.outputs[0]]
            other = fitted(tape.values[value], tuple(output.shape))
            if other is None:
                raise ValueError("the shapes do not fit")
            given = [*(tape.values[one] for one in node.inputs), other, grad]
            made = program.run(given, -1, _unchanged)
            found = [None if old is None else new for old, new in zip(found, made, strict=True)]
        return found

    return hook


def _keeps_shape(tape: Tape, node: Node) -> bool:
    return tape.values[node.inputs[0]].shape == tape.values[node.outputs[0]].shape


def _unchanged(node: Node, inputs: list[Tensor]) -> Tensor:
    return node.run(inputs)[0]


def _with_factor(program: Program, index: int, factor: int, value: int, position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        other = tape.values[value]

        def changed(inside: Node, inputs: list[Tensor]) -> Tensor:
            return inside.run(_replaced(inputs, factor, other.reshape(inputs[factor].shape)))[0]

        return _slipped(program, index, changed, position)(tape, node, grads, totals)

    return OneInput(position, hook)


def recorded(tape: Tape, node: Node) -> Program | None:
    """The node's local rule as a program; None without a written one for real numbers, or where that does nothing."""
    written = node.rule
    if written is None or type(node) is not Node or len(node.outputs) != 1 or node.index in tape.of_complex:
        return None
    recorder = Recorder(sites=False)
    x = [tape.values[value].detach() for value in node.inputs]  # the same numbers, as tensors of their own
    y = tape.values[node.outputs[0]].detach()
    g = torch.ones_like(y)
    given = [recorder.number(one) for one in (*x, y, g)]
    with torch.no_grad(), recorder:
        made = written(x, y, g, node.arguments)
    results = [None if one is None else recorder.number(one) for one in made]
    names = {given[-2]: "output", given[-1]: "d_output"} | {
        number: "input" if len(x) == 1 else _NAMES[i] for i, number in enumerate(given[:-2])
    }
    return Program(recorder.nodes, recorder.values, given, results, names) if recorder.nodes else None


_NAMES = ("first", "second", "third", *(f"operand {i}" for i in range(4, 9)))


def _touched(tape: Tape, place: Place, program: Program, index: int) -> list[int]:
    """The inputs whose gradient an operation of the rule has to do with."""
    reached = set(program.nodes[index].outputs)
    for node in program.nodes[index + 1 :]:
        if reached & set(node.inputs):
            reached.update(node.outputs)
    inputs = place.model.inputs
    return [i for i, one in enumerate(program.results) if one in reached and inputs[i] in tape.differentiable]


def _slipped(program: Program, index: int, changed: Changed, position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is not None:
            given = [*(tape.values[value] for value in node.inputs), tape.values[node.outputs[0]], grad]
            made = program.run(given, index, changed)[position]
            if made is None or made.shape != given[position].shape:
                raise ValueError("the shapes do not fit")
            found[position] = made
        return found

    return OneInput(position, hook)


def _changes(program: Program) -> Iterator[tuple[int, str, str, Changed]]:
    for node in program.nodes:
        for code, words, changed in _of_operation(program, node):
            yield node.index, code, words, changed


def _shortened(formula: str) -> str:
    """The beginning of a formula that nobody would read whole."""
    return formula if len(formula) <= LONG else f"{formula[:LONG].rsplit(' ', 1)[0]} ..."


def _of_operation(program: Program, node: Node) -> Iterator[tuple[str, str, Changed]]:
    whole = f"`{_shortened(program.text(node.outputs[0]))}`"
    if node.name in ("mul", "div") and len(node.inputs) == 2:
        yield from _of_product(program, node, whole)
    elif node.name in ("mul", "div"):
        yield "wrong-scale", f"the constant of {whole} is left out", _kept(0)
        if any(isinstance(one, float) and one < 0 and one != -1 for one in node.constants):
            yield "wrong-scale", f"the constant of {whole} is left out, but for its sign", _turned
        if node.name == "mul" and node.inputs[0] not in program.spine:
            words = f"the factor `{_shortened(program.text(node.inputs[0]))}` of {whole} is left out"
            yield "missing-derivative", words, _constant_alone
    elif node.name == "pow":
        yield "different-function", f"the power of {whole} is left out", _kept(0)
    elif node.name in ("add", "sub"):
        yield from _of_sum(program, node, whole)
    elif node.name == "rsub":
        yield "wrong-sign", f"{whole} has the other sign between its terms", _other_sign
        yield "different-function", f"{whole} is only `{program.text(node.inputs[0])}`", _kept(0)
    elif node.name == "neg":
        yield "wrong-sign", f"the minus of {whole} is left out", _kept(0)
    elif node.name in ("gt", "ge", "lt", "le") and _is_mixed(program.values[node.outputs[0]]):
        yield "different-function", f"the comparison {whole} is the other way round", lambda one, x: ~one.run(x)[0]
    elif node.name in SQUARE:
        yield from _of_matrices(program, node, whole)
    elif node.name == "sum" and node.inputs[0] in program.spine:
        yield from _of_reduction(program, node, whole)


def _is_mixed(condition: Tensor) -> bool:
    """Whether a condition holds for some entries and not for others: what is zero everywhere is told as such."""
    return bool(condition.any()) and not bool(condition.all())


def _of_product(program: Program, node: Node, whole: str) -> Iterator[tuple[str, str, Changed]]:
    on_spine = [value in program.spine for value in node.inputs]
    if node.inputs[0] == node.inputs[1]:
        yield "different-function", f"`{program.text(node.inputs[0])}` is not squared in {whole}", _kept(0)
    elif not any(on_spine):
        for keep in (0, 1):
            words = f"the factor `{_shortened(program.text(node.inputs[1 - keep]))}` of {whole} is left out"
            yield "missing-derivative", words, _kept(keep)
    elif sum(on_spine) == 1:
        keep = on_spine.index(True)
        factor = program.text(node.inputs[1 - keep])
        yield "missing-derivative", f"the factor `{factor}` of {whole} is left out", _kept(keep)
        yield "extra-derivative", f"the factor `{factor}` of {whole} is applied twice", _twice(1 - keep)


def _of_sum(program: Program, node: Node, whole: str) -> Iterator[tuple[str, str, Changed]]:
    on_spine = all(value in program.spine for value in node.inputs)
    if len(node.inputs) == 2:
        both = all(value in program.moving or value in program.spine for value in node.inputs)
        for keep in (0, 1):
            left_out = node.inputs[1 - keep]
            if on_spine and left_out in program.summed:
                code = "diagonal-jacobian"
            else:
                code = "missing-path" if both else "different-function"
            minus = keep == 0 or node.name == "add"
            words = f"the term `{_shortened(program.text(left_out))}` of {whole} is left out"
            yield code, words, _kept(keep) if minus else (lambda one, x: -x[1])
    yield "wrong-sign", f"{whole} has the other sign between its terms", _other_sign


def _of_matrices(program: Program, node: Node, whole: str) -> Iterator[tuple[str, str, Changed]]:
    made = program.values[node.outputs[0]].shape
    for position, value in enumerate(node.inputs):
        if value in program.spine and program.values[value].shape == made:
            other = program.text(node.inputs[1 - position])
            yield "missing-derivative", f"the matrix `{other}` of {whole} is left out", _kept(position)
    for position, value in enumerate(node.inputs):
        if program.values[value].dim() >= 2:
            words = f"the transpose of `{program.text(value)}` stands in {whole}"
            maker = next((one for one in program.nodes if value in one.outputs), None)
            if maker is not None and maker.name in ("t", "transpose"):
                bare = program.text(maker.inputs[0])
                words = f"`{bare}` stands in {whole} as it is, without its transpose"
            yield "not-transposed", words, _with_transpose(position)


def _of_reduction(program: Program, node: Node, whole: str) -> Iterator[tuple[str, str, Changed]]:
    given, made = program.values[node.inputs[0]], program.values[node.outputs[0]]
    if given.dim() != made.dim():
        return
    axes = [i for i in range(given.dim()) if given.shape[i] != made.shape[i]]
    count = given.numel() // max(made.numel(), 1)
    if len(axes) != 1:
        return
    yield "wrong-reduction", f"{whole} is a mean instead of a sum", _mean_of(count)
    yield "diagonal-jacobian", f"the sum in {whole} is left out: each entry is taken to act on itself alone", _kept(0)
    for axis in range(given.dim()):
        if axis != axes[0]:
            words = f"the sum of {whole} goes along axis {axis} instead of axis {axes[0]}"
            yield "wrong-axis", words, _sum_along(axis)


def _constant_alone(node: Node, inputs: list[Tensor]) -> Tensor:
    return node.run([torch.ones_like(inputs[0])])[0]


def _mean_of(count: int) -> Changed:
    return lambda node, inputs: node.run(inputs)[0] / count


def _sum_along(axis: int) -> Changed:
    return lambda node, inputs: inputs[0].sum(axis, keepdim=True)


def _kept(position: int) -> Changed:
    """One operand alone, in the shape that an elementwise operation gives both."""

    def changed(node: Node, inputs: list[Tensor]) -> Tensor:
        if node.name in SQUARE:
            return inputs[position]
        return inputs[position].expand(np.broadcast_shapes(*(one.shape for one in inputs)))

    return changed


def _turned(node: Node, inputs: list[Tensor]) -> Tensor:
    """Minus the one operand."""
    return -_kept(0)(node, inputs)


def _twice(position: int) -> Changed:
    return lambda node, inputs: node.run(_replaced(inputs, 1 - position, node.run(inputs)[0]))[0]


def _replaced(inputs: list[Tensor], position: int, value: Tensor) -> list[Tensor]:
    return [value if i == position else one for i, one in enumerate(inputs)]


def _other_sign(node: Node, inputs: list[Tensor]) -> Tensor:
    other = inputs[1] if len(inputs) == 2 else _constant(node)
    if node.name == "rsub":
        return inputs[0] + other
    return inputs[0] - other if node.name == "add" else inputs[0] + other


def _constant(node: Node) -> Any:
    return next(one for one in node.constants if isinstance(one, (int, float)))


def _with_transpose(position: int) -> Changed:
    return lambda node, inputs: node.run(_replaced(inputs, position, inputs[position].mT))[0]
