"""Changes of the candidate's own code as mistakes, what it says with them, and what says the same."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis.fault import Fault, Model
from gradproof.diagnosis.shadows import Shadows
from gradproof.lanes import UNRUNNABLE
from gradproof.oracles import Arrays
from gradproof.own_code.calls import BOUNDS, axis_of
from gradproof.own_code.edit import Edit
from gradproof.own_code.running import OwnFunction
from gradproof.own_code.statements import at, without_slope
from gradproof.own_code.switches import Place, first_line
from gradproof.tape import Site

LOSS = ""  # the loss's name among those of the gradients
LOOSE = 1e-7  # of a gradient; what differs by less is looked at again
NOTHING = 1e-6  # of the largest gradient; one that is smaller may be zero but for rounding
FEW = 3  # rules that give the same
# Names of mistakes that a forward pass cannot have: there, it is another function.
OF_THE_WAY_BACK = frozenset(
    "wrong-sign missing-derivative extra-derivative missing-path derivative-at-wrong-point".split()
)

Answer = tuple["float | None", Arrays]


@dataclass(frozen=True, eq=False)
class Slip:
    """An edit, and where in the candidate's code it is made."""

    edit: Edit
    function: OwnFunction
    place: Place
    of_loss: bool = False  # whether the loss depends on it

    @property
    def places(self) -> tuple[int, ...]:
        """Where it changes something, by identity: its place; and the line that it moves there, which is left out."""
        return (id(self.place), id(self.edit.old)) if self.edit.moved else (id(self.place),)

    @property
    def line(self) -> Place:
        """What is wrong: the line that belongs elsewhere, or that has something in the place of something else."""
        return self.edit.old if self.edit.moved and isinstance(self.edit.old, ast.stmt) else self.place

    @property
    def rank(self) -> float:
        return self.edit.rank

    @property
    def small(self) -> bool:
        """Whether it leaves out no more than one operation: with one more rule broken, much can stand for all of it.

        A zero in a product, or for a power, leaves out the whole.
        """
        old, new = self.edit.old, self.edit.new
        if new is None or self.edit.moved:
            return True
        zero = isinstance(new, ast.Constant) and new.value == 0
        one = _operations(old) - _operations(new) <= 1 or without_slope(old) is new
        return not zero and (one or _is_a_term_or_bound(new, old))

    @property
    def leaves_out(self) -> bool:
        """Whether what belongs there is a part of what stands there; not what a function is taken of, nor a bound."""
        old, new = self.edit.old, self.edit.new
        if isinstance(old, ast.Call) and new in old.args and (len(old.args) == 1 or _is_of_bounds(old)):
            return False
        return new is None or any(ast.dump(one) == ast.dump(new) for one in ast.walk(old))

    @property
    def adds_what_was_there(self) -> bool:
        """Whether a line that gave something another value adds to it then."""
        made, place = self.edit.made, self.place
        if not (isinstance(place, ast.Assign) and isinstance(made, ast.Assign) and isinstance(made.value, ast.BinOp)):
            return False
        target, known = place.targets[0], {one.id for one in ast.walk(place.value) if isinstance(one, ast.Name)}
        terms = [ast.unparse(one) for one in (made.value.left, made.value.right)]
        name = next(one.id for one in ast.walk(target) if isinstance(one, ast.Name))
        return isinstance(made.value.op, ast.Add) and ast.unparse(target) in terms and name not in known

    @property
    def term(self) -> ast.expr | None:
        """The term that it leaves out, where it does no more than that."""
        old, new, place = self.edit.old, self.edit.new, self.place
        if new is None and old is place and isinstance(place, ast.AugAssign):
            return place.value if isinstance(place.op, (ast.Add, ast.Sub)) else None
        if not isinstance(old, ast.BinOp) or not isinstance(old.op, (ast.Add, ast.Sub)):
            return None
        return old.right if new is old.left else old.left if new is old.right else None

    @property
    def wording(self) -> tuple[str, str, str]:
        """What is written, and what should be: the same where one slip is made again."""
        old, new = self.edit.old, self.edit.new
        if self.edit.code == "wrong-axis" and isinstance(old, ast.Call) and isinstance(new, ast.Call):
            return self.edit.code, axis_of(old), axis_of(new)  # of a mean and a variance
        return self.edit.code, ast.dump(old), "" if new is None else ast.dump(new)

    @cached_property
    def fault(self) -> Fault:
        """What is wrong, told by what would be right."""
        edit, old, new = self.edit, self.edit.old, self.edit.new
        if isinstance(old, ast.Constant) and edit.path:  # a number alone would not be found in the line
            old, new = at(self.place, edit.path[:-1]), at(edit.made, edit.path[:-1])
        right = "is too much" if new is None else f"{_should(edit)} `{ast.unparse(new)}`"
        message = f"in your code, `{ast.unparse(old)}` {right}"
        code = "different-function" if self.of_loss and edit.code in OF_THE_WAY_BACK else edit.code
        if code == "different-function" and ("slice", None) in edit.path and not self.of_loss:
            code = "wrong-operand"  # other entries
        site = Site(self.function.file, self.line.lineno)
        return Fault(code, message, site, edit.rank, mend=self._mended, change=self)

    @property
    def _mended(self) -> str:
        made = self.edit.made
        if isinstance(made, ast.expr):
            return first_line(self.function.tree, self.place, made)
        lines = made.body if self.edit.moved else [] if made is None else [made]
        return "\n".join(map(ast.unparse, lines))


def _should(edit: Edit) -> str:
    return f"belongs {edit.moved}" if edit.moved else "should be"


def _is_a_term_or_bound(one: ast.AST, of: ast.AST) -> bool:
    """Whether an expression is one of the two terms of a sum, or one of the bounds of `min` or `max`."""
    if isinstance(of, ast.Call) and _is_of_bounds(of):
        return any(ast.dump(one) == ast.dump(bound) for bound in of.args)
    if not isinstance(of, ast.BinOp) or not isinstance(of.op, (ast.Add, ast.Sub)):
        return False
    return ast.dump(one) == ast.dump(of.left) or (isinstance(of.op, ast.Add) and ast.dump(one) == ast.dump(of.right))


def _is_of_bounds(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in BOUNDS


def _operations(node: ast.AST) -> int:
    return sum(isinstance(one, (ast.BinOp, ast.UnaryOp, ast.Call, ast.Compare)) for one in ast.walk(node))


@dataclass(frozen=True, eq=False)
class Trial:
    """Changes made together, what the candidate says then, what of it is still wrong, and whether they are the mend.

    And what of all that it makes on its way is right, where that was noted.
    """

    slips: tuple[Slip, ...]
    answer: Answer
    wrong: frozenset[str]
    mends: bool
    midway: frozenset[int] = frozenset()

    @property
    def order(self) -> tuple[int, float]:
        return len(self.wrong), sum(one.rank for one in self.slips)


@dataclass
class Rules:
    """The numbers that single broken rules give, to be looked up."""

    model: Model
    shadows: Shadows
    faults: Sequence[Fault]
    over: Callable[[], bool]  # whether there is no more time

    def giving(self, trials: Sequence[Trial]) -> list[tuple[Trial, Fault]]:
        """Pairs of a trial and a rule with the same numbers, the likeliest first."""
        if not trials:
            return []
        faults = itertools.takewhile(lambda _: not self.over(), self.faults)
        told = ((fault, self._numbers(fault)) for fault in faults)
        known = [(fault, numbers) for fault, numbers in told if numbers is not None and np.all(np.isfinite(numbers))]
        if not known:
            return []
        sizes = self.shadows.sizes
        rows = _Rows([(numbers / sizes).reshape(-1) for _, numbers in known])
        found = []
        for trial in trials:
            fits = rows.equal_to((self.shadows.numbers(trial.answer[1]) / sizes).reshape(-1))
            found += [(trial, known[i][0]) for i in sorted(fits, key=lambda i: known[i][0].rank)[:FEW]]
        return sorted(found, key=lambda pair: pair[0].slips[-1].rank + pair[1].rank)

    def _numbers(self, fault: Fault) -> np.ndarray | None:
        try:
            return self.shadows.of(fault) if fault.local else None
        except UNRUNNABLE:
            return None


def adding_up(trials: Sequence[Trial], ours: Arrays, right: Arrays) -> Iterator[tuple[Trial, Trial]]:
    """Pairs of changes of which each does a part of what is to be done: what they change adds up to it."""
    names = list(ours)
    sizes = np.concatenate([np.full(ours[name].size, np.linalg.norm(right[name]) or 1.0) for name in names])

    def apart(answer: Arrays) -> np.ndarray:
        return np.asarray(np.concatenate([(answer[name] - ours[name]).ravel() for name in names]) / sizes)

    wanted = apart(right)
    found = [(trial, apart(trial.answer[1])) for trial in trials]
    found = [(trial, d) for trial, d in found if np.all(np.isfinite(d)) and np.max(np.abs(d), initial=0.0) > LOOSE]
    rows = _Rows([d for _, d in found])
    for i, (trial, d) in enumerate(found):
        yield from ((trial, found[k][0]) for k in rows.equal_to(wanted - d) if k > i)


class _Rows:
    """Rows of numbers about as large as 1, to be asked which of them are equal to some others."""

    def __init__(self, rows: Sequence[np.ndarray]) -> None:
        self._rows = rows
        keys = np.asarray([_weights(len(one)) @ one for one in rows])
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def equal_to(self, wanted: np.ndarray) -> list[int]:
        """The positions of those that are, by sums that are near each other first."""
        key, margin = _weights(len(wanted)) @ wanted, 10 * LOOSE * len(wanted)
        first, last = np.searchsorted(self._keys, [key - margin, key + margin])
        return [int(i) for i in self._order[first:last] if np.all(np.abs(self._rows[i] - wanted) <= LOOSE)]


def what_is_wrong(case: Case) -> frozenset[str]:
    return frozenset((*case.wrong, *(() if case.loss_is_right else (LOSS,))))


def is_right(case: Case, answer: Answer | None, aim: frozenset[str]) -> bool:
    """Whether those of the numbers that are aimed at are the right ones."""
    if answer is None:
        return False
    loss, gradients = answer
    right = case.truth.gradients
    if LOSS in aim and loss is not None and not case.agrees(LOSS, loss, case.truth.loss):
        return False
    names = aim - {LOSS}
    top = max((float(np.max(np.abs(one), initial=0.0)) for one in right.values()), default=0.0)
    return all(near(gradients[name], right[name], top) for name in names) and all(
        case.agrees(name, gradients[name], right[name]) for name in names
    )


def changed(one: Answer, other: Answer) -> frozenset[str]:
    """The names of what two answers differ in."""
    known = [name for name, value in other[1].items() if value.size]
    starts = np.cumsum([0, *(other[1][name].size for name in known[:-1])])
    ours, theirs = (np.concatenate([values[name].ravel() for name in known]) for values in (one[1], other[1]))
    top = np.max(np.abs(theirs), initial=0.0)
    sizes = np.maximum(np.maximum.reduceat(np.abs(theirs), starts), NOTHING * top)
    apart = np.maximum.reduceat(np.abs(ours - theirs), starts) > LOOSE * sizes
    names = {name for name, differs in zip(known, apart, strict=True) if differs}
    moved = one[0] is not None and other[0] is not None and abs(one[0] - other[0]) > LOOSE * abs(other[0])
    return frozenset(names | ({LOSS} if moved else set()))


def near(one: np.ndarray, other: np.ndarray, top: float) -> bool:
    """Whether two arrays agree so far that the strict tolerance is worth asking; `top` is the largest number of all."""
    size = max(float(np.max(np.abs(other), initial=0.0)), NOTHING * top)
    return bool(np.max(np.abs(one - other), initial=0.0) <= LOOSE * size)


def alike(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Those that come to the same, together."""
    found: dict[tuple[float, ...], list[Trial]] = {}
    for trial in trials:
        key = tuple(float(f"{_weights(one.size) @ one.ravel():.9e}") for one in trial.answer[1].values())
        found.setdefault(key, []).append(trial)
    return list(found.values())


@lru_cache
def _weights(size: int) -> np.ndarray:
    """Sums with them are equal where all entries are, and else by chance only."""
    return np.random.default_rng(5).standard_normal(size)


def different(trials: Sequence[Trial]) -> list[Trial]:
    """One of those that come to the same."""
    return [group[0] for group in alike(trials)]
