"""From numbers that differ to the mistake that makes them."""

from __future__ import annotations

from gradproof.case import Case
from gradproof.report import Finding


def diagnose(case: Case, search: bool = True) -> list[Finding]:
    findings = []
    if not case.loss_is_right and not case.wrong:
        findings.append(Finding("wrong-loss", ("loss",), "the gradient is right, the loss is not"))
    if case.wrong:
        findings.append(Finding("unexplained", case.wrong, "the gradients differ", exact=False))
    return findings
