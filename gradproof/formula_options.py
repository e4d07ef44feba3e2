"""What is filled into a formula from an operation's own options: its axes, its constants, its windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradproof.tape import Node, Tape

ARITHMETIC = ("add", "sub", "rsub", "mul", "div")
Options = dict[str, Any]


def axis_of(axes: Sequence[int]) -> str:
    """The axes of a sum as NumPy's argument."""
    return f"axis={_one_or_all(axes)}"


def arguments(node: Node) -> Options:
    """An operation's arguments by name, with torch's defaults."""
    schema = node.func._schema.arguments
    given = node.arguments
    found = {one.name: one.default_value if one.has_default_value() else None for one in schema}
    return found | {one.name: value for one, value in zip(schema, given, strict=False)} | node.keywords


def _text(value: Any) -> str:
    """A number as Python writes it, without more digits than it needs."""
    value = float(value)
    if math.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    return f"{value:.12g}"


def _dims(node: Node, rank: int) -> list[int]:
    """The axes of a reduction, counted from the front."""
    dim = arguments(node).get("dim")
    dims = list(range(rank)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
    return [one % max(rank, 1) for one in dims]


def _reduction(tape: Tape, node: Node) -> Options:
    rank = tape.values[node.inputs[0]].dim()
    dims, keep = _dims(node, rank), bool(arguments(node).get("keepdim"))
    everything = len(dims) == rank
    axis = "" if everything else axis_of(dims)
    kept = f"{axis}, keepdims=True" if axis else "keepdims=True"
    lifted = [None if i in dims else ":" for i in range(rank)]
    while lifted and lifted[0] is None:
        lifted.pop(0)
    at = f"[{', '.join(map(str, lifted))}]" if None in lifted and not keep else ""
    count = "x.size" if everything else " * ".join(f"x.shape[{one}]" for one in dims)
    count = f"({count})" if "*" in count else count
    return {
        "axis": kept if keep else axis,
        "kept": kept,
        "dy": f"dy{at}",
        "y": f"y{at}",
        "count": count,
        "along": f"axis={dims[0]}" if dims else "",
        "dim": dims[0] if dims else 0,
        "lifted": "dy" if keep else f"np.expand_dims(dy, {dims[0] if dims else 0})",
    }


def _along(tape: Tape, node: Node) -> Options:
    rank = tape.values[node.inputs[0]].dim() + (node.name in ("unsqueeze", "stack"))
    dim = _dims(node, rank)
    if len(dim) != 1:
        raise ValueError("not one axis")
    return {"dim": dim[0], "along": f"axis={dim[0]}"}


def _gathered(tape: Tape, node: Node) -> Options:
    found = _along(tape, node)
    x, i = (list(tape.values[value].shape) for value in node.inputs)
    x[found["dim"]] = i[found["dim"]]
    if x != i:
        raise ValueError("an index that is shorter along another axis, which NumPy does not take")
    return found


def _numbers(**names: str) -> Callable[[Tape, Node], Options]:
    """Options that are numbers: the table's names for torch's."""

    def found(tape: Tape, node: Node) -> Options:
        given = arguments(node)
        if len(node.inputs) > 1:
            raise ValueError("numbers that are arrays")
        return {ours: _text(given[theirs]) for ours, theirs in names.items()}

    return found


def _constant(name: str) -> Callable[[Tape, Node], Options]:
    return lambda tape, node: {name: _text(node.constants[0])}


def _only(plain: Mapping[str, Any], **names: str) -> Callable[[Tape, Node], Options]:
    """The same for operations that the table has with one setting alone."""

    def found(tape: Tape, node: Node) -> Options:
        given = arguments(node)
        if any(given[name] != value for name, value in plain.items()):
            raise ValueError("another setting")
        return _numbers(**names)(tape, node)

    return found


def _power(tape: Tape, node: Node) -> Options:
    power = node.constants[0]
    less = _text(power - 1)
    return {"power": _text(power), "less": f"({less})" if power < 1 else less}


def _swapped(tape: Tape, node: Node) -> Options:
    given, rank = arguments(node), tape.values[node.inputs[0]].dim()
    return {"one": given["dim0"] % rank, "other": given["dim1"] % rank}


def _order(tape: Tape, node: Node) -> Options:
    rank = tape.values[node.inputs[0]].dim()
    order = [one % rank for one in arguments(node)["dims"]]
    return {"order": tuple(order), "back": tuple(order.index(i) for i in range(rank))}


def _shape(tape: Tape, node: Node) -> Options:
    return {"shape": tuple(tape.values[node.outputs[0]].shape)}


def _axes(tape: Tape, node: Node) -> Options:
    given = arguments(node)
    rank = tape.values[node.inputs[0]].dim()
    axes, shift = [one % rank for one in given["dims"]], given.get("shifts") or []
    unshift = [-one for one in shift]
    return {"axes": _one_or_all(axes), "shift": _one_or_all(shift), "unshift": _one_or_all(unshift)}


def _one_or_all(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else str(tuple(values))


def _cuts(tape: Tape, node: Node) -> Options:
    found = _along(tape, node)
    lengths = [tape.values[value].shape[found["dim"]] for value in node.inputs]
    return {**found, "cuts": [sum(lengths[: k + 1]) for k in range(len(lengths) - 1)]}


def _part(tape: Tape, node: Node) -> Options:
    given = arguments(node)
    rank = tape.values[node.inputs[0]].dim()
    if node.name == "select":
        index = str(given["index"])
    else:
        start, step, length = given["start"] or 0, given["step"], tape.values[node.inputs[0]].shape[given["dim"]]
        end = length if given["end"] is None else min(given["end"], length)
        index = f"{start}:{end}" + (f":{step}" if step != 1 else "")
    return {"part": ", ".join([":"] * (given["dim"] % rank) + [index])}


def _padding(tape: Tape, node: Node) -> Options:
    given = arguments(node)
    shape, pad = tape.values[node.inputs[0]].shape, list(given["pad"])
    widths = [(0, 0)] * (len(shape) - len(pad) // 2)
    widths += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if given["value"] or min(pad) < 0:
        raise ValueError("not a border of zeros")
    kept = zip(widths, shape, strict=True)
    inner = [f"{low}:{low + length}" if low or high else ":" for (low, high), length in kept]
    return {"widths": tuple(widths), "inner": ", ".join(inner)}


def _index(tape: Tape, node: Node) -> Options:
    letters = iter("ijk")
    indices = arguments(node)["indices"]
    tensors = [i in node.positions for i in range(1, 1 + len(indices))]
    parts = [next(letters) if one else ":" for one in tensors]
    while parts[-1] == ":":
        parts.pop()
    index = ", ".join(parts)
    at = index if len(parts) == 1 else f"np.s_[{index}]" if ":" in parts else f"({index})"
    return {"index": index, "at": at}


def _index_along(tape: Tape, node: Node) -> Options:
    dim = _along(tape, node)["dim"]
    index = ", ".join([":"] * dim + ["i"])
    return {"index": index, "at": f"np.s_[{index}]" if dim else "i"}


def _windows(tape: Tape, node: Node) -> Options:
    given = arguments(node)
    if node.name == "convolution":
        size = list(tape.values[node.inputs[1]].shape[2:])
        plain = not given["transposed"] and given["groups"] == 1
    else:
        size, plain = _each(given["kernel_size"]), not given["ceil_mode"]
    padding, stride = _each(given["padding"]), _each(given["stride"] or size)
    plain = plain and all(one == 1 for one in _each(given.get("dilation") or 1)) and len(size) == 2
    plain = plain and (node.name == "convolution" or not any(padding)) and not given.get("divisor_override")
    if not plain:
        raise ValueError("windows of another kind")
    starts = [
        f"{i} : {i} + {count}" if step == 1 else f"{i} : {i} + {step} * {count} : {step}"
        for i, count, step in zip("ij", ("rows", "cols"), stride, strict=True)
    ]
    zeros = padding[0] if len(set(padding)) == 1 else tuple(padding)
    border = f", x padded by {zeros} already" if any(padding) else ""
    tall, wide = size
    window = f":, :, {starts[0]}, {starts[1]}"
    return {"window": window, "padded": border, "tall": tall, "wide": wide, "area": tall * wide}


def _each(value: Any) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * 2 if len(values) == 1 else values


OPTIONS: Mapping[str, Callable[[Tape, Node], Options]] = {
    "leaky_relu": _numbers(slope="negative_slope"),
    "elu": _only({"scale": 1, "input_scale": 1}, alpha="alpha"),
    "hardtanh": _numbers(low="min_val", high="max_val"),
    "softplus": _only({"beta": 1}),
    "gelu": _only({"approximate": "none"}),
    "clamp": _numbers(low="min", high="max"),
    "clamp_min": _numbers(low="min"),
    "clamp_max": _numbers(high="max"),
    "pow, number": _power,
    "pow, base": _constant("base"),
    **{f"{name}, number": _constant("number") for name in ARITHMETIC},
    "masked_fill": _constant("number"),
    **dict.fromkeys(("sum", "mean", "prod", "amax", "amin", "max, first", "logsumexp"), _reduction),
    **dict.fromkeys(("cumsum", "_softmax", "_log_softmax", "unsqueeze", "squeeze", "stack"), _along),
    "gather": _gathered,
    "transpose": _swapped,
    "permute": _order,
    "view": _shape,
    "expand": _shape,
    "flip": _axes,
    "roll": _axes,
    "tril": _numbers(diagonal="diagonal"),
    "triu": _numbers(diagonal="diagonal"),
    "cat": _cuts,
    "select": _part,
    "slice": _part,
    "constant_pad_nd": _padding,
    "index": _index,
    "index_select": _index_along,
    "convolution": _windows,
    "avg_pool2d": _windows,
    "max_pool2d_with_indices": _windows,
}
