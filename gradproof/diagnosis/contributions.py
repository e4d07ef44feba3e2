"""What one operation contributes to the gradient of a parameter that goes into it, directly or through views."""

from __future__ import annotations

from gradproof.tape import VIEWS, Node, Site, Tape, Tensor, ValueHook

MOST_OPERATIONS = 24  # that make a coefficient of a loop from parameters
EVEN = frozenset(("pow", "abs"))  # functions of a parameter whatever its sign
LOOK_UPS = frozenset(("index", "index_select", "gather"))
ADDING = LOOK_UPS | frozenset("add sub neg sum mean select slice view expand unsqueeze squeeze".split())
LONGEST = 12  # views between a parameter and the operation that it goes into: an einsum makes many


def parameter_of(tape: Tape, value: int) -> str | None:
    """The parameter that a value is, seen through views; None where it is none."""
    for _ in range(LONGEST):
        for name, number in tape.parameters.items():
            if number == value:
                return name
        producer = tape.producer.get(value)
        if producer is None or tape.nodes[producer].name not in VIEWS:
            return None
        value = tape.nodes[producer].inputs[0]
    return None


def of_parameters_alone(tape: Tape, value: int) -> bool:
    """Whether a value is a parameter, or made of parameters and constants in a few operations."""
    return _made_of_parameters(tape, value) is not None


def _made_of_parameters(tape: Tape, value: int) -> set[int] | None:
    """The few operations that make a value of parameters and constants; None where it is made otherwise."""
    if value not in tape.differentiable:
        return None
    left = [value]
    seen: set[int] = set()
    while left and len(seen) <= MOST_OPERATIONS:
        one = left.pop()
        if one in tape.data.values():
            return None
        producer = tape.producer.get(one)
        if producer is not None and producer not in seen:
            seen.add(producer)
            node = tape.nodes[producer]
            left += node.inputs[:1] if node.name in LOOK_UPS else node.inputs  # which entries it is, data may say
    return None if left else seen


def penalised(tape: Tape, value: int) -> list[str]:
    """The parameters on which a value is a penalty: made of them alone, of squares, absolute values or a norm.

    And a term of the loss: a length that something is divided by is none.
    """
    names = tape.made_of.get(value, frozenset())
    made = _made_of_parameters(tape, value) if names else None
    if not made or not only_adds_up(tape, value):
        return []
    even = any(tape.nodes[one].name in EVEN or _is_square(tape.nodes[one]) for one in made)
    return [name for name in tape.parameters if name in names] if even else []


def penalised_by(tape: Tape, node: Node, position: int) -> list[str]:
    """The parameters on which what an operation is given, or makes of that alone, is a penalty."""
    value, moving = node.inputs[position], tape.differentiable.intersection(node.inputs)
    alone = len(node.outputs) == 1 and moving == {value}
    return penalised(tape, value) or (penalised(tape, node.outputs[0]) if alone else [])


def penalties(tape: Tape) -> dict[frozenset[int], dict[str, Tensor]]:
    """For each line that penalises parameters, by the values that it makes a penalty: what it adds to the gradients."""
    lines: dict[Site, set[int]] = {}
    for node in tape.nodes:
        if len(node.outputs) == 1 and penalised(tape, node.outputs[0]):
            if not any(penalised(tape, one) for one in node.inputs):
                lines.setdefault(node.site, set()).update(node.outputs)
    return {one: shares(tape, one) for one in map(frozenset, lines.values())}


def shares(tape: Tape, penalty: frozenset[int]) -> dict[str, Tensor]:
    """What a penalty adds to the gradients of the parameters that it acts on."""
    cut: dict[int, ValueHook] = {value: lambda tape, arriving, totals: None for value in penalty}
    rest, right = tape.backward({}, cut).gradients, tape.clean.gradients
    found = {name: right[name] - rest[name] for name in right}
    return {name: one for name, one in found.items() if bool(one.any())}


def only_adds_up(tape: Tape, value: int) -> bool:
    """Whether a number, or entries, are only taken, weighted and summed up on the way to the loss."""
    left, seen = [value], set[int]()
    while left and len(seen) <= MOST_OPERATIONS:
        for index in set(tape.consumers.get(left.pop(), ())) - seen:
            node = tape.nodes[index]
            weighted = node.name in ("mul", "div") and sum(one in tape.differentiable for one in node.inputs) == 1
            if node.name not in ADDING and not weighted:
                return False
            seen.add(index)
            left += node.outputs
    return not left


def _is_square(node: Node) -> bool:
    return node.name == "mul" and len(node.inputs) == 2 and len(set(node.inputs)) == 1


def parameter_value(tape: Tape, value: int) -> int:
    """The number of the parameter that `parameter_of` names."""
    while value not in tape.parameters.values():
        value = tape.nodes[tape.producer[value]].inputs[0]
    return value


def contribution(tape: Tape, node: Node, position: int, delta: Tensor) -> Tensor | None:
    """What an operation adds to a parameter's gradient where `delta` arrives at its result."""
    made, value = tape.vjp(node, [delta])[position], node.inputs[position]
    while made is not None and value not in tape.parameters.values():
        node = tape.nodes[tape.producer[value]]
        made, value = tape.vjp(node, [made])[0], node.inputs[0]
    return made
