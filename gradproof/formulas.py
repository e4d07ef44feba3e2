"""The right local rules in plain NumPy, one for each of torch's core operations: what a report ends with.

`dx` is the loss's derivative by x. Each text holds the operation itself, then its rules, one for each operand:
`"C = A @ B; dA = dC @ B.T; dB = A.T @ dC"`. What stands in braces is filled in from the operation's own options.
Sums over axes along which an operand was broadcast are added by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gradproof.formula_options import ARITHMETIC, OPTIONS, arguments, axis_of
from gradproof.source_names import Names, identifiers, names_at, target_at
from gradproof.tape import Node, Tape

TABLE: Mapping[str, str] = {
    # one entry each
    "sigmoid": "a = 1 / (1 + np.exp(-z)); dz = da * a * (1 - a)",
    "tanh": "a = np.tanh(z); dz = da * (1 - a**2)",
    "relu": "a = np.maximum(z, 0); dz = da * (z > 0)",
    "leaky_relu": "a = np.where(z > 0, z, {slope} * z); dz = da * np.where(z > 0, 1, {slope})",
    "elu": "a = np.where(z > 0, z, {alpha} * np.expm1(z)); dz = da * np.where(z > 0, 1, a + {alpha})",
    "hardtanh": "a = np.clip(z, {low}, {high}); dz = da * ((z > {low}) & (z < {high}))",
    "softplus": "a = np.log1p(np.exp(z)); dz = da / (1 + np.exp(-z))",
    "silu": "a = z / (1 + np.exp(-z)); s = 1 / (1 + np.exp(-z)); dz = da * s * (1 + z * (1 - s))",
    "gelu": "a = z * (1 + erf(z / 2**0.5)) / 2; "
    "dz = da * ((1 + erf(z / 2**0.5)) / 2 + z * np.exp(-(z**2) / 2) / (2 * np.pi) ** 0.5)",
    "erf": "y = erf(x); dx = dy * 2 / np.pi**0.5 * np.exp(-(x**2))",
    "exp": "y = np.exp(x); dx = dy * y",
    "exp2": "y = 2**x; dx = dy * y * np.log(2)",
    "expm1": "y = np.expm1(x); dx = dy * (y + 1)",
    "log": "y = np.log(x); dx = dy / x",
    "log2": "y = np.log2(x); dx = dy / (x * np.log(2))",
    "log10": "y = np.log10(x); dx = dy / (x * np.log(10))",
    "log1p": "y = np.log1p(x); dx = dy / (1 + x)",
    "sqrt": "y = np.sqrt(x); dx = dy / (2 * y)",
    "rsqrt": "y = 1 / np.sqrt(x); dx = -dy * y**3 / 2",
    "reciprocal": "y = 1 / x; dx = -dy * y**2",
    "abs": "y = np.abs(x); dx = dy * np.sign(x)",
    "neg": "y = -x; dx = -dy",
    "sin": "y = np.sin(x); dx = dy * np.cos(x)",
    "cos": "y = np.cos(x); dx = -dy * np.sin(x)",
    "tan": "y = np.tan(x); dx = dy * (1 + y**2)",
    "sinh": "y = np.sinh(x); dx = dy * np.cosh(x)",
    "cosh": "y = np.cosh(x); dx = dy * np.sinh(x)",
    "asin": "y = np.arcsin(x); dx = dy / np.sqrt(1 - x**2)",
    "acos": "y = np.arccos(x); dx = -dy / np.sqrt(1 - x**2)",
    "atan": "y = np.arctan(x); dx = dy / (1 + x**2)",
    "clamp": "y = np.clip(x, {low}, {high}); dx = dy * ((x >= {low}) & (x <= {high}))",
    "clamp_min": "y = np.maximum(x, {low}); dx = dy * (x >= {low})",
    "clamp_max": "y = np.minimum(x, {high}); dx = dy * (x <= {high})",
    "pow": "c = a**b; da = dc * b * a ** (b - 1); db = dc * c * np.log(a)",
    "pow, number": "y = x**{power}; dx = dy * {power} * x**{less}",
    "pow, square": "y = x**2; dx = dy * 2 * x",
    "pow, base": "y = {base}**x; dx = dy * y * np.log({base})",
    # two operands
    "add": "c = a + b; da = dc; db = dc",
    "sub": "c = a - b; da = dc; db = -dc",
    "mul": "c = a * b; da = dc * b; db = dc * a",
    "div": "c = a / b; da = dc / b; db = -dc * a / b**2",
    "add, number": "y = x + {number}; dx = dy",
    "sub, number": "y = x - {number}; dx = dy",
    "rsub, number": "y = {number} - x; dx = -dy",
    "mul, number": "y = {number} * x; dx = {number} * dy",
    "div, number": "y = x / {number}; dx = dy / {number}",
    "maximum": "c = np.maximum(a, b); da = dc * ((a > b) + (a == b) / 2); db = dc * ((b > a) + (a == b) / 2)",
    "minimum": "c = np.minimum(a, b); da = dc * ((a < b) + (a == b) / 2); db = dc * ((b < a) + (a == b) / 2)",
    "where": "c = np.where(m, a, b); da = dc * m; db = dc * ~m",
    "masked_fill": "y = np.where(m, {number}, x); dx = dy * ~m",
    # products
    "mm": "C = A @ B; dA = dC @ B.T; dB = A.T @ dC",
    "mm, stacked": "C = A @ B; dA = dC @ B.T; dB = A.reshape(-1, A.shape[-1]).T @ dC.reshape(-1, dC.shape[-1])",
    "bmm": "C = A @ B; dA = dC @ B.swapaxes(-1, -2); dB = A.swapaxes(-1, -2) @ dC",
    "mv": "y = A @ x; dA = np.outer(dy, x); dx = A.T @ dy",
    "mul, complex": "c = a * b; da = dc * b.conj(); db = dc * a.conj()",
    "mm, complex": "C = A @ B; dA = dC @ B.conj().T; dB = A.conj().T @ dC",
    "dot": "c = a @ b; da = dc * b; db = dc * a",
    # along axes
    "sum": "y = x.sum({axis}); dx = {dy} * np.ones_like(x)",
    "mean": "y = x.mean({axis}); dx = {dy} * np.ones_like(x) / {count}",
    "prod": "y = x.prod({axis}); dx = {dy} * {y} / x",
    "amax": "y = x.max({axis}); m = x == {y}; dx = {dy} * m / m.sum({kept})",
    "amin": "y = x.min({axis}); m = x == {y}; dx = {dy} * m / m.sum({kept})",
    "max, first": "y = x.max({axis}); i = np.expand_dims(x.argmax({along}), {dim}); "
    "np.put_along_axis(dx, i, {lifted}, {along})",
    "logsumexp": "y = np.log(np.exp(x).sum({axis})); dx = {dy} * np.exp(x - {y})",
    "cumsum": "y = x.cumsum({along}); dx = np.flip(np.flip(dy, {dim}).cumsum({along}), {dim})",
    "_softmax": "p = np.exp(z) / np.exp(z).sum({along}, keepdims=True); "
    "dz = p * (dp - (dp * p).sum({along}, keepdims=True))",
    "_log_softmax": "y = z - np.log(np.exp(z).sum({along}, keepdims=True)); "
    "dz = dy - np.exp(y) * dy.sum({along}, keepdims=True)",
    # the same numbers in other places
    "t": "y = x.T; dx = dy.T",
    "transpose": "y = x.swapaxes({one}, {other}); dx = dy.swapaxes({one}, {other})",
    "permute": "y = x.transpose({order}); dx = dy.transpose({back})",
    "view": "y = x.reshape({shape}); dx = dy.reshape(x.shape)",
    "unsqueeze": "y = np.expand_dims(x, {dim}); dx = dy.squeeze({along})",
    "squeeze": "y = x.squeeze({along}); dx = np.expand_dims(dy, {dim})",
    "expand": "y = np.broadcast_to(x, {shape}); dx = dy",
    "flip": "y = np.flip(x, {axes}); dx = np.flip(dy, {axes})",
    "roll": "y = np.roll(x, {shift}, {axes}); dx = np.roll(dy, {unshift}, {axes})",
    "tril": "y = np.tril(x, {diagonal}); dx = np.tril(dy, {diagonal})",
    "triu": "y = np.triu(x, {diagonal}); dx = np.triu(dy, {diagonal})",
    "cat": "y = np.concatenate(xs, {along}); dxs = np.split(dy, {cuts}, {along})",
    "stack": "y = np.stack(xs, {along}); dxs = np.moveaxis(dy, {dim}, 0)",
    "select": "y = x[{part}]; dx[{part}] += dy",
    "slice": "y = x[{part}]; dx[{part}] += dy",
    "constant_pad_nd": "y = np.pad(x, {widths}); dx = dy[{inner}]",
    # by index: where one occurs twice, both add up
    "index": "y = x[{index}]; np.add.at(dx, {at}, dy)",
    "index_select": "y = x[{index}]; np.add.at(dx, {at}, dy)",
    "embedding": "y = x[i]; np.add.at(dx, i, dy)",
    "gather": "y = np.take_along_axis(x, i, {along}); at = [*np.indices(i.shape)]; at[{dim}] = i; "
    "np.add.at(dx, tuple(at), dy)",
    # windows
    "convolution": "y is the convolution of x with w, channels before rows and columns{padded}; "
    "rows, cols = dy.shape[2:]; "
    "for i, j in np.ndindex(w.shape[2:]):\n"
    "    dx[{window}] += np.einsum('nohw,oc->nchw', dy, w[:, :, i, j]); "
    "for i, j in np.ndindex(w.shape[2:]):\n"
    "    dw[:, :, i, j] = np.einsum('nohw,nchw->oc', dy, x[{window}]); "
    "db = dy.sum(axis=(0, 2, 3))",
    "avg_pool2d": "y is the mean of each {tall} by {wide} window of x{padded}; rows, cols = dy.shape[2:]; "
    "for i, j in np.ndindex({tall}, {wide}):\n    dx[{window}] += dy / {area}",
    "max_pool2d_with_indices": "y is the largest of each {tall} by {wide} window of x, without ties{padded}; "
    "rows, cols = dy.shape[2:]; "
    "for i, j in np.ndindex({tall}, {wide}):\n    dx[{window}] += dy * (x[{window}] == y)",
}
# The operands in order, where they are others than those that have a gradient.
OPERANDS: Mapping[str, str] = {
    "where": "m a b",
    "masked_fill": "x m",
    "index": "x i j k",
    "index_select": "x i",
    "embedding": "x i",
    "gather": "x i",
    "convolution": "x w b",
}
# Of one array, and the same for complex numbers.
LINEAR = frozenset(
    "neg sum mean t transpose permute view _unsafe_view unsqueeze squeeze expand flip roll select slice".split()
)
LISTS = ("cat", "stack")  # whose operands are one list
LINE = 60  # as much as a report has room for
SPARE = "uvqrtghkl"  # names for what has none, where the table's own stands for something else on the line
OWNER = re.compile(r"(?:np\.\w+(?:\.at)?\()?d(\w+)(?=\[| \+?= |, )")


@dataclass(frozen=True)
class Written:
    """An operation's rule with its names filled in. `values` and `output` are the tape's numbers of the arrays.

    `steps` are lines of code: what helps, then the gradients; `of` says whose each is (None: it helps).
    """

    node: Node
    result: str
    operands: tuple[str, ...]
    values: tuple[int, ...]
    output: int
    forward: str
    steps: tuple[str, ...]
    of: tuple[int | None, ...]
    explained: bool  # whether the operation has to be told for the names to be understood

    def only(self, operands: Collection[int]) -> Written:
        """The rule for some of the operands; all of it where it has no step for any of them."""
        kept = [k for k, of in enumerate(self.of) if of is None or of in operands]
        if all(self.of[k] is None for k in kept):
            return self
        return replace(self, steps=tuple(self.steps[k] for k in kept), of=tuple(self.of[k] for k in kept))

    def text(self, forward_too: bool = False) -> str:
        """The rule as a report shows it. With `forward_too` it begins with the operation itself."""
        if forward_too and " = " in self.forward:
            return on_lines([self.forward, *self.steps])
        return on_lines(self.steps, f"where {self.forward}" if self.explained else "")


def on_lines(steps: Sequence[str], where: str = "") -> str:
    """Steps and what their names mean, on one line where they are short."""
    parts = [*steps, where] if where else list(steps)
    line = ", ".join(parts)
    return line if len(line) <= LINE and "\n" not in line else "\n".join(parts)


def written(tape: Tape, node: Node, taken: Collection[str] = ()) -> Written | None:
    """The right rule of an operation; None where the table has none, or none for its options.

    `taken` are names that stand for something else in the caller's code.
    """
    values, output = _whole(tape, node)
    key = _key(tape, node, values)
    try:
        parts = TABLE[key].format(**(OPTIONS[key](tape, node) if key in OPTIONS else {})).split("; ")
    except (KeyError, ValueError):
        return None
    nameless = key in LISTS or len(set(values)) < len(values)
    names = (None, (None,)) if nameless else names_at(node.site, node.name, len(values))
    return _rule(tape, key, parts, values, output, node, names, taken)


def of_function(tape: Tape, key: str, start: int, last: Node, taken: Collection[str]) -> Written | None:
    """The rule of a function that is written out in several operations, of which `last` is the last."""
    parts = TABLE[key].format(along="axis=-1").split("; ")
    made_by = tape.producer.get(start)
    operand = tape.name_of(start) if made_by is None else target_at(tape.nodes[made_by].site)
    names = (target_at(last.site), (operand if operand and operand.isidentifier() else None,))
    return _rule(tape, key, parts, [start], last.outputs[0], last, names, taken)


def _rule(
    tape: Tape,
    key: str,
    parts: list[str],
    values: list[int],
    output: int,
    node: Node,
    given: Names,
    taken: Collection[str],
) -> Written | None:
    """An entry of the table, for the operands that have a gradient, with the caller's names put in."""
    forward, *rules = parts
    owners = [found[1] if (found := OWNER.match(rule.split("\n")[-1].strip())) else None for rule in rules]
    operands = OPERANDS.get(key, " ".join(filter(None, owners))).split()[: len(values)]
    if len(set(values)) < len(values) or len(operands) != (1 if key in LISTS else len(values)):
        return None
    steps, of = [], []
    for rule, owner in zip(rules, owners, strict=True):
        position = operands.index(owner) if owner in operands else None
        concerned = values if key in LISTS else values[position : position + 1] if position is not None else []
        if owner is None or set(concerned) & tape.differentiable:
            steps.append(rule if owner is None else _joined(tape, key, rule, concerned, output))
            of.append(position)
    names = _names([re.split(r"\W", forward)[0], *operands], given, parts, identifiers(node.site.source) | set(taken))
    pattern: re.Pattern[str] = re.compile(rf"(?<![\w.'])(d?)({'|'.join(names)})(?![\w'])")
    forward, *steps = [pattern.sub(lambda found: f"{found[1]}{names[found[2]]}", part) for part in (forward, *steps)]
    result, *others = names.values()
    explained = [result, *others] != [given[0], *given[1]] or " = " not in forward
    rule_ = Written(node, result, tuple(others), tuple(values), output, forward, tuple(steps), tuple(of), explained)
    return rule_ if any(one is not None for one in of) else None


def _whole(tape: Tape, node: Node) -> tuple[list[int], int]:
    """The operands and the result; of a product of stacks, as they were before torch made two or three axes of them."""
    if node.name not in ("mm", "bmm"):
        return list(node.inputs), node.outputs[0]
    values = []
    for value in node.inputs:
        while value in tape.producer and _reshapes(tape, tape.nodes[tape.producer[value]], node):
            value = tape.nodes[tape.producer[value]].inputs[0]
        values.append(value)
    output = node.outputs[0]
    users = tape.consumers.get(output, [])
    while len(users) == 1 and _reshapes(tape, tape.nodes[users[0]], node):
        output = tape.nodes[users[0]].outputs[0]
        users = tape.consumers.get(output, [])
    a, b, c = (tuple(tape.values[value].shape) for value in (*values, output))
    fits = min(len(a), len(b)) > 1 and a[-1] == b[-2] and c[-2:] == (a[-2], b[-1])
    return (values, output) if fits else (list(node.inputs), node.outputs[0])


def _reshapes(tape: Tape, node: Node, product: Node) -> bool:
    return node.site == product.site and node.name in ("view", "_unsafe_view", "expand")


def _key(tape: Tape, node: Node, values: Sequence[int]) -> str:
    """The entry of the table for an operation."""
    name, overload, inputs = node.name, node.func._overloadname, len(node.inputs)
    if node.index in tape.of_complex and (name not in LINEAR or inputs > 1):
        all_complex = all(tape.values[value].is_complex() for value in node.inputs)
        return f"{name}, complex" if all_complex else ""
    if name in ARITHMETIC and inputs == 1:
        return f"{name}, number"
    if name in ("add", "sub") and node.constants:
        return ""  # times alpha
    if name == "pow" and inputs == 1:
        base = overload == "Scalar"
        return "pow, base" if base else "pow, square" if node.constants[0] == 2 else "pow, number"
    if name == "clamp":
        given = arguments(node)
        return "clamp_max" if given["min"] is None else "clamp_min" if given["max"] is None else "clamp"
    if name in ("mm", "bmm"):
        deep = [tape.values[value].dim() > 2 for value in values]
        return "bmm" if deep[1] else "mm, stacked" if deep[0] else "mm"
    if name in ("max", "min"):
        kinds = {"default": f"a{name}", "dim": f"{name}, first", "other": f"{name}imum"}
        return kinds.get(overload, "")
    return "view" if name == "_unsafe_view" else name


def _joined(tape: Tape, key: str, rule: str, concerned: Sequence[int], output: int) -> str:
    """A rule, summed over what was broadcast, and with `+=` where the array has other uses besides."""
    *before, last = rule.split("\n")
    left, equals, right = last.partition(" = ")
    if not equals:
        return rule
    whole, shape = tape.values[output].shape, tape.values[concerned[0]].shape
    if key == "bmm":
        whole = whole[:-2] + shape[-2:]
    if key.removesuffix(", complex") in ("bmm", "expand", "where", "maximum", "minimum", "pow", *ARITHMETIC):
        right = summed(right, tuple(shape), tuple(whole))
    uses = max(len(tape.consumers.get(value, ())) for value in concerned)
    return "\n".join([*before, f"{left} {'+=' if uses > 1 and key not in LISTS else '='} {right}"])


def summed(text: str, shape: tuple[int, ...], whole: tuple[int, ...]) -> str:
    """An expression of shape `whole`, summed to `shape`: what a broadcast operand gets back."""
    if shape == whole:
        return text
    extra = len(whole) - len(shape)
    kept = [i for i, length in enumerate(shape) if length == 1 and whole[extra + i] != 1]
    sums = "" if not extra else f".sum({axis_of(range(extra))})" if shape else ".sum()"
    sums += f".sum({axis_of(kept)}, keepdims=True)" if kept else ""
    return f"({text}){sums}" if sums and not re.fullmatch(r"\w+", text) else f"{text}{sums}"


def _names(own: list[str], given: Names, parts: list[str], taken: set[str]) -> dict[str, str]:
    """For each name of the table's, the caller's, or a free one where the line tells none."""
    used = {name for part in parts for name in re.findall(r"(?<![\w.'])[A-Za-z]\w*", part)}
    helping = used - {one for name in own for one in (name, f"d{name}")}
    theirs = [given[0], *given[1]]
    taken = taken | helping | {name for name in theirs if name}
    names: dict[str, str] = {}
    for name, one in zip(own, theirs, strict=True):
        usable = one is not None and one not in helping and one not in names.values()
        names[name] = one if usable and one is not None else free_name(name, taken | set(names.values()))
    return names


def free_name(name: str, taken: set[str]) -> str:
    """The table's own name, or another where that one stands for something else."""
    candidates: tuple[str, ...] = (name, *SPARE, f"{name}_")
    return next(one for one in candidates if one not in taken and f"d{one}" not in taken)
