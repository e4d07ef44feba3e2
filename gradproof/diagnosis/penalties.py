"""A penalty on entries that have none, or none where there should be: found in what the right gradient leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis import contributions
from gradproof.diagnosis.confirmation import fresh_case
from gradproof.diagnosis.weight_decay import penalties_of
from gradproof.oracles import Array, Arrays
from gradproof.report import Finding, along, number, whole_along

LOOSE = 1e-7  # of what is compared; what differs by less is rounding
ROW_ROUNDING, MOST_ROWS = 1e-9, 6  # of the weights of rows; how many of these are told
COARSE = 1e-3  # rows whose entries differ by more than this share are looked at no closer
FEW, FEW_GROWING = 3, 6  # entries that are a multiple of their parameter by chance, or grow with it


def findings(case: Case) -> list[Finding]:
    """One finding for all parameters whose gradient differs by multiples of the parameter itself, on a part of it."""
    return _of_one_weight(case) or _otherwise_by_rows(case)


def _of_one_weight(case: Case) -> list[Finding]:
    parts, coefficients = {}, []
    known = coefficient(case)
    if known is not None and _is_whole_penalty(case, known):
        return []  # another weight of a whole term is told as such
    for name in case.wrong:
        part = _part(case, name, known)
        if part is None:
            return []
        parts[name], found = part
        coefficients.append(found)
        own = _acting(case, name, known)
        if own is not None and (found > 0 or (own and not np.isclose(-found, own, rtol=1e-7))):
            return []  # it has one already, which another weight or form of it may tell better
    if not _holds_again(case, dict(zip(parts, coefficients, strict=True))):
        return []
    where = ", ".join(f"{name}{'' if words == '' else ' (' + words + ')'}" for name, words in parts.items())
    strength = number(abs(coefficients[0]))
    if coefficients[0] > 0:
        message = f"a penalty acts on {where}, where the reference has none: {strength} times the parameter is added"
    else:
        message = f"the penalty is missing on {where}, or too weak: {strength} times the parameter should be added"
    return [Finding("wrong-part-penalised", tuple(parts), message)]


def _otherwise_by_rows(case: Case) -> list[Finding]:
    """One finding where rows have another weight each: penalised as often as they are looked up, or all alike."""
    weights = _weights_of_rows(case)
    if not weights or any(_is_whole(*one) for one in weights.values()):
        return []
    fresh = fresh_case(case)
    again = weights if fresh is None else _weights_of_rows(fresh)
    if not all(name in again and np.allclose(again[name], one, rtol=1e-6) for name, one in weights.items()):
        return []
    told = [_of_rows(name, *one) for name, one in weights.items()]
    return [Finding("wrong-part-penalised", tuple(weights), "\n".join(told))]


def _is_whole(ours: Array, right: Array) -> bool:
    """Whether all rows have the same multiple of their weight, or the same added to it: that is told as a whole."""
    there = right != 0
    proportional = not ours[~there].any() and np.ptp(ours[there] / right[there]) < ROW_ROUNDING
    return bool(proportional or np.ptp(ours - right) < ROW_ROUNDING)


def _of_rows(name: str, ours: Array, right: Array) -> str:
    rows = [i for i in range(len(ours)) if abs(ours[i] - right[i]) > ROW_ROUNDING][:MOST_ROWS]
    of_ours, of_right = (", ".join(number(float(one[i])) for i in rows) for one in (ours, right))
    shown = along(0, 2, rows)
    return f"the penalty on {name} has another weight for some rows: {of_ours} in {shown}, and {of_right} is right"


def _weights_of_rows(case: Case) -> dict[str, tuple[Array, Array]]:
    """By what a penalty multiplies the rows of the wrong parameters, here and in the reference; nothing for others."""
    values = {name: case.problem.params[name] for name in case.wrong}
    if any(value.ndim != 2 or value.shape[1] < FEW or not value.size or not value.all() for value in values.values()):
        return {}
    extra = {name: (case.gradients[name] - case.truth.gradients[name]) / value for name, value in values.items()}
    if not all(_is_by_rows(one, COARSE * float(np.max(np.abs(one)))) for one in extra.values()) or case.tape is None:
        return {}  # what the penalties are takes runs of the reference
    shares = [*contributions.penalties(case.tape).values()]
    found = {}
    for name, value in values.items():
        right = sum((one[name].numpy() for one in shares if name in one), np.zeros_like(value)) / value
        allowed = ROW_ROUNDING * max(float(np.max(np.abs(one))) for one in (extra[name], right))
        if not np.any(right) or not all(_is_by_rows(one, allowed) for one in (extra[name], right)):
            return {}
        more, known = (np.where(np.abs(one[:, 0]) > allowed, one[:, 0], 0.0) for one in (extra[name], right))
        found[name] = known + more, known
    return found


def _is_by_rows(ratios: Array, allowed: float) -> bool:
    """Whether each row has one number."""
    return bool(np.all(np.ptp(ratios, axis=1) <= allowed))


def of_what_was_added(case: Case, added: Arrays) -> str | None:
    """What is wrong with a penalty, where it alone makes what some gradients have too much; None where it does not."""
    size = max((float(np.max(np.abs(one), initial=0.0)) for one in added.values()), default=0.0)
    touched = [name for name, one in added.items() if np.max(np.abs(one), initial=0.0) > LOOSE * size]
    if not touched:
        return None
    shares = [] if case.tape is None else [*contributions.penalties(case.tape).values()]
    lines = [{name: one.numpy() for name, one in line.items()} for line in shares]
    columns = [_joined(case, line, touched) for line in lines]
    columns = [one for one in columns if one.any()]
    parameters, extra = _joined(case, case.problem.params, touched), _joined(case, added, touched)
    weights = _weights(columns, extra)
    if weights is not None:
        missing = np.isclose(weights, -1.0) | (np.abs(weights) < LOOSE)
        in_part = any(name not in touched for line in lines for name in line)
        return "wrong-part-penalised" if missing.all() and in_part else "wrong-term-weight"
    there = np.abs(extra) > LOOSE * size
    share = sum(columns, np.zeros_like(extra))[there]
    if share.any() and np.allclose(extra[there], -share, rtol=LOOSE, atol=LOOSE * size):
        return "wrong-part-penalised"
    if _is_penalty(parameters[there], extra[there]) or _is_penalty_of_rows(case, added, touched):
        return "wrong-term-weight" if share.all() else "wrong-part-penalised"
    return None


def _joined(case: Case, arrays: Mapping[str, Array], names: Sequence[str]) -> Array:
    """The entries of some parameters' arrays behind each other; zeros where there is none."""
    return np.concatenate([np.ravel(arrays.get(name, np.zeros_like(case.problem.params[name]))) for name in names])


def _weights(columns: Sequence[Array], extra: Array) -> Array | None:
    """By how much more than once each share of penalties counts, where that gives just what is too much."""
    if not columns:
        return None
    matrix = np.stack(columns, axis=1)
    weights = np.linalg.lstsq(matrix, extra, rcond=None)[0]
    left = np.linalg.norm(extra - matrix @ weights)
    return np.asarray(weights) if len(extra) > len(columns) and left <= LOOSE * np.linalg.norm(extra) else None


def _is_penalty(parameters: Array, added: Array) -> bool:
    """Whether something is a multiple of parameters; or grows with them, entry by entry, and has their signs."""
    if len(added) >= FEW and np.all(parameters) and np.ptp(added / parameters) <= LOOSE * np.max(added / parameters):
        return True
    if len(added) < FEW_GROWING or np.any(np.sign(parameters) != np.sign(added)):
        return False
    steps = np.diff(np.abs(added)[np.argsort(np.abs(parameters))])
    return bool(np.all(steps >= -LOOSE * np.max(np.abs(added))))


def _is_penalty_of_rows(case: Case, added: Arrays, touched: Sequence[str]) -> bool:
    """Whether each row has its own multiple of a parameter's row added: as often as the data look it up."""
    for name in touched:
        value = case.problem.params[name]
        if value.ndim != 2 or min(value.shape) < FEW or not value.all():
            return False
        ratios = added[name] / value
        if np.any(ratios < -LOOSE) or np.any(np.ptp(ratios, axis=1) > LOOSE * np.max(ratios)):
            return False
    return True


def _holds_again(case: Case, coefficients: dict[str, float]) -> bool:
    """Whether the gradients differ by the same multiples of the parameters on fresh inputs: a length has others."""
    fresh = fresh_case(case)
    if fresh is None:
        return True
    again = {name: _part(fresh, name, coefficient(fresh)) for name in coefficients}
    return all(part is not None and np.isclose(part[1], coefficients[name], rtol=1e-6) for name, part in again.items())


def _acting(case: Case, name: str, known: float | None) -> float | None:
    """The coefficient of the penalty that the reference has on what differs of a parameter; None where it has none."""
    if known is None:
        return _own_coefficient(case, name)
    return known if _has_penalty(case, name, known) else None


def _own_coefficient(case: Case, name: str) -> float | None:
    """By how much of itself what is made of a parameter alone, with no part of the data in it, moves what differs.

    0 where that is no multiple of it; None where nothing is made of it alone there.
    """
    searched = case.searchable
    tape = None if searched is None else searched.tape
    if tape is None:
        return None
    value = tape.parameters[name]
    data = set(tape.data.values())
    found = [one.nodes for one in penalties_of(tape, value) if not any(data & set(node.inputs) for node in one.nodes)]
    alone = {node.index for nodes in found for node in nodes if value in node.inputs}
    if not alone:
        return None
    parameter = case.problem.params[name]
    sent = np.zeros_like(parameter)
    for index, grad in tape.clean.arriving(value):
        sent = sent + grad.numpy() if index in alone else sent
    differs = _differs(case, name)
    parameter, sent = parameter[differs], sent[differs]
    if not sent.any():
        return None
    strength = float(np.vdot(parameter, sent) / np.vdot(parameter, parameter))
    return strength if np.allclose(sent, strength * parameter, rtol=1e-9) else 0.0


def _has_penalty(case: Case, name: str, strength: float) -> bool:
    """Whether the reference's own penalty acts on entries of a parameter that differ."""
    return any(
        is_penalty(gradients, case.problem.params, strength) and bool(np.any(gradients[name][_differs(case, name)]))
        for gradients in case.truth.term_gradients.values()
    )


def _is_whole_penalty(case: Case, strength: float) -> bool:
    """Whether what differs is exactly what the reference's own penalty acts on."""
    for gradients in case.truth.term_gradients.values():
        if is_penalty(gradients, case.problem.params, strength):
            acting = {name for name, one in gradients.items() if np.any(one)}
            return acting == set(case.wrong) and all(
                np.array_equal(_differs(case, name), gradients[name] != 0) for name in acting
            )
    return False


def _differs(case: Case, name: str) -> Array:
    difference = case.gradients[name] - case.truth.gradients[name]
    scale = float(np.max(np.abs(case.truth.gradients[name]), initial=0.0)) + float(np.max(np.abs(difference)))
    return np.asarray(np.abs(difference) > max(case.tolerance(name) * scale, case.rounding.get(name, 0.0)))


def coefficient(case: Case) -> float | None:
    """What the reference's own penalty multiplies the parameters by, where one named term is such a penalty."""
    for gradients in case.truth.term_gradients.values() if len(case.truth.terms) > 1 else ():
        ratios = [
            gradients[name][gradients[name] != 0] / value[gradients[name] != 0]
            for name, value in case.problem.params.items()
        ]
        together = np.concatenate([one.ravel() for one in ratios])
        if together.size > 1 and np.ptp(together) <= 1e-9 * abs(together[0]):
            return float(together[0])
    return None


def is_penalty(gradients: Arrays, params: Arrays, strength: float) -> bool:
    """Whether a term's gradient is this multiple of the parameters wherever it is not zero."""
    return all(
        np.allclose(one[one != 0], strength * params[name][one != 0], rtol=1e-9, atol=0)
        for name, one in gradients.items()
    )


def _part(case: Case, name: str, known: float | None) -> tuple[str, float] | None:
    """The entries of a parameter that differ, in words, and the multiple of the parameter by which they do."""
    difference = case.gradients[name] - case.truth.gradients[name]
    value = case.problem.params[name]
    scale = float(np.max(np.abs(case.truth.gradients[name]), initial=0.0)) + float(np.max(np.abs(difference)))
    tolerance = max(case.tolerance(name) * scale, case.rounding.get(name, 0.0))
    differs = _differs(case, name)
    if not differs.any() or np.any(value[differs] == 0):
        return None
    found = float(np.vdot(value[differs], difference[differs]) / np.vdot(value[differs], value[differs]))
    if np.max(np.abs(difference[differs] - found * value[differs])) > 4 * tolerance:
        return None
    expected = known is not None and abs(abs(found) - abs(known)) <= 1e-7 * abs(known)
    if not expected and differs.sum() < 3:
        return None
    return part_in_words(differs), found


def part_in_words(chosen: Array) -> str:
    """Which part of an array a mask chooses: nothing to say for all of it, a row, a column, or so many entries."""
    if chosen.all():
        return ""
    whole = whole_along(chosen)
    if whole is not None:
        return along(whole[0], chosen.ndim, whole[1])
    return f"{int(chosen.sum())} of {chosen.size} entries"
