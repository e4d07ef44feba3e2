"""What can be said where no known mistake gives the numbers: what differs, what is right, and what follows from it."""

from __future__ import annotations

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis.ownloss import belongs_to_own_loss
from gradproof.diagnosis.search import Found
from gradproof.report import Finding, along, number, whole_along
from gradproof.tape import Tape
from gradproof.tolerances import largest

# Whether the gradient is the derivative of the candidate's own loss, and whether that loss is right.
_BELONGS = "Your gradient is the derivative of your own {}: the two belong together, but to another function."
_OWN = {
    (True, True): _BELONGS,
    (True, False): _BELONGS,
    (False, True): "Your {} is right, and your gradient is not its derivative.",
    (False, False): "Your gradient is not the derivative of your own {} either.",
}
POINTS = "all entries differ; it points"


def unexplained(case: Case, found: Found | None) -> Finding:
    """The finding that says plainly that the mistake is not known, with all that the numbers do say.

    Without a search (`found` is None), what takes a run of the reference to know is left out.
    """
    lines = _what_differs(case)
    searched = None if found is None else case.searchable
    lines += _inference(case, None if searched is None else searched.tape)
    own = belongs_to_own_loss(case)
    held = searched is not None and searched.tape is not None and searched.tape.holds_something
    if own is not None and (own or not held):  # of a loss that is held in part, the right gradient is no derivative
        lines.append(_OWN[own, case.loss_is_right].format(case.value))
    if found is not None and searched is None and case.reference is None and not case.of_layer:
        lines.append("Your own forward pass could not be looked at: with a reference in torch, more can be.")
    if found is not None and found.suspects:
        where = "; ".join(found.suspects)
        lines.append(f"In your code, these lines lead to what is wrong and to nothing that is right: {where}.")
    if found is not None and not (case.of_layer and searched is None):
        lines.append(_tried(found, "the reference" if case.reference is not None else "your own forward pass"))
    return Finding("unexplained", case.wrong, "\n".join(lines), exact=False)


def _tried(found: Found, program: str) -> str:
    if found.broken_off:
        return f"The search for the mistake broke off ({found.broken_off}): a defect of gradproof, worth reporting."
    if not found.tried:
        return "Tried: constant factors, signs, transposes and reversed axes of each gradient."
    text = f"Tried: {found.tried} single broken rules of {program}, pairs of them, factors, signs and transposes"
    return text + ("; the time for searching ran out before all were tried." if found.cut else ".")


def _what_differs(case: Case) -> list[str]:
    """A line for all gradients of which the same can be said."""
    alike: dict[str, list[str]] = {}
    for name in case.wrong:
        alike.setdefault(_entries(case, name), []).append(name)
    return [f"{', '.join(names)}: {_of_all(case, names, said)}" for said, names in alike.items()]


def _of_all(case: Case, names: list[str], said: str) -> str:
    """What is said of one gradient as it is said of several; of those that point somewhere, with their cosines."""
    if POINTS not in said:
        return said
    said = said.partition(",")[0] if case.of_layer else said
    said = said if len(names) == 1 else said.replace("it points", "they point")
    found = sorted(_cosine(case.gradients[name], case.truth.gradients[name]) for name in names)
    least, most = number(found[0]), number(found[-1])
    return f"{said} (cosine {least})" if least == most else f"{said} (cosines {least} to {most})"


def _entries(case: Case, name: str) -> str:
    ours, right = case.gradients[name], case.truth.gradients[name]
    allowed = case.allowed(name, right)
    differs = np.abs(ours - right) > allowed
    if largest(ours) == 0.0:
        return "all entries are zero"
    if differs.all() or right.ndim == 0:
        return f"{POINTS} {_direction(_cosine(ours, right))}"
    whole = whole_along(differs)
    if whole is not None:
        axis, indices = whole
        count = differs.shape[axis]
        others = sorted(set(range(count)) - set(indices))
        if len(others) < len(indices):
            are = "is" if len(others) == 1 else "are"
            return f"only {along(axis, right.ndim, others)} (of {count}) {are} right; the rest differs"
        verb = "differs" if len(indices) == 1 else "differ"
        return f"only {along(axis, right.ndim, indices)} (of {count}) {verb}; the rest is right"
    return f"{int(differs.sum())} of {differs.size} entries differ"


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.vdot(one, other)) / size if size else 0.0


def _direction(cosine: float) -> str:
    if cosine > 0.9:
        return "nearly the right way, which is why the loss still falls"
    if cosine > 0.3:
        return "roughly the right way"
    return "the opposite way" if cosine < -0.3 else "nowhere near the right way"


def _inference(case: Case, tape: Tape | None) -> list[str]:
    right = [name for name in case.truth.gradients if name in case.gradients and name not in case.wrong]
    if not right:
        return []
    if tape is None:
        return [f"{_list(right)} {_are(right)} right."]
    last = {name: max(tape.consumers.get(value, [-1])) for name, value in tape.parameters.items()}
    nearest_wrong = max(last[name] for name in case.wrong)
    nearer = [name for name in right if last[name] > nearest_wrong]
    if not nearer:
        return [f"{_list(right)} {_are(right)} right."]
    site = tape.nodes[nearest_wrong].site
    wrong = max(case.wrong, key=lambda name: last[name])
    text = f"{_list(nearer)} {_are(nearer)} right and {wrong} is not: look between them, from {site} on"
    return [text]


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
