"""Measure the judge on the corpus: `python -m tests.judge.measure --help`.

Each candidate of `tests/judge/models/` is compared with its torch reference,
and what the report says is held against what the mistake was. Outcomes:

    named        every mistake is named by one of its codes, and nothing else is
    tie          another name is told first, the right one as equally good
    misnamed     a finding's code is none of the mistakes', or one is not told
    unexplained  the judge says that it knows no mistake with these numbers
    missed       the comparison passed

Mutants whose code the mutation does not determine ("any name") count as named
where the judge explains them at all.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.judge.corpus import ANY, Model, Variant, models
from tests.judge.innocents import innocents
from tests.judge.mutate import mutants, sample

OUTCOMES = ("named", "tie", "explained", "misnamed", "unexplained", "missed")


@dataclass(frozen=True)
class Result:
    """What the judge said of one candidate."""

    model: str
    part: str
    name: str
    origin: str
    expected: tuple[str, ...]
    found: tuple[str, ...]
    outcome: str
    seconds: float
    text: str

    @property
    def mistakes(self) -> str:
        return {1: "single", 2: "double", 3: "triple"}.get(len(self.expected), "right")


def judged(variant: Variant) -> Result:
    """Compare one candidate, and say whether what was reported is what was wrong with it."""
    model = variant.model
    problem = (*variant.problem(), model.batch_axis)
    label = (model.name, model.part, variant.name, variant.origin)
    return compared(variant.candidate, model.reference, problem, label, variant.codes)


def compared(
    candidate: Callable[..., Any],
    reference: Callable[..., Any],
    problem: tuple[Any, ...],
    label: tuple[str, str, str, str],
    codes: tuple[str, ...],
) -> Result:
    from gradproof import compare_gradients  # after the time limit is set

    params, data, batch_axis = problem
    started = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            report = compare_gradients(candidate, reference, params, *data, batch_axis=batch_axis)
        findings = [(finding.code, finding.message) for finding in report.findings]
        ok, text = report.ok, str(report)
    except Exception:
        findings, ok, text = [("the judge raised", "")], False, traceback.format_exc()
    seconds = time.process_time() - started
    found = tuple(code for code, _ in findings)
    said = " ".join(message for _, message in findings)
    return Result(*label, codes, found, outcome(codes, found, said, ok), seconds, text)


def outcome(expected: tuple[str, ...], found: tuple[str, ...], said: str, ok: bool) -> str:
    """One of the outcomes; for a right candidate "passed" or "false alarm"."""
    if not expected:
        return "passed" if ok else "false alarm"
    if ok:
        return "missed"
    if not found or "unexplained" in found:
        return "unexplained"
    if ANY in expected:
        return "explained"
    sets = [set(code.split("|")) for code in expected]
    if covers(sets, found):
        return "named"
    beside = said.partition("The same numbers come of:")[2]
    if any(code in beside for codes in sets for code in codes) and (len(sets) == 1 or covers(sets, found, beside)):
        return "tie"
    return "misnamed"


def covers(expected: list[set[str]], found: Iterable[str], beside: str = "") -> bool:
    """Whether every mistake is told by a finding of its own (one mistake may be told for each parameter it touches)."""
    found = list(found)
    allowed = set().union(*expected)
    if any(code not in allowed and not beside for code in found):
        return False
    if len(found) < len(expected):
        return False
    return _matched(expected, found, beside, frozenset())


def _matched(expected: list[set[str]], found: list[str], beside: str, used: frozenset[int]) -> bool:
    if not expected:
        return True
    first, rest = expected[0], expected[1:]
    return any(
        (code in first or any(one in beside for one in first)) and _matched(rest, found, beside, used | {i})
        for i, code in enumerate(found)
        if i not in used
    )


def variants(model: Model, origins: set[str], machine: int) -> list[Variant]:
    """The candidates of one model that are asked for."""
    chosen: list[Variant] = []
    if "right" in origins:
        chosen += model.right
    if "hand" in origins:
        chosen += model.hand_written
    if "machine" in origins:
        chosen += sample(mutants(model), machine)
    return chosen


def measured(name: str, origins: set[str], machine: int, only: str | None) -> list[Result]:
    """All results of one model."""
    import torch

    torch.set_num_threads(1)
    found = []
    for model in models(name):
        for variant in variants(model, origins, machine):
            if only is None or only in variant.name:
                found.append(judged(variant))
    return found


def measured_innocents(only: str | None) -> list[Result]:
    """The right candidates that have problems of their own."""
    found = []
    for case in innocents():
        if only is None or only in case.name:
            problem = (case.params, case.data, case.batch_axis)
            found.append(compared(case.candidate, case.reference, problem, ("innocents", "", case.name, "right"), ()))
    return found


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table whose columns line up."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    aligned = [
        "| "
        + " | ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in [header, *rows]
    ]
    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return [aligned[0], rule, *aligned[1:]]


def percent(part: int, whole: int) -> str:
    return "-" if not whole else "100 %" if part == whole else f"{100 * part / whole:.1f} %"


def groups_table(results: list[Result]) -> list[str]:
    """By part, origin and number of mistakes: how many, and what became of them."""
    rows = []
    for part in ("held out", "open"):
        for origin, mistakes in (("hand", "single"), ("hand", "double"), ("hand", "triple"), ("machine", "single")):
            for determined in (True, False):
                chosen = [
                    one
                    for one in results
                    if (one.part, one.origin, one.mistakes) == (part, origin, mistakes)
                    and (ANY not in one.expected) == determined
                ]
                if chosen:
                    label = f"{part}, {origin}, {mistakes}" + ("" if determined else ", any name")
                    rows.append(_row(label, chosen))
    header = ["candidates", "n", "caught", "named", "tie", "misn.", "unexpl."]
    return table(header, rows)


def _row(label: str, chosen: list[Result]) -> list[str]:
    n = len(chosen)
    count = collections.Counter(one.outcome for one in chosen)
    return [
        label,
        str(n),
        percent(n - count["missed"], n),
        percent(count["named"] + count["explained"], n),
        percent(count["tie"], n),
        percent(count["misnamed"], n),
        percent(count["unexplained"], n),
    ]


def codes_table(results: list[Result]) -> list[str]:
    """The confusion table: single mistakes by the first of their codes, and which other codes were told instead."""
    by_code: dict[str, list[Result]] = collections.defaultdict(list)
    for one in results:
        if len(one.expected) == 1 and one.expected[0] != ANY:
            told = set(one.expected[0].split("|")) & set(one.found)
            by_code[min(told, key=one.expected[0].split("|").index) if told else one.expected[0].split("|")[0]].append(
                one
            )
    rows = []
    for code, chosen in sorted(by_code.items()):
        count = collections.Counter(one.outcome for one in chosen)
        other = collections.Counter(one.found[0] for one in chosen if one.outcome == "misnamed")
        instead = ", ".join(f"{name} {number}" for name, number in other.most_common(1))
        cells = [len(chosen), count["named"], count["tie"], count["misnamed"], count["unexplained"], count["missed"]]
        rows.append([code, *map(str, cells), instead])
    header = ["code", "n", "named", "tie", "misn.", "unex.", "miss.", "told instead"]
    return table(header, rows)


def summary(results: list[Result]) -> list[str]:
    lines = []
    wrong = [one for one in results if one.expected]
    right = [one for one in results if not one.expected]
    if wrong:
        lines += [*groups_table(wrong), "", *codes_table(wrong), ""]
        times = np.array([one.seconds for one in wrong])
        cut = sum("ran out" in one.text for one in wrong)
        count = len({one.model for one in wrong})
        median, most = np.median(times), np.percentile(times, 95)
        lines.append(f"{len(wrong)} wrong candidates on {count} models. A diagnosis takes {median:.2f} s of CPU")
        lines.append(f"(median), {most:.2f} s (95 %); {cut} searches ran out of their time.")
    if right:
        alarms = [one for one in right if one.outcome == "false alarm"]
        median = np.median([one.seconds for one in right])
        lines.append(f"{len(right)} right candidates: {len(alarms)} false alarms; a comparison takes {median:.3f} s.")
    return lines


def shown(results: list[Result], kind: str, part: str | None) -> list[str]:
    """The cases of one outcome, each with its report."""
    kind = {"wrongly-named": "misnamed", "false-alarm": "false alarm", "false-alarms": "false alarm"}.get(kind, kind)
    lines = []
    for one in results:
        if one.outcome == kind and (part is None or one.part == part):
            cut = ", search cut" if "ran out" in one.text else ""
            lines.append(f"## {one.model}:{one.name} ({one.origin}, {one.seconds:.1f} s{cut})")
            lines.append(f"expected {' + '.join(one.expected) or 'no finding'}; found {', '.join(one.found)}")
            lines += [*one.text.splitlines(), ""]
    return lines


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.judge.measure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="only the models whose name contains this")
    parser.add_argument("--case", help="only the candidates whose name contains this")
    parser.add_argument("--part", choices=("open", "held out"), help="only this part")
    parser.add_argument(
        "--origin", action="append", choices=("hand", "machine", "right"), help="only these; repeatable"
    )
    parser.add_argument("--machine", type=int, default=12, metavar="N", help="mutants a model (default 12)")
    parser.add_argument(
        "--show",
        action="append",
        default=[],
        metavar="KIND",
        help="list these cases with their reports: misnamed (wrongly-named), unexplained, tie, missed, false-alarm",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long one diagnosis may search (default 10)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (times are only fair with 1)")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    os.environ["GRADPROOF_SEARCH_SECONDS"] = str(options.seconds)  # read when gradproof is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    origins = set(options.origin or ("hand", "machine", "right"))
    chosen = [model.name for model in models(options.model) if options.part in (None, model.part)]
    if not chosen:
        print(f"no model has {options.model!r} in its name", file=sys.stderr)
        return 2
    results: list[Result] = []
    if options.jobs > 1:
        with ProcessPoolExecutor(options.jobs) as pool:
            tasks = [pool.submit(measured, name, origins, options.machine, options.case) for name in chosen]
            for name, task in zip(chosen, tasks, strict=True):
                results += task.result()
                print(f"{name}: {len(results)} candidates so far", file=sys.stderr, flush=True)
    else:
        for name in chosen:
            results += measured(name, origins, options.machine, options.case)
            print(f"{name}: {len(results)} candidates so far", file=sys.stderr, flush=True)
    if "right" in origins and options.model is None and options.part is None:
        results += measured_innocents(options.case)
    for kind in options.show:
        print("\n".join(shown(results, kind, None)))
    print("\n".join(summary(results)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
