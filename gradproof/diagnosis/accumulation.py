"""Sums of contributions of which only one was kept: `=` for `+=`, one step, one sample, a repeated index."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from gradproof.diagnosis.branches import of_some_uses, on_branches
from gradproof.diagnosis.contributions import penalised
from gradproof.diagnosis.edges import origin, result_of
from gradproof.diagnosis.fault import Fault, OneInput, not_from
from gradproof.diagnosis.places import Place, ordinal, period
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Site, Tape, Tensor, Totals, ValueHook, joined

FEW = 6  # uses of which several may be left out
MANY = 24  # contributions that are tried one by one; of more, the first and the last


def faults(survey: Survey) -> Iterator[Fault]:
    """For each value that is used several times, and each look-up by index."""
    tape, places = survey.tape, survey.places
    yield from _single_uses(tape)
    yield from _single_calls(tape)
    yield from _single_steps(tape)
    yield from _over_the_rest(tape)
    yield from _without_a_line(tape)
    yield from _without_some(tape)
    for place in places:
        yield from _repeated_indices(survey, place)
        yield from _overlapping_windows(tape, place)
        if place.name == "convolution":
            yield from _single_windows(tape, place)
        elif place.name == "mm":
            yield from _of_one_hot(tape, place)
        elif place.name == "expand":
            yield from _single_copies(tape, place)


def _single_uses(tape: Tape) -> Iterator[Fault]:
    for value in sorted(tape.differentiable):
        arriving = tape.clean.arriving(value)
        users = [index for index, _ in arriving]
        if len(users) < 2 or value in tape.terms.values():
            continue
        name = result_of(tape, value)
        penalties = {index for index in users if penalised(tape, tape.nodes[index].outputs[0])}
        repeated = len({(tape.nodes[i].site, tape.nodes[i].site.callers[:1], tape.nodes[i].name) for i in users}) == 1
        repeated = repeated and tape.nodes[users[0]].part is None
        repeated = repeated and tape.depends(tape.nodes[users[0]].outputs[0], tape.nodes[users[-1]])
        chosen = users if len(users) <= MANY else [users[0], users[-1]]
        for user in chosen:
            if penalties != set(users) - {user}:  # else the penalty is missing, which its own route tells
                yield _only_use(tape, value, name, users, user, repeated)


def _single_calls(tape: Tape) -> Iterator[Fault]:
    """Of the parameters of a function that several lines call: what comes back from one of the calls."""
    shared: dict[frozenset[object], dict[str, dict[object, list[int]]]] = {}
    for name, value in tape.parameters.items():
        calls: dict[object, list[int]] = {}
        for index, _ in tape.clean.arriving(value):
            if index >= 0 and (callers := tape.nodes[index].site.callers[:1]):
                calls.setdefault(callers, []).append(index)
        if 1 < len(calls) <= FEW:
            shared.setdefault(frozenset(calls), {})[name] = calls
    for users_of in shared.values():
        names, parts = list(users_of), next(iter(users_of.values()))
        others = "the other call" if len(parts) == 2 else f"the {len(parts) - 1} other calls"
        for call, users in parts.items() if len(names) > 1 else ():
            site = tape.nodes[users[0]].site
            whose = f"{', '.join(names[:-1])} and {names[-1]}"
            message = f"the gradients of {whose} are only what comes back from where line {site.callers[0][1]} calls"
            message += f" what uses them: what comes back from {others} is not added"
            values = {tape.parameters[name]: not_from(_of_the_others(of, call)) for name, of in users_of.items()}
            yield Fault("overwritten", message, site, 1.0, values=values)


def _of_the_others(calls: Mapping[object, list[int]], call: object) -> list[int]:
    return [index for each, users in calls.items() if each != call for index in users]


def _single_steps(tape: Tape) -> Iterator[Fault]:
    """Of a value that each step of a loop uses in several places: what the first or the last step sends back."""
    for value in sorted(tape.differentiable):
        users = sorted(index for index, _ in tape.clean.arriving(value) if index >= 0)
        steps = _steps(tape, users)
        if len(steps) < 2 or len(steps[0]) < 2:
            continue
        name, count, node = result_of(tape, value), len(steps), tape.nodes[steps[-1][-1]]
        code, kind = ("last-step-only", "step") if node.part is None else ("missing-path", "part")
        for which, step in (("first", steps[0]), ("last", steps[-1])):
            message = f"the gradient of {name} is the contribution of the {which} {kind} alone, not the sum over"
            message += f" all {count}"
            hook = not_from(set(users) - set(step))
            yield Fault(code, message, node.site, 1.0, values={value: hook})


def _steps(tape: Tape, users: Sequence[int]) -> list[Sequence[int]]:
    """The uses of a value in groups that do the same on the same lines, again and again; all in one if they do not."""
    length = period([_place(tape.nodes[index]) for index in users])
    if not users or len(users) % length:
        return [users]
    return [users[start : start + length] for start in range(0, len(users), length)]


def _over_the_rest(tape: Tape) -> Iterator[Fault]:
    """Of a value that is used several times, one of whose uses reaches some entries alone: assigned there."""
    for value in sorted(tape.differentiable):
        users = [index for index, _ in tape.clean.arriving(value)]
        for user in users if len(set(users)) in (2, 3) else ():
            reached = _reached(tape, tape.nodes[user], value) if user >= 0 else None
            if reached is not None and reached.any() and not reached.all():
                node = tape.nodes[user]
                message = f"what flows back to {result_of(tape, value)} from `{node.name}` (line {node.site.line})"
                message += " overwrites the rest where it arrives, and is not added to it"
                yield Fault("overwritten", message, node.site, 1.1, values={value: _assigned_over(user, value)})


def _reached(tape: Tape, node: Node, value: int) -> Tensor | None:
    """The entries of an input that are sent something by an operation's first result; None where it takes it twice."""
    if node.inputs.count(value) != 1:
        return None
    ones = torch.ones_like(tape.values[node.outputs[0]])
    sent = tape.vjp(node, [ones, *[None] * (len(node.outputs) - 1)])[node.inputs.index(value)]
    return None if sent is None else sent != 0


def _assigned_over(user: int, value: int) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        own, rest = joined([one for one in arriving if one[0] == user]), joined(arriving, without=[user])
        reached = _reached(tape, tape.nodes[user], value)
        return joined(arriving) if own is None or rest is None or reached is None else torch.where(reached, own, rest)

    return hook


def _without_a_line(tape: Tape) -> Iterator[Fault]:
    """Of what comes back to a value, all that one line sends: a term in which it stands more than once."""
    for value in sorted(tape.differentiable):
        arriving = tape.clean.arriving(value)
        lines: dict[Site, list[int]] = {}
        for index, _ in arriving:
            if index >= 0:
                site = tape.nodes[index].site
                lines.setdefault(Site(site.file, site.line), []).append(index)
        for site, users in lines.items():
            if 1 < len(users) < len(arriving) - (value in tape.parameters.values()):
                name = result_of(tape, value)
                message = f"nothing of the gradient flows back to {name} from line {site.line}, where it is used"
                message += f" {len(users)} times"
                fault = Fault("missing-path", message, site, 0.98, values={value: not_from(users)})
                yield fault
                yield from on_branches(tape, value, users, fault)


def _without_some(tape: Tape) -> Iterator[Fault]:
    """Of what comes back to an array that is used a few times, what several of the uses send: keys and values, say.

    Arrays that are used in the same places, as the states of a loop are, lose the same.
    """
    dropped: dict[frozenset[object], dict[int, list[int]]] = {}
    for value in sorted(tape.differentiable - set(tape.parameters.values())):
        uses = _uses(tape, [index for index, _ in tape.clean.arriving(value) if index >= 0])
        for count in range(2, len(uses)) if len(uses) <= FEW else ():
            for left_out in itertools.combinations(uses, count):
                users = [index for use in left_out for index in uses[use]]
                dropped.setdefault(frozenset(left_out), {})[value] = users
    for kinds, users_of in dropped.items():
        value, users = list(users_of.items())[-1]
        nodes = [tape.nodes[index] for index in users]
        names = " and ".join(dict.fromkeys(f"`{node.name}` (line {node.site.line})" for node in nodes))
        each = f", each of the {len(users_of)} times" if len(users_of) > 1 else ""
        message = f"nothing of the gradient flows back to {result_of(tape, value)} from {names}{each}"
        hooks = {value: not_from(those) for value, those in users_of.items()}
        rank = 1.15 if len(kinds) == 2 else 1.3
        yield Fault("missing-path", message, nodes[0].site, rank, values=hooks)


def _uses(tape: Tape, users: Sequence[int]) -> dict[object, list[int]]:
    """The operations that take a value, by their place; by their line, where these are many."""
    found: dict[object, list[int]] = {}
    for index in users:
        found.setdefault(_place(tape.nodes[index]), []).append(index)
    if len(found) > FEW:
        found = {}
        for index in users:
            found.setdefault(_line(tape.nodes[index]), []).append(index)
    return found


def _place(node: Node) -> object:
    return node.name, node.site, node.site.callers


def _line(node: Node) -> object:
    return node.site.file, node.site.line, node.site.callers


def _only_use(tape: Tape, value: int, name: str, users: list[int], user: int, repeated: bool) -> Fault:
    node = tape.nodes[user]
    step = len(users) - users.index(user)
    if repeated:
        code = "last-step-only"
        which = {1: "the first step", len(users): "the last step"}.get(step, f"step {step}")
        message = f"the gradient of {name} is the contribution of {which} alone, not the sum over all {len(users)}"
    else:
        code = "overwritten"
        alike = sorted(one for one in users if (tape.nodes[one].name, tape.nodes[one].site) == (node.name, node.site))
        which = f", the {ordinal(alike.index(user))} of the {len(alike)} times that it runs" if len(alike) > 1 else ""
        message = (
            f"{name} is used {len(users)} times; its gradient is only what comes back from `{node.name}` "
            f"(line {node.site.line}){which}, where the contributions add up"
        )

    def keep(_: Tape, arriving: list[tuple[int, Tensor]], __: Totals) -> Tensor | None:
        return next((grad for index, grad in arriving if index == user), None)

    # of a result that is used twice, the one route that was dropped says as much
    rank = 1.0 if repeated or value in tape.parameters.values() else 1.3
    return Fault(code, message, node.site, rank, values={value: keep})


_ASSIGN: dict[str, Callable[[np.ndarray, list[np.ndarray], list[object], np.ndarray], None]] = {}


def _assigning(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def register(function: Callable[..., None]) -> Callable[..., None]:
        _ASSIGN[name] = function
        return function

    return register


@_assigning("index")
def _index(out: np.ndarray, indices: list[np.ndarray], constants: list[object], grad: np.ndarray) -> None:
    out[tuple(indices)] = grad


@_assigning("embedding")
def _embedding(out: np.ndarray, indices: list[np.ndarray], constants: list[object], grad: np.ndarray) -> None:
    out[indices[0]] = grad


@_assigning("index_select")
def _index_select(out: np.ndarray, indices: list[np.ndarray], constants: list[object], grad: np.ndarray) -> None:
    np.moveaxis(out, int(str(constants[0])), 0)[indices[0]] = np.moveaxis(grad, int(str(constants[0])), 0)


@_assigning("gather")
def _gather(out: np.ndarray, indices: list[np.ndarray], constants: list[object], grad: np.ndarray) -> None:
    np.put_along_axis(out, indices[0], grad, int(str(constants[0])))


def _repeated_indices(survey: Survey, place: Place) -> Iterator[Fault]:
    tape = survey.tape
    if place.name not in _ASSIGN or None in place.nodes[0].constants:
        return
    for words, nodes in place.subsets():
        target = origin(tape, nodes[-1], 0)
        message = f"where an index occurs more than once, only the last of its contributions to {target} is kept{words}"
        hooks: dict[int, NodeHook] = {node.index: _assigned for node in nodes}
        fault = Fault("overwritten", message, place.site, 1.0 if nodes == place.nodes else 1.05, hooks)
        yield fault
        yield from of_some_uses(survey, place, hooks, fault)
    target = origin(tape, place.nodes[-1], 0)
    yield from _within_each(tape, place, target)
    table = place.model.inputs[0]
    if len(place.nodes) > 1 and all(node.inputs[0] == table for node in place.nodes):
        for order, words in ((1, "the first"), (-1, "the last")):
            message = f"where an index occurs more than once, at whatever step, only {words} step's contribution"
            message += f" to {target} is kept"
            values = {table: _assigned_at_all_steps(place.nodes[::-order])}
            yield Fault("overwritten", message, place.site, 1.1, values=values)


def _within_each(tape: Tape, place: Place, target: str) -> Iterator[Fault]:
    """A look-up by an array of indices, gone back through in a loop over one of its axes."""
    shapes = {tuple(tape.values[value].shape) for value in place.model.inputs[1:]}
    if place.name not in ("embedding", "index") or len(shapes) != 1:
        return
    shape = shapes.pop()
    for axis, length in enumerate(shape):
        if len(shape) > 1 and length > 1:
            message = f"where an index occurs more than once in one of the {length} slices along axis {axis} of the"
            message += f" indices, only the last of its contributions to {target} from that slice is kept"
            hooks = {node.index: _assigned_in_slices(axis) for node in place.nodes}
            yield Fault("overwritten", message, place.site, 1.1, hooks)


def _assigned_in_slices(axis: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is not None:
            indices = [tape.values[value].numpy() for value in node.inputs[1:]]
            total = np.zeros(tuple(tape.values[node.inputs[0]].shape), grad.numpy().dtype)
            for k in range(indices[0].shape[axis]):
                out = np.zeros_like(total)
                rows = [one.take(k, axis) for one in indices]
                _ASSIGN[node.name](out, rows, node.constants, grad.select(axis, k).numpy())
                total += out
            found[0] = torch.from_numpy(total)
        return found

    return hook


def _assigned_at_all_steps(nodes: Sequence[Node]) -> ValueHook:
    """At the table: what each passage sends back overwrites what those before it in `nodes` have left in its rows."""
    own = {node.index for node in nodes}

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        out = np.zeros(tuple(tape.values[nodes[0].inputs[0]].shape))
        for node in nodes:
            grad = totals.get(node.outputs[0])
            if grad is not None:
                out = out.astype(grad.numpy().dtype)
                _assign(tape, node, grad, out)
        others, found = joined(arriving, without=own), torch.from_numpy(out)
        return found if others is None else others + found

    return hook


def _of_one_hot(tape: Tape, place: Place) -> Iterator[Fault]:
    """A product with ones at labels is a look-up: of samples with equal labels, only the last one's is kept."""
    for position in (0, 1):
        marks = tape.values[place.model.inputs[1 - position]]
        marks = marks if position == 1 else marks.mT
        if place.model.inputs[position] in tape.differentiable and _is_one_hot(marks):
            target = origin(tape, place.model, position)
            message = f"samples with equal labels overwrite each other in the gradient of {target}: only the last of"
            message += f" each label counts in what flows back through {place}"
            hooks = {node.index: _last_of_each(position) for node in place.nodes}
            yield Fault("overwritten", message, place.site, 1.15, hooks)


def _is_one_hot(marks: Tensor) -> bool:
    """Whether each row is a one among zeros, and some rows are equal."""
    ones = bool(((marks == 0) | (marks == 1)).all()) and bool((marks.sum(1) == 1).all())
    return ones and bool((marks.sum(0) > 1).any())


def _last_of_each(position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        marks = tape.values[node.inputs[1 - position]]
        labels = (marks if position == 1 else marks.mT).argmax(1)
        later = (labels[:, None] == labels[None, :]).triu(1).any(1)
        kept = (~later).to(marks.dtype)
        if grad is not None:
            found[position] = tape.vjp(node, [grad * (kept[:, None] if position == 1 else kept)])[position]
        return found

    return OneInput(position, hook)


def _overlapping_windows(tape: Tape, place: Place) -> Iterator[Fault]:
    """A convolution or pooling whose windows overlap: what they send back is assigned where it should be added."""
    node = place.model  # the input of the first may be the data
    if node.name not in ("convolution", "avg_pool2d") or node.inputs[0] not in tape.differentiable:
        return
    target = origin(tape, place.nodes[-1], 0)
    message = f"where windows overlap, what one sends back to {target} overwrites what the others have"
    for order in (1, -1):
        hooks = {one.index: _windows_assigned(order) for one in place.nodes}
        yield Fault("overwritten", message, place.site, 1.2, hooks)


def _single_copies(tape: Tape, place: Place) -> Iterator[Fault]:
    """Of an array that is laid out several times over: what one copy sends back, or all of them in another order."""
    node = place.model
    before, after = (tape.values[value].shape for value in (node.inputs[0], node.outputs[0]))
    target = origin(tape, place.nodes[-1], 0)
    for axis, count in enumerate(after if len(before) == len(after) else ()):
        if count == before[axis]:
            continue
        for which, position in (("first", 0), ("last", -1)):
            message = f"the gradient of {target} is that of the {which} of its {count} copies alone, not the sum"
            hooks = {one.index: _of_copies(partial(_one_copy, axis=axis, position=position)) for one in place.nodes}
            yield Fault("overwritten", message, place.site, 1.15, hooks)
        if axis > 0 and after[axis - 1] > 1:
            message = f"the {count} copies of {target} are taken to lie in another order: what is summed up belongs to"
            message += " several of its entries"
            hooks = {one.index: _of_copies(partial(_reordered, axis=axis)) for one in place.nodes}
            yield Fault("wrong-axis", message, place.site, 1.15, hooks)


def _of_copies(change: Callable[[Tensor], Tensor]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return tape.vjp(node, [None if grad is None else change(grad) for grad in grads])

    return hook


def _one_copy(grad: Tensor, axis: int, position: int) -> Tensor:
    kept = torch.zeros_like(grad)
    kept.select(axis, position).copy_(grad.select(axis, position))
    return kept


def _reordered(grad: Tensor, axis: int) -> Tensor:
    """What arrived, read as if the axis of the copies stood before the one that it stands behind."""
    shape = list(grad.shape)
    shape[axis - 1], shape[axis] = shape[axis], shape[axis - 1]
    return grad.reshape(shape).transpose(axis - 1, axis)


def _single_windows(tape: Tape, place: Place) -> Iterator[Fault]:
    """The filters of a convolution: what one window contributes to them in place of the sum over all of them."""
    if place.model.inputs[1] not in tape.differentiable:
        return
    target = origin(tape, place.nodes[-1], 1)
    for samples, which in ((False, ""), (True, " of the last sample")):
        message = f"the gradient of {target} is what the last window{which} contributes alone, not the sum over all"
        for given in (False, True):  # windows are counted by where they end, or by where they start
            hooks = {node.index: _of_last_window(samples, given) for node in place.nodes}
            yield Fault("overwritten", message, place.site, 1.2, hooks)


def _of_last_window(last_sample: bool, given: bool) -> NodeHook:
    def only_last(array: Tensor) -> Tensor:
        found = torch.zeros_like(array)
        last = (slice(-1, None) if last_sample else slice(None), slice(None), *[slice(-1, None)] * (array.dim() - 2))
        found[last] = array[last]
        return found

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is not None and given:
            found[1] = tape.vjp(node, grads, at={0: only_last(tape.values[node.inputs[0]])})[1]
        elif grad is not None:
            found[1] = tape.vjp(node, [only_last(grad)])[1]
        return found

    return OneInput(1, hook)


def _windows_assigned(order: int) -> NodeHook:
    """Tap by tap over a filter, the last tap stays (order 1); window by window, the last window does (order -1)."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is None:
            return found
        x = tape.values[node.inputs[0]]
        size, stride, padding, apart = _window(tape, node)
        padded = [length + 2 * pad for length, pad in zip(x.shape[2:], padding, strict=True)]
        out = x.new_zeros((*x.shape[:2], *padded))
        taps = list(itertools.product(*(range(one) for one in size)))
        for tap in taps[::order]:
            reached = tuple(
                slice(i * far, i * far + step * (count - 1) + 1, step)
                for i, far, step, count in zip(tap, apart, stride, grad.shape[2:], strict=True)
            )
            out[(slice(None), slice(None), *reached)] = _through_tap(tape, node, grad, tap, size)
        inner = tuple(slice(pad, pad + length) for pad, length in zip(padding, x.shape[2:], strict=True))
        found[0] = out[(slice(None), slice(None), *inner)]
        return found

    return OneInput(0, hook)


def _window(tape: Tape, node: Node) -> tuple[list[int], list[int], list[int], list[int]]:
    """Size, stride, padding and dilation of a convolution's or a pooling's window. Raises ValueError for groups."""
    args, dilation = node.arguments, [1]
    if node.name == "convolution":
        size = list(tape.values[node.inputs[1]].shape[2:])
        stride, padding, dilation, transposed, _, groups = args[3:9]
        if transposed or groups != 1:
            raise ValueError("not an ordinary convolution")
    else:
        size, stride, padding = args[1], args[2] if len(args) > 2 else args[1], args[3] if len(args) > 3 else [0]
    dims = len(size)
    return list(size), _each(stride or size, dims), _each(padding, dims), _each(dilation, dims)


def _each(value: list[int], dims: int) -> list[int]:
    return list(value) * dims if len(value) == 1 else list(value)


def _through_tap(tape: Tape, node: Node, grad: Tensor, tap: tuple[int, ...], size: list[int]) -> Tensor:
    if node.name == "convolution":
        weight = tape.values[node.inputs[1]].permute(*range(2, 2 + len(tap)), 0, 1)[tap]  # (out, in)
        return torch.einsum("bo...,oi->bi...", grad, weight)
    return grad / math.prod(size)


def _assigned(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    found, grad = list(tape.vjp(node, grads)), grads[0]
    if grad is not None:
        out = np.zeros(tuple(tape.values[node.inputs[0]].shape), grad.numpy().dtype)
        _assign(tape, node, grad, out)
        found[0] = torch.from_numpy(out)
    return found


def _assign(tape: Tape, node: Node, grad: Tensor, out: np.ndarray) -> None:
    """Write what arrived at a look-up into the rows that it took, over what stands there."""
    indices = [tape.values[value].numpy() for value in node.inputs[1:]]
    _ASSIGN[node.name](out, indices, node.constants, grad.numpy())
