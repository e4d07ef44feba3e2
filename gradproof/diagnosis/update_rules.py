"""From updates that differ to the mistake in the rule that makes them.

An optimizer has no graph that could be run with one operation broken. Its rule is written out in NumPy instead
(`gradproof.rules`), with everything that gets written wrong as a switch; the rule and its hyperparameters are read from
the torch optimizer. A mistake is only reported where the rule with it gives the candidate's parameters after every
step, to rounding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradproof import oracles
from gradproof.diagnosis import update_pattern, update_repairs
from gradproof.diagnosis.update_search import Explanation, Search, switched
from gradproof.diagnosis.update_trials import LONGEST, Flat, Runs, chosen_entries, distance, flatten, holds
from gradproof.oracles import Arrays
from gradproof.report import Comparison, Finding, number
from gradproof.rules import Hyper, Rule, read_rule
from gradproof.tolerances import relative_tolerance

FEWEST_STEPS = 3  # fewer do not tell what is kept from step to step from what is made anew


def diagnose_updates(
    step: Callable[..., Any],
    reference: Callable[[Any], Any],
    params: Arrays,
    gradients: Sequence[Arrays],
    steps: Sequence[Arrays],
    comparisons: dict[str, Comparison],
    search: bool = True,
) -> list[Finding]:
    """The mistakes that give exactly the candidate's steps, or `unexplained`.

    Args:
        step: the candidate, `step(params, grads, state) -> params`.
        reference: makes the torch optimizer of a list of tensors.
        params: where both started, by name.
        gradients: one dict of arrays for each step.
        steps: the candidate's parameters after each step.
        comparisons: both trajectories of each parameter, of shape (steps, ...).
        search: whether to search for the mistake; without, only the pattern of what differs is told.
    """
    wrong = [name for name, one in comparisons.items() if not one.ok and one.candidate is not None]
    paths = {name: np.stack([step[name] for step in steps]) for name in params}
    tolerance = {name: _tolerance(comparisons[name], params) for name in params}
    runs = Runs(params, gradients, paths, tolerance)
    right = {name: comparisons[name].reference for name in params}
    if not search:
        return [update_pattern.unexplained(runs, right, wrong, "")]
    still = [name for name in wrong if np.all(paths[name] == params[name])]  # no rule tells of it
    findings = [update_pattern.unexplained(runs, right, still, "")] if still else []
    for rule, h, names in _groups(reference, params, [name for name in wrong if name not in still]):
        findings += _of_group(runs, right, names, rule, h)
    unknown = any(one.code == "unexplained" for one in findings)
    if unknown or len(findings) > 1:
        few = max(_enough(runs, right, [name]) for name in wrong)
        rtol = max(tolerance.values())
        changes = update_repairs.findings(step, reference, params, gradients, few, rtol, alone=not unknown)
        findings = changes or findings
    return _merged(findings)


def _tolerance(comparison: Comparison, params: Arrays) -> float:
    """The table's, or the caller's where that is wider (but never so wide that anything agrees)."""
    table = relative_tolerance("optimizer", params[comparison.name].dtype)
    return max(table, min(comparison.tolerance, 1e-5))


def _groups(
    reference: Callable[[Any], Any], params: Arrays, wrong: Sequence[str]
) -> list[tuple[Rule | None, Hyper, list[str]]]:
    """The wrong parameters by the hyperparameters that torch has for them."""
    tensors = {name: oracles.as_tensor(value, requires_grad=True) for name, value in params.items()}
    try:
        optimizer = reference(list(tensors.values()))
    except Exception:  # it has made one for the comparison, and makes no other
        return [(None, {"class": "an optimizer that is made only once"}, list(wrong))]
    found: list[tuple[Rule | None, Hyper, list[str]]] = []
    for name in wrong:
        group = next(
            (one for one in optimizer.param_groups if any(each is tensors[name] for each in one["params"])),
            optimizer.param_groups[0],
        )
        read = read_rule(optimizer, group)
        rule, h = read if read is not None else (None, {"class": type(optimizer).__name__})
        for known, hyper, names in found:
            if known is rule and hyper == h:
                names.append(name)
                break
        else:
            found.append((rule, h, [name]))
    return found


def _of_group(runs: Runs, right: Arrays, names: list[str], rule: Rule | None, h: Hyper) -> list[Finding]:
    """The findings for parameters that share their hyperparameters."""
    if rule is None:
        return [update_pattern.unexplained(runs, right, names, f"the judge does not know the rule of {h['class']}.")]
    torchs = Runs(runs.params, runs.gradients, right, runs.tolerance)
    with np.errstate(all="ignore"):
        if not holds(flatten(torchs, names, chosen_entries(torchs, names, right)), rule, h, {}):
            why = f"torch's own steps are not those of {rule.name} as the judge knows it."
            return [update_pattern.unexplained(runs, right, names, why)]
    together, tried = _explained(runs, right, names, rule, h)
    if together or len(names) == 1:
        return together or [update_pattern.unexplained(runs, right, names, tried)]
    findings: list[Finding] = []
    for name in names:
        one, _ = _explained(runs, right, [name], rule, h, pairs=False)
        findings += one or [update_pattern.unexplained(runs, right, [name], tried)]
    if all(finding.code == "unexplained" for finding in findings):
        return [update_pattern.unexplained(runs, right, names, tried)]
    return findings


def _explained(
    runs: Runs, right: Arrays, names: list[str], rule: Rule, h: Hyper, pairs: bool = True
) -> tuple[list[Finding], str]:
    """The findings that explain all of `names` at once, or none; and what was tried."""
    chosen = chosen_entries(runs, names, right)
    sample = flatten(runs, names, chosen, steps=_enough(runs, right, names))
    search = Search(runs, sample, rule, h, _sizes(runs, names), _information(sample.g))
    found = search.explanations(pairs)
    tried = f"Tried: {rule.name} with {search.tried} mistakes, alone and in pairs"
    tried += "; the time for searching ran out before all were tried." if search.cut else "."
    if found:
        found = _closest(flatten(runs, names), found, rule, h)
    if found and (len(runs.gradients) < FEWEST_STEPS or _constant(sample.g)):
        return [], _doubtful(runs, found, h)
    return (_told(found, names, rule, h), tried) if found else ([], tried)


def _closest(whole: Flat, found: Sequence[Explanation], rule: Rule, h: Hyper) -> list[Explanation]:
    """Those that hold for all entries at all steps, and are not clearly farther away than the closest of them.

    Where a candidate differs from torch by little more than rounding, several explanations are within what is allowed.
    """
    with np.errstate(all="ignore"):
        far = [
            0.0 if one.given else distance(whole, *switched(rule, h, one.mistakes), one.factor) for one in found
        ]
    limit = min(1.0, 8 * min(far) + 0.02)
    return [one for one, away in zip(found, far, strict=True) if away <= limit]


def _enough(runs: Runs, right: Arrays, names: Sequence[str]) -> int:
    """As many steps as a search needs: some after the first that differs."""
    first = min(update_pattern.first_difference(runs, right, name) for name in names)
    return min(len(runs.gradients), max(LONGEST, first + LONGEST // 2))


def _sizes(runs: Runs, names: Sequence[str]) -> dict[int, str]:
    """Numbers by which a step may have been multiplied or divided, and what they count."""
    sizes = {len(runs.gradients): "the number of steps", len(runs.params): "the number of parameters"}
    if len(names) == 1:
        array = runs.params[names[0]]
        for axis, length in enumerate(array.shape):
            sizes.setdefault(length, f"the length of axis {axis} of {names[0]}")
        sizes[array.size] = f"the number of entries of {names[0]}"
    return {size: words for size, words in sizes.items() if size > 2}


def _information(g: np.ndarray) -> int:
    """How many of the gradients are no repetition of another entry's."""
    columns = np.unique(np.abs(g[:, np.any(g, axis=0)]), axis=1)
    return int(np.count_nonzero(columns))


def _constant(g: np.ndarray) -> bool:
    return bool(np.all(g == g[0]))


def _doubtful(runs: Runs, found: Sequence[Explanation], h: Hyper) -> str:
    """What would fit, where the steps are too few or too much alike to say so."""
    readings = dict.fromkeys(_reading(one, h) for one in found)
    steps = len(runs.gradients)
    why = "the gradients are the same at every step"
    if steps < FEWEST_STEPS:
        why = "there is one step only" if steps == 1 else f"there are only {steps} steps"
    return f"{why}: too little to tell mistakes apart. What would fit: {'; '.join(list(readings)[:4])}."


def _told(found: Sequence[Explanation], names: Sequence[str], rule: Rule, h: Hyper) -> list[Finding]:
    """The findings of the simplest explanation; what fits equally well is named in the first message."""
    best = found[0]
    touched = tuple(names)
    parts = [(one.code, one.message, one.right) for one in best.mistakes]
    parts += _factor_parts(best, rule, h)
    others = _other_readings(found, h)
    findings = []
    for position, (code, message, right) in enumerate(parts):
        if not position and others:
            message += f"\nThe same numbers come of: {'; or of: '.join(others)}"
        findings.append(Finding(code, touched, message, mend=right))
    return findings


def _factor_parts(one: Explanation, rule: Rule, h: Hyper) -> list[tuple[str, str, str]]:
    parts = []
    right = rule.where("lr", h)
    if one.factor < 0:
        way = "downhill, and maximize=True asks for uphill" if h["maximize"] else "uphill: it is added, not subtracted"
        mended = f"g = -g\n{right}" if h["maximize"] else right
        parts.append(("wrong-sign", f"every step goes the opposite way, {way}", mended))
    size = abs(one.factor)
    if size != 1.0:
        words = one.words or f"{size:.6g}, a constant without a known name"
        times = f"every step is the right one times {words}"
        rate, expected = f"{size * h['lr']:.6g}", number(h["lr"])
        if _is_of_the_rate(one):
            mended = f"lr = {expected}\n{right}"
            parts.append(("wrong-hyperparameter", f"lr = {rate}, expected {expected}: {times}", mended))
        else:
            message = f"{times} (as if lr were {rate} in place of {expected})"
            parts.append(("wrong-scale", message, right))
    return parts


def _is_of_the_rate(one: Explanation) -> bool:
    """Whether a factor on every step is best told as another learning rate: it is no count, and lr itself is used."""
    return " of " not in one.words and not re.search(r"\blr\b", one.words)


def _reading(one: Explanation, h: Hyper) -> str:
    """An explanation in one line."""
    parts = [f"{mistake.code}, {mistake.message}" for mistake in one.mistakes]
    parts += [f"{code}, {message}" for code, message, _ in _factor_parts(one, _NO_RULE, h)]
    return " together with ".join(parts)


_NO_RULE = Rule("", lambda now, kept, h, s: now.theta, lambda h: "", lambda h: (), {})


def _other_readings(found: Sequence[Explanation], h: Hyper) -> list[str]:
    """Explanations of as many mistakes under other codes, in one line each."""
    seen = {_codes(found[0])}
    readings = []
    for one in found[1:]:
        if _codes(one) not in seen:
            seen.add(_codes(one))
            readings.append(_reading(one, h))
    return readings[:2]


def _codes(one: Explanation) -> tuple[str, ...]:
    turned = ("wrong-sign",) if one.factor < 0 else ()
    code = "wrong-hyperparameter" if _is_of_the_rate(one) else "wrong-scale"
    scaled = (code,) if abs(one.factor) != 1.0 else ()
    return tuple(sorted(mistake.code for mistake in one.mistakes)) + turned + scaled


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for all parameters that the same mistake explains."""
    by_text: dict[Finding, Mapping[str, None]] = {}
    for one in findings:
        key = replace(one, parameters=())
        by_text[key] = {**by_text.get(key, {}), **dict.fromkeys(one.parameters)}
    merged = [replace(key, parameters=tuple(names)) for key, names in by_text.items()]
    return sorted(merged, key=lambda one: not one.exact)
