"""What a comparison says: findings, the numbers behind them, and the text that a reader sees."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

WIDTH = 76  # 80 columns, less the "E   " that pytest puts before each line


@dataclass(frozen=True)
class Finding:
    """One mistake that the numbers give away.

    `code` is a finding code, `parameters` the names that it explains, `site` the place in the reference whose rule was
    broken (file, line and source text; None where it concerns no one line), `message` what the numbers say in words,
    `exact` whether the mistake reproduces the candidate's numbers to rounding.
    """

    code: str
    parameters: tuple[str, ...]
    message: str
    site: str | None = None
    exact: bool = True


@dataclass(frozen=True)
class Comparison:
    """One quantity, from both sides: the candidate's array (None where there is none) and the reference's."""

    name: str
    candidate: npt.NDArray[np.generic] | None
    reference: npt.NDArray[np.generic]
    relative_error: float
    tolerance: float
    allowed: float  # the largest difference, in absolute numbers, that passes
    ok: bool


@dataclass(frozen=True, repr=False)
class Report:
    """The outcome of a comparison. `str(report)` is what a reader sees.

    `findings` is empty exactly when `ok`; the most certain stands first. `comparisons` holds, by name, both gradients
    of every parameter, the relative error and the tolerance that it was held to; `loss` (or `output`, for a layer)
    likewise. `warnings` says what makes a passing comparison worth little.
    """

    findings: tuple[Finding, ...]
    comparisons: dict[str, Comparison]
    loss: Comparison | None = None
    output: Comparison | None = None
    warnings: tuple[str, ...] = ()
    subject: str = "gradient"
    judged_by: str = "torch"
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return not self.findings

    def quantity(self, name: str) -> Comparison | None:
        """The comparison of one parameter, or of `loss` or `output` where no parameter has that name."""
        if name in self.comparisons:
            return self.comparisons[name]
        if name in ("loss", "output"):
            return self.loss if name == "loss" else self.output
        raise KeyError(f"nothing called {name!r} was compared; there are {', '.join(self.comparisons)}")

    def assert_matches(self, name: str) -> None:
        """Raise GradientMismatch, with this whole report, unless the quantity called `name` is right."""
        __tracebackhide__ = True
        comparison = self.quantity(name)
        blamed = any(name in finding.parameters for finding in self.findings)
        general = any(not finding.parameters for finding in self.findings)
        if blamed or general or (comparison is not None and not comparison.ok):
            raise GradientMismatch(self, name)

    def headline(self, name: str | None = None) -> str:
        """One line: what failed, and the mistakes that were found."""
        if self.ok:
            return f"{self.subject}: all of {', '.join(self.comparisons)} equal {self.judged_by}'s"
        codes = ", ".join(dict.fromkeys(finding.code for finding in self.findings))
        names = [name] if name else self._wrong()
        what = ", ".join(names) if names else self.subject
        return f"{what}: not {self.judged_by}'s numbers ({codes})" if names else f"{what}: {codes}"

    def _wrong(self) -> list[str]:
        named = {parameter for finding in self.findings for parameter in finding.parameters}
        wrong = [name for name, comparison in self._quantities().items() if not comparison.ok or name in named]
        return wrong + sorted(named - set(self._quantities()))

    def _quantities(self) -> dict[str, Comparison]:
        first = {"loss": self.loss, "output": self.output}
        return {name: value for name, value in first.items() if value is not None} | self.comparisons

    def details(self, name: str | None = None) -> list[str]:
        """The lines below the headline: where, what is right, and the mistakes."""
        lines: list[str] = []
        quantities = self._quantities()
        wrong = [one for one in quantities.values() if not one.ok and one.candidate is not None]
        if name is not None:
            wrong = [one for one in wrong if one.name == name] or wrong
        for comparison in wrong[:4]:
            lines += _worst(comparison, self.judged_by)
        if len(wrong) > 4:
            lines += _paragraph(f"and {len(wrong) - 4} more: {', '.join(one.name for one in wrong[4:])}", 2)
        right = [key for key, one in quantities.items() if one.ok]
        if right and not self.ok:
            lines += _paragraph(f"right already: {', '.join(right)}", 2, hanging=17)
        lines += self._finding_lines()
        for warning in self.warnings:
            lines += _paragraph(f"take care: {warning}", 2, hanging=13)
        for note in self.notes:
            lines += _paragraph(note, 2)
        return lines

    def _finding_lines(self) -> list[str]:
        if not self.findings:
            return []
        known = [finding for finding in self.findings if finding.code != "unexplained"]
        lines = [""]
        numbers = [finding for finding in known if finding.exact]
        if numbers and len(numbers) == len(self.findings):
            count = "one mistake" if len(known) == 1 else f"{len(known)} mistakes"
            lines.append(f"What was found, exactly: {count}")
        elif known:
            lines.append("What was found:")
        else:
            lines.append("No known mistake gives these numbers:")
        for finding in self.findings:
            names = f" ({', '.join(finding.parameters)})" if finding.parameters else ""
            lines += _paragraph(f"{finding.code}{names}", 2)
            for part in finding.message.split("\n"):
                lines += _paragraph(part, 4)
            if finding.site:
                lines += _paragraph(f"at {finding.site}", 4, hanging=7)
        for code in dict.fromkeys(finding.code for finding in self.findings):
            lines.append(f"  read more: pytest --explain {code}")
        return lines

    def __str__(self) -> str:
        return "\n".join([self.headline(), *self.details()])

    __repr__ = __str__


class GradientMismatch(AssertionError):
    """The candidate's numbers are not the reference's; `.report` says why.

    Its text is one line, and the rest stands in its notes: both survive a short traceback, a parallel run and a CI log.
    """

    def __init__(self, report: Report, name: str | None = None) -> None:
        super().__init__(report.headline(name))
        self.report = report
        self.__notes__ = ["\n".join(report.details(name))]

    def __reduce__(self) -> tuple[type[GradientMismatch], tuple[Report]]:
        return type(self), (self.report,)


GradientMismatch.__module__ = "builtins"  # so that a traceback shows the bare name


def number(value: float) -> str:
    """A number as a reader writes it: four significant digits, no needless zeros."""
    return f"{value:.4g}"


def entry(name: str, index: tuple[int, ...]) -> str:
    """`W1[0, 1]`, or `b` for an array without axes."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def _worst(comparison: Comparison, judge: str) -> list[str]:
    ours = comparison.candidate
    assert ours is not None
    theirs = comparison.reference
    if ours.shape != theirs.shape:
        return _paragraph(f"{comparison.name}: yours has shape {ours.shape}, {judge}'s {theirs.shape}", 2)
    if not ours.size or ours.dtype == object:
        return []
    with np.errstate(all="ignore"):
        difference = np.abs(ours - theirs)
        difference = np.where(np.isnan(difference), np.inf, difference)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), difference.shape))
        differing = int(np.sum(difference > comparison.allowed))
    mine, right = float(np.real(ours[index])), float(np.real(theirs[index]))
    lines = _paragraph(
        f"worst at {entry(comparison.name, index)}: yours {_digits(mine, right)}, {judge} {_digits(right, mine)}", 2
    )
    error = f"relative error {comparison.relative_error:.2g}, allowed {comparison.tolerance:.0e}"
    return lines + _paragraph(f"{error}; {differing} of {difference.size} entries differ", 4)


def _digits(value: float, other: float) -> str:
    short = number(value)
    return short if short != number(other) else f"{value:.17g}"


def _paragraph(text: str, indent: int, hanging: int | None = None) -> list[str]:
    first, later = " " * indent, " " * (indent if hanging is None else hanging)
    wrapper = textwrap.TextWrapper(WIDTH, first, later, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)
