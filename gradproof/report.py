"""What a comparison says: findings, the numbers behind them, and the text that a reader sees."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gradproof.codes import STRUCTURE

COLUMNS = 80
WIDTH = 72  # of them, less the "E       " that pytest puts before each line of a failing test function
HEADLINE = 54  # less "GradientMismatch: " as well
EVERYTHING = 3  # hints: 1 the name of each mistake, 2 its message and its place as well, 3 the mended formula too
SHOWN = 4  # quantities, or messages under one code, that are shown one by one

# What a headline says where the trouble is not the numbers.
AMISS = {
    "missing-gradient": "no gradient returned",
    "unexpected-gradient": "no parameter of that name",
    "wrong-type": "not an array",
    "wrong-shape": "not the parameter's shape",
    "wrong-dtype": "not the parameter's dtype",
    "not-finite": "NaN or infinity",
    "input-modified": "changed by your code",
    "not-repeatable": "not the same twice",
}
__tracebackhide__ = True  # a traceback shows the caller's code, not ours
COUNTS = {1: "one mistake", 2: "two mistakes together", 3: "three mistakes together"}


@dataclass(frozen=True)
class Finding:
    """One mistake that the numbers give away.

    `code` is a finding code, `parameters` the names that it explains, `site` the place in the reference whose rule was
    broken (file, line and source text; None where it concerns no one line), `message` what the numbers say in words,
    `exact` whether the mistake reproduces the candidate's numbers to rounding, `mend` the right formula in NumPy (empty
    where none is known). `own_site` is the place in the candidate's code where a small change undoes the mistake, and
    `own_mend` that line with the change made (both empty where no small change is known to).
    """

    code: str
    parameters: tuple[str, ...]
    message: str
    site: str | None = None
    exact: bool = True
    mend: str = ""
    own_site: str = ""
    own_mend: str = ""


@dataclass(frozen=True)
class Comparison:
    """One quantity, from both sides: the candidate's array (None where there is none) and the reference's."""

    name: str
    candidate: npt.NDArray[Any] | None
    reference: npt.NDArray[Any]
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

    def quantity(self, name: str) -> Comparison:
        """The comparison of one parameter, or of `loss` or `output` where no parameter has that name.

        Raises LookupError where nothing of that name was compared.
        """
        quantities = self._quantities()
        if name not in quantities:
            hint = "your code returned None for it; " if name == "loss" and self.subject == "gradient" else ""
            raise LookupError(f"{name!r} was not compared: {hint}there are {', '.join(quantities)}")
        return quantities[name]

    def assert_matches(self, name: str) -> None:
        """Raise GradientMismatch, with what concerns it, unless the quantity called `name` is right.

        A mistake that concerns no one quantity (the code raised, it changed its data) fails every one of them.
        Raises LookupError where nothing of that name was compared.
        """
        if self._concerning(name) or not self.quantity(name).ok:
            raise GradientMismatch(self, name)

    def _concerning(self, name: str | None) -> list[Finding]:
        """The findings about one quantity, and those about none in particular; all of them where no name is given."""
        quantities = self._quantities()
        return [
            finding
            for finding in self.findings
            if name is None or name in finding.parameters or not set(finding.parameters) & set(quantities)
        ]

    def _quantities(self) -> dict[str, Comparison]:
        first = {"loss": self.loss, "output": self.output}
        return {name: value for name, value in first.items() if value is not None} | self.comparisons

    def headline(self, name: str | None = None) -> str:
        """One line: what failed, and the codes of the mistakes that were found; or that all is right."""
        if self.ok:
            return self._passed()
        findings = self._concerning(name) or list(self.findings)
        codes = list(dict.fromkeys(finding.code for finding in findings))
        raised = next((one for one in findings if one.code == "raised"), None)
        if raised is not None:
            return f"{_what_raised(raised)} (raised)"
        if not any(finding.parameters for finding in findings) and codes[0] in STRUCTURE:
            return f"{_amiss_as_a_whole(codes[0])} ({', '.join(codes)})"
        names = [name] if name and any(name in one.parameters for one in findings) else self._blamed(findings)
        names = names or [name or self.subject]
        what = AMISS[codes[0]] if codes[0] in AMISS and len(codes) == 1 else f"not {self._theirs(names)}"
        if names == ["loss"] and codes == ["wrong-type"]:
            what = "not a number"
        return _fitted(names, what, codes, max(len(codes), sum(one.exact for one in findings)))

    def _passed(self) -> str:
        error = max((one.relative_error for one in self._quantities().values()), default=0.0)
        judge = self.judged_by if self.judged_by == "torch" else f"the {self.judged_by}"
        names = list(self._quantities())
        said = f"agree with {judge} (relative error {error:.1g})"
        shown = [f"right: {_listed(names, most)} {said}" for most in range(6, 0, -1)]
        return next((line for line in shown if len(line) <= COLUMNS), shown[-1])

    def _blamed(self, findings: list[Finding]) -> list[str]:
        named = {parameter for finding in findings for parameter in finding.parameters}
        known = [name for name in self._quantities() if name in named]
        return known + sorted(named - set(known))

    def _theirs(self, names: list[str]) -> str:
        """What the numbers are not: "torch's gradient"."""
        kinds = {name if name in ("loss", "output") and name not in self.comparisons else "" for name in names}
        kind = kinds.pop() if len(kinds) == 1 else "numbers"
        if self.judged_by != "torch" and not kind:
            return "the derivative of your loss"
        return f"torch's {kind or ('update' if self.subject == 'update' else 'gradient')}"

    def details(self, name: str | None = None, told_by: str | None = None, hints: int = EVERYTHING) -> list[str]:
        """The lines below the headline: where, what is right, the mistakes, and where to read more.

        `told_by` names a test that has told of the same mistakes: they are not explained again. `hints` is how much is
        told of a mistake: 1 its name, 2 what the numbers say and where as well, 3 the mended formula too.
        """
        if self.ok:
            return self._remarks()
        findings = self._concerning(name) or list(self.findings)
        if told_by is not None:
            what = "the same mistake" if len(findings) == 1 else "the same mistakes"
            return [*self.numbers(name), *_paragraph(f"{what} as in {told_by}, explained there", 2)]
        codes = dict.fromkeys(finding.code for finding in findings)
        more = [f"  read more: pytest --explain {code}" for code in codes]
        return [*self.numbers(name), *self._told(findings, hints), *self._others(findings), *self._remarks(), *more]

    def mistakes(self, name: str | None = None) -> frozenset[tuple[str, str]]:
        """What tells the mistakes that concern a quantity from others: the code, and the place or else the message."""
        findings = self._concerning(name) or self.findings
        return frozenset((finding.code, finding.site or finding.message) for finding in findings)

    def numbers(self, name: str | None = None) -> list[str]:
        """Where the numbers differ most, and what is right already."""
        lines: list[str] = []
        quantities = self._quantities()
        amiss = {p for one in self.findings if one.code in STRUCTURE for p in one.parameters}
        wrong = [one for one in quantities.values() if not one.ok and _comparable(one)]
        chosen = [one for one in wrong if one.name == name] or wrong
        for comparison in chosen[:SHOWN]:
            lines += _worst(comparison, self.judged_by, brief=bool(lines), steps=self.subject == "update")
        if len(chosen) > SHOWN:
            lines += _paragraph(f"and {len(chosen) - SHOWN} more: {', '.join(one.name for one in chosen[SHOWN:])}", 2)
        right = [key for key, one in quantities.items() if one.ok and key not in amiss]
        if right:
            lines += _paragraph(f"right already: {', '.join(right)}", 2, hanging=17)
        return lines

    def _told(self, findings: list[Finding], hints: int) -> Iterator[str]:
        """The findings, in groups under a heading that says how sure they are."""
        structure = [one for one in findings if one.code in STRUCTURE]
        unknown = [one for one in findings if one.code == "unexplained"]
        loss = [one for one in findings if one.code == "wrong-loss"]
        exact = [one for one in findings if one not in structure + unknown + loss]
        resembling = [one for one in exact if not one.exact]
        if structure:
            only = len(structure) == len(findings)
            yield from self._group("To put right:" if only else "To put right first:", structure, hints)
        if exact and not resembling:
            yield from self._group(f"Your numbers are exactly those of {_count(exact)}:", exact, hints)
        elif exact:
            yield from self._group("What was found:", exact, hints)
        if unknown:
            yield from self._group("No known mistake gives these numbers:", unknown, hints)
        if loss:
            yield from self._group("And the loss:" if exact or unknown else "The loss:", loss, hints)

    def _group(self, heading: str, findings: list[Finding], hints: int) -> Iterator[str]:
        yield ""
        yield heading
        for code in dict.fromkeys(finding.code for finding in findings):
            same = [finding for finding in findings if finding.code == code]
            for names in dict.fromkeys(finding.parameters for finding in same) if code not in STRUCTURE else [None]:
                alike = [finding for finding in same if names is None or finding.parameters == names]
                concerned = dict.fromkeys(parameter for finding in alike for parameter in finding.parameters)
                yield from _paragraph(f"{code} ({', '.join(concerned)})" if concerned else code, 2)
                if code in STRUCTURE:  # what has to be put right before there are numbers is no riddle
                    yield from self._amiss(code, alike, list(concerned), hints)
                elif hints > 1:
                    yield from self._explained(alike, hints)

    def _amiss(self, code: str, alike: list[Finding], concerned: list[str], hints: int) -> Iterator[str]:
        """What is wrong with what was handed back: all of one kind together, and then how to put it right."""
        for finding in alike[:SHOWN]:
            yield from self._message(finding)
        yield from _more(alike)
        compared = [self._quantities().get(parameter) for parameter in concerned]
        if code in ("wrong-type", "wrong-dtype") and compared and all(one and one.ok for one in compared):
            yield f"    The numbers in {'it' if len(concerned) == 1 else 'them'} are right."
        mends = [finding.mend for finding in alike[:SHOWN] if finding.mend]
        if mends and hints == EVERYTHING:
            yield from _mended("\n".join(mends))

    def _explained(self, alike: list[Finding], hints: int) -> Iterator[str]:
        for finding in alike[:SHOWN]:
            yield from self._message(finding)
            if finding.mend and hints == EVERYTHING:
                yield from _mended(finding.mend)
            if finding.own_site:
                yield from _placed(finding.own_site, "in your code, ")
                if hints == EVERYTHING:
                    yield from _mended(finding.own_mend)
        yield from _more(alike)

    def _message(self, finding: Finding) -> Iterator[str]:
        for part in finding.message.split("\n"):
            code = part.startswith("  ")
            if part.startswith("at ") and " " not in part[3:]:
                yield from _at(part[3:])
                continue
            yield from _paragraph(part.strip(), 6 if code else 4, hanging=10 if code else None)
        if finding.site:
            yield from _placed(finding.site)

    def _others(self, shown: list[Finding]) -> list[str]:
        rest = [finding for finding in self.findings if finding not in shown]
        if not rest:
            return []
        told = [f"{one.code} ({_listed(list(one.parameters))})" for one in rest]
        return _paragraph(f"elsewhere: {', '.join(dict.fromkeys(told))}", 2, hanging=13)

    def _remarks(self) -> list[str]:
        lines = []
        for warning in self.warnings:
            lines += _paragraph(f"take care: {warning}", 2, hanging=13)
        for note in self.notes:
            lines += _paragraph(note, 2)
        return lines

    def __str__(self) -> str:
        return "\n".join([self.headline(), *self.details()])

    def __repr__(self) -> str:
        return f"<Report: {self.headline()}>"


class GradientMismatch(AssertionError):
    """The candidate's numbers are not the reference's; `.report` says why.

    Its text is one line, and the rest stands in its notes: both survive a short traceback, a parallel run and a CI log.
    """

    def __init__(self, report: Report, name: str | None = None) -> None:
        super().__init__(report.headline(name))
        self.report = report
        self.name = name
        self.__notes__ = ["\n".join(report.details(name))]

    def __str__(self) -> str:
        """One line; and the notes where nothing else shows them (Python 3.10, and nobody there who teaches it)."""
        shown = sys.version_info >= (3, 11) or "exceptiongroup" in sys.modules
        return super().__str__() if shown else "\n".join([super().__str__(), *self.__notes__])

    def retell(self, hints: int, told_by: str | None = None) -> None:
        """Tell less of it: see `Report.details`."""
        self.__notes__ = ["\n".join(self.report.details(self.name, told_by, hints))]

    def __reduce__(self) -> Any:
        return _mismatch, (self.report, self.name)


def _mismatch(report: Report, name: str | None) -> GradientMismatch:
    """What a pickle makes it anew with: under the module's name below, pickle would not find the class."""
    return GradientMismatch(report, name)


GradientMismatch.__module__ = "builtins"  # so that a traceback shows the bare name


def number(value: float) -> str:
    """A number as a reader writes it: four significant digits, no needless zeros."""
    return f"{value:.4g}"


def entry(name: str, index: tuple[int, ...]) -> str:
    """`W1[0, 1]`, or `b` for an array without axes."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def along(axis: int, axes: int, indices: Sequence[int], most: int = 6) -> str:
    """Which parts of an array with so many axes: `entry 4`, `row 2`, `columns 0, 1`, `slices 3, 4 of axis 2`."""
    shown = ", ".join(map(str, indices[:most])) + (" ..." if len(indices) > most else "")
    what = ("entry",) if axes == 1 else ("row", "column") if axes == 2 else ("slice",) * axes
    name = what[axis] if len(indices) == 1 else "entries" if what[axis] == "entry" else f"{what[axis]}s"
    return f"{name} {shown}" + (f" of axis {axis}" if axes > 2 else "")


def whole_along(chosen: npt.NDArray[np.bool_]) -> tuple[int, list[int]] | None:
    """The axis along which a mask chooses whole rows, columns or slices alone, and which ones; None for others."""
    for axis in range(chosen.ndim):
        others = tuple(i for i in range(chosen.ndim) if i != axis)
        whole = np.flatnonzero(chosen.all(axis=others) if others else chosen)
        if len(whole) and chosen.sum() == len(whole) * (chosen.size // chosen.shape[axis]):
            return axis, whole.tolist()
    return None


def _what_raised(finding: Finding) -> str:
    found = re.search(r"\braised (\w+)", finding.message)
    return f"your code raised {found[1]}" if found else "your code did not finish"


def _amiss_as_a_whole(code: str) -> str:
    return "your code gave two answers" if code == "not-repeatable" else "not the return value asked for"


def _fitted(names: list[str], what: str, codes: list[str], count: int) -> str:
    """The first wording that fits the line: the names give way first, then the codes, then what they are not."""
    shown = ", ".join(names), _listed(names, 2), _listed(names, 1)
    if codes == ["unexplained"]:
        told = [" (unexplained)", ""]
    else:
        told = [f" ({', '.join(codes)})"] + [f" ({count} mistakes)"] * (count > 1)
    lines = [f"{one}: {what}{code}" for code in told for one in shown]
    if what.startswith("not torch's"):
        lines += [f"{one}: not torch's{told[0]}" for one in (*shown, f"{len(names)} quantities")]
    return next((line for line in lines if len(line) <= HEADLINE), lines[len(told) * len(shown) - 1])


def _listed(names: list[str], most: int = 6) -> str:
    """`W1, b1 and 3 more`."""
    if len(names) <= most + 1 and most > 2:
        return ", ".join(names)
    whole, part = ", ".join(names), f"{', '.join(names[:most])} and {len(names) - most} more"
    return part if len(names) > most and len(part) < len(whole) else whole


def _count(findings: list[Finding]) -> str:
    if len(findings) > 1 and len({(one.code, _but_for_its_names(one)) for one in findings}) == 1:
        return f"the same mistake in {len(findings)} places"
    return COUNTS.get(len(findings), f"{len(findings)} mistakes together")


def _but_for_its_names(finding: Finding) -> str:
    """What a finding says, whichever parameter it says it of."""
    names = "|".join(re.escape(name) for name in finding.parameters)
    return re.sub(rf"(?<![\w.])({names})(?!\w)", "...", finding.message) if names else finding.message


def _placed(site: str, where: str = "") -> Iterator[str]:
    """A file and a line, and what stands there."""
    place, _, source = site.partition("  ")
    yield from _at(place, where)
    yield from _paragraph(source, 6, hanging=10, anywhere=True)


def _at(place: str, where: str = "") -> Iterator[str]:
    """A file and a line: a path cannot be broken, but it can do without the words before it."""
    shown = f"    {where}at {place}"
    if len(shown) <= WIDTH:
        yield shown
        return
    if where:
        yield f"    {where}at"
    yield f"    {place}"


def _more(alike: list[Finding]) -> list[str]:
    return [f"    and {len(alike) - SHOWN} more like these"] if len(alike) > SHOWN else []


def _mended(formula: str) -> Iterator[str]:
    """The last of a finding: the right formula, beside its label or, where it takes more than a line, below it."""
    lines = formula.split("\n")
    if len(lines) == 1 and len(formula) <= WIDTH - 11:
        yield f"    right: {formula}"
        return
    yield "    right:"
    for line in lines:
        indent = 6 + len(line) - len(line.lstrip())
        yield from _paragraph(line.strip(), indent, hanging=indent + 4, anywhere=True)


def _comparable(comparison: Comparison) -> bool:
    ours, theirs = comparison.candidate, comparison.reference
    if ours is None or ours.shape != theirs.shape or not ours.size or ours.dtype.kind not in "fiuc":
        return False
    return bool(np.all(np.isfinite(ours)))


def _worst(comparison: Comparison, judge: str, brief: bool, steps: bool) -> list[str]:
    """Where a quantity differs most. The first one says how much, the others (`brief`) take a line each.

    With `steps`, axis 0 counts steps.
    """
    ours, theirs = comparison.candidate, comparison.reference
    assert ours is not None
    with np.errstate(all="ignore"):
        difference = np.abs(ours - theirs)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), difference.shape))
        differs = difference > comparison.allowed
    mine, right = float(np.real(ours[index])), float(np.real(theirs[index]))
    place, count = entry(comparison.name, index), f"{int(differs.sum())} of {differs.size} entries differ"
    if steps:
        place = f"{entry(comparison.name, index[1:])} after step {index[0] + 1}"
        first = int(np.argmax(differs.reshape(len(differs), -1).any(axis=1))) + 1
        differs = differs.any(axis=0)
        count = f"{int(differs.sum())} of {differs.size} differ, from step {first} on"
    where = f"{place}: yours {_digits(mine, right)}, {judge} {_digits(right, mine)}"
    if brief:
        return _paragraph(f"{where}; {count.replace('entries ', '')}" if differs.ndim else where, 2, hanging=4)
    error = f"relative error {comparison.relative_error:.2g}, allowed {comparison.tolerance:.1g}"
    if not np.isfinite(comparison.relative_error):
        error = f"{judge}'s {'are all' if differs.ndim else 'is'} zero"
    at = "worst at " if difference.ndim else ""
    return _paragraph(f"{at}{where}", 2) + _paragraph(f"{error}; {count}" if differs.ndim else error, 4)


def _digits(value: float, other: float) -> str:
    short = number(value)
    return short if short != number(other) else f"{value:.17g}"


def _paragraph(text: str, indent: int, hanging: int | None = None, anywhere: bool = False) -> list[str]:
    """Text in lines of at most WIDTH; code in backticks stays on one line where it is short.

    With `anywhere`, a word that is longer than a line is broken: code may have no blanks.
    """
    first, later = " " * indent, " " * (indent if hanging is None else hanging)
    kept = re.sub(r"`[^`]{1,40}`", lambda code: code[0].replace(" ", "\0"), text)
    wrapper = textwrap.TextWrapper(WIDTH, first, later, break_long_words=anywhere, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in wrapper.wrap(kept)]
