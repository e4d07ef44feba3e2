"""From numbers that differ to the mistake that makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gradproof.case import Case
from gradproof.diagnosis import losses, mends, pattern, penalties, term_weights
from gradproof.diagnosis.changes import Slip
from gradproof.diagnosis.explanation import Explanation
from gradproof.diagnosis.fault import Fault, Model, run
from gradproof.diagnosis.ownloss import belongs_to_own_loss
from gradproof.diagnosis.search import Found, search
from gradproof.diagnosis.transforms import Transform
from gradproof.report import Finding

OWN_LINE = "The line is one of your own forward pass: the way back through it is not its derivative."
OWN_LOSS = "Your {} is that of this other function."
ONE_WAY = "Your {} is this function's; on the way back, your rules are those of the right one."


def diagnose(case: Case, searching: bool = True) -> list[Finding]:
    """The mistakes that give exactly the candidate's numbers, or `unexplained`."""
    findings: list[Finding] = []
    explained_loss = case.loss_is_right
    if case.wrong and searching:
        findings = penalties.findings(case) or term_weights.findings(case)
        found = _searched(case) if not findings or not explained_loss else None
        if found is not None and found.explanations:
            findings = told(case, found)
            best = found.explanations[0]
            if not explained_loss and not best.loss_matches and best.case.own_forward is not None:
                return [*findings, losses.of_own_function(case, searching)]
            explained_loss = explained_loss or best.loss_matches
        elif not findings:
            findings = [pattern.unexplained(case, found)]
    elif case.wrong:
        findings = [pattern.unexplained(case, None)]
    if not explained_loss:
        unknown = [one.code for one in findings] == ["unexplained"]
        of_another = unknown and belongs_to_own_loss(case)
        of_loss = losses.of_own_function if of_another else losses.finding
        findings.append(of_loss(case, searching))
    return findings


def _searched(case: Case) -> Found:
    """The search; should it break off on a reference that nobody has thought of, the report still comes."""
    try:
        return search(case)
    except Exception as error:
        return Found((), 0, False, f"{type(error).__name__}: {error}")


def told(case: Case, found: Found) -> list[Finding]:
    """The findings of the simplest explanation; what fits equally well is named in the first message."""
    best = found.explanations[0]
    findings = list(_findings(case, best, found.lines))
    others = _other_readings(best, found.explanations[1:])
    if others and findings:
        message = f"{findings[0].message}\nThe same numbers come of: {'; or of: '.join(others)}"
        findings[0] = replace(findings[0], message=message)
    return findings


def _findings(case: Case, best: Explanation, lines: Mapping[int, Slip]) -> list[Finding]:
    findings = []
    for i, fault in enumerate(best.faults):
        message = fault.message
        if fault.consistent or fault.inputs or fault.custom or (fault.other_loss and not case.loss_is_right):
            of_own_loss = best.case.own_forward is not None and not case.loss_is_right
            own = OWN_LOSS.format(case.value) if of_own_loss else _belonging(case, best)
            of_one_sample = fault.code == "one-sample-only" and case.loss_is_right  # which is no other function
            message += "" if of_one_sample else f"\n{ONE_WAY.format(case.value) if fault.forward_only else own}"
        elif fault.site and best.case.own_forward is not None and (fault.nodes or fault.values):
            message += f"\n{OWN_LINE}"
        site = str(fault.site) if fault.site else None
        touched = _touched(case, best, fault)
        of_output = ("output",) if case.of_layer and not case.loss_is_right and best.loss_matches else ()
        known = fault.term is not None and i in lines  # how the gradient of a term as it is would be put right
        mend = "" if known else _mend(best.case, fault)
        found = Finding(fault.code, (*of_output, *touched), message, site, mend=mend)
        findings.append(_with_own_line(found, lines.get(i)))
        if fault.besides is not None:
            findings.append(Finding(fault.besides[0], touched, fault.besides[1]))
    groups: dict[tuple[str, str], dict[str, Transform]] = {}
    for name, transform in best.transforms.items():
        for code, message in transform.mistakes():
            groups.setdefault((code, message), {})[name] = transform
    too = f"; and your {case.value} the right one times the same"
    for (code, message), done in groups.items():
        message += too * (code == "wrong-scale" and best.loss_matches and not case.loss_is_right and not best.faults)
        line = None if best.faults else lines.get(0)
        mend = mends.of_gradients(code, list(done), list(done.values())) if line is None else ""
        findings.append(_with_own_line(Finding(code, tuple(done), message, mend=mend), line))
    return findings


def _with_own_line(finding: Finding, slip: Slip | None) -> Finding:
    """With the place in the candidate's own code, and the line as it should be."""
    if slip is None:
        return finding
    return replace(finding, own_site=str(slip.fault.site), own_mend=slip.fault.mend or "(without this line)")


def _touched(case: Case, best: Explanation, fault: Fault) -> tuple[str, ...]:
    """The wrong parameters that a fault has a part in; all of them where that cannot be told."""
    changed = fault.touches
    if len(best.faults) + len(best.transforms) > 1 and changed is None and best.case.tape and best.case.program:
        model = Model(best.case.program, best.case.problem, best.case.tape)
        rules = [one for one in best.faults if one.touches is None]
        rest = [one for one in rules if one is not fault]
        made, without = run(model, rules), run(model, rest) if rest else (best.case.truth.gradients, 0.0)
        if made is not None and without is not None:
            names = (name for name, value in made[0].items() if not best.case.agrees(name, value, without[0][name]))
            changed = frozenset(names)
    found = tuple(name for name in case.wrong if changed is None or name in changed)
    return found or tuple(case.wrong)


def _mend(case: Case, fault: Fault) -> str:
    """The right rule where one was broken; should telling it fail, the finding is told all the same."""
    if fault.mend:
        return fault.mend
    try:
        return mends.of_fault(case, fault)
    except Exception:
        return ""


def _belonging(case: Case, best: Explanation) -> str:
    if case.loss is None:
        return "Your gradient is that of another function."
    if best.loss_matches:
        several = len(best.faults) + len(best.transforms) > 1
        whose = "Apart from the other mistake, your" if several else "Your"
        return f"{whose} {case.value} and your gradient belong together, but to this function."
    return f"Your {case.value} is not this function's: the gradient alone is."


def _other_readings(best: Explanation, others: tuple[Explanation, ...]) -> list[str]:
    """Explanations of as many mistakes under another code, in one line each."""
    codes = {fault.code for fault in best.faults}
    readings = {}
    for one in others:
        if abs(one.cost - best.cost) < 0.5 and len(one.faults) == 1 and not one.transforms:
            fault = one.faults[0]
            if fault.code not in codes and fault.code not in readings:
                readings[fault.code] = f"{fault.code}, {fault.message}"
    return list(readings.values())[:2]
